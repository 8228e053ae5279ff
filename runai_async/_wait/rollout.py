"""Waiting for a rollout.

The workload's own phase stays Running during a whole rollout, so only its revisions show whether one is done.
Old and new revisions exist side by side until the new one runs; of several quick updates only the last takes
effect; right after a change the new revision is not listed yet; and a new revision may be Pending for long,
since it needs a quota of its own. So a wait follows the *newest* revision, decides on whole responses only,
and takes nothing for a failure but what is final.
"""

from __future__ import annotations

from datetime import datetime

from runai_async._clock import Clock
from runai_async._wait.phase import FAILED_PHASES, describe_revision, last_failure
from runai_async._watch.revision_watch import RevisionWatch
from runai_async.errors import RolloutFailedError, RunaiError, WaitTimeoutError
from runai_async.events import RevisionDeleted, RevisionEvent, WatchEvent
from runai_async.models import Phase, Revision

_Age = tuple[datetime, str]


def creation_order(revision: Revision) -> _Age:
    """Return a sort key by creation time, then id."""
    return revision.created_at, revision.id


def is_serving(revision: Revision) -> bool:
    """Return whether a revision runs with the pods that it asked for, as far as the response says."""
    if revision.phase != Phase.RUNNING or revision.deleted_at is not None:
        return False
    asked = revision.requested_pods
    wanted = (asked and asked.wanted) or 0
    return revision.running_pods is None or revision.running_pods >= wanted


class RolloutWait:
    """Follows the newest revision of a workload, on top of a watch.

    Attributes:
        newest: the last state of the revision that decides; None before it was seen.
    """

    def __init__(self, watch: RevisionWatch, clock: Clock, after: _Age | None) -> None:
        self._watch = watch
        self._clock = clock
        self._after = after
        self._live: dict[str, Revision] = {}
        self.newest: Revision | None = None

    async def run(self, timeout: float, *, spent: float = 0.0) -> Revision:
        """Wait; see `RunaiClient.wait_for_rollout`. Of *timeout*, some seconds may be *spent* already."""
        end = self._clock.monotonic() + timeout - spent
        while self._clock.monotonic() < end:
            events = await self._watch.next_batch(end)
            for event in events:
                self.note(event)
            if (revision := self.verdict()) is not None:
                return revision
            if not events and self._clock.monotonic() < end:
                raise self._gone()
        error = self._watch.status.last_error
        raise self._late(timeout, error) from error

    def note(self, event: WatchEvent) -> None:
        """Take in an event of the watch."""
        if not isinstance(event, RevisionEvent):
            return
        revision = event.revision
        if isinstance(event, RevisionDeleted):
            self._live.pop(revision.id, None)
        else:
            self._live[revision.id] = revision
        counts = self._after is None or creation_order(revision) > self._after
        if counts and (self.newest is None or creation_order(revision) >= creation_order(self.newest)):
            self.newest = revision

    def verdict(self) -> Revision | None:
        """Return the newest revision if it serves, None while that is open; raise if it never will."""
        newest = self.newest
        if newest is None:
            return None
        if newest.id not in self._live:
            raise self._failed(f"revision {newest.name} ({newest.id}) was deleted")
        if newest.phase in FAILED_PHASES:
            raise self._failed(describe_revision(newest))
        return newest if is_serving(newest) else None

    @property
    def serving(self) -> Revision | None:
        """The revision that serves though it is not the newest, if one does."""
        older = [item for item in self._live.values() if item is not self.newest and is_serving(item)]
        return max(older, key=creation_order, default=None)

    def _meanwhile(self) -> str:
        serving = self.serving
        return f"{serving.name} ({serving.id}) serves meanwhile" if serving else "no other revision serves"

    def _failed(self, what: str) -> RolloutFailedError:
        return RolloutFailedError(
            f"the rollout failed: {what}; {self._meanwhile()}. Look at the revision's conditions and pods, "
            "fix the workload's image, arguments or resources, and update it again",
            revision=self.newest,
            serving=self.serving,
        )

    def _gone(self) -> RolloutFailedError:
        return RolloutFailedError(f"workload {self._watch.workload_id} was deleted", revision=self.newest)

    def _late(self, timeout: float, error: RunaiError | None) -> WaitTimeoutError:
        workload, meanwhile = f"workload {self._watch.workload_id}", f"; {self._meanwhile()}"
        if not self._watch.status.synced:
            what, meanwhile = f"no poll of {workload} has succeeded", ""
        elif self.newest is None:
            newer = " newer than the one given as after" if self._after else ""
            what = f"{workload} has no revision{newer}: did the change take effect?"
        else:
            state = describe_revision(self.newest)
            what = f"{state}: it may wait for quota or nodes, or still be pulling its image"
        return WaitTimeoutError(
            f"the rollout is not done after {timeout:g} s: {what}{meanwhile}{last_failure(error)}. "
            "Nothing was cancelled; wait again to continue",
            revision=self.newest,
            serving=self.serving,
        )
