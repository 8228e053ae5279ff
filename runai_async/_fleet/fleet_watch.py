"""`FleetWatch`: a schedule around many polls.

A dispatcher polls each workload when it is due, and what the polls find goes into one buffer. When that is
full the dispatcher waits, so a slow consumer slows the polling and nothing is dropped. Here is what is done
about a poll's outcome, and how the fleet begins, is iterated, and ends.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from types import TracebackType
from typing import Self, overload
from uuid import UUID

from attrs import frozen

from runai_async._api.api import Api
from runai_async._arguments import check_id
from runai_async._fleet import outcomes
from runai_async._fleet.buffer import Buffer
from runai_async._fleet.discovery import Discovery, WorkloadIds
from runai_async._fleet.dispatch import Dispatcher
from runai_async._fleet.member import Member
from runai_async._fleet.membership import Fleet, Membership
from runai_async._fleet.outage import FleetOutage
from runai_async._fleet.outcomes import Outcome
from runai_async._fleet.pauses import Pauses
from runai_async._fleet.schedule import next_slot
from runai_async._fleet.tasks import Tasks
from runai_async._watch.failures import retry_after
from runai_async._watch.poll import Poller
from runai_async._watch.tracker import Tracker
from runai_async.checkpoint import Checkpoint, FleetCheckpoint
from runai_async.errors import RateLimitError, RunaiError, WatchOutageError
from runai_async.events import FleetEvent, WatchDegraded, WatchRecovered, WorkloadFailed
from runai_async.policy import PollPolicy, stale_after

logger = logging.getLogger("runai_async")


@frozen
class FleetStatus:
    """The state of a fleet at the moment it is read.

    Attributes:
        watched: how many workloads.
        due: how many of them are due now and wait for a poll.
        in_flight: polls in progress.
        buffered: events that wait for the consumer, including those of removed workloads that it will skip.
        lag: seconds by which the longest waiting poll is late.
        oldest_success_at: the last successful poll of the workload for which that is longest ago; None while
            one had none.
        failing: workloads whose last poll failed.
        without_revisions: workloads that the control plane lists but that have no revisions, as is normal for
            some kinds of inference.
        discovery_interval: seconds between listings of the workloads at present: what was asked for, or more
            where a listing takes so long that it would be busy for more than a tenth of the time. None where
            the ids were given.
        stale: no poll of any workload has succeeded for three intervals and a deadline; or nothing is watched
            because discovery has failed for that long. A watchdog needs nothing else.

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
    without_revisions: int = 0
    discovery_interval: float | None = None


