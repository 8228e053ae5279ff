"""When the polls of one watch or wait are due. No I/O, no clock."""

from __future__ import annotations

import math
import random

from runai_async.policy import LEAST_INTERVAL, PollPolicy


def interval_at(policy: PollPolicy, now: float, fast_until: float) -> float:
    """Return the seconds between polls: the fast ones until the monotonic time *fast_until*."""
    return min(policy.interval, policy.fast_interval) if now < fast_until else policy.interval


_NEVER = -math.inf
_LAST_LOOK = 1.0
"""Seconds before the end of a wait at which it polls once more."""
_APART = 0.5
"""Seconds by which that poll has to be later than the one before it."""


class Slots:
    """When the polls of one watch are due: on a grid, so that neither waiting nor jitter accumulates."""

    __slots__ = ("due", "earliest", "last_start", "slot")

    def __init__(self, start: float) -> None:
        self.slot = start
        self.due = start
        self.last_start = _NEVER
        self.earliest = _NEVER  # what the server asked for

    def wait(self, now: float) -> float:
        """Return the seconds until a poll may begin."""
        return max(self.due, self.last_start + LEAST_INTERVAL) - now

    def wait_within(self, now: float, end: float) -> float:
        """Return the seconds to sleep where nothing is awaited after *end*: one poll comes shortly before."""
        left, last = end - now, end - _LAST_LOOK
        last = last - now if now <= last and last - self.last_start >= _APART else left
        return max(0.0, min(left, max(self.earliest - now, min(self.wait(now), last))))

    def advance(self, now: float, interval: float, jitter: float) -> None:
        """Make the next slot due; slots that have passed are skipped."""
        missed = max(0, math.ceil((now - self.slot) / interval) - 1)
        self.slot += interval * (missed + 1)
        self.due = self.slot + random.uniform(0, jitter * interval)  # noqa: S311

    def hasten(self, due: float) -> None:
        """Make the next poll due at *due*, if that is earlier, and begin a new grid there."""
        if due < self.due:
            self.postpone(due)

    def postpone(self, due: float, earliest: float = _NEVER) -> None:
        """Leave the grid: the next poll is due at *due*, never before *earliest*; a new grid begins."""
        self.slot = self.due = due
        self.earliest = earliest
