"""Polls that come early because of hints: which, and how many of them may. No I/O, no clock.

A hint is no reason to ask a control plane more often. So all polls take from a budget, which is filled at the
rate of a fleet that polls each workload at its usual interval, and a poll that a hint asks for waits until
there is some left. It stands for the next slot of its workload, so what it takes is soon there again. A
second one within an interval has no slot of its own to give: it comes only while nothing waits in its slot.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from itertools import count

from runai_async._fleet.member import Member

_LEAST_BURST = 2.0
"""Polls that the budget of a small fleet holds; that of a large one holds those of a second."""
_ROUNDING = 1e-6
"""Part of a poll that may be missing where times were rounded."""


class _Budget:
    """How many polls there may be.

    Args:
        rate: returns the polls a second at which it is filled.
    """

    def __init__(self, rate: Callable[[], float]) -> None:
        self._rate = rate
        self._left = 0.0
        self._filled_at = -math.inf

    def _fill(self, now: float) -> float:
        rate = self._rate()
        most = max(_LEAST_BURST, rate)
        self._left = min(most, self._left + rate * (now - self._filled_at)) if rate else self._left
        self._filled_at = now
        return rate

    def spend(self, now: float) -> None:
        """Take for one poll, whether or not there is some left: those in their slots wait for nothing."""
        self._fill(now)
        self._left = max(0.0, self._left - 1)

    def free_at(self, now: float) -> float:
        """Return when there is some for one more poll."""
        rate = self._fill(now)
        if self._left >= 1 - _ROUNDING:
            return now
        return now + (1 - self._left) / rate if rate else math.inf


class _Queue:
    """Members by the time from which on a hint asks for their poll."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Member]] = []
        self._counter = count()  # so that members themselves are never compared

    def push(self, at: float, member: Member) -> None:
        heapq.heappush(self._heap, (at, next(self._counter), member))

    @property
    def first(self) -> float:
        """When the first one may be polled; infinite without any."""
        while self._heap and not _is_asked_for(self._heap[0][2], self._heap[0][0]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else math.inf

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

    def ask(self, member: Member, at: float) -> None:
        """Ask for a poll of a member from a monotonic time on, which replaces what was asked for before."""
        member.hinted_for = at
        is_second = at - member.hinted_at < member.interval
        (self._again if is_second else self._first).push(at, member)

    def free_at(self, now: float, *, slot_waits: bool) -> float:
        """Return when the next one may be polled, given whether any member *waits* in its slot."""
        at = self._first.first if slot_waits else min(self._first.first, self._again.first)
        return at if at == math.inf else max(at, self._budget.free_at(now))

    def first_at(self) -> float:
        """Return when the first one asked for that has a slot to give."""
        return self._first.first

    def pop(self, now: float) -> Member:
        """Take the member whose poll is to begin now."""
        is_second = self._first.first > now
        member = (self._again if is_second else self._first).pop()
        member.hinted_at = now
        if not is_second and member.due is not None:
            member.slot = member.due
        return member

    def spend(self, member: Member, now: float) -> None:
        """Note that a poll of a member begins."""
        member.hinted_for = None
        self._budget.spend(now)

    def clear(self) -> None:
        """Forget what was asked for."""
        self._first, self._again = _Queue(), _Queue()
