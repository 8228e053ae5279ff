"""Lets so many requests through at once; the others wait for their turn, each no longer than its deadline.

A semaphore with `asyncio.timeout` around each wait does the same, with a timer made and cancelled for every
request that waits, which was a tenth of the cost of a poll. Deadlines mostly come in the order in which the
requests do, so one timer for the whole queue, set to the earliest, is enough.
"""

from __future__ import annotations

import asyncio
from collections import deque

from runai_async._clock import Clock

_Waiter = tuple[float, asyncio.Future[None]]


class Limiter:
    """Hands out a number of places.

    Args:
        places: how many.
        clock: tells when a deadline has come.
    """

    def __init__(self, places: int, clock: Clock) -> None:
        self.free: int = places
        self._clock = clock
        self._queue: deque[_Waiter] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def take(self) -> bool:
        """Take a place if one is free."""
        if self.free > 0:
            self.free -= 1
            return True
        return False

    async def wait(self, deadline: float) -> None:
        """Wait for a place and take it.

        Raises:
            TimeoutError: the monotonic time *deadline* came first.
        """
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append((deadline, turn))
        self._watch(deadline)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.give()  # the turn had come already
            raise

    def give(self) -> None:
        """Give a place back: to whoever waits for the longest time, if anyone does."""
        while self._queue:
            _, turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.free += 1

    def _watch(self, deadline: float) -> None:
        """See to it that the queue is looked at when a deadline comes."""
        loop = asyncio.get_running_loop()
        at = loop.time() + max(0.0, deadline - self._clock.monotonic())
        if self._timer is not None:
            if self._timer.when() <= at:
                return
            self._timer.cancel()
        self._timer = loop.call_at(at, self._expire)

    def _expire(self) -> None:
        """End the waits whose deadline has come, and set the timer to the next one."""
        self._timer = None
        now, waiting = self._clock.monotonic(), deque[_Waiter]()
        for deadline, turn in self._queue:
            if turn.done():
                continue
            if deadline <= now:
                turn.set_exception(TimeoutError())
            else:
                waiting.append((deadline, turn))
        self._queue = waiting
        if waiting:
            self._watch(min(deadline for deadline, _ in waiting))
