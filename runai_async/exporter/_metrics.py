"""Prometheus: the state of revisions, and of the client itself, as metrics on an HTTP port.

Wants the extra `exporter`. The state series are in the manner of kube-state-metrics; a revision that is gone
leaves the output. Those about the client have few labels: operations and outcomes.
"""

from __future__ import annotations

import asyncio
import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from runai_async._fleet.fleet_watch import FleetWatch
from runai_async.events import FleetEvent, RevisionEvent, WorkloadFailed
from runai_async.exporter._collector import FleetSource, RevisionStore, StateCollector
from runai_async.hooks import CallFinished, HookEvent, PollFinished, RetryScheduled

_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """Keeps the metrics; give `hook` to the client and every event to `tell`, in the loop.

    Running pods are as fresh as the events are: let `PollPolicy.emit` name "updated". A watch that was
    resumed does not tell again what has not changed since: give `tell` the events of one that began afresh.

    Of each revision that was told, with the labels `workload_id`, `workload`, `revision_id`, `revision`:

    - `runai_revision_phase{phase}`: 1 for the phase that it is in
    - `runai_revision_running_pods`: pods that run now, where known
    - `runai_revision_requested_pods`: pods that are asked for, the least where they scale, where known
    - `runai_revision_created_timestamp_seconds`: when it was made, since 1970
    - `runai_revision_phase_changes_total`: changes of phase since this process began

    Of the client, by way of `hook`:

    - `runai_async_requests_total{operation, outcome}`: operations; `success`, or the error's class
    - `runai_async_request_duration_seconds{operation}`: a histogram, retries and the waits for them included
    - `runai_async_retries_total{operation}`: attempts that were repeated
    - `runai_async_last_success_timestamp_seconds`: when a poll was good last, since 1970
    - `runai_async_workload_failures_total`: spells of trouble of single workloads

    Of a fleet, by way of `of_fleet`:

    - `runai_async_workloads`: workloads that are watched
    - `runai_async_workloads_failing`: those of them whose last poll failed
    - `runai_async_polls_in_flight`: polls that run
    - `runai_async_poll_lag_seconds`: how late the poll is that waits longest
    - `runai_async_oldest_success_timestamp_seconds`: the last good poll of the workload that had none for
      longest, since 1970; absent while one had none

    Attributes:
        registry: where they are, for an HTTP server of your own.
        names: the names of workloads by id, where they are known.

    Example:
        >>> metrics = Metrics()
        >>> runai = RunaiClient("https://acme.run.ai", token, hooks=[metrics.hook])
        >>> async with runai.watch_fleet(workload_ids, poll=PollPolicy(emit={"updated"})) as fleet:
        ...     metrics.of_fleet(fleet)
        ...     async with serving(metrics, lambda: metrics.is_fresh(90), "127.0.0.1", 9464):
        ...         async for event in fleet:
        ...             metrics.tell(event)
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
            "When a poll was good last, in seconds since 1970.",
            registry=self.registry,
        )
        self._failed = Counter(
            "runai_async_workload_failures", "Spells of trouble of single workloads.", registry=self.registry
        )
        self._last_success_at = time.monotonic()
        self._store = RevisionStore()
        self._state = StateCollector(self._store, self.names)
        self.registry.register(self._state)

    def hook(self, event: HookEvent) -> None:
        """Count what the client does; hand this to `RunaiClient(hooks=...)`."""
        match event:
            case CallFinished():
                self._requests.labels(event.operation, event.error or "success").inc()
                self._seconds.labels(event.operation).observe(event.seconds)
                # There from the first call on, so that a rate can be had.
                self._retries.labels(event.operation)
            case RetryScheduled():
                self._retries.labels(event.operation).inc()
            case PollFinished(error=None):
                self._last_success.set_to_current_time()
                self._last_success_at = time.monotonic()
            case _:
                pass

    def tell(self, event: FleetEvent) -> None:
        """Take an event of a watch or fleet in."""
        if isinstance(event, WorkloadFailed):
            self._failed.inc()
        elif isinstance(event, RevisionEvent):
            self._store.take(event)

    def of_fleet(self, fleet: FleetWatch) -> None:
        """Export how a fleet fares, too, and only workloads that it watches; in the place of another one.

        Raises:
            RuntimeError: no loop is running; it has to be the fleet's own.
        """
        self._state.fleet = FleetSource(fleet, self._store, asyncio.get_running_loop())

    def nothing_to_poll(self) -> None:
        """Count as good that there are no workloads, and so no polls."""
        self._last_success_at = time.monotonic()

    def is_fresh(self, seconds: float) -> bool:
        """Tell whether a poll was good within the last *seconds*, or this began no longer ago."""
        return time.monotonic() - self._last_success_at <= seconds


# --- over HTTP ----------------------------------------------------------------------------------------------
