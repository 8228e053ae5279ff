"""`FleetWatch`: a schedule around many polls.

A dispatcher polls each workload when it is due, and what the polls find goes into one buffer. When that is
full the dispatcher waits, so a slow consumer slows the polling and nothing is dropped. What is here is who
belongs to the fleet, and how it begins, is iterated, and ends.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from types import TracebackType
from typing import Self, overload
from uuid import UUID

from attrs import frozen

from runai_async._arguments import check_id
from runai_async._clock import Clock
from runai_async._fleet.buffer import Buffer
from runai_async._fleet.discovery import Discovery, WorkloadIds, list_ids
from runai_async._fleet.dispatch import Dispatcher
from runai_async._fleet.member import Member
from runai_async._fleet.outcomes import Judge
from runai_async._fleet.schedule import next_slot
from runai_async._fleet.tasks import Tasks
from runai_async._watch.failures import is_refusal
from runai_async._watch.poll import Poller
from runai_async._watch.tracker import Tracker
from runai_async.checkpoint import Checkpoint, FleetCheckpoint
from runai_async.errors import AuthenticationError, RunaiError
from runai_async.events import FleetEvent
from runai_async.policy import STALE_INTERVALS, PollPolicy

logger = logging.getLogger("runai_async")

_RESUME_ROUNDS = 2
"""Discoveries that may still claim their part of the checkpoint: the first may have been incomplete."""


@frozen
class FleetStatus:
    """How a fleet fares; reckoned when it is read.

    Attributes:
        watched: how many workloads.
        due: how many of them are due now and wait for a poll.
        in_flight: polls that run.
        buffered: events that wait for the consumer, those of removed workloads too until it comes to them.
        lag: seconds by which the poll that waits longest is late.
        oldest_success_at: the last good poll of the workload whose last good poll is the oldest; None while
            one had none.
        failing: workloads whose last poll failed.
        stale: there are workloads, but the last good poll of any is longer ago than three intervals and a
            deadline; or there are none, because discovery fails for so long. A watchdog needs no more.

    Example:
        >>> async with runai.watch_fleet(workload_ids) as fleet:
        ...     event = await anext(fleet)
        ...     print(fleet.status.watched, "watched,", fleet.status.buffered, "events wait")
        1 watched, 0 events wait
    """

    watched: int
    due: int
    in_flight: int
    buffered: int
    lag: float
    oldest_success_at: datetime | None
    failing: int
    stale: bool


class FleetWatch(AsyncIterator[FleetEvent]):
    """The changes of many workloads' revisions as one stream; what `RunaiClient.watch_fleet` returns.

    It polls in tasks of its own, which live as long as its `async with`. The events of one workload come in
    order; a trouble of one workload is a `WorkloadFailed`, told once, and does not end the stream.

    Raises:
        AuthenticationError: the token, or the credentials for one, were refused.
        WatchOutageError: no answer from the control plane for `PollPolicy.max_outage` seconds.
        ConfigurationError: the login's files cannot be read, and no poll was answered yet.

    Example:
        >>> async with runai.watch_fleet(workload_ids, interval=10) as fleet:
        ...     async for event in fleet:
        ...         if isinstance(event, PhaseChanged):
        ...             print(event.revision.name, event.revision.phase)
        chat-00002 Running
    """

    def __init__(
        self,
        poller: Poller,
        clock: Clock,
        policy: PollPolicy,
        workloads: WorkloadIds,
        *,
        max_concurrency: int = 100,
        rate_limit: float | None = None,
        buffer: int = 1000,
        discovery_interval: float = 60.0,
        include_existing: bool = True,
        resume_from: FleetCheckpoint | None = None,
    ) -> None:
        self._clock = clock
        self._policy = policy
        self._discovery = Discovery(workloads)
        self._discovery_interval = discovery_interval
        self._include_existing = include_existing
        self._resume: dict[str, Checkpoint] = dict(resume_from.workloads) if resume_from else {}
        self._members: dict[str, Member] = {}
        self._error: RunaiError | None = None
        self._began = clock.monotonic()
        self._discovered_at = self._began
        self._discoveries_failed = 0
        self._entered = False
        self._open = False
        self._tasks = Tasks(self._fail)
        self._buffer = Buffer(buffer)
        self._dispatcher = Dispatcher(
            self._poll,
            self._buffer.is_full,
            self._tasks,
            clock,
            max_concurrency=max_concurrency,
            rate_limit=rate_limit,
        )
        self._poller = poller.within(self._dispatcher.pace)
        self._judge = Judge(
            policy,
            clock,
            self._members,
            self._discovery,
            self._buffer,
            plan=self._dispatcher.plan,
            end=self._end,
        )

    # --- an async context manager and iterator ------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if self._entered:
            raise RuntimeError("a fleet watch is entered once; make another one")
        self._entered = self._open = True
        if self._discovery.fixed is not None:
            for workload_id in self._discovery.fixed:
                self.add(workload_id)
            self._resume.clear()
        else:
            self._tasks.start(self._discover)
        self._dispatcher.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop polling, and end the iteration behind what is buffered. Closing twice is fine."""
        self._open = False
        self._dispatcher.stop()
        try:
            await self._tasks.aclose()
        finally:
            self._buffer.wake()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> FleetEvent:
        """Return the next event.

        Raises:
            StopAsyncIteration: the fleet was closed.
            RunaiError: the fleet cannot go on: the token is refused, or the control plane is gone for too
                long; see its `.checkpoint`.
            RuntimeError: another task is waiting for an event, or the fleet was not entered.
        """
        if self._buffer.is_awaited:
            raise RuntimeError("another task is iterating this fleet; use one consumer")
        while True:
            event = self._buffer.take()
            self._dispatcher.wake()
            if event is not None:
                return event
            if self._error is not None:
                error, self._error = self._error, None
                self._open = False
                error.checkpoint = self.checkpoint()
                raise error
            if not self._open:
                if self._entered:
                    raise StopAsyncIteration
                raise RuntimeError("enter the fleet first: async with runai.watch_fleet(...) as fleet")
            await self._buffer.wait()

    # --- members ------------------------------------------------------------------------------------------

    @property
    def workload_ids(self) -> frozenset[str]:
        """The ids of the workloads that are watched."""
        return frozenset(self._members)

    def add(self, workload_id: str | UUID) -> None:
        """Watch one more workload, from its next place in the schedule on. Adding one twice is fine.

        Raises:
            ValueError: no UUID.

        Example:
            >>> async with runai.watch_fleet([]) as fleet:
            ...     fleet.add(workload_id)
            ...     event = await anext(fleet)
        """
        key = check_id(workload_id, "workload_id")
        if key not in self._members:
            self._join(key, include_existing=self._include_existing)

    def _join(self, workload_id: str, *, include_existing: bool) -> None:
        now = self._clock.monotonic()
        if not self._members:
            self._judge.outage.forget_silence()  # while there was nobody to ask about, nobody was silent
            self._began = now
        tracker = Tracker(
            workload_id,
            include_existing=include_existing,
            emit_updates="updated" in self._policy.emit,
            resume_from=self._resume.pop(workload_id, None),
        )
        member = self._members[workload_id] = Member(
            tracker, self._poller.list_request(tracker), self._policy.interval
        )
        self._dispatcher.plan(member, next_slot(member.place, member.interval, now))

    def remove(self, workload_id: str | UUID) -> None:
        """Stop watching a workload and forget it, with the events of it that were not delivered yet.

        Raises:
            ValueError: no UUID.
        """
        key = check_id(workload_id, "workload_id")
        self._resume.pop(key, None)
        member = self._members.pop(key, None)
        if member is not None:
            member.removed, member.due = True, None
            self._discovery.forget(key)

    async def _discover(self) -> None:
        """Ask again and again which workloads there are."""
        rounds = 0
        while self._goes_on:
            began = self._clock.monotonic()
            try:
                ids = await list_ids(self._discovery.ask)
            except AuthenticationError as error:
                self._end(error)
                return
            except Exception as error:  # noqa: BLE001  (whatever a caller's function raises)
                self._undiscovered(error, began)
            else:
                self._discovered()
                self._take_in(ids, first=rounds == 0)
                rounds += bool(ids)
                if rounds == _RESUME_ROUNDS:
                    self._resume.clear()
            await self._clock.sleep(self._discovery_pause())

    def _undiscovered(self, error: Exception, began: float) -> None:
        """Note a discovery that failed; where nobody is watched, nothing else tells of an outage."""
        self._discoveries_failed += 1
        level = logging.WARNING if self._discoveries_failed == 1 else logging.DEBUG
        logger.log(
            level, "the fleet's discovery failed, nothing changes: %s: %s", type(error).__name__, error
        )
        if not self._members and isinstance(error, RunaiError) and not is_refusal(error):
            self._judge.no_response(error, began, self._clock.monotonic())

    def _discovered(self) -> None:
        now = self._discovered_at = self._clock.monotonic()
        if self._discoveries_failed:
            logger.info("the fleet's discovery works again")
            self._discoveries_failed = 0
        if not self._members:
            self._judge.responded(now)

    def _discovery_pause(self) -> float:
        """Return the seconds until the next discovery; fewer where for want of one nothing is watched."""
        if self._members or not self._discoveries_failed:
            return self._discovery_interval
        doubled = 2.0 ** min(self._discoveries_failed - 1, 32)
        longest = min(self._policy.interval * doubled, self._discovery_interval)
        pause = random.uniform(longest / 2, longest)  # noqa: S311
        if self._policy.max_outage is not None:
            left = self._policy.max_outage - self._judge.outage.silence(self._clock.monotonic())
            pause = min(pause, max(left, self._policy.interval))
        return pause

    def _take_in(self, ids: frozenset[str], *, first: bool) -> None:
        """Let those join who are new. A workload that joins later is news, its revisions too."""
        if not ids:
            return
        self._discovery.name(ids, self._members)
        for workload_id in sorted(ids - self._members.keys()):
            self._join(workload_id, include_existing=self._include_existing or not first)

    # --- polls ---------------------------------------------------------------------------------------------

    async def _poll(self, member: Member) -> None:
        began = self._clock.monotonic()
        try:
            await self._poller.poll(member.tracker, member.request)
        except RunaiError as error:
            due = self._judge.failed(member, error, began)
        else:
            due = self._judge.good(member, began)
        self._buffer.collect(member)
        if not (member.removed or member.left):
            self._dispatcher.plan(member, due)

    def _fail(self, error: BaseException) -> None:
        """Let no error of a task be lost: it ends the fleet, in the consumer's hands."""
        if self._goes_on and not isinstance(error, asyncio.CancelledError):
            logger.error("the fleet watch failed", exc_info=error)
        self._end(_defect(error))

    def _end(self, error: RunaiError) -> None:
        """End the fleet: the consumer gets the error behind what is buffered."""
        if self._goes_on:
            self._error = error
            self._dispatcher.stop()
            self._buffer.wake()

    @property
    def _goes_on(self) -> bool:
        return self._open and self._error is None

    # --- in the open --------------------------------------------------------------------------------------

    @property
    def status(self) -> FleetStatus:
        """How the fleet fares now."""
        now, members = self._clock.monotonic(), self._members.values()
        goods = [member.last_success_at for member in members if member.last_success_at is not None]
        oldest_at = None
        if goods and len(goods) == len(members):
            oldest_at = self._clock.now() - timedelta(seconds=now - min(goods))
        last = max(goods, default=self._began if members else self._discovered_at)
        patience = STALE_INTERVALS * self._policy.interval + self._policy.deadline
        return FleetStatus(
            watched=len(members),
            due=self._dispatcher.due(now),
            in_flight=self._dispatcher.in_flight,
            buffered=len(self._buffer),
            lag=self._dispatcher.lag(now),
            oldest_success_at=oldest_at,
            failing=sum(member.streak is not None for member in members),
            stale=bool(members or self._discoveries_failed) and now - last > patience,
        )

    @overload
    def checkpoint(self) -> FleetCheckpoint: ...
    @overload
    def checkpoint(self, workload_id: str | UUID) -> Checkpoint: ...
    def checkpoint(self, workload_id: str | UUID | None = None) -> Checkpoint | FleetCheckpoint:
        """Return what was delivered up to now, of the whole fleet or of one workload.

        Of the fleet's *resume_from*, what the first two discoveries did not claim yet is in it, too. That of
        thousands of workloads takes a second to make and write: do it now and then, or for one workload.

        Raises:
            ValueError: no UUID.
            KeyError: the workload is not watched.
        """
        if workload_id is not None:
            return self._members[check_id(workload_id, "workload_id")].tracker.checkpoint()
        delivered = {key: member.tracker.checkpoint() for key, member in self._members.items()}
        return FleetCheckpoint({**self._resume, **delivered})

    def __repr__(self) -> str:
        state = "open" if self._open else "closed" if self._entered else "not entered"
        return f"<{type(self).__name__} of {len(self._members)} workloads, {state}>"


def _defect(error: BaseException) -> RunaiError:
    """Wrap an error that is a defect, here or in a caller's code, so that the consumer sees it."""
    wrapped = RunaiError(f"the fleet watch failed: {type(error).__name__}: {error}")
    wrapped.__cause__ = error
    return wrapped
