"""What a streak of failed polls means. No I/O, no clock.

Only the API's own error body makes a 403 or 404 a refusal. A refusal is believed once every poll for a while
has returned it, since a workload that was just created can be unknown for a moment. Where it was readable
before, that takes longer: authorization services restart and refuse everyone, and read models restart empty.
Everything else that fails is an outage, which ends by itself or lasts too long; so is a 403 that alternates
with a 404, and a refused token where one was accepted before.

Patience counts failed polls, not the clock on the wall: a process or machine that stood still, or a consumer
that did not ask, adds no more than one pause and one deadline, and the time between two processes
no more than one interval. And nothing is given up before the third failed poll.

A watch, a wait and a fleet decide the same after a failed poll, so the decision is one value.
"""

from __future__ import annotations

import math
import random
from datetime import datetime
from typing import NamedTuple

from runai_async._api.statuses import is_from_api
from runai_async._clock import EARLIEST
from runai_async.checkpoint import Found, PollStreak
from runai_async.errors import (
    ApiError,
    AuthenticationError,
    ConfigurationError,
    DeadlineExceededError,
    DecodeError,
    NotFoundError,
    PermissionDeniedError,
    RunaiError,
    TransportError,
    WatchOutageError,
)
from runai_async.policy import PollPolicy

OUTAGE = {"is_outage": True}
"""`extra` of the log records about outages: a live view shows outages by itself and leaves these out."""
RECOVERY = {"is_recovery": True}
"""`extra` of those that say the end of what a warning said: whoever prints warnings prints these, too."""
_BACKOFF_CAP = 60.0
"""Seconds between the polls of an outage, unless the interval is longer."""
_LONGEST_RETRY_AFTER = 300.0
"""Seconds that a `Retry-After` may postpone a poll."""
ROUNDING = 1e-6
"""Seconds by which a sum of pauses may fall short of what it stands for."""
LEAST_POLLS = 3
"""Failed polls before which nothing is given up or believed."""
_LONGEST_DOUBT = 900.0
"""Seconds for which a refusal is doubted where no `max_outage` says so."""
_GRACES_OF_MISSING = 5
"""Graces for which it is doubted that a workload that was readable is gone, if nothing else is known."""
_BUSY = frozenset({408, 429})
"""Statuses by which a server says that it is too busy."""
_FAILED = 500
"""The first of the statuses by which a server says that it has failed."""
_REMINDER = 900.0
"""Seconds between two warnings about a refused token that nothing else reports."""


class Past(NamedTuple):
    """What is known of a workload from earlier polls.

    Attributes:
        succeeded: a poll has succeeded, in this process.
        readable: a poll has succeeded, here or before the checkpoint that the watch resumed from.
    """

    succeeded: bool
    readable: bool


def ends_at_once(error: RunaiError, past: Past, failures: int, *, is_first: bool) -> bool:
    """Return whether an error ends a watch without another try.

    That is what no wait can help: rejected credentials. And where no poll has succeeded yet, a token that was
    refused three times, by one call with its repeats or by polls in a row, and at the first poll a
    configuration that does not work.
    """
    if isinstance(error, AuthenticationError):
        was_tried_again = max(error.attempts, failures) >= LEAST_POLLS
        return error.is_final or (is_from_api(error) and was_tried_again and not past.succeeded)
    return isinstance(error, ConfigurationError) and not past.succeeded and is_first


def is_malformed(error: RunaiError) -> bool:
    """Return whether a response was JSON, but not the API's."""
    return isinstance(error, DecodeError) and error.is_json


def longest_doubt(policy: PollPolicy) -> float:
    """Return the seconds for which it is doubted that a workload is refused or gone, at most."""
    return max(policy.missing_grace, _LONGEST_DOUBT if policy.max_outage is None else policy.max_outage)


def grace_of_missing(policy: PollPolicy) -> float:
    """Return the seconds after which it is believed that a workload that was readable is gone."""
    return _GRACES_OF_MISSING * policy.missing_grace


def grace_of(error: RunaiError, policy: PollPolicy, past: Past) -> float:
    """Return the seconds after which a refusal is believed, if nothing else is known of the workload."""
    if not past.readable:
        return policy.missing_grace
    return grace_of_missing(policy) if isinstance(error, NotFoundError) else longest_doubt(policy)


def cause_of_cut(
    error: DeadlineExceededError, before: RunaiError | None, *, responded: bool
) -> RunaiError | None:
    """Return why no poll succeeded when a wait ended and cut one off: what failed *before*, if anything did.

    A server that had *responded* until then did not fail; the last request just got no time.
    """
    return error.last_error or before or (None if responded else error)


def is_refusal(error: RunaiError) -> bool:
    """Return whether an error is a refusal in the API's own words."""
    return isinstance(error, PermissionDeniedError | NotFoundError) and is_from_api(error)


