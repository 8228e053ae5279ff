"""Whether polls have lacked or shown something for long enough to believe it. No I/O, no clock."""

from __future__ import annotations

from runai_async._watch.failures import LEAST_POLLS, ROUNDING


class PollCount:
    """The polls in a row that have found the same. Seconds count as in `FailureStreak`.

    Attributes:
        is_believed: whether enough polls have found it, over enough seconds.
    """

    __slots__ = ("_noted_at", "_polls", "_seconds", "is_believed")

    def __init__(self) -> None:
        self.is_believed: bool = False
        self._polls = 0
        self._seconds = 0.0
        self._noted_at = 0.0

    def record(self, now: float, grace: float, longest_gap: float) -> None:
        """Record one more poll that found it.

        Args:
            now: monotonic time.
            grace: seconds over which polls have to find it.
            longest_gap: seconds that one poll counts at most: a process that stood still proves nothing.
        """
        if self._polls:
            self._seconds += min(now - self._noted_at, longest_gap)
        self._polls, self._noted_at = self._polls + 1, now
        self.is_believed = self._polls >= LEAST_POLLS and self._seconds >= grace - ROUNDING


class Absence(PollCount):
    """The polls in a row that have lacked something."""

    __slots__ = ()


class Presence(PollCount):
    """The polls in a row that have shown something live that was deleted."""

    __slots__ = ()
