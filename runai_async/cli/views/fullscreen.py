"""A drawing that takes the whole terminal, with keys, until the end or while the command is stopped."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import sys
from collections import deque
from collections.abc import AsyncGenerator, Callable
from typing import Any

from rich.console import Console

from runai_async.cli.signals import on_job_control, stop
from runai_async.cli.stderr import descriptor_of
from runai_async.cli.views.console import Draw, Drawing, repeated
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
        self._wake = asyncio.Event()
        self._keys = Keys(self._pressed)
        self._drawing: Drawing | None = None
        self._stderr = _Stderr(notice)

    @property
    def is_shown(self) -> bool:
        """Whether the drawing is on the terminal now."""
        return self._drawing is not None

    @property
    def has_keys(self) -> bool:
        """Whether keys are read."""
        return self._keys.are_read

    @contextlib.asynccontextmanager
    async def shown(self) -> AsyncGenerator[None, None]:
        """Show the drawing, for as long as the context lasts, and leave the last one on the terminal."""
        loop = asyncio.get_running_loop()
        try:
            with on_job_control(lambda action: loop.call_soon_threadsafe(self._signalled, action)):
                async with repeated(self._refresh, self._wake):
                    yield
        finally:
            self._leave()
            last = Drawing(self._screen, self._draw)
            last.start()
            last.refresh()
            last.stop()

    def _refresh(self) -> None:
        """Draw, unless the command runs in the background: then the terminal is somebody else's."""
        if _is_in_foreground(self._screen):
            self._entered().refresh()
        else:
            self._leave()

    def _entered(self) -> Drawing:
        if self._drawing is None:
            self._stderr.hold()
            self._drawing = Drawing(self._screen, self._draw, whole=True)
            self._drawing.start()
            self._keys.open()
        return self._drawing

    def _leave(self) -> None:
        if self._drawing is not None:
            drawing, self._drawing = self._drawing, None
            self._keys.close()
            drawing.stop()
            self._stderr.release()

    def _signalled(self, action: str) -> None:
        if action == "stop":
            self._leave()
            stop()  # and what follows comes after it has been continued
        elif action == "continue":  # from a stop that could not be seen coming
            self._leave()
        self._wake.set()

    def _pressed(self, key: str) -> None:
        self._press(key)
        self._wake.set()


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


def _is_in_foreground(screen: Console) -> bool:
    """Return whether a terminal is the command's to draw on; so is one that does not control it."""
    descriptor = descriptor_of(screen.file)
    try:
        return descriptor is None or os.tcgetpgrp(descriptor) == os.getpgrp()
    except OSError:
        return True
