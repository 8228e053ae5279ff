"""Running a command: in a thread, or as a process of its own."""

import asyncio
import fcntl
import json
import os
import pty
import re
import struct
import sys
import termios
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import click
from attrs import frozen
from click.testing import CliRunner

import runai_async
from runai_async.cli.app import app
from runai_async.testing import FakeControlPlane

# Imported now, the commands are frozen by conftest too, so that the collection after each test stays cheap.
for name in app.list_commands(click.Context(app)):
    app.get_command(click.Context(app), name)


@frozen
class Ran:
    """How a command ended."""

    status: int
    out: str
    err: str


def environment(control_plane: FakeControlPlane | None, **more: str) -> dict[str, str]:
    """Return an environment with the address and token of the control plane, and nothing else set."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("RUNAI_")}
    variables |= {"HOME": "/nonexistent", "PYTHONPATH": str(Path(runai_async.__file__).parents[1])}
    variables |= {"COLUMNS": "80", "LINES": "24"}
    if control_plane is not None:
        variables |= {"RUNAI_BASE_URL": control_plane.url, "RUNAI_TOKEN": control_plane.token}
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        variables.pop(name, None)
    variables.pop("PYTHONDONTWRITEBYTECODE", None)  # a command starts as it does for users, from byte code
    return variables | more


async def ran(control_plane: FakeControlPlane | None, *args: str, stdin: str = "", **env: str) -> Ran:
    """Run a command in a thread; its stdout is not a terminal."""
    runner = CliRunner()
    needed = environment(control_plane, **env)
    full = {name: needed.get(name) for name in os.environ.keys() | needed.keys()}
    result = await asyncio.to_thread(runner.invoke, app, args, env=full, input=stdin, prog_name="runai-async")
    return Ran(result.exit_code, result.stdout, result.stderr)


@asynccontextmanager
async def started(
    control_plane: FakeControlPlane | None, *args: str, env: Mapping[str, str] | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start a command as a process of its own, with pipes."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "runai_async",
        *args,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(control_plane, **(env or {})),
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def finished(process: asyncio.subprocess.Process) -> Ran:
    """Return how a process ended."""
    out, err = await process.communicate()
    assert process.returncode is not None
    return Ran(process.returncode, out.decode(), err.decode())


async def polled(control_plane: FakeControlPlane, times: int = 2) -> None:
    """Wait for more list requests: when the second begins, the first response has been processed."""

    def count() -> int:
        return sum(request.path.endswith("/revisions") for request in control_plane.requests)

    goal = count() + times
    while count() < goal:
        await asyncio.sleep(0.002)


def without_styles(text: str) -> str:
    return re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", text)


def read_rest(descriptor: int, into: bytearray) -> None:
    os.set_blocking(descriptor, False)
    try:
        while chunk := os.read(descriptor, 65536):
            into.extend(chunk)
    except OSError:
        pass


Command = str | tuple[str, Mapping[str, str]]
"""The arguments of a command, and variables of its own."""


def in_turn(*commands: Command) -> Sequence[str]:
    """Return a command line that runs commands one after the other, as a process is slow to start.

    After each, its exit status is written to stdout and stderr.
    """
    pairs = [(command, {}) if isinstance(command, str) else command for command in commands]
    return [sys.executable, "-c", _IN_TURN, json.dumps(pairs)]


_IN_TURN = """
import json, os, sys
from runai_async.cli.app import app
before = dict(os.environ)
for args, variables in json.loads(sys.argv[1]):
    os.environ.clear()
    os.environ.update(before | variables)
    try:
        app(args.split(), prog_name="runai-async")
    except SystemExit as ended:
        status = ended.code
        for stream in (sys.stderr, sys.stdout):
            print(f"\\n== {status}", file=stream, flush=True)
sys.exit(status)
"""


async def on_terminal(control_plane: FakeControlPlane, *commands: Command) -> list[Ran]:
    """Run commands, one after the other, on a pseudo-terminal of 80 by 24; return how each ended."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = await asyncio.create_subprocess_exec(
        *in_turn(*commands),
        stdin=theirs,
        stdout=theirs,
        stderr=asyncio.subprocess.PIPE,
        env=environment(control_plane, TERM="xterm-256color"),
    )
    os.close(theirs)
    written = bytearray()

    def read() -> None:
        try:
            written.extend(os.read(ours, 65536))
        except OSError:  # the other end is closed
            asyncio.get_running_loop().remove_reader(ours)

    asyncio.get_running_loop().add_reader(ours, read)
    _, err = await process.communicate()
    asyncio.get_running_loop().remove_reader(ours)
    read_rest(ours, written)
    os.close(ours)
    outs, errs = (re.split(r"\n== (\d+)\n", text.decode().replace("\r\n", "\n")) for text in (written, err))
    return [
        Ran(int(status), *texts) for status, *texts in zip(outs[1::2], outs[::2], errs[::2], strict=False)
    ]
