"""The first polls of workloads that join: soon, instead of each in its slot. No I/O, no clock.

Whoever starts a fleet wants to know how things are, and not in a whole interval. So those that join together
have their first poll along the spread as always, only that it takes less time; that poll stands for the slot
that would have come, unless it fails. Those that join later wait for them. Where half of the polls fail there
is no hurry: the slots are enough.
"""

from __future__ import annotations

import math
from collections import deque

_RATE = 200.0
"""First polls a second."""
_WINDOW = 20
"""The latest polls, over the fleet, that are looked at."""
_FAILURES = 10
"""How many of these have failed when a first pass ends."""
_LATE = 1.0
"""Seconds after its own slot from which on a first poll is an overdue one like any other."""


def span_of(count: int, interval: float) -> float:
    """Return the seconds for the first polls of so many workloads that join together."""
    return min(interval, count / _RATE)


def first_due(slot: float, interval: float, span: float, now: float, start: float) -> float:
    """Return when a workload is polled first, whose next slot within *interval* is *slot*: not after that.

    Args:
        slot: the time of the slot.
        interval: seconds.
        span: seconds for the first polls of all that join with it.
        now: the present time.
        start: the time at which these begin.
    """
    return min(slot, start + (slot - now) * span / interval)


def is_overdue(slot: float, now: float) -> bool:
    """Return whether a first poll did not come even in its own slot: then nothing is gained by it."""
    return now - slot > _LATE


class FirstPass:
    """Whether polls succeed, so that it makes sense to have first polls soon."""

    def __init__(self) -> None:
        self._latest: deque[bool] = deque(maxlen=_WINDOW)  # whether each failed
        self._until = -math.inf

    @property
    def is_over(self) -> bool:
        """Whether workloads are to be polled in their slots, because many polls fail."""
        return sum(self._latest) >= _FAILURES

    def begin(self, span: float, now: float) -> float:
        """Return when the first polls of some that join may begin, which take so many seconds."""
        start = max(now, self._until)
        self._until = start + span
        return start

    def end(self) -> None:
        """Have nobody wait for those that joined before."""
        self._until = -math.inf

    def succeeded(self) -> None:
        """Note a successful poll."""
        self._latest.append(False)

    def failed(self) -> bool:
        """Note a failed poll; return whether a first pass ends with it."""
        was_over = self.is_over
        self._latest.append(True)
        return self.is_over and not was_over