class FleetWatch(AsyncIterator[FleetEvent]):
    """The changes of many workloads' revisions as one stream; what `RunaiClient.watch_fleet` returns.

    It polls in tasks of its own, which live as long as its `async with`. The events of one workload come in
    order; the failure of one workload is a `WorkloadFailed`, reported once, and does not end the stream.

    Raises:
        AuthenticationError: the token, or the credentials for one, were refused.
        WatchOutageError: no response from the control plane for `PollPolicy.max_outage` seconds; or nothing
            is watched, because discovery has failed for so long.
        PermissionDeniedError, NotFoundError: nothing is watched, because discovery has been refused for so
        long. ConfigurationError: the login's files cannot be read, and there was no response yet.

    Example:
        >>> async with runai.watch_fleet(workload_ids, interval=10) as fleet:
        ...     async for event in fleet:
        ...         if isinstance(event, PhaseChanged):
        ...             print(event.revision.name, event.revision.phase)
        chat-00002 Running
    """

    def __init__(
        self,
        api: Api,
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
        self._clock = api.clock
        self._policy = policy
        self._discovery = Discovery(workloads, discovery_interval)
        self._include_existing = include_existing
        self._membership = Membership(
            self._discovery, api, policy, resume_from.workloads if resume_from else {}
        )
        self._members: dict[str, Member] = {}
        self._outage = FleetOutage()
        self._pauses = Pauses()
        self._error: RunaiError | None = None
        self._began = api.clock.monotonic()
        self._entered = False
        self._open = False
        self._tasks = Tasks(self._fail)
        self._buffer = Buffer(buffer)
        self._dispatcher = Dispatcher(
            self._poll,
            self._buffer.is_full,
            self._tasks,
            api.clock,
            max_concurrency=max_concurrency,
            rate_limit=rate_limit,
        )
        self._poller = Poller(api, policy, pace=self._dispatcher.pace)

    # --- an async context manager and iterator ------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if self._entered:
            raise RuntimeError("a fleet watch can be entered only once; create another one")
        self._entered = self._open = True
        if self._discovery.fixed is not None:
            for workload_id in self._discovery.fixed:
                self.add(workload_id)
            self._membership.unclaimed.clear()
        else:
            self._tasks.start(self._membership.run, self._as_discovery_sees_it())
        self._dispatcher.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop polling, and end the iteration behind what is buffered. Closing twice is harmless."""
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
            RunaiError: the fleet has ended with one of the errors that the class names; see its
                `.checkpoint`.
            RuntimeError: another task is already waiting for an event, or the fleet was not entered.
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
        """Watch one more workload, from its next slot on. Adding one twice is harmless.

        Raises:
            ValueError: not a UUID.

        Example:
            >>> async with runai.watch_fleet([]) as fleet:
            ...     fleet.add(workload_id)
            ...     event = await anext(fleet)
        """
        key = check_id(workload_id, "workload_id")
        if key not in self._members:
            self._join(key)

    def _as_discovery_sees_it(self) -> Fleet:
        return Fleet(
            watched=self._members.keys(),
            is_running=lambda: self._is_running,
            join=self._join,
            responded=self._responded,
            end=self._end,
        )

    def _join(self, workload_id: str, existed: bool = True) -> None:  # noqa: FBT001, FBT002  (as `Fleet` has it)
        now = self._clock.monotonic()
        if not self._members:
            self._outage.forget_silence()  # while there was nobody to ask about, nobody was silent
            self._began = now
        tracker = Tracker(
            workload_id,
            include_existing=self._include_existing or not existed,
            emit_updates="updated" in self._policy.emit,
            resume_from=self._membership.unclaimed.pop(workload_id, None),
        )
        member = self._members[workload_id] = Member(
            tracker, self._poller.list_call(tracker), self._policy.interval
        )
        self._dispatcher.plan(member, next_slot(member.offset, member.interval, now))

    def remove(self, workload_id: str | UUID) -> None:
        """Stop watching a workload and forget it, including its events that were not delivered yet.

        Raises:
            ValueError: not a UUID.
        """
        key = check_id(workload_id, "workload_id")
        self._membership.unclaimed.pop(key, None)
        member = self._members.pop(key, None)
        if member is not None:
            member.removed, member.due = True, None
            self._discovery.forget(key)
            self._pauses.forget(key)

    # --- polls ---------------------------------------------------------------------------------------------

    async def _poll(self, member: Member) -> None:
        began, workload_id = self._clock.monotonic(), member.tracker.workload_id
        error: RunaiError | None = None
        try:
            await self._poller.poll(member.tracker, member.call)
        except RunaiError as failure:
            error = failure
        poll = outcomes.Poll(
            began,
            self._clock.monotonic(),
            is_leaving=self._discovery.is_leaving(workload_id),
            is_proven=self._discovery.is_proven(workload_id),
            is_listed=self._discovery.is_listed(workload_id),
            ever_responded=self._outage.ever_responded,
            is_silent=self._outage.is_on,
        )
        if error is None:
            member.last_success_at = poll.now
            self._apply(member, outcomes.of_success(member, poll, self._policy), None, poll)
        else:
            self._apply(member, outcomes.of_failure(member, error, poll, self._policy), error, poll)

    def _apply(self, member: Member, outcome: Outcome, error: RunaiError | None, poll: outcomes.Poll) -> None:
        """Do what follows from a poll."""
        pause = max(member.streak.pause, member.interval)  # what was planned before this poll
        member.streak, member.backoff = outcome.streak, outcome.backoff
        member.interval, member.earliest = outcome.interval, outcome.earliest
        if outcome.without_revisions is not member.without_revisions:
            self._note_revisions(member, outcome)
        if outcome.outage_begins or outcome.outage_ended_after is not None:
            self._emit(member, outcome, error)
        self._count(member, outcome, error, poll.began, pause)
        if outcome.deleted:
            member.tracker.delete_all(self._clock.now())
        if outcome.leaves:
            self._leave(member)
        self._buffer.collect(member)
        if outcome.report is not None:
            self._buffer.put(
                member,
                WorkloadFailed(
                    workload_id=member.tracker.workload_id,
                    observed_at=self._clock.now(),
                    error=outcome.report,
                ),
            )
        if not (member.removed or member.left):
            self._dispatcher.plan(member, outcome.due)

    def _count(
        self, member: Member, outcome: Outcome, error: RunaiError | None, began: float, pause: float
    ) -> None:
        """Do what follows from a poll for the whole fleet."""
        if error is None:
            self._pauses.clear()
        else:
            self._consider_pause(member, outcome, error)
        if outcome.ends is not None:
            self._end(outcome.ends)
        elif outcome.response == "yes":
            self._responded(self._clock.monotonic())
        elif error is not None and self._members:  # or it was in flight when the last member was removed
            self._no_response(error, began, pause)

    def _emit(self, member: Member, outcome: Outcome, error: RunaiError | None) -> None:
        """Emit what the policy asks for about an outage of one workload."""
        workload_id, emit = member.tracker.workload_id, self._policy.emit
        if outcome.outage_begins and error is not None and "degraded" in emit:
            now = self._clock.now()
            member.tracker.put(WatchDegraded(workload_id=workload_id, observed_at=now, error=error))
        elif outcome.outage_ended_after is not None and "recovered" in emit:
            now, seconds = self._clock.now(), outcome.outage_ended_after
            member.tracker.put(WatchRecovered(workload_id=workload_id, observed_at=now, seconds=seconds))

    def _note_revisions(self, member: Member, outcome: Outcome) -> None:
        if outcome.without_revisions:
            logger.info("workload %s is listed but has no revisions", member.tracker.workload_id)
        member.without_revisions = outcome.without_revisions

    def _consider_pause(self, member: Member, outcome: Outcome, error: RunaiError) -> None:
        """Pause the whole fleet where the control plane is too busy for several workloads."""
        if isinstance(error, RateLimitError) and retry_after(error):
            until = self._pauses.record(member.tracker.workload_id, outcome.earliest)
            if until is not None:
                self._dispatcher.pause(until)
                seconds = until - self._clock.monotonic()
                level = logging.DEBUG if self._pauses.is_reported else logging.WARNING
                self._pauses.is_reported = True
                text = "the control plane is too busy; the fleet pauses for %.0f s: %s"
                logger.log(level, text, seconds, error)

    def _leave(self, member: Member) -> None:
        """Forget a workload that discovery no longer lists, once its last events are yielded."""
        workload_id = member.tracker.workload_id
        if self._members.get(workload_id) is member:  # it may have been removed, and added again, meanwhile
            self._discovery.forget(workload_id)
            self._pauses.forget(workload_id)
            del self._members[workload_id]
            member.left = True

    def _responded(self, now: float) -> None:
        """Note a response. After an outage of all, those whom it hit return to their usual slots.

        Where only some workloads fail, others are responded to all the time: then nobody's back-off ends.
        """
        silence = self._outage.silence(now)
        if not self._outage.responded(now) or silence < self._policy.interval:
            return
        for member in self._members.values():
            # Even those that would be polled sooner: only all together are they spread evenly.
            if member.is_backing_off and member.due is not None:
                slot = next_slot(member.offset, self._policy.interval, now)
                self._dispatcher.plan(member, max(slot, member.earliest))

    def _no_response(self, error: RunaiError, began: float, pause: float) -> None:
        """Note a request without a response, and end the fleet where there was none for too long."""
        now, policy = self._clock.monotonic(), self._policy
        self._outage.no_response(error, began, now, watched=len(self._members), pause=pause, policy=policy)
        if (seconds := self._outage.lasts_too_long(policy)) is not None:
            text = f"no response from the control plane for {seconds:.0f} s: {error}"
            self._end(WatchOutageError(text, last_error=error))

    def _fail(self, error: BaseException) -> None:
        """End the fleet with an unexpected error of a task; it is raised to the consumer."""
        if self._is_running and not isinstance(error, asyncio.CancelledError):
            logger.error("the fleet watch failed", exc_info=error)
        self._end(_defect(error))

    def _end(self, error: RunaiError) -> None:
        """End the fleet; the error is raised to the consumer behind what is buffered."""
        if self._is_running:
            self._error = error
            self._dispatcher.stop()
            self._buffer.wake()

    @property
    def _is_running(self) -> bool:
        return self._open and self._error is None

    # --- state --------------------------------------------------------------------------------------------

    @property
    def status(self) -> FleetStatus:
        """The state of the fleet now."""
        now, members = self._clock.monotonic(), self._members.values()
        successes = [member.last_success_at for member in members if member.last_success_at is not None]
        oldest_at = None
        if successes and len(successes) == sum(not member.without_revisions for member in members):
            oldest_at = self._clock.now() - timedelta(seconds=now - min(successes))
        last = max(successes, default=self._began if members else self._membership.succeeded_at)
        is_late = now - last > stale_after(self._policy)
        return FleetStatus(
            watched=len(members),
            due=self._dispatcher.due(now),
            in_flight=self._dispatcher.in_flight,
            buffered=len(self._buffer),
            lag=self._dispatcher.lag(now),
            oldest_success_at=oldest_at,
            failing=sum(member.streak.failures > 0 and not member.without_revisions for member in members),
            without_revisions=sum(member.without_revisions for member in members),
            discovery_interval=self._membership.interval,
            stale=bool(members or self._discovery.failures) and is_late,
        )

    @overload
    def checkpoint(self) -> FleetCheckpoint: ...
    @overload
    def checkpoint(self, workload_id: str | UUID) -> Checkpoint: ...
    def checkpoint(self, workload_id: str | UUID | None = None) -> Checkpoint | FleetCheckpoint:
        """Return what was delivered, of the whole fleet or of one workload.

        It includes the part of *resume_from* whose workloads have not joined yet, which takes up to two
        listings. For thousands of workloads it takes a second to make and write: do it now and then, or for
        one workload.

        Raises:
            ValueError: not a UUID.
            KeyError: the workload is not watched.
        """
        if workload_id is not None:
            return self._members[check_id(workload_id, "workload_id")].tracker.checkpoint()
        delivered = {key: member.tracker.checkpoint() for key, member in self._members.items()}
        return FleetCheckpoint({**self._membership.unclaimed, **delivered})

    def __repr__(self) -> str:
        state = "open" if self._open else "closed" if self._entered else "not entered"
        return f"<{type(self).__name__} of {len(self._members)} workloads, {state}>"


def _defect(error: BaseException) -> RunaiError:
    """Wrap an error that is a defect, here or in a caller's code, for the consumer."""
    wrapped = RunaiError(f"the fleet watch failed: {type(error).__name__}: {error}")
    wrapped.__cause__ = error
    return wrapped
