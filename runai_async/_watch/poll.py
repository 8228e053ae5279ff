"""One poll: list, confirm what is missing, fill gaps, all into the tracker."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable
from copy import copy
from typing import TypeVar

from attrs import evolve

from runai_async import _codec
from runai_async._api.endpoints import Call, Endpoints, with_parse
from runai_async._api.paging import paged
from runai_async._api.retry import Retrying
from runai_async._api.statuses import is_from_api
from runai_async._clock import Clock
from runai_async._http.messages import Request
from runai_async._watch.gaps import missed_phases
from runai_async._watch.listing import Snapshot
from runai_async._watch.tracker import Lookup, Tracker
from runai_async.errors import DecodeError, NotFoundError, RunaiError
from runai_async.events import Synced
from runai_async.hooks import Hooks, PollFinished, PollStarted
from runai_async.models import HistoryRecord, Revision
from runai_async.policy import PollPolicy

T = TypeVar("T")
logger = logging.getLogger("runai_async")


class Poller:
    """Polls workloads: what a watch of one and a fleet of many share."""

    __slots__ = (
        "_clock", "_endpoints", "_explained", "_fill_gaps", "_hooks", "_once", "_pace", "_policy",
        "_retrying",
    )  # fmt: skip

    def __init__(
        self,
        endpoints: Endpoints,
        retrying: Retrying,
        clock: Clock,
        hooks: Hooks,
        policy: PollPolicy,
        *,
        fill_gaps: bool = False,
    ) -> None:
        self._endpoints = endpoints
        self._retrying = retrying
        # A confirmation has the next poll for its retry, and events wait for it.
        self._once = retrying.once()
        self._clock = clock
        self._hooks = hooks
        self._policy = policy
        self._fill_gaps = fill_gaps
        self._explained = False
        self._pace: Callable[[float], Awaitable[None]] | None = None

    def within(self, pace: Callable[[float], Awaitable[None]]) -> Poller:
        """Return one for a fleet: one attempt for a list, and *pace* is awaited before further requests.

        It gets the poll's deadline, and raises `DeadlineExceededError` where a turn would come too late.
        """
        other = copy(self)
        other._retrying = self._once  # noqa: SLF001  (our own copy)
        other._pace = pace  # noqa: SLF001
        return other

    async def _ask(self, call: Call[T], deadline: float) -> T:
        """Make one of the further requests of a poll."""
        if self._pace is not None:
            await self._pace(deadline)
        return await self._once.call(call, deadline=deadline)

    def list_request(self, tracker: Tracker) -> Request:
        """Return the list request of a tracker's workload, to be kept: making its URL takes its time."""
        return self._endpoints.list_revisions(tracker.workload_id).request

    def poll(self, tracker: Tracker, request: Request, until: float = math.inf) -> Awaitable[int]:
        """Poll once and return how many events that brought.

        Everything in it ends within `PollPolicy.deadline`, and by the monotonic time *until*.

        Raises:
            RunaiError: the list could not be had; nothing has changed then.
        """
        return (self._observed if self._hooks else self._poll)(tracker, request, until)

    async def _observed(self, tracker: Tracker, request: Request, until: float) -> int:
        """Poll between the two hooks, which are told in the caller's own task."""
        began = self._clock.monotonic()
        error: str | None = None
        events = 0
        self._hooks.notify(PollStarted(tracker.workload_id))
        try:
            events = await self._poll(tracker, request, until)
        except BaseException as failure:
            error = type(failure).__name__
            raise
        else:
            return events
        finally:
            seconds = self._clock.monotonic() - began
            self._hooks.notify(PollFinished(tracker.workload_id, error, events, tracker.undecodable, seconds))

    async def _poll(self, tracker: Tracker, request: Request, until: float) -> int:
        call = Call("list_revisions", request, tracker.read)
        deadline = min(self._clock.monotonic() + self._policy.deadline, until)
        snapshot = await self._retrying.call(call, deadline=deadline)
        if snapshot is None:
            return 0
        for problem in snapshot.problems:
            logger.warning("workload %s: a revision cannot be decoded: %s", tracker.workload_id, problem)
        missing = tracker.missing(snapshot)
        found = await self._look_for(tracker, missing, deadline) if missing else {}
        between = await self._between(tracker, snapshot, deadline) if self._fill_gaps else {}
        first, before = not tracker.synced, tracker.pending  # a fleet's consumer may not have taken those yet
        tracker.apply(
            snapshot,
            at=self._clock.monotonic(),
            now=self._clock.now(),
            found=found,
            missing_grace=self._policy.missing_grace,
            between=between,
        )
        events = tracker.pending - before
        if first and "synced" in self._policy.emit:
            tracker.put(Synced(workload_id=tracker.workload_id, observed_at=self._clock.now()))
        return events

    def _soon(self, deadline: float) -> float:
        """Return when that has to be there which known events wait for: within an interval."""
        return min(deadline, self._clock.monotonic() + max(1.0, self._policy.interval))

    async def _look_for(self, tracker: Tracker, missing: list[str], deadline: float) -> dict[str, Lookup]:
        """Look for missing revisions with two requests at most. One that fails decides nothing."""
        deadline = self._soon(deadline)
        found: dict[str, Lookup] = {}
        try:
            found = await self._among_deleted(tracker, set(missing), deadline)
        except RunaiError as error:
            logger.debug("workload %s: a confirmation failed: %s", tracker.workload_id, error)
        rest = [revision_id for revision_id in missing if revision_id not in found]
        if rest:
            try:
                found[rest[0]] = await self._by_id(rest[0], deadline)
            except RunaiError as error:
                found[rest[0]] = Lookup(failed=True)
                logger.debug("workload %s: a confirmation failed: %s", tracker.workload_id, error)
        return found

    async def _among_deleted(self, tracker: Tracker, missing: set[str], deadline: float) -> dict[str, Lookup]:
        """Look for missing ones in the deleted list; of a broken one its id and `deletedAt` are enough."""
        call = with_parse(
            self._endpoints.list_revisions(tracker.workload_id, deleted=True), _codec.split_revisions
        )
        found: dict[str, Lookup] = {}
        for raw in await self._ask(call, deadline):
            key, at = _codec.identity(raw), _codec.deletion_time(raw)
            if key in missing and at is not None:
                try:
                    found[key] = Lookup(raw, _codec.decode_revision(raw))
                except DecodeError as error:
                    logger.warning(
                        "workload %s: a revision cannot be decoded: %s", tracker.workload_id, error
                    )
                    found[key] = Lookup(None, evolve(tracker.last_state(key), deleted_at=at))
        return found

    async def _by_id(self, revision_id: str, deadline: float) -> Lookup:
        call = with_parse(
            self._endpoints.get_revision(revision_id),
            lambda body: Lookup(body, _codec.decode_revision(body)),
        )
        try:
            return await self._ask(call, deadline)
        except NotFoundError as error:
            if not is_from_api(error):
                raise  # a gateway's 404 tells nothing of the revision
            return Lookup()

    async def _between(
        self, tracker: Tracker, snapshot: Snapshot, deadline: float
    ) -> dict[str, list[Revision]]:
        """Read from the histories which phases were missed."""
        deadline = self._soon(deadline)
        between: dict[str, list[Revision]] = {}
        for mark, revision in tracker.gaps(snapshot):
            try:
                states = missed_phases(mark, revision, await self._history(revision.id, deadline))
            except RunaiError as error:
                self._explain(tracker.workload_id, str(error))
                continue
            if states is None:
                self._explain(tracker.workload_id, "the history does not fit what was seen")
            else:
                between[revision.id] = states
        return between

    async def _history(self, revision_id: str, deadline: float) -> list[HistoryRecord]:
        async def ask(offset: int) -> tuple[list[HistoryRecord], int | None]:
            return await self._ask(self._endpoints.revision_history(revision_id, offset), deadline)

        return [record async for record in paged(ask)]

    def _explain(self, workload_id: str, reason: str) -> None:
        """Say once why gaps stay open."""
        level = logging.DEBUG if self._explained else logging.WARNING
        self._explained = True
        logger.log(
            level, "workload %s: phases between two polls cannot be filled in: %s", workload_id, reason
        )
