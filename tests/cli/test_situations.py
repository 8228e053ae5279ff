"""Every command in every situation: on a terminal, with a failing server, a signal, a closed pipe.

A process is slow to start, so one process runs many commands, one after the other. What each command does in
a pipe is tested in a module of its own; wrong input and missing credentials are tested in `test_exits`.
"""

import asyncio
import os
import re
import signal
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from support.cli import environment, finished, in_turn, on_terminal, ran, started, without_styles

from runai_async.testing import FakeControlPlane

OLD, NEW = "3f2a0000-1111-4111-8111-111111111111", "4a2a0000-1111-4111-8111-111111111111"
COMMANDS = {
    "list": "revisions list chat",
    "count": "revisions count chat",
    "get": "revisions get -w chat chat-00002",
    "diff": "revisions diff chat 3f2a chat-00002",
    "rollout": "rollout status chat --interval 20ms",
    "timeline": "timeline chat",
    "watch": "watch chat --interval 20ms --timeout 300ms",
    "watch all": "watch --all --interval 20ms --timeout 300ms",
    "exporter": "exporter chat --listen 127.0.0.1:0",
}


async def furnished(control_plane: FakeControlPlane) -> None:
    """Add a workload with two revisions, each with an image of its own."""
    workload_id = control_plane.add_workload("chat")
    old = datetime(2026, 1, 1, tzinfo=UTC)
    control_plane.add_revision(
        workload_id, "Stopped", id=OLD, created_at=old, phase_updated_at=old, images=["llm:1"]
    )
    control_plane.add_revision(workload_id, "Running", id=NEW, images=["llm:2"])


async def process_of(
    control_plane: FakeControlPlane, commands: Sequence[str], stdout: int
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *in_turn(*commands),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=stdout,
        stderr=asyncio.subprocess.PIPE,
        env=environment(control_plane, TERM="xterm-256color"),
    )


# --- a terminal ---------------------------------------------------------------------------------------------


async def test_on_a_terminal_every_command_has_its_table_or_view() -> None:
    names = ["list", "count", "get", "diff", "rollout", "timeline", "watch", "watch all"]
    async with FakeControlPlane() as control_plane:
        await furnished(control_plane)
        shown = dict(
            zip(names, await on_terminal(control_plane, *(COMMANDS[name] for name in names)), strict=True)
        )
    hidden = "*** may hide a secret: --show-secrets shows the values\n"
    expected = dict.fromkeys(names, (0, "")) | {"diff": (0, hidden)}
    expected |= dict.fromkeys(["watch", "watch all"], (3, "Error: timed out after 300ms\n"))
    assert {name: (ran.status, ran.err) for name, ran in shown.items()} == expected
    for name, text in {
        "list": r"NAME +PHASE .*\nchat-00002  Running  2/1-4 ",
        "count": r"^2$",
        "get": r"Phase +Running *$",
        "diff": r"images\[0\] +llm:1 +llm:2",
        "rollout": r"the rollout is done: chat-00002 serves",
        "timeline": r"chat-00001  █+",
        "watch": r"Revisions of chat\nWORKLOAD +NEWEST +PHASE .*\nchat +00002 +Running +00002 +2/1-4 ",
        "watch all": r"Revisions of all inference workloads\nWORKLOAD ",
    }.items():
        assert re.search(text, without_styles(shown[name].out), re.MULTILINE), (name, shown[name])
    assert "\x1b[32mRunning" in shown["list"].out


# --- the server fails halfway -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - {"exporter"}))
async def test_a_server_that_fails_halfway_is_status_4_and_one_line(name: str) -> None:
    """Only the first request, for the workloads, gets a response."""
    async with FakeControlPlane() as control_plane:
        await furnished(control_plane)
        control_plane.fault("reset", path="/revisions", times=10_000)
        brief = ["--deadline", "100ms"]
        if name.startswith(("watch", "rollout")):
            brief += ["--max-outage", "100ms"]
        if name == "watch all":
            brief += ["--count", "5"]
        result = await ran(control_plane, *COMMANDS[name].replace(" --timeout 300ms", "").split(), *brief)
        assert any(request.path.endswith("/workloads") for request in control_plane.requests)
    assert result.status == 4
    *warnings, error = result.err.splitlines()
    assert error.startswith("Error: ")
    assert [line for line in warnings if not line.startswith("runai-async: warning: ")] == []


# --- a signal halfway ---------------------------------------------------------------------------------------


async def test_a_signal_ends_every_command_halfway_without_a_traceback() -> None:
    signals = {signal.SIGINT: 130, signal.SIGTERM: 143}
    names = [name for name in COMMANDS for _ in signals]
    async with FakeControlPlane() as control_plane:
        await furnished(control_plane)
        control_plane.fault("hang", times=10_000)
        process = await process_of(control_plane, [COMMANDS[name] for name in names], asyncio.subprocess.PIPE)
        for name, number in zip(names, list(signals) * len(COMMANDS), strict=True):
            asked = len(control_plane.requests)
            async with asyncio.timeout(20):
                while len(control_plane.requests) == asked and process.returncode is None:
                    await asyncio.sleep(0.002)
            process.send_signal(number)
            assert process.stdout is not None
            assert await process.stdout.readline() == b"\n"
            is_usual = (name, number) == ("exporter", signal.SIGTERM)
            status = 0 if is_usual else signals[number]
            assert (await process.stdout.readline()).decode() == f"== {status}\n"
        ended = await finished(process)
    said = [
        line for line in ended.err.splitlines() if line and not line.startswith(("serving http://", "== "))
    ]
    # Whoever ends a wait may think that this ends the rollout, too.
    assert (ended.out, said) == ("", ["runai-async: cancelled after 0s; the rollout goes on"] * 2)


async def test_a_signal_ends_the_demo_and_the_fake_halfway_and_silently() -> None:
    async with started(None, "demo") as demo, started(None, "fake") as fake:
        for process, number, status in ((demo, signal.SIGTERM, 143), (fake, signal.SIGTERM, 0)):
            assert process.stdout is not None
            assert await process.stdout.readline()
            process.send_signal(number)
            ended = await finished(process)
            assert (ended.status, ended.err) == (status, "")


# --- a pipe whose reader goes -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["list", pytest.param("timeline", marks=pytest.mark.slow)])
async def test_a_reader_that_goes_ends_a_command_silently(name: str) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    async with FakeControlPlane() as control_plane:
        await furnished(control_plane)
        process = await process_of(control_plane, [COMMANDS[name]], theirs)
        os.close(theirs)
        _, err = await process.communicate()
    assert (process.returncode, err.decode()) == (141, "\n== 141\n")
