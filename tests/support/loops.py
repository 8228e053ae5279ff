"""An event loop whose time does not depend on how busy the machine is."""

import asyncio
import functools
import selectors
import time
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec

P = ParamSpec("P")
_QUIET = 0.001
"""Seconds without input or output, after which the loop's time moves on."""
_STEP = 0.1
"""Seconds by which it moves on, at most."""
_LONG_STEP = 1.0
"""The same where minutes pass: a timeout of 30 seconds takes as many milliseconds of silence."""


class _Selector(selectors.DefaultSelector):
    """Counts the seconds of the loop's time that were spent waiting for nothing."""

    def __init__(self, step: float) -> None:
        super().__init__()
        self.waited = 0.0
        self._step = step

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        ready = super().select(_QUIET)
        if not ready:
            self.waited += min(timeout, self._step)
        return ready


class WorkTimeLoop(asyncio.SelectorEventLoop):
    """A loop whose time is the processor time of its thread, plus the time that it waited.

    The real clock keeps running while other processes have the processor, so that on a busy machine a timeout
    can pass before a response is read that arrived long ago. Here time passes only while the loop works, and
    in steps while nothing arrives. A timeout of a second takes at least ten milliseconds of silence, during
    which the loop was able to run.
    """

    def __init__(self, step: float = _STEP) -> None:
        self._quiet_selector = _Selector(step)
        super().__init__(self._quiet_selector)

    def time(self) -> float:
        return time.thread_time() + self._quiet_selector.waited


def in_passing_minutes(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run a test in a loop in which minutes of waiting take a fraction of a second, sockets and all.

    Client and server have to go by the loop's time: see `LoopClock`.
    """

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        async def alone() -> None:
            await test(*args, **kwargs)
            for _ in range(50):  # what was just cancelled or closed needs a few turns to end
                await asyncio.sleep(0)
            assert asyncio.all_tasks() == {asyncio.current_task()}

        # Without asyncio's debug mode, which would take most of the time; other tests have it.
        with asyncio.Runner(debug=False, loop_factory=lambda: WorkTimeLoop(_LONG_STEP)) as runner:
            runner.run(alone())

    return run
