"""The terminal: what can be drawn on it, and how a drawing is kept up to date."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Generator

from rich.console import Console, RenderableType
from rich.live import Live

from runai_async._observe.log import logger
from runai_async.cli.exits import OutputError, ReaderGoneError
from runai_async.cli.stdout import has_room

_REFRESH = 0.2
"""Seconds between two drawings."""


def console(*, stderr: bool = False) -> Console:
    """Return a console on stdout or stderr, with colours only on a terminal and without NO_COLOR."""
    return _Console(stderr=stderr, highlight=False, emoji=False, markup=False)


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Raise, where rich would end the process with the exit status of a failed phase."""
        raise ReaderGoneError


def can_draw(screen: Console) -> bool:
    """Return whether a drawing can be kept up to date: on a terminal that can do more than append."""
    # Rich takes FORCE_COLOR for a terminal, but in a pipe nothing can be drawn again.
    return screen.is_interactive and screen.file.isatty()


@contextlib.asynccontextmanager
async def live(
    screen: Console, draw: Callable[[int, int], RenderableType], *, transient: bool = False
) -> AsyncGenerator[None, None]:
    """Draw again and again, in the event loop and not in a thread.

    A drawing that fails stops nothing: the first one is logged.

    Args:
        screen: the terminal.
        draw: returns what to show, given the width and the height of the terminal.
        transient: whether the last drawing is removed at the end.
    """
    drawing = Live(console=screen, auto_refresh=False, transient=transient, vertical_overflow="crop")
    attempts = _Attempts(drawing)

    def refresh() -> None:
        with attempts.one():
            if has_room(screen.file):  # a terminal that stands still must not stop the event loop
                drawing.update(draw(screen.width, screen.height), refresh=True)

    async def keep_drawing() -> None:
        while True:
            refresh()
            await asyncio.sleep(_REFRESH)

    with attempts.one():
        drawing.start()
    task = asyncio.create_task(keep_drawing())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        refresh()
        with attempts.one():
            drawing.stop()


class _Attempts:
    """Drawings that may fail, as what only displays must not end what it displays."""

    def __init__(self, drawing: Live) -> None:
        self._drawing = drawing
        self._failed = False

    @contextlib.contextmanager
    def one(self) -> Generator[None, None, None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001  (a terminal that has gone, or a defect of a drawing)
            if isinstance(error, OutputError):  # until that ends, what is logged goes to the same terminal
                with contextlib.suppress(Exception):
                    self._drawing.stop()
            had_failed, self._failed = self._failed, True
            if not had_failed:
                text = error.message if isinstance(error, OutputError) else f"{type(error).__name__}: {error}"
                logger.warning("the view cannot be drawn: %s", text)
