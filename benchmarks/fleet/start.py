"""How soon a fleet that has just begun has reported something of each workload, at a long interval."""

from __future__ import annotations

import asyncio
import statistics
import time

from benchmarks.fleet.size import Counts, Size
from benchmarks.record import running_control_plane
from runai_async import RunaiClient

WORKLOADS, INTERVAL = 300, 60.0
LIMIT = 60.0
"""Seconds after which the story gives up."""


async def _first_events(url: str, token: str, ids: list[str]) -> list[float]:
    """Return the seconds from the start of a fleet to the first event of each workload."""
    first: dict[str, float] = {}
    async with RunaiClient(url, token) as runai:
        began = time.monotonic()
        async with asyncio.timeout(LIMIT), runai.watch_fleet(ids, interval=INTERVAL) as fleet:
            async for event in fleet:
                first.setdefault(event.workload_id, time.monotonic() - began)
                if len(first) == len(ids):
                    break
    return sorted(first.values())


async def measured(workloads: int) -> Counts:
    """Run a fleet of so many workloads."""
    with running_control_plane(workloads, 1) as control_plane:
        seconds = await _first_events(control_plane.url, control_plane.token, control_plane.ids)
    shown = f"{statistics.median(seconds):.2f}, {seconds[-1]:.2f}"
    return {f"first event of each of {workloads} at {INTERVAL:g} s: p50, last, in seconds": shown}, []


def story(size: Size) -> list[str]:
    """Run the story and print its figures; return those that are wrong."""
    seen, wrong = asyncio.run(measured(max(2, int(WORKLOADS / size.scale))))
    for what, value in seen.items():
        print(f"| {what} | {value} |")
    return wrong
