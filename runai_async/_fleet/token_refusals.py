"""When a fleet pauses because its token is refused. No I/O, no clock.

One refused poll is that workload's own: of two gateways, one may have stale keys. Where several workloads in
a row are refused the token itself is, and thousands of polls would only load an identity service that
restarts. So the fleet pauses, and one poll at a time probes whether the token is accepted again.
"""

from __future__ import annotations

from typing import NamedTuple

from runai_async._watch.failures import NO_FAILURES, Past
from runai_async.errors import RunaiError
from runai_async.policy import PollPolicy

_WORKLOADS = 3
"""Different workloads that are refused, without a success in between, for a pause."""
_PROBES = (1.0, 2.0)
"""Seconds before the first probes; later ones back off as the polls of a watch do."""
_BRIEF = 10.0
"""Seconds up to which a pause was hardly needed: some were refused, not all."""
_MOST_WORKLOADS = 48
"""Different workloads for a pause, after any number of brief ones."""
_FORGIVEN = 900.0
"""Seconds after which brief pauses are forgotten."""


class Pause(NamedTuple):
    """What follows from a refused token, or from a probe that failed.

    Attributes:
        until: monotonic time of the next probe.
        begins: whether it is the first pause since the token was accepted.
        is_reminder: it is time for another warning, as nothing else reports it.
        error: what ends the fleet; None to probe again.
    """

    until: float
    begins: bool = False
    is_reminder: bool = False
    error: RunaiError | None = None


class TokenRefusals:
    """The workloads whose polls were refused for their token since the last success.

    Attributes:
        is_on: whether the fleet pauses, and one poll at a time probes.
    """

    def __init__(self) -> None:
        self.is_on: bool = False
        self._ids: set[str] = set()
        self._needed = _WORKLOADS
        self._streak = NO_FAILURES
        self._began = self._ended = self._paused_until = 0.0
        self._failed_probes = 0

    def record(
        self,
        workload_id: str,
        error: RunaiError,
        policy: PollPolicy,
        *,
        began: float,
        now: float,
        watched: int,
        succeeded: bool,
    ) -> Pause | None:
        """Record a refused poll, or any poll without a response while the fleet pauses.

        Args:
            workload_id: whose poll it was.
            error: what it raised.
            policy: how patient the fleet is.
            began: monotonic time at which the poll began.
            now: monotonic time.
            watched: how many workloads the fleet watches.
            succeeded: whether any poll of the fleet has succeeded yet.

        Returns:
            The pause; None where the fleet goes on as before.
        """
        if self.is_on and began < self._paused_until:
            return None  # it was in flight already, so it is no probe
        begins = not self.is_on
        if begins:
            self._ids.add(workload_id)
            if len(self._ids) < min(self._needed_at(now), max(1, watched)):
                return None
            self.is_on, self._began, self._failed_probes, self._streak = True, now, 0, NO_FAILURES
        else:
            self._failed_probes += 1
        return self._pause(error, policy, began=began, now=now, succeeded=succeeded, begins=begins)

    def _needed_at(self, now: float) -> int:
        if now - self._ended > _FORGIVEN:
            self._needed = _WORKLOADS
        return self._needed

    def _pause(
        self,
        error: RunaiError,
        policy: PollPolicy,
        *,
        began: float,
        now: float,
        succeeded: bool,
        begins: bool,
    ) -> Pause:
        tries_left = self._failed_probes < len(_PROBES)
        verdict = self._streak.record(
            error,
            policy,
            what="the fleet",
            began=began,
            now=now,
            interval=policy.interval,
            past=Past(succeeded=succeeded or tries_left, readable=True),
            grace=policy.missing_grace,
        )
        usual = now + policy.interval if verdict.due is None else verdict.due
        until = now + _PROBES[self._failed_probes] if tries_left else usual
        self._streak = verdict.streak._replace(pause=until - now)
        self._paused_until = max(until, verdict.earliest)
        return Pause(self._paused_until, begins, verdict.is_reminder, verdict.error)

    def forget(self, workload_id: str) -> None:
        """Forget a workload that is no longer watched."""
        self._ids.discard(workload_id)

    def clear(self, now: float) -> bool:
        """Record that the token was accepted; return whether that ends a pause."""
        self._ids.clear()
        if not self.is_on:
            return False
        if now - self._began < _BRIEF:
            self._needed = min(_MOST_WORKLOADS, 2 * self._needed)
        self.is_on, self._ended = False, now
        return True
