"""Whether a failed revision has really failed. No I/O, no clock.

A phase can be Failed for a moment and Running again. So a failure counts when several polls over a few
seconds have seen it, or when it is old.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from runai_async._clock import is_same_moment
from runai_async.models import Revision

_SECONDS = 5.0
"""Seconds over which polls have to see a failure; two polls at least."""
_OLD = timedelta(seconds=60)
"""Age, by the server's clock, from which one poll is enough."""


class Failure:
    """The failure of one revision, as far as polls have seen it."""

    def __init__(self) -> None:
        self._seen: Revision | None = None
        self._since = 0.0

    @property
    def is_seen(self) -> bool:
        """Whether the last poll saw one."""
        return self._seen is not None

    def record(self, revision: Revision, now: float, server_now: datetime) -> bool:
        """Record that a poll saw a revision failed; return whether it counts.

        Args:
            revision: in a phase that is a failure.
            now: monotonic time.
            server_now: the present time by the server's clock.
        """
        if self._seen is None or not _is_same(self._seen, revision):
            self._since = now
        self._seen = revision
        at = revision.phase_updated_at
        return now - self._since >= _SECONDS or (at is not None and server_now - at >= _OLD)

    def clear(self) -> None:
        """Record that a poll did not see it failed."""
        self._seen = None


def _is_same(one: Revision, other: Revision) -> bool:
    """Return whether two polls saw one failure."""
    before, after = one.phase_updated_at, other.phase_updated_at
    if one.id != other.id:
        return False
    return before is None or after is None or is_same_moment(before, after)
