"""The views of a watch for people: a live view on a terminal, lines in a log."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterable
from typing import ClassVar

from rich.console import Console, RenderableType
from rich.text import Text

from runai_async._api.server_time import ServerTime
from runai_async.cli.shared_outage import OutageEvents
from runai_async.cli.times import Times
from runai_async.cli.views.board import Board
from runai_async.cli.views.console import can_draw, console
from runai_async.cli.views.fullscreen import FullScreen
from runai_async.cli.views.lines import event_line
from runai_async.cli.views.watch import PrintingView, View
from runai_async.cli.watched import SeparatelyWatched, Watched
from runai_async.events import FleetEvent, WatchDegraded, WatchRecovered
from runai_async.hooks import HookEvent, PollFinished
from runai_async.policy import Emit


class LinesView(PrintingView):
    """Prints each event as one line of text."""

    emit: ClassVar[frozenset[Emit]] = frozenset({"degraded", "recovered", "clusters"})
    displays_outages = True

    def __init__(self, screen: Console, times: Times | None = None) -> None:
        super().__init__(screen.file, times)
        self._screen = screen
        self._watched: Watched = SeparatelyWatched()
        self._outages = OutageEvents()
        self._late: asyncio.Queue[FleetEvent] = asyncio.Queue()
        self._writing: asyncio.Task[None] | None = None

    def follow(self, watched: Watched, time: ServerTime) -> None:
        """Take how many workloads are watched: an outage of all is one line."""
        super().follow(watched, time)
        self._watched = watched

    @contextlib.asynccontextmanager
    async def live(self) -> AsyncGenerator[None, None]:
        """Print outages once it is clear whether they are of all, for as long as the context lasts."""
        self._writing = task = asyncio.create_task(self._write_late())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _write_late(self) -> None:
        while True:
            await super().display(await self._late.get())

    async def display(self, event: FleetEvent) -> None:
        """Print an event, and return when its line is written; one about an outage may be held back."""
        if self._writing is not None and self._writing.done():
            self._writing.result()  # raises why nothing can be written
        if not isinstance(event, WatchDegraded | WatchRecovered):
            await super().display(event)
            return
        for item in self._outages.note(event, len(self._watched.ids)):
            await super().display(item)

    def hook(self, event: HookEvent) -> None:
        """Take in how a poll ended, which may tell whether an outage is of all."""
        super().hook(event)
        if isinstance(event, PollFinished):
            for item in self._outages.note_poll(event, len(self._watched.ids)):
                self._late.put_nowait(item)

    def line(self, event: FleetEvent) -> str | None:
        """Return an event as text, in the colours of the terminal."""
        with self._screen.capture() as captured:
            self._screen.print(event_line(event, self.names, self.times), soft_wrap=True)
        return captured.get().removesuffix("\n")

    def narrate(self, text: str) -> None:
        """Print the text as a comment."""
        self._screen.print(Text(f"# {text}", style="italic"), soft_wrap=True)


class LiveView(View):
    """Shows what is true now of each workload, and the last events below.

    What is on the board is displayed: the next drawing shows it, and one that fails stops nothing.
    """

    emit: ClassVar[frozenset[Emit]] = frozenset({"updated", "degraded", "recovered", "clusters"})
    displays_outages = True

    def __init__(self, screen: Console, headline: str, times: Times | None = None) -> None:
        super().__init__(times)
        self._screen = screen
        self._board = Board(self.names, headline, self.times)
        self._timer: asyncio.Timeout | None = None

    def follow(self, watched: Watched, time: ServerTime) -> None:
        """Show the state of what is watched."""
        super().follow(watched, time)
        self._board.states.watched = watched

    @contextlib.asynccontextmanager
    async def live(self) -> AsyncGenerator[None, None]:
        """Draw the view again and again, for as long as the context lasts; a key can end its body."""
        full: FullScreen | None = None

        def draw(width: int, height: int) -> RenderableType:
            is_shown = full is not None and full.is_shown
            keys = full is not None and full.has_keys
            return self._board.draw(width, height, fills=is_shown, keys=keys)

        full = FullScreen(self._screen, draw, self._press, self._board.notice)
        self._timer = timer = asyncio.timeout(None)
        try:
            async with timer, full.shown():
                yield
        except TimeoutError:
            if not self.has_quit:
                raise

    def _press(self, key: str) -> None:
        if self._board.window.press(key) and not self.has_quit and self._timer is not None:
            self.has_quit = True
            self._timer.reschedule(0)

    async def display(self, event: FleetEvent) -> None:
        """Put an event on the board."""
        self._board.note(event)

    def hook(self, event: HookEvent) -> None:
        """Put the end of a poll on the board."""
        self._board.note_poll(event)

    def narrate(self, text: str) -> None:
        """Make the text the headline."""
        self._board.headline = text


TerminalView = LinesView | LiveView


def terminal_view(headline: str, *, plain: bool = False, local: bool = False) -> TerminalView:
    """Return a live view if stdout can show one and *plain* is false, or else one of lines.

    Args:
        headline: what is watched.
        plain: whether there are lines on a terminal, too.
        local: whether times are in this machine's zone.
    """
    screen, times = console(), Times(local=local)
    return LiveView(screen, headline, times) if can_draw(screen) and not plain else LinesView(screen, times)


def print_summary(facts: Iterable[str], *, agrees: bool) -> None:
    """Print how the demo ended.

    Args:
        facts: a line each.
        agrees: whether the events agree with what happened on the control plane.
    """
    screen = console()
    screen.print(Text("Summary", style="bold"))
    for fact in facts:
        screen.print(f"  {fact}", soft_wrap=True)
    verdict = "agrees" if agrees else "DOES NOT AGREE"
    screen.print(
        Text(
            f"  what the watches reported {verdict} with the control plane",
            style="green" if agrees else "red",
        ),
        soft_wrap=True,
    )
