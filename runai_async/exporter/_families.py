"""Families whose samples are made while they are written out.

A list of all samples would be hundreds of thousands of objects that live at the same time. Then the garbage
collector looks at every object of the process, during which the event loop stands still for a second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.samples import Sample

Rows = Iterable[tuple[Sequence[str], float]]
"""The values of the labels, and that of the sample."""


class _Samples:
    """Makes samples each time that it is iterated."""

    def __init__(self, make: Callable[[], Iterator[Sample]]) -> None:
        self._make = make

    def __iter__(self) -> Iterator[Sample]:
        return self._make()


def gauge(name: str, description: str, labels: Sequence[str], rows: Callable[[], Rows]) -> Metric:
    """Return a family of gauges.

    Args:
        name: of the metric.
        description: its help text.
        labels: their names.
        rows: called each time that the samples are read.
    """
    return _with_samples(GaugeMetricFamily(name, description), name, labels, rows)


def counter(name: str, description: str, labels: Sequence[str], rows: Callable[[], Rows]) -> Metric:
    """Return a family of counters, in the same way."""
    return _with_samples(CounterMetricFamily(name, description), f"{name}_total", labels, rows)


def _with_samples(family: Any, name: str, labels: Sequence[str], rows: Callable[[], Rows]) -> Metric:
    def make() -> Iterator[Sample]:
        for values, value in rows():
            yield Sample(name, dict(zip(labels, values, strict=True)), value)

    family.samples = _Samples(make)
    return family  # type: ignore[no-any-return]
