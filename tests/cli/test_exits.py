"""What a command prints, and its exit status, when something is wrong; where secrets come from."""

import asyncio
import contextlib
import json
import os
import pty
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from attrs import evolve
from support.cli import Ran, environment, finished, polled, ran, started
from support.ports import lasting_port

import runai_async
from runai_async.cli.options import NON_EMPTY
from runai_async.testing import FakeControlPlane

NO_WORKLOAD = "5d6e6a0a-5f0a-4a4e-9a5b-0c7a1f1f6b1d"


async def test_version() -> None:
    assert await ran(None, "--version") == Ran(0, f"runai-async, version {runai_async.__version__}\n", "")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["wach"], 'no such command "wach" (did you mean "watch"?)\n'),
        (["print", "manifst"], 'no such command "manifst" (did you mean "manifest"?)\n'),
        (["revision"], 'no such command "revision" (did you mean "revisions"?)\n'),
        (
            ["revisions", "lst"],
            'no such command "lst" (did you mean "list"?)\n',
        ),
        (["xyz"], 'no such command "xyz"; see'),
        (["--nonsense"], 'no such option "--nonsense"; see runai-async --help'),
        (["watch", "x", "--timout", "5s"], 'no such option "--timout" (did you mean "--timeout"?)\n'),
        (["watch", "x", "--timeout"], "option '--timeout' requires an argument"),
        (["watch", "x", "--emit", "y"], "--emit: 'y' is not one of 'updated', 'synced'"),
        (["revisions", "count", "x", "y"], "got unexpected extra argument (y); see"),
        (["revisions", "list"], "missing argument WORKLOAD; see runai-async revisions list --help"),
        (["watch"], "name the workloads to watch, or give --all; see runai-async watch --help"),
        (["exporter"], "name the workloads to export, or give --all; see runai-async exporter --help"),
        (["exporter", "--all", "x"], "give workloads or --all, not both; see runai-async exporter --help"),
        (["watch", "--all", "x"], "give workloads or --all, not both; see runai-async watch --help"),
        (["watch", "x", "--filter", "name==x"], "--filter requires --all; see runai-async watch --help"),
        (
            ["watch", "x", "--relaxed-interval", "60s"],
            "--relaxed-interval requires --all; see runai-async watch --help",
        ),
        (["watch", "x", "--shard", "0/2"], "--shard requires --all; see runai-async watch --help"),
        (
            ["exporter", "--all", "--shard", "2/2"],
            '--shard: "2/2" is not a shard: write 0/4 for the first of four; see runai-async exporter --help',
        ),
        (
            ["watch", "--all", "--relaxed-interval", "9s"],
            "--relaxed-interval (9s) must be at least --interval (10s); see runai-async watch --help",
        ),
        (
            ["exporter", "--all", "--relaxed-interval", "29s"],
            "--relaxed-interval (29s) must be at least --interval (30s); see runai-async exporter --help",
        ),
        (["watch", "x", "--type", "training"], "--type requires --all; see runai-async watch --help"),
        (
            ["watch", "x", "--timeout", "10 minutes"],
            '--timeout: "10 minutes" is not a duration: write it like 90s',
        ),
        (["watch", "x", "--timeout", "0"], "a duration must be more than 0"),
        (
            ["revisions", "get", "abc"],
            '"abc" is neither a UUID nor a name like llm-00012: give the --workload to search',
        ),
        (["watch", "x", "--token", "secret"], 'no such option "--token" (did you mean "'),
        (["watch", "x", "--token-file", "-", "--ask-token"], "give --token-file or --ask-token, not both"),
    ],
)
async def test_wrong_usage_is_one_line_and_status_2(args: list[str], message: str) -> None:
    async with FakeControlPlane() as control_plane:
        result = await ran(control_plane, *args)
        assert (result.status, result.out, result.err.count("\n")) == (2, "", 1)
        assert result.err.startswith("Error: ")
        assert message in result.err
        assert len(control_plane.requests) == 0


