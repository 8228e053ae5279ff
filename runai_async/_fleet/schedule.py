"""When the polls of a fleet are due. No I/O, no clock.

Every workload has its offset in an interval, given by a hash of its id. So the polls are spread evenly
without anyone arranging it, joining and leaving disturb nobody, and a restart finds the same spread. Of the
slots that a workload missed, one is caught up, without haste.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable
from typing import Generic, Protocol, TypeVar


class _Due(Protocol):
    due: float | None


T = TypeVar("T", bound=_Due)
_CATCH_UP = 1.1
"""How much faster than the clock a schedule runs that is late."""
_LONGEST_GAP = 1.0
"""Seconds to which longer gaps are shortened that a pause leaves in a schedule."""
_LATE = 0.02
"""Seconds without a peek that are not a pause: a timer's, or a turn of the event loop."""
_BUSY = 1.0
"""The same where it is late already; a busy loop, or the wait for room, must not make it later."""
_ROUNDING = 1e-6
"""Fraction of an interval within which two times are the same slot."""


def next_slot(offset: float, interval: float, after: float) -> float:
    """Return the first slot after *after* of what is polled at *offset* in each *interval*."""
    slot = (math.floor(after / interval - offset) + 1 + offset) * interval
    # Rounding may give `after` itself, or what is later by one bit: the slot that has just been used.
    return slot if slot - after > interval * _ROUNDING else slot + interval


class Schedule(Generic[T]):
    """A heap of what is due when, of items that are polled at one interval.

    A naive schedule takes whatever is due. After a pause (a full buffer, a process that stood still) that is
    much at once: after a whole interval every workload, in one second, and again an interval later. Here each
    item also has its *turn*. While all is on time, that is when it is due. After a pause the first item's
    turn is now, and the turns of the others follow one another as their due times do, only a tenth faster,
    until turn and due time are one again. Order and spread stay as they were.

    A busy event loop, or a limit of requests, makes items late as well, all the time. Taking that for pauses
    would slow the schedule down for good, and it would fall behind. So turns are counted from one another,
    not from the time at which an item was taken, and there was a pause only where nobody peeked for a while
    and the first item became late meanwhile.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, T]] = []
        self._count = 0
        self._turn, self._due = -math.inf, 0.0  # of the item that was taken last
        self._peeked_at = -math.inf

    def push(self, due: float, item: T) -> None:
        """Make *item*, whose `due` this is, due then; at any other time it no longer is."""
        self._count += 1  # so that items themselves are never compared
        heapq.heappush(self._heap, (due, self._count, item))

    def push_all(self, items: Iterable[tuple[float, T]]) -> None:
        """Do the same for many items, each behind its `due`; that is quicker than one after another."""
        for due, item in items:
            self._count += 1
            self._heap.append((due, self._count, item))
        heapq.heapify(self._heap)

    @property
    def next_item(self) -> T:
        """The first item."""
        _ = self.first  # drops what is no longer due
        return self._heap[0][2]

    @property
    def first(self) -> float:
        """When the first item is due; infinite without any."""
        while self._heap and self._heap[0][2].due != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else math.inf

    def peek(self, now: float) -> float:
        """Notice whether there was a pause, and return when the turn of the first item comes."""
        unseen_for, self._peeked_at = now - self._peeked_at, now
        due = self.first
        turn = max(due, self._turn + min(due - self._due, _LONGEST_GAP) / _CATCH_UP)
        late = now - turn
        was_late = turn > due or late > unseen_for
        if min(unseen_for, late) > (_BUSY if was_late else _LATE):
            turn, self._turn, self._due = now, now, due
        return turn

    def pop(self, now: float) -> T:
        """Take the first item, whose turn has come."""
        self._turn, self._due = self.peek(now), self.first
        return heapq.heappop(self._heap)[2]

    def note_pause(self, now: float) -> None:
        """Count what is late as late because of a pause, whether or not one was noticed."""
        if (due := self.first) < now:
            self._turn, self._due = now, due

    def skip(self) -> T:
        """Take the first item and leave its turn to the next one."""
        self._due = self.first
        return heapq.heappop(self._heap)[2]

    def count_due(self, now: float) -> int:
        """Count the items that are due; only these, and those next to them in the heap, are looked at."""
        heap, count, indexes = self._heap, 0, [0]
        while indexes:
            index = indexes.pop()
            if index < len(heap) and heap[index][0] <= now:
                due, _, item = heap[index]
                count += due == item.due
                indexes += (2 * index + 1, 2 * index + 2)
        return count

    def items(self) -> list[T]:
        """Return the items, in no particular order."""
        return [item for due, _, item in self._heap if due == item.due]


class RateLimit:
    """Spaces requests evenly: at most so many a second."""

    def __init__(self, per_second: float | None) -> None:
        self._spacing = 0.0 if per_second is None else 1 / per_second
        self._next = -math.inf

    def wait(self, now: float) -> float:
        """Return the seconds until the next free turn."""
        return max(0.0, self._next - now)

    def reserve(self, now: float) -> float:
        """Take the next turn and return the seconds to wait for it."""
        if not self._spacing:
            return 0.0
        start = max(now, self._next)
        self._next = start + self._spacing
        return start - now
