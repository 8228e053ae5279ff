"""A process that watches is killed and started again: it resumes from its last saved checkpoint.

The process is a module that calls `main`. It reads what to watch from stdin, writes each event to a file, and
regularly saves the checkpoint of the events it has written.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from asyncio.subprocess import PIPE
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, NamedTuple

from benchmarks.fleet.size import Size
from benchmarks.processes import ROOT
from benchmarks.record import ControlPlane, Line, line_of, read
from runai_async import FleetCheckpoint, FleetWatch

PAUSE = 0.05
"""Intervals: half the time that saving a checkpoint takes, and half the time between two."""
SAVED, WATCHING = "saved", b"watching\n"


# --- the process that is killed


class Job(NamedTuple):
    """What to watch, and where to write.

    Attributes:
        file: takes the events.
        checkpoint: where the checkpoint is saved.
    """

    file: IO[str]
    checkpoint: Path
    url: str
    token: str
    ids: list[str]
    size: Size

    def note(self, kind: str, text: str = "") -> None:
        """Write down what is not an event of a revision."""
        self.file.write(json.dumps(Line("", kind, "", "", text, None, time.time())) + "\n")

    def last(self) -> FleetCheckpoint | None:
        """Return the last saved checkpoint."""
        path = self.checkpoint
        return FleetCheckpoint.from_json(path.read_bytes()) if path.exists() else None

    def save(self, checkpoint: FleetCheckpoint) -> None:
        """Replace the saved checkpoint, or leave it as it was."""
        draft = self.checkpoint.with_suffix(".new")
        draft.write_text(checkpoint.to_json(), encoding="utf-8")
        draft.replace(self.checkpoint)
        self.note(SAVED)


async def keep(fleet: FleetWatch, job: Job) -> None:
    """Write each event to the file, and regularly save the checkpoint of what was written.

    Saving takes time, as it would elsewhere. Events that arrive meanwhile are not in the checkpoint.
    """
    pause = PAUSE * job.size.interval
    sys.stdout.buffer.write(WATCHING)
    sys.stdout.flush()
    due = time.monotonic() + 2 * pause
    async for event in fleet:
        job.file.write(json.dumps(line_of(event)) + "\n")
        if time.monotonic() >= due:
            await asyncio.sleep(pause)
            job.save(fleet.checkpoint())
            await asyncio.sleep(pause)
            due = time.monotonic() + 2 * pause


def main(live: Callable[[Job], Coroutine[None, None, None]]) -> None:
    """Read what to watch, and watch it until killed."""
    directory = Path(sys.argv[1])
    url, token, ids, size = json.load(sys.stdin)
    number = len(list(directory.glob("*.jsonl")))
    with (directory / f"{number}.jsonl").open("w", encoding="utf-8", buffering=1) as file:
        asyncio.run(live(Job(file, directory / "checkpoint.json", url, token, ids, Size(*size))))


# --- the story that kills it


@asynccontextmanager
async def life(module: str, directory: Path, control_plane: ControlPlane, size: Size) -> AsyncIterator[None]:
    """Let a process watch, and kill it at the end of the block."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, str(directory)), cwd=ROOT, stdin=PIPE, stdout=PIPE
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


def read_all(directory: Path) -> list[list[Line]]:
    """Read what each life has written."""
    lives = []
    for path in sorted(directory.glob("*.jsonl")):
        with path.open(encoding="utf-8") as file:
            lives.append(read(file))
    return lives


def once(lives: Iterable[Sequence[Line]]) -> list[Line]:
    """Return the events of all lives in order, each id once."""
    return list({line.id: line for life in lives for line in life if line.id}.values())


AGAIN_THOUGH_SAVED, TWICE = "reported again though saved", "reported twice in one life"
AGAIN = "reported again"


def repeated(lives: Iterable[Sequence[Line]]) -> dict[str, int]:
    """Count the events that were reported again: after a kill, or where they should not be."""
    reported_before: set[str] = set()
    saved_before: set[str] = set()
    counts: Counter[str] = Counter()
    for lines in lives:
        ids = {line.id for line in lines if line.id}
        counts[AGAIN] += len(ids & reported_before)
        counts[AGAIN_THOUGH_SAVED] += len(ids & saved_before)
        counts[TWICE] += sum(bool(line.id) for line in lines) - len(ids)
        reported_before |= ids
        saves = [index for index, line in enumerate(lines) if line.kind == SAVED]
        saved_before |= {line.id for line in lines[: max(saves, default=0)] if line.id}
    return counts


def summary_of_lives(lives: Sequence[Sequence[Line]]) -> dict[str, str]:
    """Return what each life did, for printing."""
    counts = repeated(lives)
    return {
        "events of each life": ", ".join(f"{sum(bool(line.id) for line in lines):,}" for lines in lives),
        "checkpoints saved in each": ", ".join(
            str(sum(line.kind == SAVED for line in lines)) for lines in lives
        ),
        "of them reported again after a kill; though saved": (
            f"{counts[AGAIN]}; {counts[AGAIN_THOUGH_SAVED]}"
        ),
    }


def wrong_in_lives(lives: Iterable[Sequence[Line]]) -> list[str]:
    """Return the names of the counts that should be zero and are not."""
    counts = repeated(lives)
    return [name for name in (AGAIN_THOUGH_SAVED, TWICE) if counts[name]]
