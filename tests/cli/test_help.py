"""The help: every command has examples, and they work."""

import asyncio
import re
import shlex
import signal
import string
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from support.cli import Ran, environment, finished, ran, started

from runai_async.cli.app import app
from runai_async.testing import FakeControlPlane

COMMANDS = [
    "clusters",
    "clusters list",
    "completion",
    "demo",
    "describe",
    "revisions",
    "revisions list",
    "revisions count",
    "revisions get",
    "revisions diff",
    "watch",
    "rollout",
    "rollout history",
    "rollout status",
    "timeline",
    "workloads",
    "workloads list",
    "exporter",
    "fake",
    "print",
    "print alerts",
    "print dashboard",
    "print manifest",
]


def leaves(group: click.Group, path: tuple[str, ...] = ()) -> list[str]:
    """Return the names of all commands."""
    ctx = click.Context(group)
    found: list[str] = []
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        assert command is not None
        found.append(" ".join([*path, name]))
        if isinstance(command, click.Group):
            found += leaves(command, (*path, name))
    return found


def examples(text: str) -> list[str]:
    """Return the lines of the examples in a help text."""
    _, _, after = text.partition("\n  Examples:\n")
    return [line.strip() for line in after.splitlines() if line.strip()]


def arguments(line: str, env: Mapping[str, str]) -> list[str]:
    """Return the arguments of the single call of `runai-async` in a line for a shell."""
    (call,) = re.findall(r"runai-async ([^|&>)]*)", re.sub(r"\$\{\w+:\+([^}]*)\}", r"\1", line))
    return [string.Template(part).substitute(env) for part in shlex.split(call)]


def test_the_commands_are_those_tested_here() -> None:
    assert isinstance(app, click.Group)
    assert sorted(leaves(app)) == sorted(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_examples_and_fits_80_columns(command: str) -> None:
    result = CliRunner().invoke(app, [*command.split(), "--help"], prog_name="runai-async", terminal_width=80)
    assert result.exit_code == 0
    assert examples(result.output)
    assert [line for line in result.output.splitlines() if len(line) > 80] == []
    assert f"runai-async {command}" in examples(result.output)[0]


async def test_the_root_s_help_lists_exit_statuses_and_completion() -> None:
    result = await ran(None, "--help")
    assert "  3    timeout\n" in result.out
    assert 'eval "$(runai-async completion bash)"' in result.out
    without_arguments = await ran(None)
    assert (without_arguments.status, without_arguments.out) == (2, "")
    assert without_arguments.err == result.out


@pytest.mark.parametrize("command", sorted(set(COMMANDS) - {"demo", "exporter", "fake"}))
async def test_the_examples_work(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines = examples((await ran(None, *command.split(), "--help")).out)
    async with FakeControlPlane() as control_plane:
        workload_id = control_plane.add_workload("my-llm")
        old, new = "3f2a0000-1111-4111-8111-111111111111", control_plane.add_revision(workload_id, "Running")
        control_plane.add_revision(
            workload_id, "Running", id=old, created_at=datetime(2026, 1, 1, tzinfo=UTC)
        )
        names = {"WORKLOAD": workload_id, "REVISION": new, "OLD": old, "NEW": new, "PREFIX": old[:8]}
        for line in lines:
            if line.startswith("# "):
                continue
            more = ["--count", "1", "--interval", "20ms"] if "watch" in line else []
            result = await ran(control_plane, *arguments(line, {**names, "AFTER": old}), *more)
            assert result.status == 0, (line, result)
            assert result.out or "--svg" in line or "--deleted" in line or "--phase" in line, line


@pytest.mark.parametrize("first", [True, pytest.param(False, marks=pytest.mark.slow)])
async def test_the_recipe_for_a_pipeline_works_on_the_first_rollout_too(first: bool) -> None:
    """A shell runs it unchanged, with a function instead of the last call."""
    lines = examples((await ran(None, "rollout", "status", "--help")).out)
    recipe = lines[next(number for number, line in enumerate(lines) if line.startswith("AFTER=")) :]
    command = f"{shlex.quote(sys.executable)} -m runai_async"
    script = [recipe[0].replace("runai-async", command), 'runai-async() { echo "$@"; }', *recipe[1:]]
    async with FakeControlPlane() as control_plane:
        workload_id = control_plane.add_workload("my-llm")
        if not first:
            control_plane.add_revision(workload_id, "Running")
        after = "" if first else " --after=my-llm-00001"
        process = await asyncio.create_subprocess_exec(
            "bash",
            "-euo",
            "pipefail",
            "-c",
            "\n".join(script),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment(control_plane, WORKLOAD=workload_id),
        )
        ended = await finished(process)
    assert ended == Ran(0, f"rollout status {workload_id} --timeout 10m{after}\n", "")


@pytest.mark.parametrize("which", [slice(-1, None), pytest.param(slice(-1), marks=pytest.mark.slow)])
async def test_the_examples_of_the_exporter_work(which: slice) -> None:
    """They run until they are stopped, and their port may be in use here."""
    lines = examples((await ran(None, "exporter", "--help")).out)
    async with FakeControlPlane() as control_plane:
        for name in ("chat", "embed"):
            control_plane.add_revision(control_plane.add_workload(name), "Running")

        async def tried(line: str) -> None:
            words = [word.replace(":9464", ":0") for word in arguments(line, {})]
            listen = [] if "--listen" in words else ["--listen", "127.0.0.1:0"]
            async with started(control_plane, *words, *listen) as process:
                assert process.stderr is not None
                assert (await process.stderr.readline()).startswith(b"serving http://"), line
                process.send_signal(signal.SIGINT)
                assert (await finished(process)).status == 130

        await asyncio.gather(*(tried(line) for line in lines[which]))


@pytest.mark.parametrize("command", ["", *COMMANDS])
async def test_h_is_short_for_help(command: str) -> None:
    assert await ran(None, *command.split(), "-h") == await ran(None, *command.split(), "--help")


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (
            "watch",
            "Give up after this time without a response, also at the start. [default: 15m]",
        ),
        ("watch", "A name is followed: when its workload is deleted"),
        ("watch", "[default: 10s, or 60s for more than 500]"),
        ("rollout status", "Give up after this time without a response, also at the start."),
        ("rollout status", "a workload without revisions is counted as such and not waited for"),
        ("describe", "cause why the newest one does not serve"),
        (
            "exporter",
            "three intervals (with --all at least a minute, with names 10 seconds) and a deadline.",
        ),
        ("demo", "after an outage, those of changes that it hid are earlier than the line above them."),
        ("", "5 any other API error (such as 404), unwritable output, or a bug"),
        ("exporter", "It waits for the end of an outage, however long that takes, unless --max-outage"),
    ],
)
async def test_the_help_explains_what_is_not_obvious(command: str, text: str) -> None:
    assert text in " ".join((await ran(None, *command.split(), "--help")).out.split())
