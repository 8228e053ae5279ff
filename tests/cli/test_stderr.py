"""Standard error that nobody reads, that has gone or that cannot grow: the work goes on."""

import asyncio
import contextlib
import fcntl
import io
import json
import os
import re
import resource
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from support.cli import environment, polled, read_rest
from support.metrics import get
from support.ports import lasting_port

from runai_async.cli.stderr import StderrWriter, _write
from runai_async.testing import FakeControlPlane

LIMIT = 400
"""The size that no file of a process may exceed, where that is limited."""
FILL = "x" * (LIMIT - 20)


# --- the writer -------------------------------------------------------------------------------------------


@contextlib.contextmanager
def piped() -> Iterator[tuple[int, int]]:
    """Make stderr a small pipe; return both ends."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    with os.fdopen(writing, "w", encoding="utf-8") as stream, contextlib.redirect_stderr(stream):
        yield reading, writing
    os.close(reading)


def fill(descriptor: int) -> int:
    """Fill a pipe; return how many bytes that took."""
    os.set_blocking(descriptor, False)
    size = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            size += os.write(descriptor, b"x")
    os.set_blocking(descriptor, True)
    return size


def rest(reading: int) -> list[str]:
    found = bytearray()
    read_rest(reading, found)
    return found.decode().splitlines()


def test_a_descriptor_that_does_not_block_is_waited_for() -> None:
    with piped() as (reading, writing):
        fill(writing)
        os.set_blocking(writing, False)
        timer = threading.Timer(0.05, os.read, [reading, 65536])
        timer.start()
        assert [_write(writing, b"late") for _ in range(2)] == [0, 4]
        timer.join()


def test_lines_are_written_in_their_order() -> None:
    writer = StderrWriter()
    with piped() as (reading, _):
        for number in range(50):
            writer.write(f"{number}\n")
        writer.close()
        assert rest(reading) == [str(number) for number in range(50)]


def test_a_writer_that_wrote_nothing_has_no_thread() -> None:
    before = threading.active_count()
    writer = StderrWriter()
    assert threading.active_count() == before
    writer.close()


@pytest.mark.parametrize("is_blocking", [True, False])
def test_a_full_pipe_delays_nobody_and_what_is_too_much_is_counted(is_blocking: bool) -> None:
    writer = StderrWriter()
    with piped() as (reading, writing):
        size = fill(writing)
        os.set_blocking(writing, is_blocking)
        for number in range(1500):
            writer.write(f"{number}\n")
        drained = b""
        while b"\n999\n" not in drained:
            drained += os.read(reading, 4096)
        writer.close()
        lines = drained[size:].decode().splitlines() + rest(reading)
    (dropped,) = [line for line in lines if "dropped" in line]
    lines.remove(dropped)
    count = 1500 - len(lines)
    assert 499 <= count <= 500
    assert dropped == f"runai-async: warning: stderr could not be written: {count} messages dropped"
    assert lines == [str(number) for number in range(len(lines))]


def test_what_a_stream_raises_is_counted_too() -> None:
    closed, later = io.StringIO(), io.StringIO()
    closed.close()
    writer = StderrWriter()
    with contextlib.redirect_stderr(closed):
        writer.write("lost\n")
        while not writer._dropped:
            threading.Event().wait(0.001)
    with contextlib.redirect_stderr(later):
        writer.close()
    assert later.getvalue() == "runai-async: warning: stderr could not be written: 1 message dropped\n"


def test_ctrl_c_ends_the_wait_for_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(self: threading.Thread, timeout: float | None = None) -> None:
        raise KeyboardInterrupt

    writer = StderrWriter()
    with piped() as (reading, _):
        writer.write("text\n")
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "join", interrupt)
            writer.close()
        writer.close()
        assert rest(reading) == ["text"]


def test_without_a_thread_the_end_writes_what_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    writer, later = StderrWriter(), io.StringIO()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        writer.write("one\n")
        writer.write("two\n")
    with contextlib.redirect_stderr(later):
        writer.close()
    assert later.getvalue() == "one\ntwo\n"


class Failing(io.StringIO):
    def write(self, text: str) -> int:
        raise RuntimeError("a display with a bug")


def test_a_display_that_raises_loses_its_own_text_only() -> None:
    writer, later = StderrWriter(), io.StringIO()
    with contextlib.redirect_stderr(Failing()):
        writer.write("lost\n")
        while not writer._dropped:
            threading.Event().wait(0.001)
    with contextlib.redirect_stderr(later):
        writer.write("error: the last line\n")
        writer.close()
    assert later.getvalue().endswith("1 message dropped\nerror: the last line\n")


# --- commands ---------------------------------------------------------------------------------------------


class Stderr:
    """A standard error of some kind for a process.

    Attributes:
        descriptor: what the process gets.
        limit: the size of its files, if that is limited.
        read: returns what it holds.
    """

    def __init__(self, descriptor: int, read: Callable[[], str], limit: int | None = None) -> None:
        self.descriptor = descriptor
        self.limit = limit
        self.read = read


def gone(_: Path) -> Stderr:
    reading, writing = os.pipe()
    os.close(reading)
    return Stderr(writing, str)


def full(_: Path) -> Stderr:
    reading, writing = os.pipe()
    fill(writing)
    return Stderr(writing, lambda: "\n".join(rest(reading)))


def limited(folder: Path) -> Stderr:
    path = folder / "log"
    path.write_text(FILL)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
    return Stderr(descriptor, path.read_text, LIMIT)


@asynccontextmanager
async def running(
    control_plane: FakeControlPlane, stderr: Stderr, *args: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start a command with such a stderr, and give up on it after a while."""

    env = environment(control_plane, PYTHONDONTWRITEBYTECODE="1")
    if stderr.limit is not None:  # a measurement of coverage would write a file, too
        env = {name: value for name, value in env.items() if not name.startswith("COVERAGE_")}

    def limit() -> None:
        if stderr.limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (stderr.limit, stderr.limit))

    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "runai_async", *args),
        stdout=asyncio.subprocess.PIPE,
        stderr=stderr.descriptor,
        env=env,
        preexec_fn=limit,
    )
    os.close(stderr.descriptor)
    try:
        async with asyncio.timeout(40):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def outage(control_plane: FakeControlPlane, status: int = 503) -> None:
    """Give the command an outage to warn of; 501 is not retried within a call."""
    control_plane.fail_next(None, status)
    await polled(control_plane, 3)
    control_plane.clear_faults()


