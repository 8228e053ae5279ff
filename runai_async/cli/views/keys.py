"""The keys that are pressed while a view is shown."""

from __future__ import annotations

import asyncio
import codecs
import os
import re
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

termios: Any = None if sys.platform == "win32" else import_module("termios")

_KEY = re.compile(r"\x1b\[[\d;]*[A-Za-z~]|\x1bO[A-Z]|.", re.DOTALL)
_NAMES: dict[str, str] = {
    "\x1b": "escape",
    "\r": "enter",
    "\n": "enter",
    "\x7f": "backspace",
    "\b": "backspace",
    **{
        f"\x1b{mode}{letter}": name
        for mode in "[O"
        for letter, name in (("A", "up"), ("B", "down"), ("H", "home"), ("F", "end"))
    },
    "\x1b[5~": "pageup",
    "\x1b[6~": "pagedown",
    "\x1b[1~": "home",
    "\x1b[4~": "end",
}
_LOCAL, _CONTROL = 3, 6
"""Where the settings of a terminal have the local modes, and the control characters."""
_READ = 1024


def keys_in(text: str) -> Iterator[str]:
    """Yield the keys that a terminal has sent: characters, and names such as `up` and `enter`."""
    for match in _KEY.finditer(text):
        found = match.group()
        if found in _NAMES:
            yield _NAMES[found]
        elif len(found) == 1:  # other sequences are keys without a meaning here
            yield found


class Keys:
    """Reads the keys that are pressed on stdin, each at once and without an echo, if that is a terminal.

    Args:
        press: called with each key.
    """

    def __init__(self, press: Callable[[str], None]) -> None:
        self._press = press
        self._descriptor = _terminal()
        self._before: Any = None
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    @property
    def are_read(self) -> bool:
        """Whether keys are read now."""
        return self._before is not None

    def open(self) -> None:
        """Begin to read keys."""
        if self._descriptor is None or self.are_read:
            return
        try:
            before = termios.tcgetattr(self._descriptor)
            termios.tcsetattr(self._descriptor, termios.TCSANOW, _each_at_once(before))
        except termios.error:  # it has gone
            return
        self._before = before
        asyncio.get_running_loop().add_reader(self._descriptor, self._read, self._descriptor)

    def close(self) -> None:
        """Read no more keys, and restore the settings of the terminal."""
        if self._descriptor is None or not self.are_read:
            return
        asyncio.get_running_loop().remove_reader(self._descriptor)
        before, self._before = self._before, None
        try:
            termios.tcsetattr(self._descriptor, termios.TCSANOW, before)
        except termios.error:
            return

    def _read(self, descriptor: int) -> None:
        try:
            data = os.read(descriptor, _READ)
        except OSError:
            data = b""
        if not data:  # it has gone, and would be readable for ever
            asyncio.get_running_loop().remove_reader(descriptor)
        for key in keys_in(self._decoder.decode(data)):
            self._press(key)


def _terminal() -> int | None:
    """Return the descriptor of stdin if it is a terminal whose settings can be changed."""
    try:
        descriptor = sys.stdin.fileno()
    except (OSError, ValueError, AttributeError):
        return None
    return descriptor if termios is not None and os.isatty(descriptor) else None


def _each_at_once(settings: list[Any]) -> list[Any]:
    """Return settings with which a key can be read when it is pressed; Ctrl-C and Ctrl-Z stay signals."""
    changed = [*settings]
    changed[_LOCAL] &= ~(termios.ICANON | termios.ECHO)
    changed[_CONTROL] = [*settings[_CONTROL]]
    changed[_CONTROL][termios.VMIN], changed[_CONTROL][termios.VTIME] = 1, 0
    return changed
