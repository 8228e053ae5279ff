"""How often the library may list workloads by itself.

Behind the list of workloads is a view of a database that can take seconds, and a request that was given up
on goes on running there. So what the library lists by itself goes one listing at a time, and rests for a
multiple of the time that the last one took: however slow the list is, it is busy for a tenth of the time at
most. Processes that share the work, each of which reads the whole list, share that tenth as well.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager

from runai_async._clock import Clock

REST = 9.0
"""How many times as long as it took a listing rests."""
_LONGEST_REST = 300.0
"""Seconds up to which listings that fail in a row rest for longer each time."""


def rest_ratio(processes: int) -> float:
    """Return how many times as long as it took a listing rests, if so many processes list the same."""
    return (REST + 1) * processes - 1


def rest_after(seconds: float, failures: int, ratio: float = REST) -> float:
    """Return the seconds between a listing's end and the next one.

    Args:
        seconds: what its requests took.
        failures: how many listings in a row have failed, this one included.
        ratio: the multiple of *seconds* to rest.
    """
    least = ratio * seconds
    return min(least * 2.0 ** min(max(failures - 1, 0), 32), max(_LONGEST_REST, least))


class Pace:
    """When the next listing may begin. No I/O, no clock.

    Attributes:
        rest: seconds that the last listing asked for behind itself.
        not_before: monotonic time before which the next one does not begin.
    """

    def __init__(self) -> None:
        self.rest: float = 0.0
        self.not_before: float = -math.inf
        self._failures = 0

    def record(self, ended: float, seconds: float, *, failed: bool | None, ratio: float = REST) -> None:
        """Record a listing.

        Args:
            ended: monotonic time at which it ended.
            seconds: what its requests took.
            failed: whether it failed; None where it was cancelled, which says nothing.
            ratio: the multiple of *seconds* to rest.
        """
        if failed is not None:
            self._failures = self._failures + 1 if failed else 0
        self.rest = rest_after(seconds, self._failures, ratio)
        self.not_before = ended + self.rest


class Stopwatch:
    """Adds up what the steps of a listing took.

    Args:
        clock: the client's clock.
        longest: seconds that one step counts at most: a process that stood still kept no server busy.

    Attributes:
        seconds: the sum.
    """

    def __init__(self, clock: Clock, longest: float) -> None:
        self.seconds: float = 0.0
        self.longest: float = longest
        self.clock: Clock = clock

    @contextmanager
    def step(self) -> Generator[None, None, None]:
        """Measure one step, also if it fails."""
        began = self.clock.monotonic()
        try:
            yield
        finally:
            self.seconds += min(self.clock.monotonic() - began, self.longest)


class ListGate:
    """Lets through one listing at a time. All copies of a client share one, for its own list of workloads.

    Attributes:
        sorts: whether the server puts the workloads in order. One that refused to is not asked again.
    """

    def __init__(self) -> None:
        self.sorts: bool = True
        self._pace = Pace()
        self._lock = asyncio.Lock()

    @property
    def rest(self) -> float:
        """Seconds that the last listing asked for behind itself."""
        return self._pace.rest

    @asynccontextmanager
    async def turn(self, watch: Stopwatch, ratio: float = REST) -> AsyncGenerator[None, None]:
        """Wait for the turn of a listing, whose steps *watch* measures, and end it with the context."""
        async with self._lock:
            if (wait := self._pace.not_before - watch.clock.monotonic()) > 0:
                await watch.clock.sleep(wait)
            failed: bool | None = None
            try:
                yield
                failed = False
            except Exception:
                failed = True
                raise
            finally:
                self._pace.record(watch.clock.monotonic(), watch.seconds, failed=failed, ratio=ratio)
