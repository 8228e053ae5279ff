"""The progress of a rollout."""

from __future__ import annotations

import contextlib
import time
from contextlib import AbstractAsyncContextManager

from rich.spinner import Spinner
from rich.text import Text

from runai_async.cli.diagnostics import say
from runai_async.cli.exits import OutputError
from runai_async.cli.text import clean, duration, pods, shortened
from runai_async.cli.views.console import can_draw, console, live
from runai_async.cli.views.lines import cluster_text, workload_text
from runai_async.cli.views.tables import conditions_table, phase_text
from runai_async.events import ClusterEvent, WatchDegraded, WatchRecovered
from runai_async.models import Revision


class Progress:
    """Prints a line for each step of a rollout; on a terminal, a last line shows the present state."""

    def __init__(self, timeout: float | None) -> None:
        self._screen = console()
        self._timeout = timeout
        self._began = time.monotonic()
        self._state = Text("waiting for the first response")
        self._spinner = Spinner("dots")

    def live(self) -> AbstractAsyncContextManager[None]:
        """Show the present state below the lines, for as long as the context lasts."""
        if not can_draw(self._screen):
            return contextlib.nullcontext()
        return live(self._screen, lambda width, _: self._draw(width), transient=True)

    def begin(self, workload: str, after: str | None) -> None:
        """Print which rollout this is."""
        self._print(f"rollout of {clean(workload)}{f', after {clean(after)}' if after else ''}")

    def outage(self, event: WatchDegraded | WatchRecovered) -> None:
        """Print that an outage began or ended."""
        self._print(workload_text(event))

    def cluster(self, event: ClusterEvent) -> None:
        """Print that the workload's cluster has lost its connection, or is back."""
        self._print(Text(f"cluster {clean(event.name)} ").append(cluster_text(event)))

    def revision(self, revision: Revision | None) -> None:
        """Print the state of the newest revision, if it is not the one printed last."""
        if revision is None:
            state = Text("waiting for the new revision")
        else:
            state = Text.assemble((clean(revision.name), "bold"), "  ").append(phase_text(revision.phase))
            state.append(f"  {pods(revision)} pods")
            if revision.phase_message:
                state.append(f"  {shortened(revision.phase_message)}")
        if state != self._state:
            self._state = state
            self._print(state)

    def done(self, revision: Revision) -> None:
        """Print that the rollout is done."""
        self._print(Text(f"the rollout is done: {clean(revision.name)} serves", style="green"))

    def _print(self, text: Text | str) -> None:
        """Print a line with the time since the start; a full disk does not end the wait."""
        at = Text(f"{duration(self._elapsed):>6}  ", style="bright_black")
        try:
            self._screen.print(at.append(text), soft_wrap=True)
        except OutputError as error:  # the first one: what is printed after it is dropped
            say(f"runai-async: warning: {error.message}")

    def _draw(self, width: int) -> Spinner:
        limit = f" of {duration(self._timeout)}" if self._timeout else ""
        line = Text.assemble(self._state, (f"  {duration(self._elapsed)}{limit}", "bright_black"))
        line.truncate(max(10, width - 3), overflow="ellipsis")
        self._spinner.update(text=line)
        return self._spinner

    @property
    def _elapsed(self) -> float:
        return time.monotonic() - self._began


def print_state(revision: Revision) -> None:
    """Print on stderr what a revision says about itself: phase, message and conditions."""
    screen = console(stderr=True)
    with screen.capture() as lines:
        screen.print(Text.assemble((clean(revision.name), "bold"), " is ").append(phase_text(revision.phase)))
        if revision.phase_message:
            screen.print(Text(clean(revision.phase_message)), soft_wrap=True)
        if revision.conditions:
            screen.print(conditions_table(revision.conditions))
    say(lines.get().removesuffix("\n"))
