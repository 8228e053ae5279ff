"""Which workloads are up: those whose last successful poll is so recent that it showed the present."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Mapping

from prometheus_client.core import Metric

from runai_async._observe.log import logger
from runai_async._watch.failures import RECOVERY
from runai_async._watch.status import PollState
from runai_async.exporter._families import Rows, gauge
from runai_async.exporter._values import label, timestamp

_MOST_LINES = 20
"""Workloads that one scrape names in the log: an outage can hit thousands."""


class Readiness:
    """Whether the first pass is done: each workload that was known at the start was polled once.

    Attributes:
        is_done: whether it is.
    """

    def __init__(self) -> None:
        self.is_done = False
        self._waiting: frozenset[str] | None = None

    def note(self, polls: Collection[PollState], *, is_listed: bool) -> None:
        """Note how the polls go, and whether it is known which workloads there are."""
        if is_listed and not self.is_done:
            unpolled = frozenset(item.workload_id for item in polls if not item.was_polled)
            self._waiting = unpolled if self._waiting is None else self._waiting & unpolled
            self.is_done = not self._waiting


class Outages:
    """Logs that a workload is no longer up, once, and that it is back.

    Args:
        names: the names of workloads by id.
    """

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names
        self._lost: set[str] = set()
        self._lock = threading.Lock()

    def note(self, polls: Collection[PollState]) -> None:
        """Note how the polls go."""
        with self._lock:  # scrapes can come together
            lost = [item for item in polls if item.is_late]
            ids = {item.workload_id for item in lost}
            new = [item for item in lost if item.workload_id not in self._lost]
            back = {item.workload_id for item in polls if item.is_up} & self._lost
            self._lost = ids
        self._log_lost(new)
        self._log_back(sorted(back))

    def _log_lost(self, lost: Collection[PollState]) -> None:
        for item in [*lost][:_MOST_LINES]:
            logger.warning(
                "no successful poll of %s for %.0f s, so its revisions are not exported: %s",
                self._described(item.workload_id),
                item.age,
                item.failure or "no poll has ended since",
            )
        if (more := len(lost) - _MOST_LINES) > 0:
            logger.warning("no successful poll of %d more workloads; see runai_async_workload_up", more)

    def _log_back(self, back: Collection[str]) -> None:
        for workload_id in [*back][:_MOST_LINES]:
            logger.info("polls of %s succeed again", self._described(workload_id), extra=RECOVERY)
        if (more := len(back) - _MOST_LINES) > 0:
            logger.info("polls of %d more workloads succeed again", more, extra=RECOVERY)

    def _described(self, workload_id: str) -> str:
        name = self._names.get(workload_id)
        return f"workload {name} ({workload_id})" if name else f"workload {workload_id}"


_LABELS = ("workload_id", "workload", "project")


def families_of_workloads(
    polls: Collection[PollState], names: Mapping[str, str], projects: Mapping[str, str]
) -> Iterator[Metric]:
    """Yield the families of the workloads that are watched.

    Args:
        polls: how the polls of each go.
        names: their names by id.
        projects: the names of their projects by their id.
    """

    def labels(item: PollState) -> list[str]:
        key = item.workload_id
        return [label(text) for text in (key, names.get(key, ""), projects.get(key, ""))]

    def successes() -> Rows:
        for item in polls:
            if (at := timestamp(item.last_success_at)) is not None:
                yield labels(item), at

    yield gauge(
        "runai_async_workload_up",
        "1, or 0 without a successful poll for three intervals and a deadline: then it has no revisions.",
        _LABELS,
        lambda: ((labels(item), int(item.is_up)) for item in polls),
    )
    yield gauge(
        "runai_async_workload_last_success_timestamp_seconds",
        "Unix time of the last successful poll of a workload.",
        _LABELS,
        successes,
    )
