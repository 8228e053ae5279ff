"""One poll: list, confirm what is missing, fill gaps, and apply all of it to the tracker."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from runai_async._api.api import Api
from runai_async._api.endpoints import Call
from runai_async._http.messages import CompressedResponse, Response
from runai_async._observe.log import logger
from runai_async._watch.confirm import Confirmer
from runai_async._watch.failures import ROUNDING
from runai_async._watch.gaps import GapFiller
from runai_async._watch.listing import Snapshot
from runai_async._watch.tracker import Lookup, Tracker
from runai_async.errors import RunaiError
from runai_async.events import Synced
from runai_async.hooks import PollFinished, PollStarted
from runai_async.models import Revision
from runai_async.policy import PollPolicy

T = TypeVar("T")
_SHARE = 0.25
"""Share of a poll's deadline that its confirmations get together.

Events that are known wait for them, because the events of one poll are ordered by the server's time, and a
deletion may be the first of them.
"""
_HISTORIES = 3
"""Requests for histories that a poll of a fleet makes at most: many workloads can roll out at once."""
Pace = Callable[[float], Awaitable[None]]
"""Waits for a request's turn; raises `DeadlineExceededError` if that comes after the given monotonic time."""


class ListCall(Call[Snapshot | None]):
    """The call that lists a workload: decompresses a response only if that differs from the one before."""

    __slots__ = ("_tracker",)

    def __init__(self, call: Call[Any], tracker: Tracker) -> None:
        super().__init__(call.operation, call.request, tracker.read)
        self._tracker = tracker

    def read(self, response: Response) -> Snapshot | None:
        if not isinstance(response, CompressedResponse):
            return super().read(response)
        if self._tracker.is_repeated(response.compressed):
            return None
        snapshot = super().read(response)
        if snapshot is None:
            self._tracker.note_repeated(response.compressed)
        return snapshot


class Poller:
    """Polls workloads: what a watch of one and a fleet of many share.

    Args:
        api: the control plane.
        policy: how long a poll may take, and what is emitted.
        fill_gaps: read histories for the phases between two polls.
        pace: awaited before further requests of a poll. A fleet gives one; its list requests are not retried,
            as its schedule is their retry.
    """

    __slots__ = ("_api", "_gaps", "_lists", "_once", "_pace", "_policy")

    def __init__(
        self, api: Api, policy: PollPolicy, *, fill_gaps: bool = False, pace: Pace | None = None
    ) -> None:
        self._api = api
        self._policy = policy
        self._pace = pace
        # A confirmation is retried by the next poll, and events wait for it.
        self._once = api.retrying.once()
        self._lists = api.retrying if pace is None else self._once
        most = math.inf if pace is None else _HISTORIES
        self._gaps = GapFiller(api.endpoints, self._ask, most) if fill_gaps else None

    async def _ask(self, call: Call[T], deadline: float) -> T:
        """Make one of the further requests of a poll."""
        if self._pace is not None:
            await self._pace(deadline)
        return await self._once.call(call, deadline=deadline)

    def list_call(self, tracker: Tracker) -> Call[Snapshot | None]:
        """Return the call that lists a tracker's workload, to be kept: building its URL is slow."""
        return ListCall(self._api.endpoints.list_revisions(tracker.workload_id), tracker)

    def poll(
        self,
        tracker: Tracker,
        call: Call[Snapshot | None],
        until: float = math.inf,
        *,
        all_missing_grace: Callable[[], float] | None = None,
    ) -> Awaitable[int]:
        """Poll once and return how many events that brought.

        Args:
            tracker: of the workload.
            call: what `list_call` returned for it.
            until: monotonic time by which everything in it ends; within `PollPolicy.deadline` in any case.
            all_missing_grace: returns the seconds for which 404s by id are doubted while every known live
                revision is missing; `PollPolicy.missing_grace` by default. Called when one is missing.

        Raises:
            RunaiError: the list request failed; nothing has changed then.
        """
        poll = self._observed if self._api.hooks else self._poll
        return poll(tracker, call, until, all_missing_grace)

    async def _observed(
        self,
        tracker: Tracker,
        call: Call[Snapshot | None],
        until: float,
        all_missing_grace: Callable[[], float] | None,
    ) -> int:
        """Poll between the two hooks, which are called in the caller's own task."""
        hooks, clock = self._api.hooks, self._api.clock
        began = clock.monotonic()
        error: str | None = None
        events = 0
        hooks.notify(PollStarted(tracker.workload_id))
        try:
            events = await self._poll(tracker, call, until, all_missing_grace)
        except BaseException as failure:
            error = type(failure).__name__
            raise
        else:
            return events
        finally:
            seconds = clock.monotonic() - began
            hooks.notify(PollFinished(tracker.workload_id, error, events, tracker.undecodable, seconds))

    async def _poll(
        self,
        tracker: Tracker,
        call: Call[Snapshot | None],
        until: float,
        all_missing_grace: Callable[[], float] | None,
    ) -> int:
        clock, policy = self._api.clock, self._policy
        deadline = min(clock.monotonic() + policy.deadline, until)
        try:
            snapshot = await self._lists.call(call, deadline=deadline)
        except RunaiError:
            tracker.ahead = self._api.server_time.offset  # if it means that all is deleted
            raise
        if snapshot is None:
            return 0 if tracker.stalls_at == math.inf else self._stalled(tracker)
        tracker.ahead = self._api.server_time.offset
        missing = tracker.missing(snapshot)
        found: dict[str, Lookup] = {}
        grace = all_missing_grace() if missing and all_missing_grace is not None else None
        if missing:
            by = min(deadline, clock.monotonic() + policy.deadline * _SHARE)
            found = await Confirmer(self._api.endpoints, self._ask, clock).look_for(tracker, missing, by)
        between: dict[str, list[Revision]] = {}
        if self._gaps is not None:
            by = min(deadline, clock.monotonic() + max(1.0, policy.interval))
            between = await self._gaps.fill(tracker, snapshot, by)
        first, before = not tracker.synced, tracker.pending  # a fleet's consumer may not have taken those yet
        tracker.apply(
            snapshot,
            at=clock.monotonic(),
            now=clock.now(),
            found=found,
            missing_grace=policy.missing_grace,
            all_missing_grace=grace,
            longest_gap=policy.interval + policy.deadline,
            longest_cut=policy.interval,
            between=between,
        )
        events = tracker.pending - before
        if first and "synced" in policy.emit:
            tracker.put(Synced(workload_id=tracker.workload_id, observed_at=clock.now()))
        for problem in snapshot.problems:
            logger.warning("workload %s: a revision cannot be decoded: %s", tracker.workload_id, problem)
        return events

    def _stalled(self, tracker: Tracker) -> int:
        """Report what has stalled while nothing changed; return how many events that brought."""
        server_time = self._api.server_time
        if tracker.stalls_at > server_time.timestamp() + ROUNDING:
            return 0
        before, tracker.ahead = tracker.pending, server_time.offset
        tracker.report_stalls(self._api.clock.now())
        return tracker.pending - before
