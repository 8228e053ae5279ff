"""What a consumer received, event by event, compared with the control plane's own record."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import statistics
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from typing import IO, Any, NamedTuple, Self

from benchmarks.processes import ROOT, ended
from runai_async import ClientCredentials, FleetEvent, FleetWatch, RevisionEvent, WorkloadFailed

NEVER = (
    "events reported twice",
    "revisions reported wrongly",
    "revisions without their last phase",
    "deletions not reported exactly once",
)
GROWTH = 0.05
"""The fraction by which memory and the like may be larger at the end and still count as flat."""
PATIENCE = 20
"""Intervals in which the stream must report the final state once nothing changes any more."""


class ControlPlane:
    """A control plane in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        started = self._read()
        self.url, self.token, self.ids = started["url"], started["token"], started["ids"]
        self.credentials = ClientCredentials(started["client_id"], started["client_secret"])

    def send(self, *words: str) -> None:
        """Send it a command."""
        assert self._process.stdin is not None
        self._process.stdin.write(" ".join(words) + "\n")
        self._process.stdin.flush()

    def ask(self, *words: str) -> dict[str, Any]:
        """Send it a command that it responds to."""
        self.send(*words)
        return self._read()

    def report(self) -> dict[str, Any]:
        """Return its record of what happened."""
        return self.ask("report")

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line: dict[str, Any] = json.loads(self._process.stdout.readline())
        return line


@contextmanager
def running_control_plane(
    *arguments: float, module: str = "benchmarks.control_plane"
) -> Iterator[ControlPlane]:
    """Run a control plane in a process of its own.

    Args:
        arguments: what *module* explains.
        module: the program: the fake control plane, or one that speaks the same commands.
    """
    command = [sys.executable, "-m", module, *map(str, arguments)]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with ended(process):
        yield ControlPlane(process)


class Line(NamedTuple):
    """An event as it is written to a file.

    Attributes:
        id: empty unless it is an event of a revision.
        phase: for a workload's failure, the class of its error.
        at: the server's time of the phase.
        received: `time.time()` at which the consumer got the event.
    """

    id: str
    kind: str
    workload_id: str
    revision_id: str
    phase: str
    at: str | None
    received: float

    @property
    def delay(self) -> float:
        """Seconds from the change of phase to its event."""
        return self.received - _time(self.at).timestamp()


def line_of(event: FleetEvent) -> Line:
    """Return what is written of an event."""
    received = time.time()
    if isinstance(event, RevisionEvent):
        revision = event.revision
        at = revision.phase_updated_at
        at_text = None if at is None else at.isoformat()
        return Line(event.id, event.kind, event.workload_id, revision.id, revision.phase, at_text, received)
    name = type(event.error).__name__ if isinstance(event, WorkloadFailed) else ""
    return Line("", event.kind, event.workload_id, "", name, None, received)


async def write(fleet: FleetWatch, file: IO[str]) -> None:
    """Write each event as a line, until the fleet is closed."""
    async for event in fleet:
        file.write(json.dumps(line_of(event)) + "\n")


@asynccontextmanager
async def written(fleet: FleetWatch, file: IO[str]) -> AsyncIterator[None]:
    """Write each event as a line until the end of the block, which closes the fleet."""
    writer = asyncio.create_task(write(fleet, file))
    yield
    await fleet.aclose()
    await writer


def read(file: IO[str]) -> list[Line]:
    """Read what has been written so far; the last line may be incomplete."""
    file.seek(0)
    lines = [Line(*json.loads(text)) for text in file if text.endswith("\n")]
    file.seek(0, os.SEEK_END)
    return lines


class Log(logging.Handler):
    """Records the levels of what the package logs."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.levels: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Record the level."""
        self.levels.append(record.levelname)

    def listen(self) -> Self:
        """Start to record."""
        logger = logging.getLogger("runai_async")
        logger.setLevel(logging.INFO)
        logger.addHandler(self)
        return self


def compared(lines: Iterable[Line], record: dict[str, Any]) -> dict[str, int]:
    """Compare the events with the server's record."""
    reported: dict[str, list[tuple[str, datetime]]] = defaultdict(list)
    ids: Counter[str] = Counter()
    deleted: Counter[str] = Counter()
    failed = 0
    for line in lines:
        failed += not line.id
        ids[line.id] += bool(line.id)
        if line.kind == "deleted":
            deleted[line.revision_id] += 1
        elif line.id:
            reported[line.revision_id].append((line.phase, _time(line.at)))
    happened: dict[str, list[tuple[str, datetime]]] = defaultdict(list)
    for revision_id, phase, at in record["changes"]:
        happened[revision_id].append((phase, _time(at)))
    deleted_ids = set(record["deleted"])
    return {
        "events": ids.total(),
        "events reported twice": sum(number > 1 for number in ids.values()),
        "revisions reported wrongly": sum(
            not is_subsequence(reported[key], happened[key]) for key in happened
        ),
        "revisions without their last phase": sum(
            reported[key][-1:] != happened[key][-1:] for key in happened if key not in deleted_ids
        ),
        "deletions": len(deleted_ids),
        "deletions not reported exactly once": sum(deleted[key] != 1 for key in deleted_ids if reported[key])
        + len(deleted.keys() - deleted_ids),
        "workloads reported as failed": failed,
    }


def summary(figures: dict[str, int]) -> dict[str, str]:
    """Return how well the events match the record, for printing."""
    return {
        "events; reported twice": f"{figures['events']:,}; {figures['events reported twice']}",
        "revisions reported wrongly; without their last phase": (
            f"{figures['revisions reported wrongly']}; {figures['revisions without their last phase']}"
        ),
        "intervals at rest until all was reported": f"{figures['intervals to the end']}",
    }


def wrong(figures: dict[str, Any]) -> list[str]:
    """Return the names of the figures that should be zero and are not."""
    return [name for name in NEVER if figures[name]]


async def settled(compare: Callable[[], dict[str, int]], interval: float) -> dict[str, int]:
    """Wait until all that happened is reported, or until patience ends; return the figures."""
    figures: dict[str, int] = {}
    for intervals in range(1, PATIENCE + 1):
        await asyncio.sleep(interval)
        figures = compare() | {"intervals to the end": intervals}
        if not wrong(figures):
            break
    return figures


def delays(lines: Iterable[Line], interval: float) -> str:
    """Return the delays from changes to their events, in intervals: p50, p99 and the longest."""
    sorted_delays = sorted(line.delay / interval for line in lines if line.kind == "phase_changed")
    cuts = statistics.quantiles(sorted_delays, n=100)
    return " ".join(f"{value:.2f}" for value in (cuts[49], cuts[98], sorted_delays[-1]))


def grew(first: float, last: float, slack: float = 1.0) -> bool:
    """Return whether *last* is larger than *first*, beyond a *slack* that comes and goes."""
    return last > first * (1 + GROWTH) + slack


def is_subsequence(part: Iterable[object], whole: Iterable[object]) -> bool:
    """Return whether all of *part* is in *whole*, in the same order."""
    rest = iter(whole)
    return all(item in rest for item in part)


def _time(text: str | None) -> datetime:
    assert text is not None
    return datetime.fromisoformat(text)
