"""The metrics that are made for each scrape: the state of revisions, workloads, a fleet and its clusters."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import get_args

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from runai_async._fleet.fleet_watch import FleetWatch
from runai_async._fleet.reading import FleetReading
from runai_async._fleet.status import FleetStatus, HintStatus
from runai_async._watch.clusters import Link
from runai_async._watch.revision_watch import RevisionWatch
from runai_async._watch.status import PollState
from runai_async.events import RevisionEvent
from runai_async.exporter._reachability import (
    CallResponses,
    Reachability,
    contacts_of,
    families_of_reachability,
    reachability_of,
)
from runai_async.exporter._revisions import (
    ReadRevisions,
    ReportedRevisions,
    RevisionRow,
    families_of_revisions,
)
from runai_async.exporter._sources import Aged, FleetSource, Labels, WatchSource
from runai_async.exporter._values import label, number, timestamp
from runai_async.exporter._workloads import Outages, Readiness, families_of_workloads

_TIDIED_FROM = 1000
"""Workloads from which on those that have left are forgotten also without a scrape."""

RowsById = Mapping[str, tuple[RevisionRow, ...]]
"""The revisions of workloads, by the workload's id."""


class StateCollector(Collector):
    """The state of the revisions, and of what polls them, read for each scrape.

    Args:
        names: the names of workloads by id.
        projects: the names of their projects, by the workload's id.

    Attributes:
        calls: whether calls get responses, for as long as nothing is attached.
    """

    def __init__(self, names: dict[str, str], projects: dict[str, str]) -> None:
        self._names = names
        self._projects = projects
        self._read_revisions = ReadRevisions()
        self._reported = ReportedRevisions()
        self._tidied = _TIDIED_FROM
        self._fleet: FleetSource | None = None
        self._watches: dict[asyncio.AbstractEventLoop, WatchSource] = {}
        self._watched: frozenset[str] = frozenset()
        self._outages = Outages(names)
        self._readiness = Readiness()
        self.calls = CallResponses()

    # --- in the event loop --------------------------------------------------------------------------------

    def add(self, event: RevisionEvent) -> None:
        """Take in what an event says about its revision. Where there is a fleet, its own state is read."""
        self._reported.add(event, keep_state=self._fleet is None)
        if len(self._reported) > self._tidied and self._fleet is not None:
            self._fleet.tidy()
            self._tidied = max(_TIDIED_FROM, 2 * len(self._reported))

    def of_fleet(self, fleet: FleetWatch) -> None:
        """Export the state of a fleet, and no longer that of an earlier one."""
        labels = Labels(self._names, self._projects)
        self._fleet = FleetSource(fleet, self._keep, self._read_revisions.knows, labels)
        self._fleet.tidy()
        self._reported.forget_states()

    def of_watch(self, watch: RevisionWatch) -> None:
        """Export the state of one more watch."""
        loop = asyncio.get_running_loop()
        for other in [key for key in self._watches if key.is_closed()]:
            self._forget(self._watches.pop(other).ids)
        if (source := self._watches.get(loop)) is None:
            source = self._watches[loop] = WatchSource(self._forget, self._read_revisions.knows)
        source.add(watch)

    @property
    def has_nothing_to_poll(self) -> bool:
        """Whether there is a fleet that watches nothing."""
        return self._fleet is not None and self._fleet.is_empty

    def _keep(self, workload_ids: frozenset[str]) -> None:
        """Forget all but the workloads of the fleet, and those that have watches of their own."""
        kept = workload_ids | self._in_watches
        self._reported.forget_all_but(kept)
        left, self._watched = self._watched - kept, kept
        self._forget_names(left)

    def _forget(self, workload_ids: frozenset[str]) -> None:
        """Forget workloads whose watch has ended, unless the fleet watches them, too."""
        kept = self._in_watches
        if self._fleet is not None:
            kept |= self._watched
        gone = workload_ids - kept
        self._reported.forget(gone)
        self._forget_names(gone)

    def _forget_names(self, workload_ids: Iterable[str]) -> None:
        for key in workload_ids:
            self._names.pop(key, None)
            self._projects.pop(key, None)

    @property
    def _in_watches(self) -> frozenset[str]:
        return frozenset(key for source in [*self._watches.values()] for key in source.ids)

    # --- in any thread ------------------------------------------------------------------------------------

    def describe(self) -> Iterator[Metric]:
        """Yield the families without values: a scrape can ask for metrics by these names."""
        yield from families_of_revisions((), {}, self._names, self._projects)
        yield from families_of_workloads((), self._names, self._projects)
        yield from families_of_reachability(None)
        for name, description, _ in _FLEET:
            yield GaugeMetricFamily(name, description)
        yield from _of_hints("off", 0, 0)
        yield from _of_clusters({})

    def collect(self) -> Iterator[Metric]:
        """Yield the families with their values."""
        fleet, polls, rows = self._read()
        self._outages.note(polls)
        present, changes = self._present(polls, rows), self._reported.changes()
        yield from families_of_revisions(present, changes, self._names, self._projects)
        yield from families_of_workloads(polls, self._names, self._projects)
        yield from families_of_reachability(self._reachability(fleet, polls))
        if fleet is not None and fleet.is_new:
            status = fleet.value.status
            yield from _of_fleet(status)
            yield from _of_hints(status.hints, status.changes_hinted, status.changes_unhinted)
            yield from _of_clusters(fleet.value.clusters)

    def _reachability(
        self, fleet: Aged[FleetReading] | None, polls: Collection[PollState]
    ) -> Reachability | None:
        """Return whether the control plane responds; None where there is nothing to ask it for."""
        contacts = contacts_of(polls)
        if fleet is None:
            return reachability_of(contacts) if contacts else self.calls.reachability
        if fleet.value.contact is not None:
            contacts = [fleet.value.contact.later(fleet.age), *contacts]
        return reachability_of(contacts) if contacts else None

    def is_ready(self, *, was_polled: bool) -> bool:
        """Return whether the first pass is done; without fleet and watches, whether anything *was polled*."""
        if not self._readiness.is_done:
            fleet, polls, _ = self._read()
            if fleet is None and not polls:
                return was_polled
            self._readiness.note(polls, is_listed=fleet is None or fleet.value.is_listed)
        return self._readiness.is_done

    def _read(self) -> tuple[Aged[FleetReading] | None, list[PollState], RowsById]:
        """Return the state of the fleet; how the polls of each workload go, one each; and their revisions."""
        fleet = None if self._fleet is None else self._fleet.read()
        readings = [source.read() for source in [*self._watches.values()]]
        polls = [item.later(reading.age) for reading in readings for item in reading.value.polls]
        changed = [reading.value.changed for reading in readings]
        if fleet is not None:
            polls += [item.later(fleet.age) for item in fleet.value.polls]
            changed.append(fleet.value.changed)
        # Of several watches of one workload, that counts which was successful last.
        latest = {item.workload_id: item for item in sorted(polls, key=lambda item: -item.age)}
        states = [*latest.values()]
        return fleet, states, self._read_revisions.take(changed, states)

    def _present(self, polls: Collection[PollState], rows: RowsById) -> list[RevisionRow]:
        """Return the revisions whose state is the present; those that nobody polls are what events say."""
        present = [row for item in polls if item.is_up for row in rows.get(item.workload_id, ())]
        if self._fleet is None:
            polled = {item.workload_id for item in polls} | self._in_watches
            reported = self._reported.rows().items()
            present += [row for key, items in reported if key not in polled for row in items]
        return present


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
        lambda status: timestamp(status.oldest_success_at),
    ),
)
"""Name, description and value of each metric of a fleet. A value of None is absent."""


def _of_fleet(status: FleetStatus) -> Iterator[Metric]:
    for name, description, value_of in _FLEET:
        if (value := number(value_of(status))) is not None:
            yield GaugeMetricFamily(name, description, value)


def _of_hints(state: HintStatus, hinted: int, unhinted: int) -> Iterator[Metric]:
    """Yield what the rows of the list of workloads are worth, with one series for each state."""
    states = GaugeMetricFamily(
        "runai_async_hints",
        "1 for what the rows of the list of workloads are worth: off, learning, trusted or untrusted.",
        labels=["state"],
    )
    for name in get_args(HintStatus):
        states.add_metric([name], int(name == state))
    yield states
    yield CounterMetricFamily(
        "runai_async_changes_hinted", "Changes found by polls that the list had shown in time.", hinted
    )
    yield CounterMetricFamily(
        "runai_async_changes_unhinted", "Changes found by polls that the list had not shown.", unhinted
    )


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
        key = [label(cluster_id), label(link.name)]
        if link.is_connected is not None:
            connected.add_metric(key, int(link.is_connected))
        if (at := timestamp(link.last_seen_at)) is not None:
            seen.add_metric(key, at)
    yield from (connected, seen)
