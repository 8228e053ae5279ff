"""Waiting for a rollout.

The workload's own phase stays Running during a whole rollout, so only its revisions show whether one is done.
Old and new revisions exist side by side until the new one runs; of several quick updates only the last takes
effect; right after a change the new revision is not listed yet; and a new revision may be Pending for long,
since it needs a quota of its own. So a wait follows the *newest* revision, decides on whole responses only,
and takes nothing for a failure but what is final. A false success would be the worst result: where the newest
revision cannot be decoded, or is missing from a list, the wait goes on.
"""

from __future__ import annotations

from runai_async._observe.log import logger
from runai_async._wait.failing import Failure
from runai_async._wait.order import Created, is_newer, newest
from runai_async._wait.phase import FAILED_PHASES, cluster_note, describe_revision, last_failure
from runai_async._wait.pods import is_serving
from runai_async._wait.stalling import log_stall
from runai_async._wait.why import Inquiry
from runai_async._watch.absence import Absence, Patience
from runai_async._watch.failures import is_refusal
from runai_async._watch.revision_watch import RevisionWatch, parts_of
from runai_async._watch.status import Batch
from runai_async.errors import NotFoundError, RolloutFailedError, RunaiError, WaitTimeoutError
from runai_async.events import (
    PhaseChanged,
    RevisionAdded,
    RevisionDeleted,
    RevisionEvent,
    RevisionStalled,
    WatchEvent,
)
from runai_async.explanation import Explanation
from runai_async.models import Revision

_WHY_SECONDS = 10.0
"""Seconds that a wait which has failed may ask why, at most; never longer than its own timeout."""


