"""An event loop whose time does not depend on how busy the machine is."""

import asyncio
import selectors
import time

_QUIET = 0.001
"""Seconds without input or output, after which the loop's time moves on."""
_STEP = 0.1
"""Seconds by which it moves on, at most."""


class _Selector(selectors.DefaultSelector):
    """Counts the seconds of the loop's time that were spent waiting for nothing."""

    waited: float = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        ready = super().select(_QUIET)
        if not ready:
            self.waited += min(timeout, _STEP)
        return ready


class WorkTimeLoop(asyncio.SelectorEventLoop):
    """A loop whose time is the processor time of its thread, plus the time that it waited.

    The real clock keeps running while other processes have the processor, so that on a busy machine a timeout
    can pass before a response is read that arrived long ago. Here time passes only while the loop works, and
    in steps while nothing arrives. A timeout of a second takes at least ten milliseconds of silence, during
    which the loop was able to run.
    """

    def __init__(self) -> None:
        self._quiet_selector = _Selector()
        super().__init__(self._quiet_selector)

    def time(self) -> float:
        return time.thread_time() + self._quiet_selector.waited
