"""Completion in a shell: the scripts, and the names that TAB finds."""

import asyncio
import json
import shutil
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
from support.cli import Ran, environment, finished, ran

from runai_async.testing import FakeControlPlane, FaultKind

OTHER = "7d6e6a0a-5f0a-4a4e-9a5b-0c7a1f1f6b1d"


@pytest.fixture
async def control_plane() -> AsyncIterator[FakeControlPlane]:
    async with FakeControlPlane() as control_plane:
        chat = control_plane.add_workload("chat")
        control_plane.add_workload("chat-b", project_id=OTHER, project_name="team-b")
        control_plane.add_workload("embed")
        control_plane.add_workload("chat-job", type="Training")
        for _ in range(2):
            control_plane.add_revision(chat, "Running")
        yield control_plane


CODE = """
import sys
from runai_async.__main__ import main
try:
    main()
finally:
    print(*sys.modules, file=sys.stderr)
"""


async def tab(line: str, env: dict[str, str]) -> tuple[list[str], set[str]]:
    """Press TAB at the end of a line; return the completions, and the packages that were imported for it."""
    words = line.split(" ")
    asked = {"_RUNAI_ASYNC_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": f"{len(words) - 1}"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", CODE),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=env | asked,
    )
    ended = await finished(process)
    assert (ended.status, ended.err.count("\n")) == (0, 1), ended.err
    found = [item.removeprefix("plain,") for item in ended.out.split()]
    return found, {name.partition(".")[0] for name in ended.err.split()}


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("runai-async rollout status chat embed --after c", ["chat-00001", "chat-00002"]),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (
                ("runai-async revisions list ch", ["chat", "chat-b"]),
                ("runai-async revisions list -p tea", ["team-a", "team-b"]),
                ("runai-async revisions get chat-0", ["chat-00001", "chat-00002"]),
                ("runai-async watch chat e", ["embed"]),
                ("runai-async rev", ["revisions"]),
                ("runai-async revisions l", ["list"]),
                ("runai-async revisions list -p team-b ", ["chat-b"]),
                ("runai-async revisions list x --no", ["--no-headers"]),
                ("runai-async revisions get em", []),
                ("runai-async revisions get ch", ["chat-", "chat-b-"]),
                ("runai-async revisions get --workload e", ["embed"]),
                ("runai-async revisions diff chat ", ["chat-00001", "chat-00002"]),
                ("runai-async revisions diff chat chat-00001 c", ["chat-00001", "chat-00002"]),
                ("runai-async rollout status chat --after chat-0", ["chat-00001", "chat-00002"]),
                ("runai-async rollout status chat e", ["embed"]),
                ("runai-async rollout status --all -p team-", ["team-a", "team-b"]),
                ("runai-async rollout history -p team-b ", ["chat-b"]),
                ("runai-async exporter c", ["chat", "chat-b"]),
                ("runai-async timeline c", ["chat", "chat-b"]),
                ("runai-async watch --filter c", []),
                ("runai-async completion z", ["zsh"]),
            )
        ),
    ],
)
async def test_a_tab_finds_commands_options_and_names(
    control_plane: FakeControlPlane, line: str, found: list[str]
) -> None:
    completions, packages = await tab(line, environment(control_plane))
    assert completions == found
    assert packages & {"aiohttp", "rich", "yaml", "tenacity"} == set()


NAMES: list[tuple[str, dict[str, Any], str, list[str]]] = [
    ("workloads", {}, "ch", ["chat", "chat-b"]),
    ("workload", {"project": "team-b"}, "", ["chat-b"]),
    ("project", {}, "tea", ["team-a", "team-b"]),
    ("revision", {}, "ch", ["chat-", "chat-b-"]),
    ("revision", {}, "chat-0", ["chat-00001", "chat-00002"]),
    ("revision", {"workload": "embed"}, "", []),
    ("after", {"workloads": ["chat", "embed"]}, "c", ["chat-00001", "chat-00002"]),
    ("filters", {}, "c", []),
    ("workloads", {"base_url": "http://127.0.0.1:1"}, "c", []),
]
"""The name of a parameter, the values of those before it, the beginning of its own, and how it may go on."""


async def test_names_are_those_of_the_parameter(control_plane: FakeControlPlane) -> None:
    """In one process, as each is slow to start, and of its own, as TAB blocks the loop."""
    code = (
        "import json, sys\n"
        "from runai_async.cli.completing import names_for\n"
        "print(json.dumps([names_for(*case) for case in json.loads(sys.argv[1])]))"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code, json.dumps([case[:3] for case in NAMES])),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(control_plane),
    )
    ended = await finished(process)
    assert (ended.status, ended.err) == (0, "")
    assert json.loads(ended.out) == [found for *_, found in NAMES]


