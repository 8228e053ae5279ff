"""Hands the polls of a fleet to workers, as they come due.

There is no task, queue or generator for each workload: thousands of them would cost more than the polls.
One loop takes what is due from a heap and hands it to a few workers, of which there are only as many as
polls are in flight.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator
from operator import itemgetter
from typing import NamedTuple

from runai_async._clock import Clock
from runai_async._fleet.first_pass import FirstPass, first_due, is_overdue, span_of
from runai_async._fleet.hinted import HintedPolls
from runai_async._fleet.member import Member
from runai_async._fleet.room import Room, Ticket
from runai_async._fleet.schedule import RateLimit, Schedule, next_slot
from runai_async._fleet.slices import in_turns
from runai_async._fleet.tasks import Tasks
from runai_async.errors import DeadlineExceededError

_NAP = 0.05
"""Seconds that the loop may sleep without noticing what is added meanwhile."""


class _Turn(NamedTuple):
    member: Member
    ticket: Ticket


class Dispatcher:
    """Polls each member when it is due: no more at once than allowed, no faster, none out of turn.

    Args:
        poll: polls a member, and plans when it is due again.
        is_full: called before each poll; whether there is no room for what it brings. See `wake`.
        tasks: what the loop and the workers belong to.
        clock: the client's clock.
        max_concurrency: the most polls in flight.
        rate_limit: the most requests a second; None for no limit.
        hinted: the polls that hints ask for, if there may be any.

    """

    def __init__(
        self,
        poll: Callable[[Member], Awaitable[None]],
        is_full: Callable[[], bool],
        tasks: Tasks,
        clock: Clock,
        *,
        max_concurrency: int,
        rate_limit: float | None,
        hinted: HintedPolls | None = None,
    ) -> None:
        self._poll = poll
        self._is_full = is_full
        self._tasks = tasks
        self._clock = clock
        self._limit = RateLimit(rate_limit)
        # One for each interval: where many are late, members polled faster wait only for their like.
        self._schedules: defaultdict[float, Schedule[Member]] = defaultdict(Schedule)
        self._first: Schedule[Member] = Schedule()  # those whose first poll comes before their slot
        self._first_pass = FirstPass()
        self._joined: list[Member] = []  # how soon they are polled depends on how many there are
        self._hinted = HintedPolls(float) if hinted is None else hinted  # for which there is never a budget
        self._room = Room(max_concurrency)
        self._stopped = False
        self._sleeping: asyncio.Task[None] | None = None
        self._sleeping_until = math.inf
        self._waiting: asyncio.Future[None] | None = None
        self._idle: list[asyncio.Future[_Turn]] = []

    def start(self) -> None:
        """Begin to poll what is due."""
        self._tasks.start(self._run)

    def stop(self) -> None:
        """Begin no further poll."""
        self._stopped = True

    def join(self, members: Iterable[Member]) -> None:
        """Have new members polled soon, together with others that join in the same moment."""
        self._joined.extend(members)
        if self._sleeping is not None:
            self._sleeping.cancel()

    def plan(self, member: Member, due: float) -> None:
        """Make a member due then, and no longer at the time planned before."""
        if member.due == due:
            return
        member.due = due
        if self._sleeping is not None and due < self._sleeping_until:
            self._sleeping.cancel()
        self._schedules[member.interval].push(due, member)

    def note(self, *, succeeded: bool) -> None:
        """Note how a poll ended: where many fail, no first poll comes before its slot."""
        if succeeded:
            self._first_pass.succeeded()
        elif self._first_pass.failed():
            self._end_first_pass()

    def hasten(self, member: Member, at: float, *, yields: bool = False) -> None:
        """Have a member polled before its slot, from a monotonic time on, as far as that asks for no more.

        Args:
            member: whom.
            at: the time.
            yields: whether all others come first.
        """
        self._hinted.ask(member, at, yields=yields)
        if self._sleeping is not None and at < self._sleeping_until:
            self._sleeping.cancel()

    def forget_hints(self) -> None:
        """Have everyone polled in their slots only."""
        self._hinted.clear()

    @property
    def in_flight(self) -> int:
        """Polls in progress."""
        return self._room.in_flight

    def pause(self, until: float) -> None:
        """Begin no poll before a monotonic time."""
        self._room.pause(until)
        self._end_first_pass()

    def hold(self, until: float) -> None:
        """Begin no poll before a monotonic time, and then one at a time, until `release`."""
        self._room.hold(until)
        self._end_first_pass()

    def release(self) -> None:
        """End what `hold` began."""
        self._room.release()
        if self._sleeping is not None:
            self._sleeping.cancel()
        self.wake()

    def due(self, now: float) -> int:
        """Count the members that are due and wait for a poll."""
        return sum(schedule.count_due(now) for schedule in self._all())

    def lag(self, now: float) -> float:
        """Return the seconds by which the longest waiting poll is late; a first one, after its slot."""
        longest = min((schedule.first for schedule in self._schedules.values()), default=math.inf)
        if self._first.first < math.inf:
            longest = min(longest, self._first.next_item.slot)
        return max(0.0, now - longest)

    def _all(self) -> Iterator[Schedule[Member]]:
        yield self._first
        yield from self._schedules.values()

    def wake(self) -> None:
        """Continue, if nothing was polled for want of room."""
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def pace(self, deadline: float = math.inf) -> None:
        """Wait for a request's turn, if the rate is limited; none is taken beyond *deadline*.

        Raises:
            DeadlineExceededError: the next free turn comes later.
        """
        now = self._clock.monotonic()
        if now + self._limit.wait(now) > deadline:
            raise DeadlineExceededError("the fleet's rate_limit leaves no turn before the deadline")
        if (pause := self._limit.reserve(now)) > 0:
            await self._clock.sleep(pause)

    async def _run(self) -> None:
        """Hand out what is due, as long as there is room for it."""
        while not self._stopped:
            if self._joined:
                await self._begin_first_pass(self._clock.monotonic())
            if not self._room.has_room() or self._is_full():
                await self._wait_for_room()
                continue
            now = self._clock.monotonic()
            turn, schedule = self._next(now)
            early = self._early(now, schedule if turn <= now else None)
            if min(turn, early) > now:
                await self._sleep(min(turn, early))
                continue
            member = self._taken(now, None if early <= now else schedule)
            if member is None:
                continue
            member.due = None
            await self.pace()
            while self._clock.monotonic() < self._room.blocked_until:
                await self._sleep(self._room.blocked_until)
            if not (member.removed or self._stopped):
                self._hand_out(member)

    def _early(self, now: float, waiting: Schedule[Member] | None) -> float:
        """Return when a poll may begin for which a hint asks; those that wait in their slots come first."""
        if waiting is not None and waiting.first < self._hinted.first_at():
            return math.inf
        return self._hinted.free_at(now, slot_waits=waiting is not None)

    def _taken(self, now: float, schedule: Schedule[Member] | None) -> Member | None:
        """Take the next member out of its schedule, or one for which a hint asks; None to look again."""
        has_room = self._room.has_room(is_failing=True)
        if schedule is not None and schedule is self._first and is_overdue(schedule.next_item.slot, now):
            self._end_first_pass()
            return None
        if schedule is not None:
            if has_room or not schedule.next_item.streak.failures:
                return schedule.pop(now)
            self._skip(schedule, now)
            return None
        if has_room or not self._hinted.next_member(now).streak.failures:
            return self._hinted.pop(now)
        self._hinted.put_off(now)
        return None

    def _next(self, now: float) -> tuple[float, Schedule[Member]]:
        """Return when the next turn comes, and in which schedule."""
        turns = ((schedule.peek(now), schedule) for schedule in self._all())
        return min(turns, key=itemgetter(0))

    async def _begin_first_pass(self, now: float) -> None:
        """Plan the first polls of those that have joined."""
        joined = [member for member in self._joined if member.is_watched]
        self._joined = []
        if not joined:
            return
        interval = joined[0].interval  # the usual one, which all of them have
        span = span_of(len(joined), interval)
        is_hurried = not self._first_pass.is_over and span < interval
        start = self._first_pass.begin(span, now) if is_hurried else now
        async for member in in_turns(joined):
            if not member.is_watched:  # it has left meanwhile
                continue
            slot = next_slot(member.offset, interval, now)
            if is_hurried and not self._first_pass.is_over:
                member.slot, member.due = slot, first_due(slot, interval, span, now, start)
                self._first.push(member.due, member)
            else:
                self.plan(member, slot)

    def _end_first_pass(self) -> None:
        """Have those polled in their slots whose first poll was to come before."""
        first, self._first = self._first, Schedule()
        self._first_pass.end()
        members: defaultdict[float, list[Member]] = defaultdict(list)
        for member in first.items():
            member.due = member.slot
            members[member.interval].append(member)
        for interval, some in members.items():
            self._schedules[interval].push_all((member.slot, member) for member in some)
            self._schedules[interval].note_pause(self._clock.monotonic())
        if self._sleeping is not None:
            self._sleeping.cancel()

    def _skip(self, schedule: Schedule[Member], now: float) -> None:
        """Leave out a poll for which there is no room; the next one is not at the same offset again."""
        member = schedule.skip()
        self.plan(member, now + member.interval * random.uniform(0.5, 1.5))  # noqa: S311

    async def _wait_for_room(self) -> None:
        self._waiting = asyncio.get_running_loop().create_future()
        try:
            await self._waiting
        finally:
            self._waiting = None

    async def _sleep(self, until: float) -> None:
        """Wait for what is due next; a longer wait is cut short when something is added."""
        seconds = until - self._clock.monotonic()
        if seconds <= _NAP:
            await self._clock.sleep(seconds)
            return
        task = self._sleeping = asyncio.get_running_loop().create_task(_slept(self._clock, seconds))
        self._sleeping_until = until
        self._tasks.keep(task)
        try:
            await asyncio.wait({task})
        finally:
            task.cancel()
            self._sleeping = None

    def _hand_out(self, member: Member) -> None:
        """Give a poll to a worker that has none, or to a new one."""
        self._hinted.spend(member, self._clock.monotonic())
        turn = _Turn(member, self._room.begin(is_failing=member.streak.failures > 0))
        if self._idle:
            self._idle.pop().set_result(turn)
        else:
            self._tasks.start(self._work, turn)

    async def _work(self, turn: _Turn) -> None:
        """Poll, then wait for the next one to poll."""
        while True:
            try:
                await self._poll(turn.member)
            finally:
                self._room.end(turn.ticket)
                self.wake()
            if self._stopped:  # a transport may have made an error of the cancellation
                return
            following: asyncio.Future[_Turn] = asyncio.get_running_loop().create_future()
            self._idle.append(following)
            turn = await following


async def _slept(clock: Clock, seconds: float) -> None:
    await clock.sleep(seconds)