@pytest.mark.parametrize(
    ("args", "name"),
    [
        (["revisions", "list", ""], "WORKLOAD"),
        (["revisions", "count", " "], "WORKLOAD"),
        (["revisions", "get", "", "-w", "chat"], "REVISION"),
        (["revisions", "get", "3f2a", "-w", ""], "--workload"),
        (["revisions", "diff", "", "a", "b"], "WORKLOAD"),
        (["revisions", "diff", "chat", "", "b"], "A"),
        (["revisions", "diff", "chat", "a", ""], "B"),
        (["watch", ""], "WORKLOAD"),
        (["watch", "chat", ""], "WORKLOAD"),
        (["watch", "--all", "--type", ""], "--type"),
        (["watch", "--all", "--filter", ""], "--filter"),
        (["rollout", "status", ""], "WORKLOAD"),
        (["rollout", "status", "chat", "--after", ""], "--after"),
        (["timeline", ""], "WORKLOAD"),
        (["timeline", "chat", "--svg", ""], "--svg"),
        (["watch", "chat", "--state", ""], "--state"),
        (["revisions", "count", "chat", "--base-url", ""], "--base-url"),
        (["revisions", "count", "chat", "--ca-file", ""], "--ca-file"),
        (["exporter", ""], "WORKLOAD"),
    ],
    ids=repr,
)
async def test_an_empty_text_does_not_name_the_only_one(args: list[str], name: str) -> None:
    async with FakeControlPlane() as control_plane:
        control_plane.add_revision(control_plane.add_workload("chat"), "Running")
        result = await ran(control_plane, *args)
        assert (result.status, result.out, len(control_plane.requests)) == (2, "", 0)
    command = " ".join(args[:2] if args[0] in {"revisions", "rollout"} else args[:1])
    message = f"{name} is empty (is a variable not set?); see runai-async {command} --help"
    assert result.err == f"Error: {message}\n"


def test_an_empty_text_without_a_parameter_is_rejected_too() -> None:
    with pytest.raises(click.UsageError, match=r"^a value is empty \(is a variable not set\?\)$"):
        NON_EMPTY("")


API_COMMANDS = [
    ["revisions", "list", NO_WORKLOAD],
    ["revisions", "count", NO_WORKLOAD],
    ["revisions", "get", NO_WORKLOAD],
    ["revisions", "diff", NO_WORKLOAD, "a", "b"],
    ["watch", NO_WORKLOAD],
    ["watch", "--all"],
    ["rollout", "status", NO_WORKLOAD],
    ["timeline", NO_WORKLOAD],
    ["exporter", NO_WORKLOAD, "--listen", "127.0.0.1:0"],
    ["exporter", "--all", "--listen", "127.0.0.1:0"],
]


@pytest.mark.parametrize("args", API_COMMANDS, ids=" ".join)
async def test_without_credentials_a_command_says_what_to_set(args: list[str]) -> None:
    result = await ran(None, *args, RUNAI_BASE_URL="https://acme.run.ai")
    assert (result.status, result.out, result.err.count("\n")) == (2, "", 1)
    assert "set RUNAI_TOKEN or RUNAI_TOKEN_FILE, or RUNAI_CLIENT_ID and RUNAI_CLIENT_SECRET" in result.err


@pytest.mark.parametrize(
    "args",
    [  # a refused token is tried again after one and after three seconds
        pytest.param(args, id=" ".join(args), marks=() if args[0] == "rollout" else pytest.mark.slow)
        for args in API_COMMANDS
    ],
)
async def test_with_a_refused_token_a_command_ends_with_status_4(args: list[str]) -> None:
    async with FakeControlPlane() as control_plane:
        result = await ran(control_plane, *args, RUNAI_TOKEN="refused-token")
    assert (result.status, result.err.splitlines()[-1][:7]) == (4, "Error: ")
    assert "401" in result.err
    assert "refused-token" not in result.err + result.out


@pytest.mark.parametrize("args", API_COMMANDS, ids=" ".join)
async def test_without_a_server_a_command_ends_with_status_4(args: list[str]) -> None:
    gone = f"http://127.0.0.1:{lasting_port()}"
    patience = ["--max-outage", "50ms"] if args[0] in {"watch", "rollout", "exporter"} else []
    brief = ["--deadline", "50ms", *patience, *(["--interval", "20ms"] if patience else [])]
    result = await ran(None, *args, *brief, RUNAI_BASE_URL=gone, RUNAI_TOKEN="some-token")
    assert result.status == 4
    assert result.err.splitlines()[-1].startswith("Error: ")
    assert "Traceback" not in result.err


