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

Draw = Callable[[int, int], RenderableType]
"""Returns what to show, given the width and the height of the terminal."""


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
async def live(screen: Console, draw: Draw, *, transient: bool = False) -> AsyncGenerator[None, None]:
    """Draw again and again below what is printed, for as long as the context lasts.

    Args:
        screen: the terminal.
        draw: returns what to show.
        transient: whether the last drawing is removed at the end.
    """
    drawing = Drawing(screen, draw, transient=transient)
    drawing.start()
    try:
        async with repeated(drawing.refresh):
            yield
    finally:
        drawing.refresh()
        drawing.stop()


@contextlib.asynccontextmanager
async def repeated(
    refresh: Callable[[], None], wake: asyncio.Event | None = None
) -> AsyncGenerator[None, None]:
    """Call a function again and again, in the event loop and not in a thread, while the context lasts.

    Args:
        refresh: the function.
        wake: set when the function should be called at once.
    """
    woken = wake or asyncio.Event()

    async def repeat() -> None:
        while True:
            woken.clear()
            refresh()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_REFRESH):
                    await woken.wait()

    task = asyncio.create_task(repeat())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


class Drawing:
    """A drawing on a terminal. One that fails stops nothing: the first failure is logged.

    Args:
        screen: the terminal.
        draw: returns what to show.
        whole: whether it takes the whole terminal, on the alternate screen.
        transient: whether the last drawing is removed at the end.
    """

    def __init__(self, screen: Console, draw: Draw, *, whole: bool = False, transient: bool = False) -> None:
        self._screen = screen
        self._draw = draw
        self._whole = whole
        self._failed = False
        self._size: tuple[int, int] | None = None
        # What is printed meanwhile goes above the drawing. On the alternate screen there is no place for it.
        self._live = Live(
            console=screen,
            screen=whole,
            auto_refresh=False,
            transient=transient,
            vertical_overflow="crop",
            redirect_stdout=not whole,
            redirect_stderr=not whole,
        )

    def start(self) -> None:
        """Prepare the terminal."""
        with self._attempt():
            self._live.start()

    def refresh(self) -> None:
        """Draw, unless the terminal stands still: that must not stop the event loop."""
        with self._attempt():
            if has_room(self._screen.file):
                size = self._screen.width, self._screen.height
                if self._whole and size != self._size:
                    self._screen.clear()
                self._size = size
                self._live.update(self._draw(*size), refresh=True)

    def stop(self) -> None:
        """Restore the terminal."""
        with self._attempt():
            self._live.stop()

    @contextlib.contextmanager
    def _attempt(self) -> Generator[None, None, None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001  (a terminal that has gone, or a defect of a drawing)
            if isinstance(error, OutputError):  # until that ends, what is logged goes to the same terminal
                with contextlib.suppress(Exception):
                    self._live.stop()
            had_failed, self._failed = self._failed, True
            if not had_failed:
                text = error.message if isinstance(error, OutputError) else f"{type(error).__name__}: {error}"
                logger.warning("the view cannot be drawn: %s", text)
