"""Keeps a view on the terminal up to date."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable

from rich.console import Console, RenderableType
from rich.live import Live

from runai_async.cli.exits import ReaderGoneError

_REFRESH = 0.2
"""Seconds between two drawings."""


def can_show(screen: Console) -> bool:
    """Tell whether a view can be kept up to date there: it is a terminal, and not one that only appends."""
    # Rich takes FORCE_COLOR for a terminal; but in a pipe a picture cannot be drawn anew.
    return screen.is_terminal and screen.file.isatty() and not screen.is_dumb_terminal


@contextlib.asynccontextmanager
async def shown(
    screen: Console, draw: Callable[[int, int], RenderableType], *, transient: bool = False
) -> AsyncGenerator[None, None]:
    """Draw again and again, in the event loop and not in a thread.

    Args:
        screen: the terminal.
        draw: returns what to show, given the width and the height of the terminal.
        transient: whether the last picture goes away at the end.
    """
    with Live(console=screen, auto_refresh=False, transient=transient, vertical_overflow="crop") as picture:

        def refresh() -> None:
            picture.update(draw(screen.width, screen.height), refresh=True)

        async def keep() -> None:
            while True:
                refresh()
                await asyncio.sleep(_REFRESH)

        drawing = asyncio.create_task(keep())
        try:
            yield
        finally:
            drawing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await drawing
            refresh()


def console() -> Console:
    """Return a console on stdout: colours only on a terminal, and not where NO_COLOR is set."""
    return _Console(highlight=False, emoji=False, markup=False)


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Say that the reader is gone, instead of ending the process with the status of a failed phase."""
        raise ReaderGoneError