BRIEF = ["--interval", "30ms", "--deadline", "200ms"]


@pytest.mark.parametrize(
    "make", [full, *(pytest.param(make, marks=pytest.mark.slow) for make in (gone, limited))]
)
async def test_a_watch_goes_on_whatever_becomes_of_its_stderr(
    control_plane: FakeControlPlane, make: Callable[[Path], Stderr], tmp_path: Path
) -> None:
    workload_id = control_plane.add_workload("chat")
    revision_id = control_plane.add_revision(workload_id, "Pending")
    async with running(control_plane, make(tmp_path), "watch", "chat", "-n", "4", *BRIEF) as process:
        assert process.stdout is not None
        for phase in ("Running", "Degraded", "Stopped"):
            await process.stdout.readline()
            control_plane.fault("broken_row", path=f"/workloads/inferences/{workload_id}/revisions")
            await outage(control_plane, 501)
            control_plane.set_phase(revision_id, phase)
        assert json.loads(await process.stdout.readline())["revision"]["phase"] == "Stopped"
        assert await process.wait() == 0


@pytest.mark.slow
@pytest.mark.parametrize("make", [gone, full, limited])
async def test_an_exporter_goes_on_whatever_becomes_of_its_stderr(
    control_plane: FakeControlPlane, make: Callable[[Path], Stderr], tmp_path: Path
) -> None:
    revision_id = control_plane.add_revision(control_plane.add_workload("chat"), "Pending")
    port = lasting_port()
    listen = ["--listen", f"127.0.0.1:{port}"]
    async with running(control_plane, make(tmp_path), "exporter", "chat", *listen, *BRIEF) as process:
        await until_exported(port, "Pending")
        for phase in ("Running", "Degraded"):
            await outage(control_plane)
            control_plane.set_phase(revision_id, phase)
            await until_exported(port, phase)
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0


async def until_exported(port: int, phase: str) -> None:
    while True:
        with contextlib.suppress(OSError):
            if f'phase="{phase}"' in (await get(port, "/metrics"))[2]:
                return
        await asyncio.sleep(0.02)


async def test_a_log_file_that_has_room_again_says_what_it_lacks(
    control_plane: FakeControlPlane, tmp_path: Path
) -> None:
    workload_id = control_plane.add_workload("chat")
    control_plane.add_revision(workload_id, "Running")
    stderr = limited(tmp_path)
    brief = ["--interval", "30ms", "-n", "2"]
    async with running(control_plane, stderr, "watch", workload_id, *brief) as process:
        assert process.stdout is not None
        await process.stdout.readline()
        await outage(control_plane, 501)
        await polled(control_plane)  # so that the next outage is another one
        while len(stderr.read()) < LIMIT:
            await asyncio.sleep(0.01)
        assert stderr.read().startswith(f"{FILL}runai-async: warn")
        os.truncate(tmp_path / "log", 0)
        await outage(control_plane, 501)
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 143
    lines = stderr.read().splitlines()
    assert lines[0] == ""
    dropped = r"runai-async: warning: stderr could not be written: (1 message|2 messages) dropped"
    assert re.fullmatch(dropped, lines[1])  # the end of the first outage may come late
    assert [": polls fail" in line for line in lines[2:]].count(True) == 1


async def test_an_error_at_the_end_is_the_exit_status_though_nobody_reads_the_line(
    control_plane: FakeControlPlane, tmp_path: Path
) -> None:
    async with running(control_plane, full(tmp_path), "watch", "nothing") as process:
        assert await process.wait() == 2
