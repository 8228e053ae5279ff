"""Clocks that are not the machine's: one that a test can put forward, and the time of its event loop."""

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from runai_async._clock import SystemClock


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
