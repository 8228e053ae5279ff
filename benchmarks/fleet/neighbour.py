"""What a fleet asks of a control plane, beside a plain loop that polls the same workloads at the same times.

The control plane's list of workloads takes 0.2, 2 or 8 s, and a poll 20 or 200 ms. It measures by itself what
it is asked for, while either client watches.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO, NamedTuple

from benchmarks.fleet.meter import Figures
from benchmarks.fleet.pollers import FLEET, LOOP, Ended, Job
from benchmarks.fleet.size import AT_ONCE, Size
from benchmarks.processes import ROOT, ended
from benchmarks.record import ControlPlane, compared, read, running_control_plane, settled, wrong

LIST_SECONDS, POLL_SECONDS = (0.2, 2.0, 8.0), (0.02, 0.2)
PAGES = 10
LEAST_SECONDS, LEAST_CYCLES = 60.0, 2
"""How long is measured at least."""
PATIENCE = 900.0
"""Seconds in which what is measured must be over."""
COLUMNS = (
    "the list takes",
    "a poll takes",
    "client",
    "polls/s, of what is due",
    "needed in flight, by FleetStatus",
    "in flight: p50, p99",
    "list requests/s",
    "time with a listing in progress",
    "measured",
)


class Cell(NamedTuple):
    """One row of the table.

    Attributes:
        list_seconds: what the whole list takes, spread over its pages.
        poll_seconds: what a poll takes; not scaled, because polls a second are not either.
        client: who polls.
    """

    list_seconds: float
    poll_seconds: float
    client: str


class Outcome(NamedTuple):
    """What came of a cell."""

    figures: Figures | None
    ended: Ended
    wrong: list[str]


@contextmanager
def _client(job: Job) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "benchmarks.fleet.pollers"]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with ended(process):
        assert process.stdin is not None
        process.stdin.write(json.dumps(job) + "\n")
        process.stdin.flush()
        yield process


def _how_it_went(process: subprocess.Popen[str]) -> Ended:
    """End a client and return what it says."""
    printed, _ = process.communicate()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    return Ended(*json.loads(printed))


async def _measured(
    control_plane: ControlPlane, process: subprocess.Popen[str], seconds: float
) -> Figures | None:
    """Wait for the figures; None if they do not come."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and process.poll() is None:
        if figures := control_plane.ask("figures"):
            return Figures(**figures)
        await asyncio.sleep(0.5)
    return None


def _missed(figures: dict[str, int]) -> list[str]:
    failed = figures["workloads reported as failed"]
    return [*wrong(figures), *(["workloads reported as failed"] if failed else [])]


async def _events(file: IO[str], control_plane: ControlPlane, size: Size) -> list[str]:
    """Compare the events with the record, once nothing changes; return what is wrong."""
    control_plane.send("rest")
    return _missed(await settled(lambda: compared(read(file), control_plane.report()), size.interval))


def _unsaid(cell: Cell, went: Ended, size: Size) -> list[str]:
    """Return what a fleet should have said: that its polls in flight are too few."""
    needed = size.workloads / size.interval * cell.poll_seconds
    is_warned = went.warnings > 0 or size.scale > 1  # the warning takes half a minute
    is_said = is_warned and went.needed >= needed * 0.9
    return ["that the polls in flight are too few is not said"] if needed > AT_ONCE and not is_said else []


async def _run(cell: Cell, size: Size) -> Outcome:
    with (
        tempfile.NamedTemporaryFile("r", encoding="utf-8") as file,
        running_control_plane(*_options(cell, size), module="benchmarks.fleet.slow_server") as control_plane,
        _client(Job(cell.client, control_plane.url, control_plane.token, file.name, size)) as process,
    ):
        control_plane.send("go")
        figures = await _measured(control_plane, process, size.seconds(PATIENCE) + 30)
        found = [] if figures else ["nothing was measured"]
        if figures and cell.client == FLEET:
            found += await _events(file, control_plane, size)
        went = _how_it_went(process)
    found += _unsaid(cell, went, size) if cell.client == FLEET else []
    return Outcome(figures, went, found + ["requests that failed"] * bool(went.failed))


def _options(cell: Cell, size: Size) -> tuple[float, ...]:
    """Return the arguments of the slow server."""
    return (
        size.workloads,
        -(-size.workloads // PAGES),
        LEAST_CYCLES,
        size.seconds(cell.list_seconds) / PAGES,
        cell.poll_seconds,
        size.changes,
        size.seconds(LEAST_SECONDS),
    )


def _row(cells: Iterable[object]) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def _shown(cell: Cell, size: Size, figures: Figures, went: Ended) -> str:
    p50, p99 = figures.in_flight
    return _row(
        (
            f"{size.seconds(cell.list_seconds):g} s",
            f"{cell.poll_seconds * 1000:g} ms",
            cell.client,
            f"{figures.polls:.0f} of {size.workloads / size.interval:.0f}",
            f"{went.needed:.0f}" if cell.client == FLEET else "",
            f"{p50}, {p99}",
            f"{figures.pages:.2f}",
            f"{figures.listing:.1%}",
            f"{figures.seconds:.3g} s, {figures.listings} listings",
        )
    )


def story(size: Size) -> list[str]:
    """Run the story, print its table row by row, and return what is wrong."""
    found: list[str] = []
    print(_row(COLUMNS), _row(["---"] * len(COLUMNS)), sep="\n", flush=True)
    for seconds in LIST_SECONDS:
        for poll_seconds in POLL_SECONDS:
            for client in (LOOP, FLEET):
                cell = Cell(seconds, poll_seconds, client)
                figures, went, problems = asyncio.run(_run(cell, size))
                if figures:
                    print(_shown(cell, size, figures, went), flush=True)
                found += [f"{client}, {seconds:g} s, {poll_seconds:g} s: {what}" for what in problems]
    return found
