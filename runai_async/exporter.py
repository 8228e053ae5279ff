"""Prometheus: the state of revisions, and of the client itself, as metrics on an HTTP port.

Wants the extra `exporter`. The state series are in the manner of kube-state-metrics; a revision that is gone
leaves the output. Those about the client have few labels: operations and outcomes.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter as Tally
from collections.abc import AsyncGenerator, Callable, Collection, Iterator, Mapping
from concurrent.futures import Future
from contextlib import asynccontextmanager
from http import HTTPStatus

from attrs import frozen

from runai_async._fleet import FleetStatus, FleetWatch
from runai_async._status_server import PLAIN, Page, serving_pages
from runai_async.events import FleetEvent, PhaseChanged, RevisionDeleted, RevisionEvent, WorkloadFailed
from runai_async.hooks import CallFinished, HookEvent, PollFinished, RetryScheduled
from runai_async.models import Revision

try:
    from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
    from prometheus_client.exposition import choose_encoder
    from prometheus_client.registry import Collector
except ImportError as _error:
    raise ImportError("the exporter needs prometheus-client: pip install 'runai-async[exporter]'") from _error

__all__ = ["Metrics", "serving"]

_LABELS = ("workload_id", "workload", "revision_id", "revision")
_LOOP_PATIENCE = 5.0
"""Seconds that a scrape waits for the loop; Prometheus itself waits 10."""
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
        self._good_at = time.monotonic()
        self._told = _Told()
        self._state = _State(self._told, self.names)
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
                self._good_at = time.monotonic()
            case _:
                pass

    def tell(self, event: FleetEvent) -> None:
        """Take an event of a watch or fleet in."""
        if isinstance(event, WorkloadFailed):
            self._failed.inc()
        elif isinstance(event, RevisionEvent):
            self._told.take(event)

    def of_fleet(self, fleet: FleetWatch) -> None:
        """Export how a fleet fares, too, and only workloads that it watches; in the place of another one.

        Raises:
            RuntimeError: no loop is running; it has to be the fleet's own.
        """
        self._state.fleet = _Fleet(fleet, self._told, asyncio.get_running_loop())

    def nothing_to_poll(self) -> None:
        """Count as good that there are no workloads, and so no polls."""
        self._good_at = time.monotonic()

    def is_fresh(self, seconds: float) -> bool:
        """Tell whether a poll was good within the last *seconds*, or this began no longer ago."""
        return time.monotonic() - self._good_at <= seconds


@frozen
class _Known:
    """A revision, and how often its phase has changed."""

    revision: Revision
    changes: int


class _Told:
    """What was told of the revisions: in the loop. It is read by scrapes, in threads of their own."""

    def __init__(self) -> None:
        self._revisions: dict[str, Revision] = {}
        self._changes: Tally[str] = Tally()
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

    def known(self) -> list[_Known]:
        """Return what is known now."""
        with self._lock:  # not for long: the loop may wait for it
            revisions, changes = list(self._revisions.values()), dict(self._changes)
        return [_Known(item, changes[item.id]) for item in revisions]


class _Fleet:
    """A fleet, asked in its own loop, since scrapes come in threads."""

    def __init__(self, fleet: FleetWatch, told: _Told, loop: asyncio.AbstractEventLoop) -> None:
        self._fleet = fleet
        self._told = told
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
        self._told.keep(self._fleet.workload_ids)
        return self._fleet.status


def _is_running(loop: asyncio.AbstractEventLoop) -> bool:
    """Tell whether this is the thread of a loop, and that runs: waiting for it would be for ever."""
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


class _State(Collector):
    """The state of the revisions and of the fleet, read at each scrape."""

    def __init__(self, told: _Told, names: Mapping[str, str]) -> None:
        self.fleet: _Fleet | None = None
        self._told = told
        self._names = names

    def collect(self) -> Iterator[Metric]:
        """Make the families."""
        status = None if self.fleet is None else self.fleet.status()
        yield from _of_revisions(self._told.known(), self._names)
        if status is not None:
            yield from _of_fleet(status)


def _of_revisions(known: Collection[_Known], names: Mapping[str, str]) -> Iterator[Metric]:
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


# --- over HTTP ----------------------------------------------------------------------------------------------


@asynccontextmanager
async def serving(
    metrics: Metrics, is_healthy: Callable[[], bool], host: str, port: int
) -> AsyncGenerator[int, None]:
    """Serve `/metrics` and `/healthz` in threads, until the block is left.

    Args:
        metrics: what to serve.
        is_healthy: asked by `/healthz`, which is 200 or 503; called in the server's thread.
        host: the address to listen on.
        port: 0 for any free one.

    Yields:
        The port.

    Raises:
        OSError: the address cannot be had.

    Example:
        >>> async with serving(metrics, lambda: metrics.is_fresh(90), "127.0.0.1", 9464):
        ...     async for event in runai.watch_revisions(workload_id):
        ...         metrics.tell(event)
    """

    def pages(path: str, accept: str) -> Page:
        match path:
            case "/metrics":
                encode, kind = choose_encoder(accept)
                return HTTPStatus.OK, kind, encode(metrics.registry)
            case "/healthz" if is_healthy():
                return HTTPStatus.OK, PLAIN, b"ok\n"
            case "/healthz":
                return HTTPStatus.SERVICE_UNAVAILABLE, PLAIN, b"no good poll for too long\n"
            case _:
                return HTTPStatus.NOT_FOUND, PLAIN, b"there are /metrics and /healthz\n"

    async with serving_pages(pages, host, port) as real:
        yield real
