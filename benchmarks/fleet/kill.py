"""A watching process is killed at random times and restarted from its last saved checkpoint.

The process is `python -m benchmarks.fleet.kill DIRECTORY`; see `lives`.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from random import Random

from benchmarks.fleet.lives import Job, keep, life, main, once, read_all, summary_of_lives, wrong_in_lives
from benchmarks.fleet.size import Counts, Size
from benchmarks.record import ControlPlane, compared, settled, summary, wrong
from runai_async import RunaiClient

KILLS = 3
LIVES = 0.5, 4.0
"""Intervals: the shortest and the longest life of a process."""
MODULE = "benchmarks.fleet.kill"


async def live(job: Job) -> None:
    """Watch from the last saved checkpoint until killed."""
    async with (
        RunaiClient(job.url, job.token) as runai,
        runai.watch_fleet(job.ids, poll=job.size.policy(), resume_from=job.last()) as fleet,
    ):
        await keep(fleet, job)


async def story(control_plane: ControlPlane, size: Size) -> Counts:
    """Run the story and return its figures."""
    random = Random(size.seed)
    seconds = [random.uniform(*LIVES) * size.interval for _ in range(KILLS)]
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        control_plane.send("go")
        for length in seconds:
            async with life(MODULE, directory, control_plane, size):
                await asyncio.sleep(length)
        async with life(MODULE, directory, control_plane, size):
            await asyncio.sleep(LIVES[-1] * size.interval)
            control_plane.send("rest")
            figures = await settled(
                lambda: compared(once(read_all(directory)), control_plane.report()), size.interval
            )
        lives = read_all(directory)
    seen = {
        f"seconds until each kill, seed {size.seed}": ", ".join(f"{length:.3g}" for length in seconds),
        **summary_of_lives(lives),
        **summary(figures),
    }
    return seen, [*wrong(figures), *wrong_in_lives(lives)]


if __name__ == "__main__":
    main(live)
