"""The clock that the whole package reads and sleeps by."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import Protocol

EARLIEST = datetime.min.replace(tzinfo=UTC)
"""A time before all others, in the place of one that is missing."""


class Clock(Protocol):
    """Time as the client sees it. Implement it, or use `runai_async.testing.FakeClock`, for tests.

    Example:
        >>> clock: Clock = FakeClock(auto=True)
        >>> runai = RunaiClient("https://acme.run.ai", token, clock=clock)
    """

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        ...

    def now(self) -> datetime:
        """Return the wall clock's time, with a time zone."""
        ...

    def sleep(self, seconds: float) -> Awaitable[None]:
        """Wait for that many seconds of `monotonic`; usually an `async def`."""
        ...


class SystemClock:
    """The machine's own clock, and the running loop's sleep."""

    monotonic = staticmethod(time.monotonic)

    def now(self) -> datetime:
        """Return the current time in UTC."""
        return datetime.now(UTC)

    # Not a coroutine around the loop's own: each of thousands of watches would keep one while it waits.
    def sleep(self, seconds: float) -> Awaitable[None]:
        """Wait for that many seconds."""
        return asyncio.sleep(seconds)
