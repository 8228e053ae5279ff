"""Runs a command's coroutine, and ends it cleanly on a signal."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import stat
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any, TypeVar

from runai_async.cli.exits import ReaderGoneError, SignalledError, TimeIsUpError

T = TypeVar("T")

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_NOT_HERE = (OSError, ValueError)
"""Raised where no handler can be set: outside the main thread. KeyboardInterrupt does there."""


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run *work* to its end. SIGINT and SIGTERM cancel it; a second one does not wait until it has tidied up.

    Raises:
        SignalledError: a signal came, and *work* has tidied up.
        ReaderGoneError: stdout is a pipe that nobody reads any more, likewise.
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
        _ignore()

    _listen(end)
    try:
        return await task
    finally:
        _ignore()


@contextlib.asynccontextmanager
async def within(seconds: float | None) -> AsyncGenerator[None, None]:
    """End what is done in it after so many seconds. Raises `TimeIsUpError`."""
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            yield
    except TimeoutError:
        if not limit.expired():
            raise
        raise TimeIsUpError(f"the {seconds:g} s of --timeout are over") from None


def _listen(end: Callable[[Exception], None]) -> None:
    """Call *end* on a signal, or when the reader of stdout goes, even while there is nothing to write."""
    loop = asyncio.get_running_loop()

    def on_signal(number: int, _: object) -> None:
        # Here, and not by the loop, which a full pipe may hold up: the next signal ends the process.
        _restore()
        loop.call_soon_threadsafe(end, SignalledError(signal.Signals(number)))

    with contextlib.suppress(*_NOT_HERE):
        for number in _SIGNALS:
            signal.signal(number, on_signal)
    if (pipe := _pipe()) is not None:
        loop.add_reader(pipe, end, ReaderGoneError())  # readable, at this end, means: closed


def _ignore() -> None:
    """Let signals do again what they do by default, and do not look at stdout any more."""
    _restore()
    if (pipe := _pipe()) is not None:
        asyncio.get_running_loop().remove_reader(pipe)


def _restore() -> None:
    with contextlib.suppress(*_NOT_HERE):
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _pipe() -> int | None:
    """Return the descriptor of stdout where that is a pipe and the loop can watch it."""
    try:
        number = sys.stdout.fileno()
        is_pipe = stat.S_ISFIFO(os.fstat(number).st_mode)
    except (OSError, ValueError, AttributeError):
        return None
    return number if is_pipe and os.name == "posix" else None
