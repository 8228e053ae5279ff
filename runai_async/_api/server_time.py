"""The server's clock, learnt from the `Date` headers of its responses."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from runai_async._clock import Clock

_EVERY = 10.0
"""Seconds between two readings: parsing a date is slow, and clocks drift slowly."""
_WEIGHT = 0.2
"""Weight of a new reading in the average, as a header has whole seconds only."""
_JUMP = 2.0
"""Seconds by which a reading may differ from the average; more, and a clock was set: it starts anew."""


class ServerTime:
    """The present time as the server has it.

    It is anchored to the monotonic clock, so that setting this machine's clock does not move it.

    Attributes:
        is_known: whether a response has said what time it is; until then this machine's clock counts.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lead = 0.0  # of the server's seconds since 1970 over the monotonic ones
        self.is_known: bool = False
        self._due = float("-inf")

    def note(self, headers: Mapping[str, str]) -> None:
        """Read the `Date` header of a response that has just come, now and then."""
        now = self._clock.monotonic()
        if now < self._due:
            return
        date = parse_date(headers.get("Date"))
        if date is None:
            return
        self._due = now + _EVERY
        # The header is cut to whole seconds: half a second later is the best guess.
        reading = date.timestamp() + 0.5 - now
        if not self.is_known or abs(reading - self._lead) > _JUMP:
            self._lead, self.is_known = reading, True
        else:
            self._lead += _WEIGHT * (reading - self._lead)

    def now(self) -> datetime:
        """Return the present time by the server's clock."""
        if not self.is_known:
            return self._clock.now()
        return datetime.fromtimestamp(self.timestamp(), UTC)

    def timestamp(self) -> float:
        """Return the same as seconds since 1970, which takes less time."""
        return self._lead + self._clock.monotonic() if self.is_known else self._clock.now().timestamp()

    @property
    def offset(self) -> float:
        """Seconds by which the server's clock is ahead of this machine's; 0 until it is known."""
        return (self.now() - self._clock.now()).total_seconds() if self.is_known else 0.0


def parse_date(value: str | None) -> datetime | None:
    """Read an HTTP date; None for what is not one."""
    if value is None:
        return None
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, TypeError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