async def test_an_api_error_ends_with_status_5() -> None:
    async with FakeControlPlane() as control_plane:
        result = await ran(control_plane, "revisions", "get", NO_WORKLOAD)
    assert (result.status, result.out) == (5, "")
    assert f"404 there is no revision {NO_WORKLOAD}" in result.err


async def test_debug_prints_a_traceback_with_secrets_masked() -> None:
    async with FakeControlPlane() as control_plane:
        body = {"code": 400, "message": f"I got {control_plane.token}"}
        for args in (
            ["--debug", "revisions", "count", NO_WORKLOAD],
            ["revisions", "count", NO_WORKLOAD, "--debug"],
        ):
            control_plane.fail_next(1, 400, body=body)
            result = await ran(control_plane, *args)
            assert result.status == 5
            assert "Traceback (most recent call last)" in result.err
            assert result.err.count("I got ***") >= 2
            assert control_plane.token not in result.err


async def test_an_unexpected_error_is_a_line_that_asks_for_a_report(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**_: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("runai_async.client.RunaiClient.from_env", broken)
    result = await ran(None, "revisions", "count", NO_WORKLOAD)
    assert (result.status, result.err.count("\n")) == (5, 1)
    assert "ZeroDivisionError: oops; this is a bug" in result.err


@pytest.mark.parametrize("name", ["RUNAI_TOKEN", "RUNAI_CLIENT_SECRET"])
async def test_no_secret_is_printed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**_: object) -> None:
        raise ZeroDivisionError("a-great-secret is wrong")

    monkeypatch.setattr("runai_async.client.RunaiClient.from_env", broken)
    result = await ran(None, "revisions", "count", NO_WORKLOAD, "--debug", **{name: "a-great-secret"})
    assert "ZeroDivisionError: *** is wrong; this is a bug" in result.err
    assert "a-great-secret" not in result.err


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ["chat", "embed", "job"],
            'workload "chta" not found (did you mean "chat"?)',
        ),
        (["a", "b", "c", "d"], 'workload "chta" not found (there are a, b, c and 1 more)'),
        (["a"], 'workload "chta" not found (there are a)'),
        ([], "(there are no inference workloads, or none that this account can see)"),
    ],
)
async def test_a_name_that_matches_nothing_suggests_similar_ones(names: list[str], message: str) -> None:
    async with FakeControlPlane() as control_plane:
        for name in names:
            control_plane.add_workload(name)
        result = await ran(control_plane, "timeline", "chta")
    assert (result.status, result.out) == (2, "")
    assert result.err.endswith(f"{message}\n")


# --- credentials --------------------------------------------------------------------------------------------


async def test_the_token_comes_from_a_file(tmp_path: Path) -> None:
    async with FakeControlPlane() as control_plane:
        workload_id = control_plane.add_workload()
        file = tmp_path / "token"
        file.write_text(control_plane.token + "\n", encoding="utf-8")
        args = ["revisions", "count", workload_id, "--base-url", control_plane.url, "--token-file"]
        assert await ran(None, *args, str(file)) == Ran(0, "0\n", "")
        assert await ran(None, *args, "-", stdin=control_plane.token) == Ran(0, "0\n", "")
        others = {"RUNAI_TOKEN": "another", "RUNAI_TOKEN_FILE": "/nonexistent"}
        assert await ran(None, *args, str(file), **others) == Ran(0, "0\n", "")
        file.write_text("\n", encoding="utf-8")
        assert (await ran(None, *args, str(file))).status == 2
        assert (await ran(None, *args, "/nonexistent")).status == 2
        assert (await ran(None, *args, "-", stdin=" ")).status == 2


