"""A pseudo-terminal, as stdin and stdout of what is tested."""

import fcntl
import io
import os
import pty
import struct
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from rich.console import Console


class Terminal:
    """A terminal whose other end a test has.

    Attributes:
        ours: the descriptor that a test types on and reads from.
        file: the end of the program.
    """

    def __init__(self, ours: int, file: IO[str]) -> None:
        self.ours = ours
        self.file = file
        self._written = bytearray()

    def console(self) -> Console:
        """Return a console on it that always has 80 by 24."""
        return Console(file=self.file, force_terminal=True, color_system=None, width=80, height=24)

    @property
    def settings(self) -> list[object]:
        """The settings of the terminal."""
        return termios.tcgetattr(self.file.fileno())

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self.ours, text.encode())

    def resize(self, columns: int, lines: int) -> None:
        """Change the size."""
        fcntl.ioctl(self.ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def hang_up(self) -> None:
        """Close the other end."""
        os.close(self.ours)
        self.ours = -1

    def written(self) -> str:
        """Return everything that was written to it so far."""
        os.set_blocking(self.ours, False)
        try:
            while chunk := os.read(self.ours, 65536):
                self._written.extend(chunk)
        except OSError:
            pass
        return self._written.decode()


@contextmanager
def a_terminal() -> Iterator[Terminal]:
    """Yield a terminal of 80 by 24."""
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "r+b", buffering=0) as raw:
        file = io.TextIOWrapper(raw, encoding="utf-8", write_through=True)
        terminal = Terminal(ours, file)
        terminal.resize(80, 24)
        yield terminal
        if terminal.ours >= 0:
            os.close(ours)
