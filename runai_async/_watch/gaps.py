"""The phases that were missed between two polls, read from a revision's history."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import evolve

from runai_async.checkpoint import RevisionMark
from runai_async.models import HistoryRecord, Revision


def missed_phases(
    mark: RevisionMark, revision: Revision, history: Sequence[HistoryRecord]
) -> list[Revision] | None:
    """Return the states between the last one told and the present one; None if the history does not fit."""
    since, until = mark.phase_updated_at, revision.phase_updated_at
    if since is None or until is None or until <= since:
        return None
    updates = sorted(
        (record.meta.creation_timestamp, index, update)
        for index, record in enumerate(history)
        if (update := record.spec.phase_update) is not None
    )
    inside = [(time, update) for time, _, update in updates if since < time <= until]
    started = [update.phase for time, _, update in updates if time <= since]
    fits = inside and inside[-1][1].phase == revision.phase and (not started or started[-1] == mark.phase)
    if not fits:
        return None
    phases = [mark.phase, *(update.phase for _, update in inside)]
    return [
        evolve(revision, phase=update.phase, phase_updated_at=time, phase_message=update.phase_message)
        for previous, (time, update) in zip(phases, inside[:-1], strict=False)
        if update.phase != previous
    ]
