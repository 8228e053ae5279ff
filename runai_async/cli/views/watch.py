"""How `watch` prints events: lines of JSON, lines of text, or a live view."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from typing import Protocol

import click
from rich.console import Console
from rich.text import Text

from runai_async._codec import to_cloudevent, to_json
from runai_async.cli.views.board import Board
from runai_async.cli.views.console import can_show, console, shown
from runai_async.cli.views.lines import event_line
from runai_async.cli.views.output import Output
from runai_async.events import FleetEvent, RevisionEvent, WatchEvent
from runai_async.hooks import HookEvent, PollFinished
from runai_async.policy import Emit


class View(Protocol):
    """Prints what a watch tells.

    Attributes:
        names: of workloads by id, as far as they are known.
        emit: the further events that it wants to be told.
        tells_trouble: whether it shows what is logged otherwise.
    """

    names: dict[str, str]
    emit: frozenset[Emit]
    tells_trouble: bool

    def shown(self) -> AbstractAsyncContextManager[None]:
        """Show it, for the time of a watch."""
        ...

    def tell(self, event: FleetEvent) -> None:
        """Print an event."""
        ...

    def hook(self, event: HookEvent) -> None:
        """Hear how the polls fare."""
        ...


def view_for(output: Output, *, headline: str, show_secrets: bool) -> View:
    """Return the view for an output."""
    if output == "table":
        screen = console()
        return LiveView(screen, headline) if can_show(screen) else LinesView(screen)
    return JsonView(cloudevents=output == "cloudevents", show_secrets=show_secrets)


class _Quiet:
    """A view that only prints; a refused poll is said once for each workload, on stderr."""

    emit: frozenset[Emit] = frozenset()
    tells_trouble = False

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self._said: set[str] = set()

    @contextlib.asynccontextmanager
    async def shown(self) -> AsyncGenerator[None, None]:
        """Do nothing: there is nothing to keep up to date."""
        yield

    def hook(self, event: HookEvent) -> None:
        """Say that a workload is not found, or not for this account; it may become so."""
        if not isinstance(event, PollFinished):
            return
        if event.error in {"NotFoundError", "PermissionDeniedError"}:
            if event.workload_id not in self._said:
                self._said.add(event.workload_id)
                click.echo(
                    f"runai-async: workload {event.workload_id}: {event.error}; asking again for a while",
                    err=True,
                )
        elif event.error is None:
            self._said.discard(event.workload_id)


class JsonView(_Quiet):
    """Prints each event as one line of JSON."""

    def __init__(self, *, cloudevents: bool, show_secrets: bool) -> None:
        super().__init__()
        self._cloudevents = cloudevents
        self._show_secrets = show_secrets

    def tell(self, event: FleetEvent) -> None:
        """Print an event; as a CloudEvent only those about revisions."""
        if not self._cloudevents:
            click.echo(to_json(event, include_secrets=self._show_secrets))
        elif isinstance(event, RevisionEvent):
            click.echo(json.dumps(to_cloudevent(event, include_secrets=self._show_secrets)))


class LinesView(_Quiet):
    """Prints each event as one line of text."""

    emit: frozenset[Emit] = frozenset({"degraded", "recovered"})
    tells_trouble = True

    def __init__(self, screen: Console) -> None:
        super().__init__()
        self._screen = screen

    def tell(self, event: FleetEvent) -> None:
        """Print an event."""
        self._screen.print(event_line(event, self.names), soft_wrap=True)


class LiveView:
    """Shows the revisions as they are, and the last events below."""

    emit: frozenset[Emit] = frozenset({"updated", "degraded", "recovered"})
    tells_trouble = True

    def __init__(self, screen: Console, headline: str) -> None:
        self.names: dict[str, str] = {}
        self._screen = screen
        self._board = Board(self.names, headline)

    def shown(self) -> AbstractAsyncContextManager[None]:
        """Keep the view up to date."""
        return shown(self._screen, lambda width, height: self._board.draw(datetime.now(UTC), width, height))

    def tell(self, event: FleetEvent) -> None:
        """Put an event on the board."""
        self._board.note(event)

    def hook(self, event: HookEvent) -> None:
        """Put how a poll ended on the board."""
        self._board.hook(event)


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
