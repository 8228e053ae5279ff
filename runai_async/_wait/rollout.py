"""Waiting for a rollout.

The workload's own phase stays Running during a whole rollout, so only its revisions show whether one is done.
Old and new revisions exist side by side until the new one runs; of several quick updates only the last takes
effect; right after a change the new revision is not listed yet; and a new revision may be Pending for long,
since it needs a quota of its own. So a wait follows the *newest* revision, decides on whole responses only,
and takes nothing for a failure but what is final. A false success would be the worst result: where the newest
revision cannot be decoded, the wait goes on.
"""

from __future__ import annotations

from runai_async._wait.failing import Failing
from runai_async._wait.order import Created, is_newer, newest
from runai_async._wait.phase import FAILED_PHASES, describe_revision, last_failure
from runai_async._watch.revision_watch import RevisionWatch, parts_of
from runai_async.errors import RolloutFailedError, RunaiError, WaitTimeoutError
from runai_async.events import RevisionAdded, RevisionDeleted, RevisionEvent, WatchEvent
from runai_async.models import Phase, Revision


def is_serving(revision: Revision) -> bool:
    """Return whether a revision runs with the pods that it asked for.

    A Go server leaves out a number that is 0, so pods that are missing from the response are none.
    """
    if revision.phase != Phase.RUNNING or revision.deleted_at is not None:
        return False
    asked = revision.requested_pods
    return (revision.running_pods or 0) >= ((asked and asked.wanted) or 0)


class RolloutWait:
    """Follows the newest revision of a workload, on top of a watch.

    Args:
        watch: of the workload; it emits "updated", and no one else iterates it.
        after_id: the newest revision before the change; only a newer one counts.
        after: the same revision; None where it cannot be read any more.

    Attributes:
        newest: the last state of the revision that decides; None before it was seen.
    """

    def __init__(
        self,
        watch: RevisionWatch,
        *,
        after_id: str | None = None,
        after: Revision | None = None,
    ) -> None:
        api, policy = parts_of(watch)
        self.newest: Revision | None = None
        self._watch = watch
        self._clock = api.clock
        self._server_time = api.server_time
        self._policy = policy
        self._after_id = after_id
        self._after = after
        self._first_ids: set[str] = set()
        self._live: dict[str, Revision] = {}
        self._failing = Failing()
        self._deleted_since: float | None = None

    async def run(self, timeout: float, *, spent: float = 0.0) -> Revision:
        """Wait; see `RunaiClient.wait_for_rollout`. Of *timeout*, some seconds may be *spent* already."""
        now = self._clock.monotonic()
        end = now + timeout - spent
        self._watch.poll_fast(now + self._policy.fast_for)  # what is waited for may not be listed yet
        while self._clock.monotonic() < end:
            events = await self._watch.next_batch(end)
            if events is None:
                raise self._gone()
            for event in events:
                self.note(event)
            if self.newest is not None:
                self._watch.poll_fast(0)
            if (revision := self.verdict()) is not None:
                return revision
        error = self._watch.status.last_error
        if self.newest is not None and self.newest.phase in FAILED_PHASES:
            raise self._failed(describe_revision(self.newest))
        raise self._late(timeout, error) from error

    def note(self, event: WatchEvent) -> None:
        """Take in an event of the watch."""
        if not isinstance(event, RevisionEvent):
            return
        revision = event.revision
        if isinstance(event, RevisionAdded) and event.initial:
            self._first_ids.add(revision.id)
        if isinstance(event, RevisionDeleted):
            self._live.pop(revision.id, None)
        else:
            self._live[revision.id] = revision
        if not self._counts(revision):
            return
        known = self.newest
        if known is None or known.id == revision.id or is_newer(revision, known, self._first_ids):
            candidates = [item for item in (*self._live.values(), revision) if self._counts(item)]
            self.newest = newest(candidates, self._first_ids)

    def _counts(self, revision: Created) -> bool:
        """Return whether a revision is newer than the one before the change."""
        if self._after_id is None:
            return True
        if self._after is None:
            return revision.id != self._after_id and revision.id not in self._first_ids
        return is_newer(revision, self._after, self._first_ids)

    def verdict(self) -> Revision | None:
        """Return the newest revision if it serves, None while that is open; raise if it never will.

        To be called once after each successful poll.
        """
        revision, now = self.newest, self._clock.monotonic()
        if revision is None or self._blocking() is not None:
            return None
        if revision.id not in self._live:
            self._deleted_since = now if self._deleted_since is None else self._deleted_since
            if now - self._deleted_since >= self._policy.missing_grace:
                raise self._failed(f"revision {revision.name} ({revision.id}) was deleted")
            return None
        self._deleted_since = None
        if revision.phase not in FAILED_PHASES:
            self._failing.ends()
        elif self._failing.lasts(revision, now, self._server_time.now()):
            raise self._failed(describe_revision(revision))
        else:
            self._watch.poll_fast(now + self._policy.fast_for)  # to know soon whether it really has failed
        return revision if is_serving(revision) else None

    def _blocking(self) -> Created | None:
        """Return a revision that cannot be decoded but would be the newest, if there is one."""
        for outline in self._watch.unreadable:
            is_newest = self.newest is None or is_newer(outline, self.newest, self._first_ids)
            if is_newest and self._counts(outline):
                return outline
        return None

    @property
    def serving(self) -> Revision | None:
        """The revision that serves though it is not the newest, if one does."""
        deciding = None if self.newest is None else self.newest.id
        older = [item for item in self._live.values() if item.id != deciding and is_serving(item)]
        return newest(older, self._first_ids)

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
        elif (blocking := self._blocking()) is not None:
            what = (
                f"revision {blocking.name} ({blocking.id}) is the newest, but its response cannot be decoded"
            )
        elif self.newest is None:
            newer = " newer than the one given as after" if self._after_id else ""
            what = f"{workload} has no revision{newer}: did the change take effect?"
        else:
            state = describe_revision(self.newest)
            what = f"{state}: it may wait for quota or nodes, or still be pulling its image"
        return WaitTimeoutError(
            f"the rollout is not done after {timeout:g} s: {what}{meanwhile}{last_failure(error)}. "
            "Nothing was cancelled; wait again to continue",
            revision=self.newest,
            serving=self.serving,
            last_error=error,
        )
