"""Whether a fleet's limits leave room for its polls. No I/O, no clock."""

from __future__ import annotations

from collections import Counter

_WEIGHT = 0.02
"""Weight of one poll in the average of their seconds."""
_LASTS = 30.0
"""Seconds for which room has to be short, so that a slow moment is no reason for a warning."""
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
        self._rate = 0.0  # polls a second that the intervals ask for
        self._seconds = 0.0
        self._polls = 0
        self._short_since: float | None = None
        self._is_reported = False

    def join(self, interval: float) -> None:
        """Count a workload that is polled once in so many seconds."""
        self._intervals[interval] += 1
        self._rate = self._summed_rate()

    def leave(self, interval: float) -> None:
        """No longer count a workload."""
        self._intervals[interval] -= 1
        if not self._intervals[interval]:
            del self._intervals[interval]
        self._rate = self._summed_rate()

    def note(self, seconds: float) -> None:
        """Note how long a successful poll took."""
        self._polls += 1
        self._seconds += (seconds - self._seconds) * max(_WEIGHT, 1 / self._polls)

    @property
    def needed(self) -> float:
        """Polls in flight that the intervals ask for."""
        return self._rate * self._seconds

    @property
    def stretch(self) -> float:
        """How many times as long as the intervals it takes to poll everyone once, at the rate limit."""
        return max(1.0, self._rate / self._rate_limit) if self._rate_limit else 1.0

    @property
    def shortest(self) -> float:
        """The shortest interval of any workload; 0 without workloads."""
        return min(self._intervals, default=0.0)

    def rate_without(self, relaxed: float, usual: float) -> float:
        """Return the polls a second that would be asked for if those at one interval had another one."""
        count = self._intervals.get(relaxed, 0)
        return self._rate + count * (1 / usual - 1 / relaxed)

    def _summed_rate(self) -> float:
        # Of few intervals, and only where one changes: adding and subtracting shares would drift.
        return sum(number / interval for interval, number in self._intervals.items())

    def shortfall(self, now: float) -> str | None:
        """Return what is missing, with the figures, once it has been missing for a while; None otherwise.

        Args:
            now: monotonic time.
        """
        rate, needed, limit = self._rate, self._rate * self._seconds, self._rate_limit
        used = max(needed / self._max_concurrency, rate / limit if limit else 0.0)
        if used <= (1.0 if self._short_since is None else _ENOUGH):
            self._short_since, self._is_reported = None, False
            return None
        if self._short_since is None:
            self._short_since = now
        if self._is_reported or now - self._short_since < _LASTS:
            return None
        self._is_reported = True
        asked = f"{rate:.0f} polls a second of {1000 * self._seconds:.0f} ms each"
        if needed > self._max_concurrency:
            return f"{asked} need {needed:.0f} in flight, but max_concurrency is {self._max_concurrency}"
        return f"{asked} are more than rate_limit, {limit:g} a second"
