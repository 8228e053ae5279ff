"""Tasks that live and end together, and whose errors are not lost.

They run in copies of the context of whoever starts the first one, but without its span: a fleet that is
entered in the span of a request would otherwise add to that trace for as long as it lives.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable
from contextvars import Context, copy_context
from typing import Any


class Tasks:
    """Tasks that live and end together.

    Args:
        fail: called with what a task ended with, even a cancellation.
    """

    def __init__(self, fail: Callable[[BaseException], None]) -> None:
        self._fail = fail
        self._tasks: set[asyncio.Task[None]] = set()
        self._context: Context | None = None

    def start(self, work: Callable[..., Awaitable[None]], *args: Any) -> None:
        """Start a task whose error is not lost."""
        if self._context is None:
            self._context = _without_span()
        context = self._context.copy()
        loop, guarded = asyncio.get_running_loop(), self._guarded(work, *args)
        self.keep(loop.create_task(guarded, name="runai-async fleet", context=context))

    def keep(self, task: asyncio.Task[None]) -> None:
        """Let a task end with the others."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, work: Callable[..., Awaitable[None]], *args: Any) -> None:
        try:
            await work(*args)
        except asyncio.CancelledError as error:
            self._fail(error)  # unless it is closing, this comes from inside, maybe from a token provider
            raise
        except Exception as error:  # noqa: BLE001  (whatever it is, the consumer has to see it)
            self._fail(error)

    async def aclose(self) -> None:
        """Cancel all but the task that calls this, and wait for their end."""
        tasks = self._tasks - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


def _without_span() -> Context:
    """Return a copy of the present context that is in no span."""
    context = copy_context()
    if "opentelemetry.trace" in sys.modules:  # otherwise there are no spans
        with contextlib.suppress(Exception):  # tracing only reports
            from runai_async.telemetry import leave_span  # noqa: PLC0415

            context.run(leave_span)
    return context
