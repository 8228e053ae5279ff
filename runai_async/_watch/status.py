"""What a watch says about itself, and what one of its polls found."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple, Self

from runai_async._codec import Outline
from runai_async._values import frozen
from runai_async.errors import RunaiError
from runai_async.events import WatchEvent


@frozen
class WatchStatus:
    """The state of a watch at the moment it is read.

    Attributes:
        synced: whether a poll has succeeded yet, here or before the checkpoint that the watch resumed from.
        last_success_at: when the last successful poll ended; None before the first.
        consecutive_failures: polls that failed since then.
        next_poll_at: when the next poll is due; it waits until the consumer asks for an event.
        stale: the last successful poll is longer ago than three intervals and a deadline. A watchdog needs
            nothing else.
        undecodable: revisions of the last response that could not be decoded.
        last_error: why the last poll failed; None if it succeeded.

    Example:
        >>> watch = runai.watch_revisions(workload_id)
        >>> event = await anext(watch)
        >>> watch.status.stale, watch.status.consecutive_failures
        (False, 0)
    """

    synced: bool
    last_success_at: datetime | None
    consecutive_failures: int
    next_poll_at: datetime
    stale: bool
    undecodable: int
    last_error: RunaiError | None = None


class Batch(NamedTuple):
    """What one poll found.

    Attributes:
        events: in order; also those about the watch itself.
        is_poll: whether a poll has succeeded: what follows is what it found.
        listed_ids: the revisions that it listed and that can be decoded.
        unreadable: what can be read of those that cannot.
    """

    events: list[WatchEvent]
    is_poll: bool
    listed_ids: frozenset[str]
    unreadable: list[Outline]


class PollState(NamedTuple):
    """How the polls of one workload went until it was read; for the exporter.

    Attributes:
        workload_id: the workload.
        age: seconds since the last successful poll, or since the workload is watched if there was none; 0 for
            one without revisions, whose polls are all 404.
        last_success_at: when that poll ended; None before the first.
        stale_after: seconds without a successful poll after which what is known is out of date.
        failure: what the last poll failed with; empty if it succeeded, or there was none.
        has_no_revisions: the control plane lists the workload but says that it has no revisions.
        version: of its live revisions, as in `Tracker.version`.
    """

    workload_id: str
    age: float
    last_success_at: datetime | None
    stale_after: float
    failure: str = ""
    has_no_revisions: bool = False
    version: int = 0

    @property
    def was_polled(self) -> bool:
        """Whether a poll has ended."""
        return self.last_success_at is not None or bool(self.failure)

    @property
    def is_late(self) -> bool:
        """Whether a successful poll is overdue."""
        return self.age > self.stale_after

    @property
    def is_up(self) -> bool:
        """Whether what the polls showed is the present."""
        return (self.last_success_at is not None or self.has_no_revisions) and not self.is_late

    def later(self, seconds: float) -> Self:
        """Return the same some seconds later, if nothing is known of polls in the meantime."""
        return self._replace(age=self.age + seconds) if seconds else self
