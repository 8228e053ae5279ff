"""A fleet follows the list; the control plane is down for a while; then the process is killed, and resumes.

The process is `python -m benchmarks.fleet.follow DIRECTORY`; see `lives`. Some changes replace a revision.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from attrs import evolve

from benchmarks.fleet.following import (
    DISCOVERY,
    FAST,
    HINTS,
    LISTS,
    PHASES,
    RELAXED,
    Period,
    measured,
    noting,
    quantiles,
)
from benchmarks.fleet.lives import Job, keep, life, main, once, read_all, summary_of_lives, wrong_in_lives
from benchmarks.fleet.size import Counts, Size
from benchmarks.record import ControlPlane, Line, Log, compared, settled, summary, wrong
from runai_async import RunaiClient

WARM, MEASURED = 18.0, 6.0
"""Intervals: until trust is won and all that is quiet is relaxed, and what is measured behind that."""
OUTAGE, AFTER = 6.0, 12.0
"""Intervals: without a control plane, and behind that until the kill."""
MODULE = "benchmarks.fleet.follow"


async def live(job: Job) -> None:
    """Follow the list, from the last saved checkpoint on, until killed."""
    interval = job.size.interval
    Log().listen()  # what is expected of an outage is not to be printed
    async with (
        RunaiClient(job.url, job.token) as runai,
        runai.watch_fleet(
            runai.inference_workloads,
            poll=evolve(job.size.policy(), fast_interval=FAST * interval),
            discovery_interval=DISCOVERY * interval,
            relaxed_interval=RELAXED * interval,
            resume_from=job.last(),
        ) as fleet,
        noting(fleet, interval / 4, job.note),
    ):
        await keep(fleet, job)


def _trust(lines: Sequence[Line]) -> str:
    """Return what the hints of a life were, and when they became so, in seconds since its first line."""
    states = [line for line in lines if line.kind == HINTS]
    return ", ".join(f"{line.phase} at {line.received - lines[0].received:.3g} s" for line in states)


def _asked(periods: Sequence[Period], asked: Sequence[float], size: Size) -> str:
    """Return the requests, relative to those that a fleet without hints would make."""
    healthy = size.workloads / size.interval
    return ", ".join(f"{period.rate(asked) / healthy:.3f}" for period in periods)


def _late(periods: Sequence[Period], lines: Sequence[Line], size: Size) -> str:
    shown = (quantiles(period.delays(lines, size.interval)) for period in periods)
    return ", ".join("{:.2f} {:.2f}".format(*pair) for pair in shown)


def _lists(periods: Sequence[Period], lives: Sequence[Sequence[Line]], size: Size) -> str:
    """Return the longest pause between listings: where the machine is busy, they are stretched."""
    notes = [period.of(lines, LISTS) for period, lines in zip(periods, lives, strict=True)]
    return ", ".join(f"{max(float(note.phase) for note in own) / size.interval:.2f}" for own in notes)


async def story(control_plane: ControlPlane, size: Size) -> Counts:
    """Run the story and return its figures."""
    interval = size.interval
    control_plane.send("phases", *PHASES)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        async with life(MODULE, directory, control_plane, size):
            control_plane.send("go")
            await asyncio.sleep(WARM * interval)
            periods = [await measured(MEASURED * interval)]
            control_plane.send("down")
            await asyncio.sleep(OUTAGE * interval)
            control_plane.send("up")
            await asyncio.sleep(AFTER * interval)
        killed = time.time()
        async with life(MODULE, directory, control_plane, size):
            await asyncio.sleep(WARM * interval)
            periods.append(await measured(MEASURED * interval))
            control_plane.send("rest")
            figures = await settled(
                lambda: compared(once(read_all(directory)), control_plane.report()), interval
            )
        lives = read_all(directory)
    lines = once(lives)
    asked: list[float] = control_plane.report()["asked"]
    first = next((line.received for line in lives[1] if line.id), killed)
    seen = {
        "requests ÷ those without hints: before the outage, after the kill": _asked(periods, asked, size),
        "delay ÷ interval, p50 p99: the same": _late(periods, lines, size),
        "between two listings, at most, in intervals: the same": _lists(periods, lives, size),
        "hints of the first life": _trust(lives[0]),
        "hints of the second": _trust(lives[1]),
        "seconds from the kill to the next event": f"{first - killed:.3g}",
        **summary_of_lives(lives),
        **summary(figures),
        "deletions; not reported exactly once": (
            f"{figures['deletions']}; {figures['deletions not reported exactly once']}"
        ),
    }
    never_trusted = [
        f"hints were never trusted in life {number}"
        for number, own in enumerate(lives, 1)
        if "trusted" not in {line.phase for line in own if line.kind == HINTS}
    ]
    return seen, [*wrong(figures), *wrong_in_lives(lives), *never_trusted]


if __name__ == "__main__":
    main(live)
