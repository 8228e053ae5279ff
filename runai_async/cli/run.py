"""Runs a command's coroutine, and ends it cleanly on a signal."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import stat
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from typing import Any, TypeVar

from runai_async.cli.exits import ReaderGoneError, SignalledError, TimeIsUpError
from runai_async.cli.signals import end_at_once, on_signal
from runai_async.cli.text import limit

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run *work* to its end. SIGINT and SIGTERM cancel it; a second one ends the process without a cleanup.

    A signal that was ignored when the process began stays ignored.

    Raises:
        SignalledError: a signal came, and *work* has cleaned up.
        ReaderGoneError: stdout is a pipe that nobody reads any longer, and *work* has cleaned up.
    """
    reasons: list[Exception] = []
    try:
        return asyncio.run(_interruptible(work, reasons))
    except asyncio.CancelledError:
        if reasons:
            raise reasons[0] from None
        raise


async def _interruptible(work: Coroutine[Any, Any, T], reasons: list[Exception]) -> T:
    task = asyncio.ensure_future(work)

    def end(reason: Exception) -> None:
        reasons.append(reason)
        task.cancel()
        _stop_listening()

    _listen(end)
    try:
        return await task
    finally:
        _stop_listening()


@contextlib.contextmanager
def until_terminated() -> Generator[None, None, None]:
    """Take SIGTERM for the usual end of its body, which serves until then: supervisors expect status 0."""
    try:
        yield
    except SignalledError as error:
        if error.number != signal.SIGTERM:
            raise


@contextlib.asynccontextmanager
async def within(seconds: float | None) -> AsyncGenerator[None, None]:
    """Limit the time of its body. Raises `TimeIsUpError`."""
    timer = asyncio.timeout(seconds)
    try:
        async with timer:
            yield
    except TimeoutError:
        if not timer.expired():
            raise
        raise TimeIsUpError(f"timed out after {limit(seconds or 0)}") from None


def _listen(end: Callable[[Exception], None]) -> None:
    """Call *end* on a signal, or when the reader of stdout goes, even while there is nothing to write."""
    loop = asyncio.get_running_loop()

    def interrupt(number: int, _: object) -> None:
        # Here and not in the loop, which may be blocked: the next signal must end the process.
        end_at_once()
        loop.call_soon_threadsafe(end, SignalledError(signal.Signals(number)))

    on_signal(interrupt)
    if (pipe := _stdout_pipe()) is not None:
        loop.add_reader(pipe, end, ReaderGoneError())  # the writing end is readable once the other is closed


def _stop_listening() -> None:
    """Restore the default signal handlers, and stop watching stdout."""
    end_at_once()
    if (pipe := _stdout_pipe()) is not None:
        asyncio.get_running_loop().remove_reader(pipe)


def _stdout_pipe() -> int | None:
    """Return the descriptor of stdout if it is a pipe that the loop can watch."""
    try:
        number = sys.stdout.fileno()
        is_pipe = stat.S_ISFIFO(os.fstat(number).st_mode)
    except (OSError, ValueError, AttributeError):
        return None
    return number if is_pipe and os.name == "posix" else None
