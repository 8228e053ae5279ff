"""One workload of a fleet. No I/O, no clock."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

from runai_async._api.endpoints import Call
from runai_async._fleet.spread import offset_of
from runai_async._watch.failures import NO_FAILURES, FailureStreak
from runai_async._watch.listing import Snapshot
from runai_async._watch.status import PollState
from runai_async._watch.tracker import Tracker
from runai_async.checkpoint import Checkpoint, PollStreak


class Member:
    """One workload of a fleet.

    Attributes:
        tracker: what is known of its revisions, and the events that wait for the consumer.
        call: lists its revisions.
        due: monotonic time of its next poll; None while that runs, and when there will be none.
        earliest: monotonic time before which the server asked not to be polled for it.
        interval: seconds between polls, when it was last planned.
        promised: seconds until the next poll by the last successful one; those of *interval* without one.
        joined_at: monotonic time at which it joined the fleet.
        offset: its offset in an interval, 0 to 1.
        buffered: how many of its events have an entry in the fleet's buffer.
        streak: the polls that failed since the last successful one.
        backoff: polls since its failure was reported; 0 if it was not.
        failure: what its last poll failed with; empty if that succeeded, or there was none.
        began_at: monotonic time at which its last poll began.
        slot: monotonic time of the slot for which an early poll stands, the first one or one of a hint.
        hinted_for: monotonic time from which on a hint asks for a poll; None without a hint.
        hinted_at: monotonic time at which the last poll began for which a hint had asked.
        gone_since: monotonic time of the first of the polls in a row that were 404 or listed nothing known.
        last_success_at: monotonic time of its last successful poll.
        vain: polls in a row for which a hint had asked, and that found that it has no revisions.
        without_revisions: the control plane lists it but says that it has no revisions.
        removed: it is forgotten, with what is buffered.
        left: it is no longer polled, but what is buffered is yielded.
    """

    __slots__ = (
        "backoff", "began_at", "buffered", "call", "due", "earliest", "failure", "gone_since", "hinted_at",
        "hinted_for", "interval", "joined_at", "last_success_at", "left", "offset", "promised", "removed",
        "slot", "streak", "tracker", "vain", "without_revisions",
    )  # fmt: skip

    def __init__(
        self,
        tracker: Tracker,
        call: Call[Snapshot | None],
        interval: float,
        streak: FailureStreak = NO_FAILURES,
    ) -> None:
        self.tracker = tracker
        self.call = call
        self.due: float | None = None
        self.earliest = -math.inf
        self.interval = self.promised = interval
        self.began_at = self.slot = self.hinted_at = -math.inf
        self.hinted_for: float | None = None
        self.joined_at = 0.0
        self.offset = offset_of(tracker.workload_id)
        self.buffered = 0
        self.streak = streak
        self.backoff = 0
        self.failure = ""
        self.gone_since: float | None = None
        self.last_success_at: float | None = None
        self.vain = 0
        self.without_revisions = False
        self.removed = False
        self.left = False

    def checkpoint(self) -> Checkpoint:
        """Return what was delivered of it."""
        return self.tracker.checkpoint(self._refusal)

    @property
    def version(self) -> tuple[int, PollStreak | None]:
        """Of its checkpoint: another one whenever a poll may have changed that."""
        return self.tracker.version, self._refusal

    @property
    def _refusal(self) -> PollStreak | None:
        # One that was reported is not kept: the next process would report it at its first poll.
        return None if self.backoff else self.streak.saved()

    def polls(self, now: float, wall: datetime, stale_after: float) -> PollState:
        """Return how its polls go, by the monotonic time and the wall clock."""
        last = self.last_success_at
        since = now if self.without_revisions else self.joined_at if last is None else last
        return PollState(
            self.tracker.workload_id,
            now - since,
            None if last is None else wall - timedelta(seconds=now - last),
            stale_after,
            self.failure,
            self.without_revisions,
            self.tracker.version,
        )

    @property
    def is_failing(self) -> bool:
        """Whether its last poll failed, in this process."""
        return self.streak.failures > 0 and not self.streak.is_resumed

    @property
    def is_settled(self) -> bool:
        """Whether a poll has succeeded, or its failure was reported, or it has no revisions."""
        return self.last_success_at is not None or self.backoff > 0 or self.without_revisions

    @property
    def is_watched(self) -> bool:
        """Whether it was neither removed nor has left."""
        return not (self.removed or self.left)

    @property
    def is_backing_off(self) -> bool:
        """Whether an outage, and not a reported failure of its own, keeps it from its usual slot."""
        return self.streak.outage_since is not None and not self.backoff
