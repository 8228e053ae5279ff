"""What a streak of failed polls means. No I/O, no clock.

Only the API's own error body makes a 403 or 404 a refusal. A refusal is believed once every poll for a while
has returned it, since a workload that was just created can be unknown for a moment. Everything else that
fails is an outage, which ends by itself or lasts too long; so is a 403 that alternates with a 404.

A watch, a wait and a fleet decide the same after a failed poll, so the decision is one value.
"""

from __future__ import annotations

import random

from attrs import evolve, frozen

from runai_async._api.statuses import is_from_api
from runai_async.errors import (
    AuthenticationError,
    ConfigurationError,
    DeadlineExceededError,
    DecodeError,
    NotFoundError,
    PermissionDeniedError,
    RunaiError,
    WatchOutageError,
)
from runai_async.policy import PollPolicy

OUTAGE = {"is_outage": True}
"""`extra` of the log records about outages: a live view shows outages by itself and leaves these out."""
_BACKOFF_CAP = 60.0
"""Seconds between the polls of an outage, unless the interval is longer."""


def ends_at_once(error: RunaiError, *, first: bool) -> bool:
    """Return whether an error ends a watch without another try.

    That is a 401 for a fresh token; and for the *first* poll, what waiting does not fix: a response whose
    envelope is not the API's, or a configuration that does not work.
    """
    if isinstance(error, AuthenticationError):
        return True
    broken = isinstance(error, ConfigurationError) or (isinstance(error, DecodeError) and error.is_json)
    return broken and first


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


@frozen
class Verdict:
    """What one more failed poll means.

    Attributes:
        streak: the streak with this failure.
        error: what ends the watch; None to poll again.
        is_believed: *error* is a refusal.
        outage_begins: this failure is the first of an outage.
        refusal_begins: this failure is a refusal, and the first of the streak.
        due: monotonic time of the next poll; None for the usual schedule.
    """

    streak: FailureStreak
    error: RunaiError | None
    is_believed: bool
    outage_begins: bool
    refusal_begins: bool
    due: float | None


@frozen
class FailureStreak:
    """The polls that failed since the last successful one.

    Attributes:
        failures: how many.
        outage_since: monotonic time at which the outage began; None outside of one.
        refused_as: the class of the refusal that the last poll returned; None if it was not refused.
        refused_since: monotonic time since which every poll returned that refusal.
    """

    failures: int = 0
    outage_since: float | None = None
    refused_as: type[RunaiError] | None = None
    refused_since: float = 0.0

    def record(
        self,
        error: RunaiError,
        policy: PollPolicy,
        *,
        what: str,
        began: float,
        now: float,
        interval: float,
        first: bool,
    ) -> Verdict:
        """Return what a failed poll means.

        Args:
            error: what the poll raised.
            policy: how patient to be.
            what: whose poll it was, for error messages: `workload …`.
            began: monotonic time at which the poll began.
            now: monotonic time.
            interval: seconds between polls at present.
            first: whether no poll has succeeded yet, and none failed before.
        """
        streak = self._with(error, began)
        ending, is_believed = streak._ending(error, policy, what, began, now, first=first)  # noqa: SLF001
        return Verdict(
            streak,
            ending,
            is_believed,
            outage_begins=self.outage_since is None and streak.outage_since is not None,
            refusal_begins=streak.failures == 1 and streak.refused_as is not None,
            due=streak._next_due(now, interval, policy),  # noqa: SLF001
        )

    def _with(self, error: RunaiError, began: float) -> FailureStreak:
        """Return the streak with one more failure."""
        more = evolve(self, failures=self.failures + 1)
        if not is_refusal(error):
            return evolve(more, outage_since=self._outage_or(began), refused_as=None)
        kind = type(error)
        if kind is self.refused_as:
            return more
        # Alternating 403 and 404 is not a trustworthy refusal.
        since = self.outage_since if self.refused_as is None else self._outage_or(began)
        return evolve(more, outage_since=since, refused_as=kind, refused_since=began)

    def _outage_or(self, began: float) -> float:
        return began if self.outage_since is None else self.outage_since

    def _ending(
        self, error: RunaiError, policy: PollPolicy, what: str, began: float, now: float, *, first: bool
    ) -> tuple[RunaiError | None, bool]:
        """Return the error that ends the watch, if it ends, and whether that is a believed refusal."""
        if ends_at_once(error, first=first):
            return error, False
        if self.refused_as is not None and began - self.refused_since >= policy.missing_grace:
            return error, True
        if self._lasts_too_long(now, policy.max_outage):
            return self._outage_error(what, error, now), False
        return None, False

    def _lasts_too_long(self, now: float, max_outage: float | None) -> bool:
        if self.outage_since is None or max_outage is None:
            return False
        return now - self.outage_since >= max_outage

    def _outage_error(self, what: str, error: RunaiError, now: float) -> WatchOutageError:
        seconds = now - (self.outage_since or now)
        outage = WatchOutageError(
            f"no successful poll of {what} for {seconds:.0f} s; "
            f"the last one failed with {type(error).__name__}: {error}",
            last_error=error,
        )
        outage.__cause__ = error
        return outage

    def _next_due(self, now: float, interval: float, policy: PollPolicy) -> float | None:
        """Return when to poll next in an outage; None where the usual schedule holds.

        From the second failure on that is uniform between the interval and its 2**n fold, so that watches
        hit by the same outage do not come back together; but one poll is due when *max_outage* ends.
        """
        n = self.failures - 1
        if self.outage_since is None or self.refused_as is not None or n < 1:
            return None
        longest = min(max(_BACKOFF_CAP, interval), interval * 2 ** min(n, 32))
        due = now + random.uniform(interval, longest)  # noqa: S311
        if policy.max_outage is not None and self.outage_since + policy.max_outage > now:
            due = min(due, self.outage_since + policy.max_outage)
        return due


NO_FAILURES = FailureStreak()
"""The streak of a watch whose last poll succeeded."""
