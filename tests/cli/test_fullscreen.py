"""The whole terminal as a screen: what it is at the end, while it is stopped, and for messages."""

import asyncio
import io
import os
import signal
import sys
from collections.abc import Iterator

import pytest
from rich.console import Console
from rich.text import Text
from support.samples import WORKLOAD, revision
from support.terminals import Terminal, a_terminal
from support.watched import Given, succeeded

from runai_async._api.server_time import ServerTime
from runai_async.cli.signals import on_job_control, stop
from runai_async.cli.views.fullscreen import FullScreen
from runai_async.cli.views.progress import Progress
from runai_async.cli.views.terminal import LiveView
from runai_async.testing import FakeClock

ALTERNATE, NORMAL = "\x1b[?1049h", "\x1b[?1049l"
HIDDEN, VISIBLE = "\x1b[?25l", "\x1b[?25h"


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    with a_terminal() as terminal:
        monkeypatch.setattr(sys, "stdin", terminal.file)
        yield terminal


async def until_written(terminal: Terminal, text: str, times: int = 1) -> None:
    while terminal.written().count(text) < times:
        await asyncio.sleep(0.001)


def view_of(terminal: Terminal) -> LiveView:
    view = LiveView(terminal.console(), "Revisions of llm")
    view.names[WORKLOAD] = "llm"
    view.follow(Given({WORKLOAD: [revision()]}), ServerTime(FakeClock()))
    view.hook(succeeded(WORKLOAD))
    return view


def is_restored(terminal: Terminal, before: list[object]) -> bool:
    written = terminal.written()
    ends = written.rfind(VISIBLE) > written.rfind(HIDDEN), written.rfind(NORMAL) > written.rfind(ALTERNATE)
    return all(ends) and terminal.settings == before


async def test_the_last_picture_stays_on_the_terminal(terminal: Terminal) -> None:
    before, view = terminal.settings, view_of(terminal)
    async with view.live():
        await until_written(terminal, "q quit")
    after = terminal.written().rpartition(NORMAL)[2]
    assert ALTERNATE in terminal.written()
    assert is_restored(terminal, before)
    assert [line.split()[0] for line in after.replace(HIDDEN, "").splitlines() if line.strip()][:3] == [
        "Revisions",
        "WORKLOAD",
        "llm",
    ]
    assert "q quit" not in after


async def test_the_terminal_is_restored_after_an_error(terminal: Terminal) -> None:
    before, view = terminal.settings, view_of(terminal)

    async def show() -> None:
        async with view.live():
            await until_written(terminal, "q quit")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await show()
    assert is_restored(terminal, before)


async def test_the_terminal_is_restored_after_a_cancellation(terminal: Terminal) -> None:
    before, view = terminal.settings, view_of(terminal)

    async def show() -> None:
        async with view.live():
            await asyncio.Event().wait()

    task = asyncio.create_task(show())
    await until_written(terminal, "q quit")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert is_restored(terminal, before)


async def test_q_ends_the_view(terminal: Terminal) -> None:
    before, view = terminal.settings, view_of(terminal)
    async with view.live():
        await until_written(terminal, "q quit")
        terminal.type("qq")
        await asyncio.Event().wait()
    assert view.has_quit
    assert is_restored(terminal, before)


async def test_a_timeout_of_the_body_is_not_the_end_by_a_key(terminal: Terminal) -> None:
    view = view_of(terminal)
    with pytest.raises(TimeoutError):
        async with view.live():
            raise TimeoutError
    assert not view.has_quit


async def test_a_key_is_shown_at_once(terminal: Terminal) -> None:
    view = view_of(terminal)
    async with view.live():
        await until_written(terminal, "q quit")
        terminal.type("/xyz")
        await until_written(terminal, "/xyz_ (0 of 1)")


