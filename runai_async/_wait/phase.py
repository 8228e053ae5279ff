"""Waiting for one revision to reach a phase."""

from __future__ import annotations

import logging
import math
from collections.abc import Set as AbstractSet

from runai_async._api.endpoints import Endpoints
from runai_async._api.retry import Retrying
from runai_async._clock import Clock
from runai_async._watch.failures import FailureStreak, cause_of_cut, ends_at_once
from runai_async._watch.slots import Slots, interval_at
from runai_async.errors import (
    DeadlineExceededError,
    NotFoundError,
    PhaseFailedError,
    RunaiError,
    WaitTimeoutError,
)
from runai_async.models import Phase, Revision
from runai_async.policy import PollPolicy

logger = logging.getLogger("runai_async")


def describe_revision(revision: Revision) -> str:
    """Describe a revision's state in the words that an operator needs."""
    message = f": {revision.phase_message}" if revision.phase_message else ""
    pods = "" if revision.running_pods is None else f", {revision.running_pods} pods running"
    return f"revision {revision.name} ({revision.id}) is {revision.phase}{pods}{message}"


class PhaseWait:
    """Waits for one revision, by asking for it."""

    def __init__(
        self,
        endpoints: Endpoints,
        retrying: Retrying,
        clock: Clock,
        policy: PollPolicy,
        revision_id: str,
    ) -> None:
        self._call = endpoints.get_revision(revision_id)
        self._retrying = retrying
        self._clock = clock
        self._policy = policy
        self._id = revision_id
        self._last: Revision | None = None
        self._last_error: RunaiError | None = None
        self._changed_at = clock.monotonic()
        self._streak = FailureStreak()

    async def run(
        self, until: AbstractSet[Phase] | None, fail_on: AbstractSet[Phase], timeout: float
    ) -> Revision:
        """Look first, then wait; see `RunaiClient.wait_for_phase`. Without *until* any phase will do."""
        slots = Slots(self._clock.monotonic())
        end = self._clock.monotonic() + timeout
        while True:
            began = slots.last_start = self._clock.monotonic()
            try:
                revision = await self._look(min(end, began + self._policy.deadline))
            except RunaiError as error:
                if isinstance(error, DeadlineExceededError) and self._clock.monotonic() >= end:
                    responded = self._last is not None
                    cause = cause_of_cut(error, self._last_error, responded=responded)
                    raise self._late(until, timeout, cause) from cause
                self._last_error = error
                due = self._failed(error, began)
            else:
                self._last_error = due = None
                if until is None or self._is_reached(revision, until, fail_on):
                    return revision
            now = self._clock.monotonic()
            if due is None:
                slots.advance(now, self._interval(now), self._policy.jitter)
            else:
                slots.postpone(due)
            await self._clock.sleep(max(0.0, min(slots.wait(now), end - now)))
            if self._clock.monotonic() >= end:
                raise self._late(until, timeout, self._last_error) from self._last_error

    async def _look(self, deadline: float) -> Revision:
        revision = await self._retrying.call(self._call, deadline=deadline)
        if self._last is None or revision.phase != self._last.phase:
            self._changed_at = self._clock.monotonic()
        if (since := self._streak.outage_since) is not None:
            seconds = self._clock.monotonic() - since
            logger.info("revision %s: polls are good again after %.0f s", self._id, seconds)
        self._last, self._streak = revision, FailureStreak()
        return revision

    def _is_reached(self, revision: Revision, until: AbstractSet[Phase], fail_on: AbstractSet[Phase]) -> bool:
        if revision.deleted_at is not None:
            raise PhaseFailedError(
                f"revision {self._id} was deleted at {revision.deleted_at}", revision=revision
            )
        if revision.phase in until:
            return True
        if revision.phase in fail_on:
            raise PhaseFailedError(
                f"{describe_revision(revision)}; it will not come to {_listed(until)}", revision=revision
            )
        return False

    def _failed(self, error: RunaiError, began: float) -> float | None:
        """Decide what a failed look means; return when to look again, None for the usual time."""
        in_outage = self._streak.outage_since is not None
        self._streak.failed(error, began)
        if ends_at_once(error, first=self._last is None and self._streak.failures == 1):
            raise error
        now = self._clock.monotonic()
        if self._streak.believes(error, began, self._policy.missing_grace):
            if isinstance(error, NotFoundError) and self._last is not None:
                raise PhaseFailedError(f"revision {self._id} is gone", revision=self._last) from error
            raise error
        if self._streak.lasts_too_long(now, self._policy.max_outage):
            raise self._streak.outage_error(f"revision {self._id}", error, now) from error
        if not in_outage and self._streak.outage_since is not None:
            logger.warning("revision %s: polls fail, %s: %s", self._id, type(error).__name__, error)
        return self._streak.next_due(now, self._interval(now), self._policy)

    def _interval(self, now: float) -> float:
        moves = self._last is None or not self._last.phase.is_settled
        return interval_at(
            self._policy, now, self._changed_at + self._policy.fast_for if moves else -math.inf
        )

    def _late(
        self, until: AbstractSet[Phase] | None, timeout: float, error: RunaiError | None
    ) -> WaitTimeoutError:
        state = describe_revision(self._last) if self._last else f"revision {self._id} was not seen"
        wanted = f", not {_listed(until)}" if until else ""
        return WaitTimeoutError(
            f"{state}{wanted} within {timeout:g} s{last_failure(error)}", revision=self._last
        )


def last_failure(error: RunaiError | None) -> str:
    return "" if error is None else f"; the last poll failed with {type(error).__name__}: {error}"


def _listed(items: AbstractSet[Phase]) -> str:
    return " or ".join(sorted(items))
