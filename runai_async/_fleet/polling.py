"""Polls one workload of a fleet, and does what follows from it in one place."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from runai_async._clock import Clock
from runai_async._fleet import outcomes
from runai_async._fleet.buffer import Buffer
from runai_async._fleet.delivered import Delivered
from runai_async._fleet.discovery import Discovery
from runai_async._fleet.dispatch import Dispatcher
from runai_async._fleet.follower import Follower
from runai_async._fleet.health import Consequence, Health
from runai_async._fleet.member import Member
from runai_async._fleet.members import Members
from runai_async._fleet.outcomes import Outcome
from runai_async._fleet.schedule import next_slot
from runai_async._fleet.slices import in_turns
from runai_async._observe.log import logger
from runai_async._watch.failures import describe_failure
from runai_async._watch.poll import Poller
from runai_async.errors import NotFoundError, RunaiError
from runai_async.events import WatchDegraded, WatchRecovered, WorkloadFailed
from runai_async.policy import PollPolicy


class Polling:
    """Polls members, decides by `outcomes` what that means, and applies it.

    Args:
        poller: makes the requests.
        policy: how patient the fleet is, and what it emits.
        clock: the client's clock.
        members: who is watched.
        discovery: what is listed.
        health: what the polls say about the control plane as a whole.
        dispatcher: plans when a member is due again.
        buffer: takes the events.
        settled: takes the id of a workload whose poll succeeded, or is no reason to wait for one that does.
        follower: says how often a member is polled by the rows of its list.
        delivered: keeps the checkpoints of the members.
        end: takes the error that ends the fleet.
    """

    def __init__(
        self,
        poller: Poller,
        policy: PollPolicy,
        clock: Clock,
        *,
        members: Members,
        discovery: Discovery,
        health: Health,
        dispatcher: Dispatcher,
        buffer: Buffer,
        settled: Callable[[str], None],
        follower: Follower,
        delivered: Delivered,
        end: Callable[[RunaiError], None],
    ) -> None:
        self._poller = poller
        self._policy = policy
        self._clock = clock
        self._members = members
        self._discovery = discovery
        self._health = health
        self._dispatcher = dispatcher
        self._buffer = buffer
        self._settled = settled
        self._follower = follower
        self._delivered = delivered
        self._end = end

    async def poll(self, member: Member) -> None:
        """Poll a member, and plan when it is due again."""
        was_hinted = member.hinted_at > member.began_at
        began = member.began_at = self._clock.monotonic()
        policy, was_settled, version = self._policy, member.tracker.is_settled, member.version
        error: RunaiError | None = None
        try:
            grace = partial(self._grace, member, began)
            await self._poller.poll(member.tracker, member.call, all_missing_grace=grace)
        except RunaiError as failure:
            error = failure
        poll = self._poll_of(member, began, error)
        if error is None:
            self._note_success(member, poll, was_settled=was_settled)
            is_back = self._apply(member, outcomes.of_success(member, poll, policy), None, poll)
        else:
            member.failure = describe_failure(error)  # not the error, whose frames would be kept
            outcome = outcomes.of_failure(member, error, poll, policy)
            self._follower.failed(member, outcome, poll, was_hinted=was_hinted)
            is_back = self._apply(member, outcome, error, poll)
        if member.version != version:
            self._delivered.note(member)
        if is_back:
            await self._return_to_slots(poll.now)

    def _note_success(self, member: Member, poll: outcomes.Poll, *, was_settled: bool) -> None:
        events = member.tracker.newest(member.tracker.pending - member.buffered)
        is_first = member.last_success_at is None
        self._follower.succeeded(member, poll, events, is_first=is_first, was_settled=was_settled)
        member.last_success_at, member.failure = poll.now, ""

    def _grace(self, member: Member, began: float) -> float:
        """Return the seconds for which it is doubted that all revisions of a member are gone."""
        since = began if member.gone_since is None else member.gone_since
        return self._members.doubt(member).grace_of_missing(self._policy, since)

    def _poll_of(self, member: Member, began: float, error: RunaiError | None) -> outcomes.Poll:
        """Return what an outcome is decided by."""
        now, workload_id = self._clock.monotonic(), member.tracker.workload_id
        is_leaving = self._discovery.is_leaving(workload_id)
        usual = self._follower.usual_interval(member, is_failing=error is not None)
        if error is None:  # nearly always, and then the rest does not matter
            is_first, tracker = member.last_success_at is None, member.tracker
            return outcomes.Poll(
                began,
                now,
                is_leaving,
                ever_responded=True,
                is_proven=self._discovery.is_proven(workload_id),
                usual=usual,
                stands=is_first or tracker.pending > member.buffered,
            )
        return outcomes.Poll(
            began,
            now,
            is_leaving,
            ever_responded=self._health.outage.ever_responded,
            is_silent=self._health.is_silent,
            doubt=self._members.doubt(member),
            wall=self._clock.now(),
            usual=usual,
        )

    def _apply(self, member: Member, outcome: Outcome, error: RunaiError | None, poll: outcomes.Poll) -> bool:
        """Do what follows from a poll; return whether it ends an outage of all."""
        pause = max(member.streak.pause, member.interval)  # what was planned before this poll
        member.streak, member.backoff, member.earliest = outcome.streak, outcome.backoff, outcome.earliest
        self._members.set_interval(member, outcome.interval, is_promised=error is None)
        if outcome.without_revisions is not member.without_revisions:
            self._note_revisions(member, outcome)
        if outcome.outage_begins or outcome.outage_ended_after is not None:
            self._emit(member, outcome, error)
        self._members.note_poll(member, succeeded=error is None)
        self._dispatcher.note(succeeded=error is None)
        consequence = self._note(member, outcome, error, poll, pause)
        member.slot = -math.inf  # if this poll stood for one, that is reckoned with
        if outcome.deleted:
            member.tracker.delete_all(self._clock.now())
        if outcome.leaves:
            self._members.leave(member)
        self._buffer.collect(member)
        if outcome.report is not None:
            self._report(member, outcome.report)
        if member.is_settled or member.left:
            self._settled(member.tracker.workload_id)
        if member.is_watched:
            self._dispatcher.plan(member, outcome.due if consequence.due is None else consequence.due)
            if member.hinted_for is not None:  # its row changed meanwhile
                self._follower.hasten(member)
        return consequence.is_back

    def _report(self, member: Member, error: RunaiError) -> None:
        workload_id, now = member.tracker.workload_id, self._clock.now()
        self._buffer.put(member, WorkloadFailed(workload_id=workload_id, observed_at=now, error=error))

    def _note(
        self, member: Member, outcome: Outcome, error: RunaiError | None, poll: outcomes.Poll, pause: float
    ) -> Consequence:
        """Do what follows from a poll for the whole fleet."""
        if error is None:
            is_gone = member.tracker.is_all_missing
            self._members.note_gone(member, poll.began if is_gone else None, is_believed=False)
            consequence = self._health.note_success(member, poll)
        else:
            is_gone = outcome.streak.refused_as is NotFoundError and member.tracker.synced
            is_believed = outcome.deleted or outcome.backoff > 0
            self._members.note_gone(member, poll.began if is_gone else None, is_believed=is_believed)
            consequence = self._health.note_failure(
                member, outcome, error, poll, pause=pause, watched=len(self._members)
            )
        if consequence.ends is not None:
            self._end(consequence.ends)
        return consequence

    def _emit(self, member: Member, outcome: Outcome, error: RunaiError | None) -> None:
        """Emit what the policy asks for about an outage of one workload."""
        workload_id, emit = member.tracker.workload_id, self._policy.emit
        if outcome.outage_begins and error is not None and "degraded" in emit:
            now = self._clock.now()
            member.tracker.put(WatchDegraded(workload_id=workload_id, observed_at=now, error=error))
        elif outcome.outage_ended_after is not None and "recovered" in emit:
            now, seconds = self._clock.now(), outcome.outage_ended_after
            member.tracker.put(WatchRecovered(workload_id=workload_id, observed_at=now, seconds=seconds))

    def _note_revisions(self, member: Member, outcome: Outcome) -> None:
        member.without_revisions = outcome.without_revisions
        if outcome.without_revisions:
            logger.info("workload %s is listed but has no revisions", member.tracker.workload_id)

    def responded(self, now: float) -> None:
        """Note a response to something else than a poll, while nobody is watched who could be polled."""
        self._health.note_response(now)

    async def _return_to_slots(self, now: float) -> None:
        """Let those whom an outage of all hit return to their usual slots.

        Where only some workloads fail, others are responded to all the time: then nobody's back-off ends.
        """
        async for member in in_turns([*self._members]):
            # Even those that would be polled sooner: only all together are they spread evenly.
            if member.is_backing_off and member.due is not None:
                slot = next_slot(member.offset, self._policy.interval, now)
                self._dispatcher.plan(member, max(slot, member.earliest))
