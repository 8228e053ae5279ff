"""Lines that are written as a whole, by a writer that is given its stream and its writes."""

import asyncio
import errno
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from runai_async import Checkpoint, FleetCheckpoint
from runai_async.cli.commands.watch import _saved
from runai_async.cli.exits import InputError, OutputError, ReaderGoneError
from runai_async.cli.files import StateFile
from runai_async.cli.line_writer import LineWriter
from runai_async.cli.stdout import WholeFile


@pytest.fixture
def pipe() -> Iterator[tuple[int, IO[str]]]:
    """Return the two ends of a pipe that does not block."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    with os.fdopen(writing, "w", encoding="latin-1") as stream:
        yield reading, stream
    os.close(reading)


async def test_a_short_write_is_continued(pipe: tuple[int, IO[str]]) -> None:
    reading, stream = pipe
    writer = LineWriter(stream, write=lambda descriptor, data: os.write(descriptor, data[:2]))
    await writer.write("first")
    await writer.write(b"second")
    assert os.read(reading, 100) == b"first\nsecond\n"


async def test_text_has_the_encoding_of_the_stream_and_bytes_stay_as_they_are(
    pipe: tuple[int, IO[str]],
) -> None:
    reading, stream = pipe
    writer = LineWriter(stream)
    await writer.write("\xe9\u4e2d")
    await writer.write("\xe9".encode())
    assert os.read(reading, 100) == b"\xe9?\n\xc3\xa9\n"


async def test_lines_of_two_tasks_are_not_mixed(pipe: tuple[int, IO[str]]) -> None:
    reading, stream = pipe

    def write(descriptor: int, data: memoryview) -> int:
        if next(turns) % 2:
            raise BlockingIOError
        return os.write(descriptor, data[:1])

    turns = iter(range(100))
    writer = LineWriter(stream, write=write)
    await asyncio.gather(writer.write("aaaa"), writer.write("bbbb"))
    assert os.read(reading, 100) == b"aaaa\nbbbb\n"


@pytest.mark.parametrize(
    ("number", "error"),
    [(errno.ENOSPC, OutputError), (errno.EPIPE, ReaderGoneError), (errno.ECONNRESET, ReaderGoneError)],
)
async def test_a_stream_without_a_descriptor_fails_in_the_same_way(
    number: int, error: type[Exception]
) -> None:
    class Failing(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(number, os.strerror(number))

    with pytest.raises(error):
        await LineWriter(Failing()).write("line")


async def test_a_stream_without_a_descriptor_gets_the_text() -> None:
    stream = io.StringIO()
    await LineWriter(stream).write("\x1b[1mline")
    assert stream.getvalue() == "\x1b[1mline\n"


def test_a_file_that_cannot_be_read_gets_no_line_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out"
    path.write_text("cut")
    monkeypatch.setattr("runai_async.cli.line_writer._OPEN_FILES", tmp_path / "none")
    with path.open("a") as out:
        asyncio.run(LineWriter(out).write("line"))
    assert path.read_text() == "cutline\n"


def test_what_follows_a_failure_is_dropped(pipe: tuple[int, IO[str]]) -> None:
    reading, stream = pipe
    file = WholeFile(stream.fileno(), stream)
    assert file.write(b"text") == 4
    become(stream, "/dev/full")
    with pytest.raises(OutputError, match="stdout cannot be written: No space left on device"):
        file.write(b"lost")
    become(stream, os.devnull)
    assert file.write(b"dropped") == 7
    assert os.read(reading, 100) == b"text"


def become(stream: IO[str], path: str) -> None:
    """Make a stream's descriptor one of another file."""
    with Path(path).open("wb") as file:
        os.dup2(file.fileno(), stream.fileno())


# --- the last save ------------------------------------------------------------------------------------------


class Watched:
    """What there is to save."""

    def checkpoint(self) -> FleetCheckpoint:
        return FleetCheckpoint({"w": Checkpoint("w")})


async def end_with(error: Exception | None, file: StateFile) -> None:
    async with _saved(Watched(), file):  # type: ignore[arg-type]
        if error is not None:
            raise error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (None, "--state .* cannot be written: No such file or directory"),
        (ValueError("x"), "--state .* cannot be written: No such file or directory"),
        (OutputError("no room"), "no room; --state .* cannot be written: No such file or directory"),
    ],
)
async def test_a_last_save_that_fails_is_named_beside_the_output_that_cannot_be_written(
    tmp_path: Path, error: Exception | None, expected: str
) -> None:
    file = StateFile(tmp_path / "none" / "state.json")
    with pytest.raises(OutputError if isinstance(error, OutputError) else InputError) as caught:
        await end_with(error, file)
    assert caught.match(expected)


async def test_the_state_is_saved_behind_output_that_cannot_be_written(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    with pytest.raises(OutputError, match=r"^no room$"):
        await end_with(OutputError("no room"), StateFile(path))
    assert FleetCheckpoint.from_json(path.read_text()) == Watched().checkpoint()
