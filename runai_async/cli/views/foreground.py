"""A drawing that is on the terminal while the command is in the foreground, and not while it is stopped."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, Callable

from rich.console import Console

from runai_async.cli.signals import on_job_control, stop
from runai_async.cli.stderr import descriptor_of
from runai_async.cli.views.console import Draw, Drawing

_REFRESH = 0.2
"""Seconds between two drawings."""


class Foreground:
    """Draws again and again. A shell that has the terminal instead finds it as it was before.

    Args:
        screen: the terminal.
        enter: begins a drawing, and returns it.
        leave: ends a drawing.
    """

    def __init__(
        self, screen: Console, enter: Callable[[], Drawing], leave: Callable[[Drawing], None]
    ) -> None:
        self._screen = screen
        self._enter = enter
        self._end = leave
        self._wake = asyncio.Event()
        self._drawing: Drawing | None = None

    @property
    def is_shown(self) -> bool:
        """Whether the drawing is on the terminal now."""
        return self._drawing is not None

    def wake(self) -> None:
        """Draw soon."""
        self._wake.set()

    @contextlib.asynccontextmanager
    async def shown(self) -> AsyncGenerator[None, None]:
        """Draw, in the event loop and not in a thread, for as long as the context lasts."""
        loop = asyncio.get_running_loop()
        with on_job_control(lambda action: loop.call_soon_threadsafe(self._signalled, action)):
            task = asyncio.create_task(self._repeat())
            try:
                yield
            finally:
                task.cancel()
                await asyncio.wait({task})
                self._leave()

    async def _repeat(self) -> None:
        while True:
            self._wake.clear()
            self._refresh()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_REFRESH):
                    await self._wake.wait()

    def _refresh(self) -> None:
        """Draw, unless the command runs in the background: then the terminal is somebody else's."""
        if not _is_in_foreground(self._screen):
            self._leave()
            return
        if self._drawing is None:
            self._drawing = self._enter()
        self._drawing.refresh()

    def _leave(self) -> None:
        if self._drawing is not None:
            drawing, self._drawing = self._drawing, None
            self._end(drawing)

    def _signalled(self, action: str) -> None:
        if action == "stop":
            self._leave()
            stop()  # and what follows comes after it has been continued
        elif action == "continue":  # from a stop that could not be seen coming
            self._leave()
        self.wake()


@contextlib.asynccontextmanager
async def live(screen: Console, draw: Draw) -> AsyncGenerator[None, None]:
    """Draw a line below what is printed, for as long as the context lasts; at the end it is removed."""

    def enter() -> Drawing:
        drawing = Drawing(screen, draw, transient=True)
        drawing.start()
        return drawing

    async with Foreground(screen, enter, Drawing.stop).shown():
        yield


def _is_in_foreground(screen: Console) -> bool:
    """Return whether a terminal is the command's to draw on; so is one that does not control it."""
    descriptor = descriptor_of(screen.file)
    try:
        return descriptor is None or os.tcgetpgrp(descriptor) == os.getpgrp()
    except OSError:
        return True
