"""Whether the control plane responds to a fleet at all. No I/O, no clock.

The polls of one workload may fail for reasons of its own. Where those of all fail, one after another, the
control plane is gone: that is logged once for all, and it counts against patience as one workload's failures
would.
"""

from __future__ import annotations

import math

from runai_async._observe.log import logger
from runai_async._watch.failures import LEAST_POLLS, OUTAGE, RECOVERY, ROUNDING, counted, describe_failure
from runai_async.errors import RunaiError
from runai_async.policy import PollPolicy

_OUTAGE_AFTER = 10
"""Failed polls in a row, over the fleet, that are an outage if an interval brought no response either."""


class FleetOutage:
    """The polls of a fleet without a response since the last one."""

    def __init__(self) -> None:
        self._failures = 0
        self._rounds = 0
        self._seconds = 0.0
        self._noted_at = self._round_ended_at = -math.inf
        self._since: float | None = None
        self._silent_since: float | None = None
        self._last_response = -math.inf
        self._decider: str | None = None

    @property
    def ever_responded(self) -> bool:
        """Whether there has been any response."""
        return self._last_response != -math.inf

    @property
    def is_on(self) -> bool:
        """Whether the control plane itself is in an outage."""
        return self._since is not None

    @property
    def last_response_at(self) -> float | None:
        """Monotonic time of the last response; None without one."""
        return self._last_response if self.ever_responded else None

    def lasting(self, now: float) -> float | None:
        """Return for how many seconds the outage has lasted; None without one."""
        return None if self._since is None else now - self._since

    def silence(self, now: float) -> float:
        """Return for how many seconds there has been no response to any request."""
        return 0.0 if self._silent_since is None else now - self._silent_since

    def no_response(
        self,
        error: RunaiError,
        began: float,
        now: float,
        *,
        watched: int,
        pause: float,
        policy: PollPolicy,
    ) -> None:
        """Note a poll without a response; many in a row are an outage of the control plane itself.

        Many are as many as are *watched*. Or a few, and no response within an interval, in which each should
        have been polled: requests to a control plane that hangs take long to fail. *pause* is what was
        planned before the poll.
        """
        self._count(began, now, pause, policy)
        silent = self._failures >= _OUTAGE_AFTER and self.silence(now) >= policy.interval
        if self._since is None and (silent or self._failures >= watched):
            self._since = self._silent_since
            logger.warning(
                "the control plane does not respond (workloads watched: %d), %s",
                watched,
                describe_failure(error),
                extra=OUTAGE,
            )

    def _count(self, began: float, now: float, pause: float, policy: PollPolicy) -> None:
        self._failures += 1
        if self._silent_since is None:
            self._silent_since = max(began, self._last_response)
            self._seconds, self._rounds = min(now - self._silent_since, policy.deadline), 0
            self._round_ended_at = -math.inf
        else:
            self._seconds += counted(self._noted_at, now, pause, policy)
        self._noted_at = now
        if began >= self._round_ended_at:
            # Polls that ran at the same time are one round: a process that stood still fails all of them at
            # once.
            self._rounds, self._round_ended_at = self._rounds + 1, now

    def lasts_too_long(self, policy: PollPolicy) -> float | None:
        """Return the seconds of silence that count, if that is more than a fleet has patience for."""
        if policy.max_outage is None or self._rounds < LEAST_POLLS:
            return None
        return None if self._seconds < policy.max_outage - ROUNDING else self._seconds

    def decisive(
        self, workload_id: str, due: float, now: float, policy: PollPolicy, *, earliest: float = -math.inf
    ) -> float | None:
        """Return when to poll a workload again so that a poll decides when the fleet's patience is over.

        One is enough: where all came then, they would be a spike.

        Args:
            workload_id: whose poll has failed.
            due: monotonic time of its next one, by its back-off.
            now: monotonic time.
            policy: how patient the fleet is.
            earliest: monotonic time before which the server asked not to be polled for it.

        Returns:
            A monotonic time; None for *due*.
        """
        over = math.inf if policy.max_outage is None else now + policy.max_outage - self._seconds
        is_over = over - now <= ROUNDING
        if is_over or not earliest <= over < due or self._decider not in {None, workload_id}:
            self.forget(workload_id)
            return None
        self._decider = workload_id
        return over

    def forget(self, workload_id: str) -> None:
        """Let another workload's poll decide."""
        if self._decider == workload_id:
            self._decider = None

    def responded(self, now: float) -> bool:
        """Note a response, which ends an outage. Return whether there was one."""
        self._last_response = now
        self._failures, self._silent_since, self._decider = 0, None, None
        if self._since is None:
            return False
        seconds = now - self._since
        self._since = None
        logger.info("the control plane responds again after %.0f s", seconds, extra=OUTAGE | RECOVERY)
        return True

    def forget_silence(self) -> None:
        """Count silence from the next poll on."""
        self._failures, self._silent_since, self._decider = 0, None, None
