"""Clocks that are not the machine's: one that a test can put forward, and the time of its event loop."""

import asyncio
import time
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
