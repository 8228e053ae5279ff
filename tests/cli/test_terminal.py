"""Commands on a real terminal: a pseudo-terminal of 80 by 24."""

import asyncio
import fcntl
import re
import sys
import termios

import pytest
from support.cli import Ran, environment, on_terminal, without_styles
from support.terminals import Terminal, a_terminal

from runai_async.testing import FakeControlPlane


@pytest.fixture(scope="module")
def shows() -> dict[str, Ran]:
    """Return how commands look on a terminal."""

    async def play() -> dict[str, Ran]:
        async with FakeControlPlane() as control_plane:
            control_plane.add_revision(control_plane.add_workload("my-llm"), "Pending")
            watch = "watch my-llm --timeout 300ms"
            commands: dict[str, tuple[str, dict[str, str]]] = {
                "watch": (watch, {}),
                "no color": (watch, {"NO_COLOR": "1"}),
                "dumb": (watch, {"TERM": "dumb"}),
                "rollout": ("rollout status my-llm --timeout 300ms", {}),
                "demo": ("demo --pace 0.05", {}),
            }
            shown = await on_terminal(control_plane, *commands.values())
        return dict(zip(commands, shown, strict=True))

    return asyncio.run(play())


@pytest.mark.parametrize(("name", "coloured"), [("watch", True), ("no color", False)])
def test_watch_is_a_live_view_on_a_terminal(shows: dict[str, Ran], name: str, coloured: bool) -> None:
    result = shows[name]
    assert result.status == 3
    assert "Revisions of my-llm" in result.out
    assert re.search(r"exists: Pending for \ds  0/1-4 pods", without_styles(result.out))
    assert ("\x1b[35m" in result.out) == coloured
    assert '"event"' not in result.out


def test_a_terminal_that_only_appends_gets_lines(shows: dict[str, Ran]) -> None:
    result = shows["dumb"]
    assert (result.status, "Revisions of" in result.out, "\x1b" in result.out) == (3, False, False)
    assert re.search(r"exists: Pending for \ds  0/1-4 pods", result.out)


def test_the_demo_is_a_live_view_on_a_terminal(shows: dict[str, Ran]) -> None:
    result = shows["demo"]
    assert (result.status, result.err) == (0, "")
    assert "\x1b[32m" in result.out
    assert "what the watches reported agrees with the control plane" in result.out


def test_a_rollout_has_a_temporary_last_line_on_a_terminal(shows: dict[str, Ran]) -> None:
    result = shows["rollout"]
    assert (result.status, "0s of 0s" in without_styles(result.out)) == (3, True)
    assert "rollout of my-llm" in result.out


async def until(terminal: Terminal, text: str, times: int = 1) -> None:
    while terminal.written().count(text) < times:
        await asyncio.sleep(0.005)


async def test_the_live_view_under_a_shell_stops_continues_and_follows_the_size() -> None:
    async with FakeControlPlane() as control_plane:
        control_plane.add_revision(control_plane.add_workload("my-llm"), "Pending")
        variables = environment(control_plane, TERM="xterm", PS1="$ ", HISTFILE="")
        variables = {name: value for name, value in variables.items() if name not in {"COLUMNS", "LINES"}}
        with a_terminal() as terminal:
            theirs = terminal.file.fileno()
            shell = await asyncio.create_subprocess_exec(
                *("bash", "--norc", "--noprofile", "-i"),
                **dict.fromkeys(("stdin", "stdout", "stderr"), theirs),  # type: ignore[arg-type]
                env=variables,
                start_new_session=True,
                preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            )
            try:
                terminal.type(f"{sys.executable} -m runai_async watch my-llm\n")
                await until(terminal, "q quit")
                terminal.type("\x1a")  # Ctrl-Z
                await until(terminal, "Stopped")
                _, _, after = terminal.written().rpartition("q quit")
                assert after.index("\x1b[?25h") < after.index("\x1b[?1049l") < after.index("Stopped")
                terminal.type("fg\n")
                await until(terminal, "\x1b[?1049h", 2)
                drawn = terminal.written().count("\x1b[2J")
                terminal.resize(72, 20)
                await until(terminal, "\x1b[2J", drawn + 1)
                terminal.type("q")
                await until(terminal, "\x1b[?1049l", 2)
                terminal.type("echo status=$?\n")
                await until(terminal, "status=0")
                terminal.type("exit\n")
                assert await shell.wait() == 0
            finally:
                if shell.returncode is None:
                    shell.kill()
                    await shell.wait()
