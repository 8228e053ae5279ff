"""Three minutes of changes; then the control plane is gone for a minute and back."""

from __future__ import annotations

import asyncio
import resource
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterable

from benchmarks.fleet.size import Counts, Size
from benchmarks.record import Log, Plane, delays, judged, read, settled, told, written, wrong
from runai_async import RunaiClient

STEADY, OUTAGE, AFTER = 180.0, 60.0, 90.0
"""Seconds."""


def _per_second(times: Iterable[float], start: float, seconds: float, width: float) -> list[int]:
    counts = Counter(int((at - start) / width) for at in times if start <= at < start + seconds)
    return [counts[n] for n in range(int(seconds / width))]


async def story(control_plane: Plane, size: Size) -> Counts:
    """Run it and return what was seen."""
    interval, second, log = size.interval, size.seconds(1), Log().listen()
    with tempfile.TemporaryFile("w+", encoding="utf-8") as file:
        async with (
            RunaiClient(control_plane.url, control_plane.token) as runai,
            runai.watch_fleet(control_plane.ids, poll=size.policy()) as fleet,
            written(fleet, file),
        ):
            await asyncio.sleep(1.5 * interval)
            control_plane.say("go")
            began, cpu = time.monotonic(), time.process_time()
            await asyncio.sleep(size.seconds(STEADY))
            share = (time.process_time() - cpu) / (time.monotonic() - began)
            control_plane.say("down")
            down, stopped = time.monotonic(), time.time()
            await asyncio.sleep(size.seconds(OUTAGE))
            control_plane.say("up")
            up = time.monotonic()
            await asyncio.sleep(size.seconds(AFTER))
            control_plane.say("rest")
            resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            figures = await settled(lambda: judged(read(file), control_plane.report()), interval)
        asked = control_plane.report()["asked"]
        steady = [line for line in read(file) if line.heard < stopped]

    healthy = size.workloads / interval
    steadily = _per_second(asked, began + interval / 2, size.seconds(STEADY) - interval, second)
    back = _per_second(asked, up, size.seconds(AFTER), second)
    tens = _per_second(asked, up, size.seconds(AFTER), interval)
    around = _per_second(asked, down - interval, size.seconds(OUTAGE + AFTER) + interval, interval / 2)
    seen = told(figures) | {
        "delay ÷ interval, p50 p99 max": delays(steady, interval),
        "most polls in a second ÷ mean": f"{max(steadily) / statistics.mean(steadily):.2f}",
        "CPU share": f"{share:.3f} of a core",
        "resident, at most": f"{resident:.0f} MB",
        f"after {up - down:.3g} s of outage": (
            f"most in a second {max(back) / second / healthy:.2f} of the healthy rate, "
            f"in an interval {max(tens) / interval / healthy:.2f}"
        ),
        "of the healthy rate, each half interval": "from one before the outage on: "
        + " ".join(f"{2 * number / interval / healthy:.2f}" for number in around),
        "logged of the outage": ", ".join(log.levels),
    }
    found = wrong(figures)
    if log.levels != ["WARNING", "INFO"]:
        found.append("what was logged of the outage")
    # Each workload has one place in an interval, and so at most one more than there are intervals.
    if any(
        sum(counts) > size.workloads * (len(counts) * second / interval + 1) for counts in (steadily, back)
    ):
        found.append("more polls than places in the schedule")
    return seen, found
