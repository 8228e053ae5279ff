"""Lets a fixed number of requests through at once; the others wait, each until its own deadline.

A semaphore with `asyncio.timeout` around each wait would do the same, but it makes and cancels a timer for
every request that waits, which was a tenth of the cost of a poll. Deadlines usually come in the order of the
requests, so one timer for the whole queue, set to the earliest deadline, is enough.
"""

from __future__ import annotations

import asyncio
from collections import deque

from runai_async._clock import Clock

_Waiter = tuple[float, asyncio.Future[None]]


class Limiter:
    """Hands out a fixed number of slots.

    Args:
        slots: how many.
        clock: the clock that deadlines refer to.
    """

    def __init__(self, slots: int, clock: Clock) -> None:
        self.free: int = slots
        self._clock = clock
        self._queue: deque[_Waiter] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def take(self) -> bool:
        """Take a slot if one is free."""
        if self.free > 0:
            self.free -= 1
            return True
        return False

    async def wait(self, deadline: float) -> None:
        """Wait for a slot and take it.

        Raises:
            TimeoutError: the monotonic time *deadline* came first.
        """
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append((deadline, turn))
        self._expire_at(deadline)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.give()  # the slot had been handed over already
            raise

    def give(self) -> None:
        """Give a slot back; it goes to whoever has waited longest."""
        while self._queue:
            _, turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.free += 1

    def _expire_at(self, deadline: float) -> None:
        """Make sure that the queue is looked at when a deadline comes."""
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
            self._expire_at(min(deadline for deadline, _ in waiting))
