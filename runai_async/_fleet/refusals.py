"""Workloads that were readable and are refused now: logged together, not one by one. No clock."""

from __future__ import annotations

import math

from runai_async._observe.log import logger
from runai_async._watch.failures import RECOVERY
from runai_async.errors import PermissionDeniedError, RunaiError

_SETTLES = 10.0
"""Seconds after the first refusal at which they are counted, or an interval if that is shorter."""
_FEW = 2
"""Workloads that may be 404 at once without a warning."""
_AGAIN = 600.0
"""Seconds between two warnings."""


class Refusals:
    """Counts the workloads that are refused, and warns of them: once when they begin, then now and then."""

    def __init__(self) -> None:
        self._ids: set[str] = set()
        self._forbidden = 0  # polls with a 403 since none was refused
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
        self._forbidden += isinstance(error, PermissionDeniedError)
        # A few 404s are how workloads end.
        is_unusual = self._forbidden or len(self._ids) > max(_FEW, watched / 2)
        if is_unusual and now >= self._next_warning:
            self._next_warning, self._is_warned = now + _AGAIN, True
            text = "refused, though they were readable before: %d of %d workloads; %s"
            logger.warning(text, len(self._ids), watched, error)

    def clear(self, workload_id: str) -> None:
        """Record that a workload is not refused, or no longer watched."""
        if workload_id not in self._ids:
            return
        self._ids.discard(workload_id)
        if self._ids:
            return
        self._forbidden = 0
        if self._is_warned:
            self._is_warned = False
            logger.info("no workload is refused any more", extra=RECOVERY)
