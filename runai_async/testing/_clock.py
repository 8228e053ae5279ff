"""A clock that a test moves."""

from __future__ import annotations

import asyncio
import heapq
from datetime import UTC, datetime, timedelta

_IDLE_ROUNDS = 25
"""Turns of the event loop without a new sleeper after which the loop counts as idle."""


class FakeClock:
    """A clock that stands still until a test moves it, or that jumps when all tasks wait for it.

    Args:
        start: the first reading of `monotonic`, in seconds.
        now: the wall clock at that moment; aware.
        auto: jump to the next sleeper as soon as nothing else runs. A task that waits for a real socket
            counts as idle, so use `advance` instead where there are such tasks.

    Attributes:
        sleeps: the seconds of every sleep that was requested.

    Example:
        >>> clock = FakeClock()
        >>> task = asyncio.create_task(clock.sleep(10))
        >>> await clock.advance(10)
        >>> task.done(), clock.monotonic()
        (True, 10.0)
    """

    def __init__(
        self, start: float = 0.0, *, now: datetime = datetime(2026, 1, 1, tzinfo=UTC), auto: bool = False
    ) -> None:
        self.sleeps: list[float] = []
        self._time = start
        self._epoch = now - timedelta(seconds=start)
        self._auto = auto
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0
        self._driver: asyncio.Task[None] | None = None

    def monotonic(self) -> float:
        """Return the seconds of this clock."""
        return self._time

    def now(self) -> datetime:
        """Return the time of the wall clock, which moves with `monotonic`."""
        return self._epoch + timedelta(seconds=self._time)

    def shift_now(self, seconds: float) -> None:
        """Move the wall clock alone, as a correction of a real clock does."""
        self._epoch += timedelta(seconds=seconds)

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock has moved by that much; do not wait for 0 or less."""
        self.sleeps.append(seconds)
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        await self.pause(seconds)

    async def pause(self, seconds: float) -> None:
        """Wait as `sleep` does, without an entry in `sleeps`: for what is not the code under test."""
        sleeper: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._sleepers, (self._time + seconds, self._count, sleeper))
        if self._auto and self._driver is None:
            self._driver = asyncio.get_running_loop().create_task(self._drive(), name="FakeClock")
        await sleeper

    async def advance(self, seconds: float) -> None:
        """Move the clock; each sleeper wakes at its time and runs before the next one wakes."""
        end = self._time + seconds
        await self._until_idle()
        while self._next() <= end:
            self._jump()
            await self._until_idle()
        self._time = end

    async def _drive(self) -> None:
        try:
            while self._next() < float("inf"):
                await self._until_idle()
                if self._next() < float("inf"):  # the last sleeper may have been cancelled meanwhile
                    self._jump()
        finally:
            self._driver = None

    def _next(self) -> float:
        """Return when the next sleeper wakes, dropping those that were cancelled."""
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] if self._sleepers else float("inf")

    def _jump(self) -> None:
        """Move to the next sleeper's time and wake all sleepers that are due."""
        self._time = max(self._time, self._next())
        while self._next() <= self._time:
            heapq.heappop(self._sleepers)[2].set_result(None)

    async def _until_idle(self) -> None:
        """Let the other tasks run until none requests another sleep."""
        idle, seen = 0, self._count
        while idle < _IDLE_ROUNDS:
            await asyncio.sleep(0)
            idle, seen = (idle + 1, seen) if seen == self._count else (0, self._count)
