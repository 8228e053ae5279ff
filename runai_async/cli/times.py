"""Whose clock the times of a view are by, and how they are written."""

from __future__ import annotations

from datetime import datetime, timedelta

from runai_async._api.server_time import ServerTime
from runai_async._clock import Clock, SystemClock
from runai_async.cli.text import moment, time_of_day, zoned


class Times:
    """Writes the times of events and ages by the server's clock.

    Args:
        local: whether times are written in this machine's zone, and not in UTC.
        clock: a clock for tests.

    Attributes:
        server: the server's clock; None as long as there is no client, when this machine's counts.
    """

    def __init__(self, *, local: bool = False, clock: Clock | None = None) -> None:
        self.server: ServerTime | None = None
        self._local = local
        self._clock = clock or SystemClock()

    @property
    def ahead(self) -> timedelta:
        """By how much the server's clock is ahead of this machine's, as far as that is known."""
        return timedelta(seconds=0.0 if self.server is None else self.server.offset)

    def now(self) -> datetime:
        """Return the present time by this machine's clock, as the client has it."""
        return self._clock.now()

    def server_now(self) -> datetime:
        """Return the present time by the server's clock."""
        return self.now() + self.ahead

    def written(self, time: datetime) -> str:
        """Write a time of the server's to the millisecond, with its zone, and its date if it is not today."""
        is_today = zoned(time, local=self._local).date() == zoned(self.server_now(), local=self._local).date()
        write = time_of_day if is_today else moment
        return write(time, local=self._local, timespec="milliseconds")
