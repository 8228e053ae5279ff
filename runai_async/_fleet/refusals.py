"""Workloads that were readable and are refused now: logged together, not one by one. No clock."""

from __future__ import annotations

import math

from runai_async._observe.log import logger
from runai_async.errors import RunaiError

_SETTLES = 10.0
"""Seconds after the first refusal at which they are counted, or an interval if that is shorter."""
_AGAIN = 600.0
"""Seconds between two warnings."""


class Refusals:
    """Counts the workloads that are refused, and warns of them: once when they begin, then now and then."""

    def __init__(self) -> None:
        self._ids: set[str] = set()
        self._next_warning = -math.inf
        self._is_warned = False

    def __len__(self) -> int:
        return len(self._ids)

    def record(
        self, workload_id: str, error: RunaiError, now: float, *, interval: float, watched: int
    ) -> None:
        """Record that a poll of a workload was refused.

        Args:
            workload_id: whose poll it was.
            error: the refusal.
            now: monotonic time.
            interval: seconds between polls.
            watched: how many workloads are watched.
        """
        if not self._ids:  # an authorization service that restarts refuses all: count them first
            self._next_warning = max(self._next_warning, now + min(_SETTLES, interval))
        self._ids.add(workload_id)
        if now >= self._next_warning:
            self._next_warning, self._is_warned = now + _AGAIN, True
            text = "%d of %d workloads are refused, though they were readable before: %s"
            logger.warning(text, len(self._ids), watched, error)

    def clear(self, workload_id: str) -> None:
        """Record that a workload is not refused, or no longer watched."""
        if workload_id not in self._ids:
            return
        self._ids.discard(workload_id)
        if not self._ids and self._is_warned:
            self._is_warned = False
            logger.info("no workload is refused any more")
