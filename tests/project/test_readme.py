"""Every example in the README runs and does what the text beside it says."""

import ast
import asyncio
import os
import re
import signal
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from inspect import isawaitable
from pathlib import Path
from types import CodeType
from typing import Any

import click
import pytest
from support.cli import polled, ran

import runai_async
from runai_async import RunaiClient
from runai_async.cli.app import app
from runai_async.exporter import Metrics, serving
from runai_async.telemetry import SpanHook
from runai_async.testing import FakeControlPlane

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python(?: (\w+))?\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
EXAMPLES = {name or "first": code for name, code in BLOCKS}
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
"""The time of a failure that counts at once, because it is old."""
TRIED = {"first", "calls", "rollout", "fleet", "relaxed", "state", "daemon", "metrics", "testing"}


def test_every_example_has_a_test_here() -> None:
    assert len(EXAMPLES) == len(BLOCKS)
    assert set(EXAMPLES) == TRIED


def namespace(**names: Any) -> dict[str, Any]:
    """Return the names that an example may use."""
    modules = {"asyncio": asyncio, "pytest": pytest, "signal": signal, "Path": Path}
    public = {name: getattr(runai_async, name) for name in runai_async.__all__}
    return {**public, **modules, "FakeControlPlane": FakeControlPlane, **names}


