"""Prometheus metrics of the client, and the registry of them all.

The metrics of revisions follow kube-state-metrics: they show the present state, and a deleted revision leaves
the output. Those of the client have few labels: operations and outcomes.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from runai_async._fleet.fleet_watch import FleetWatch
from runai_async._watch.revision_watch import RevisionWatch
from runai_async.events import FleetEvent, RevisionEvent, WorkloadFailed
from runai_async.exporter._calls import Calls
from runai_async.exporter._collector import StateCollector
from runai_async.hooks import CallFinished, CallStarted, HookEvent, PollFinished, RetryScheduled


class Metrics:
    """Collects the metrics: give `hook` to the client, and a fleet or watches to `attach`, in the event loop.

    Each scrape reads the present state of what is attached: no event is needed for that, pods are as of the
    last poll, and a fleet or watch that was resumed has all series from its first polls on. A workload
    without a successful poll for three intervals and a deadline has no series of revisions, because what is
    known of them is past, and a line in the log says so. What is not known, what never happened, and a number
    that Prometheus cannot hold have no series. Pass the events to `observe` for the counters. Where nothing
    is attached, the state of revisions is what the events say: then pods are only as recent as those, and
    what has not changed since a checkpoint is missing.

    Of each revision, with the labels `workload_id`, `workload`, `project`, `revision_id`, `revision`:

    - `runai_revision_phase{phase}`: 1 for the phase that it is in
    - `runai_revision_phase_updated_timestamp_seconds`: Unix time at which it entered the phase, where known
    - `runai_revision_stalled`: 1 if it was reported as stalled in its present phase, else 0; always 0 where
      `PollPolicy.stalled_after` is not set
    - `runai_revision_running_pods`: pods that are running, where known
    - `runai_revision_requested_pods`: pods that are requested, the minimum where they scale, where known
    - `runai_revision_created_timestamp_seconds`: Unix time of its creation
    - `runai_revision_phase_changes_total`: changes of phase that were observed since this process started

    Of the client, from `hook` and `observe`:

    - `runai_async_requests_total{operation, outcome}`: operations by `success` or the class of the error
    - `runai_async_request_duration_seconds{operation}`: a histogram of operations, retries and their waits
      included
    - `runai_async_retries_total{operation}`: attempts that were repeated
    - `runai_async_last_success_timestamp_seconds`: Unix time of the last successful poll
    - `runai_async_workload_failures_total`: failure streaks of individual workloads

    Of the control plane, by any response to what is attached; until then, by the last call that ended:

    - `runai_async_up`: 1, or 0 without a response for three intervals and a deadline, and before the first
    - `runai_async_outage_started_timestamp_seconds`: Unix time at which an outage began that still lasts;
      absent without one

    Of each workload that is attached, until it is removed or its watch ends:

    - `runai_async_workload_up{workload_id, workload, project}`: 1, or 0 without a recent successful poll
    - `runai_async_workload_last_success_timestamp_seconds{workload_id, workload, project}`: Unix time of the
      last successful poll

    Of a fleet that is attached:

    - `runai_async_workloads`: workloads that are watched
    - `runai_async_workloads_failing`: those of them whose last poll failed
    - `runai_async_workloads_refused`: those whose last poll was refused, though they were readable before
    - `runai_async_polls_in_flight`: polls that are running
    - `runai_async_poll_lag_seconds`: how late the poll is that has been due for longest
    - `runai_async_oldest_success_timestamp_seconds`: Unix time of the last successful poll of the workload
      that has had none for longest; absent while a workload has had none at all
    - `runai_async_hints{state}`: 1 for what the rows of the list of workloads are worth, as
      `FleetStatus.hints` says it
    - `runai_async_changes_hinted_total`: changes found by polls that these rows had shown in time
    - `runai_async_changes_unhinted_total`: those that they had not

    Of the clusters of a fleet's workloads, where `PollPolicy.emit` includes "clusters", with the labels
    `cluster_id`, `cluster`:

    - `runai_async_cluster_connected`: 1, or 0 where a cluster has lost its control plane
    - `runai_async_cluster_last_seen_timestamp_seconds`: Unix time at which it was last heard, where known

    Attributes:
        registry: holds the metrics, for an HTTP server of your own.
        names: the names of workloads by id, as far as they are known; they become the label `workload`. Add
            those that you know. One that is no longer watched is forgotten.
        projects: the names of their projects by the workload's id, in the same way; the label `project`.

    Example:
        >>> metrics = Metrics()
        >>> runai = RunaiClient("https://acme.run.ai", token, hooks=[metrics.hook])
        >>> async with runai.watch_fleet(workload_ids) as fleet:
        ...     metrics.attach(fleet)
        ...     async with serving(metrics, lambda: metrics.is_fresh(90), "127.0.0.1", 9464):
        ...         async for event in fleet:
        ...             metrics.observe(event)
    """

    def __init__(self) -> None:
        self.registry: CollectorRegistry = CollectorRegistry()
        self.names: dict[str, str] = {}
        self.projects: dict[str, str] = {}
        self._calls = Calls()
        self._polls = _Polls()
        self._state = StateCollector(self.names, self.projects)
        for collector in (self._calls, self._polls, self._state):
            self.registry.register(collector)

    def hook(self, event: HookEvent) -> None:
        """Count what the client does: the hook for `RunaiClient(hooks=...)`."""
        match event:
            case CallStarted():
                self._calls.started(event.operation)
            case CallFinished():
                self._calls.finished(event.operation, event.error or "success", event.seconds)
                self._state.calls.note(event.status, event.error)
                is_listing = (event.operation, event.error) == ("list_workloads", None)
                if is_listing and self._state.has_nothing_to_poll:
                    self.nothing_to_poll()
            case RetryScheduled():
                self._calls.retried(event.operation)
            case PollFinished():
                self._polls.finished(succeeded=event.error is None)
            case _:
                pass

    def observe(self, event: FleetEvent) -> None:
        """Count an event of a watch or fleet; where nothing is attached, its revision is exported, too."""
        if isinstance(event, WorkloadFailed):
            self._polls.failures += 1
        elif isinstance(event, RevisionEvent):
            self._state.add(event)

    def tell(self, event: FleetEvent) -> None:
        """Do what `observe` does; deprecated."""
        warnings.warn("Metrics.tell() is now Metrics.observe()", DeprecationWarning, stacklevel=2)
        self.observe(event)

    def attach(self, source: FleetWatch | RevisionWatch) -> None:
        """Export the state of a fleet or of a watch, read at each scrape.

        There is one fleet, and a later one replaces it: then no workloads are exported but its own and those
        of watches. There can be many watches; each is exported until it ends.

        Raises:
            RuntimeError: no event loop is running. Call it in the one of *source*.

        Example:
            >>> watch = runai.watch_revisions(workload_id, resume_from=Checkpoint.from_json(saved))
            >>> metrics.attach(watch)
            >>> async for event in watch:
            ...     metrics.observe(event)
        """
        if isinstance(source, FleetWatch):
            self._state.of_fleet(source)
        else:
            self._state.of_watch(source)

    def of_fleet(self, fleet: FleetWatch) -> None:
        """Do what `attach` does, by the name that it had for fleets."""
        self.attach(fleet)

    def of_watch(self, watch: RevisionWatch) -> None:
        """Do what `attach` does, by the name that it had for watches."""
        self.attach(watch)

    def nothing_to_poll(self) -> None:
        """Count as a success that there are no workloads, and so no polls."""
        self._polls.succeeded_at = time.monotonic()

    def is_fresh(self, seconds: float) -> bool:
        """Return whether a poll succeeded in the last *seconds*, or these metrics are no older than that."""
        return time.monotonic() - self._polls.succeeded_at <= seconds

    def is_ready(self) -> bool:
        """Return whether each workload that was known at the start was polled once, successfully or not.

        For a fleet that lists its workloads, the start is its first successful listing. Where nothing is
        attached, one poll of which `hook` was notified is enough.
        """
        return self._state.is_ready(was_polled=self._polls.has_finished)


class _Polls(Collector):
    """The metrics of all polls together.

    Attributes:
        failures: failure streaks of individual workloads.
        has_finished: whether a poll has finished.
        succeeded_at: monotonic time of the last successful poll, or of the start.
    """

    def __init__(self) -> None:
        self.failures = 0
        self.has_finished = False
        self.succeeded_at: float = time.monotonic()
        self._last_success: float | None = None

    def finished(self, *, succeeded: bool) -> None:
        """Note a poll that has finished."""
        self.has_finished = True
        if succeeded:
            self._last_success, self.succeeded_at = time.time(), time.monotonic()

    def describe(self) -> Iterator[Metric]:
        """Yield the families: a scrape can ask for metrics by their names."""
        return self.collect()

    def collect(self) -> Iterator[Metric]:
        """Yield the families with their values."""
        last = GaugeMetricFamily(
            "runai_async_last_success_timestamp_seconds", "Unix time of the last successful poll."
        )
        if self._last_success is not None:
            last.add_metric([], self._last_success)
        yield last
        yield CounterMetricFamily(
            "runai_async_workload_failures", "Failure streaks of individual workloads.", self.failures
        )
