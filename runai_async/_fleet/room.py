"""Which polls of a fleet may begin now. No I/O, no clock."""

from __future__ import annotations

import math
from typing import NamedTuple


class Ticket(NamedTuple):
    """A poll in flight.

    Attributes:
        is_failing: whether the last poll of its workload failed.
        probe: the pause that it probes; None if it began outside of one.
    """

    is_failing: bool
    probe: int | None


class Room:
    """Counts the polls in flight, and remembers the pauses.

    Workloads whose last poll failed have at most half of the room, since hanging ones would take all of it; a
    poll of theirs for which there is none is left out.
    While the token is refused, one poll at a time probes; those that began before the pause do not count.

    Args:
        max_concurrency: the most polls in flight.

    Attributes:
        in_flight: polls in progress.
    """

    def __init__(self, max_concurrency: int) -> None:
        self.in_flight: int = 0
        self._most = max_concurrency
        self._failing = 0
        self._probes = 0
        self._paused_until = self._held_until = -math.inf
        self._holds = 0
        self._is_probing = False

    def pause(self, until: float) -> None:
        """Let no poll begin before a monotonic time."""
        self._paused_until = max(self._paused_until, until)

    def hold(self, until: float) -> None:
        """Let no poll begin before a monotonic time, and then one at a time, until `release`."""
        if not self._is_probing:
            self._is_probing, self._holds, self._probes = True, self._holds + 1, 0
        self._held_until = until

    def release(self) -> None:
        """End what `hold` began; a pause stays."""
        self._is_probing, self._held_until = False, -math.inf

    @property
    def blocked_until(self) -> float:
        """Monotonic time before which no poll may begin."""
        return max(self._paused_until, self._held_until)

    def has_room(self, *, is_failing: bool = False) -> bool:
        """Return whether there is room for one more poll."""
        if self.in_flight >= self._most or (self._is_probing and self._probes):
            return False
        return not is_failing or self._failing < max(1, self._most // 2)

    def begin(self, *, is_failing: bool) -> Ticket:
        """Count a poll that begins."""
        self.in_flight += 1
        self._failing += is_failing
        self._probes += self._is_probing
        return Ticket(is_failing, self._holds if self._is_probing else None)

    def end(self, ticket: Ticket) -> None:
        """No longer count a poll."""
        self.in_flight -= 1
        self._failing -= ticket.is_failing
        if self._is_probing and ticket.probe == self._holds:
            self._probes -= 1
