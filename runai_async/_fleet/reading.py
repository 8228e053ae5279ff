"""What the exporter reads of a fleet: in slices, so that thousands of workloads do not stop the loop."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import NamedTuple, Self

from runai_async._clock import Clock
from runai_async._fleet.member import Member
from runai_async._fleet.slices import in_slices
from runai_async._fleet.status import FleetStatus
from runai_async._watch.clusters import Link
from runai_async._watch.live import LiveRevisions
from runai_async._watch.status import PollState

IsKnown = Callable[[str, int], bool]
"""Takes a workload and a version of its revisions; returns whether that version need not be read again."""


class Contact(NamedTuple):
    """Whether the control plane responds to anything at all.

    Attributes:
        age: seconds since the last response, or since there was something to ask if there was none.
        has_responded: whether there was one.
        stale_after: seconds without one after which the control plane counts as unreachable.
        outage: seconds since an outage began, if the polls have shown one by now.
    """

    age: float
    has_responded: bool
    stale_after: float
    outage: float | None = None

    @property
    def is_up(self) -> bool:
        """Whether a response is recent enough."""
        return self.has_responded and self.age <= self.stale_after

    @property
    def lost_for(self) -> float | None:
        """Seconds for which it has not responded, if that is an outage; else None."""
        if self.outage is not None:
            return self.outage
        return self.age if self.age > self.stale_after else None

    def later(self, seconds: float) -> Self:
        """Return the same some seconds later, if nothing is known of responses in the meantime."""
        return self._replace(
            age=self.age + seconds, outage=None if self.outage is None else self.outage + seconds
        )


class FleetReading(NamedTuple):
    """What the exporter shows of a fleet.

    Attributes:
        status: of the whole fleet.
        clusters: what is known of the clusters of its workloads, by their ids.
        polls: how those of each workload go.
        changed: the revisions of those workloads whose version was not known. Whoever decodes them empties
            the list, since they hold whole responses.
        is_listed: whether its workloads are known: they were given, or a listing has succeeded.
        contact: whether the control plane responds to it; None where there is nothing to ask for.
    """

    status: FleetStatus
    clusters: Mapping[str, Link]
    polls: list[PollState]
    changed: list[LiveRevisions]
    is_listed: bool
    contact: Contact | None = None


def read_members(
    members: Sequence[Member], clock: Clock, stale_after: Callable[[float], float], is_known: IsKnown
) -> Generator[None, None, tuple[list[PollState], list[LiveRevisions]]]:
    """Return how the polls of each workload go, and the revisions that are not known; pause between slices.

    Args:
        members: the workloads.
        clock: the client's clock.
        stale_after: takes the seconds between the polls of a workload, and returns those without a successful
            one after which it is not up.
        is_known: which revisions need not be read.
    """
    polls, changed = list[PollState](), list[LiveRevisions]()
    for some in in_slices(members):
        now, wall = clock.monotonic(), clock.now()
        for member in some:
            tracker = member.tracker
            polls.append(member.polls(now, wall, stale_after(max(member.interval, member.promised))))
            if not is_known(tracker.workload_id, tracker.version):
                changed.append(tracker.live())
        yield
    return polls, changed
