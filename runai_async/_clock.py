"""The clock that the whole package reads and sleeps by."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from typing import Protocol

EARLIEST = datetime.min.replace(tzinfo=UTC)
"""A time before all others, in the place of one that is missing."""
_MICROSECOND = timedelta(microseconds=1)


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


# --- one moment in several precisions ---------------------------------------------------------------------


def finest(known: datetime | None, seen: datetime | None) -> datetime | None:
    """Return the finer spelling of one moment; of two moments *seen*; of a moment and None the moment."""
    if known is None or seen is None:
        return seen or known
    return known if is_same_moment(known, seen) and _resolution(known) <= _resolution(seen) else seen


def is_same_moment(one: datetime, other: datetime) -> bool:
    """Return whether two times are one moment: equal, or one cut or rounded to a coarser unit than the other.

    Servers write one time of theirs in several precisions, from nanoseconds to whole seconds.
    """
    if one == other:
        return True
    fine, coarse = sorted((one, other), key=_resolution)
    unit, gap = _resolution(coarse), fine - coarse
    if unit == _resolution(fine):
        return abs(gap) <= _MICROSECOND and unit == _MICROSECOND  # nanoseconds, cut here and rounded there
    return -unit / 2 <= gap < unit


def _resolution(time: datetime) -> timedelta:
    """Return the coarsest unit in which a time can have been written."""
    if time.microsecond == 0:
        return timedelta(seconds=1)
    return _MICROSECOND if time.microsecond % 1000 else timedelta(milliseconds=1)
