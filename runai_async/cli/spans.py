"""Revisions over time: their order, and the spans of their phases. There is no I/O."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from runai_async._values import frozen
from runai_async.models import HistoryRecord, Phase, Revision


@frozen
class Span:
    """The time that a revision spent in a phase, or in one that is not known (None)."""

    phase: Phase | None
    start: datetime
    end: datetime

    @property
    def seconds(self) -> float:
        """The length of the span."""
        return (self.end - self.start).total_seconds()


@frozen
class Lane:
    """A revision and its spans, the oldest first."""

    revision: Revision
    spans: tuple[Span, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the lane as a mapping that can be encoded as JSON."""
        spans = [
            {"phase": span.phase, "start": span.start, "end": span.end, "seconds": span.seconds}
            for span in self.spans
        ]
        return {"revisionId": self.revision.id, "name": self.revision.name, "spans": spans}


def newest_first(revisions: Iterable[Revision]) -> list[Revision]:
    """Return revisions in the order of their creation, the newest first."""
    return sorted(revisions, key=lambda item: (item.created_at, item.id), reverse=True)


def lane_of(revision: Revision, history: Iterable[HistoryRecord] | None, now: datetime) -> Lane:
    """Return a revision's spans: from its history, or from the revision itself if it has none.

    Args:
        revision: as it was listed.
        history: its records in any order; None if the control plane has none.
        now: when the last span ends, unless the revision was deleted.
    """
    end = revision.deleted_at or now
    starts = sorted(
        (
            (record.meta.creation_timestamp, record.spec.phase_update.phase)
            for record in history or ()
            if record.spec.phase_update is not None
        ),
        key=lambda start: start[0],
    )
    return Lane(revision, _spans(starts or _last_change(revision), end))


def _last_change(revision: Revision) -> list[tuple[datetime, Phase | None]]:
    """Return what is known without a history: the creation, and the last change of phase."""
    changed = revision.phase_updated_at
    if changed is None or changed <= revision.created_at:
        return [(revision.created_at, revision.phase)]
    return [(revision.created_at, None), (changed, revision.phase)]


def _spans(starts: Sequence[tuple[datetime, Phase | None]], end: datetime) -> tuple[Span, ...]:
    bounds = [*(min(at, end) for at, _ in starts), end]
    return tuple(
        Span(phase, start, until)
        for (_, phase), (start, until) in zip(starts, itertools.pairwise(bounds), strict=True)
    )


def cut(lanes: Iterable[Lane], start: datetime) -> list[Lane]:
    """Leave out everything that ended before *start*."""
    shorter = [
        Lane(
            lane.revision,
            tuple(Span(s.phase, max(s.start, start), s.end) for s in lane.spans if s.end >= start),
        )
        for lane in lanes
    ]
    return [lane for lane in shorter if lane.spans]


def range_of(lanes: Sequence[Lane]) -> tuple[datetime, datetime]:
    """Return the start of the first span and the end of the last one."""
    spans = [span for lane in lanes for span in lane.spans]
    return min(span.start for span in spans), max(span.end for span in spans)


def phases_in(lanes: Iterable[Lane]) -> list[Phase | None]:
    """Return the phases that occur, in the order in which they do."""
    return list(dict.fromkeys(span.phase for lane in lanes for span in lane.spans))
