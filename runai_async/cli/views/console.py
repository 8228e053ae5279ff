"""The terminal: what can be drawn on it, and how a drawing is kept up to date."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator

from rich.console import Console, ConsoleRenderable, RenderableType, RenderHook
from rich.control import Control
from rich.live import Live
from rich.segment import ControlType, Segment, Segments

from runai_async._observe.log import logger
from runai_async.cli.exits import OutputError, ReaderGoneError
from runai_async.cli.stdout import has_room

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


_ERASE_BELOW = Segments([Segment("\x1b[J", None, [(ControlType.CLEAR,)])])
"""Erases what is to the right of the cursor and below it."""


class _Beginning(RenderHook):
    """Keeps the cursor at the beginning of a drawing of one line.

    A terminal that becomes narrower may break a line of the old width into several. The cursor stays at the
    beginning of the first one, and the others are below it, so that none is left when it is drawn again.
    """

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """Erase the drawing before what is printed, and return to its beginning behind that."""
        return [_ERASE_BELOW, *renderables, Control(ControlType.CARRIAGE_RETURN)]


class Drawing:
    """A drawing on a terminal. One that fails stops nothing: the first failure is logged.

    Args:
        screen: the terminal.
        draw: returns what to show.
        whole: whether it takes the whole terminal, on the alternate screen.
        transient: whether it is one line, which is removed at the end.
    """

    def __init__(self, screen: Console, draw: Draw, *, whole: bool = False, transient: bool = False) -> None:
        self._screen = screen
        self._draw = draw
        self._whole = whole
        self._transient = transient
        self._is_hooked = False
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
            if self._transient:
                self._screen.push_render_hook(_Beginning())
                self._is_hooked = True

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
            self._stop()

    def _stop(self) -> None:
        if self._is_hooked:
            self._is_hooked = False
            try:
                self._live.refresh()  # removes what is left of a wider line
            finally:
                self._screen.pop_render_hook()
        self._live.stop()

    @contextlib.contextmanager
    def _attempt(self) -> Generator[None, None, None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001  (a terminal that has gone, or a defect of a drawing)
            if isinstance(error, OutputError):  # until that ends, what is logged goes to the same terminal
                with contextlib.suppress(Exception):
                    self._stop()
            had_failed, self._failed = self._failed, True
            if not had_failed:
                text = error.message if isinstance(error, OutputError) else f"{type(error).__name__}: {error}"
                logger.warning("the view cannot be drawn: %s", text)
