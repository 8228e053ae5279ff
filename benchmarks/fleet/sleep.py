"""The consumer takes no event for thirty seconds, while more happens than the buffer holds; then again."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from typing import IO, NamedTuple

from benchmarks.fleet.size import AT_ONCE, Counts, Size
from benchmarks.processes import megabytes
from benchmarks.record import PATIENCE, ControlPlane, compared, grew, line_of, read, settled, summary, wrong
from runai_async import FleetStatus, FleetWatch, RunaiClient

BEFORE, SLEEP, BETWEEN = 30.0, 30.0, 30.0
"""Seconds."""
BUFFER = 1000


async def _consume(fleet: FleetWatch, file: IO[str], awake: asyncio.Event) -> None:
    """Write each event as a line, while awake."""
    async for event in fleet:
        file.write(json.dumps(line_of(event)) + "\n")
        await awake.wait()


class Sample(NamedTuple):
    """The state of the fleet at one moment of the sleep."""

    status: FleetStatus
    memory: float


async def _slept(fleet: FleetWatch, size: Size, buffer: int) -> list[Sample]:
    """Sample the fleet while the consumer sleeps: for thirty seconds, or longer until the buffer is full."""
    samples = [Sample(fleet.status, megabytes())]
    wakes, patience = (time.monotonic() + size.seconds(SLEEP * n) for n in (1, PATIENCE))
    while (now := time.monotonic()) < wakes or (now < patience and samples[-1].status.buffered < buffer):
        await asyncio.sleep(size.seconds(0.5))
        samples.append(Sample(fleet.status, megabytes()))
    return samples


def _full(samples: list[Sample], buffer: int) -> list[Sample]:
    return [sample for sample in samples if sample.status.buffered >= buffer]


def _shown(samples: list[Sample], buffer: int) -> dict[str, str]:
    most, lag = (max(getattr(sample.status, name) for sample in samples) for name in ("buffered", "lag"))
    memory = [sample.memory for sample in (samples[0], *_full(samples, buffer)[:1], samples[-1])]
    return {
        "most events buffered; most lag, in seconds": f"{most:,}; {lag:.3g}",
        "memory in MB before, with the buffer full, at the end": ", ".join(f"{at:.1f}" for at in memory),
    }


def _wrong(samples: list[Sample], buffer: int, at_once: int) -> list[str]:
    """Return what is wrong. Each workload has one revision, so a poll brings at most one event."""
    full = _full(samples, buffer)
    above = any(sample.status.buffered > buffer + at_once for sample in samples)
    return ["the buffer is never full"] * (not full) + ["the buffer is above its bound"] * above


async def story(control_plane: ControlPlane, size: Size) -> Counts:
    """Run the story and return its figures."""
    buffer, at_once = int(BUFFER / size.scale), max(10, int(AT_ONCE / size.scale))
    awake = asyncio.Event()
    with tempfile.TemporaryFile("w+", encoding="utf-8") as file:
        async with (
            RunaiClient(control_plane.url, control_plane.token) as runai,
            runai.watch_fleet(
                control_plane.ids, poll=size.policy(), buffer=buffer, max_concurrency=at_once
            ) as fleet,
        ):
            consumer = asyncio.create_task(_consume(fleet, file, awake))
            control_plane.send("go")
            awake.set()
            await asyncio.sleep(size.seconds(BEFORE))
            sleeps: dict[str, list[Sample]] = {}
            for name in ("first", "second"):
                awake.clear()
                sleeps[name] = await _slept(fleet, size, buffer)
                awake.set()
                await asyncio.sleep(size.seconds(BETWEEN))
            after = megabytes()
            control_plane.send("rest")
            figures = await settled(lambda: compared(read(file), control_plane.report()), size.interval)
            await fleet.aclose()
            await consumer

    seen, found = summary(figures) | {"memory in MB at the end": f"{after:.1f}"}, wrong(figures)
    for name, samples in sleeps.items():
        seen |= {f"{name} sleep: {what}": value for what, value in _shown(samples, buffer).items()}
        found += [f"{name} sleep: {what}" for what in _wrong(samples, buffer, at_once)]
    full = [sample.memory for samples in sleeps.values() for sample in _full(samples, buffer)]
    if full and grew(full[0], max(full)):
        found.append("memory that grows with a full buffer")
    return seen, found
