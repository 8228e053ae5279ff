"""How a command begins and ends: exit status, one-line errors, signals, stdout."""

import asyncio
import io
import signal
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import click
import pytest
from support.cli import Ran, environment, finished, ran, started

import runai_async
from runai_async import errors
from runai_async.__main__ import main
from runai_async.cli.exits import ReaderGoneError, SignalledError, TimeIsUpError, describe, exit_status
from runai_async.cli.run import run as run_coroutine
from runai_async.cli.run import within
from runai_async.cli.views.console import console
from runai_async.testing import FakeControlPlane

# --- exit status --------------------------------------------------------------------------------------------

BUG = "this is a bug in runai-async; run it again with --debug and report what it prints"
API_ERROR = {"method": "GET", "url": "https://acme.run.ai/api"}


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.PhaseFailedError("x"), 1),
        (errors.RolloutFailedError("x"), 1),
        (errors.ConfigurationError("x"), 2),
        (click.UsageError("x"), 2),
        (PermissionError("x"), 2),
        (errors.WaitTimeoutError("x"), 3),
        (TimeIsUpError("x"), 3),
        (errors.AuthenticationError(401, "x"), 4),
        (errors.PermissionDeniedError(403, "x"), 4),
        (errors.TransportError("x"), 4),
        (errors.AttemptTimeoutError("x"), 4),
        (errors.DeadlineExceededError("x"), 4),
        (errors.WatchOutageError("x", last_error=errors.TransportError("y")), 4),
        (errors.NotFoundError(404, "x", code=404), 5),
        (errors.ApiError(409, "x", code=409), 5),
        (errors.NotFoundError(404, "a gateway's"), 4),
        (errors.ApiError(302, "to a login page"), 4),
        (errors.RateLimitError(429, "x", code=429), 4),
        (errors.ServiceUnavailableError(503, "x", code=503), 4),
        (errors.DecodeError("a page", is_json=False), 4),
        (errors.DecodeError("x"), 5),
        (errors.RunaiError("x"), 5),
        (SignalledError(signal.SIGINT), 130),
        (KeyboardInterrupt(), 130),
        (click.Abort(), 130),
        (ReaderGoneError(), 141),
        (SignalledError(signal.SIGTERM), 143),
    ],
)
def test_every_error_has_its_exit_status(error: BaseException, status: int) -> None:
    assert exit_status(error) == status


def test_a_long_error_keeps_its_beginning_and_its_end() -> None:
    error = errors.WaitTimeoutError("the rollout is not done: " + "x" * 5000 + ". Wait again to continue.")
    line = describe(error)
    assert len(line) < 700
    assert line.startswith("the rollout is not done: xxx")
    assert " ... " in line
    assert line.endswith("Wait again to continue.")


def test_an_argument_has_its_name_on_the_command_line() -> None:
    error = errors.ConfigurationError("use https, or pass allow_http=True if that is what you want")
    assert describe(error) == "use https, or give --allow-http if that is what you want"


def test_an_error_is_one_line() -> None:
    error = errors.ApiError(400, "first\nsecond", **API_ERROR)  # type: ignore[arg-type]
    assert describe(error) == "GET https://acme.run.ai/api: 400 first second"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (errors.TransportError("no route"), "no route; check RUNAI_BASE_URL, the network and the proxy"),
        (
            errors.WatchOutageError("no successful poll", last_error=errors.TransportError("y")),
            "no successful poll; check that the control plane responds; --max-outage sets how long to wait",
        ),
        (
            ZeroDivisionError("x"),
            f"ZeroDivisionError: x; {BUG}",
        ),
        (KeyboardInterrupt(), ""),
    ],
)
def test_an_error_says_how_to_fix_it(error: BaseException, line: str) -> None:
    assert describe(error) == line


def test_a_cancellation_from_within_is_not_a_signal() -> None:
    async def cancelled() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        run_coroutine(cancelled())


def test_it_runs_with_a_stdout_that_is_not_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["runai-async", "--version"])
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert isinstance(sys.stdout, io.StringIO)
    assert sys.stdout.getvalue() == f"runai-async, version {runai_async.__version__}\n"


# --- a process ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGTERM, 143), pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow)],
)
async def test_a_signal_ends_a_watch_with_its_state_saved(
    number: signal.Signals, status: int, tmp_path: Path
) -> None:
    file = tmp_path / "state.json"
    async with FakeControlPlane() as control_plane:
        workload_id = control_plane.add_workload()
        revision_id = control_plane.add_revision(workload_id, "Running")
        async with started(control_plane, "watch", workload_id, "--state", str(file)) as process:
            assert process.stdout is not None
            assert b'"event":"added"' in await process.stdout.readline()
            process.send_signal(number)
            assert await finished(process) == Ran(status, "", "")
        assert revision_id in file.read_text(encoding="utf-8")
        assert [path.name for path in tmp_path.iterdir()] == ["state.json"]


