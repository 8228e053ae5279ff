"""From a revision's history to spans of phases. No I/O."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from datetime import datetime

from attrs import frozen

from runai_async.models import HistoryRecord, Phase, Revision


@frozen
class Span:
    """A time that a revision spent in a phase; None where only that it was there is known."""

    phase: Phase | None
    start: datetime
    end: datetime

    @property
    def seconds(self) -> float:
        """How long it was."""
        return (self.end - self.start).total_seconds()


@frozen
class Lane:
    """A revision and its spans, the oldest first."""

    revision: Revision
    spans: tuple[Span, ...]


def lane_of(revision: Revision, history: Iterable[HistoryRecord] | None, now: datetime) -> Lane:
    """Return a revision's spans: from its history, else from what the list tells of it.

    Args:
        revision: as the list has it.
        history: its records in any order; None, or without a phase, where there is none.
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
    return Lane(revision, _spans(starts or _from_list(revision), end))


def _from_list(revision: Revision) -> list[tuple[datetime, Phase | None]]:
    """Return what is known without a history: when it was created, and the last change of phase."""
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
    """Leave out what was over before *start*."""
    shorter = [
        Lane(
            lane.revision,
            tuple(Span(s.phase, max(s.start, start), s.end) for s in lane.spans if s.end >= start),
        )
        for lane in lanes
    ]
    return [lane for lane in shorter if lane.spans]


def range_of(lanes: Sequence[Lane]) -> tuple[datetime, datetime]:
    """Return from when to when the spans reach."""
    spans = [span for lane in lanes for span in lane.spans]
    return min(span.start for span in spans), max(span.end for span in spans)


def phases_in(lanes: Iterable[Lane]) -> list[Phase | None]:
    """Return the phases that occur, in the order in which they do."""
    return list(dict.fromkeys(span.phase for lane in lanes for span in lane.spans))
