"""Whether a fleet's limits leave room for its polls. No I/O, no clock."""

from __future__ import annotations

from collections import Counter

_WEIGHT = 0.02
"""Weight of one poll in the average of their seconds."""
_LEAST = 50
"""Polls before which the average says nothing."""
_ENOUGH = 0.8
"""Share of a limit below which there is room again."""


class Capacity:
    """What the polls of a fleet need, and what its limits allow.

    Args:
        max_concurrency: the most polls in flight.
        rate_limit: the most requests a second; None for no limit.
    """

    def __init__(self, max_concurrency: int, rate_limit: float | None) -> None:
        self._max_concurrency = max_concurrency
        self._rate_limit = rate_limit
        self._intervals: Counter[float] = Counter()
        self._seconds = 0.0
        self._polls = 0
        self._is_short = False

    def join(self, interval: float) -> None:
        """Count a workload that is polled once in so many seconds."""
        self._intervals[interval] += 1

    def leave(self, interval: float) -> None:
        """No longer count a workload."""
        self._intervals[interval] -= 1
        if not self._intervals[interval]:
            del self._intervals[interval]

    def note(self, seconds: float) -> None:
        """Note how long a successful poll took."""
        self._polls += 1
        self._seconds += (seconds - self._seconds) * max(_WEIGHT, 1 / self._polls)

    @property
    def rate(self) -> float:
        """Polls a second that the intervals ask for."""
        return sum(number / interval for interval, number in self._intervals.items())

    @property
    def needed(self) -> float:
        """Polls in flight that the intervals ask for."""
        return self.rate * self._seconds

    def shortfall(self) -> str | None:
        """Return what is missing, with the figures, when that is new; None otherwise."""
        if self._polls < _LEAST:
            return None
        rate, needed = self.rate, self.needed
        limit = self._rate_limit
        used = max(needed / self._max_concurrency, rate / limit if limit else 0.0)
        was_short, self._is_short = self._is_short, used > (_ENOUGH if self._is_short else 1.0)
        if was_short or not self._is_short:
            return None
        asked = f"{rate:.0f} polls a second of {1000 * self._seconds:.0f} ms each"
        if needed > self._max_concurrency:
            return f"{asked} need {needed:.0f} in flight, but max_concurrency is {self._max_concurrency}"
        return f"{asked} are more than rate_limit, {limit:g} a second"
