"""One workload of a fleet, and when it is due. No I/O, no clock."""

from __future__ import annotations

from runai_async._fleet.schedule import next_slot, offset_of
from runai_async._http.messages import Request
from runai_async._watch.failures import FailureStreak
from runai_async._watch.slots import interval_at
from runai_async._watch.tracker import Tracker
from runai_async.policy import PollPolicy

_FAILED_CAP = 300.0
"""Seconds between polls of a workload that was told failed."""


class Member:
    """One workload of a fleet.

    Attributes:
        tracker: what is known of its revisions, and the events that wait for the consumer.
        request: what lists them.
        due: monotonic time of its next poll; None while that runs, and when there will be none.
        interval: seconds between polls, when it was last planned.
        place: its place on the circle of an interval, 0 to 1.
        buffered: how many of its events have their place in the fleet's buffer.
        trouble: the present row of failed polls, if its last poll failed.
        failed: polls since its trouble was told; 0 if none was.
        last_good: monotonic time of its last good poll.
        removed: it is forgotten, with what is buffered.
        left: it is polled no more, but what is buffered is told.
    """

    __slots__ = (
        "buffered",
        "due",
        "failed",
        "interval",
        "last_success_at",
        "left",
        "place",
        "removed",
        "request",
        "streak",
        "tracker",
    )  # fmt: skip

    def __init__(self, tracker: Tracker, request: Request, interval: float) -> None:
        self.tracker = tracker
        self.request = request
        self.due: float | None = None
        self.interval = interval
        self.place = offset_of(tracker.workload_id)
        self.buffered = 0
        self.streak: FailureStreak | None = None
        self.failed = 0
        self.last_success_at: float | None = None
        self.removed = False
        self.left = False

    @property
    def is_backing_off(self) -> bool:
        """Whether an outage, and no trouble of its own that was told, keeps it from its usual place."""
        return self.streak is not None and self.streak.outage_since is not None and not self.failed

    def due_after_success(self, policy: PollPolicy, began: float, now: float) -> float:
        """Let a good poll end all trouble, and return when the one after it is due."""
        self.streak, self.failed = None, 0
        return self._next_slot(self._look_at(policy, now), began, now)

    def due_after_failure(self, streak: FailureStreak, policy: PollPolicy, began: float, now: float) -> float:
        """Return when the next poll is due after one that failed."""
        before = self._look_at(policy, now)
        interval = self.interval
        if self.failed:
            longest = min(max(_FAILED_CAP, interval), interval * 2.0 ** min(self.failed, 32))
            self.failed += 1
            return now + longest * (0.5 + self.place / 2)  # spread, as what failed together comes back so
        due = streak.next_due(now, interval, policy)
        return self._next_slot(before, began, now) if due is None else due

    def _look_at(self, policy: PollPolicy, now: float) -> float:
        """Go over to the present interval, and return the one before."""
        before = self.interval
        self.interval = interval_at(policy, now, self.tracker.fast_until(policy.fast_for))
        return before

    def _next_slot(self, before: float, began: float, now: float) -> float:
        """Return its next place, but not one so soon after a poll out of turn that this was meant for it."""
        return next_slot(self.place, self.interval, max(now, began + min(before, self.interval) / 2))
