"""Whether an event loop responds, as seen from another thread."""

from __future__ import annotations

import asyncio
import threading
import time

_INTERVAL = 1.0
"""Seconds between two signs of life."""
_LONGEST = 10.0
"""Seconds that the loop may be busy with something else."""
_PATIENCE = 0.5
"""Seconds that a loop without a recent sign of life has for one: the whole process may have stood still."""


class Heartbeat:
    """Signs of life of the event loop in which it is made."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._at, self._timer = self._signed()

    def _signed(self) -> tuple[float, asyncio.TimerHandle]:
        return time.monotonic(), self._loop.call_later(_INTERVAL, self._beat)

    def _beat(self) -> None:
        self._at, self._timer = self._signed()

    def stop(self) -> None:
        """Give no more signs. In the loop only."""
        self._timer.cancel()

    def responds(self) -> bool:
        """Return whether the loop responds; at once, unless it does not seem to. In another thread only."""
        if time.monotonic() - self._at <= _LONGEST:
            return True
        awake = threading.Event()
        try:
            self._loop.call_soon_threadsafe(awake.set)
        except RuntimeError:  # it is closed
            return False
        return awake.wait(_PATIENCE)
