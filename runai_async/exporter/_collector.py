"""The families that are made at scrape time: revisions, and the state of a fleet."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import Future

from attrs import frozen
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from runai_async._fleet.fleet_watch import FleetStatus, FleetWatch
from runai_async.events import PhaseChanged, RevisionDeleted, RevisionEvent
from runai_async.models import Revision

_LABELS = ("workload_id", "workload", "revision_id", "revision")


_LOOP_PATIENCE = 5.0
"""Seconds that a scrape waits for the loop; Prometheus itself waits 10."""


@frozen
class KnownRevision:
    """A revision, and how often its phase has changed."""

    revision: Revision
    changes: int


class RevisionStore:
    """What was told of the revisions: in the loop. It is read by scrapes, in threads of their own."""

    def __init__(self) -> None:
        self._revisions: dict[str, Revision] = {}
        self._changes: Counter[str] = Counter()
        self._lock = threading.Lock()

    def take(self, event: RevisionEvent) -> None:
        """Take an event in; a deleted revision is gone."""
        with self._lock:
            if isinstance(event, RevisionDeleted):
                self._forget(event.revision_id)
            else:
                self._revisions[event.revision_id] = event.revision
                self._changes[event.revision_id] += isinstance(event, PhaseChanged)

    def keep(self, workload_ids: Collection[str]) -> None:
        """Forget the revisions of all other workloads: those that left a fleet are not told deleted."""
        with self._lock:
            for item in list(self._revisions.values()):
                if item.workload_id not in workload_ids:
                    self._forget(item.id)

    def _forget(self, revision_id: str) -> None:
        self._revisions.pop(revision_id, None)
        self._changes.pop(revision_id, None)

    def known(self) -> list[KnownRevision]:
        """Return what is known now."""
        with self._lock:  # not for long: the loop may wait for it
            revisions, changes = list(self._revisions.values()), dict(self._changes)
        return [KnownRevision(item, changes[item.id]) for item in revisions]


class FleetSource:
    """A fleet, asked in its own loop, since scrapes come in threads."""

    def __init__(self, fleet: FleetWatch, told: RevisionStore, loop: asyncio.AbstractEventLoop) -> None:
        self._fleet = fleet
        self._store = told
        self._loop = loop

    def status(self) -> FleetStatus | None:
        """Ask how it fares; None where the loop is closed, or busy for long."""
        if _is_running(self._loop):
            return self._ask()
        answer: Future[FleetStatus] = Future()
        try:
            self._loop.call_soon_threadsafe(lambda: answer.set_result(self._ask()))
            return answer.result(_LOOP_PATIENCE)
        except (RuntimeError, TimeoutError):
            return None

    def _ask(self) -> FleetStatus:
        # Here and not in the scrape's thread: no event can come between the ids and their use.
        self._store.keep(self._fleet.workload_ids)
        return self._fleet.status


def _is_running(loop: asyncio.AbstractEventLoop) -> bool:
    """Tell whether this is the thread of a loop, and that runs: waiting for it would be for ever."""
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


class StateCollector(Collector):
    """The state of the revisions and of the fleet, read at each scrape."""

    def __init__(self, told: RevisionStore, names: Mapping[str, str]) -> None:
        self.fleet: FleetSource | None = None
        self._store = told
        self._names = names

    def collect(self) -> Iterator[Metric]:
        """Make the families."""
        status = None if self.fleet is None else self.fleet.status()
        yield from _of_revisions(self._store.known(), self._names)
        if status is not None:
            yield from _of_fleet(status)


def _of_revisions(known: Collection[KnownRevision], names: Mapping[str, str]) -> Iterator[Metric]:
    phase = GaugeMetricFamily(
        "runai_revision_phase", "1 for the phase that a revision is in.", labels=[*_LABELS, "phase"]
    )
    running = GaugeMetricFamily("runai_revision_running_pods", "Pods that run now.", labels=_LABELS)
    requested = GaugeMetricFamily(
        "runai_revision_requested_pods",
        "Pods that are asked for; the least where they scale.",
        labels=_LABELS,
    )
    created = GaugeMetricFamily(
        "runai_revision_created_timestamp_seconds", "When it was made, since 1970.", labels=_LABELS
    )
    changes = CounterMetricFamily(
        "runai_revision_phase_changes", "Changes of phase since this process began.", labels=_LABELS
    )
    for item in known:
        revision, asked = item.revision, item.revision.requested_pods
        labels = (revision.workload_id, names.get(revision.workload_id, ""), revision.id, revision.name)
        phase.add_metric([*labels, revision.phase.value], 1)
        created.add_metric(labels, revision.created_at.timestamp())
        changes.add_metric(labels, item.changes)
        if revision.running_pods is not None:
            running.add_metric(labels, revision.running_pods)
        if asked is not None and asked.wanted is not None:
            requested.add_metric(labels, asked.wanted)
    yield from (phase, running, requested, created, changes)


def _of_fleet(status: FleetStatus) -> Iterator[Metric]:
    yield GaugeMetricFamily("runai_async_workloads", "Workloads that are watched.", status.watched)
    yield GaugeMetricFamily(
        "runai_async_workloads_failing", "Workloads whose last poll failed.", status.failing
    )
    yield GaugeMetricFamily("runai_async_polls_in_flight", "Polls that run.", status.in_flight)
    yield GaugeMetricFamily(
        "runai_async_poll_lag_seconds", "How late the poll is that waits longest.", status.lag
    )
    if status.oldest_success_at is not None:
        yield GaugeMetricFamily(
            "runai_async_oldest_success_timestamp_seconds",
            "The last good poll of the workload that had none for longest, since 1970.",
            status.oldest_success_at.timestamp(),
        )
