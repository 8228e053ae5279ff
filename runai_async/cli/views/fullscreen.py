"""A drawing that takes the whole terminal, with keys, until the end or while the command is stopped."""

from __future__ import annotations

import contextlib
import io
import sys
from collections import deque
from collections.abc import AsyncGenerator, Callable
from typing import Any

from rich.console import Console

from runai_async.cli.views.console import Draw, Drawing
from runai_async.cli.views.foreground import Foreground
from runai_async.cli.views.keys import Keys

_MOST_KEPT = 1000
"""Texts for stderr that are kept; the oldest are dropped."""


class FullScreen:
    """The whole terminal, as the alternate screen: what was on it before is back at the end.

    Args:
        screen: the terminal.
        draw: returns what to show.
        press: called with each key that is pressed.
        notice: called with what would be printed on stderr, if that is the same terminal.
    """

    def __init__(
        self, screen: Console, draw: Draw, press: Callable[[str], None], notice: Callable[[str], None]
    ) -> None:
        self._screen = screen
        self._draw = draw
        self._press = press
        self._keys = Keys(self._pressed)
        self._stderr = _Stderr(notice)
        self._foreground = Foreground(screen, self._enter, self._leave)

    @property
    def is_shown(self) -> bool:
        """Whether the drawing is on the terminal now."""
        return self._foreground.is_shown

    @property
    def has_keys(self) -> bool:
        """Whether keys are read."""
        return self._keys.are_read

    @contextlib.asynccontextmanager
    async def shown(self) -> AsyncGenerator[None, None]:
        """Show the drawing, for as long as the context lasts, and leave the last one on the terminal."""
        try:
            async with self._foreground.shown():
                yield
        finally:
            last = Drawing(self._screen, self._draw)
            last.start()
            last.refresh()
            last.stop()

    def _enter(self) -> Drawing:
        self._stderr.hold()
        drawing = Drawing(self._screen, self._draw, whole=True)
        drawing.start()
        self._keys.open()
        return drawing

    def _leave(self, drawing: Drawing) -> None:
        self._keys.close()
        drawing.stop()
        self._stderr.release()

    def _pressed(self, key: str) -> None:
        self._press(key)
        self._foreground.wake()


class _Stderr(io.StringIO):
    """Stands in for a stderr that is a terminal, and keeps what is written until it can be seen there.

    Args:
        notice: called with each line.
    """

    def __init__(self, notice: Callable[[str], None]) -> None:
        super().__init__()
        self._notice = notice
        self._kept: deque[str] = deque(maxlen=_MOST_KEPT)
        self._stream: Any = None

    def hold(self) -> None:
        """Take the place of stderr, if that is a terminal."""
        if sys.stderr.isatty():
            self._stream, sys.stderr = sys.stderr, self

    def release(self) -> None:
        """Give the place back, and write what was kept."""
        if self._stream is not None:
            stream, self._stream = self._stream, None
            sys.stderr = stream
            with contextlib.suppress(OSError):
                while self._kept:
                    stream.write(self._kept.popleft())
                stream.flush()

    def write(self, text: str, /) -> int:
        """Keep a text; one that comes too late, from another thread, is written where it belongs."""
        if self._stream is None:
            return sys.stderr.write(text)
        self._kept.append(text)
        for line in text.splitlines():
            self._notice(line)
        return len(text)
