"""A watching process is killed at random times and restarted from its last saved checkpoint.

The process is `python -m benchmarks.fleet.kill DIRECTORY`. It reads what to watch from stdin, writes each
event to a file, and regularly saves the checkpoint of the events it has written.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from asyncio.subprocess import PIPE
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import IO

from benchmarks.fleet.size import Counts, Size
from benchmarks.processes import ROOT
from benchmarks.record import ControlPlane, Line, compared, line_of, read, settled, summary, wrong
from runai_async import FleetCheckpoint, FleetWatch, RunaiClient

KILLS = 3
LIVES = 0.5, 4.0
"""Intervals: the shortest and the longest life of a process."""
PAUSE = 0.05
"""Intervals: half the time that saving a checkpoint takes, and half the time between two."""
SAVED, WATCHING = "saved", b"watching\n"


# --- the process that is killed


def _save(checkpoint: FleetCheckpoint, path: Path) -> None:
    """Replace the saved checkpoint, or leave it as it was."""
    draft = path.with_suffix(".new")
    draft.write_text(checkpoint.to_json(), encoding="utf-8")
    draft.replace(path)


def _last(path: Path) -> FleetCheckpoint | None:
    return FleetCheckpoint.from_json(path.read_bytes()) if path.exists() else None


async def _keep(fleet: FleetWatch, file: IO[str], path: Path, pause: float) -> None:
    """Write each event to the file, and regularly save the checkpoint of what was written.

    Saving takes time, as it would elsewhere. Events that arrive meanwhile are not in the checkpoint.
    """
    due = time.monotonic() + 2 * pause
    async for event in fleet:
        file.write(json.dumps(line_of(event)) + "\n")
        if time.monotonic() >= due:
            await asyncio.sleep(pause)
            _save(fleet.checkpoint(), path)
            file.write(json.dumps(Line("", SAVED, "", "", "", None, time.time())) + "\n")
            await asyncio.sleep(pause)
            due = time.monotonic() + 2 * pause


async def live(file: IO[str], path: Path, url: str, token: str, ids: list[str], size: Size) -> None:
    """Watch from the last saved checkpoint until killed."""
    async with (
        RunaiClient(url, token) as runai,
        runai.watch_fleet(ids, poll=size.policy(), resume_from=_last(path)) as fleet,
    ):
        sys.stdout.buffer.write(WATCHING)
        sys.stdout.flush()
        await _keep(fleet, file, path, PAUSE * size.interval)


# --- the story


@asynccontextmanager
async def _life(directory: Path, control_plane: ControlPlane, size: Size) -> AsyncIterator[None]:
    """Let a process watch, and kill it at the end of the block."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.fleet.kill", str(directory)), cwd=ROOT, stdin=PIPE, stdout=PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(
            json.dumps([control_plane.url, control_plane.token, control_plane.ids, size]).encode()
        )
        process.stdin.write_eof()
        assert await process.stdout.readline() == WATCHING
        yield
        assert process.returncode is None
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def _lives(directory: Path) -> list[list[Line]]:
    """Read the events of each life."""
    lives = []
    for path in sorted(directory.glob("*.jsonl")):
        with path.open(encoding="utf-8") as file:
            lives.append(read(file))
    return lives


def _once(lives: Iterable[Sequence[Line]]) -> list[Line]:
    """Return the events of all lives in order, each id once."""
    return list({line.id: line for life in lives for line in life if line.id}.values())


def repeated(lives: Iterable[Sequence[Line]]) -> dict[str, int]:
    """Count the events that were reported again: after a kill, or where they should not be."""
    reported_before: set[str] = set()
    saved_before: set[str] = set()
    counts: Counter[str] = Counter()
    for life in lives:
        ids = {line.id for line in life if line.id}
        counts["reported again"] += len(ids & reported_before)
        counts["reported again though saved"] += len(ids & saved_before)
        counts["reported twice in one life"] += sum(bool(line.id) for line in life) - len(ids)
        reported_before |= ids
        saves = [index for index, line in enumerate(life) if line.kind == SAVED]
        saved_before |= {line.id for line in life[: max(saves, default=0)] if line.id}
    return counts


async def story(control_plane: ControlPlane, size: Size) -> Counts:
    """Run the story and return its figures."""
    random = Random(size.seed)
    seconds = [random.uniform(*LIVES) * size.interval for _ in range(KILLS)]
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        control_plane.send("go")
        for life in seconds:
            async with _life(directory, control_plane, size):
                await asyncio.sleep(life)
        async with _life(directory, control_plane, size):
            await asyncio.sleep(LIVES[-1] * size.interval)
            control_plane.send("rest")
            figures = await settled(
                lambda: compared(_once(_lives(directory)), control_plane.report()), size.interval
            )
        lives = _lives(directory)
    counts = repeated(lives)
    seen = {
        f"seconds until each kill, seed {size.seed}": ", ".join(f"{life:.3g}" for life in seconds),
        "events of each life": ", ".join(f"{sum(bool(line.id) for line in life):,}" for life in lives),
        "checkpoints saved in each": ", ".join(
            str(sum(line.kind == SAVED for line in life)) for life in lives
        ),
        "of them reported again after a kill; though saved": (
            f"{counts['reported again']}; {counts['reported again though saved']}"
        ),
        **summary(figures),
    }
    never = "reported again though saved", "reported twice in one life"
    return seen, [*wrong(figures), *(name for name in never if counts[name])]


def main() -> None:
    """Read what to watch, and watch it."""
    directory = Path(sys.argv[1])
    url, token, ids, size = json.load(sys.stdin)
    number = len(list(directory.glob("*.jsonl")))
    with (directory / f"{number}.jsonl").open("w", encoding="utf-8", buffering=1) as file:
        asyncio.run(live(file, directory / "checkpoint.json", url, token, ids, Size(*size)))


if __name__ == "__main__":
    main()
