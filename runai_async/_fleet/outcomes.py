"""What a good or a failed poll of a fleet means: for its workload, and for all."""

from __future__ import annotations

from collections.abc import Callable

from runai_async._clock import Clock
from runai_async._fleet.buffer import Buffer
from runai_async._fleet.discovery import Discovery
from runai_async._fleet.member import Member
from runai_async._fleet.outage import FleetOutage
from runai_async._fleet.schedule import next_slot
from runai_async._watch.failures import FailureStreak, ends_at_once
from runai_async.errors import (
    AuthenticationError,
    ConfigurationError,
    NotFoundError,
    RunaiError,
    WatchOutageError,
)
from runai_async.events import WatchDegraded, WatchRecovered, WorkloadFailed
from runai_async.policy import PollPolicy


class Judge:
    """Draws the conclusions from a fleet's polls.

    Args:
        policy: how patient to be.
        clock: tells for how long something lasts.
        members: the workloads that are watched, by id; those that have left are taken out.
        roster: tells who is leaving.
        buffer: takes what is told.
        plan: makes a member due at another time.
        end: ends the fleet with an error.

    Attributes:
        outage: whether the control plane answers at all.
    """

    def __init__(
        self,
        policy: PollPolicy,
        clock: Clock,
        members: dict[str, Member],
        discovery: Discovery,
        buffer: Buffer,
        *,
        plan: Callable[[Member, float], None],
        end: Callable[[RunaiError], None],
    ) -> None:
        self.outage: FleetOutage = FleetOutage()
        self._policy = policy
        self._clock = clock
        self._members = members
        self._discovery = discovery
        self._buffer = buffer
        self._plan = plan
        self._end = end

    def good(self, member: Member, began: float) -> float:
        """Note a good poll and return when the next one is due."""
        now = member.last_success_at = self._clock.monotonic()
        self.responded(now)
        if self._discovery.is_leaving(member.tracker.workload_id):
            self._leave(member)
        if member.streak is not None:
            self._recovered(member, member.streak, now)
        return member.due_after_success(self._policy, began, now)

    def failed(self, member: Member, error: RunaiError, began: float) -> float:
        """Decide what a failed poll means and return when the next one is due."""
        streak = member.streak = member.streak or FailureStreak()
        in_outage = streak.outage_since is not None
        streak.failed(error, began)
        if not in_outage and streak.outage_since is not None:
            self._degraded(member, error)
        now = self._clock.monotonic()
        if self._ends(error):
            self._end(error)
        else:
            self._weigh(member, streak, error, began, now)
        return member.due_after_failure(streak, self._policy, began, now)

    def _weigh(
        self, member: Member, streak: FailureStreak, error: RunaiError, began: float, now: float
    ) -> None:
        """Decide what one workload's failed polls amount to."""
        if streak.is_refusal:
            self.responded(now)
        elif self._members:  # or it was in flight when the last one was removed
            self.no_response(error, began, now)
        if streak.believes(error, began, self._policy.missing_grace):
            self._refused(member, error)
        elif ends_at_once(error, first=member.last_success_at is None and streak.failures == 1):
            self._tell(member, error)
        elif streak.lasts_too_long(now, self._policy.max_outage):
            self._tell(member, streak.outage_error(f"workload {member.tracker.workload_id}", error, now))

    def _ends(self, error: RunaiError) -> bool:
        """Tell whether an error is everybody's: a refused token, or a configuration that never worked."""
        if isinstance(error, ConfigurationError):
            return not self.outage.ever_responded
        return isinstance(error, AuthenticationError)

    def _degraded(self, member: Member, error: RunaiError) -> None:
        if "degraded" in self._policy.emit:
            workload_id, now = member.tracker.workload_id, self._clock.now()
            member.tracker.put(WatchDegraded(workload_id=workload_id, observed_at=now, error=error))

    def _recovered(self, member: Member, streak: FailureStreak, now: float) -> None:
        if streak.outage_since is not None and "recovered" in self._policy.emit:
            event = WatchRecovered(
                workload_id=member.tracker.workload_id,
                observed_at=self._clock.now(),
                seconds=now - streak.outage_since,
            )
            member.tracker.put(event)

    def _refused(self, member: Member, error: RunaiError) -> None:
        """Believe a refusal: the revisions of a workload that was seen and is not found are deleted."""
        is_gone = isinstance(error, NotFoundError)
        if is_gone and member.tracker.synced:
            member.tracker.delete_all(self._clock.now())
        if is_gone and self._discovery.is_leaving(member.tracker.workload_id):
            self._leave(member)
        else:
            self._tell(member, error)

    def _leave(self, member: Member) -> None:
        """Forget a workload that discovery does not name any more, once its last events are told."""
        workload_id = member.tracker.workload_id
        if self._members.get(workload_id) is member:  # it may have been removed, and added again, meanwhile
            self._discovery.forget(workload_id)
            del self._members[workload_id]
            member.left = True

    def _tell(self, member: Member, error: RunaiError) -> None:
        """Tell a workload's trouble, once per spell."""
        if not member.failed:
            member.failed = 1
            event = WorkloadFailed(
                workload_id=member.tracker.workload_id, observed_at=self._clock.now(), error=error
            )
            self._buffer.put(member, event)

    def responded(self, now: float) -> None:
        """Note an answer; after an outage of all, those whom it hit are polled at their next places again.

        Where only some fail, be they many, others are answered all the time: then nobody's back-off ends.
        """
        silence = self.outage.silence(now)
        if not self.outage.responded(now) or silence < self._policy.interval:
            return
        for member in self._members.values():
            # Those too that would be polled sooner: only all together are spread evenly.
            if member.is_backing_off and member.due is not None:
                self._plan(member, next_slot(member.place, self._policy.interval, now))

    def no_response(self, error: RunaiError, began: float, now: float) -> None:
        """Note a request without any answer, and end the fleet where there was none for too long."""
        self.outage.no_response(error, began, now, watched=len(self._members), interval=self._policy.interval)
        limit, seconds = self._policy.max_outage, self.outage.silence(now)
        if limit is not None and seconds >= limit:
            self._end(
                WatchOutageError(
                    f"no answer from the control plane for {seconds:.0f} s: {error}", last_error=error
                )
            )