async def test_messages_are_on_the_board_and_then_on_stderr(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", terminal.file)
    view = view_of(terminal)
    async with view.live():
        await until_written(terminal, "q quit")
        sys.stderr.write("runai-async: warning: look here\n")
        await until_written(terminal, "look here")
        held = sys.stderr
    held.write("runai-async: warning: too late\n")
    assert sys.stderr is terminal.file
    after = terminal.written().rpartition(NORMAL)[2].splitlines()
    assert after[0].endswith("runai-async: warning: look here")
    assert after[-1].endswith("runai-async: warning: too late")


async def test_a_stderr_elsewhere_is_left_alone(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = io.StringIO()
    monkeypatch.setattr(sys, "stderr", elsewhere)
    view = view_of(terminal)
    async with view.live():
        await until_written(terminal, "q quit")
        assert sys.stderr is elsewhere


async def test_ctrl_z_restores_the_terminal_and_fg_draws_all_again(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, view, stopped = terminal.settings, view_of(terminal), list[bool]()

    def stop_here() -> None:
        stopped.append(is_restored(terminal, before))
        os.kill(os.getpid(), signal.SIGCONT)

    monkeypatch.setattr("runai_async.cli.views.foreground.stop", stop_here)
    async with view.live():
        await until_written(terminal, "q quit")
        os.kill(os.getpid(), signal.SIGTSTP)
        await until_written(terminal, ALTERNATE, 2)
        drawn = terminal.written().count("q quit")
        await until_written(terminal, "q quit", drawn + 1)
        assert stopped == [True]
        assert terminal.settings != before
    assert is_restored(terminal, before)


async def test_ctrl_z_restores_the_terminal_below_lines_too(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = list[str]()

    def stop_here() -> None:
        stopped.append(terminal.written())
        os.kill(os.getpid(), signal.SIGCONT)

    monkeypatch.setattr("runai_async.cli.views.foreground.stop", stop_here)
    monkeypatch.setattr("runai_async.cli.views.log.console", terminal.console)
    progress = Progress(600.0)
    async with progress.live():
        await until_written(terminal, "waiting for the first response")
        os.kill(os.getpid(), signal.SIGTSTP)
        await until_written(terminal, HIDDEN, 2)
        await until_written(
            terminal, "waiting for the first response", stopped[0].count("first response") + 1
        )
    assert stopped[0].rfind(VISIBLE) > stopped[0].rfind(HIDDEN)
    assert stopped[0].endswith("\x1b[1A\x1b[2K")
    assert terminal.written().rfind(VISIBLE) > terminal.written().rfind(HIDDEN)


async def test_after_a_stop_that_was_not_seen_coming_all_is_set_up_again(terminal: Terminal) -> None:
    before, view = terminal.settings, view_of(terminal)
    async with view.live():
        await until_written(terminal, "q quit")
        os.kill(os.getpid(), signal.SIGCONT)
        await until_written(terminal, ALTERNATE, 2)
    assert is_restored(terminal, before)


async def test_a_new_size_is_drawn_on_an_empty_screen(terminal: Terminal) -> None:
    screen = terminal.console()
    full = FullScreen(
        screen, lambda width, height: Text(f"{width} by {height}"), lambda _: None, lambda _: None
    )
    async with full.shown():
        await until_written(terminal, "80 by 24")
        screen.size = (60, 20)
        os.kill(os.getpid(), signal.SIGWINCH)
        await until_written(terminal, "60 by 20")
    written = terminal.written()
    before, _, after = written.partition("60 by 20")
    assert before.endswith(("\x1b[2J\x1b[H\x1b[H", "\x1b[H\x1b[2J\x1b[H")), before[-20:]
    assert "80 by 24" not in after


async def test_in_the_background_the_terminal_is_left_alone(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, view, group = terminal.settings, view_of(terminal), [os.getpgrp() + 1]
    monkeypatch.setattr("runai_async.cli.views.foreground.os.tcgetpgrp", lambda _: group[-1])
    async with view.live():
        await asyncio.sleep(0.01)
        assert terminal.written() == ""
        group.append(os.getpgrp())
        os.kill(os.getpid(), signal.SIGWINCH)
        await until_written(terminal, "q quit")
        group.append(os.getpgrp() + 1)
        os.kill(os.getpid(), signal.SIGWINCH)
        await until_written(terminal, NORMAL)
        assert is_restored(terminal, before)


async def test_the_view_is_shown_where_no_signals_can_be_handled(terminal: Terminal) -> None:
    def show() -> None:
        async def shown() -> None:
            async with view_of(terminal).live():
                await asyncio.sleep(0)

        asyncio.run(shown())

    await asyncio.to_thread(show)
    assert "Revisions of llm" in terminal.written()


def test_handlers_of_job_control_are_restored_and_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGTSTP, signal.SIG_IGN)
    try:
        with on_job_control(lambda _: None):
            assert signal.getsignal(signal.SIGTSTP) is signal.SIG_IGN
            assert signal.getsignal(signal.SIGWINCH) is not signal.SIG_DFL
        assert signal.getsignal(signal.SIGWINCH) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTSTP, before)


def test_a_stop_is_the_default_one_and_the_handler_is_back_afterwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kills: list[object] = []
    monkeypatch.setattr(os, "kill", lambda _, number: kills.append((number, signal.getsignal(number))))
    with on_job_control(lambda _: None):
        handler = signal.getsignal(signal.SIGTSTP)
        stop()
        assert signal.getsignal(signal.SIGTSTP) is handler
    assert kills == [(signal.SIGTSTP, signal.SIG_DFL)]


async def test_a_terminal_without_a_descriptor_is_drawn_on() -> None:
    file = io.StringIO()
    screen = Console(file=file, force_terminal=True, width=80, height=24)
    full = FullScreen(screen, lambda *_: Text("the view"), lambda _: None, lambda _: None)
    async with full.shown():
        await asyncio.sleep(0.001)
        assert not full.has_keys
    assert file.getvalue().count("the view") >= 2
