"""Waiting for a phase or a rollout.

The workload's own phase stays Running during a whole rollout, so only its revisions tell whether one is
done. Old and new stand side by side until the new one runs; of several quick updates only the last takes
effect; right after a change the new revision is not listed yet; and a new revision may be Pending for long,
since it needs a quota of its own. So a wait follows the *newest* revision, judges only whole answers, and
takes nothing for a failure but what is final.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from datetime import datetime

from runai_async._clock import Clock
from runai_async._requests import Endpoints
from runai_async._retry import Retrying
from runai_async._schedule import Slots
from runai_async._trouble import Trouble, cause_of_cut, ends_at_once
from runai_async._watch import RevisionWatch
from runai_async.errors import (
    DeadlineExceededError,
    NotFoundError,
    PhaseFailedError,
    RolloutFailedError,
    RunaiError,
    WaitTimeoutError,
)
from runai_async.events import RevisionDeleted, RevisionEvent, WatchEvent
from runai_async.models import Phase, Revision
from runai_async.policy import PollPolicy, interval_at

logger = logging.getLogger("runai_async")

FAILURES = frozenset({Phase.FAILED, Phase.COMPLETED})
"""The phases that end a wait badly: an inference workload is not meant to complete."""

_Age = tuple[datetime, str]


def age(revision: Revision) -> _Age:
    """Return what orders revisions: the time of creation, then the id."""
    return revision.created_at, revision.id


def check_timeout(timeout: float | None) -> float:
    """Return the seconds of a wait. Raises `ValueError` for what is no positive number."""
    if timeout is None:
        return math.inf
    if not isinstance(timeout, int | float) or not timeout > 0:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ValueError(f"timeout must be a positive number of seconds, or None, not {timeout!r}")
    return timeout


def phases(value: Phase | str | Iterable[Phase | str], name: str) -> frozenset[Phase]:
    """Return the set of phases that a caller named, one or several. Raises `ValueError` for unlisted ones."""
    named = frozenset(Phase(item) for item in ([value] if isinstance(value, str) else value))
    if unknown := sorted(phase for phase in named if not phase.is_known):
        raise ValueError(
            f"{name}: {unknown[0]!r} is no phase that the API lists; they are {', '.join(Phase)}"
        )
    return named


def is_serving(revision: Revision) -> bool:
    """Tell whether a revision runs with the pods that it asked for, as far as the answer tells."""
    if revision.phase != Phase.RUNNING or revision.deleted_at is not None:
        return False
    asked = revision.requested_pods
    wanted = (asked and asked.wanted) or 0
    return revision.running_pods is None or revision.running_pods >= wanted


def _described(revision: Revision) -> str:
    """Describe a revision's state in the words that an operator needs."""
    message = f": {revision.phase_message}" if revision.phase_message else ""
    pods = "" if revision.running_pods is None else f", {revision.running_pods} pods running"
    return f"revision {revision.name} ({revision.id}) is {revision.phase}{pods}{message}"


class PhaseWait:
    """Waits for one revision, by asking for it."""

    def __init__(
        self,
        endpoints: Endpoints,
        retrying: Retrying,
        clock: Clock,
        policy: PollPolicy,
        revision_id: str,
    ) -> None:
        self._call = endpoints.get_revision(revision_id)
        self._retrying = retrying
        self._clock = clock
        self._policy = policy
        self._id = revision_id
        self._last: Revision | None = None
        self._last_error: RunaiError | None = None
        self._changed_at = clock.monotonic()
        self._trouble = Trouble()

    async def run(
        self, until: AbstractSet[Phase] | None, fail_on: AbstractSet[Phase], timeout: float
    ) -> Revision:
        """Look first, then wait; see `RunaiClient.wait_for_phase`. Without *until* any phase will do."""
        slots = Slots(self._clock.monotonic())
        end = self._clock.monotonic() + timeout
        while True:
            began = slots.last_start = self._clock.monotonic()
            try:
                revision = await self._look(min(end, began + self._policy.deadline))
            except RunaiError as error:
                if isinstance(error, DeadlineExceededError) and self._clock.monotonic() >= end:
                    answered = self._last is not None
                    cause = cause_of_cut(error, self._last_error, answered=answered)
                    raise self._late(until, timeout, cause) from cause
                self._last_error = error
                due = self._failed(error, began)
            else:
                self._last_error = due = None
                if until is None or self._is_reached(revision, until, fail_on):
                    return revision
            now = self._clock.monotonic()
            if due is None:
                slots.advance(now, self._interval(now), self._policy.jitter)
            else:
                slots.postpone(due)
            await self._clock.sleep(max(0.0, min(slots.wait(now), end - now)))
            if self._clock.monotonic() >= end:
                raise self._late(until, timeout, self._last_error) from self._last_error

    async def _look(self, deadline: float) -> Revision:
        revision = await self._retrying.call(self._call, deadline=deadline)
        if self._last is None or revision.phase != self._last.phase:
            self._changed_at = self._clock.monotonic()
        if (since := self._trouble.outage_since) is not None:
            seconds = self._clock.monotonic() - since
            logger.info("revision %s: polls are good again after %.0f s", self._id, seconds)
        self._last, self._trouble = revision, Trouble()
        return revision

    def _is_reached(self, revision: Revision, until: AbstractSet[Phase], fail_on: AbstractSet[Phase]) -> bool:
        if revision.deleted_at is not None:
            raise PhaseFailedError(
                f"revision {self._id} was deleted at {revision.deleted_at}", revision=revision
            )
        if revision.phase in until:
            return True
        if revision.phase in fail_on:
            raise PhaseFailedError(
                f"{_described(revision)}; it will not come to {_listed(until)}", revision=revision
            )
        return False

    def _failed(self, error: RunaiError, began: float) -> float | None:
        """Decide what a failed look means; return when to look again, None for the usual time."""
        in_outage = self._trouble.outage_since is not None
        self._trouble.failed(error, began)
        if ends_at_once(error, first=self._last is None and self._trouble.failures == 1):
            raise error
        now = self._clock.monotonic()
        if self._trouble.believes(error, began, self._policy.missing_grace):
            if isinstance(error, NotFoundError) and self._last is not None:
                raise PhaseFailedError(f"revision {self._id} is gone", revision=self._last) from error
            raise error
        if self._trouble.lasts_too_long(now, self._policy.max_outage):
            raise self._trouble.outage_error(f"revision {self._id}", error, now) from error
        if not in_outage and self._trouble.outage_since is not None:
            logger.warning("revision %s: polls fail, %s: %s", self._id, type(error).__name__, error)
        return self._trouble.next_due(now, self._interval(now), self._policy)

    def _interval(self, now: float) -> float:
        moves = self._last is None or not self._last.phase.is_settled
        return interval_at(
            self._policy, now, self._changed_at + self._policy.fast_for if moves else -math.inf
        )

    def _late(
        self, until: AbstractSet[Phase] | None, timeout: float, error: RunaiError | None
    ) -> WaitTimeoutError:
        state = _described(self._last) if self._last else f"revision {self._id} was not seen"
        wanted = f", not {_listed(until)}" if until else ""
        return WaitTimeoutError(f"{state}{wanted} within {timeout:g} s{_failing(error)}", revision=self._last)


