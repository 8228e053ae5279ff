"""Tasks that live and end together, and whose errors are not lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any


class Tasks:
    """Tasks that live and end together.

    Args:
        fail: called with what a task ended with, even a cancellation.
    """

    def __init__(self, fail: Callable[[BaseException], None]) -> None:
        self._fail = fail
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Callable[..., Awaitable[None]], *args: Any) -> None:
        """Start a task whose error is not lost."""
        self.keep(
            asyncio.get_running_loop().create_task(self._guarded(work, *args), name="runai-async fleet")
        )

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
