"""What one poll means for its workload and for the fleet. Pure functions: no I/O, no clock, no effects.

A member, a result and the time go in; one value comes out, which `FleetWatch` applies in one place.
"""

from __future__ import annotations

import math
from datetime import datetime
from typing import Literal, NamedTuple

from runai_async._clock import EARLIEST
from runai_async._fleet.doubt import NO_DOUBT, Doubt
from runai_async._fleet.member import Member
from runai_async._fleet.schedule import next_slot
from runai_async._watch.failures import NO_FAILURES, FailureStreak, Past, Verdict, is_malformed
from runai_async._watch.slots import interval_at
from runai_async.errors import (
    AuthenticationError,
    ConfigurationError,
    NotFoundError,
    RunaiError,
)
from runai_async.policy import LEAST_INTERVAL, PollPolicy

_FAILED_CAP = 300.0
"""Seconds between polls of a workload whose failure was reported, or that has no revisions."""


class Outcome(NamedTuple):
    """What follows from one poll.

    Attributes:
        due: monotonic time of the member's next poll.
        interval: seconds between its polls from now on.
        earliest: monotonic time before which the server asked not to be polled for it.
        streak: its failure streak from now on.
        backoff: its polls since its failure was reported; 0 if it was not.
        response: whether the control plane responded: "yes", "no", "token" where it refused the token, or
            "unknown" where it does not count.
        outage_begins: this poll is the first that failed in an outage of this workload.
        outage_ended_after: seconds of the workload's outage that this poll ended; None if it ended none.
        deleted: every known revision of the workload is deleted.
        report: the error to report as `WorkloadFailed`; None if there is nothing to report.
        without_revisions: the workload is listed but has no revisions, as is normal for some kinds.
        leaves: the workload leaves the fleet.
        ends: the error that ends the fleet; None if it goes on.
    """

    due: float
    interval: float
    earliest: float = -math.inf
    streak: FailureStreak = NO_FAILURES
    backoff: int = 0
    response: Literal["yes", "no", "token", "unknown"] = "yes"
    outage_begins: bool = False
    outage_ended_after: float | None = None
    deleted: bool = False
    report: RunaiError | None = None
    without_revisions: bool = False
    leaves: bool = False
    ends: RunaiError | None = None


class Poll(NamedTuple):
    """One finished poll.

    Attributes:
        began: monotonic time at which it began.
        now: monotonic time at which it ended.
        is_leaving: whether discovery no longer lists the workload.
        is_proven: whether that is enough for it to leave, whatever the poll shows.
        ever_responded: whether the control plane has ever responded to the fleet.
        is_silent: whether the control plane does not respond to anyone: then no workload loses patience.
        doubt: what is known of the workload should it be gone.
        wall: wall-clock time at which it ended.
        usual: seconds between the workload's polls while no revision is on its way; the policy's by default.
        stands: whether an early poll stands for the slot that it came before: one that failed, or that came
            because of a hint and found nothing, does not.
    """

    began: float
    now: float
    is_leaving: bool
    ever_responded: bool
    is_silent: bool = False
    is_proven: bool = False
    doubt: Doubt = NO_DOUBT
    wall: datetime = EARLIEST
    usual: float | None = None
    stands: bool = False


def of_success(member: Member, poll: Poll, policy: PollPolicy) -> Outcome:
    """Return what a successful poll means: it ends the failure streak."""
    interval, now, since = _interval(member, policy, poll), poll.now, member.streak.outage_since
    return Outcome(
        due=_next_slot(member, interval, poll, policy),
        interval=interval,
        outage_ended_after=None if since is None else now - since,
        leaves=poll.is_leaving and (poll.is_proven or not member.tracker.has_live),
    )


