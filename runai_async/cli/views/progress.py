"""The progress of a rollout."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Generator, Iterator
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple

from rich.spinner import Spinner
from rich.text import Text

from runai_async._clock import Clock, SystemClock
from runai_async._wait.pods import pods_text
from runai_async.cli.diagnostics import say
from runai_async.cli.exits import OutputError, ReaderGoneError
from runai_async.cli.line_writer import LineWriter
from runai_async.cli.text import clean, duration, phase_name, shortened, since
from runai_async.cli.views.console import can_draw, console, live
from runai_async.cli.views.lines import cluster_text
from runai_async.cli.views.tables import conditions_table, phase_text
from runai_async.cli.wording import reason
from runai_async.errors import RunaiError
from runai_async.events import ClusterEvent, RevisionStalled
from runai_async.explanation import Explanation, listed
from runai_async.models import Revision

_QUIET = 30.0
"""Seconds without a line after which a log gets one that says what is waited for."""
_MOST = 1000
"""Lines that wait to be written; further ones are dropped."""
_PATIENCE = 1.0
"""Seconds that the end of the wait gives to those that are left."""


class Outage(NamedTuple):
    """An outage that lasts.

    Attributes:
        error: what the first request failed with.
        began_at: monotonic time.
    """

    error: RunaiError
    began_at: float


class Progress:
    """Prints a line for each step of a rollout; on a terminal, a last line shows the present state.

    Where there is no such line, in the log of a pipeline, it is never silent for long: whoever looks at the
    log sees that the wait goes on, and what for.

    Args:
        timeout: seconds that the command may take; None for no limit.
        clock: a clock for tests.
    """

    def __init__(self, timeout: float | None, clock: Clock | None = None) -> None:
        self._screen = console()
        self._timeout = timeout
        self._clock = clock or SystemClock()
        self._began = self._printed_at = self._clock.monotonic()
        self._state = Text("waiting for the first response")
        self._revision: Revision | None = None
        self._outage: Outage | None = None
        self._has_begun = False
        self._spinner = Spinner("dots")
        self._lines: asyncio.Queue[str] | None = None
        self._has_failed = False

    def live(self) -> AbstractAsyncContextManager[None]:
        """Show the present state below the lines, or repeat it, for as long as the context lasts."""
        if not can_draw(self._screen):
            return self._logging()
        return live(self._screen, lambda width, _: self._draw(width), transient=True)

    @contextlib.asynccontextmanager
    async def _logging(self) -> AsyncGenerator[None, None]:
        """Write the lines in a task, since the log's reader may stop reading; at the end, wait briefly."""
        self._lines = lines = asyncio.Queue[str](_MOST)
        tasks = {asyncio.create_task(self._remind()), asyncio.create_task(self._write(lines))}
        try:
            yield
        finally:
            self._lines = None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PATIENCE):
                    await lines.join()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _write(self, lines: asyncio.Queue[str]) -> None:
        """Write what is queued, for as long as that is possible."""
        writer = LineWriter(self._screen.file)
        while True:
            line = await lines.get()
            try:
                with self._attempt():
                    await writer.write(line)
            except ReaderGoneError:
                self._lines = None  # the next line finds that out, too, and ends the command
                return
            finally:
                lines.task_done()

    @contextlib.contextmanager
    def _attempt(self) -> Generator[None, None, None]:
        """Take a failure to write for the end of the output: a warning says so, and the rest is dropped."""
        try:
            yield
        except OutputError as error:
            had_failed, self._has_failed = self._has_failed, True
            if not had_failed:
                say(f"runai-async: warning: {error.message}")

    async def _remind(self) -> None:
        """Print what is waited for whenever nothing was printed for a while."""
        while True:
            quiet = self._clock.monotonic() - self._printed_at
            if quiet < _QUIET:
                await self._clock.sleep(_QUIET - quiet)
            else:
                self._print(f"still waiting{self._waits_for()}")

    def _waits_for(self) -> str:
        if self._outage is not None:
            return f": {self.silence()}"
        revision = self._revision
        if revision is None:
            return self._state.plain.removeprefix("waiting")
        for_ = since(revision.phase_updated_at, self._clock.now())
        state = f"{clean(revision.name)} is {phase_name(revision.phase)}{for_ and f' for {for_}'}"
        return f" for the rollout: {state}, {pods_text(revision)} pods"

    def silence(self) -> str:
        """Describe the outage that lasts; empty if none does."""
        if self._outage is None:
            return "" if self._has_begun else "the control plane has not responded to the first request"
        seconds = self._clock.monotonic() - self._outage.began_at
        why = clean(str(self._outage.error))
        return f"the control plane has not responded for {duration(seconds)}: {why}"

    @property
    def elapsed(self) -> str:
        """The time since the start."""
        return duration(self._elapsed)

    def begin(self, workload: str, after: str | None) -> None:
        """Print which rollout this is, once it is found."""
        self._has_begun = True
        self._print(f"rollout of {clean(workload)}{f', after {clean(after)}' if after else ''}")

    def outage_began(self, error: RunaiError) -> None:
        """Print that an outage began."""
        self._outage = Outage(error, self._clock.monotonic())
        self._print(Text(f"outage began: {reason(error)}", style="yellow"))

    def outage_ended(self, seconds: float) -> None:
        """Print that an outage ended."""
        self._outage = None
        self._print(Text(f"outage ended after {seconds:.1f} s", style="green"))

    def cluster(self, event: ClusterEvent) -> None:
        """Print that the workload's cluster has lost its connection, or is back."""
        self._print(Text(f"cluster {clean(event.name)} ").append(cluster_text(event)))

    def stalled(self, event: RevisionStalled) -> None:
        """Print that the newest revision has been in its phase for long."""
        line = Text("stalled: ", style="yellow").append(clean(event.revision.name)).append(" has been ")
        self._print(line.append(phase_name(event.revision.phase)).append(f" for {duration(event.seconds)}"))

    def revision(self, revision: Revision | None) -> None:
        """Print the state of the newest revision, if it is not the one printed last."""
        self._revision = revision
        if revision is None:
            state = Text("waiting for the new revision")
        else:
            state = Text.assemble((clean(revision.name), "bold"), "  ").append(phase_text(revision.phase))
            state.append(f"  {pods_text(revision)} pods")
            if revision.phase_message:
                state.append(f"  {shortened(revision.phase_message)}")
        if state != self._state:
            self._state = state
            self._print(state)

    def done(self, revision: Revision) -> None:
        """Print that the rollout is done."""
        self._print(Text(f"the rollout is done: {clean(revision.name)} serves", style="green"))

    def _print(self, text: Text | str) -> None:
        """Print a line with the time since the start; an output that fails does not end the wait."""
        self._printed_at = self._clock.monotonic()
        line = Text(f"{duration(self._elapsed):>6}  ", style="bright_black").append(text)
        if self._lines is None:
            with self._attempt():
                self._screen.print(line, soft_wrap=True)
            return
        with self._screen.capture() as captured:
            self._screen.print(line, soft_wrap=True)
        with contextlib.suppress(asyncio.QueueFull):  # nobody has read for hours
            self._lines.put_nowait(captured.get().removesuffix("\n"))

    def _draw(self, width: int) -> Spinner:
        limit = f" of {duration(self._timeout)}" if self._timeout else ""
        line = Text.assemble(self._state, (f"  {duration(self._elapsed)}{limit}", "bright_black"))
        line.truncate(max(10, width - 3), overflow="ellipsis")
        self._spinner.update(text=line)
        return self._spinner

    @property
    def _elapsed(self) -> float:
        return self._clock.monotonic() - self._began


_DEADLINE = (
    "it was not ready within Knative's progress-deadline: 10 minutes, unless the ConfigMap config-deployment "
    "says otherwise"
)


def print_why(explanation: Explanation) -> None:
    """Print on stderr why a revision does not serve, as far as `print_state` does not say it."""
    for line in _why(explanation):
        say(line)


def _why(explanation: Explanation) -> Iterator[str]:
    cause = clean(explanation.cause)
    if cause and cause.removesuffix(" ...") not in clean(explanation.message):
        times = next((item.count for item in explanation.warnings), 1)
        yield f"why: {cause}{f' ({times} times)' if times > 1 else ''}"
    if explanation.exceeded_deadline:
        yield f"why: {_DEADLINE}"
    if explanation.pods:
        yield f"pods: {listed(explanation.pod_phases)}"


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
