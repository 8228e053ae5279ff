"""A log of lines with the time since the start; on a terminal, a last line shows the present state."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractAsyncContextManager

from rich.spinner import Spinner
from rich.text import Text

from runai_async._clock import Clock, SystemClock
from runai_async.cli.diagnostics import say
from runai_async.cli.exits import OutputError, ReaderGoneError
from runai_async.cli.line_writer import LineWriter
from runai_async.cli.text import duration
from runai_async.cli.views.console import can_draw, console
from runai_async.cli.views.foreground import live

_QUIET = 30.0
"""Seconds after which a log gets a line that says what is waited for."""
_MOST = 1000
"""Lines that wait to be written; further ones are dropped."""
_PATIENCE = 1.0
"""Seconds that the end of the wait gives to those that are left."""


class Log:
    """Prints lines; on a terminal, a last line shows the present state.

    Where there is no such line, in the log of a pipeline, it is never silent for long: whoever looks at the
    log sees that the wait goes on, and what for.

    Args:
        timeout: seconds that the command may take; None for no limit.
        state: returns the present state, for the last line.
        reminder: returns the line that says what is waited for.
        clock: a clock for tests; None for the system's.
        steady: whether that line comes every 30 seconds; otherwise 30 seconds after the last line.
    """

    def __init__(
        self,
        timeout: float | None,
        state: Callable[[], Text],
        reminder: Callable[[], str],
        clock: Clock | None = None,
        *,
        steady: bool = False,
    ) -> None:
        self.clock: Clock = clock or SystemClock()
        self._screen = console()
        self._timeout = timeout
        self._state = state
        self._reminder = reminder
        self._steady = steady
        self._began = self._printed_at = self.clock.monotonic()
        self._spinner = Spinner("dots")
        self._lines: asyncio.Queue[str] | None = None
        self._has_failed = False

    def live(self) -> AbstractAsyncContextManager[None]:
        """Show the present state below the lines, or repeat it, for as long as the context lasts."""
        if not can_draw(self._screen):
            return self._logging()
        return live(self._screen, lambda width, _: self._draw(width))

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
        """Print what is waited for, again and again."""
        while True:
            quiet = self.clock.monotonic() - self._printed_at
            if quiet < _QUIET:
                await self.clock.sleep(_QUIET - quiet)
            else:
                self._printed_at = self.clock.monotonic()
                self.print(self._reminder())

    def print(self, text: Text | str) -> None:
        """Print a line with the time since the start; an output that fails does not end the wait."""
        if not self._steady:
            self._printed_at = self.clock.monotonic()
        line = Text(f"{self.elapsed:>6}  ", style="bright_black").append(text)
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
        line = Text.assemble(self._state(), (f"  {self.elapsed}{limit}", "bright_black"))
        line.truncate(max(10, width - 3), overflow="ellipsis")
        self._spinner.update(text=line)
        return self._spinner

    @property
    def elapsed(self) -> str:
        """The time since the start."""
        return duration(self.clock.monotonic() - self._began)
