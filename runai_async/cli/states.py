"""What is true now of each workload that is watched. There is no I/O.

Events say what has changed, and not all that is true becomes one: after a resume, or with --new-only, there
may be none for days. So the state is read from what is watched, each time that a poll has ended. Only why the
polls of a workload fail is known from events alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from attrs import define

from runai_async._wait.order import newest
from runai_async.cli.labels import project_in
from runai_async.cli.overview import newest_serving, phase_counts, short_name
from runai_async.cli.shared_outage import SharedOutage
from runai_async.cli.text import clean, counted, since
from runai_async.cli.watched import Reading, SeparatelyWatched, Watched
from runai_async.cli.wording import failure, reason
from runai_async.events import FleetEvent, WatchDegraded, WatchRecovered, WorkloadFailed
from runai_async.hooks import HookEvent, PollFinished
from runai_async.models import Phase, Revision

_UNHEALTHY = {Phase.FAILED, Phase.DEGRADED}
_NUMBERED = re.compile(r"(.+)-\d{5,}")
"""The name of a revision: its workload's, and a number."""
_MOST_DECODED = 100
"""Workloads that are decoded at a time: the event loop must not stand still for long."""
NO_REVISIONS, UNDECODABLE, NOT_POLLED = "no revisions", "undecodable", "not known yet"
"""What stands for the phase of a workload of which no revision is known."""


@define
class _Problem:
    """Why the polls of a workload fail, and since when.

    Attributes:
        kind: one that lasts is an "outage", or the workload has "failed"; until then, polls are "failing".
        reason: why.
        since: when it began.
    """

    kind: str
    reason: str
    since: datetime


@define
class WorkloadState:
    """What is known of one workload.

    Attributes:
        id: its id.
        name: its name; where that is not known, what its revisions are named after, or its id.
        newest: the newest live revision.
        serving: the newest one that serves.
        is_stalled: the newest was reported as stalled in its present phase.
        problem: why its polls fail; None while they succeed.
        has_succeeded: a poll has succeeded.
        is_known: what its revisions are was read after that.
        undecodable: how many revisions of the last response could not be decoded.
        version: of the revisions that were decoded last.
    """

    id: str
    name: str
    newest: Revision | None = None
    serving: Revision | None = None
    is_stalled: bool = False
    problem: _Problem | None = None
    has_succeeded: bool = False
    is_known: bool = False
    undecodable: int = 0
    version: int = 0

    def take(self, reading: Reading) -> bool:
        """Take in what is known now; return whether revisions had to be decoded."""
        live = reading.live
        if reading.has_none:
            self.problem = None
        self.is_known = self.has_succeeded or reading.has_none
        if live.version == self.version:
            return False
        revisions = live.decoded()
        self.newest, self.serving = newest(revisions), newest_serving(revisions)
        self.is_stalled = self.newest is not None and self.newest.id in live.stalled_ids
        self.version = live.version
        return True

    @property
    def name_of_revisions(self) -> str:
        """What its revisions are named after, in Knative's way; empty if that cannot be told."""
        found = _NUMBERED.fullmatch(self.newest.name) if self.newest is not None else None
        return found[1] if found else ""

    @property
    def label(self) -> str:
        """The phase of the newest revision, or what is known instead."""
        if self.newest is not None:
            return str(self.newest.phase)
        if not self.is_known:
            return NOT_POLLED
        return UNDECODABLE if self.undecodable else NO_REVISIONS

    def own_problem(self, *, shared: bool) -> _Problem | None:
        """Return why its polls fail, unless that is an outage of all, which is *shared*."""
        is_of_all = shared and self.problem is not None and self.problem.kind != "failed"
        return None if is_of_all else self.problem

    def is_unhealthy(self, *, shared: bool) -> bool:
        """Return whether it comes first: its newest revision has failed or is stuck, or its polls do."""
        problem = self.own_problem(shared=shared)
        if problem is not None and problem.kind != "failing":
            return True
        return self.newest is not None and (self.is_stalled or self.newest.phase in _UNHEALTHY)

    def short(self, revision: Revision | None) -> str:
        """Write a revision by its number, where its name is the workload's name and a number."""
        return short_name(revision, self.name.removeprefix(project_in(self.name)))

    def matches(self, text: str) -> bool:
        """Return whether a text, in lower case, is a part of its name, or begins its id or phase."""
        return text in self.name.lower() or self.id.startswith(text) or self.label.lower().startswith(text)

    def message(self, now: datetime, *, shared: bool = False) -> str:
        """Write why its polls fail, or else what the newest revision says.

        Args:
            now: the present time by this machine's clock.
            shared: whether those of all fail, so that it need not be said here, unless this one has failed.
        """
        problem = self.own_problem(shared=shared)
        if problem is not None:
            retrying = ", retrying" if problem.kind == "failing" else ""
            return f"{problem.kind} for {since(problem.since, now)}: {problem.reason}{retrying}"
        return clean(self.newest.phase_message) if self.newest is not None else ""