async def test_a_tab_uses_the_credentials_of_the_environment(control_plane: FakeControlPlane) -> None:
    env = environment(
        control_plane,
        RUNAI_TOKEN="",
        RUNAI_CLIENT_ID=control_plane.client_id,
        RUNAI_CLIENT_SECRET=control_plane.client_secret,
    )
    assert (await tab("runai-async watch e", env))[0] == ["embed"]


async def test_a_tab_uses_the_options_before_it(control_plane: FakeControlPlane) -> None:
    line = f"runai-async watch --base-url {control_plane.url} e"
    assert (await tab(line, environment(control_plane, RUNAI_BASE_URL="")))[0] == ["embed"]


@pytest.mark.parametrize(
    "env",
    [
        {"RUNAI_TOKEN": "refused"},
        pytest.param({"RUNAI_BASE_URL": ""}, marks=pytest.mark.slow),
        pytest.param({"RUNAI_BASE_URL": "nonsense"}, marks=pytest.mark.slow),
        pytest.param({"RUNAI_BASE_URL": "http://127.0.0.1:1"}, marks=pytest.mark.slow),
    ],
    ids=["token", "nothing", "nonsense", "nobody"],
)
async def test_a_tab_is_silent_about_what_is_wrong(
    control_plane: FakeControlPlane, env: dict[str, str]
) -> None:
    assert (await tab("runai-async watch ", environment(control_plane, **env)))[0] == []


@pytest.mark.parametrize(
    "status", [302, *(pytest.param(fault, marks=pytest.mark.slow) for fault in ("bad_json", "reset"))]
)
async def test_a_tab_is_silent_about_a_server_that_fails(
    control_plane: FakeControlPlane, status: int | FaultKind
) -> None:
    if isinstance(status, str):
        control_plane.fault(status)
    else:
        control_plane.fail_next(1, status, headers={"Location": "http://127.0.0.1:1/"})
    assert (await tab("runai-async watch ", environment(control_plane)))[0] == []


async def test_a_tab_does_not_wait_for_a_server_that_hangs(control_plane: FakeControlPlane) -> None:
    control_plane.fault("hang")
    async with asyncio.timeout(20):
        assert (await tab("runai-async watch ", environment(control_plane)))[0] == []


@pytest.mark.parametrize("more", [{}, {"COMP_WORDS": "runai-async 'un", "COMP_CWORD": "x"}])
async def test_a_shell_that_asks_in_an_unknown_way_gets_nothing(more: dict[str, str]) -> None:
    assert await ran(None, _RUNAI_ASYNC_COMPLETE="bash_complete", **more) == Ran(0, "", "")


async def test_all_pages_are_read(control_plane: FakeControlPlane) -> None:
    for number in range(500):
        control_plane.add_workload(f"many-{number:03d}")
    completions, _ = await tab("runai-async timeline many-49", environment(control_plane))
    assert completions == [f"many-{number}" for number in range(490, 500)]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
async def test_the_script_of_a_shell_is_printed(shell: str) -> None:
    result = await ran(None, "completion", shell)
    assert (result.status, result.err) == (0, "")
    assert f"_RUNAI_ASYNC_COMPLETE={shell}_complete" in result.out


@pytest.mark.skipif(shutil.which("bash") is None, reason="requires bash")
async def test_bash_accepts_its_script() -> None:
    script = (await ran(None, "completion", "bash")).out
    process = await asyncio.create_subprocess_exec(
        *("bash", "-euc", f"{script}\ncomplete -p runai-async"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(None),
    )
    ended = await finished(process)
    assert (ended.status, ended.out.split()[-1]) == (0, "runai-async")


async def test_a_shell_that_is_not_known_is_wrong_usage() -> None:
    result = await ran(None, "completion", "tcsh")
    assert isinstance(result, Ran)
    assert (result.status, result.err.count("\n")) == (2, 1)


async def test_a_name_that_is_not_printable_is_not_completed(control_plane: FakeControlPlane) -> None:
    for name in ("evil\x1b[31m", "evil\u202e", "evil-twin"):
        control_plane.add_workload(name)
    assert (await tab("runai-async watch ev", environment(control_plane)))[0] == ["evil-twin"]
