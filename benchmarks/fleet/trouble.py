"""Four workloads fail, each in its own way; then they recover for a while; then they fail once more."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

from attrs import evolve

from benchmarks.fleet.size import Counts, Size
from benchmarks.record import (
    PATIENCE,
    ControlPlane,
    Line,
    Log,
    compared,
    delays,
    read,
    settled,
    summary,
    written,
    wrong,
)
from runai_async import HookEvent, PollFinished, RunaiClient, WorkloadFailed

MAX_OUTAGE = 60.0
GRACE = 20.0
"""Seconds; a 404 where there were revisions is doubted for five graces."""
BEFORE, FAILING, HEALTHY = 6, 20, 2
"""Intervals: before the first failures, with failures, and between them when all have recovered.

A poll that hangs takes long to fail, and three have to."""
FAULTS = {
    "hang": "WatchOutageError",
    "refuse 403": "PermissionDeniedError",
    "refuse 404": "NotFoundError",
    "garbage": "WatchOutageError",
}
"""What the control plane does to a workload, and the error that is to be reported."""
DELAY = "delay of the others ÷ interval, p50 p99 max"


class Recovery:
    """Waits for successful polls."""

    def __init__(self) -> None:
        self._waiting: set[str] = set()

    def hook(self, event: HookEvent) -> None:
        """Note a successful poll."""
        if isinstance(event, PollFinished) and event.error is None:
            self._waiting.discard(event.workload_id)

    async def of(self, ids: Iterable[str], interval: float) -> bool:
        """Wait until each has had a successful poll, or patience ends; return whether they have."""
        self._waiting = set(ids)
        for _ in range(PATIENCE):
            await asyncio.sleep(interval)
            if not self._waiting:
                return True
        return False


class Period(NamedTuple):
    """A period of `time.time()`."""

    start: float
    end: float

    def of(self, lines: Iterable[Line]) -> list[Line]:
        """Return the events received in it."""
        return [line for line in lines if self.start <= line.received < self.end]


async def _fail(control_plane: ControlPlane, failing: dict[str, str], size: Size) -> Period:
    """Let some workloads fail for a while, then all recover."""
    start = time.time()
    for workload_id, fault in failing.items():
        kind, *details = fault.split()
        control_plane.send(kind, workload_id, *details)
    await asyncio.sleep(FAILING * size.interval)
    control_plane.send("healthy")
    return Period(start, time.time())


def _failures(lines: Iterable[Line]) -> list[Line]:
    return [line for line in lines if line.kind == WorkloadFailed.kind]


def _others(
    lines: Collection[Line], record: dict[str, Any], failing: Collection[str]
) -> tuple[list[Line], dict[str, Any]]:
    """Return the events and the record without the failing workloads."""
    theirs = {line.revision_id for line in lines if line.workload_id in failing}
    changes = [change for change in record["changes"] if change[0] not in theirs]
    return [line for line in lines if line.workload_id not in failing], record | {"changes": changes}


async def story(control_plane: ControlPlane, size: Size) -> Counts:
    """Run the story and return its figures."""
    interval, recovery, log = size.interval, Recovery(), Log().listen()
    failing = dict(zip(control_plane.ids, FAULTS, strict=False))
    poll = evolve(size.policy(MAX_OUTAGE), missing_grace=size.seconds(GRACE))
    expected = sorted((workload_id, FAULTS[fault]) for workload_id, fault in failing.items())
    with tempfile.TemporaryFile("w+", encoding="utf-8") as file:
        async with (
            RunaiClient(control_plane.url, control_plane.token, hooks=[recovery.hook]) as runai,
            runai.watch_fleet(control_plane.ids, poll=poll) as fleet,
            written(fleet, file),
        ):
            await asyncio.sleep(1.5 * interval)
            control_plane.send("go")
            began = time.time()
            await asyncio.sleep(BEFORE * interval)
            first = await _fail(control_plane, failing, size)
            recovered = await recovery.of(failing, interval)
            await asyncio.sleep(HEALTHY * interval)
            second = await _fail(control_plane, failing, size)
            control_plane.send("rest")
            figures = await settled(
                lambda: compared(*_others(read(file), control_plane.report(), failing)), interval
            )
        lines = read(file)

    periods = {"first": first, "second": second}
    others = [line for line in lines if line.workload_id not in failing]
    seen = {f"{DELAY}: before": delays(Period(began, first.start).of(others), interval)}
    found = wrong(figures)
    for name, period in periods.items():
        failures = _failures(period.of(lines))
        seen[f"{DELAY}: {name} failures"] = delays(period.of(others), interval)
        seen[f"seconds until reported, {name} failures"] = ", ".join(
            f"{failing.get(line.workload_id)}: {line.received - period.start:.3g}" for line in failures
        )
        if sorted((line.workload_id, line.phase) for line in failures) != expected:
            found.append(f"{name} failures")
    if len(_failures(lines)) != len(periods) * len(FAULTS):
        found.append("failures reported in between")
    if not recovered:
        found.append("workloads not recovered")
    seen["warnings logged"] = str(log.levels.count("WARNING"))
    return seen | summary(figures), found
