"""Standard output that is full, slow or gone: an event counts as delivered once its line is written."""

import array
import asyncio
import fcntl
import json
import os
import pty
import resource
import signal
import sys
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from support.cli import Ran, environment, polled, ran

from runai_async import FleetCheckpoint
from runai_async.testing import FakeControlPlane

UNBUFFERED = pytest.mark.parametrize(
    "env",
    [
        pytest.param({}, id="buffered"),
        pytest.param({"PYTHONUNBUFFERED": "1"}, id="unbuffered", marks=pytest.mark.slow),
    ],
)
FORMATS = pytest.mark.parametrize(
    "output",
    ["jsonl", *(pytest.param(name, marks=pytest.mark.slow) for name in ("table", "json", "cloudevents"))],
)
BRIEF = ["--interval", "30ms", "--timeout", "30s"]
FULL = "Error: stdout cannot be written: No space left on device\n"
TOO_LARGE = "Error: stdout cannot be written: File too large\n"


@asynccontextmanager
async def running(
    control_plane: FakeControlPlane,
    stdout: int,
    *args: str,
    limit: int | None = None,
    env: dict[str, str] | None = None,
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start a command with such a stdout, in whose process no file may grow beyond a limit."""
    full_env = environment(control_plane, PYTHONDONTWRITEBYTECODE="1", **(env or {}))
    if limit is not None:  # a measurement of coverage would write a file, too
        full_env = {name: value for name, value in full_env.items() if not name.startswith("COVERAGE_")}

    def prepare() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "runai_async", *args),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=stdout,
        stderr=asyncio.subprocess.PIPE,
        env=full_env,
        preexec_fn=prepare,
    )
    os.close(stdout)
    try:
        async with asyncio.timeout(40):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def ended(process: asyncio.subprocess.Process) -> tuple[int | None, str]:
    _, err = await process.communicate()
    return process.returncode, err.decode()


async def ran_to(control_plane: FakeControlPlane, path: Path | str, *args: str, **options: Any) -> Ran:
    """Run a command that appends its output to a file."""
    stdout = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    async with running(control_plane, stdout, *args, **options) as process:
        status, err = await ended(process)
    assert status is not None
    return Ran(status, "" if path == "/dev/full" else Path(path).read_text(), err)


def with_revisions(control_plane: FakeControlPlane, count: int) -> tuple[str, set[str]]:
    workload_id = control_plane.add_workload("chat")
    return workload_id, {control_plane.add_revision(workload_id, "Running") for _ in range(count)}


def saved_in(state: Path) -> set[str]:
    """Return the ids of the revisions whose events are in a state file."""
    parts = FleetCheckpoint.from_json(state.read_bytes()).workloads.values()
    return {mark.id for part in parts for mark in part.revisions}


def whole_lines(text: str) -> list[str]:
    """Return the revisions whose events are whole lines, those that were cut left out."""
    found = []
    for line in text.splitlines():
        try:
            found.append(json.loads(line)["revisionId"])
        except ValueError:
            continue
    return found


# --- watch --------------------------------------------------------------------------------------------------


@UNBUFFERED
@FORMATS
async def test_what_a_full_disk_refuses_is_not_delivered(
    control_plane: FakeControlPlane, tmp_path: Path, output: str, env: dict[str, str]
) -> None:
    _, ids = with_revisions(control_plane, 3)
    state = tmp_path / "state.json"
    args = ["watch", "chat", "-o", output, "--state", str(state), *BRIEF]
    assert await ran_to(control_plane, "/dev/full", *args, env=env) == Ran(5, "", FULL)
    assert saved_in(state) == set()
    result = await ran(control_plane, *args, "-n", "3")
    assert (result.status, result.err, len(result.out.splitlines())) == (0, "", 3)
    assert saved_in(state) == ids


@UNBUFFERED
async def test_a_file_that_cannot_grow_ends_a_watch_and_the_next_run_reports_what_it_lacks(
    control_plane: FakeControlPlane, tmp_path: Path, env: dict[str, str]
) -> None:
    _, ids = with_revisions(control_plane, 20)
    state, out = tmp_path / "state.json", tmp_path / "out"
    args = ["watch", "chat", "--state", str(state), *BRIEF]
    first = await ran_to(control_plane, out, *args, limit=10_000, env=env)
    assert (first.status, first.err, len(first.out)) == (5, TOO_LARGE, 10_000)
    assert not first.out.endswith("\n")
    assert saved_in(state) == {*whole_lines(first.out)}
    assert 0 < len(saved_in(state)) < 20
    left = len(ids - saved_in(state))
    second = await ran_to(control_plane, out, *args, "-n", str(left), env=env)
    assert (second.status, second.err) == (0, "")
    assert second.out.startswith(first.out + "\n")
    assert sorted(whole_lines(second.out)) == sorted(ids)
    assert saved_in(state) == ids


async def test_a_disk_without_room_for_output_and_state_is_one_error(
    control_plane: FakeControlPlane, tmp_path: Path
) -> None:
    with_revisions(control_plane, 40)
    state = tmp_path / "state.json"
    args = ["watch", "chat", "-o", "table", "--state", str(state), *BRIEF]
    result = await ran_to(control_plane, tmp_path / "out", *args, limit=1500)
    assert (result.status, len(result.out), saved_in(state)) == (5, 1500, set())
    assert result.err == f"{TOO_LARGE[:-1]}; --state {state} cannot be written: File too large\n"


@UNBUFFERED
@pytest.mark.parametrize("blocks", [True, pytest.param(False, marks=pytest.mark.slow)])
async def test_a_full_pipe_is_waited_for(
    control_plane: FakeControlPlane, tmp_path: Path, blocks: bool, env: dict[str, str]
) -> None:
    _, ids = with_revisions(control_plane, 20)
    state = tmp_path / "state.json"
    reading, writing = small_pipe(blocks=blocks)
    async with running(
        control_plane, writing, "watch", "chat", "-n", "20", "--state", str(state), *BRIEF, env=env
    ) as process:
        await until_full(reading)
        out = b""
        while chunk := await asyncio.to_thread(slowly_read, reading):
            out += chunk
        assert await ended(process) == (0, "")
    os.close(reading)
    assert {json.loads(line)["revisionId"] for line in out.splitlines()} == ids == saved_in(state)
    assert len(out.splitlines()) == 20


@pytest.mark.parametrize(
    ("blocks", "number"),
    [
        (False, signal.SIGTERM),
        pytest.param(True, signal.SIGINT, marks=pytest.mark.slow),
        pytest.param(True, signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param(False, signal.SIGINT, marks=pytest.mark.slow),
    ],
)
async def test_a_signal_ends_a_watch_whose_pipe_is_full_with_what_was_written_saved(
    control_plane: FakeControlPlane, tmp_path: Path, blocks: bool, number: signal.Signals
) -> None:
    with_revisions(control_plane, 20)
    state = tmp_path / "state.json"
    reading, writing = small_pipe(blocks=blocks)
    async with running(control_plane, writing, "watch", "chat", "--state", str(state), *BRIEF) as process:
        await until_full(reading)
        process.send_signal(number)
        assert await ended(process) == (128 + number, "")
    with os.fdopen(reading, "rb") as pipe:
        assert saved_in(state) == {*whole_lines(pipe.read().decode())}


@pytest.mark.slow
async def test_a_reader_that_goes_ends_a_watch_whose_pipe_is_full(
    control_plane: FakeControlPlane, tmp_path: Path
) -> None:
    with_revisions(control_plane, 20)
    reading, writing = small_pipe(blocks=False)
    async with running(control_plane, writing, "watch", "chat", *BRIEF) as process:
        await until_full(reading)
        os.close(reading)
        assert await ended(process) == (141, "")


@pytest.mark.parametrize(
    ("before", "start"),
    [
        ("whole\n", "whole\n"),
        pytest.param("cut", "cut\n", marks=pytest.mark.slow),
        *(pytest.param(before, before, marks=pytest.mark.slow) for before in ("", "\n")),
    ],
)
async def test_a_line_that_was_cut_is_ended_before_the_first_new_one_only(
    control_plane: FakeControlPlane, tmp_path: Path, before: str, start: str
) -> None:
    with_revisions(control_plane, 2)
    out = tmp_path / "out"
    out.write_text(before)
    result = await ran_to(control_plane, out, "watch", "chat", "-n", "2", *BRIEF)
    assert result.out.startswith(start + "{")
    assert len(result.out.removeprefix(start).splitlines()) == 2


def small_pipe(*, blocks: bool) -> tuple[int, int]:
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writing, blocks)
    return reading, writing


async def until_full(reading: int) -> None:
    """Wait until nothing more is written to a pipe."""
    before = 0
    while not before or unread(reading) > before:
        before = unread(reading)
        await asyncio.sleep(0.2)


def unread(reading: int) -> int:
    size = array.array("i", [0])
    fcntl.ioctl(reading, termios.FIONREAD, size)
    return size[0]


def slowly_read(reading: int) -> bytes:
    return os.read(reading, 1000)


async def test_a_terminal_that_goes_costs_the_view_and_not_the_watch(
    control_plane: FakeControlPlane, tmp_path: Path
) -> None:
    workload_id, (revision_id,) = with_revisions(control_plane, 1)
    state = tmp_path / "state.json"
    ours, theirs = pty.openpty()
    args = ["watch", "chat", "--state", str(state), *BRIEF]
    async with running(control_plane, theirs, *args, env={"TERM": "xterm-256color"}) as process:
        while not await asyncio.to_thread(os.read, ours, 65536):
            pass
        os.close(ours)
        control_plane.set_phase(revision_id, "Degraded")
        while "Degraded" not in (state.read_text() if state.exists() else ""):
            await asyncio.sleep(0.05)
        await polled(control_plane)
        process.send_signal(signal.SIGTERM)
        line = (
            "runai-async: warning: the view cannot be drawn: stdout cannot be written: Input/output error\n"
        )
        assert await ended(process) == (143, line)
    assert workload_id in state.read_text()


# --- other commands -----------------------------------------------------------------------------------------


@UNBUFFERED
@pytest.mark.parametrize(
    "command",
    [
        ["revisions", "list", "chat", "-o", "table"],
        ["--help"],
        *(
            pytest.param(command.split(), marks=pytest.mark.slow)
            for command in (
                "revisions list chat -o json",
                "revisions list chat -o jsonl",
                "revisions count chat",
                "timeline chat -o table",
                "--version",
            )
        ),
    ],
    ids=" ".join,
)
async def test_output_that_cannot_be_written_is_one_line_and_status_5(
    control_plane: FakeControlPlane, tmp_path: Path, command: list[str], env: dict[str, str]
) -> None:
    with_revisions(control_plane, 2)
    assert await ran_to(control_plane, "/dev/full", *command, env=env) == Ran(5, "", FULL)


@UNBUFFERED
async def test_a_rollout_that_cannot_print_its_progress_has_its_own_exit_status(
    control_plane: FakeControlPlane, env: dict[str, str]
) -> None:
    with_revisions(control_plane, 1)
    warning = FULL.replace("Error", "runai-async: warning")
    result = await ran_to(control_plane, "/dev/full", "rollout", "status", "chat", env=env)
    assert result == Ran(0, "", warning)


@pytest.mark.slow
@UNBUFFERED
async def test_output_that_is_cut_is_an_error(
    control_plane: FakeControlPlane, tmp_path: Path, env: dict[str, str]
) -> None:
    with_revisions(control_plane, 5)
    result = await ran_to(
        control_plane, tmp_path / "out", "revisions", "list", "chat", "-o", "json", limit=1000, env=env
    )
    assert (result.status, result.err, len(result.out)) == (5, TOO_LARGE, 1000)


@pytest.mark.slow
@UNBUFFERED
async def test_a_slow_reader_gets_the_whole_output_of_a_pipe_that_does_not_block(
    control_plane: FakeControlPlane, env: dict[str, str]
) -> None:
    _, ids = with_revisions(control_plane, 10)
    reading, writing = small_pipe(blocks=False)
    args = ["revisions", "list", "chat", "-o", "jsonl"]
    async with running(control_plane, writing, *args, env=env) as process:
        await until_full(reading)
        out = b""
        while chunk := await asyncio.to_thread(slowly_read, reading):
            out += chunk
        assert await ended(process) == (0, "")
    os.close(reading)
    assert {json.loads(line)["id"] for line in out.splitlines()} == ids


async def test_help_without_a_reader_ends_like_any_command(control_plane: FakeControlPlane) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    async with running(control_plane, writing, "--help") as process:
        assert await ended(process) == (141, "")
