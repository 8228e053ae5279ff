"""The metrics of revisions: their last state by the events that were observed."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping

from attrs import frozen
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from runai_async.events import PhaseChanged, RevisionDeleted, RevisionEvent
from runai_async.exporter._values import label, number, timestamp
from runai_async.models import Revision


@frozen
class KnownRevision:
    """A revision, and how often its phase has changed."""

    revision: Revision
    changes: int


class RevisionStore:
    """The last state of each revision: written in the event loop, read by scrapes in threads of their own."""

    def __init__(self) -> None:
        self._revisions: dict[str, Revision] = {}
        self._changes: Counter[str] = Counter()
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

    def forget(self, is_forgotten: Callable[[str], bool]) -> None:
        """Forget the revisions of some workloads: no event says that one has left a fleet."""
        with self._lock:
            for item in list(self._revisions.values()):
                if is_forgotten(item.workload_id):
                    self._forget(item.id)

    def _forget(self, revision_id: str) -> None:
        self._revisions.pop(revision_id, None)
        self._changes.pop(revision_id, None)

    def known(self) -> list[KnownRevision]:
        """Return the revisions as they are now."""
        with self._lock:  # briefly: the event loop may be waiting for it
            revisions, changes = list(self._revisions.values()), dict(self._changes)
        return [KnownRevision(item, changes[item.id]) for item in revisions]


_LABELS = ("workload_id", "workload", "revision_id", "revision")


def families_of_revisions(known: Collection[KnownRevision], names: Mapping[str, str]) -> Iterator[Metric]:
    """Yield the families of these revisions.

    Args:
        known: the revisions.
        names: the names of their workloads by id.
    """
    phase = GaugeMetricFamily(
        "runai_revision_phase", "1 for the phase that a revision is in.", labels=[*_LABELS, "phase"]
    )
    running = GaugeMetricFamily("runai_revision_running_pods", "Pods that are running.", labels=_LABELS)
    requested = GaugeMetricFamily(
        "runai_revision_requested_pods",
        "Pods that are requested; the minimum where they scale.",
        labels=_LABELS,
    )
    created = GaugeMetricFamily(
        "runai_revision_created_timestamp_seconds", "Unix time of the creation.", labels=_LABELS
    )
    changes = CounterMetricFamily(
        "runai_revision_phase_changes", "Changes of phase since this process started.", labels=_LABELS
    )
    for item in known:
        revision, pods = item.revision, item.revision.requested_pods
        ids = (revision.workload_id, names.get(revision.workload_id, ""), revision.id, revision.name)
        labels = [*map(label, ids)]
        phase.add_metric([*labels, label(revision.phase.value)], 1)
        changes.add_metric(labels, item.changes)
        _add(running, labels, number(revision.running_pods))
        _add(requested, labels, number(None if pods is None else pods.wanted))
        _add(created, labels, timestamp(revision.created_at))
    yield from (phase, running, requested, created, changes)


def _add(family: GaugeMetricFamily, labels: list[str], value: float | None) -> None:
    if value is not None:
        family.add_metric(labels, value)
