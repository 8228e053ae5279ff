"""Whether the polls of all workloads fail, one after another: then that is said once, not of each. No I/O."""

from __future__ import annotations

from datetime import datetime

from attrs import evolve

from runai_async._clock import EARLIEST
from runai_async.cli.wording import REFUSALS
from runai_async.events import FleetEvent, WatchDegraded, WatchRecovered
from runai_async.hooks import PollFinished

_MANY = 10
"""Workloads whose polls fail in a row, without a response in between, that stand for all."""


class SharedOutage:
    """The workloads whose polls have failed since the last response.

    Attributes:
        since: when the first of these polls failed; None while there is none.
    """

    def __init__(self) -> None:
        self.since: datetime | None = None
        self._silent: set[str] = set()

    def note(self, event: PollFinished, now: datetime) -> None:
        """Take in how a poll ended; a refusal is a response."""
        if event.error is None or event.error in REFUSALS:
            self.since = None
            self._silent.clear()
            return
        if not self._silent:
            self.since = now
        self._silent.add(event.workload_id)

    def is_silent(self, workload_id: str) -> bool:
        """Return whether polls of a workload have failed since the last response to any."""
        return workload_id in self._silent

    def lasts(self, watched: int) -> bool:
        """Return whether these are all workloads that are watched, or enough to stand for them."""
        return len(self._silent) >= max(1, min(watched, _MANY))


class OutageEvents:
    """Makes one event of the outages of single workloads where all have one.

    The first ones are held back until it is clear which of the two it is: another poll tells that, within an
    interval.
    """

    def __init__(self) -> None:
        self._shared = SharedOutage()
        self._held: dict[str, WatchDegraded] = {}
        self._hit: set[str] = set()
        self._lasts = False

    def note_poll(self, event: PollFinished, watched: int) -> list[FleetEvent]:
        """Take in how a poll of one of so many workloads ended; return the events that are to be shown."""
        self._shared.note(event, EARLIEST)
        return self._due(watched)

    def note(self, event: WatchDegraded | WatchRecovered, watched: int) -> list[FleetEvent]:
        """Take in that an outage of a workload began or ended; return the events that are to be shown."""
        key = event.workload_id
        if isinstance(event, WatchDegraded):
            if self._lasts:
                self._hit.add(key)
                return []
            self._held[key] = event
            return self._due(watched)
        if key in self._hit:
            self._hit.remove(key)
            ends, self._lasts = self._lasts, False
            return [evolve(event, workload_id="")] if ends else []
        began = self._held.pop(key, None)
        return [event] if began is None else [began, event]

    def _due(self, watched: int) -> list[FleetEvent]:
        is_shared = watched > 1 and self._shared.lasts(watched)
        if is_shared and self._held:
            first = next(iter(self._held.values()))
            self._hit |= self._held.keys()
            self._held.clear()
            self._lasts = True
            return [evolve(first, workload_id="")]
        own = [key for key in self._held if watched <= 1 or not self._shared.is_silent(key)]
        return [self._held.pop(key) for key in own]
