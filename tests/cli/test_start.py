"""A command imports what it needs and nothing else, so that it starts fast."""

import asyncio
import json
import sys
from collections.abc import Sequence

import click
import pytest
from support.cli import environment, finished

from runai_async.cli import views
from runai_async.cli.app import COMMANDS, app
from runai_async.testing import FakeControlPlane

CALLS = """
import json, sys
import runai_async
known = set(sys.modules)
from runai_async.__main__ import main
for args in json.loads(sys.argv[1]):
    sys.argv[1:] = args.split()
    try:
        main()
    except SystemExit as ended:
        assert ended.code == 0, args
print(json.dumps(sorted(set(sys.modules) - known)), file=sys.stderr)
"""
COMMANDS_OF_API = ["revisions list chat", "revisions count chat", "timeline chat"]


async def imported(control_plane: FakeControlPlane | None, calls: Sequence[str]) -> set[str]:
    """Return the modules that a process has imported after it ran some commands."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", CALLS, json.dumps(calls)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(control_plane),
    )
    ended = await finished(process)
    assert ended.status == 0, ended.err
    assert ended.out
    return set(json.loads(ended.err))


@pytest.mark.parametrize("option", ["--version", "--help"])
async def test_version_and_help_import_no_command_and_no_large_library(option: str) -> None:
    modules = await imported(None, [option])
    assert {name for name in modules if name.startswith("runai_async.cli.")} == {
        f"runai_async.cli.{name}"
        for name in [
            "app",
            "diagnostics",
            "exits",
            "groups",
            "placeholder",
            "signals",
            "stderr",
            "stdout",
            "text",
            "wording",
        ]
    }
    assert modules & {"aiohttp", "asyncio", "cattrs", "msgspec", "rich"} == set()


async def test_a_command_in_a_pipe_does_not_import_rich() -> None:
    async with FakeControlPlane() as control_plane:
        control_plane.add_revision(control_plane.add_workload("chat"), "Running")
        calls = [f"{command} -o {form}" for command in COMMANDS_OF_API for form in ("json", "jsonl")]
        calls += [f"watch chat -n 1 -o {form}" for form in ("json", "jsonl", "cloudevents")]
        lists = ["revisions list chat", "clusters list", "workloads list -o wide", "revisions get chat-00001"]
        modules = await imported(control_plane, [*calls, *lists, "revisions count chat"])
    assert {"runai_async.cli.commands.watch", "runai_async.cli.views.output"} <= modules
    assert {name for name in modules if name.partition(".")[0] == "rich"} == set()


async def test_the_help_of_every_command_is_printed_without_what_draws() -> None:
    modules = await imported(None, [f"{name} --help" for name in COMMANDS])
    assert {f"runai_async.cli.commands.{name}" for name in COMMANDS} <= modules
    assert modules & {"rich", "yaml", "prometheus_client"} == set()


@pytest.mark.parametrize(("name", "short_help"), COMMANDS.items())
def test_the_short_help_in_the_list_of_commands_is_that_of_the_command(name: str, short_help: str) -> None:
    command = app.get_command(click.Context(app), name)
    assert command is not None
    assert command.get_short_help_str(limit=200) == short_help


def test_only_modules_of_the_views_are_imported_on_demand() -> None:
    with pytest.raises(AttributeError, match=r"module 'runai_async\.cli\.views' has no attribute 'nothing'"):
        views.nothing  # noqa: B018
