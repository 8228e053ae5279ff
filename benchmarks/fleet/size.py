"""How large and how long a story is."""

from __future__ import annotations

from typing import NamedTuple

from runai_async import PollPolicy

Counts = tuple[dict[str, str], list[str]]
"""What a story returns: its figures, and the names of those that are wrong."""
AT_ONCE = 32
"""Polls that a fleet has in flight at most, by default."""


class Size(NamedTuple):
    """How many times smaller and faster than at full size.

    Attributes:
        seed: the seed of random choices.
    """

    scale: float
    seed: int

    @property
    def workloads(self) -> int:
        """The number of workloads watched."""
        return int(5000 / self.scale)

    @property
    def interval(self) -> float:
        """Seconds between polls."""
        return self.seconds(10)

    @property
    def changes(self) -> float:
        """Changes per second: one in ten workloads changes in an interval."""
        return 50

    @property
    def few_changes(self) -> float:
        """Changes per second: one in fifty workloads changes in an interval, and of few workloads five."""
        return max(self.workloads / 50, 5) / self.interval

    def seconds(self, at_full_size: float) -> float:
        """Scale a time."""
        return at_full_size / self.scale

    def policy(self, max_outage: float | None = None) -> PollPolicy:
        """Return a policy that polls all at the same interval; *max_outage* is at full size."""
        return PollPolicy(
            interval=self.interval,
            fast_interval=self.interval,
            deadline=self.seconds(30),
            missing_grace=self.seconds(60),
            max_outage=None if max_outage is None else self.seconds(max_outage),
        )
