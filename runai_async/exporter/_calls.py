"""The metrics of the client's calls.

They are counted here and not by prometheus-client's own counters. Where `PROMETHEUS_MULTIPROC_DIR` is set,
those are kept in files by their names, so two `Metrics` of one process would share them.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

_BOUNDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Seconds: the upper bounds of the histogram's buckets but for the last, which has none."""
_LES = (*map(str, _BOUNDS), "+Inf")
_POLLED = ("list_revisions", "list_workloads")
"""The operations of polls and discovery, which are known before the first call."""
_OUTCOMES = (
    "success",
    "ApiError",
    "AttemptTimeoutError",
    "AuthenticationError",
    "CancelledError",
    "DeadlineExceededError",
    "DecodeError",
    "InternalServerError",
    "NotFoundError",
    "PermissionDeniedError",
    "RateLimitError",
    "ServerError",
    "ServiceUnavailableError",
    "TransportError",
)
"""How a call can end, as far as that is known before."""


class Calls(Collector):
    """Counts calls, in the event loop; scrapes read them in threads of their own.

    Each counter of an operation starts at 0: PromQL's `increase` cannot see one that starts at 1.
    """

    def __init__(self) -> None:
        self._outcomes: Counter[tuple[str, str]] = Counter()
        self._retries: Counter[str] = Counter()
        self._buckets: dict[str, list[int]] = {}
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._lock = threading.Lock()
        for operation in _POLLED:
            self.started(operation)

    def started(self, operation: str) -> None:
        """Let the counters of an operation exist."""
        with self._lock:
            if operation not in self._buckets:
                self._buckets[operation] = [0] * len(_LES)
                self._outcomes.update(dict.fromkeys(((operation, outcome) for outcome in _OUTCOMES), 0))
                self._retries[operation] += 0

    def retried(self, operation: str) -> None:
        """Count an attempt that is repeated."""
        self.started(operation)
        with self._lock:
            self._retries[operation] += 1

    def finished(self, operation: str, outcome: str, seconds: float) -> None:
        """Count a call that has ended."""
        self.started(operation)
        with self._lock:
            self._outcomes[operation, outcome] += 1
            self._buckets[operation][bisect_left(_BOUNDS, seconds)] += 1
            self._seconds[operation] += seconds

    def describe(self) -> Iterator[Metric]:
        """Yield the families: a scrape can ask for metrics by their names."""
        return self.collect()

    def collect(self) -> Iterator[Metric]:
        """Yield the families with their values."""
        requests = CounterMetricFamily(
            "runai_async_requests",
            "Operations by outcome: success, or the class of the error.",
            labels=["operation", "outcome"],
        )
        seconds = HistogramMetricFamily(
            "runai_async_request_duration_seconds",
            "How long operations took, retries and the waits between them included.",
            labels=["operation"],
        )
        retries = CounterMetricFamily(
            "runai_async_retries", "Attempts that were repeated.", labels=["operation"]
        )
        with self._lock:
            for key, count in self._outcomes.items():
                requests.add_metric(key, count)
            for operation, counts in self._buckets.items():
                seconds.add_metric([operation], _cumulated(counts), self._seconds[operation])
            for operation, count in self._retries.items():
                retries.add_metric([operation], count)
        yield from (requests, seconds, retries)


def _cumulated(counts: list[int]) -> list[tuple[str, float]]:
    """Return each bucket with all below it, as Prometheus counts."""
    return [(le, sum(counts[: index + 1])) for index, le in enumerate(_LES)]
