"""Whatever becomes of the writes, over several runs: the state and the lines that are whole agree."""

import asyncio
import contextlib
import errno
import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Literal, get_args

from attrs import Factory, define
from hypothesis import example, given
from hypothesis import strategies as st
from support.harness import Harness

from runai_async import Checkpoint, FleetCheckpoint, PollPolicy, RevisionWatch
from runai_async._codec import to_json
from runai_async.cli.commands.watch import Stream, _display, _saved
from runai_async.cli.exits import OutputError, ReaderGoneError
from runai_async.cli.files import StateFile
from runai_async.cli.line_writer import LineWriter
from runai_async.cli.views.watch import PrintingView
from runai_async.events import FleetEvent

POLICY = PollPolicy(interval=10, fast_interval=10, jitter=0)
PHASES = ["Pending", "Running", "Degraded", "Stopped"]

WHOLE = 1_000_000
Trouble = Literal["full pipe", "save", "full disk", "gone", "cancel", "cancel behind it", "kill"]
Outcome = int | Trouble
"""What becomes of a write: how many bytes are written, or what happens instead."""

outcomes = st.one_of(
    st.just(WHOLE),
    st.integers(1, 400),
    st.sampled_from(get_args(Trouble)),
)


@define
class Run:
    """One run of a command.

    Attributes:
        before: which revisions change before it; a number beyond the last one adds one.
        meanwhile: the same, while it runs.
        outcomes: of its writes; when there are no more, all are whole.
    """

    before: list[int]
    meanwhile: list[int]
    outcomes: list[Outcome]


changes = st.lists(st.integers(0, 5), max_size=4)
runs = st.lists(st.builds(Run, changes, changes, st.lists(outcomes, max_size=8)), min_size=1, max_size=4)


class Killed(BaseException):
    """The process was killed: nothing of it runs any longer."""


class Lines(PrintingView):
    def __init__(self, out: IO[str], writes: "Writes") -> None:
        super().__init__(out)
        self._writer = LineWriter(out, write=writes.write)

    def line(self, event: FleetEvent) -> bytes:
        return to_json(event)


class State(StateFile):
    """A state file that a killed process does not write."""

    is_killed = False

    def save(self, pieces: Iterable[str]) -> None:
        if not self.is_killed:
            super().save(pieces)


@define
class World:
    """What outlives a run.

    Attributes:
        folder: of the output and the state.
        revisions: the ids of the revisions, in the order of their creation.
        text: what is in the output.
        unsaved: the lines of runs that were killed which the state did not have.
    """

    harness: Harness
    folder: Path
    is_fleet: bool
    revisions: list[str] = Factory(list[str])
    text: bytearray = Factory(bytearray)
    unsaved: Counter[str] = Factory(Counter[str])

    @property
    def out(self) -> Path:
        return self.folder / "out"

    @property
    def state(self) -> Path:
        return self.folder / "state.json"

    def change(self, numbers: list[int]) -> None:
        for number in numbers:
            if number >= len(self.revisions):
                self.revisions.append(self.harness.add("Pending"))
            else:
                key = self.revisions[number]
                self.harness.set_phase(key, PHASES[(PHASES.index(self.phase(key)) + 1) % len(PHASES)])

    def phase(self, key: str) -> str:
        return str(self.harness.state.revision(key)["phase"])

    def lines(self) -> list[tuple[str, str, str]]:
        """Return event id, revision and phase of each line that is whole; the others do not end."""
        found = []
        for line in self.text.split(b"\n"):
            with contextlib.suppress(ValueError):
                event = json.loads(line)
                found.append((event["id"], event["revisionId"], event["revision"]["phase"]))
        return found

    def assert_agreement(self, state: str) -> None:
        """Assert that each event in a state has its line."""
        written = {line[1:] for line in self.lines()}
        saved = FleetCheckpoint.from_json(state).workloads.values()
        assert {(mark.id, str(mark.phase)) for part in saved for mark in part.revisions} <= written


def whole_checkpoint(stream: Stream) -> FleetCheckpoint:
    checkpoint = stream.checkpoint()
    if isinstance(checkpoint, Checkpoint):
        return FleetCheckpoint({checkpoint.workload_id: checkpoint}, checkpoint.base_url)
    return checkpoint


