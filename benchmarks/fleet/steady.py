"""Three minutes of changes; then the control plane is down for a minute."""

from __future__ import annotations

import asyncio
import resource
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterable

from benchmarks.fleet.size import Counts, Size
from benchmarks.record import ControlPlane, Log, compared, delays, read, settled, summary, written, wrong
from runai_async import RunaiClient

STEADY, OUTAGE, AFTER = 180.0, 60.0, 90.0
"""Seconds."""


def _per_second(times: Iterable[float], start: float, seconds: float, width: float) -> list[int]:
    counts = Counter(int((at - start) / width) for at in times if start <= at < start + seconds)
    return [counts[n] for n in range(int(seconds / width))]


async def story(control_plane: ControlPlane, size: Size) -> Counts:
    """Run the story and return its figures."""
    interval, second, log = size.interval, size.seconds(1), Log().listen()
    with tempfile.TemporaryFile("w+", encoding="utf-8") as file:
        async with (
            RunaiClient(control_plane.url, control_plane.token) as runai,
            runai.watch_fleet(control_plane.ids, poll=size.policy()) as fleet,
            written(fleet, file),
        ):
            await asyncio.sleep(1.5 * interval)
            control_plane.send("go")
            began, cpu = time.monotonic(), time.process_time()
            await asyncio.sleep(size.seconds(STEADY))
            share = (time.process_time() - cpu) / (time.monotonic() - began)
            control_plane.send("down")
            down, stopped = time.monotonic(), time.time()
            await asyncio.sleep(size.seconds(OUTAGE))
            control_plane.send("up")
            up = time.monotonic()
            await asyncio.sleep(size.seconds(AFTER))
            control_plane.send("rest")
            resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            figures = await settled(lambda: compared(read(file), control_plane.report()), interval)
        requested = control_plane.report()["requested"]
        steady = [line for line in read(file) if line.received < stopped]

    healthy = size.workloads / interval
    steadily = _per_second(requested, began + interval / 2, size.seconds(STEADY) - interval, second)
    after = _per_second(requested, up, size.seconds(AFTER), second)
    tens = _per_second(requested, up, size.seconds(AFTER), interval)
    around = _per_second(requested, down - interval, size.seconds(OUTAGE + AFTER) + interval, interval / 2)
    seen = summary(figures) | {
        "delay ÷ interval, p50 p99 max": delays(steady, interval),
        "most polls in a second ÷ mean": f"{max(steadily) / statistics.mean(steadily):.2f}",
        "CPU share": f"{share:.3f} of a core",
        "resident, at most": f"{resident:.0f} MB",
        f"after {up - down:.3g} s of outage": (
            f"most in a second {max(after) / second / healthy:.2f} of the healthy rate, "
            f"in an interval {max(tens) / interval / healthy:.2f}"
        ),
        "of the healthy rate, each half interval": "from one before the outage on: "
        + " ".join(f"{2 * number / interval / healthy:.2f}" for number in around),
        "logged about the outage": ", ".join(log.levels),
    }
    found = wrong(figures)
    if log.levels != ["WARNING", "INFO"]:
        found.append("what was logged about the outage")
    # Each workload has one slot per interval, so at most one poll more than there are intervals.
    if any(
        sum(counts) > size.workloads * (len(counts) * second / interval + 1) for counts in (steadily, after)
    ):
        found.append("more polls than slots in the schedule")
    return seen, found
