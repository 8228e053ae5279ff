"""What a command watches, and what is known of it now."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from typing import NamedTuple, Protocol

from runai_async._fleet.fleet_watch import FleetWatch, read_workload
from runai_async._watch.live import LiveRevisions
from runai_async._watch.revision_watch import RevisionWatch, live_of


class Reading(NamedTuple):
    """What is known of one workload.

    Attributes:
        live: its live revisions as of its last successful poll, not decoded.
        has_none: it is known to have no revisions, although polls of it fail.
    """

    live: LiveRevisions
    has_none: bool = False


class Watched(Protocol):
    """The workloads that are watched."""

    @property
    def ids(self) -> AbstractSet[str]:
        """Their ids."""
        ...

    @property
    def expected(self) -> int:
        """How many there will be once all that are known have joined."""
        ...

    def read(self, workload_id: str) -> Reading | None:
        """Return what is known of a workload; None if it is not watched."""
        ...


class WatchedFleet:
    """The workloads of a fleet."""

    def __init__(self, fleet: FleetWatch) -> None:
        self._fleet = fleet

    @property
    def ids(self) -> AbstractSet[str]:
        """Their ids."""
        return self._fleet.workload_ids

    @property
    def expected(self) -> int:
        """How many there will be once all that are known have joined."""
        return self._fleet.status.expected

    def read(self, workload_id: str) -> Reading | None:
        """Return what is known of a workload; None if it is not watched."""
        found = read_workload(self._fleet, workload_id)
        return None if found is None else Reading(*found)


class SeparatelyWatched:
    """Workloads that have a watch each."""

    def __init__(self, watches: Iterable[RevisionWatch] = ()) -> None:
        self._watches = {watch.workload_id: watch for watch in watches}

    @property
    def ids(self) -> AbstractSet[str]:
        """Their ids."""
        return self._watches.keys()

    @property
    def expected(self) -> int:
        """How many there are."""
        return len(self._watches)

    def read(self, workload_id: str) -> Reading | None:
        """Return what is known of a workload; None if it is not watched."""
        watch = self._watches.get(workload_id)
        return None if watch is None else Reading(live_of(watch))


def watched(stream: FleetWatch | RevisionWatch) -> Watched:
    """Return what a fleet watches, or a watch."""
    return WatchedFleet(stream) if isinstance(stream, FleetWatch) else SeparatelyWatched([stream])
