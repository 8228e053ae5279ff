"""The metrics that are made for each scrape: the state of revisions, and of a fleet."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import Future
from typing import NamedTuple

from attrs import frozen
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from runai_async._fleet.fleet_watch import FleetWatch, clusters_of
from runai_async._fleet.status import FleetStatus
from runai_async._watch.clusters import Link
from runai_async.events import PhaseChanged, RevisionDeleted, RevisionEvent
from runai_async.models import Revision

_LOOP_PATIENCE = 5.0
"""Seconds that a scrape waits for the event loop; Prometheus itself waits for 10."""


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

    def add(self, event: RevisionEvent) -> None:
        """Store what an event says about its revision."""
        with self._lock:
            if isinstance(event, RevisionDeleted):
                self._forget(event.revision_id)
            else:
                self._revisions[event.revision_id] = event.revision
                self._changes[event.revision_id] += isinstance(event, PhaseChanged)

    def keep(self, workload_ids: Collection[str]) -> None:
        """Forget the revisions of all other workloads: no event says that a workload has left a fleet."""
        with self._lock:
            for item in list(self._revisions.values()):
                if item.workload_id not in workload_ids:
                    self._forget(item.id)

    def _forget(self, revision_id: str) -> None:
        self._revisions.pop(revision_id, None)
        self._changes.pop(revision_id, None)

    def known(self) -> list[KnownRevision]:
        """Return the revisions as they are now."""
        with self._lock:  # briefly: the event loop may be waiting for it
            revisions, changes = list(self._revisions.values()), dict(self._changes)
        return [KnownRevision(item, changes[item.id]) for item in revisions]


class FleetReading(NamedTuple):
    """The state of a fleet, and of the clusters of its workloads by their ids."""

    status: FleetStatus
    clusters: Mapping[str, Link]


class FleetSource:
    """Reads a fleet's status in its own event loop, because scrapes come in threads."""

    def __init__(self, fleet: FleetWatch, store: RevisionStore, loop: asyncio.AbstractEventLoop) -> None:
        self._fleet = fleet
        self._store = store
        self._loop = loop

    @property
    def is_empty(self) -> bool:
        """Whether it watches nothing. For its own event loop only."""
        return not self._fleet.workload_ids

    def read(self) -> FleetReading | None:
        """Return the fleet's state, or None where the loop is closed, or busy for too long."""
        if _is_running_here(self._loop):
            return self._read()
        result: Future[FleetReading] = Future()
        try:
            self._loop.call_soon_threadsafe(lambda: result.set_result(self._read()))
            return result.result(_LOOP_PATIENCE)
        except (RuntimeError, TimeoutError):
            return None

    def _read(self) -> FleetReading:
        # Here and not in the scrape's thread: no event can come between reading the ids and using them.
        self._store.keep(self._fleet.workload_ids)
        return FleetReading(self._fleet.status, clusters_of(self._fleet))


def _is_running_here(loop: asyncio.AbstractEventLoop) -> bool:
    """Return whether a loop runs in this thread, which would then wait for itself."""
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


class StateCollector(Collector):
    """The state of the revisions and of the fleet, read for each scrape.

    Attributes:
        fleet: where the status of the fleet comes from, if there is one.
    """

    def __init__(self, store: RevisionStore, names: Mapping[str, str]) -> None:
        self.fleet: FleetSource | None = None
        self._store = store
        self._names = names

    @property
    def has_nothing_to_poll(self) -> bool:
        """Whether there is a fleet that watches nothing. For its own event loop only."""
        return self.fleet is not None and self.fleet.is_empty

    def describe(self) -> Iterator[Metric]:
        """Yield the families without values: a scrape can ask for metrics by these names."""
        yield from _of_revisions((), self._names)
        for name, description, _ in _FLEET:
            yield GaugeMetricFamily(name, description)
        yield from _of_clusters({})

    def collect(self) -> Iterator[Metric]:
        """Yield the families with their values."""
        reading = None if self.fleet is None else self.fleet.read()
        yield from _of_revisions(self._store.known(), self._names)
        if reading is not None:
            yield from _of_fleet(reading.status)
            yield from _of_clusters(reading.clusters)


_LABELS = ("workload_id", "workload", "revision_id", "revision")


def _of_revisions(known: Collection[KnownRevision], names: Mapping[str, str]) -> Iterator[Metric]:
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
        revision, requested_pods = item.revision, item.revision.requested_pods
        labels = (revision.workload_id, names.get(revision.workload_id, ""), revision.id, revision.name)
        phase.add_metric([*labels, revision.phase.value], 1)
        created.add_metric(labels, revision.created_at.timestamp())
        changes.add_metric(labels, item.changes)
        if revision.running_pods is not None:
            running.add_metric(labels, revision.running_pods)
        if requested_pods is not None and requested_pods.wanted is not None:
            requested.add_metric(labels, requested_pods.wanted)
    yield from (phase, running, requested, created, changes)


_FLEET: tuple[tuple[str, str, Callable[[FleetStatus], float | None]], ...] = (
    ("runai_async_workloads", "Workloads that are watched.", lambda status: status.watched),
    ("runai_async_workloads_failing", "Workloads whose last poll failed.", lambda status: status.failing),
    ("runai_async_polls_in_flight", "Polls that are running.", lambda status: status.in_flight),
    (
        "runai_async_poll_lag_seconds",
        "How late the poll is that has been due for longest.",
        lambda status: status.lag,
    ),
    (
        "runai_async_workloads_refused",
        "Workloads whose last poll was refused, though they were readable before.",
        lambda status: status.refused,
    ),
    (
        "runai_async_oldest_success_timestamp_seconds",
        "Unix time of the last successful poll of the workload that has had none for longest.",
        lambda status: status.oldest_success_at.timestamp() if status.oldest_success_at else None,
    ),
)
"""Name, description and value of each metric of a fleet. A value of None is absent."""


def _of_fleet(status: FleetStatus) -> Iterator[Metric]:
    for name, description, value_of in _FLEET:
        if (value := value_of(status)) is not None:
            yield GaugeMetricFamily(name, description, value)


def _of_clusters(clusters: Mapping[str, Link]) -> Iterator[Metric]:
    labels = ["cluster_id", "cluster"]
    connected = GaugeMetricFamily(
        "runai_async_cluster_connected",
        "1 for a cluster that is connected to the control plane, 0 for one that has lost it: its revisions "
        "are shown as they last were.",
        labels=labels,
    )
    seen = GaugeMetricFamily(
        "runai_async_cluster_last_seen_timestamp_seconds",
        "Unix time at which the control plane last heard of a cluster.",
        labels=labels,
    )
    for cluster_id, link in clusters.items():
        if link.is_connected is not None:
            connected.add_metric([cluster_id, link.name], int(link.is_connected))
        if link.last_seen_at is not None:
            seen.add_metric([cluster_id, link.name], link.last_seen_at.timestamp())
    yield from (connected, seen)
