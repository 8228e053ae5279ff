"""The rollouts that a command waits for, and how they ended. There is no I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from enum import StrEnum

from attrs import define

from runai_async._wait.pods import pods_text
from runai_async.cli.exits import TimeIsUpError, describe, exit_status
from runai_async.cli.ids import WorkloadRef
from runai_async.cli.text import clean, counted, phase_name, shortened
from runai_async.errors import RolloutFailedError, WaitTimeoutError
from runai_async.explanation import Explanation
from runai_async.models import Revision

_LISTED = 3
"""Workloads that a line names at most."""


class State(StrEnum):
    """How far a rollout is, in the word that totals have for it."""

    DONE = "done"
    FAILED = "failed"
    TIMED_OUT = "timed out"
    ERROR = "ended by an error"
    WAITING = "waiting"
    EMPTY = "without revisions"


_ENDED_BADLY = (State.FAILED, State.TIMED_OUT, State.ERROR)
"""In the order in which they decide on the exit status."""


@define(eq=False)
class Rollout:
    """A rollout that is waited for.

    Attributes:
        workload: the workload, as it was found.
        label: what lines call it: its name, with its project where another one has that name; or its id.
        may_be_empty: whether it is not waited for while the workload has no revisions.
        after_id: the newest revision before the change, if one was given.
        after: the same revision, if it exists.
        revision: the newest revision, as last seen.
        is_empty: whether the workload had no revisions when it was read last.
        has_ended: whether it is no longer waited for.
        error: what the wait ended with; None if the rollout is done.
        seconds: how long it was waited for.
    """

    workload: WorkloadRef
    label: str
    may_be_empty: bool = False
    after_id: str | None = None
    after: Revision | None = None
    revision: Revision | None = None
    is_empty: bool = False
    has_ended: bool = False
    error: BaseException | None = None
    seconds: float = 0.0

    @property
    def state(self) -> State:
        """How far it is."""
        if self.is_empty and self.may_be_empty:
            return State.EMPTY
        if not self.has_ended:
            return State.WAITING
        if self.error is None:
            return State.DONE
        if isinstance(self.error, RolloutFailedError):
            return State.FAILED
        return State.TIMED_OUT if isinstance(self.error, WaitTimeoutError | TimeIsUpError) else State.ERROR

    def end(self, seconds: float, error: BaseException | None = None) -> None:
        """Note that the wait has ended after some seconds, unless it had."""
        if not self.has_ended:
            self.has_ended, self.seconds, self.error = True, seconds, error

    @property
    def explanation(self) -> Explanation | None:
        """Why the newest revision does not serve, if that could be read."""
        if isinstance(self.error, RolloutFailedError | WaitTimeoutError):
            return self.error.explanation
        return None

    @property
    def reason(self) -> str:
        """Why it is not done, in one line."""
        if self.state is State.EMPTY:
            return "the workload has no revisions"
        known, revision = self.explanation, self.revision
        if known is None or revision is None:
            return shortened(self.account)
        name, phase = clean(revision.name), phase_name(revision.phase)
        if not known.cause:
            return f"{name} is {phase}, {pods_text(revision)} pods"
        cause = clean(known.cause).removeprefix(f"{phase}: ")
        return f"{name}: {cause}" if cause.startswith(phase) else f"{name} is {phase}: {cause}"

    @property
    def account(self) -> str:
        """What the wait ended with in full, in one line; empty if the rollout is done."""
        if self.error is None:
            return ""
        return describe(self.error) or "cancelled; the rollout goes on"


def rollouts_of(workloads: Iterable[WorkloadRef], *, may_be_empty: bool = False) -> list[Rollout]:
    """Return the rollouts of workloads, each once.

    Args:
        workloads: as they were found.
        may_be_empty: whether those without revisions are not waited for.
    """
    each = list({item.id: item for item in workloads}.values())
    names = Counter(item.name for item in each)
    return [Rollout(item, _label(item, names), may_be_empty) for item in each]


def _label(workload: WorkloadRef, names: Counter[str | None]) -> str:
    if workload.name is None:
        return workload.id
    is_unique = names[workload.name] == 1 or not workload.project
    return clean(workload.name if is_unique else f"{workload.project}/{workload.name}")


def of_state(rollouts: Iterable[Rollout], *states: State) -> list[Rollout]:
    """Return the rollouts that are in one of some states."""
    return [item for item in rollouts if item.state in states]


def ended_badly(rollouts: Iterable[Rollout]) -> list[Rollout]:
    """Return the rollouts that have ended and are not done, those that failed first."""
    return [item for state in _ENDED_BADLY for item in of_state(rollouts, state)]


def status_of(rollouts: Sequence[Rollout]) -> int:
    """Return the exit status: that of a failure, else of a timeout, else of the first error, else 0."""
    return next((exit_status(item.error) for item in ended_badly(rollouts) if item.error is not None), 0)


def totals(rollouts: Collection[Rollout]) -> str:
    """Write how many rollouts are how far: `12 workloads: 9 done, 1 failed, 2 waiting`."""
    counts = Counter(item.state for item in rollouts)
    parts = [f"{counts[state]} {state}" for state in State if counts[state]]
    return f"{counted(len(rollouts), 'workload')}: {', '.join(parts)}"


def shortfall(rollouts: Sequence[Rollout]) -> str:
    """Write what is missing at the end: `3 of 12 rollouts are not done: 1 failed, 2 timed out`."""
    missing = Counter(item.state for item in ended_badly(rollouts))
    number = len(rollouts) - len(of_state(rollouts, State.EMPTY))
    parts = ", ".join(f"{count} {state}" for state, count in missing.items())
    verb = "is" if missing.total() == 1 else "are"
    return f"{missing.total()} of {counted(number, 'rollout')} {verb} not done: {parts}"


def some(rollouts: Sequence[Rollout]) -> str:
    """Write which rollouts these are: `chat, embed, rank and 9 more`."""
    more = len(rollouts) - _LISTED
    return ", ".join(item.label for item in rollouts[:_LISTED]) + (f" and {more} more" if more > 0 else "")
