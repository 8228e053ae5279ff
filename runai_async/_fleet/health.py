"""What the polls of a fleet say about its control plane as a whole, and what the fleet does about it."""

from __future__ import annotations

import logging
from typing import NamedTuple

from runai_async._clock import Clock
from runai_async._fleet.capacity import Capacity
from runai_async._fleet.dispatch import Dispatcher
from runai_async._fleet.member import Member
from runai_async._fleet.outage import FleetOutage
from runai_async._fleet.outcomes import Outcome, Poll
from runai_async._fleet.pauses import Pauses
from runai_async._fleet.refusals import Refusals
from runai_async._fleet.token_refusals import TokenRefusals
from runai_async._observe.log import logger
from runai_async._watch.failures import OUTAGE, RECOVERY, describe_failure, retry_after
from runai_async.errors import RateLimitError, RunaiError, WatchOutageError
from runai_async.policy import PollPolicy


class Consequence(NamedTuple):
    """What one poll means for the whole fleet.

    Attributes:
        ends: the error that ends the fleet; None if it goes on.
        is_back: an outage of all is over: those whom it hit return to their usual slots.
        due: monotonic time at which this workload is polled to probe; None for its own time.
    """

    ends: RunaiError | None = None
    is_back: bool = False
    due: float | None = None


_NOTHING = Consequence()


class Health:
    """Notes every poll of a fleet, and pauses it where that helps the control plane.

    Attributes:
        outage: whether the control plane responds at all.
        capacity: whether the limits leave room for the polls.
        refusals: the workloads that are refused.
    """

    def __init__(self, dispatcher: Dispatcher, capacity: Capacity, policy: PollPolicy, clock: Clock) -> None:
        self.outage = FleetOutage()
        self.capacity = capacity
        self.refusals = Refusals()
        self._tokens = TokenRefusals()
        self._pauses = Pauses()
        self._has_succeeded = False
        self._dispatcher = dispatcher
        self._policy = policy
        self._clock = clock

    @property
    def is_silent(self) -> bool:
        """Whether the control plane does not respond to anyone, or refuses the token of all."""
        return self.outage.is_on or self._tokens.is_on

    def begin(self) -> None:
        """Count from the next poll on: while there was nobody to ask about, nothing was refused or silent."""
        self.outage.forget_silence()
        self._tokens = TokenRefusals()
        self._dispatcher.release()

    def forget(self, workload_id: str) -> None:
        """Forget a workload that is no longer watched."""
        self._pauses.forget(workload_id)
        self.outage.forget(workload_id)
        self._tokens.forget(workload_id)
        self.refusals.clear(workload_id)

    def note_success(self, member: Member, poll: Poll) -> Consequence:
        """Note a successful poll."""
        self.refusals.clear(member.tracker.workload_id)
        self._pauses.clear()
        self._has_succeeded = True
        if poll.began >= member.slot:  # first polls come faster than others, so they take longer
            self.capacity.note(poll.now - poll.began)
        if (shortfall := self.capacity.shortfall(poll.now)) is not None:
            logger.warning("the fleet cannot keep its intervals: %s", shortfall)
        return self.note_response(poll.now)

    def note_response(self, now: float) -> Consequence:
        """Note a response, which ends an outage of all."""
        is_accepted = self._tokens.clear(now)
        if is_accepted:
            self._dispatcher.release()
            logger.info("the token is accepted again", extra=OUTAGE | RECOVERY)
        silence = self.outage.silence(now)
        is_back = self.outage.responded(now) and silence >= self._policy.interval
        return Consequence(is_back=True) if is_back or is_accepted else _NOTHING

    def note_failure(
        self, member: Member, outcome: Outcome, error: RunaiError, poll: Poll, *, pause: float, watched: int
    ) -> Consequence:
        """Note a failed poll.

        Args:
            member: whose poll it was.
            outcome: what the poll means for the member.
            error: what it raised.
            poll: when it was.
            pause: seconds that were planned before it.
            watched: how many workloads the fleet watches.
        """
        self._note_refusal(member, outcome, error, poll.now, watched)
        self._consider_pause(member, outcome, error)
        if outcome.ends is not None:
            return Consequence(ends=outcome.ends)
        if outcome.response == "yes":
            return self.note_response(poll.now)
        if not member.is_watched:  # it was in flight when the member was removed
            return _NOTHING
        if outcome.response == "token" or self._tokens.is_on:
            return self._refuse_token(member, error, poll, watched)
        return self._no_response(member, outcome, error, poll, pause=pause, watched=watched)

    def _note_refusal(
        self, member: Member, outcome: Outcome, error: RunaiError, now: float, watched: int
    ) -> None:
        """Count a workload that is refused though it was readable."""
        workload_id = member.tracker.workload_id
        is_refused = outcome.streak.refused_as is not None and member.tracker.synced
        is_believed = outcome.deleted or outcome.backoff > 0
        if not is_refused or is_believed or outcome.without_revisions or not member.is_watched:
            self.refusals.clear(workload_id)
        else:
            self.refusals.record(workload_id, error, now, interval=self._policy.interval, watched=watched)

    def _consider_pause(self, member: Member, outcome: Outcome, error: RunaiError) -> None:
        """Pause the whole fleet where the control plane is too busy for several workloads."""
        if not (isinstance(error, RateLimitError) and retry_after(error)):
            return
        until = self._pauses.record(member.tracker.workload_id, outcome.earliest)
        if until is not None:
            self._dispatcher.pause(until)
            seconds = until - self._clock.monotonic()
            level = logging.DEBUG if self._pauses.is_reported else logging.WARNING
            self._pauses.is_reported = True
            logger.log(
                level, "the control plane is too busy; the fleet pauses for %.0f s: %s", seconds, error
            )

    def _refuse_token(self, member: Member, error: RunaiError, poll: Poll, watched: int) -> Consequence:
        """Pause the whole fleet where its token is refused, and let this workload probe."""
        pause = self._tokens.record(
            member.tracker.workload_id,
            error,
            self._policy,
            began=poll.began,
            now=poll.now,
            watched=watched,
            succeeded=self._has_succeeded,
        )
        if pause is None:
            return _NOTHING
        self._dispatcher.hold(pause.until)
        if pause.begins or pause.is_reminder:
            text = "the token is refused; the fleet pauses until it is accepted: %s"
            logger.warning(text, describe_failure(error), extra=OUTAGE)
        return Consequence(ends=pause.error, due=pause.until)

    def _no_response(
        self, member: Member, outcome: Outcome, error: RunaiError, poll: Poll, *, pause: float, watched: int
    ) -> Consequence:
        """Note a poll without a response, and end the fleet where there was none for too long."""
        policy = self._policy
        self.outage.no_response(error, poll.began, poll.now, watched=watched, pause=pause, policy=policy)
        if (seconds := self.outage.lasts_too_long(policy)) is None:
            workload_id, earliest = member.tracker.workload_id, outcome.earliest
            due = self.outage.decisive(workload_id, outcome.due, poll.now, policy, earliest=earliest)
            return _NOTHING if due is None else Consequence(due=due)
        text = f"no response from the control plane for {seconds:.0f} s: {error}"
        return Consequence(ends=WatchOutageError(text, last_error=error))
