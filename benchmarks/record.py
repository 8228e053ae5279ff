"""What a consumer was told, event by event, beside the control plane's own record."""

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
    "events told twice",
    "revisions told untruly",
    "revisions not told to the last",
    "deletions not told once",
)
GROWTH = 0.05
"""How much more there may be in the end and still be called flat, of what there was."""
PATIENCE = 20
"""Intervals in which, at the end, the stream has to come to what is."""


class Plane:
    """The control plane's process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        place = self._answer()
        self.url, self.token, self.ids = place["url"], place["token"], place["ids"]
        self.credentials = ClientCredentials(place["client_id"], place["client_secret"])

    def say(self, *words: str) -> None:
        """Tell it to do something."""
        assert self._process.stdin is not None
        self._process.stdin.write(" ".join(words) + "\n")
        self._process.stdin.flush()

    def report(self) -> dict[str, Any]:
        """Ask for its record."""
        self.say("report")
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


@contextmanager
def running_control_plane(*arguments: float) -> Iterator[Plane]:
    """Run a control plane in a process of its own; what *arguments* mean says `benchmarks.control_plane`."""
    command = [sys.executable, "-m", "benchmarks.control_plane", *map(str, arguments)]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with ended(process):
        yield Plane(process)


class Line(NamedTuple):
    """An event as it is written down.

    Attributes:
        id: empty where it is not an event of a revision.
        phase: of a workload's failure, the class of its error.
        at: the server's time of the phase.
        heard: `time.time()` at which the consumer got it.
    """

    id: str
    kind: str
    workload_id: str
    revision_id: str
    phase: str
    at: str | None
    heard: float

    @property
    def delay(self) -> float:
        """Seconds from the phase to the event."""
        return self.heard - _time(self.at).timestamp()


def line_of(event: FleetEvent) -> Line:
    """Say of an event what is written down."""
    heard = time.time()
    if isinstance(event, RevisionEvent):
        revision = event.revision
        at = revision.phase_updated_at
        at_text = None if at is None else at.isoformat()
        return Line(event.id, event.kind, event.workload_id, revision.id, revision.phase, at_text, heard)
    name = type(event.error).__name__ if isinstance(event, WorkloadFailed) else ""
    return Line("", event.kind, event.workload_id, "", name, None, heard)


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
    """Read what was written up to now; a last line may be unfinished."""
    file.seek(0)
    lines = [Line(*json.loads(text)) for text in file if text.endswith("\n")]
    file.seek(0, os.SEEK_END)
    return lines


class Log(logging.Handler):
    """Keeps the levels of what the package logs."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.levels: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Note a line."""
        self.levels.append(record.levelname)

    def listen(self) -> Self:
        """Take what is logged from now on."""
        logger = logging.getLogger("runai_async")
        logger.setLevel(logging.INFO)
        logger.addHandler(self)
        return self


def judged(lines: Iterable[Line], record: dict[str, Any]) -> dict[str, int]:
    """Compare what was told with the server's record."""
    told: dict[str, list[tuple[str, datetime]]] = defaultdict(list)
    ids: Counter[str] = Counter()
    deleted: Counter[str] = Counter()
    failed = 0
    for line in lines:
        failed += not line.id
        ids[line.id] += bool(line.id)
        if line.kind == "deleted":
            deleted[line.revision_id] += 1
        elif line.id:
            told[line.revision_id].append((line.phase, _time(line.at)))
    happened: dict[str, list[tuple[str, datetime]]] = defaultdict(list)
    for revision_id, phase, at in record["changes"]:
        happened[revision_id].append((phase, _time(at)))
    gone = set(record["gone"])
    return {
        "events": ids.total(),
        "events told twice": sum(number > 1 for number in ids.values()),
        "revisions told untruly": sum(not is_subsequence(told[key], happened[key]) for key in happened),
        "revisions not told to the last": sum(
            told[key][-1:] != happened[key][-1:] for key in happened if key not in gone
        ),
        "deletions": len(gone),
        "deletions not told once": sum(deleted[key] != 1 for key in gone if told[key])
        + len(deleted.keys() - gone),
        "workloads told to be in trouble": failed,
    }


def told(figures: dict[str, int]) -> dict[str, str]:
    """Say how true the stream was to the record."""
    return {
        "events; of them twice": f"{figures['events']:,}; {figures['events told twice']}",
        "revisions told untruly; not to the last": (
            f"{figures['revisions told untruly']}; {figures['revisions not told to the last']}"
        ),
        "intervals at rest until all was told": f"{figures['intervals to the end']}",
    }


def wrong(figures: dict[str, Any]) -> list[str]:
    """Name what should not be."""
    return [name for name in NEVER if figures[name]]


async def settled(judge: Callable[[], dict[str, int]], interval: float) -> dict[str, int]:
    """Wait until all that happened is told, or patience ends; return what was seen."""
    figures: dict[str, int] = {}
    for intervals in range(1, PATIENCE + 1):
        await asyncio.sleep(interval)
        figures = judge() | {"intervals to the end": intervals}
        if not wrong(figures):
            break
    return figures


def delays(lines: Iterable[Line], interval: float) -> str:
    """Say how long after a change its event came, in intervals: p50, p99 and the longest."""
    sorted_delays = sorted(line.delay / interval for line in lines if line.kind == "phase_changed")
    cuts = statistics.quantiles(sorted_delays, n=100)
    return " ".join(f"{value:.2f}" for value in (cuts[49], cuts[98], sorted_delays[-1]))


def grew(first: float, last: float, slack: float = 1.0) -> bool:
    """Tell whether there is more in the end, but for *slack*, which comes and goes by the second."""
    return last > first * (1 + GROWTH) + slack


def is_subsequence(part: Iterable[object], whole: Iterable[object]) -> bool:
    """Tell whether all of *part* is in *whole*, in this order."""
    rest = iter(whole)
    return all(item in rest for item in part)


def _time(text: str | None) -> datetime:
    assert text is not None
    return datetime.fromisoformat(text)
