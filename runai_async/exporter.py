"""Prometheus: the state of revisions, and of the client itself, as metrics on an HTTP port.

Wants the extra `exporter`. The state series are in the manner of kube-state-metrics; a revision that is gone
leaves the output. Those about the client have few labels: operations and outcomes.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter as Tally
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from runai_async._fleet import FleetStatus, FleetWatch
from runai_async.events import FleetEvent, PhaseChanged, RevisionDeleted, RevisionEvent, WorkloadFailed
from runai_async.hooks import CallFinished, HookEvent, PollFinished, RetryScheduled
from runai_async.models import Revision

_LABELS = ("workload_id", "workload", "revision_id", "revision")
_PATIENCE = 5.0
"""Seconds that a scrape waits for the loop."""
_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """Keeps the metrics; give `hook` to the client and every event to `tell`.

    Attributes:
        registry: where they are, for an HTTP server of your own.
        names: the names of workloads by id, where they are known.

    Example:
        >>> metrics = Metrics()
        >>> runai = RunaiClient(url, auth, hooks=[metrics.hook])
        >>> async with runai.watch_fleet(ids) as fleet:
        ...     async with serving(metrics, lambda: metrics.is_fresh(90), "127.0.0.1", 9464):
        ...         async for event in fleet:
        ...             metrics.tell(event)
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
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
        self._state = _State(self.names)
        self.registry.register(self._state)

    def hook(self, event: HookEvent) -> None:
        """Count what the client does; hand this to `RunaiClient(hooks=...)`."""
        match event:
            case CallFinished():
                self._requests.labels(event.operation, event.error or "success").inc()
                self._seconds.labels(event.operation).observe(event.seconds)
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
            self._state.take(event)

    def of_fleet(self, fleet: FleetWatch) -> None:
        """Export how a fleet fares, too."""
        self.registry.register(_Fleet(fleet, asyncio.get_running_loop()))

    def is_fresh(self, seconds: float) -> bool:
        """Tell whether a poll was good within the last *seconds*, or this began no longer ago."""
        return time.monotonic() - self._good_at <= seconds


class _State(Collector):
    """The state of the revisions, read at each scrape."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names
        self._revisions: dict[str, Revision] = {}
        self._changes: Tally[str] = Tally()
        self._lock = threading.Lock()  # scrapes come in threads of their own

    def take(self, event: RevisionEvent) -> None:
        """Take an event in; a deleted revision is gone from the output."""
        with self._lock:
            if isinstance(event, RevisionDeleted):
                self._revisions.pop(event.revision_id, None)
                self._changes.pop(event.revision_id, None)
            else:
                self._revisions[event.revision_id] = event.revision
                self._changes[event.revision_id] += isinstance(event, PhaseChanged)

    def collect(self) -> Iterator[Metric]:
        """Make the families."""
        with self._lock:
            revisions, changes = list(self._revisions.values()), dict(self._changes)
        phase = GaugeMetricFamily(
            "runai_revision_phase", "1 for the phase that a revision is in.", labels=[*_LABELS, "phase"]
        )
        pods = GaugeMetricFamily("runai_revision_running_pods", "Pods that run now.", labels=_LABELS)
        created = GaugeMetricFamily(
            "runai_revision_created_timestamp_seconds", "When it was made, since 1970.", labels=_LABELS
        )
        changed = CounterMetricFamily(
            "runai_revision_phase_changes", "Changes of phase since this process began.", labels=_LABELS
        )
        for revision in revisions:
            name = self._names.get(revision.workload_id, "")
            labels = (revision.workload_id, name, revision.id, revision.name)
            phase.add_metric([*labels, revision.phase.value], 1)
            created.add_metric(labels, revision.created_at.timestamp())
            changed.add_metric(labels, changes[revision.id])
            if revision.running_pods is not None:
                pods.add_metric(labels, revision.running_pods)
        yield from (phase, pods, created, changed)


class _Fleet(Collector):
    """How the fleet fares, read at each scrape: in its own loop, since scrapes come in threads."""

    def __init__(self, fleet: FleetWatch, loop: asyncio.AbstractEventLoop) -> None:
        self._fleet = fleet
        self._loop = loop

    def collect(self) -> Iterator[Metric]:
        """Make the families."""
        status = asyncio.run_coroutine_threadsafe(self._status(), self._loop).result(_PATIENCE)
        yield GaugeMetricFamily("runai_async_workloads", "Workloads that are watched.", status.watched)
        yield GaugeMetricFamily("runai_async_polls_in_flight", "Polls that run.", status.in_flight)
        yield GaugeMetricFamily(
            "runai_async_poll_lag_seconds", "How late the poll is that waits longest.", status.lag
        )

    async def _status(self) -> FleetStatus:
        return self._fleet.status

    def describe(self) -> Iterable[Metric]:
        """Name nothing beforehand: that would mean a scrape, in the loop's own thread."""
        return ()


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    block_on_close = False  # a scrape that waits for the loop must not be waited for in the loop


class _Silent(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the base class's word)
        """Say nothing: a scrape every few seconds is no news."""


@asynccontextmanager
async def serving(
    metrics: Metrics, is_healthy: Callable[[], bool], host: str, port: int
) -> AsyncGenerator[int, None]:
    """Serve `/metrics` and `/healthz` in a thread, until the block is left.

    Args:
        metrics: what to serve.
        is_healthy: asked by `/healthz`, which is 200 or 503; called in the server's thread.
        host: the address to listen on.
        port: 0 for any free one.

    Yields:
        The port.

    Raises:
        OSError: the address cannot be had.
    """
    scrape = make_wsgi_app(metrics.registry)

    def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        match environ["PATH_INFO"]:
            case "/metrics":
                return scrape(environ, start)
            case "/healthz":
                good = is_healthy()
                start("200 OK" if good else "503 Service Unavailable", [("Content-Type", "text/plain")])
                return [b"ok\n" if good else b"no good poll for too long\n"]
            case _:
                start("404 Not Found", [("Content-Type", "text/plain")])
                return [b"there are /metrics and /healthz\n"]

    # In a thread: binding looks the host's name up.
    server = await asyncio.to_thread(
        make_server, host, port, answer, server_class=_Server, handler_class=_Silent
    )
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        await asyncio.to_thread(server.shutdown)
        server.server_close()
