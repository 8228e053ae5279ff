"""How large and how long a story is."""

from __future__ import annotations

from typing import NamedTuple

from runai_async import PollPolicy

Counts = tuple[dict[str, str], list[str]]
"""What a story returns: its figures, and the names of what is not as it should be."""


class Size(NamedTuple):
    """So many times smaller, and quicker, than at full size.

    Attributes:
        seed: of what is drawn at random.
    """

    scale: float
    seed: int

    @property
    def workloads(self) -> int:
        """How many are watched."""
        return int(5000 / self.scale)

    @property
    def interval(self) -> float:
        """Seconds between polls."""
        return self.seconds(10)

    @property
    def changes(self) -> float:
        """Changes a second: in an interval, of one in ten workloads."""
        return 50

    def seconds(self, at_full_size: float) -> float:
        """Scale a time."""
        return at_full_size / self.scale

    def policy(self, max_outage: float | None = None) -> PollPolicy:
        """Poll all at the same interval; times at full size."""
        return PollPolicy(
            interval=self.interval,
            fast_interval=self.interval,
            deadline=self.seconds(30),
            missing_grace=self.seconds(60),
            max_outage=None if max_outage is None else self.seconds(max_outage),
        )
