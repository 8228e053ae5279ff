"""Whether the control plane responds to a fleet at all. No I/O, no clock.

The polls of one workload may fail for reasons of its own. Where those of all fail, one after another, the
control plane is gone: that is logged once for all, and its duration is counted from the last response to any
of them.
"""

from __future__ import annotations

import logging
import math

from runai_async._watch.failures import OUTAGE
from runai_async.errors import RunaiError

logger = logging.getLogger("runai_async")

_OUTAGE_AFTER = 10
"""Failed polls in a row, over the fleet, that are an outage if an interval brought no response either."""


class FleetOutage:
    """The polls of a fleet without a response since the last one."""

    def __init__(self) -> None:
        self._failures = 0
        self._since: float | None = None
        self._silent_since: float | None = None
        self._last_response = -math.inf

    @property
    def ever_responded(self) -> bool:
        """Whether there has been any response."""
        return self._last_response != -math.inf

    def silence(self, now: float) -> float:
        """Return for how many seconds there has been no response to any request."""
        return 0.0 if self._silent_since is None else now - self._silent_since

    def no_response(
        self, error: RunaiError, began: float, now: float, *, watched: int, interval: float
    ) -> None:
        """Note a poll without a response; many in a row are an outage of the control plane itself.

        Many are as many as are *watched*. Or a few, and no response within an *interval*, in which each
        should have been polled: requests to a control plane that hangs take long to fail.
        """
        self._failures += 1
        if self._silent_since is None:
            self._silent_since = max(began, self._last_response)
        silent = self._failures >= _OUTAGE_AFTER and self.silence(now) >= interval
        if self._since is None and (silent or self._failures >= watched):
            self._since = self._silent_since
            logger.warning(
                "the control plane does not respond (workloads watched: %d), %s: %s",
                watched,
                type(error).__name__,
                error,
                extra=OUTAGE,
            )

    def responded(self, now: float) -> bool:
        """Note a response, which ends an outage. Return whether there was one."""
        self._last_response = now
        self._failures, self._silent_since = 0, None
        if self._since is None:
            return False
        seconds = now - self._since
        self._since = None
        logger.info("the control plane responds again after %.0f s", seconds, extra=OUTAGE)
        return True

    def forget_silence(self) -> None:
        """Count silence from the next poll on."""
        self._silent_since = None