class States:
    """What is known of each workload.

    Args:
        names: of workloads, by id, as far as they are known; may change.
        now: returns the present time by this machine's clock.

    Attributes:
        watched: the workloads; none until the watch begins.
        last_success_at: when a poll succeeded last.
    """

    def __init__(self, names: Mapping[str, str], now: Callable[[], datetime]) -> None:
        self.watched: Watched = SeparatelyWatched()
        self.last_success_at: datetime | None = None
        self._names = names
        self._now = now
        self._states: dict[str, WorkloadState] = {}
        self._shared = SharedOutage()
        self._reason = ""
        self._changed: dict[str, None] = {}  # a set in the order of insertion

    def __len__(self) -> int:
        return len(self._states)

    def note(self, event: FleetEvent) -> None:
        """Take in an event about a workload: why its polls fail, or that there is more to read."""
        key = event.workload_id
        if not key:  # it is about all of them, or about a cluster
            return
        self._changed[key] = None
        if isinstance(event, WatchDegraded | WorkloadFailed):
            kind, self._reason = (
                "outage" if isinstance(event, WatchDegraded) else "failed",
                reason(event.error),
            )
            self._state(key).problem = _Problem(kind, self._reason, event.observed_at)
        elif isinstance(event, WatchRecovered):
            self._state(key).problem = None

    def note_poll(self, event: HookEvent) -> None:
        """Take in how a poll ended: a success ends a problem, a failure is shown at once."""
        if not isinstance(event, PollFinished) or event.error == "CancelledError":
            return  # not the end of a poll, or one that was cut off by the end of the command
        state, now = self._state(event.workload_id), self._now()
        self._changed[event.workload_id] = None
        self._shared.note(event, now)
        if event.error is None:
            self.last_success_at = now
            state.has_succeeded, state.undecodable, state.problem = True, event.undecodable, None
        elif state.problem is None:
            self._reason = failure(event.error)
            state.problem = _Problem("failing", self._reason, now)

    def _state(self, workload_id: str) -> WorkloadState:
        return self._states.setdefault(workload_id, WorkloadState(workload_id, workload_id))

    def refresh(self) -> None:
        """Read what has changed; of very many workloads the rest is read the next time."""
        self._follow()
        self._read()
        for key, state in self._states.items():
            state.name = self._names.get(key) or state.name_of_revisions or key

    def _read(self) -> None:
        decoded = 0
        for key in list(self._changed):
            del self._changed[key]
            reading = self.watched.read(key)
            if reading is not None and key in self._states:
                decoded += self._states[key].take(reading)
            if decoded == _MOST_DECODED:
                return

    def _follow(self) -> None:
        """Forget the workloads that are not watched any longer, except those that have failed."""
        ids = self.watched.ids
        for key in ids - self._states.keys():
            self._state(key)
        for key in self._states.keys() - ids:
            problem = self._states[key].problem
            if problem is None or problem.kind != "failed":
                del self._states[key]

    def ordered(self, text: str = "") -> list[WorkloadState]:
        """Return the workloads, unhealthy ones first, then by name.

        Args:
            text: what those that are returned match.
        """
        wanted = text.lower()
        found = [item for item in self._states.values() if not wanted or item.matches(wanted)]
        shared = self.in_outage
        return sorted(found, key=lambda item: (not item.is_unhealthy(shared=shared), item.name, item.id))

    def totals(self) -> str:
        """Write how many there are, in which phases: `205 of 300 workloads: 200 Running, 5 Pending`."""
        polled = [item for item in self._states.values() if item.is_known or item.problem is not None]
        expected = max(self.watched.expected, len(self._states))
        of = f"{len(polled)} of " if len(polled) < expected else ""
        parts = [phase_counts(item.label for item in polled if item.is_known)]
        if failing := sum(item.problem is not None for item in polled):
            parts.append(f"polls of {failing} fail")
        counts = ", ".join(filter(None, parts))
        return f"{of}{counted(expected, 'workload')}{counts and f': {counts}'}"

    @property
    def in_outage(self) -> bool:
        """Whether the polls of all fail."""
        return self._shared.lasts(len(self.watched.ids))

    def outage(self, now: datetime) -> str:
        """Write for how long the polls of all have failed, and why; empty if they do not."""
        if not self.in_outage:
            return ""
        return f"outage for {since(self._shared.since, now)}, states may be out of date: {self._reason}"

    def cluster_ids(self) -> set[str]:
        """Return the clusters of the workloads."""
        return {item.newest.cluster_id for item in self._states.values() if item.newest is not None}


def hidden_totals(hidden: Iterable[WorkloadState]) -> str:
    """Write in which phases those are that are not shown: `270 Running, 10 Pending`."""
    return phase_counts(item.label for item in hidden)
