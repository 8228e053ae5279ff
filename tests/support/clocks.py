"""Clocks that are not the machine's: those that a test moves, and the time of its event loop."""

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from runai_async._clock import SystemClock
from runai_async.testing import FakeClock
from runai_async.testing._clock import _IDLE_ROUNDS


class SocketlessClock(FakeClock):
    """A `FakeClock` for tests in which nothing waits for a socket, a thread or a timer of the loop.

    There, a loop in which nothing is ready stays idle. Without this, most of the time of such a test would be
    spent on turns of the loop in which a response could arrive.
    """

    async def _until_idle(self) -> None:
        loop: Any = asyncio.get_running_loop()
        idle, seen = 0, self._count
        while loop._ready and idle < _IDLE_ROUNDS:
            await asyncio.sleep(0)
            idle, seen = (idle + 1, seen) if seen == self._count else (0, self._count)


class ForwardClock(SystemClock):
    """The machine's clock, ahead by as much as the test wants: what is young becomes old without waiting."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def forward(self, seconds: float) -> None:
        """Put the clock forward."""
        self._ahead += seconds

    def monotonic(self) -> float:
        return time.monotonic() + self._ahead

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self._ahead)


class LoopClock(SystemClock):
    """The time of the event loop in which it is made, whatever the machine's clock says."""

    def __init__(self) -> None:
        self.monotonic = asyncio.get_running_loop().time
        self._epoch = datetime.now(UTC) - timedelta(seconds=self.monotonic())

    def now(self) -> datetime:
        return self._epoch + timedelta(seconds=self.monotonic())


@contextmanager
def far_east() -> Iterator[None]:
    """Have this machine be 13 hours east of Greenwich."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = "<+13>-13"
    time.tzset()
    try:
        yield
    finally:
        if before is None:
            del os.environ["TZ"]
        else:
            os.environ["TZ"] = before
        time.tzset()