def is_outage(error: RunaiError) -> bool:
    """Return whether an error is an outage: no response, or one that is not the API's own.

    What the API itself says of a request is none, except that it is too busy or has failed.
    """
    if isinstance(error, ApiError):
        is_final = isinstance(error, AuthenticationError) and error.is_final
        return not is_final and (error.status >= _FAILED or error.status in _BUSY or not is_from_api(error))
    if isinstance(error, DecodeError):
        return not error.is_json
    return isinstance(error, TransportError | DeadlineExceededError | WatchOutageError)


class Verdict(NamedTuple):
    """What one more failed poll means.

    Attributes:
        streak: the streak with this failure.
        error: what ends the watch; None to poll again.
        is_believed: *error* is a refusal.
        outage_begins: this failure is the first of an outage.
        refusal_begins: this failure is a refusal, and the first of the streak in this process.
        is_reminder: it is time for another warning about a refused token, as nothing else reports it.
        earliest: monotonic time before which the server asked not to be polled.
        due: monotonic time of the next poll; None for the usual schedule.
    """

    streak: FailureStreak
    error: RunaiError | None
    is_believed: bool
    outage_begins: bool
    refusal_begins: bool
    is_reminder: bool
    earliest: float
    due: float | None


class FailureStreak(NamedTuple):
    """The polls that failed since the last successful one.

    Attributes:
        failures: how many.
        outage_since: monotonic time at which the outage began; None outside of one.
        outage_seconds: how much of the outage counts against patience.
        refused_as: the class of the refusal that the last poll returned; None if it was not refused.
        refusals: how many polls in a row have returned it.
        refused_seconds: for how long every poll has returned that refusal, as far as it counts.
        malformed: how many of the failures were JSON but not the API's, if all were.
        noted_at: monotonic time up to which seconds are counted.
        pause: seconds that were planned until the next poll.
        wall: wall-clock time of the last poll.
        is_resumed: whether that was in the process before, whose monotonic clock is not ours.
    """

    failures: int = 0
    outage_since: float | None = None
    outage_seconds: float = 0.0
    refused_as: type[RunaiError] | None = None
    refusals: int = 0
    refused_seconds: float = 0.0
    malformed: int = 0
    noted_at: float = 0.0
    pause: float = 0.0
    wall: datetime = EARLIEST
    is_resumed: bool = False

    def record(
        self,
        error: RunaiError,
        policy: PollPolicy,
        *,
        what: str,
        began: float,
        now: float,
        interval: float,
        past: Past,
        grace: float,
        counts: bool = True,
        wall: datetime = EARLIEST,
    ) -> Verdict:
        """Return what a failed poll means.

        Args:
            error: what the poll raised.
            policy: how patient to be.
            what: whose poll it was, for error messages: `workload …`.
            began: monotonic time at which the poll began.
            now: monotonic time.
            interval: seconds between polls at present.
            past: what is known from earlier polls.
            grace: seconds after which a refusal is believed.
            counts: whether an outage counts against patience.
            wall: wall-clock time, where the streak outlives the process.
        """
        is_first = self.is_resumed or not self.failures
        streak = self._with(error, policy, began, now, wall)
        if not counts:
            streak = streak._replace(outage_seconds=self.outage_seconds)
        ending, is_believed = streak._ending(  # noqa: SLF001
            error, policy, what, grace, past=past, before=self, is_first=is_first
        )
        due = streak._next_due(error, now, interval, policy)  # noqa: SLF001
        return Verdict(
            streak._replace(pause=interval if due is None else due - now),
            ending,
            is_believed,
            outage_begins=self.outage_since is None and streak.outage_since is not None,
            refusal_begins=is_first and streak.refused_as is not None,
            is_reminder=policy.max_outage is None and streak._is_reminder(error, self),  # noqa: SLF001
            earliest=now + retry_after(error),
            due=due,
        )

    def _with(
        self, error: RunaiError, policy: PollPolicy, began: float, now: float, wall: datetime
    ) -> FailureStreak:
        """Return the streak with one more failure, and with the seconds that it adds."""
        own = min(now - began, policy.deadline)
        if self.is_resumed:
            seconds = counted_across(self.wall, wall, policy.interval)
        else:
            seconds = counted(self.noted_at, now, self.pause, policy) if self.failures else own
        refused_as = type(error) if is_refusal(error) else None
        # Where 403 and 404 alternate, neither is a trustworthy refusal.
        is_steady = refused_as is not None and self.refused_as in {None, refused_as}
        refused_seconds = self.refused_seconds + seconds if is_steady and self.refused_as else 0.0
        refusals = self.refusals + 1 if is_steady else int(refused_as is not None)
        more = self._replace(
            failures=self.failures + 1,
            malformed=self.malformed + 1 if is_malformed(error) and self.malformed == self.failures else -1,
            noted_at=now,
            refused_as=refused_as,
            refusals=refusals,
            refused_seconds=refused_seconds,
            wall=wall,
            is_resumed=False,
        )
        if self.outage_since is None:
            return more if is_steady else more._replace(outage_since=began, outage_seconds=own)
        # Several refusals in a row are responses: an outage before them does not last on.
        return more._replace(outage_seconds=0.0 if refusals >= LEAST_POLLS else self.outage_seconds + seconds)

    def _ending(
        self,
        error: RunaiError,
        policy: PollPolicy,
        what: str,
        grace: float,
        *,
        past: Past,
        before: FailureStreak,
        is_first: bool,
    ) -> tuple[RunaiError | None, bool]:
        """Return the error that ends the watch, if it ends, and whether that is a believed refusal."""
        if ends_at_once(error, past, self.failures, is_first=is_first):
            return error, False
        if self.failures < LEAST_POLLS:
            return None, False
        if self.malformed >= LEAST_POLLS and not past.readable:
            return error, False
        if self.refused_as is not None and self.refused_seconds >= grace - ROUNDING:
            return error, True
        # A refusal is a response: what else fails before or after it ends the watch, and not the refusal.
        is_steady = self.refused_as is not None and before.refused_as in {None, self.refused_as}
        if not is_steady and self._patience(policy) <= ROUNDING:
            is_refused_token = isinstance(error, AuthenticationError) and is_from_api(error)
            return error if is_refused_token else self._outage_error(what, error), False
        return None, False

    def saved(self) -> PollStreak | None:
        """Return what the next process continues from; None if the last poll was not refused."""
        if self.refused_as is None:
            return None
        found: Found = "not_found" if issubclass(self.refused_as, NotFoundError) else "forbidden"
        return PollStreak(found, self.refusals, self.refused_seconds, self.wall)

    def _is_reminder(self, error: RunaiError, before: FailureStreak) -> bool:
        passed = self.outage_seconds // _REMINDER > before.outage_seconds // _REMINDER
        return passed and isinstance(error, AuthenticationError)

    def _patience(self, policy: PollPolicy) -> float:
        """Return the seconds until the outage lasts too long."""
        if self.outage_since is None or policy.max_outage is None:
            return math.inf
        return policy.max_outage - self.outage_seconds

    def _outage_error(self, what: str, error: RunaiError) -> WatchOutageError:
        outage = WatchOutageError(
            f"no successful poll of {what} for {self.outage_seconds:.0f} s; "
            f"the last one failed with {type(error).__name__}: {error}",
            last_error=error,
        )
        outage.__cause__ = error
        return outage

    def _next_due(self, error: RunaiError, now: float, interval: float, policy: PollPolicy) -> float | None:
        """Return when to poll next; None where the usual schedule holds.

        From the second failure of an outage on that is uniform between the interval and its 2**n fold, so
        that watches hit by the same outage do not come back together; but one poll is due when *max_outage*
        ends. A `Retry-After` is the earliest time in any case.
        """
        asked = retry_after(error)
        n = self.failures - 1
        if self.outage_since is None or self.refused_as is not None or n < 1:
            return now + max(asked, interval) if asked else None
        longest = min(max(_BACKOFF_CAP, interval), interval * 2 ** min(n, 32))
        pause = random.uniform(interval, longest)  # noqa: S311
        if ROUNDING < (left := self._patience(policy)) < pause:
            pause = left
        return now + max(pause, asked)


