"""A fleet that runs for a long time while its control plane fails on schedule: `python -m benchmarks.soak`.

1,000 workloads at 10 s for ten minutes, 50 changes a second, a fifth of which replace a revision. In each
cycle the control plane is healthy, without its identity service, slow, failing, without its authorization
service, down, and up again with all tokens revoked. The lowest memory, file descriptors and tasks of the last
third are compared with those of the first, and the events with the server's own record. The events are kept
on disk, so that the memory is the client's alone.
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
from benchmarks.record import ControlPlane, Log, compared, read, running_control_plane, written
from runai_async import PollPolicy, RunaiClient

WORKLOADS, INTERVAL, MINUTES = 1000, 10.0, 10.0
POLLS_PER_CHANGE = 2
"""Few enough that nearly every workload changes in the first cycle; once changed, it takes more memory."""
TURNOVER = 0.2
SCHEDULE = (
    ("healthy", 0.5),
    ("identity", 0.5),
    ("healthy", 1.5),  # until the fleet has ended its pause, so that it meets all of what is slow
    ("slow", 1.0),
    ("err", 1.0),
    ("healthy", 0.5),
    ("authorization", 1.0),
    ("down", 1.5),  # longer than an interval, which makes it an outage
    ("revoke", 0.0),
    ("up", 0.5),
)
"""The commands for the control plane, and for how many intervals each lasts."""
SERVICES = ("identity", "authorization")
"""The commands that take the seconds for which a service is away."""
CYCLE = sum(intervals for _, intervals in SCHEDULE)
WARM_UP = 2
"""Cycles before anything is measured: until the slow one has met a fleet that was not pausing."""
TOKEN_AGE = 40.0
"""Seconds that a cycle has to last for tokens to be revoked in it: a young one that is refused is kept."""
SLACK = {"memory, MB": 1.0, "file descriptors": 3, "tasks": 3}
"""How much higher the last third may be than the first: what comes and goes all the time."""

GAUGES: dict[str, Callable[[], float]] = {
    "memory, MB": megabytes,
    "file descriptors": lambda: len(list(Path("/proc/self/fd").iterdir())),
    "tasks": lambda: len(asyncio.all_tasks()),
}


class Samples:
    """The values of the gauges over time."""

    def __init__(self) -> None:
        self._values: dict[str, list[float]] = {name: [] for name in GAUGES}

    async def take(self, every: float) -> None:
        """Read the gauges until cancelled."""
        while True:
            await asyncio.sleep(every)
            for name, gauge in GAUGES.items():
                self._values[name].append(gauge())

    def thirds(self) -> dict[str, tuple[float, float]]:
        """Return the lowest value of the first and of the last third; above it, load comes and goes."""
        return {
            name: (min(shown[: len(shown) // 3]), min(shown[-(len(shown) // 3) :]))
            for name, shown in self._values.items()
        }


def order(control_plane: ControlPlane, command: str, seconds: float, interval: float) -> None:
    """Send a command that lasts for so many seconds, if the cycles leave room for it."""
    if command in SERVICES:
        control_plane.send(command, str(seconds))
    elif command != "revoke" or CYCLE * interval >= TOKEN_AGE:
        control_plane.send(command)


async def story(control_plane: ControlPlane, minutes: float, interval: float) -> dict[str, Any]:
    """Run the schedule and return the figures."""
    policy = PollPolicy(
        interval=interval,
        fast_interval=interval,
        deadline=interval,
        missing_grace=2 * interval,
        max_outage=None,
    )
    # As many as a slow control plane needs, so that the first cycle already opens every connection.
    at_once = max(10, round(len(control_plane.ids) / interval * SLOW))
    log, samples, before = Log().listen(), Samples(), {name: gauge() for name, gauge in GAUGES.items()}
    cycles = max(WARM_UP + 3, round(minutes * 60 / (CYCLE * interval)))
    with tempfile.TemporaryFile("w+", encoding="utf-8") as file:
        async with (
            RunaiClient(control_plane.url, control_plane.credentials) as runai,
            runai.watch_fleet(control_plane.ids, poll=policy, max_concurrency=at_once) as fleet,
            written(fleet, file),
        ):
            control_plane.send("go")
            sampler: asyncio.Task[None] | None = None
            for cycle in range(cycles):
                if cycle == WARM_UP:
                    sampler = asyncio.create_task(samples.take(interval / 10))
                for command, intervals in SCHEDULE:
                    order(control_plane, command, intervals * interval, interval)
                    await asyncio.sleep(intervals * interval)
            control_plane.send("rest")
            figures = await record.settled(lambda: compared(read(file), control_plane.report()), interval)
            if sampler is not None:  # the calm at the end belongs to it: on a busy machine there is no other
                sampler.cancel()
    await asyncio.sleep(0.1)  # until what is being closed is closed
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
    """Return the names of the figures that are wrong."""
    found = record.wrong(figures)
    for name, (first, last) in figures.get("thirds", {}).items():
        if record.grew(first, last, SLACK[name]):
            found.append(f"{name} grow")
    found += [f"{name} left over" for name, number in figures.get("left over", {}).items() if number > 0]
    return found


def shown(figures: dict[str, Any]) -> str:
    """Return the figures as a table."""
    lines = {name: f"{value:,}" for name, value in figures.items() if isinstance(value, int)}
    for name, (first, last) in figures["thirds"].items():
        lines[f"{name}: lowest of the first third, of the last"] = f"{first:,.1f}, {last:,.1f}"
    for name, number in figures["left over"].items():
        lines[f"{name} left over at the end"] = f"{number:g}"
    return "\n".join(f"| {name:<55} | {value:>11} |" for name, value in lines.items())


def main() -> None:
    """Read the command line and run it; exit with status 1 if something grew or was reported wrongly."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=MINUTES, help="how long, rounded to whole cycles")
    parser.add_argument("--workloads", type=int, default=WORKLOADS, help="how many are watched")
    parser.add_argument(
        "--interval",
        type=float,
        default=INTERVAL,
        help="seconds between polls; a cycle takes eight",
    )
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args()
    changes = options.workloads / options.interval / POLLS_PER_CHANGE
    with running_control_plane(options.workloads, changes, TURNOVER) as control_plane:
        figures = asyncio.run(story(control_plane, options.minutes, options.interval))
    print(json.dumps(figures) if options.json else shown(figures))
    if found := wrong(figures):
        sys.exit(f"wrong: {', '.join(found)}")


if __name__ == "__main__":
    main()