def compiled(name: str, **replaced: str) -> CodeType:
    code = EXAMPLES[name]
    for old, new in replaced.items():
        assert old in code
        code = code.replace(old, new)
    result: CodeType = compile(code, f"README: {name}", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    return result


async def run(code: CodeType, names: dict[str, Any]) -> None:
    result = eval(code, names)
    if isawaitable(result):
        await result


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that another task does over a real socket."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def in_background(work: Awaitable[None]) -> asyncio.Task[None]:
    async def wrapper() -> None:
        await work

    return asyncio.create_task(wrapper())


async def ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.result()


async def test_the_first_example(
    control_plane: FakeControlPlane, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RUNAI_BASE_URL", control_plane.url)
    monkeypatch.setenv("RUNAI_TOKEN", control_plane.token)
    workload_id = control_plane.add_workload(name="chat")
    revision_id = control_plane.add_revision(workload_id, "Pending")
    names = namespace(__name__="readme")
    begin = 'asyncio.run(main("5b7ad5a4-4f2c-4c0a-b63b-0d4c1e9f7c11"))'
    await run(compiled("first", **{"interval=10": "interval=0.01", begin: ""}), names)
    task = await in_background(names["main"](workload_id))
    printed = ""

    def shows(text: str) -> bool:
        nonlocal printed
        printed += capsys.readouterr().out
        return text in printed

    await until(lambda: shows("chat-00001 is Pending"))
    control_plane.set_phase(revision_id, "Failed", "no such image")
    await until(lambda: shows("chat-00001: Pending -> Failed no such image"))
    control_plane.delete_revision(revision_id)
    await until(lambda: shows("chat-00001 was deleted"))
    await ended(task)


async def test_the_calls(control_plane: FakeControlPlane, capsys: pytest.CaptureFixture[str]) -> None:
    workload_id = control_plane.add_workload(name="chat")
    control_plane.delete_revision(
        control_plane.add_revision(workload_id, images=["llm:1"], environment_variables={})
    )
    revision_id = control_plane.add_revision(
        workload_id, "Running", images=["llm:2"], environment_variables={}
    )
    ids = {"workload_id": workload_id, "revision_id": revision_id}
    names = namespace(**ids, client_id=control_plane.client_id, client_secret=control_plane.client_secret)
    await run(compiled("calls", **{"https://acme.run.ai": control_plane.url}), names)

    assert capsys.readouterr().out == "chat-00002 Running 2\nimages[0] llm:1 -> llm:2\n"
    assert names["count"] == 1


@pytest.mark.parametrize(
    ("phase", "says"),
    [
        ("Running", "chat-00002 serves with 2 pods\n"),
        ("Failed", "the rollout failed: revision chat-00002 "),
    ],
)
async def test_the_rollout(
    control_plane: FakeControlPlane,
    runai: RunaiClient,
    capsys: pytest.CaptureFixture[str],
    phase: str,
    says: str,
) -> None:
    workload_id = control_plane.add_workload(name="chat")
    control_plane.add_revision(workload_id, "Running")
    change = f"change('{phase}')"
    code = compiled("rollout", **{"...  #": f"{change}  #"})
    names = namespace(
        runai=runai,
        workload_id=workload_id,
        change=lambda phase: control_plane.add_revision(workload_id, phase, phase_updated_at=LONG_AGO),
    )
    async with asyncio.timeout(10):
        await run(code, names)

    assert capsys.readouterr().out.startswith(says)


async def test_the_fleet(
    control_plane: FakeControlPlane, runai: RunaiClient, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = [
        control_plane.add_revision(control_plane.add_workload(name=f"llm-{n}"), "Pending") for n in range(5)
    ]
    control_plane.add_workload(type="Workspace")
    code = compiled("fleet", **{"interval=30": "interval=0.05"})
    task = await in_background(run(code, namespace(runai=runai)))
    await until(lambda: sum(r.path.endswith("/revisions") for r in control_plane.requests) > 10)
    control_plane.set_phase(ids[3], "Failed", "no more memory")
    await until(lambda: "llm-3-00001 no more memory\n" in capsys.readouterr().out)
    await ended(task)


async def test_the_state(
    control_plane: FakeControlPlane, runai: RunaiClient, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = [control_plane.add_workload(name=f"llm-{n}") for n in range(3)]
    for key in ids:
        control_plane.add_revision(key, "Failed" if key == ids[1] else "Running")
    async with runai.watch_fleet(ids, interval=0.05) as fleet:
        for _ in ids:
            await anext(fleet)
        saved = fleet.checkpoint()
    names = namespace(runai=runai, workload_ids=ids, saved=saved)
    task = await in_background(run(compiled("state"), names))  # nothing has changed since
    await until(lambda: capsys.readouterr().out == "3 workloads; failed: llm-1-00001\n")
    await ended(task)


async def test_the_metrics(control_plane: FakeControlPlane, runai: RunaiClient) -> None:
    workload_id = control_plane.add_workload(name="chat")
    revision_id = control_plane.add_revision(workload_id, "Running")
    metrics = Metrics()
    async with runai.watch_fleet([workload_id], interval=0.05) as fleet:
        names = namespace(metrics=metrics, fleet=fleet, serving=serving)
        task = await in_background(run(compiled("metrics", **{"9464": "0"}), names))
        phase = {"workload_id": workload_id, "workload": "", "revision": "chat-00001", "phase": "Running"}
        labels = {**phase, "revision_id": revision_id, "project": ""}
        await until(lambda: metrics.registry.get_sample_value("runai_revision_phase", labels) == 1)
        await ended(task)


async def test_the_relaxed_fleet(
    control_plane: FakeControlPlane, runai: RunaiClient, capsys: pytest.CaptureFixture[str]
) -> None:
    for project in ("team-a", "team-b"):
        workload_id = control_plane.add_workload(name=f"llm-of-{project}", project_name=project)
        control_plane.add_revision(workload_id, "Running")
    code = compiled("relaxed", **{"discovery_interval=5": "interval=0.05, discovery_interval=5"})
    task = await in_background(run(code, namespace(runai=runai)))
    await until(lambda: "llm-of-team-a added learning\n" in capsys.readouterr().out)
    await ended(task)
    assert "projectName==team-a" in control_plane.requests[0].query["filterBy"]


async def test_the_daemon(
    control_plane: FakeControlPlane, runai: RunaiClient, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workload_id = control_plane.add_workload(name="chat")
    revision_id = control_plane.add_revision(workload_id, "Pending")
    state = tmp_path / "state.json"
    names = namespace()
    await run(compiled("daemon"), names)

    async def one_life(expected: str) -> None:
        task = await in_background(names["daemon"](runai, workload_id, state))
        printed = ""

        def shows() -> bool:
            nonlocal printed
            printed += capsys.readouterr().out
            return expected in printed and state.exists()

        await until(shows)
        assert printed.count("\n") == 1
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(5):
            await task

    await one_life("added")
    control_plane.set_phase(revision_id, "Running")
    await one_life("phase_changed")
    asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)


async def test_a_copy_with_other_limits(runai: RunaiClient) -> None:
    (code,) = re.findall(r"`(runai\.with_options\(.*?\))`", README)
    assert isinstance(eval(code, namespace(runai=runai)), RunaiClient)


def test_hooks_for_metrics_and_traces() -> None:
    (code,) = re.findall(r"`RunaiClient\.from_env\((hooks=.*?)\)`", README)
    metrics, options = Metrics(), namespace(SpanHook=SpanHook)
    hooks = eval(f"dict({code})", options | {"metrics": metrics})["hooks"]
    assert (hooks[0], type(hooks[1])) == (metrics.hook, SpanHook)


# --- the command line ---------------------------------------------------------------------------------------

TIMES = re.compile(r"[\d:]{8}\.\d{3}|^ *\d+s|\d+\.\d s|(?<=for )\w+|\w+(?= -> )")


def output(command: str) -> list[str]:
    """Return the lines that the README shows for a command, without the parts that vary."""
    (block,) = re.findall(r"^```console output\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    (shown,) = re.findall(rf"^\$ runai-async {command}\b.*\n((?:[^$].*\n)*)", block, re.MULTILINE)
    return [TIMES.sub("~", line) for line in shown.splitlines()]


def as_in_readme(lines: list[str]) -> list[str]:
    return [TIMES.sub("~", line) for line in lines]


async def test_what_watch_prints(control_plane: FakeControlPlane) -> None:
    workload_id = control_plane.add_workload(name="chat")
    control_plane.add_revision(workload_id, "Running", requested_pods={"number": 2})

    async def change() -> None:
        await polled(control_plane)
        revision_id = control_plane.add_revision(workload_id, "Creating", requested_pods={"number": 2})
        await polled(control_plane)
        control_plane.set_phase(revision_id, "Running")

    task = await in_background(change())
    result = await ran(control_plane, "watch", "chat", "--output", "table", "--interval", "20ms", "-n", "3")
    await task
    assert (result.status, as_in_readme(result.out.splitlines())) == (0, output("watch chat"))


def test_the_commands_are_those_of_the_table() -> None:
    _, _, section = README.partition("## Command line\n")
    table = re.findall(r"^\| `(\w+)[^`]*` \|", section, re.MULTILINE)
    assert sorted(table) == sorted(app.list_commands(click.Context(app)))


async def test_the_test() -> None:
    names = namespace()
    await run(compiled("testing"), names)
    async with asyncio.timeout(20):
        await names["test_my_code_notices_a_failed_rollout"]()
