"""From one state of a revision to the next: which events that makes, and what is kept. Pure functions."""

from __future__ import annotations

import functools
import sys
from datetime import datetime
from typing import Any

import attrs

from runai_async._clock import EARLIEST, is_same_moment
from runai_async._watch.stalls import after_a_change
from runai_async.checkpoint import RevisionMark
from runai_async.events import PhaseChanged, RevisionDeleted, RevisionEvent
from runai_async.models import Revision

REQUIRED = [name for name in attrs.fields_dict(RevisionMark) if name in attrs.fields_dict(Revision)]
"""The fields of a revision that a checkpoint keeps."""
_SHARED = ("type", "cluster_id", "department_id", "project_id")
"""Fields that many revisions share; interned, because a fleet keeps thousands of them."""


def time_key(event: RevisionEvent) -> tuple[bool, datetime]:
    """Return a key that sorts by the server's time, those without one last."""
    at = event.server_time
    return (True, EARLIEST) if at is None else (False, at)


def new_mark(revision: Revision, workload_id: str) -> RevisionMark:
    """Return what a checkpoint keeps of a revision, before any event of it is reported."""
    fields: dict[str, Any] = {name: getattr(revision, name) for name in REQUIRED}
    fields |= {name: sys.intern(fields[name]) for name in _SHARED}
    fields["tenant_id"] = _shared(revision.tenant_id)
    fields["workload_id"] = workload_id  # one object for all revisions of a workload
    return RevisionMark(**fields, told_until=revision.phase_updated_at)


@functools.lru_cache(64)
def _shared(number: int) -> int:
    """Return one object for all equal numbers, as interning does for strings."""
    return number


def mark_after(mark: RevisionMark, revision: Revision) -> RevisionMark:
    """Return the mark after an event that reported *revision*."""
    at, until = revision.phase_updated_at, mark.told_until
    later = at if until is None or (at is not None and at > until) else until
    return RevisionMark(  # `evolve` takes three times as long
        type=mark.type,
        name=mark.name,
        id=mark.id,
        workload_id=mark.workload_id,
        tenant_id=mark.tenant_id,
        cluster_id=mark.cluster_id,
        department_id=mark.department_id,
        project_id=mark.project_id,
        created_at=mark.created_at,
        phase=revision.phase,
        phase_updated_at=at,
        deleted_at=mark.deleted_at,
        count=mark.count + 1,
        told_until=later,
        returns=mark.returns,
        updates=mark.updates,
        streak=mark.streak,
        stall=None if mark.stall is None else after_a_change(mark.stall),
    )


def ordinal_of(mark: RevisionMark | None, revision: Revision) -> int | None:
    """Return the count that an event's id needs; None where the server's time is enough."""
    at = revision.phase_updated_at
    if mark is None:
        return 0 if at is None else None
    until = mark.told_until
    # The ids hold whole seconds, which all spellings of one moment share where a server cuts them.
    is_later = at is not None and (until is None or at.replace(microsecond=0) > until.replace(microsecond=0))
    return None if is_later else mark.count


def has_moved(mark: RevisionMark, revision: Revision) -> bool:
    """Return whether a revision is in another phase, or left its phase and came back."""
    if revision.phase != mark.phase:
        return True
    before, after = mark.phase_updated_at, revision.phase_updated_at
    return before is not None and after is not None and not is_same_moment(before, after)


def deletion(mark: RevisionMark, revision: Revision, now: datetime) -> RevisionDeleted:
    """Return the event of a revision's end."""
    return RevisionDeleted(revision=revision, observed_at=now, ordinal=mark.returns or None)


def phase_change(mark: RevisionMark, revision: Revision, now: datetime) -> PhaseChanged:
    """Return the event of a change of phase."""
    return PhaseChanged(
        revision=revision,
        observed_at=now,
        previous_phase=mark.phase,
        coalesced=revision.phase == mark.phase,
        ordinal=ordinal_of(mark, revision),
    )
