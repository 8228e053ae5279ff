"""Hands the polls of a fleet to workers, as they come due.

There is no task, queue or generator for each workload: thousands of them would cost more than the polls.
One loop takes what is due from a heap and hands it to a few workers, of which there are only as many as
polls are in flight.
"""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Iterator
from itertools import chain
from operator import itemgetter

from runai_async._clock import Clock
from runai_async._fleet.member import Member
from runai_async._fleet.schedule import RateLimit, Schedule
from runai_async._fleet.tasks import Tasks
from runai_async.errors import DeadlineExceededError

_NAP = 0.05
"""Seconds that the loop may sleep without noticing what is added meanwhile."""


class Dispatcher:
    """Polls each member when it is due: no more at once than allowed, no faster, none out of turn.

    Args:
        poll: polls a member, and plans when it is due again.
        is_full: called before each poll; whether there is no room for what it brings. See `wake`.
        tasks: what the loop and the workers belong to.
        clock: the client's clock.
        max_concurrency: the most polls in flight.
        rate_limit: the most requests a second; None for no limit.

    Attributes:
        in_flight: polls in progress.

    Members whose last poll failed hold at most half of the room: hanging ones would hold all of it.
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
    ) -> None:
        self.in_flight: int = 0
        self._poll = poll
        self._is_full = is_full
        self._tasks = tasks
        self._clock = clock
        self._max_concurrency = max_concurrency
        self._limit = RateLimit(rate_limit)
        self._schedules: defaultdict[float, Schedule[Member]] = defaultdict(Schedule)
        self._paused_until = self._held_until = -math.inf
        self._is_probing = False
        self._failing = 0  # polls in flight of members whose last poll failed
        self._held: deque[Member] = deque()
        self._stopped = False
        self._sleeping: asyncio.Task[None] | None = None
        self._sleeping_until = math.inf
        self._waiting: asyncio.Future[None] | None = None
        self._idle: list[asyncio.Future[Member]] = []

    def start(self) -> None:
        """Begin to poll what is due."""
        self._tasks.start(self._run)

    def stop(self) -> None:
        """Begin no further poll."""
        self._stopped = True

    def plan(self, member: Member, due: float) -> None:
        """Make a member due then, and no longer at the time planned before."""
        if member.due == due:
            return
        member.due = due
        if self._sleeping is not None and due < self._sleeping_until:
            self._sleeping.cancel()
        self._schedules[member.interval].push(due, member)

    def pause(self, until: float) -> None:
        """Begin no poll before a monotonic time."""
        self._paused_until = max(self._paused_until, until)

    def hold(self, until: float) -> None:
        """Begin no poll before a monotonic time, and then one at a time, until `release`."""
        self._is_probing, self._held_until = True, until

    def release(self) -> None:
        """End what `hold` began, at once; a `pause` goes on."""
        self._is_probing, self._held_until = False, -math.inf
        if self._sleeping is not None:
            self._sleeping.cancel()
        self.wake()

    def due(self, now: float) -> int:
        """Count the members that are due and wait for a poll."""
        return sum(due <= now for due in self._dues()) + len(self._held)

    def lag(self, now: float) -> float:
        """Return the seconds by which the longest waiting poll is late."""
        return max(0.0, now - min(self._dues(), default=now))

    def _dues(self) -> Iterator[float]:
        return chain.from_iterable(schedule.dues() for schedule in self._schedules.values())

    @property
    def _is_paused(self) -> bool:
        return self._clock.monotonic() < max(self._paused_until, self._held_until)

    @property
    def _room_for_all(self) -> int:
        return 1 if self._is_probing else self._max_concurrency

    @property
    def _has_room_for_failing(self) -> bool:
        """Whether members whose last poll failed have room: half of it, so that they delay no others."""
        return self._failing < max(1, self._max_concurrency // 2)

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
            if self.in_flight >= self._room_for_all or self._is_full():
                await self._room()
                continue
            now = self._clock.monotonic()
            # One schedule per interval: where many are late, members polled faster wait only for their like.
            turn, schedule = min(
                ((schedule.peek(now), schedule) for schedule in self._schedules.values()),
                key=itemgetter(0),
                default=(math.inf, None),
            )
            if schedule is None or turn > now:
                await self._sleep(turn)
                continue
            member = schedule.pop(now)
            member.due = None
            await self.pace()
            while self._is_paused:
                await self._sleep(max(self._paused_until, self._held_until))
            if not (member.removed or self._stopped):
                self._admit(member)

    async def _room(self) -> None:
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

    def _admit(self, member: Member) -> None:
        """Hand out a poll, unless too many of members that fail are in flight: they take long to fail."""
        if not member.streak.failures:
            self._hand_out(member)
        elif self._has_room_for_failing:
            self._failing += 1
            self._hand_out(member)
        else:
            self._held.append(member)

    def _finished(self, *, was_failing: bool) -> None:
        """Make room for the next poll."""
        self.in_flight -= 1
        if was_failing:
            self._failing -= 1
            while self._held and self._has_room_for_failing and not self._stopped:
                self._readmit(self._held.popleft())
        self.wake()

    def _readmit(self, member: Member) -> None:
        """Hand out a poll that was held back; in a pause it waits for its turn like all others."""
        if member.removed:
            return
        if self._is_probing or self._is_paused:
            self.plan(member, self._clock.monotonic())
        else:
            self._admit(member)

    def _hand_out(self, member: Member) -> None:
        """Give a poll to a worker that has none, or to a new one."""
        self.in_flight += 1
        if self._idle:
            self._idle.pop().set_result(member)
        else:
            self._tasks.start(self._work, member)

    async def _work(self, member: Member) -> None:
        """Poll, then wait for the next one to poll."""
        while True:
            was_failing = member.streak.failures > 0
            try:
                await self._poll(member)
            finally:
                self._finished(was_failing=was_failing)
            if self._stopped:  # a transport may have made an error of the cancellation
                return
            turn: asyncio.Future[Member] = asyncio.get_running_loop().create_future()
            self._idle.append(turn)
            member = await turn


async def _slept(clock: Clock, seconds: float) -> None:
    await clock.sleep(seconds)
