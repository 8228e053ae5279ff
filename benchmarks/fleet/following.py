"""What is measured of a fleet that follows the list: what it asks for, how late it is, and what it trusts."""

from __future__ import annotations

import asyncio
import statistics
import time
from bisect import bisect_left
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

from benchmarks.record import Line
from runai_async import FleetWatch

PHASES = ("Running", "Degraded", "Stopped")
"""Phases in which a workload is polled at the usual interval."""
DISCOVERY, RELAXED, FAST = 0.5, 6.0, 0.2
"""Intervals: between two listings, between the polls of quiet workloads, between those of hasty ones."""
EVERY = 50.0
"""Intervals in which each workload changes once, as in `Size.few_changes`."""

HINTS, LISTS = "hints", "seconds between listings"
"""Kinds of what a process notes beside events."""


class Period(NamedTuple):
    """A time that is measured, by `time.monotonic()`; events are dated by `time.time()`.

    Attributes:
        wall: what the one is ahead of the other.
    """

    start: float
    end: float
    wall: float

    def rate(self, times: Sequence[float]) -> float:
        """Return how many of these times there are in a second of it; they are in order."""
        return (bisect_left(times, self.end) - bisect_left(times, self.start)) / (self.end - self.start)

    def of(self, lines: Iterable[Line], kind: str) -> list[Line]:
        """Return what was written in it of a kind."""
        start, end = self.start + self.wall, self.end + self.wall
        return [line for line in lines if line.kind == kind and start <= line.received < end]

    def delays(self, lines: Iterable[Line], interval: float) -> list[float]:
        """Return the delays, in intervals, of the changes of phase that were reported in it."""
        return [line.delay / interval for line in self.of(lines, "phase_changed")]


async def measured(seconds: float) -> Period:
    """Return a period that begins now, when it is over."""
    start = time.monotonic()
    await asyncio.sleep(seconds)
    end = time.monotonic()
    return Period(start, end, time.time() - end)


def quantiles(values: Sequence[float]) -> tuple[float, float]:
    """Return the median and the 99th percentile."""
    cuts = statistics.quantiles(values, n=100)
    return cuts[49], cuts[98]


@asynccontextmanager
async def noting(fleet: FleetWatch, every: float, note: Callable[[str, str], None]) -> AsyncIterator[None]:
    """Report the state of the fleet's hints whenever it has become another, and how often it lists."""

    async def look() -> None:
        last = ""
        while True:
            status = fleet.status
            if status.hints != last:
                last = status.hints
                note(HINTS, last)
            note(LISTS, f"{status.discovery_interval}")
            await asyncio.sleep(every)

    task = asyncio.create_task(look())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
