"""Polls that come early because of hints: which, and how many of them may. No I/O, no clock.

A hint is no reason to ask a control plane more often. So all polls take from a budget, which is filled at the
rate of a fleet that polls each workload at its usual interval, and a poll that a hint asks for waits until
there is some left. It stands for the next slot of its workload, so what it takes is soon there again. A
second one within an interval may have no slot to give, and one that finds nothing gives none: where either
is to be expected, it comes only while nothing waits in its slot, and there is plenty left for the others.
Where many find nothing, the budget lets them add one poll in fifty.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from itertools import count

from runai_async._fleet.member import Member

_LEAST_BURST = 2.0
"""Polls that the budget of a small fleet holds; that of a large one holds those of a second."""
_PLENTY = 0.5
"""Part of the budget that is left for polls which have a slot to give."""
_NO_ROOM = 1.0
"""Seconds until it is seen whether there is room for a poll for which there was none."""
_FORGIVEN = 1.02
"""How much faster what is owed is filled up."""
_LEAST_LIMIT = 16
"""Entries of a queue from which on those that are no longer asked for are dropped now and then."""
_ROUNDING = 1e-6
"""Part of a poll that may be missing where times were rounded."""


class _Budget:
    """How many polls there may be.

    What those in their slots take when nothing is left is owed, however much that is. It is forgiven little
    by little, since a fleet whose polls are all in their slots never asks for less than what comes in.

    Args:
        rate: returns the polls a second at which it is filled.
    """

    def __init__(self, rate: Callable[[], float]) -> None:
        self._rate = rate
        self._left = 0.0
        self._filled_at = -math.inf

    def _fill(self, now: float) -> tuple[float, float]:
        """Return the rate, and the most that there may be."""
        rate = self._rate()
        most = max(_LEAST_BURST, rate)
        if rate:
            faster = _FORGIVEN if self._left < -_ROUNDING else 1.0
            self._left = min(most, self._left + faster * rate * (now - self._filled_at))
        self._filled_at = now
        return rate, most

    def spend(self, now: float) -> None:
        """Take for one poll, whether or not there is some left: those in their slots wait for nothing."""
        self._fill(now)
        self._left -= 1

    def free_at(self, now: float, *, plenty: bool = False) -> float:
        """Return when there is some for one more poll, or *plenty* of it."""
        rate, most = self._fill(now)
        missing = max(1.0, _PLENTY * most if plenty else 0.0) - self._left
        if missing <= _ROUNDING:
            return now
        return now + missing / rate if rate else math.inf


class _Queue:
    """Members by the time from which on a hint asks for their poll."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Member]] = []
        self._counter = count()  # so that members themselves are never compared
        self._limit = _LEAST_LIMIT

    def __len__(self) -> int:
        return len(self._heap)

    def push(self, at: float, member: Member) -> None:
        if len(self._heap) >= self._limit:
            self._prune()
        heapq.heappush(self._heap, (at, next(self._counter), member))

    def _prune(self) -> None:
        """Drop what is no longer asked for: nobody sees it as long as what comes first has to wait."""
        asked_for = {member: (at, n, member) for at, n, member in self._heap if _is_asked_for(member, at)}
        self._heap = list(asked_for.values())
        heapq.heapify(self._heap)
        self._limit = max(_LEAST_LIMIT, 2 * len(self._heap))

    @property
    def first(self) -> float:
        """When the first one may be polled; infinite without any."""
        while self._heap and not _is_asked_for(self._heap[0][2], self._heap[0][0]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else math.inf

    @property
    def head(self) -> Member:
        """The first one."""
        return self._heap[0][2]

    def pop(self) -> Member:
        return heapq.heappop(self._heap)[2]


def _is_asked_for(member: Member, at: float) -> bool:
    """Return whether a hint still asks for a poll at that time: not once it was polled, or has gone."""
    return member.hinted_for == at and member.due is not None


class HintedPolls:
    """The polls that hints ask for.

    Args:
        rate: returns the polls a second of the fleet at its usual intervals.
    """

    def __init__(self, rate: Callable[[], float]) -> None:
        self._budget = _Budget(rate)
        self._first, self._again = _Queue(), _Queue()

    def __len__(self) -> int:
        """Return how many entries there are, those that are no longer asked for included."""
        return len(self._first) + len(self._again)

    def ask(self, member: Member, at: float, *, yields: bool = False) -> None:
        """Ask for a poll of a member from a monotonic time on, which replaces what was asked for before.

        Args:
            member: whom to poll.
            at: the time.
            yields: whether it comes only where there is plenty left, as a second one within an interval does.
        """
        member.hinted_for = at
        yields = yields or at - member.hinted_at < member.interval
        (self._again if yields else self._first).push(at, member)

    def free_at(self, now: float, *, slot_waits: bool) -> float:
        """Return when the next one may be polled, given whether any member *waits* in its slot."""
        first, again = self._first.first, math.inf if slot_waits else self._again.first
        if first < math.inf:
            first = max(first, self._budget.free_at(now))
        if again < math.inf:
            again = max(again, self._budget.free_at(now, plenty=True))
        return min(first, again)

    def first_at(self) -> float:
        """Return when the first one asked for that comes before others in their slots."""
        return self._first.first

    def next_member(self, now: float) -> Member:
        """Return the member whose poll may begin now."""
        return self._next(now).head

    def put_off(self, now: float) -> None:
        """Ask for that poll later, since there is no room for it."""
        queue = self._next(now)
        member = queue.pop()
        member.hinted_for = now + _NO_ROOM
        queue.push(member.hinted_for, member)

    def _next(self, now: float) -> _Queue:
        return self._first if self._first.first <= now else self._again

    def pop(self, now: float) -> Member:
        """Take the member whose poll is to begin now."""
        member = self._next(now).pop()
        member.hinted_at = now
        if member.due is not None and member.due < now + member.interval:  # else an earlier poll has its slot
            member.slot = member.due
        return member

    def spend(self, member: Member, now: float) -> None:
        """Note that a poll of a member begins."""
        member.hinted_for = None
        self._budget.spend(now)

    def clear(self) -> None:
        """Forget what was asked for."""
        self._first, self._again = _Queue(), _Queue()
