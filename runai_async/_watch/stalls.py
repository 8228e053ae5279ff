"""Which revisions have been on their way in one phase for too long. No I/O, no clock.

A stall is found where nothing has changed but the time. So the mark of a revision says since when it has been
in its phase, if no response does, and which stall was reported last: by the count of its events, which is
another one once it has entered another phase, or the same one again.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

from attrs import evolve

from runai_async._watch.failures import ROUNDING
from runai_async.checkpoint import RevisionMark, StallMark
from runai_async.events import RevisionStalled
from runai_async.models import Revision

_NOTHING = StallMark()


def can_stall(mark: RevisionMark) -> bool:
    """Return whether a revision is on its way somewhere, and was not reported as stalled in its phase yet."""
    return not (mark.phase.is_settled or is_stalled(mark))


def is_stalled(mark: RevisionMark) -> bool:
    """Return whether a revision was reported as stalled in its present phase."""
    return mark.stall is not None and mark.stall.count == mark.count


def reported(mark: RevisionMark) -> RevisionMark:
    """Return the mark after its revision was reported as stalled."""
    stall, since = mark.stall or _NOTHING, _since(mark)
    until = max((at for at in (stall.until, since) if at is not None), default=None)
    return evolve(mark, stall=evolve(stall, count=mark.count, until=until))


def after_a_change(stall: StallMark | None) -> StallMark | None:
    """Return what is kept when a revision enters a phase."""
    if stall is None or stall.seen_at is None:
        return stall
    return None if stall.count is None else evolve(stall, seen_at=None)


class StallCheck(NamedTuple):
    """Looks at revisions that are on their way.

    Attributes:
        stalled_after: seconds after which one has stalled that is still in the same phase.
        now: wall-clock time.
        server_now: the same by the server's clock.
    """

    stalled_after: float
    now: datetime
    server_now: datetime

    def noted(self, mark: RevisionMark) -> RevisionMark:
        """Return the mark with the time at which its phase was entered: now, if nothing says when."""
        if _since(mark) is not None:
            return mark
        return evolve(mark, stall=evolve(mark.stall or _NOTHING, seen_at=self.server_now.astimezone(UTC)))

    def stalls_at(self, mark: RevisionMark) -> float:
        """Return when a revision whose mark was `noted` has stalled, in the server's seconds since 1970."""
        return (_since(mark) or self.server_now).timestamp() + self.stalled_after

    def is_stalled(self, mark: RevisionMark) -> bool:
        """Return whether that is now or in the past."""
        return self.stalls_at(mark) <= self.server_now.timestamp() + ROUNDING

    def event(self, mark: RevisionMark, revision: Revision) -> RevisionStalled:
        """Return the event of a revision that has stalled, by its mark and its present state."""
        since = _since(mark) or self.server_now
        return RevisionStalled(
            revision=revision,
            observed_at=self.now,
            since=since,
            seconds=max(self.stalled_after, (self.server_now - since).total_seconds()),  # never just below
            stalled_after=self.stalled_after,
            ordinal=_ordinal(mark),
        )


def _since(mark: RevisionMark) -> datetime | None:
    """Return when a revision entered its phase, as far as that is known."""
    if mark.phase_updated_at is not None:
        return mark.phase_updated_at
    return None if mark.stall is None else mark.stall.seen_at


def _ordinal(mark: RevisionMark) -> int | None:
    """Return the count that the event's id needs; None where the server's time is enough."""
    at, last = mark.phase_updated_at, None if mark.stall is None else mark.stall.until
    if at is None:
        return mark.count
    # The ids hold whole seconds, and a server that does not update the time gives two stalls the same.
    is_later = last is None or at.replace(microsecond=0) > last.replace(microsecond=0)
    return None if is_later else mark.count
