"""Where the state of a fleet and of watches comes from: scrapes come in threads, and read it in its own loop.

It is read in slices, so that thousands of workloads do not stop the loop. Where the loop does not respond,
the last reading grows older, so that nothing is shown as present for long.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import weakref
from collections.abc import Callable, Generator, MutableMapping
from concurrent.futures import Future
from typing import Generic, NamedTuple, TypeVar

from runai_async._fleet.fleet_watch import FleetWatch, read_fleet
from runai_async._fleet.reading import FleetReading, IsKnown
from runai_async._fleet.slices import in_slices
from runai_async._watch.live import LiveRevisions
from runai_async._watch.revision_watch import RevisionWatch, live_of, state_of
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
        read: reads it, and pauses wherever the loop may do something else.
        first: what counts as read before.
    """

    def __init__(self, read: Callable[[], Generator[None, None, T]], first: T) -> None:
        self._loop = asyncio.get_running_loop()
        self._read = read
        self._last, self._at = first, time.monotonic()

    def read(self) -> Aged[T]:
        """Return what is read now, or the last reading where the loop is closed, or busy for too long."""
        if _is_running_here(self._loop):
            return self._note(_whole(self._read()))
        result: Future[T] = Future()
        try:
            self._loop.call_soon_threadsafe(self._continue, self._read(), result)
            return self._note(result.result(_LOOP_PATIENCE))
        except (RuntimeError, TimeoutError):
            result.cancel()
            return Aged(self._last, time.monotonic() - self._at, is_new=False)

    def _continue(self, reading: Generator[None, None, T], result: Future[T]) -> None:
        """Read the next slice, unless nobody waits for it any more."""
        if result.cancelled():
            return
        try:
            next(reading)
        except StopIteration as end:
            if result.set_running_or_notify_cancel():
                result.set_result(end.value)
        except Exception as error:  # noqa: BLE001  (a defect, which the scrape reports)
            if result.set_running_or_notify_cancel():
                result.set_exception(error)
        else:
            self._loop.call_soon(self._continue, reading, result)

    def _note(self, value: T) -> Aged[T]:
        self._last, self._at = value, time.monotonic()
        return Aged(value, 0.0, is_new=True)


def _whole(reading: Generator[None, None, T]) -> T:
    """Read all slices at once."""
    while True:
        try:
            next(reading)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]


def _is_running_here(loop: asyncio.AbstractEventLoop) -> bool:
    """Return whether a loop runs in this thread, which would then wait for itself."""
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


class Labels(NamedTuple):
    """The names of workloads and of their projects, by the workload's id."""

    names: MutableMapping[str, str]
    projects: MutableMapping[str, str]


class FleetSource:
    """A fleet whose state is exported.

    Args:
        fleet: the fleet.
        keep: called in its event loop with the ids of its workloads, to forget all others.
        is_known: which revisions need not be read again.
        labels: the names that are known; where the fleet itself knows more, they are added.
    """

    def __init__(
        self, fleet: FleetWatch, keep: Callable[[frozenset[str]], object], is_known: IsKnown, labels: Labels
    ) -> None:
        self._fleet = fleet
        self._keep = keep
        self._is_known = is_known
        self._labels = labels
        self._reader = LoopReader(self._read, FleetReading(fleet.status, {}, [], [], is_listed=False))

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

    def _read(self) -> Generator[None, None, FleetReading]:
        # Here and not in the scrape's thread: no event can come between reading the ids and using them.
        self.tidy()
        reading = yield from read_fleet(self._fleet, self._is_known)
        # A fleet that follows the list knows the workloads themselves.
        for some in in_slices(reading.polls):
            self._name([item.workload_id for item in some])
            yield
        return reading

    def _name(self, workload_ids: list[str]) -> None:
        names, projects = self._labels
        for key in workload_ids:
            with contextlib.suppress(KeyError):  # it has left meanwhile
                if key not in names and (workload := self._fleet.workload(key)) is not None:
                    names[key], projects[key] = workload.name, workload.project_name or ""


class WatchReading(NamedTuple):
    """What the exporter shows of watches.

    Attributes:
        polls: how those of each watch go.
        changed: the revisions of those whose version was not known, as in `FleetReading`.
    """

    polls: list[PollState]
    changed: list[LiveRevisions]


class WatchSource:
    """The watches of one event loop whose state is exported.

    Args:
        forget: called in that loop with the ids of workloads whose watch has ended.
        is_known: which revisions need not be read again.
    """

    def __init__(self, forget: Callable[[frozenset[str]], object], is_known: IsKnown) -> None:
        self._forget = forget
        self._is_known = is_known
        self._watches: list[tuple[str, weakref.ref[RevisionWatch]]] = []
        self._tidied_from = _TIDIED_FROM
        self._reader = LoopReader(self._read, WatchReading([], []))

    @property
    def ids(self) -> frozenset[str]:
        """The workloads whose watch has not ended, as far as that was noticed."""
        return frozenset(workload_id for workload_id, _ in [*self._watches])

    def add(self, watch: RevisionWatch) -> None:
        """Export the state of one more watch. For its own event loop only."""
        if len(self._watches) >= self._tidied_from:  # nobody scrapes, and ended ones would add up
            self._going_on()
            self._tidied_from = max(_TIDIED_FROM, 2 * len(self._watches))
        self._watches.append((watch.workload_id, weakref.ref(watch)))

    def read(self) -> Aged[WatchReading]:
        """Return the state of each watch."""
        return self._reader.read()

    def _read(self) -> Generator[None, None, WatchReading]:
        polls, changed = list[PollState](), list[LiveRevisions]()
        for some in in_slices(self._going_on()):
            for watch, state in some:
                polls.append(state)
                if not self._is_known(state.workload_id, state.version):
                    changed.append(live_of(watch))
            yield
        return WatchReading(polls, changed)

    def _going_on(self) -> list[tuple[RevisionWatch, PollState]]:
        """Return the watches that go on, and drop those that have ended or that nobody has any more."""
        found = [(entry, _state(entry[1])) for entry in self._watches]
        before, self._watches = self.ids, [entry for entry, state in found if state is not None]
        if ended := before - self.ids:
            self._forget(ended)
        return [state for _, state in found if state is not None]


def _state(reference: weakref.ref[RevisionWatch]) -> tuple[RevisionWatch, PollState] | None:
    watch = reference()
    state = None if watch is None else state_of(watch)
    return None if watch is None or state is None else (watch, state)
