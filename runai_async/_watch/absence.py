"""Whether polls have lacked or shown something for long enough to believe it. No I/O, no clock."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, NamedTuple

from runai_async._clock import EARLIEST
from runai_async._watch.failures import LEAST_POLLS, ROUNDING, counted_across
from runai_async.checkpoint import Found, PollStreak


class Patience(NamedTuple):
    """How long polls must find the same before it is believed.

    Attributes:
        at: monotonic time of the poll.
        grace: seconds over which they must find it.
        longest_gap: seconds that one poll counts at most: a process that stood still proves nothing.
        wall: wall-clock time of the poll.
        longest_cut: seconds that the first poll after a resume counts at most.
    """

    at: float
    grace: float
    longest_gap: float
    wall: datetime = EARLIEST
    longest_cut: float = 0.0


class PollCount:
    """The polls in a row that have found the same. Seconds count as in `FailureStreak`.

    Args:
        before: those of the process before.

    Attributes:
        found: what they have found.
        is_believed: whether enough polls have found it, over enough seconds.
    """

    __slots__ = ("_at", "_polls", "_seconds", "_wall", "is_believed")
    found: ClassVar[Found]

    def __init__(self, before: PollStreak | None = None) -> None:
        self.is_believed: bool = False
        self._polls = 0 if before is None else before.polls
        self._seconds = 0.0 if before is None else before.seconds
        self._wall = EARLIEST if before is None else before.at
        self._at: float | None = None

    def record(self, patience: Patience) -> None:
        """Record one more poll that found it."""
        if self._polls:
            self._seconds += self._gap(patience)
        self._polls, self._at, self._wall = self._polls + 1, patience.at, patience.wall
        self.is_believed = self._polls >= LEAST_POLLS and self._seconds >= patience.grace - ROUNDING

    def _gap(self, patience: Patience) -> float:
        """Return the seconds that the poll adds."""
        if self._at is None:  # the one before was another process's, whose monotonic clock is not ours
            return counted_across(self._wall, patience.wall, patience.longest_cut)
        return min(patience.at - self._at, patience.longest_gap)

    def saved(self) -> PollStreak:
        """Return what the next process continues from."""
        return PollStreak(self.found, self._polls, self._seconds, self._wall)


class Absence(PollCount):
    """The polls in a row that have lacked something."""

    __slots__ = ()
    found = "missing"


class Presence(PollCount):
    """The polls in a row that have shown something live that was deleted."""

    __slots__ = ()
    found = "live"


def resumed(streak: PollStreak) -> PollCount:
    """Return the count that continues that of another process."""
    return Absence(streak) if streak.found == "missing" else Presence(streak)