class Writes:
    """What becomes of the writes of one run."""

    def __init__(self, world: World, outcomes: list[Outcome], file: State, stream: Stream) -> None:
        self._world = world
        self._left: Iterator[Outcome] = iter(outcomes)
        self._file = file
        self._stream = stream
        self.cancel: Callable[[], object] = int
        self.saved: str | None = None
        self.saved_lines = len(world.lines())

    def write(self, descriptor: int, data: memoryview) -> int:
        match next(self._left, WHOLE):
            case int(count):
                return self._write(descriptor, data[:count])
            case "full pipe":
                pass
            case "save":  # as the task that keeps the file may do at any time
                self.saved, self.saved_lines = text_of(self._stream), len(self._world.lines())
                self._world.assert_agreement(self.saved)
            case "full disk":
                raise OSError(errno.ENOSPC, "No space left on device")
            case "gone":
                raise BrokenPipeError
            case "cancel":
                self.cancel()
            case "cancel behind it":
                self.cancel()
                return self._write(descriptor, data)
            case "kill":
                self._file.is_killed = True
                raise Killed
        raise BlockingIOError

    def _write(self, descriptor: int, data: memoryview) -> int:
        count = os.write(descriptor, data)
        self._world.text += data[:count]
        return count


def text_of(stream: Stream) -> str:
    """Return what the state file would be now."""
    checkpoint = stream.checkpoint()
    if isinstance(checkpoint, Checkpoint):
        checkpoint = FleetCheckpoint({checkpoint.workload_id: checkpoint}, checkpoint.base_url)
    return checkpoint.to_json()


async def play(world: World, run: Run) -> None:
    """Run `watch` once, and let its writes end as they do."""
    harness, key = world.harness, world.harness.workload_id
    world.change(run.before)
    file = State(world.state)
    resume = await asyncio.to_thread(file.load, [key], "https://acme.example")

    async def settle() -> None:
        await harness.clock.advance(10)
        while not task.done() and pending(stream):
            await asyncio.sleep(0.0005)

    async with harness.client() as runai:
        stream: Stream
        if world.is_fleet:
            stream = runai.watch_fleet([key], poll=POLICY, resume_from=resume)
        else:
            part = resume.workloads.get(key) if resume else None
            stream = runai.watch_revisions(key, poll=POLICY, resume_from=part)
        writes = Writes(world, run.outcomes, file, stream)
        with world.out.open("a", encoding="utf-8") as out:
            os.set_blocking(out.fileno(), False)
            view = await asyncio.to_thread(Lines, out, writes)  # it looks at the file
            task = asyncio.create_task(watch(stream, view, file))
            writes.cancel = task.cancel
            await settle()
            world.change(run.meanwhile)
            await settle()
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, OutputError, ReaderGoneError, Killed):
                await task
    assert world.out.read_bytes() == world.text
    if file.is_killed:
        world.unsaved.update(line[0] for line in world.lines()[writes.saved_lines :])
        if writes.saved is not None:
            world.state.write_text(writes.saved)
    world.assert_agreement(world.state.read_text())


async def watch(stream: Stream, view: Lines, file: State) -> None:
    async with stream, _saved(stream, file):
        await _display(stream, view, None)


def pending(stream: Stream) -> int:
    return stream._tracker.pending if isinstance(stream, RevisionWatch) else stream.status.buffered


@given(runs=runs, is_fleet=st.booleans())
@example(runs=[Run([9, 9], [], [100, "full disk"]), Run([], [], [])], is_fleet=True)
@example(runs=[Run([9, 9], [0], [WHOLE, "full pipe", "save", "kill"])], is_fleet=False)
def test_every_event_is_written_and_only_what_was_written_is_saved(runs: list[Run], is_fleet: bool) -> None:
    async def work(folder: str) -> None:
        world = World(Harness(), Path(folder), is_fleet)
        for run in [*runs, Run([], [], [])]:
            await play(world, run)
        lines = world.lines()
        last = {revision_id: phase for _, revision_id, phase in lines}
        assert last == {key: world.phase(key) for key in world.revisions}
        twice = Counter(line[0] for line in lines)
        assert all(count - 1 <= world.unsaved[key] for key, count in twice.items())

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(work(folder))