def _failing(error: RunaiError | None) -> str:
    return "" if error is None else f"; the last poll failed with {type(error).__name__}: {error}"


def _listed(items: AbstractSet[Phase]) -> str:
    return " or ".join(sorted(items))


class RolloutWait:
    """Follows the newest revision of a workload, on top of a watch.

    Attributes:
        newest: the revision that decides, as it was seen last; None before it was seen.
    """

    def __init__(self, watch: RevisionWatch, clock: Clock, after: _Age | None) -> None:
        self._watch = watch
        self._clock = clock
        self._after = after
        self._live: dict[str, Revision] = {}
        self.newest: Revision | None = None

    async def run(self, timeout: float, *, spent: float = 0.0) -> Revision:
        """Wait; see `RunaiClient.wait_for_rollout`. Of the seconds, some may be *spent* already."""
        end = self._clock.monotonic() + timeout - spent
        while self._clock.monotonic() < end:
            events = await self._watch._next_round(end)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
            for event in events:
                self.note(event)
            if (revision := self.verdict()) is not None:
                return revision
            if not events and self._clock.monotonic() < end:
                raise self._gone()
        error = self._watch._last_error  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        raise self._late(timeout, error) from error

    def note(self, event: WatchEvent) -> None:
        """Take in what the watch tells."""
        if not isinstance(event, RevisionEvent):
            return
        revision = event.revision
        if isinstance(event, RevisionDeleted):
            self._live.pop(revision.id, None)
        else:
            self._live[revision.id] = revision
        counts = self._after is None or age(revision) > self._after
        if counts and (self.newest is None or age(revision) >= age(self.newest)):
            self.newest = revision

    def verdict(self) -> Revision | None:
        """Return the newest revision if it serves, None while that is open; raise if it never will."""
        newest = self.newest
        if newest is None:
            return None
        if newest.id not in self._live:
            raise self._failed(f"revision {newest.name} ({newest.id}) was deleted")
        if newest.phase in FAILURES:
            raise self._failed(_described(newest))
        return newest if is_serving(newest) else None

    @property
    def serving(self) -> Revision | None:
        """The revision that serves though it is not the newest, if there is one."""
        older = [item for item in self._live.values() if item is not self.newest and is_serving(item)]
        return max(older, key=age, default=None)

    def _meanwhile(self) -> str:
        serving = self.serving
        return f"{serving.name} ({serving.id}) serves meanwhile" if serving else "no other revision serves"

    def _failed(self, what: str) -> RolloutFailedError:
        return RolloutFailedError(
            f"the rollout failed: {what}; {self._meanwhile()}. Look at the revision's conditions and pods, "
            "mend the workload's image, arguments or resources, and update it again",
            revision=self.newest,
            serving=self.serving,
        )

    def _gone(self) -> RolloutFailedError:
        return RolloutFailedError(f"workload {self._watch.workload_id} was deleted", revision=self.newest)

    def _late(self, timeout: float, error: RunaiError | None) -> WaitTimeoutError:
        workload, meanwhile = f"workload {self._watch.workload_id}", f"; {self._meanwhile()}"
        if not self._watch.status.synced:
            what, meanwhile = f"no good answer came about {workload}", ""
        elif self.newest is None:
            newer = " that is newer than the one given as after" if self._after else ""
            what = f"{workload} has no revision{newer}: did the change take effect?"
        else:
            what = f"{_described(self.newest)}: it may wait for quota or nodes, or still be pulling its image"
        return WaitTimeoutError(
            f"the rollout is not done after {timeout:g} s: {what}{meanwhile}{_failing(error)}. "
            "Nothing was cancelled; wait again to go on",
            revision=self.newest,
            serving=self.serving,
        )
