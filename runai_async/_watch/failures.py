"""What a row of failed polls amounts to. No I/O, no clock.

Only the API's own word is a refusal: a 403 or 404 with its JSON error body. It is believed when it was the
answer of every poll for a while, since a workload that was just created can be unknown for a moment. All
else that fails is an outage, which passes or lasts too long; so is a 403 and a 404 by turns.
"""

from __future__ import annotations

import random

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
"""`extra` of the log records about outages: a live view shows those by itself, and leaves them out."""
_BACKOFF_CAP = 60.0
"""Seconds between polls of an outage, unless the interval is longer."""


def ends_at_once(error: RunaiError, *, first: bool) -> bool:
    """Tell whether an error ends a watch without a second try.

    That is 401 after a fresh token; and of the very *first* poll, what waiting does not mend: an answer
    whose envelope is not the API's, or a configuration that does not work.
    """
    if isinstance(error, AuthenticationError):
        return True
    broken = isinstance(error, ConfigurationError) or (isinstance(error, DecodeError) and error.is_json)
    return broken and first


def cause_of_cut(
    error: DeadlineExceededError, before: RunaiError | None, *, responded: bool
) -> RunaiError | None:
    """Return why there was no good poll when a wait ended and cut one off: what failed *before*, if any did.

    A server that had *answered* until then did not fail: it was only not given its time once more.
    """
    return error.last_error or before or (None if responded else error)


def is_refusal(error: RunaiError) -> bool:
    """Tell whether an error is the API's own word that it will not tell."""
    return isinstance(error, PermissionDeniedError | NotFoundError) and is_from_api(error)


class FailureStreak:
    """The present row of failed polls of one workload.

    Attributes:
        failures: how many polls failed in a row.
        outage_since: monotonic time at which the outage began, or None.
    """

    __slots__ = ("_refused_as", "_refused_since", "failures", "outage_since")

    def __init__(self) -> None:
        self.failures = 0
        self.outage_since: float | None = None
        self._refused_as: type[RunaiError] | None = None
        self._refused_since = 0.0

    def failed(self, error: RunaiError, at: float) -> None:
        """Note a poll that began at *at* and failed."""
        self.failures += 1
        if not is_refusal(error):
            self._begin_outage(at)
            self._refused_as = None
        elif self._refused_as is not type(error):
            if self._refused_as is not None:
                self._begin_outage(at)  # who says now this, now that, is not to be believed
            self._refused_as, self._refused_since = type(error), at

    def _begin_outage(self, at: float) -> None:
        if self.outage_since is None:
            self.outage_since = at

    def believes(self, error: RunaiError, at: float, grace: float) -> bool:
        """Tell whether *error* is a refusal that was given for *grace* seconds by now."""
        return self._refused_as is type(error) and at - self._refused_since >= grace

    @property
    def is_refusal(self) -> bool:
        """Whether the last poll was refused, and not lost in an outage."""
        return self._refused_as is not None

    def lasts_too_long(self, now: float, max_outage: float | None) -> bool:
        """Tell whether the outage has lasted for *max_outage* seconds."""
        return (
            self.outage_since is not None and max_outage is not None and now - self.outage_since >= max_outage
        )

    def outage_error(self, what: str, error: RunaiError, now: float) -> WatchOutageError:
        """Say of an outage that it lasts too long."""
        seconds = now - (self.outage_since or now)
        return WatchOutageError(
            f"no good poll of {what} for {seconds:.0f} s; "
            f"the last one failed with {type(error).__name__}: {error}",
            last_error=error,
        )

    def next_due(
        self, now: float, interval: float, policy: PollPolicy, *, cap: float = _BACKOFF_CAP
    ) -> float | None:
        """Return when to poll next in an outage; None where the usual schedule holds.

        From the second failure on that is uniform between the interval and its 2**n fold, so that those
        whom the same outage hit do not come back together; but one poll falls on the end of patience.
        """
        n = self.failures - 1
        if self.outage_since is None or self.is_refusal or n < 1:
            return None
        longest = min(max(cap, interval), interval * 2 ** min(n, 32))
        due = now + random.uniform(interval, longest)  # noqa: S311
        if policy.max_outage is not None and self.outage_since + policy.max_outage > now:
            due = min(due, self.outage_since + policy.max_outage)
        return due
