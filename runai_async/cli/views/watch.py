"""The views of a watch: what they have in common, and those for programs. The others are in `terminal`."""

from __future__ import annotations

import contextlib
import sys
from abc import ABC, abstractmethod
from contextlib import AbstractAsyncContextManager
from typing import IO, ClassVar

from runai_async._api.server_time import ServerTime
from runai_async._codec import encode, to_cloudevent, to_json
from runai_async._values import frozen
from runai_async.cli.diagnostics import say
from runai_async.cli.labels import Labels
from runai_async.cli.line_writer import LineWriter
from runai_async.cli.times import Times
from runai_async.cli.watched import Watched
from runai_async.cli.wording import REFUSALS
from runai_async.events import ClusterEvent, FleetEvent, RevisionEvent
from runai_async.hooks import HookEvent, PollFinished
from runai_async.policy import Emit


@frozen
class ViewOptions:
    """What a view needs to know.

    Attributes:
        headline: what is watched.
        show_secrets: whether to print environment, command and arguments.
        local: whether times for people are in this machine's zone.
    """

    headline: str
    show_secrets: bool = False
    local: bool = False


class View(ABC):
    """Displays the events of a watch.

    Attributes:
        emit: the further events that it needs.
        displays_outages: whether it displays outages, so that they need not be logged.
        leaves_out: the further events that it cannot print.
        names: of workloads, by id, as far as they are known.
        times: by whose clock times are, and how they are written.
        has_quit: somebody has ended the view with a key.
    """

    emit: ClassVar[frozenset[Emit]] = frozenset({"clusters"})
    displays_outages: ClassVar[bool] = False
    leaves_out: ClassVar[frozenset[Emit]] = frozenset()

    def __init__(self, times: Times | None = None) -> None:
        self.names: Labels = Labels()
        self.times: Times = times or Times()
        self.has_quit: bool = False

    def follow(self, watched: Watched, time: ServerTime) -> None:
        """Take what is watched, for a view that shows its state, and the server's clock, for its times."""
        del watched
        self.times.server = time

    def live(self) -> AbstractAsyncContextManager[None]:
        """Keep the view up to date, for as long as the context lasts."""
        return contextlib.nullcontext()

    @abstractmethod
    async def display(self, event: FleetEvent) -> None:
        """Display an event, and return when it is displayed.

        Raises:
            ReaderGoneError, OutputError: it cannot be written.
        """

    @abstractmethod
    def hook(self, event: HookEvent) -> None:
        """Display how a poll ended."""


class PrintingView(View):
    """A view that prints a line for each event. Refused first polls go to stderr, once for each workload.

    Args:
        stream: what the lines are written to.
        times: writes the times in them.
    """

    def __init__(self, stream: IO[str], times: Times | None = None) -> None:
        super().__init__(times)
        self._writer = LineWriter(stream)
        self._refused: set[str] = set()
        self._readable: set[str] = set()  # of these, refusals are logged

    @abstractmethod
    def line(self, event: FleetEvent) -> str | bytes | None:
        """Return the line for an event; None if there is none."""

    async def display(self, event: FleetEvent) -> None:
        """Print an event, and return when its line is written."""
        if (line := self.line(event)) is not None:
            await self._writer.write(line)

    def hook(self, event: HookEvent) -> None:
        """Report that a workload does not exist, or not for this account: it may appear later."""
        if not isinstance(event, PollFinished):
            return
        if event.error in REFUSALS:
            if event.workload_id not in self._refused | self._readable:
                self._refused.add(event.workload_id)
                problem = REFUSALS[event.error]
                say(f"runai-async: workload {event.workload_id} {problem}; retrying for a while")
        elif event.error is None:
            self._readable.add(event.workload_id)


class JsonView(PrintingView):
    """Prints each event as one line of JSON."""

    def __init__(self, options: ViewOptions) -> None:
        super().__init__(sys.stdout)
        self._show_secrets = options.show_secrets

    def line(self, event: FleetEvent) -> str | bytes | None:
        """Return an event as JSON."""
        return to_json(event, include_secrets=self._show_secrets)


class CloudEventView(JsonView):
    """Prints each event about a revision or a cluster as a CloudEvent; there are none for other events."""

    leaves_out: ClassVar[frozenset[Emit]] = frozenset({"synced", "degraded", "recovered"})

    def line(self, event: FleetEvent) -> str | bytes | None:
        """Return an event as a CloudEvent if it is about a revision or a cluster."""
        if not isinstance(event, RevisionEvent | ClusterEvent):
            return None
        return encode(to_cloudevent(event, include_secrets=self._show_secrets))