class RolloutWait:
    """Follows the newest revision of a workload, on top of a watch.

    Args:
        watch: of the workload; it emits "updated", and no one else iterates it.
        after_id: the newest revision before the change; only a newer one counts.
        after: the same revision, if it is known already.

    Attributes:
        newest: the last state of the revision that decides; None before it was seen.
    """

    def __init__(
        self, watch: RevisionWatch, *, after_id: str | None = None, after: Revision | None = None
    ) -> None:
        self.newest: Revision | None = None
        self._watch = watch
        self._api, self._policy, self._clusters = parts_of(watch)
        self._after_id = after_id
        self._after = after
        self._lookups = Absence()
        self._first_ids: set[str] = set() if after_id is None else {after_id}
        self._live: dict[str, Revision] = {}
        self._stalls: dict[str, RevisionStalled] = {}
        self._last: Batch | None = None
        self._failure = Failure()
        self._deletion = Absence()
        self._fast_until = 0.0

    async def run(self, timeout: float, *, spent: float = 0.0) -> Revision:
        """Wait; see `RunaiClient.wait_for_rollout`. Of *timeout*, some seconds may be *spent* already."""
        try:
            return await self._follow(timeout, spent)
        except (RolloutFailedError, WaitTimeoutError) as error:
            error.explanation = await self._explain(min(_WHY_SECONDS, timeout))
            raise

    async def _follow(self, timeout: float, spent: float) -> Revision:
        clock = self._api.clock
        end = clock.monotonic() + timeout - spent
        self._fast_until = clock.monotonic() + self._policy.fast_for
        self._watch.poll_fast(self._fast_until)  # it may not be listed yet
        while clock.monotonic() < end:
            batch = await self._watch.next_batch(end)
            if batch is None:
                self._last = None  # there is nothing left to explain
                raise self.gone()
            for event in batch.events:
                self.note(event)
            if not batch.is_poll:
                continue
            if self._last is None:
                self._first_ids |= {outline.id for outline in batch.unreadable}
            self._last = batch
            if (seen := self._live.get(self._after_id or "")) is not None:
                self._adopt(seen)
            await self._look_up(end)
            if (revision := self.verdict()) is not None:
                return revision
            self._note_stall()
            self._watch.poll_fast(self._urgent_until)
        raise await self._late(timeout)

    def _note_stall(self) -> None:
        """Report that the newest revision has stalled, once, also if it was not the newest then."""
        if self.newest is not None and (stall := self._stalls.pop(self.newest.id, None)) is not None:
            self.stalled(stall)

    def stalled(self, event: RevisionStalled) -> None:
        """Report that the newest revision has stalled."""
        log_stall(event)

    @property
    def _urgent_until(self) -> float:
        """Monotonic time until which to poll fast: the revision is not listed yet, or has just failed."""
        if self._failure.is_seen:  # and may not stay so
            return self._api.clock.monotonic() + self._policy.fast_for
        return self._fast_until if self.newest is None else 0.0

    async def _explain(self, seconds: float) -> Explanation | None:
        """Return why the newest revision does not serve, as far as that can be read in time."""
        revision = self.newest
        if revision is None or self._last is None or self._blocking() is not None:
            return None  # it is not known which one is the newest
        if self._watch.status.last_error is not None:
            return None  # the control plane does not respond
        inquiry = Inquiry(self._api, self._clusters, self._api.retrying.once(), RunaiError)
        try:
            return await inquiry.explain(revision, seconds)
        except Exception as error:  # noqa: BLE001  (what only explains must not hide what it explains)
            logger.debug("workload %s: nothing says why: %s", self._watch.workload_id, error)
            return None

    @property
    def _is_looking_up(self) -> bool:
        """Whether the revision from before the change was not read yet, and may still be there."""
        return self._after_id is not None and self._after is None and not self._lookups.is_believed

    async def _look_up(self, end: float) -> None:
        """Read the revision from before the change, until it was read or is gone for good."""
        if not self._is_looking_up or self._after_id is None:
            return
        clock, api = self._api.clock, self._api
        try:
            found = await api.retrying.call(
                api.endpoints.get_revision(self._after_id),
                deadline=min(end, clock.monotonic() + self._policy.deadline),
            )
        except RunaiError as error:
            if isinstance(error, NotFoundError) and is_refusal(error):
                self._lookups.record(self._patience)
            return
        self._adopt(found)

    def _adopt(self, after: Revision) -> None:
        """Compare with the revision from before the change, now that it can be read."""
        self._after = self._after or after
        if self.newest is not None and not self._counts(self.newest):
            self.newest = None
        self._choose(*self._live.values())

    @property
    def _patience(self) -> Patience:
        policy, now = self._policy, self._api.clock.monotonic()
        return Patience(now, policy.missing_grace, policy.interval + policy.deadline)

    def note(self, event: WatchEvent) -> None:
        """Take in an event of the watch."""
        if not isinstance(event, RevisionEvent):
            return
        revision = event.revision
        if isinstance(event, RevisionAdded) and event.initial:
            self._first_ids.add(revision.id)
        if isinstance(event, RevisionStalled):
            self._stalls[revision.id] = event
        elif isinstance(event, PhaseChanged | RevisionDeleted):
            self._stalls.pop(revision.id, None)
        if isinstance(event, RevisionDeleted):
            self._live.pop(revision.id, None)
        else:
            self._live[revision.id] = revision
        self._choose(revision)

    def _choose(self, *revisions: Revision) -> None:
        """Follow the newest of these, if it is newer than the one that is followed."""
        for revision in revisions:
            known = self.newest
            is_next = known is None or known.id == revision.id or is_newer(revision, known, self._first_ids)
            if is_next and self._counts(revision):
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
        revision, batch, now = self.newest, self._last, self._api.clock.monotonic()
        if revision is None or batch is None or self._blocking() is not None or self._is_looking_up:
            return None
        if revision.id not in self._live:
            self._deletion.record(self._patience)
            if self._deletion.is_believed:
                raise self._failed(f"revision {revision.name} ({revision.id}) was deleted")
            return None
        self._deletion = Absence()
        if revision.id not in batch.listed_ids:
            return None
        if revision.phase not in FAILED_PHASES:
            self._failure.clear()
        elif self._failure.record(revision, now, self._api.server_time.now()):
            raise self._failed(describe_revision(revision))
        return revision if is_serving(revision) else None

    @property
    def is_empty(self) -> bool:
        """Whether no revision was ever seen, not even one that cannot be decoded, and none is listed now."""
        batch = self._last
        return self.newest is None and batch is not None and not (batch.listed_ids or batch.unreadable)

    def _blocking(self) -> Created | None:
        """Return a revision that cannot be decoded but is or may be the newest, if there is one."""
        known = self.newest
        for outline in self._last.unreadable if self._last is not None else ():
            may_be = known is None or outline.id == known.id or is_newer(outline, known, self._first_ids)
            if may_be and self._counts(outline):
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
            f"the rollout failed: {what}; {self._meanwhile()}",
            revision=self.newest,
            serving=self.serving,
            advice="Look at the revision's conditions and pods, fix the workload's image, arguments or "
            "resources, and update it again",
        )

    def gone(self) -> RolloutFailedError:
        """Return the error for a workload that was deleted."""
        return RolloutFailedError(f"workload {self._watch.workload_id} was deleted", revision=self.newest)

    async def _late(self, timeout: float) -> WaitTimeoutError | RolloutFailedError:
        """Return what a wait ends with whose time is up; then one poll that saw a failure is enough."""
        if self._failure.is_seen and self.newest is not None and self._blocking() is None:
            return self._failed(describe_revision(self.newest))
        error = self._watch.status.last_error
        meanwhile = f"; {self._meanwhile()}" if self._watch.status.synced else ""
        known = self.newest or next(iter(self._live.values()), None)
        cluster = await cluster_note(self._clusters, known, timeout) if error is None else ""
        late = WaitTimeoutError(
            f"the rollout is not done after {timeout:g} s: {self._state()}{meanwhile}{last_failure(error)}"
            f"{cluster}",
            revision=self.newest,
            serving=self.serving,
            last_error=error,
            advice="Nothing was cancelled; wait again to continue",
        )
        late.__cause__ = error
        return late

    def _state(self) -> str:
        """Describe what the rollout waits for."""
        workload, revision = f"workload {self._watch.workload_id}", self.newest
        if not self._watch.status.synced:
            return f"no poll of {workload} has succeeded"
        if (blocking := self._blocking()) is not None:
            name = f"{blocking.name} ({blocking.id})" if blocking.id else "whose id cannot be read"
            return f"revision {name} may be the newest, but its response cannot be decoded"
        if revision is None:
            newer = " newer than the one given as after" if self._after_id else ""
            return f"{workload} has no revision{newer}: did the change take effect?"
        if revision.id not in self._live:
            return f"revision {revision.name} ({revision.id}) was deleted, and no newer one is listed"
        return f"{describe_revision(revision)}: it may wait for quota or nodes, or still be pulling its image"
