"""Waiting for one revision to reach a phase."""

from __future__ import annotations

import math
from collections.abc import Set as AbstractSet

from runai_async._api.api import Api
from runai_async._wait.failing import Failure
from runai_async._wait.stalling import Stalling, log_stall
from runai_async._watch.cluster_watch import ClusterWatch
from runai_async._watch.failures import NO_FAILURES, Past, Verdict, cause_of_cut, grace_of
from runai_async._watch.reports import report_failure, report_recovery
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

FAILED_PHASES = frozenset(phase for phase in Phase if phase.is_terminal)
"""The phases that end a wait as a failure: an inference workload is not meant to complete."""
_CLUSTER_PATIENCE = 2.0
"""Seconds that a wait which has timed out waits for the state of its revision's cluster, at most."""


class PhaseWait:
    """Waits for one revision by polling it."""

    def __init__(self, api: Api, policy: PollPolicy, revision_id: str, clusters: ClusterWatch) -> None:
        self._call = api.endpoints.get_revision(revision_id)
        self._retrying = api.retrying
        self._clock = api.clock
        self._policy = policy
        self._clusters = clusters
        self._id = revision_id
        self._last: Revision | None = None
        self._last_error: RunaiError | None = None
        self._changed_at = api.clock.monotonic()
        self._streak = NO_FAILURES
        self._what = f"revision {revision_id}"
        self._failure = Failure()
        self._stalling = Stalling(policy.stalled_after)
        self._server_time = api.server_time

    async def run(self, until: AbstractSet[Phase], fail_on: AbstractSet[Phase], timeout: float) -> Revision:
        """Look first, then wait; see `RunaiClient.wait_for_phase`."""
        slots = Slots(self._clock.monotonic())
        end = self._clock.monotonic() + timeout
        while True:
            began = slots.last_start = self._clock.monotonic()
            verdict: Verdict | None = None
            try:
                revision = await self._look(min(end, began + self._policy.deadline))
            except RunaiError as error:
                if isinstance(error, DeadlineExceededError) and self._clock.monotonic() >= end:
                    responded = self._last is not None
                    cause = cause_of_cut(error, self._last_error, responded=responded)
                    raise await self._late(until, fail_on, timeout, cause) from cause
                self._last_error = error
                verdict = self._failed(error, began)
            else:
                self._last_error = None
                if self._is_reached(revision, until, fail_on):
                    return revision
            now = self._clock.monotonic()
            if verdict is None or verdict.due is None:
                slots.advance(now, self._interval(now), self._policy.jitter)
            else:
                slots.postpone(verdict.due, verdict.earliest)
            await self._clock.sleep(slots.wait_within(now, end))
            if self._clock.monotonic() >= end:
                cause = self._last_error
                raise await self._late(until, fail_on, timeout, cause) from cause

    async def _look(self, deadline: float) -> Revision:
        revision = await self._retrying.call(self._call, deadline=deadline)
        if self._last is None or revision.phase != self._last.phase:
            self._changed_at = self._clock.monotonic()
        report_recovery(self._what, self._streak, self._clock.monotonic())
        self._last, self._streak = revision, NO_FAILURES
        return revision

    def _is_reached(self, revision: Revision, until: AbstractSet[Phase], fail_on: AbstractSet[Phase]) -> bool:
        if revision.deleted_at is not None:
            raise PhaseFailedError(
                f"revision {self._id} was deleted at {revision.deleted_at}", revision=revision
            )
        if revision.phase in until:
            return True
        if revision.phase not in fail_on:
            self._failure.clear()
        elif self._failure.record(revision, self._clock.monotonic(), self._server_time.now()):
            raise self._failed_error(revision, until)
        if (stall := self._stalling.look(revision, self._clock.now(), self._server_time.now())) is not None:
            log_stall(stall)
        return False

    def _failed_error(self, revision: Revision, until: AbstractSet[Phase]) -> PhaseFailedError:
        return PhaseFailedError(
            f"{describe_revision(revision)}; it will not reach {_listed(until)}", revision=revision
        )

    def _failed(self, error: RunaiError, began: float) -> Verdict:
        """Record a failed poll, and raise what ends the wait, if it ends."""
        now = self._clock.monotonic()
        past = Past(succeeded=self._last is not None, readable=self._last is not None)
        grace = grace_of(error, self._policy, past)
        verdict = self._streak.record(
            error,
            self._policy,
            what=self._what,
            began=began,
            now=now,
            interval=self._interval(now),
            past=past,
            grace=grace,
        )
        self._streak = verdict.streak
        report_failure(self._what, verdict, error, grace, past)
        if verdict.error is None:
            return verdict
        if verdict.is_believed and isinstance(error, NotFoundError) and self._last is not None:
            raise PhaseFailedError(f"revision {self._id} was deleted", revision=self._last) from error
        raise verdict.error

    def _interval(self, now: float) -> float:
        moves = self._last is None or not self._last.phase.is_settled or self._failure.is_seen
        return interval_at(
            self._policy, now, self._changed_at + self._policy.fast_for if moves else -math.inf
        )

    async def _late(
        self,
        until: AbstractSet[Phase],
        fail_on: AbstractSet[Phase],
        timeout: float,
        error: RunaiError | None,
    ) -> WaitTimeoutError | PhaseFailedError:
        """Return what a wait ends with whose time is up; then one poll that saw a failure is enough."""
        if self._last is not None and self._last.phase in fail_on - until:
            return self._failed_error(self._last, until)
        state = describe_revision(self._last) if self._last else f"revision {self._id} was not seen"
        cluster = await cluster_note(self._clusters, self._last, timeout) if error is None else ""
        return WaitTimeoutError(
            f"{state}, not {_listed(until)} within {timeout:g} s{last_failure(error)}{cluster}",
            revision=self._last,
            last_error=error,
        )


def describe_revision(revision: Revision) -> str:
    """Describe a revision's state in the words that an operator needs."""
    message = f": {revision.phase_message}" if revision.phase_message else ""
    pods = "" if revision.running_pods is None else f", {revision.running_pods} pods running"
    return f"revision {revision.name} ({revision.id}) is {revision.phase}{pods}{message}"


async def cluster_note(clusters: ClusterWatch, revision: Revision | None, timeout: float) -> str:
    """Return the end of a timeout's message: that the revision's cluster is disconnected, if it is."""
    seconds = min(_CLUSTER_PATIENCE, timeout / 10)
    return "" if revision is None else await clusters.note(revision.cluster_id, seconds)


def last_failure(error: RunaiError | None) -> str:
    """Return the end of a timeout's message: why the last poll failed, if it did."""
    return "" if error is None else f"; the last poll failed with {type(error).__name__}: {error}"


def _listed(phases: AbstractSet[Phase]) -> str:
    return " or ".join(sorted(phases))
