"""Where the state of a fleet and of watches comes from: scrapes come in threads, and read it in its own loop.

Where that loop does not respond, the last reading grows older, so that nothing is shown as present for long.
"""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, NamedTuple, TypeVar

from runai_async._fleet.fleet_watch import FleetWatch, read_fleet
from runai_async._fleet.status import FleetReading
from runai_async._watch.revision_watch import RevisionWatch, state_of
from runai_async._watch.status import PollState

T = TypeVar("T")

_LOOP_PATIENCE = 5.0
"""Seconds that a scrape waits for the event loop; Prometheus itself waits for 10."""
_TIDIED_FROM = 100
"""Watches from which on those that have ended are looked for, whenever they may have doubled."""


class Aged(NamedTuple, Generic[T]):
    """A reading.

    Attributes:
        value: what was read.
        age: seconds since then.
        is_new: whether it was made for this scrape.
    """

    value: T
    age: float
    is_new: bool


class LoopReader(Generic[T]):
    """Reads something in its own event loop, from any thread. Make it in that loop.

    Args:
        read: reads it.
    """

    def __init__(self, read: Callable[[], T]) -> None:
        self._loop = asyncio.get_running_loop()
        self._read = read
        self._last, self._at = read(), time.monotonic()

    def read(self) -> Aged[T]:
        """Return what is read now, or the last reading where the loop is closed, or busy for too long."""
        if _is_running_here(self._loop):
            return self._note(self._read())
        result: Future[T] = Future()
        try:
            self._loop.call_soon_threadsafe(self._deliver, result)
            return self._note(result.result(_LOOP_PATIENCE))
        except (RuntimeError, TimeoutError):
            return Aged(self._last, time.monotonic() - self._at, is_new=False)

    def _deliver(self, result: Future[T]) -> None:
        try:
            result.set_result(self._read())
        except Exception as error:  # noqa: BLE001  (a defect, which the scrape reports)
            result.set_exception(error)

    def _note(self, value: T) -> Aged[T]:
        self._last, self._at = value, time.monotonic()
        return Aged(value, 0.0, is_new=True)


def _is_running_here(loop: asyncio.AbstractEventLoop) -> bool:
    """Return whether a loop runs in this thread, which would then wait for itself."""
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


class FleetSource:
    """A fleet whose state is exported.

    Args:
        fleet: the fleet.
        keep: called in its event loop with the ids of its workloads, to forget all others.
    """

    def __init__(self, fleet: FleetWatch, keep: Callable[[frozenset[str]], object]) -> None:
        self._fleet = fleet
        self._keep = keep
        self._reader = LoopReader(self._read)

    @property
    def is_empty(self) -> bool:
        """Whether it watches nothing. For its own event loop only."""
        return not self._fleet.workload_ids

    def read(self) -> Aged[FleetReading]:
        """Return the fleet's state."""
        return self._reader.read()

    def tidy(self) -> None:
        """Forget what is no longer watched. For its own event loop only."""
        self._keep(self._fleet.workload_ids)

    def _read(self) -> FleetReading:
        # Here and not in the scrape's thread: no event can come between reading the ids and using them.
        self.tidy()
        return read_fleet(self._fleet)


class WatchSource:
    """The watches of one event loop whose state is exported.

    Args:
        forget: called in that loop with the ids of workloads whose watch has ended.
    """

    def __init__(self, forget: Callable[[frozenset[str]], object]) -> None:
        self._forget = forget
        self._watches: list[tuple[str, weakref.ref[RevisionWatch]]] = []
        self._tidied_from = _TIDIED_FROM
        self._reader = LoopReader(self._read)

    @property
    def ids(self) -> frozenset[str]:
        """The workloads whose watch has not ended, as far as that was noticed."""
        return frozenset(workload_id for workload_id, _ in [*self._watches])

    def add(self, watch: RevisionWatch) -> None:
        """Export the state of one more watch. For its own event loop only."""
        if len(self._watches) >= self._tidied_from:  # nobody scrapes, and ended ones would add up
            self._read()
            self._tidied_from = max(_TIDIED_FROM, 2 * len(self._watches))
        self._watches.append((watch.workload_id, weakref.ref(watch)))

    def read(self) -> Aged[list[PollState]]:
        """Return how the polls of each watch go."""
        return self._reader.read()

    def _read(self) -> list[PollState]:
        """Read the watches that go on, and drop those that have ended or that nobody has any more."""
        states = [(entry, _state(entry[1])) for entry in self._watches]
        before, self._watches = self.ids, [entry for entry, state in states if state is not None]
        if ended := before - self.ids:
            self._forget(ended)
        return [state for _, state in states if state is not None]


def _state(reference: weakref.ref[RevisionWatch]) -> PollState | None:
    watch = reference()
    return None if watch is None else state_of(watch)