async def test_a_reader_that_goes_ends_a_watch_that_has_nothing_to_print() -> None:
    async with FakeControlPlane() as control_plane:
        workload_id = control_plane.add_workload()
        control_plane.add_revision(workload_id, "Running")
        command = (
            f'"{sys.executable}" -m runai_async watch {workload_id} | head -1; echo ${{PIPESTATUS[@]}} >&2'
        )
        process = await asyncio.create_subprocess_exec(
            "bash",
            "-c",
            command,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment(control_plane),
        )
        result = await finished(process)
    assert (result.out.count("\n"), result.err) == (1, "141 0\n")


@pytest.mark.parametrize("lacking", ["click", "rich"])
def test_without_the_extra_one_line_says_what_to_install(
    lacking: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, lacking, None)
    with pytest.raises(SystemExit) as ended:
        main()
    line = f"Error: the command line requires {lacking}: pip install 'runai-async[cli]'\n"
    assert (ended.value.code, *capsys.readouterr()) == (2, "", line)


@pytest.mark.parametrize(("shell", "position"), [("bash", "1"), ("zsh", "1"), ("fish", "rev")])
async def test_shells_can_complete(shell: str, position: str) -> None:
    words = {"COMP_WORDS": "runai-async rev", "COMP_CWORD": position}
    result = await ran(None, _RUNAI_ASYNC_COMPLETE=f"{shell}_complete", **words)
    assert (result.status, "revisions" in result.out, "watch" in result.out) == (0, True, False)


# --- stdout -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command", ["list", *(pytest.param(command, marks=pytest.mark.slow) for command in ("count", "get"))]
)
async def test_a_closed_stdout_changes_no_exit_status(command: str) -> None:
    async with FakeControlPlane() as control_plane:
        workload_id = control_plane.add_workload("llm")
        revision_id = control_plane.add_revision(workload_id)
        key = revision_id if command == "get" else workload_id
        line = f"{sys.executable} -m runai_async revisions {command} {key} >&-"
        process = await asyncio.create_subprocess_exec(
            "sh", "-c", line, stderr=asyncio.subprocess.PIPE, env=environment(control_plane)
        )
        _, err = await process.communicate()
    assert (process.returncode, err) == (0, b"")


async def test_a_timeout_from_within_is_not_that_of_the_command() -> None:
    with pytest.raises(errors.AttemptTimeoutError, match="slow"):
        async with within(10):
            raise errors.AttemptTimeoutError("slow")


def test_a_table_whose_reader_goes_does_not_exit_like_a_failed_phase() -> None:
    with pytest.raises(ReaderGoneError):
        console().on_broken_pipe()


async def test_a_token_file_that_is_not_text_is_a_usage_error(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_bytes(b"\xff\xfe\x00")
    async with FakeControlPlane() as control_plane:
        result = await ran(control_plane, "revisions", "count", "llm", "--token-file", str(file))
    assert (result.status, result.out) == (2, "")
    assert f"{file} is not a text file" in result.err


async def test_forced_colour_does_not_make_a_pipe_a_terminal() -> None:
    async with FakeControlPlane() as control_plane:
        workload_id = control_plane.add_workload("llm")
        control_plane.add_revision(workload_id, "Pending")
        result = await ran(control_plane, "rollout", "status", "llm", "--timeout", "700ms", FORCE_COLOR="1")
    assert result.status == 3
    assert [text for text in ("\r", "\x1b[2K", "\x1b[?25l") if text in result.out] == []
    assert len(result.out.splitlines()) == 2


async def test_a_hostile_name_is_not_a_command_to_the_terminal(tmp_path: Path) -> None:
    name = "e\x1b[31mvil\x07"
    async with FakeControlPlane() as control_plane:
        workload_id = control_plane.add_workload(name)
        ids = [
            control_plane.add_revision(workload_id, "Running", name=name, images=["llm:1"]) for _ in range(2)
        ]
        picture = tmp_path / "t.svg"
        results = [
            await ran(
                control_plane, "rollout", "status", workload_id, "--after", ids[0][:8], "--timeout", "300ms"
            ),
            await ran(control_plane, "rollout", "status", workload_id),
            await ran(control_plane, "revisions", "diff", workload_id, ids[0], ids[0], "-o", "table"),
            await ran(control_plane, "timeline", workload_id, "--svg", str(picture), "--since", "800000d"),
        ]
    assert [result.status for result in results[1:]] == [0, 0, 0], results
    for result in results:
        assert [text for text in (result.out, result.err) if "\x1b" in text or "\x07" in text] == []
    assert ET.fromstring(picture.read_text()).tag.endswith("svg")
