"""How long an event loop is kept from its other tasks."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_EVERY = 0.002
"""Seconds between two ticks."""


class Ticker:
    """A task that runs now and then, and notes how long it had to wait.

    What counts is the time for which the thread of the loop worked from one tick to the next, collections of
    garbage excluded. So other processes on the machine do not make it longer.

    Attributes:
        longest_collection: seconds that the longest collection took since the last `longest`.
    """

    def __init__(self) -> None:
        self.longest_collection = 0.0
        self._stalls = [0.0]
        self._collected = self._began = 0.0

    async def run(self) -> None:
        """Tick until cancelled."""
        with self._noting_collections():
            before = self._worked()
            while True:
                await asyncio.sleep(_EVERY)
                worked = self._worked()
                self._stalls.append(worked - before)
                before = worked

    def _worked(self) -> float:
        return time.thread_time() - self._collected

    @contextmanager
    def _noting_collections(self) -> Iterator[None]:
        def note(phase: str, _: dict[str, Any]) -> None:
            if phase == "start":
                self._began = time.thread_time()
            else:
                took = time.thread_time() - self._began
                self._collected += took
                self.longest_collection = max(self.longest_collection, took)

        gc.callbacks.append(note)
        try:
            yield
        finally:
            gc.callbacks.remove(note)

    async def longest(self) -> float:
        """Return the seconds of the longest stall since the last call."""
        await asyncio.sleep(2 * _EVERY)  # so that what has just ended is noted
        longest, self._stalls = max(self._stalls), [0.0]
        self.longest_collection = 0.0
        return longest


def seconds_of(call: Callable[[], object]) -> float:
    """Return the seconds that a call kept the thread busy, collections of garbage included."""
    began = time.thread_time()
    call()
    return time.thread_time() - began