def of_failure(member: Member, error: RunaiError, poll: Poll, policy: PollPolicy) -> Outcome:
    """Return what a failed poll means."""
    interval = _interval(member, policy, poll)
    verdict = _verdict(member, error, poll, policy, interval)
    if _is_of_all(error, poll):
        return Outcome(
            due=_due_after(verdict, member, interval, 0, poll=poll, policy=policy),
            interval=interval,
            earliest=verdict.earliest,
            streak=verdict.streak,
            response="unknown",
            outage_begins=verdict.outage_begins,
            ends=error,
        )
    is_gone = verdict.is_believed and isinstance(error, NotFoundError)
    leaves = is_gone and poll.is_leaving
    without_revisions = is_gone and poll.doubt.is_listed and not member.tracker.has_known
    # One whose deletions are reported, and that the list no longer names, is about to leave.
    is_done = is_gone and poll.doubt.follows_list and not poll.doubt.is_listed and member.tracker.synced
    is_quiet = leaves or without_revisions or is_done or member.backoff
    report = None if is_quiet else verdict.error
    backoff = member.backoff or int(report is not None)
    due = _due_after(verdict, member, interval, backoff, poll=poll, policy=policy)
    return Outcome(
        due=poll.now + _FAILED_CAP if without_revisions else due,
        interval=interval,
        earliest=verdict.earliest,
        streak=verdict.streak,
        backoff=backoff + 1 if backoff else 0,
        response=_response(error, verdict),
        outage_begins=verdict.outage_begins,
        deleted=is_gone and member.tracker.synced,
        report=report,
        without_revisions=without_revisions,
        leaves=leaves,
    )


def _verdict(member: Member, error: RunaiError, poll: Poll, policy: PollPolicy, interval: float) -> Verdict:
    """Return what the failed poll means for the workload alone."""
    # A refused token that no poll has shown to work yet is the whole fleet's matter.
    succeeded = member.last_success_at is not None or isinstance(error, AuthenticationError)
    past = Past(succeeded=succeeded, readable=member.tracker.synced)
    since = poll.now if member.gone_since is None else member.gone_since
    return member.streak.record(
        error,
        policy,
        what=f"workload {member.tracker.workload_id}",
        began=poll.began,
        now=poll.now,
        interval=interval,
        past=past,
        grace=poll.doubt.grace_of(error, policy, past, since),
        counts=not poll.is_silent,
        wall=poll.wall,
    )


def _response(error: RunaiError, verdict: Verdict) -> Literal["yes", "no", "token"]:
    """Return whether the control plane responded: with a refusal, or with JSON that cannot be decoded."""
    if isinstance(error, AuthenticationError):
        return "token"
    return "yes" if is_malformed(error) or verdict.streak.refused_as is not None else "no"


def _is_of_all(error: RunaiError, poll: Poll) -> bool:
    """Return whether an error ends the fleet: rejected credentials, or a configuration that never worked."""
    if isinstance(error, ConfigurationError):
        return not poll.ever_responded
    return isinstance(error, AuthenticationError) and error.is_final


def _due_after(
    verdict: Verdict, member: Member, interval: float, backoff: int, *, poll: Poll, policy: PollPolicy
) -> float:
    """Return when to poll again after a failure."""
    if backoff:
        longest = min(max(_FAILED_CAP, interval), interval * 2.0 ** min(backoff, 32))
        due = poll.now + longest * (0.5 + member.offset / 2)  # spread: what failed together would return so
        return max(due, verdict.earliest)
    return _next_slot(member, interval, poll, policy) if verdict.due is None else verdict.due


def _interval(member: Member, policy: PollPolicy, poll: Poll) -> float:
    if poll.usual is not None and poll.now >= member.tracker.fast_until(policy.fast_for):
        return poll.usual
    return interval_at(policy, poll.now, member.tracker.fast_until(policy.fast_for))


def _next_slot(member: Member, interval: float, poll: Poll, policy: PollPolicy) -> float:
    """Return the member's next slot, but not one so soon after an extra poll that this poll stands for it.

    For a relaxed one no poll stands for another: the time between two of them is long enough as it is.
    """
    earliest = max(poll.now, poll.began + LEAST_INTERVAL)
    if interval <= policy.interval:
        earliest = max(earliest, poll.began + min(member.interval, interval) / 2)
        if poll.stands and interval == member.interval:
            earliest = max(earliest, member.slot)
    due = next_slot(member.offset, interval, earliest)
    if poll.stands or member.slot <= poll.now:
        return due
    return max(min(due, member.slot), poll.began + LEAST_INTERVAL)
