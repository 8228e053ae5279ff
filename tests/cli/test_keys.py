"""The keys that are pressed on a terminal."""

import asyncio
import os
import sys
import termios

import pytest
from support.terminals import a_terminal

from runai_async.cli.views.keys import Keys, keys_in


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("jk", ["j", "k"]),
        ("\x1b[A\x1b[B\x1bOA\x1bOB", ["up", "down", "up", "down"]),
        ("\x1b[5~\x1b[6~ \x1b[H\x1b[F", ["pageup", "pagedown", " ", "home", "end"]),
        ("/é\r\n\x7f\x1b", ["/", "é", "enter", "enter", "backspace", "escape"]),
        ("\x1b[1;5C\x1b[15~q", ["q"]),
    ],
)
def test_what_a_terminal_sends_is_taken_for_keys(text: str, keys: list[str]) -> None:
    assert list(keys_in(text)) == keys


async def pressed(keys: list[str], number: int) -> None:
    while len(keys) < number:
        await asyncio.sleep(0.001)


async def test_keys_are_read_at_once_and_the_settings_are_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[str] = []
    with a_terminal() as terminal:
        monkeypatch.setattr(sys, "stdin", terminal.file)
        before = terminal.settings
        keys = Keys(found.append)
        keys.open()
        keys.open()
        assert keys.are_read
        terminal.type("j")
        await pressed(found, 1)
        terminal.type("é\x1b[A")
        await pressed(found, 3)
        assert terminal.written() == ""  # no echo
        keys.close()
        keys.close()
        assert (found, terminal.settings, keys.are_read) == (["j", "é", "up"], before, False)


async def test_without_a_terminal_there_are_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    with open(os.devnull) as nothing:  # noqa: PTH123
        for stdin in (nothing, None):
            monkeypatch.setattr(sys, "stdin", stdin)
            keys = Keys(lambda _: None)
            keys.open()
            assert not keys.are_read
            keys.close()


async def test_a_terminal_that_has_gone_is_not_read_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    with a_terminal() as terminal:
        monkeypatch.setattr(sys, "stdin", terminal.file)
        keys = Keys(lambda _: None)
        keys.open()
        reads: list[int] = []

        def read(descriptor: int, size: int) -> bytes:
            reads.append(size)
            raise OSError

        monkeypatch.setattr("runai_async.cli.views.keys.os.read", read)
        terminal.hang_up()
        for _ in range(20):
            await asyncio.sleep(0.001)
        assert len(reads) == 1
        keys.close()


async def test_a_terminal_that_goes_before_it_is_read_has_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    with a_terminal() as terminal:
        monkeypatch.setattr(sys, "stdin", terminal.file)
        keys, closing = Keys(lambda _: None), Keys(lambda _: None)
        closing.open()

        def gone(*_: object) -> None:
            raise termios.error(5, "Input/output error")

        monkeypatch.setattr("runai_async.cli.views.keys.termios.tcsetattr", gone)
        keys.open()
        assert not keys.are_read
        closing.close()
        assert not closing.are_read
