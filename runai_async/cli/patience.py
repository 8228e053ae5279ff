"""How what a command looks up before its work waits out an outage: as the work itself does.

A name, a revision or the list of workloads is looked up again and again while the control plane does not
respond, with the back-off and the patience of a watch. What the API says in its own words ends it at once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from runai_async._api.statuses import is_from_api
from runai_async._clock import Clock, SystemClock
from runai_async._watch.failures import (
    NO_FAILURES,
    FailureStreak,
    Past,
    Verdict,
    is_malformed,
    is_outage,
)
from runai_async.cli.diagnostics import say
from runai_async.cli.text import duration
from runai_async.cli.wording import plain
from runai_async.errors import AuthenticationError, RunaiError
from runai_async.policy import PollPolicy

T = TypeVar("T")
_TOKEN_WAITS = (1.0, 2.0)
"""Seconds before each repeat with a refused token, as in a call."""


class OutageDisplay(Protocol):
    """Displays that an outage begins and ends."""

    def outage_began(self, error: RunaiError) -> None:
        """Display why there is no response."""

    def outage_ended(self, seconds: float) -> None:
        """Display that there are responses again."""


class SaidOutages(OutageDisplay):
    """Says on stderr that an outage begins and ends."""

    def outage_began(self, error: RunaiError) -> None:
        """Print a warning."""
        say(f"runai-async: warning: the control plane does not respond: {plain(error)}")

    def outage_ended(self, seconds: float) -> None:
        """Print a line."""
        say(f"runai-async: the control plane responds again after {duration(seconds)}")


class Patience:
    """Looks things up, for as long as a watch would wait for the control plane.

    Args:
        policy: how patient the command is; its deadline is that of one try.
        display: displays an outage.
        clock: a clock for tests.
    """

    def __init__(
        self, policy: PollPolicy, display: OutageDisplay | None = None, clock: Clock | None = None
    ) -> None:
        self.deadline: float = policy.deadline
        self._policy = policy
        self._display = display or SaidOutages()
        self._clock = clock or SystemClock()
        self._interval = min(policy.interval, policy.fast_interval)

    async def look_up(self, what: str, ask: Callable[[], Awaitable[T]]) -> T:
        """Return what *ask* does, as soon as the control plane responds.

        Args:
            what: what is looked up, for messages.
            ask: looks it up once.

        Raises:
            WatchOutageError: there was no response for the policy's `max_outage` seconds.
            RunaiError: what *ask* raised, if that is no outage.
        """
        streak = NO_FAILURES
        while True:
            began = self._clock.monotonic()
            try:
                found = await ask()
            except RunaiError as error:
                if not _may_pass(error):
                    raise
                verdict = self._failed(streak, error, what, began)
                if verdict.error is not None:
                    raise verdict.error  # noqa: B904  (it is the same one, or has it as its cause)
                streak = verdict.streak
                await self._clock.sleep(self._pause(verdict, error))
            else:
                if streak.outage_since is not None:
                    self._display.outage_ended(self._clock.monotonic() - streak.outage_since)
                return found

    def _failed(self, streak: FailureStreak, error: RunaiError, what: str, began: float) -> Verdict:
        verdict = streak.record(
            error,
            self._policy,
            what=what,
            began=began,
            now=self._clock.monotonic(),
            interval=self._interval,
            past=Past(succeeded=False, readable=False),
            grace=0.0,
        )
        if verdict.outage_begins and verdict.error is None:
            self._display.outage_began(error)
        return verdict

    def _pause(self, verdict: Verdict, error: RunaiError) -> float:
        if isinstance(error, AuthenticationError) and verdict.streak.failures <= len(_TOKEN_WAITS):
            return _TOKEN_WAITS[verdict.streak.failures - 1]
        return self._interval if verdict.due is None else verdict.due - self._clock.monotonic()


def _may_pass(error: RunaiError) -> bool:
    """Return whether another try may help. Three in a row that are malformed, or refuse the token, do not."""
    if isinstance(error, AuthenticationError) and is_from_api(error):
        return not error.is_final
    return is_outage(error) or is_malformed(error)
