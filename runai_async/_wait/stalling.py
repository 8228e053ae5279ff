"""What a wait reports when the revision that it follows has stalled: a line in the log, and it goes on."""

from __future__ import annotations

from datetime import datetime

from runai_async._observe.log import logger
from runai_async._watch.stalls import StallCheck, can_stall, reported
from runai_async._watch.state import has_moved, mark_after, new_mark
from runai_async.checkpoint import RevisionMark
from runai_async.events import RevisionStalled
from runai_async.models import Revision


class Stalling:
    """Whether a revision that is polled by itself has stalled, once for each phase that it enters.

    Args:
        stalled_after: `PollPolicy.stalled_after`.
    """

    def __init__(self, stalled_after: float | None) -> None:
        self._stalled_after = stalled_after
        self._mark: RevisionMark | None = None

    def look(self, revision: Revision, now: datetime, server_now: datetime) -> RevisionStalled | None:
        """Return the stall that a poll shows, if it is a new one."""
        if self._stalled_after is None:
            return None
        check = StallCheck(self._stalled_after, now, server_now)
        mark = self._mark = check.noted(self._marked(revision))
        if not (can_stall(mark) and check.is_stalled(mark)):
            return None
        self._mark = reported(mark)
        return check.event(mark, revision)

    def _marked(self, revision: Revision) -> RevisionMark:
        if self._mark is None:
            return new_mark(revision, revision.workload_id)
        return mark_after(self._mark, revision) if has_moved(self._mark, revision) else self._mark


def log_stall(event: RevisionStalled) -> None:
    """Log that the revision that a wait follows has stalled."""
    revision = event.revision
    message = f": {revision.phase_message}" if revision.phase_message else ""
    text = "stalled: revision %s (%s) has been %s for %.0f s%s"
    logger.warning(text, revision.name, revision.id, revision.phase, event.seconds, message)