def counted(since: float, now: float, pause: float, policy: PollPolicy) -> float:
    """Return the seconds that one more poll adds to patience, *pause* being what was planned before it."""
    return min(now - since, pause + policy.deadline)


def counted_across(since: datetime, now: datetime, longest: float) -> float:
    """Return the seconds that the first poll of a process adds, by the wall clock, which may be set back."""
    return min(max(0.0, (now - since).total_seconds()), longest)


def retry_after(error: RunaiError) -> float:
    """Return the seconds by which a response's `Retry-After` postpones the next poll; 0 without one."""
    asked = error.retry_after if isinstance(error, ApiError) else None
    return min(asked or 0.0, _LONGEST_RETRY_AFTER)


def describe_failure(error: RunaiError) -> str:
    """Describe a failed poll for a log line."""
    asked = retry_after(error)
    until = f" (Retry-After: the next poll is due in {asked:.0f} s)" if asked else ""
    return f"{type(error).__name__}: {error}{until}"


NO_FAILURES = FailureStreak()
"""The streak of a watch whose last poll succeeded."""


def resumed_streak(refusal: PollStreak | None) -> FailureStreak:
    """Return the streak that continues that of another process."""
    if refusal is None:
        return NO_FAILURES
    return FailureStreak(
        refusal.polls,
        refusals=refusal.polls,
        refused_as=NotFoundError if refusal.found == "not_found" else PermissionDeniedError,
        refused_seconds=refusal.seconds,
        malformed=-1,
        wall=refusal.at,
        is_resumed=True,
    )
