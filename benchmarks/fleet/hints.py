"""What hints save and gain: fleets of three sizes, and rows that show changes, say nothing, or always change.

Beside each stands a fleet of the same size that gets its ids from a function, which lists the workloads as
often. It sees no rows, so it has no hints.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple

from benchmarks.fleet.following import DISCOVERY, EVERY, FAST, PHASES, RELAXED, measured, quantiles
from benchmarks.fleet.size import Size
from benchmarks.record import ControlPlane, compared, read, running_control_plane, settled, written, wrong
from runai_async import FleetWatch, PollPolicy, RunaiClient

WORKLOADS = (100, 1000, 5000)
POLLS = 500.0
"""Polls a second without hints, at most: small fleets have a shorter interval, so that the story ends."""
SHORTEST = 0.5
"""Seconds of an interval at least."""
USUAL = "without hints"
EXPECTED = {"follow": "trusted", "silent": "untrusted", "noisy": "untrusted"}
"""What the rows do, and what becomes of the hints."""
CHANGES, LEAST = 300, 12.0
"""How many changes, and how many intervals, are measured at least."""
PATIENCE = 60
"""Intervals in which that must be decided."""
COLUMNS = (
    "workloads",
    "interval",
    "rows",
    "requests/s",
    "÷ without hints",
    "delay ÷ interval: p50, p99",
    "hints",
    "changes hinted, unhinted",
)


class Cell(NamedTuple):
    """One row of the table."""

    workloads: int
    rows: str

    @property
    def interval(self) -> float:
        """Seconds between the polls of a workload, without hints."""
        return max(SHORTEST, self.workloads / POLLS)

    def seconds(self, size: Size) -> float:
        """Return how long is measured."""
        changes = CHANGES / min(size.scale, 5)
        return self.interval * max(LEAST, changes * EVERY / self.workloads)

    @property
    def policy(self) -> PollPolicy:
        """How the workloads are polled."""
        return PollPolicy(interval=self.interval, fast_interval=FAST * self.interval, max_outage=None)


class Outcome(NamedTuple):
    """What came of a cell.

    Attributes:
        requests: a second, all kinds.
        hinted: changes that rows showed in time, and changes that they did not, since the start.
    """

    requests: float
    delays: tuple[float, float]
    hints: str
    hinted: tuple[int, int]
    wrong: list[str]


async def _ids(runai: RunaiClient) -> AsyncIterator[str]:
    async for workload in runai.list_workloads():
        yield workload.id


def _fleet(runai: RunaiClient, cell: Cell) -> AbstractAsyncContextManager[FleetWatch]:
    listing = DISCOVERY * cell.interval
    if cell.rows == USUAL:
        return runai.watch_fleet(lambda: _ids(runai), poll=cell.policy, discovery_interval=listing)
    return runai.watch_fleet(
        runai.inference_workloads,
        poll=cell.policy,
        discovery_interval=listing,
        relaxed_interval=RELAXED * cell.interval,
    )


async def _decided(fleet: FleetWatch, cell: Cell) -> None:
    """Wait until the hints are judged, and until what is trusted has its effect."""
    await asyncio.sleep(2 * cell.interval)
    for _ in range(PATIENCE):
        if fleet.status.hints != "learning":
            break
        await asyncio.sleep(cell.interval)
    if fleet.status.hints == "trusted":
        await asyncio.sleep(RELAXED * cell.interval)


async def _measure(cell: Cell, control_plane: ControlPlane, size: Size) -> Outcome:
    with tempfile.TemporaryFile("w+", encoding="utf-8") as file:
        async with (
            RunaiClient(control_plane.url, control_plane.token) as runai,
            _fleet(runai, cell) as fleet,
            written(fleet, file),
        ):
            await asyncio.sleep(cell.interval)
            control_plane.send("go")
            await _decided(fleet, cell)
            period = await measured(cell.seconds(size))
            control_plane.send("rest")
            status = fleet.status
            figures = await settled(lambda: compared(read(file), control_plane.report()), cell.interval)
        lines = read(file)
    found = wrong(figures)
    if status.hints != EXPECTED.get(cell.rows, "off"):
        found.append(f"hints are {status.hints}")
    return Outcome(
        period.rate(control_plane.report()["asked"]),
        quantiles(period.delays(lines, cell.interval)),
        status.hints,
        (status.changes_hinted, status.changes_unhinted),
        found,
    )


def _run(cell: Cell, size: Size) -> Outcome:
    rate = cell.workloads / (EVERY * cell.interval)
    with running_control_plane(cell.workloads, rate) as control_plane:
        control_plane.send("phases", *PHASES)
        if cell.rows != USUAL:
            control_plane.send("rows", cell.rows)
        return asyncio.run(_measure(cell, control_plane, size))


def _row(cells: Iterable[object]) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def _shown(cell: Cell, outcome: Outcome, usual: Outcome) -> str:
    return _row(
        (
            f"{cell.workloads:,}",
            f"{cell.interval:g} s",
            cell.rows,
            f"{outcome.requests:.1f}",
            f"{outcome.requests / usual.requests:.3f}",
            "{:.2f}, {:.2f}".format(*outcome.delays),
            outcome.hints,
            "{:,}, {:,}".format(*outcome.hinted),
        )
    )


def story(size: Size) -> list[str]:
    """Run the story, print its table row by row, and return what is wrong."""
    found: list[str] = []
    print(_row(COLUMNS), _row(["---"] * len(COLUMNS)), sep="\n", flush=True)
    for workloads in (number for number in WORKLOADS if number <= max(WORKLOADS[0], size.workloads)):
        usual: Outcome | None = None
        for rows in (USUAL, *EXPECTED):
            cell = Cell(workloads, rows)
            outcome = _run(cell, size)
            usual = usual or outcome
            print(_shown(cell, outcome, usual), flush=True)
            found += [f"{workloads} workloads, {rows}: {what}" for what in outcome.wrong]
    return found
