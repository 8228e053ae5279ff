"""Prometheus metrics of the client, and the registry of them all.

The metrics of revisions follow kube-state-metrics: they show the present state, and a deleted revision leaves
the output. Those of the client have few labels: operations and outcomes.
"""

from __future__ import annotations

import asyncio
import time
import warnings

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from runai_async._fleet.fleet_watch import FleetWatch
from runai_async.events import FleetEvent, RevisionEvent, WorkloadFailed
from runai_async.exporter._collector import FleetSource, RevisionStore, StateCollector
from runai_async.hooks import CallFinished, HookEvent, PollFinished, RetryScheduled

_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """Collects the metrics: give `hook` to the client, and every event to `observe`, in the event loop.

    Running pods are only as recent as the events, so `PollPolicy.emit` should include "updated". A resumed
    watch does not report what has not changed since its checkpoint, so pass the events of a new one.

    Of each revision that was observed, with the labels `workload_id`, `workload`, `revision_id`, `revision`:

    - `runai_revision_phase{phase}`: 1 for the phase that it is in
    - `runai_revision_running_pods`: pods that are running, where known
    - `runai_revision_requested_pods`: pods that are requested, the minimum where they scale, where known
    - `runai_revision_created_timestamp_seconds`: Unix time of its creation
    - `runai_revision_phase_changes_total`: changes of phase since this process started

    Of the client, from `hook` and `observe`:

    - `runai_async_requests_total{operation, outcome}`: operations by `success` or the class of the error
    - `runai_async_request_duration_seconds{operation}`: a histogram of operations, retries and their waits
      included
    - `runai_async_retries_total{operation}`: attempts that were repeated
    - `runai_async_last_success_timestamp_seconds`: Unix time of the last successful poll
    - `runai_async_workload_failures_total`: failure streaks of individual workloads

    Of a fleet, from `of_fleet`:

    - `runai_async_workloads`: workloads that are watched
    - `runai_async_workloads_failing`: those of them whose last poll failed
    - `runai_async_workloads_refused`: those whose last poll was refused, though they were readable before
    - `runai_async_polls_in_flight`: polls that are running
    - `runai_async_poll_lag_seconds`: how late the poll is that has been due for longest
    - `runai_async_oldest_success_timestamp_seconds`: Unix time of the last successful poll of the workload
      that has had none for longest; absent while a workload has had none at all

    Of the clusters of a fleet's workloads, where `PollPolicy.emit` includes "clusters", with the labels
    `cluster_id`, `cluster`:

    - `runai_async_cluster_connected`: 1, or 0 where a cluster has lost its control plane
    - `runai_async_cluster_last_seen_timestamp_seconds`: Unix time at which it was last heard, where known

    Attributes:
        registry: holds the metrics, for an HTTP server of your own.
        names: the names of workloads by id, as far as they are known; they become the label `workload`.

    Example:
        >>> metrics = Metrics()
        >>> runai = RunaiClient("https://acme.run.ai", token, hooks=[metrics.hook])
        >>> async with runai.watch_fleet(workload_ids, poll=PollPolicy(emit={"updated"})) as fleet:
        ...     metrics.of_fleet(fleet)
        ...     async with serving(metrics, lambda: metrics.is_fresh(90), "127.0.0.1", 9464):
        ...         async for event in fleet:
        ...             metrics.observe(event)
    """

    def __init__(self) -> None:
        self.registry: CollectorRegistry = CollectorRegistry()
        self.names: dict[str, str] = {}
        self._requests = Counter(
            "runai_async_requests",
            "Operations by outcome: success, or the class of the error.",
            ["operation", "outcome"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "runai_async_request_duration_seconds",
            "How long operations took, retries and the waits between them included.",
            ["operation"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._retries = Counter(
            "runai_async_retries", "Attempts that were repeated.", ["operation"], registry=self.registry
        )
        self._last_success = Gauge(
            "runai_async_last_success_timestamp_seconds",
            "Unix time of the last successful poll.",
            registry=self.registry,
        )
        self._failed = Counter(
            "runai_async_workload_failures",
            "Failure streaks of individual workloads.",
            registry=self.registry,
        )
        self._last_success_at = time.monotonic()
        self._store = RevisionStore()
        self._state = StateCollector(self._store, self.names)
        self.registry.register(self._state)

    def hook(self, event: HookEvent) -> None:
        """Count what the client does: the hook for `RunaiClient(hooks=...)`."""
        match event:
            case CallFinished():
                self._requests.labels(event.operation, event.error or "success").inc()
                self._seconds.labels(event.operation).observe(event.seconds)
                # It exists from the first call on, so that a rate has a start.
                self._retries.labels(event.operation)
                if (event.operation, event.error) == (
                    "list_workloads",
                    None,
                ) and self._state.has_nothing_to_poll:
                    self.nothing_to_poll()
            case RetryScheduled():
                self._retries.labels(event.operation).inc()
            case PollFinished(error=None):
                self._last_success.set_to_current_time()
                self._last_success_at = time.monotonic()
            case _:
                pass

    def observe(self, event: FleetEvent) -> None:
        """Update the metrics with an event of a watch or fleet."""
        if isinstance(event, WorkloadFailed):
            self._failed.inc()
        elif isinstance(event, RevisionEvent):
            self._store.add(event)

    def tell(self, event: FleetEvent) -> None:
        """Do what `observe` does; deprecated."""
        warnings.warn("Metrics.tell() is now Metrics.observe()", DeprecationWarning, stacklevel=2)
        self.observe(event)

    def of_fleet(self, fleet: FleetWatch) -> None:
        """Export the status of a fleet as well, and no workloads but its own; it replaces an earlier fleet.

        Raises:
            RuntimeError: no event loop is running. Call it in the fleet's.
        """
        self._state.fleet = FleetSource(fleet, self._store, asyncio.get_running_loop())

    def nothing_to_poll(self) -> None:
        """Count as a success that there are no workloads, and so no polls."""
        self._last_success_at = time.monotonic()

    def is_fresh(self, seconds: float) -> bool:
        """Return whether a poll succeeded in the last *seconds*, or these metrics are no older than that."""
        return time.monotonic() - self._last_success_at <= seconds
