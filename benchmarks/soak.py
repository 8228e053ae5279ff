"""A fleet for a long time, against a control plane that fails by schedule: `python -m benchmarks.soak`.

1,000 workloads at 10 s for ten minutes, 50 changes a second, a fifth of which replace a revision. Each
minute the control plane is well, slow, errs, is gone and comes back, all tokens revoked. The least memory,
file descriptors and tasks of the last third are set beside those of the first, and what the consumer was told
beside the server's own record. What was told is kept on disk, so that the memory is the client's alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import record
from benchmarks.control_plane import SLOW
from benchmarks.processes import megabytes
from benchmarks.record import Log, Plane, judged, read, running_control_plane, written
from runai_async import PollPolicy, RunaiClient

WORKLOADS, INTERVAL, MINUTES = 1000, 10.0, 10.0
POLLS_A_CHANGE = 2
"""So often that in the first cycle nearly every workload changes: one that has changed takes more memory."""
TURNOVER = 0.2
SCHEDULE = (
    ("well", 1.5),
    ("slow", 1.0),
    ("err", 1.0),
    ("well", 0.5),
    ("down", 1.5),  # longer than an interval, so that it is an outage
    ("revoke", 0.0),
    ("up", 0.5),
)
"""What the control plane does, and for how many intervals."""
CYCLE = sum(intervals for _, intervals in SCHEDULE)
SLACK = {"memory, MB": 1.0, "file descriptors": 3, "tasks": 3}
"""How much more the last third may have than the first: what comes and goes by the second."""

GAUGES: dict[str, Callable[[], float]] = {
    "memory, MB": megabytes,
    "file descriptors": lambda: len(list(Path("/proc/self/fd").iterdir())),
    "tasks": lambda: len(asyncio.all_tasks()),
}


class Samples:
    """What the gauges showed, from one cycle on."""

    def __init__(self) -> None:
        self._shown: dict[str, list[float]] = {name: [] for name in GAUGES}

    async def take(self, every: float) -> None:
        """Read the gauges until cancelled."""
        while True:
            await asyncio.sleep(every)
            for name, gauge in GAUGES.items():
                self._shown[name].append(gauge())

    def thirds(self) -> dict[str, tuple[float, float]]:
        """Return the least of the first and of the last third: more of it comes and goes with the load."""
        return {
            name: (min(shown[: len(shown) // 3]), min(shown[-(len(shown) // 3) :]))
            for name, shown in self._shown.items()
        }


async def story(control_plane: Plane, minutes: float, interval: float) -> dict[str, Any]:
    """Run it and return the figures."""
    policy = PollPolicy(
        interval=interval,
        fast_interval=interval,
        deadline=interval,
        missing_grace=2 * interval,
        max_outage=None,
    )
    # What it takes when the control plane is slow, so that all there will be is there in the first cycle.
    at_once = max(10, round(len(control_plane.ids) / interval * SLOW))
    log, samples, before = Log().listen(), Samples(), {name: gauge() for name, gauge in GAUGES.items()}
    cycles = max(4, round(minutes * 60 / (CYCLE * interval)))
    with tempfile.TemporaryFile("w+", encoding="utf-8") as file:
        async with (
            RunaiClient(control_plane.url, control_plane.credentials) as runai,
            runai.watch_fleet(control_plane.ids, poll=policy, max_concurrency=at_once) as fleet,
            written(fleet, file),
        ):
            control_plane.say("go")
            sampler: asyncio.Task[None] | None = None
            for cycle in range(cycles):
                if cycle == 1:  # the first one is there to warm up
                    sampler = asyncio.create_task(samples.take(interval / 10))
                for word, intervals in SCHEDULE:
                    control_plane.say(word)
                    await asyncio.sleep(intervals * interval)
            control_plane.say("rest")
            if sampler is not None:
                sampler.cancel()
            figures = await record.settled(lambda: judged(read(file), control_plane.report()), interval)
    await asyncio.sleep(0.1)  # for what is being closed
    after = {name: gauge() for name, gauge in GAUGES.items()}
    return {
        "workloads": len(control_plane.ids),
        "outages": cycles,
        "warnings": log.levels.count("WARNING"),
        **figures,
        "thirds": samples.thirds(),
        "left over": {name: after[name] - before[name] for name in ("file descriptors", "tasks")},
    }


def wrong(figures: dict[str, Any]) -> list[str]:
    """Name what should not be."""
    found = record.wrong(figures)
    for name, (first, last) in figures.get("thirds", {}).items():
        if record.grew(first, last, SLACK[name]):
            found.append(f"{name} grow")
    found += [f"{name} left over" for name, number in figures.get("left over", {}).items() if number > 0]
    return found


def shown(figures: dict[str, Any]) -> str:
    """Write the figures as a table."""
    lines = {name: f"{value:,}" for name, value in figures.items() if isinstance(value, int)}
    for name, (first, last) in figures["thirds"].items():
        lines[f"{name}: least of the first third, of the last"] = f"{first:,.1f}, {last:,.1f}"
    for name, number in figures["left over"].items():
        lines[f"{name} left over at the end"] = f"{number:g}"
    return "\n".join(f"| {name:<55} | {value:>11} |" for name, value in lines.items())


def main() -> None:
    """Read the command line and run it; the exit status is 1 where something grew or was told wrongly."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=MINUTES, help="how long; rounded to whole cycles")
    parser.add_argument("--workloads", type=int, default=WORKLOADS, help="how many are watched")
    parser.add_argument(
        "--interval", type=float, default=INTERVAL, help="seconds between polls; a cycle is six"
    )
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args()
    changes = options.workloads / options.interval / POLLS_A_CHANGE
    with running_control_plane(options.workloads, changes, TURNOVER) as control_plane:
        figures = asyncio.run(story(control_plane, options.minutes, options.interval))
    print(json.dumps(figures) if options.json else shown(figures))
    if found := wrong(figures):
        sys.exit(f"not as it should be: {', '.join(found)}")


if __name__ == "__main__":
    main()
