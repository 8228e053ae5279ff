"""The metrics of revisions: their last state by the events that were observed."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

from attrs import frozen
from prometheus_client.core import Metric

from runai_async.events import PhaseChanged, RevisionDeleted, RevisionEvent, RevisionStalled, RevisionUpdated
from runai_async.exporter._families import Rows, counter, gauge
from runai_async.exporter._values import label, number, timestamp
from runai_async.models import Revision


@frozen
class KnownRevision:
    """A revision, how often its phase has changed, and whether it was reported as stalled in this one."""

    revision: Revision
    changes: int
    is_stalled: bool = False


class RevisionStore:
    """The last state of each revision: written in the event loop, read by scrapes in threads of their own."""

    def __init__(self) -> None:
        self._revisions: dict[str, Revision] = {}
        self._changes: Counter[str] = Counter()
        self._stalled: set[str] = set()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._revisions)

    def add(self, event: RevisionEvent) -> None:
        """Store what an event says about its revision."""
        with self._lock:
            if isinstance(event, RevisionDeleted):
                self._forget(event.revision_id)
            else:
                self._revisions[event.revision_id] = event.revision
                self._changes[event.revision_id] += isinstance(event, PhaseChanged)
                if isinstance(event, RevisionStalled):
                    self._stalled.add(event.revision_id)
                elif not isinstance(event, RevisionUpdated):
                    self._stalled.discard(event.revision_id)

    def forget(self, is_forgotten: Callable[[str], bool]) -> None:
        """Forget the revisions of some workloads: no event says that one has left a fleet."""
        with self._lock:
            for item in list(self._revisions.values()):
                if is_forgotten(item.workload_id):
                    self._forget(item.id)

    def _forget(self, revision_id: str) -> None:
        self._revisions.pop(revision_id, None)
        self._changes.pop(revision_id, None)
        self._stalled.discard(revision_id)

    def known(self) -> list[KnownRevision]:
        """Return the revisions as they are now."""
        with self._lock:  # briefly: the event loop may be waiting for it
            revisions, changes = list(self._revisions.values()), dict(self._changes)
            stalled = set(self._stalled)
        return [KnownRevision(item, changes[item.id], item.id in stalled) for item in revisions]


_LABELS = ("workload_id", "workload", "revision_id", "revision")


def families_of_revisions(known: Collection[KnownRevision], names: Mapping[str, str]) -> Iterator[Metric]:
    """Yield the families of these revisions.

    Args:
        known: the revisions.
        names: the names of their workloads by id.
    """

    def rows(value_of: Callable[[KnownRevision], float | None]) -> Callable[[], Rows]:
        return lambda: _rows(known, names, value_of)

    yield gauge(
        "runai_revision_phase",
        "1 for the phase that a revision is in.",
        [*_LABELS, "phase"],
        lambda: (([*_labels(item, names), label(item.revision.phase.value)], 1) for item in known),
    )
    yield gauge(
        "runai_revision_stalled",
        "1 for a revision that was reported as stalled in its present phase, else 0.",
        _LABELS,
        rows(lambda item: int(item.is_stalled)),
    )
    yield gauge("runai_revision_running_pods", "Pods that are running.", _LABELS, rows(_running_pods))
    yield gauge(
        "runai_revision_requested_pods",
        "Pods that are requested; the minimum where they scale.",
        _LABELS,
        rows(_requested_pods),
    )
    yield gauge(
        "runai_revision_created_timestamp_seconds", "Unix time of the creation.", _LABELS, rows(_created_at)
    )
    yield counter(
        "runai_revision_phase_changes",
        "Changes of phase since this process started.",
        _LABELS,
        rows(lambda item: item.changes),
    )


def _rows(
    known: Iterable[KnownRevision],
    names: Mapping[str, str],
    value_of: Callable[[KnownRevision], float | None],
) -> Rows:
    for item in known:
        if (value := value_of(item)) is not None:
            yield _labels(item, names), value


def _labels(item: KnownRevision, names: Mapping[str, str]) -> list[str]:
    workload_id = item.revision.workload_id
    texts = (workload_id, names.get(workload_id, ""), item.revision.id, item.revision.name)
    return [*map(label, texts)]


def _running_pods(item: KnownRevision) -> float | None:
    return number(item.revision.running_pods)


def _requested_pods(item: KnownRevision) -> float | None:
    pods = item.revision.requested_pods
    return number(None if pods is None else pods.wanted)


def _created_at(item: KnownRevision) -> float | None:
    return timestamp(item.revision.created_at)
