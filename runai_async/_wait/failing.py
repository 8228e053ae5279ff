"""Whether a failed revision has really failed. No I/O, no clock.

A phase can be Failed for a moment and Running again. So a failure counts when several polls over a few
seconds have seen it, or when it is old.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from runai_async.models import Revision

_SECONDS = 5.0
"""Seconds over which polls have to see a failure; two polls at least."""
_OLD = timedelta(seconds=60)
"""Age, by the server's clock, from which one poll is enough."""


class Failing:
    """For how long one revision has been in a phase that is a failure."""

    def __init__(self) -> None:
        self._key: tuple[object, ...] | None = None
        self._since = 0.0

    def lasts(self, revision: Revision, now: float, server_now: datetime) -> bool:
        """Note that a poll saw a revision failed; return whether it counts.

        Args:
            revision: in a phase that is a failure.
            now: monotonic time.
            server_now: the present time by the server's clock.
        """
        at = revision.phase_updated_at
        key = (revision.id, revision.phase, None if at is None else at.replace(microsecond=0))
        if key != self._key:
            self._key, self._since = key, now
            return at is not None and server_now - at >= _OLD
        return now - self._since >= _SECONDS or (at is not None and server_now - at >= _OLD)

    def ends(self) -> None:
        """Note that a poll did not see it failed."""
        self._key = None
