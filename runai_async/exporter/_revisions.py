"""The metrics of revisions: their present state, as it was read or as the events say."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple

from prometheus_client.core import Metric

from runai_async._watch.live import LiveRevisions
from runai_async._watch.status import PollState
from runai_async.events import PhaseChanged, RevisionDeleted, RevisionEvent, RevisionStalled, RevisionUpdated
from runai_async.exporter._families import Rows, counter, gauge
from runai_async.exporter._values import label, number, timestamp
from runai_async.models import Revision


class RevisionRow(NamedTuple):
    """What is exported of a revision: there may be hundreds of thousands, so it is little and no `Revision`.

    Attributes:
        workload_id: the workload that is watched.
        id: of the revision.
        name: its name.
        phase: its phase.
        running_pods: None where not known, as with all numbers.
        requested_pods: the minimum where they scale.
        created_at: Unix time of the creation.
        phase_updated_at: Unix time at which it entered its phase.
        is_stalled: whether it was reported as stalled in its phase.
    """

    workload_id: str
    id: str
    name: str
    phase: str
    running_pods: float | None
    requested_pods: float | None
    created_at: float | None
    phase_updated_at: float | None
    is_stalled: bool


def row_of(revision: Revision, *, is_stalled: bool) -> RevisionRow:
    """Return what is exported of a revision."""
    pods = revision.requested_pods
    return RevisionRow(
        revision.workload_id,
        revision.id,
        label(revision.name),
        label(revision.phase.value),
        number(revision.running_pods),
        number(None if pods is None else pods.wanted),
        timestamp(revision.created_at),
        timestamp(revision.phase_updated_at),
        is_stalled,
    )


def _rows_of(live: LiveRevisions) -> tuple[RevisionRow, ...]:
    stalled = live.stalled_ids
    return tuple(row_of(item, is_stalled=item.id in stalled) for item in live.decoded())


class ReadRevisions:
    """The revisions that were read, decoded once in each version. Used in the threads of scrapes."""

    def __init__(self) -> None:
        self._by_workload: dict[str, tuple[int, tuple[RevisionRow, ...]]] = {}
        self._lock = threading.Lock()

    def knows(self, workload_id: str, version: int) -> bool:
        """Return whether this version of a workload's revisions was decoded."""
        return self._by_workload.get(workload_id, (0,))[0] == version

    def take(
        self, changed: Iterable[list[LiveRevisions]], polls: Collection[PollState]
    ) -> dict[str, tuple[RevisionRow, ...]]:
        """Decode what has changed, and return the rows of each workload that is watched.

        Args:
            changed: what was read, each list from another source; they are emptied.
            polls: which workloads there are, and the version of each that counts.
        """
        versions = {item.workload_id: item.version for item in polls}
        with self._lock:  # scrapes can come together
            known = self._by_workload
            for items in changed:
                while items:
                    live = items.pop()
                    if versions.get(live.workload_id) == live.version:
                        known[live.workload_id] = live.version, _rows_of(live)
            self._by_workload = {key: known[key] for key in versions if key in known}
            return {key: rows for key, (_, rows) in self._by_workload.items()}