async def test_a_token_file_that_changes_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "token"
    async with FakeControlPlane() as control_plane:
        workload_id = control_plane.add_workload()
        file.write_text(control_plane.token)
        args = ("watch", workload_id, "--interval", "20ms", "--token-file", str(file))
        async with started(None, *args, env={"RUNAI_BASE_URL": control_plane.url}) as process:
            await polled(control_plane)
            control_plane.revoke_tokens()
            file.write_text(control_plane.token)
            control_plane.add_revision(workload_id)
            assert process.stdout is not None
            line = await process.stdout.readline()
    assert json.loads(line)["event"] == "added"


async def test_a_token_file_may_be_a_pipe() -> None:
    read, write = os.pipe()
    async with FakeControlPlane() as control_plane:
        os.write(write, control_plane.token.encode())
        os.close(write)
        args = ("revisions", "count", control_plane.add_workload(), "--base-url", control_plane.url)
        assert await ran(None, *args, "--token-file", f"/dev/fd/{read}") == Ran(0, "0\n", "")
    os.close(read)


@pytest.mark.parametrize(
    ("redirection", "problem"),
    [
        ("<&-", "reads stdin, which is closed"),
        pytest.param("</dev/null", "stdin contains no token", marks=pytest.mark.slow),
        ('<"$0"', "stdin is not text"),
    ],
)
async def test_a_token_from_stdin_that_cannot_be_read_is_a_usage_error(
    redirection: str, problem: str
) -> None:
    line = f'exec "$0" -m runai_async revisions count x --token-file - {redirection}'
    process = await asyncio.create_subprocess_exec(
        *("sh", "-c", line, sys.executable),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(None, RUNAI_BASE_URL="https://acme.run.ai"),
    )
    ended = await finished(process)
    assert (ended.status, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert problem in ended.err


async def asked(control_plane: FakeControlPlane, stdin: int) -> asyncio.subprocess.Process:
    """Start a command that asks for the token, without a terminal unless stdin is one."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "runai_async", "revisions", "count", control_plane.add_workload()),
        *("--base-url", control_plane.url, "--ask-token"),
        stdin=stdin,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(None),
        start_new_session=True,
    )


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A shell starts background jobs with SIGINT ignored, and whatever they start inherits that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


NOTHING_TYPED = "Token: \nError: no token was typed; see python -m runai_async revisions count --help\n"


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (None, Ran(0, "0\n", "Token: \n")),
        (b"\x04", Ran(2, "", NOTHING_TYPED)),
        pytest.param(b"\n", Ran(2, "", NOTHING_TYPED), marks=pytest.mark.slow),
        (signal.SIGINT, Ran(130, "", "Token: \n")),
    ],
    ids=["a token", "nothing", "the end of input", "an interrupt"],
)
async def test_the_token_is_asked_for_on_a_terminal_and_not_shown(
    typed: bytes | signal.Signals | None, expected: Ran
) -> None:
    ours, theirs = pty.openpty()
    async with FakeControlPlane() as control_plane:
        process = await asked(control_plane, theirs)
        assert process.stderr is not None
        begun = await process.stderr.readexactly(len("Token: "))
        if isinstance(typed, signal.Signals):
            process.send_signal(typed)
        else:
            os.write(ours, f"{control_plane.token}\n".encode() if typed is None else typed)
        ended = await finished(process)
    os.set_blocking(ours, False)
    shown = b""
    with contextlib.suppress(OSError):
        shown = os.read(ours, 4096)
    os.close(theirs)
    os.close(ours)
    assert evolve(ended, err=begun.decode() + ended.err) == expected
    assert shown.strip() == b""


async def test_without_a_terminal_the_token_is_not_asked_for() -> None:
    async with FakeControlPlane() as control_plane:
        ended = await finished(await asked(control_plane, asyncio.subprocess.DEVNULL))
    assert (ended.status, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert ended.err.startswith("Error: there is no terminal to ask on: --token-file - reads stdin; see ")


async def test_no_option_takes_a_secret() -> None:
    texts = [
        (await ran(None, *args, "--help")).out for args in (["watch"], ["revisions", "list"], ["timeline"])
    ]
    for text in texts:
        options = set(re.findall(r"--[a-z-]+", text))
        assert {name for name in options if re.search(r"token|secret|password", name)} <= {
            "--token-file",
            "--ask-token",
            "--show-secrets",
        }
