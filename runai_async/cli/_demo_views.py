"""Whom the demo is shown to: a log, or a terminal."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from typing import Protocol

from rich.console import Console
from rich.text import Text

from runai_async.cli._board import Board
from runai_async.cli._lines import event_line
from runai_async.cli._live import shown
from runai_async.events import WatchEvent
from runai_async.hooks import HookEvent


class Audience(Protocol):
    """What the demo is shown to."""

    def shown(self, names: Mapping[str, str]) -> AbstractAsyncContextManager[None]:
        """Begin and end; *names* are those of the workloads, by id."""
        ...

    def narrate(self, text: str) -> None:
        """Hear what is done to the control plane."""
        ...

    def tell(self, event: WatchEvent) -> None:
        """Hear what a watch yielded."""
        ...

    def hook(self, event: HookEvent) -> None:
        """Hear how the polls fare."""
        ...


class Lines:
    """Prints a line for each event."""

    def __init__(self, print_line: Callable[[Text], None]) -> None:
        self._print = print_line
        self._names: Mapping[str, str] = {}

    @asynccontextmanager
    async def shown(self, names: Mapping[str, str]) -> AsyncGenerator[None, None]:
        """Keep the names."""
        self._names = names
        yield

    def narrate(self, text: str) -> None:
        """Print it as a comment."""
        self._print(Text(f"# {text}", style="italic"))

    def tell(self, event: WatchEvent) -> None:
        """Print it as a line."""
        self._print(event_line(event, self._names))

    def hook(self, event: HookEvent) -> None:
        """Say nothing of it."""


class Picture:
    """Shows the live view of `runai-async watch`."""

    def __init__(self, screen: Console) -> None:
        self._screen = screen
        self._board = Board({}, "")

    def shown(self, names: Mapping[str, str]) -> AbstractAsyncContextManager[None]:
        """Keep the view up to date."""
        self._board = Board(names, "Two workloads, watched through RunaiClient over a socket.")
        return shown(self._screen, lambda width, height: self._board.draw(datetime.now(UTC), width, height))

    def narrate(self, text: str) -> None:
        """Make it the headline."""
        self._board.headline = text

    def tell(self, event: WatchEvent) -> None:
        """Put it on the board."""
        self._board.note(event)

    def hook(self, event: HookEvent) -> None:
        """Put it on the board."""
        self._board.hook(event)