class ReportedRevisions:
    """What the events say: written in the event loop, read by scrapes in threads of their own."""

    def __init__(self) -> None:
        self._rows: defaultdict[str, dict[str, RevisionRow]] = defaultdict(dict)
        self._changes: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Return how many workloads it knows, some of them twice."""
        return len(self._rows) + len(self._changes)

    def add(self, event: RevisionEvent, *, keep_state: bool) -> None:
        """Count what an event reports, and keep the state of its revision where it is not read elsewhere."""
        key, revision_id = event.workload_id, event.revision_id
        with self._lock:
            if isinstance(event, RevisionDeleted):
                _drop(self._rows, key, revision_id)
                _drop(self._changes, key, revision_id)
                return
            if keep_state:
                before = self._rows[key].get(revision_id)
                self._rows[key][revision_id] = row_of(event.revision, is_stalled=_is_stalled(event, before))
            if isinstance(event, PhaseChanged):
                self._changes[key][revision_id] += 1

    def forget_states(self) -> None:
        """Forget the states of all revisions: they are read elsewhere now."""
        with self._lock:
            self._rows.clear()

    def forget(self, workload_ids: Iterable[str]) -> None:
        """Forget some workloads: no event says that one has left a fleet."""
        with self._lock:
            for key in workload_ids:
                self._rows.pop(key, None)
                self._changes.pop(key, None)

    def forget_all_but(self, workload_ids: AbstractSet[str]) -> None:
        """Forget the other workloads."""
        self.forget((self._rows.keys() | self._changes.keys()) - workload_ids)

    def rows(self) -> dict[str, tuple[RevisionRow, ...]]:
        """Return the revisions of each workload as they are now."""
        with self._lock:  # briefly: the event loop may be waiting for it
            return {key: tuple(rows.values()) for key, rows in self._rows.items()}

    def changes(self) -> dict[str, int]:
        """Return how often the phase of a revision has changed, by its id; of most it has not."""
        with self._lock:
            return {key: count for counts in self._changes.values() for key, count in counts.items()}


def _is_stalled(event: RevisionEvent, before: RevisionRow | None) -> bool:
    """Return whether a revision is stalled after an event; an update does not end that."""
    if isinstance(event, RevisionUpdated):
        return before is not None and before.is_stalled
    return isinstance(event, RevisionStalled)


def _drop(table: dict[str, Any], workload_id: str, revision_id: str) -> None:
    if workload_id in table:
        table[workload_id].pop(revision_id, None)
        if not table[workload_id]:
            del table[workload_id]


_LABELS = ("workload_id", "workload", "project", "revision_id", "revision")


def families_of_revisions(
    rows: Collection[RevisionRow],
    changes: Mapping[str, int],
    names: Mapping[str, str],
    projects: Mapping[str, str],
) -> Iterator[Metric]:
    """Yield the families of these revisions.

    Args:
        rows: the revisions.
        changes: how often the phase of each has changed, by its id.
        names: the names of their workloads by id.
        projects: the names of their projects by the workload's id.
    """

    def labels(row: RevisionRow) -> list[str]:
        key = row.workload_id
        return [label(key), label(names.get(key, "")), label(projects.get(key, "")), label(row.id), row.name]

    def values(value_of: Callable[[RevisionRow], float | None]) -> Callable[[], Rows]:
        return lambda: _values(rows, labels, value_of)

    yield gauge(
        "runai_revision_phase",
        "1 for the phase that a revision is in.",
        [*_LABELS, "phase"],
        lambda: (([*labels(row), row.phase], 1) for row in rows),
    )
    yield gauge(
        "runai_revision_phase_updated_timestamp_seconds",
        "Unix time at which a revision entered its phase.",
        _LABELS,
        values(lambda row: row.phase_updated_at),
    )
    yield gauge(
        "runai_revision_stalled",
        "1 for a revision that was reported as stalled in its present phase, else 0.",
        _LABELS,
        values(lambda row: int(row.is_stalled)),
    )
    yield gauge(
        "runai_revision_running_pods", "Pods that are running.", _LABELS, values(lambda row: row.running_pods)
    )
    yield gauge(
        "runai_revision_requested_pods",
        "Pods that are requested; the minimum where they scale.",
        _LABELS,
        values(lambda row: row.requested_pods),
    )
    yield gauge(
        "runai_revision_created_timestamp_seconds",
        "Unix time of the creation.",
        _LABELS,
        values(lambda row: row.created_at),
    )
    yield counter(
        "runai_revision_phase_changes",
        "Changes of phase since this process started.",
        _LABELS,
        values(lambda row: changes.get(row.id, 0)),
    )


def _values(
    rows: Iterable[RevisionRow],
    labels: Callable[[RevisionRow], list[str]],
    value_of: Callable[[RevisionRow], float | None],
) -> Rows:
    for row in rows:
        if (value := value_of(row)) is not None:
            yield labels(row), value
