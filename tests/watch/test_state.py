"""What becomes of the mark of a revision when an event reports it."""

import json
from datetime import UTC, datetime

import attrs
from support.model import revision as raw_revision

from runai_async import Revision, from_json
from runai_async._watch.state import mark_after, new_mark
from runai_async.checkpoint import PollStreak, StallMark

AT = datetime(2026, 1, 1, tzinfo=UTC)


def decoded(**fields: str) -> Revision:
    return from_json(json.dumps(raw_revision("a", **fields)), Revision)


def test_an_event_changes_what_it_reports_and_nothing_else() -> None:
    revision = decoded(phase="Running", phaseUpdatedAt="2026-01-02T00:00:00Z")
    mark = attrs.evolve(
        new_mark(decoded(phase="Pending"), "w"),
        deleted_at=AT,
        count=3,
        told_until=AT,
        returns=4,
        updates=5,
        streak=PollStreak("live", 6, 7.0, AT),
        stall=StallMark(count=1),
    )
    after = mark_after(mark, revision)
    assert attrs.evolve(
        after, phase=mark.phase, phase_updated_at=mark.phase_updated_at, count=3, told_until=AT
    ) == mark  # fmt: skip
    assert (after.phase, after.count) == ("Running", 4)
    assert after.phase_updated_at == after.told_until == revision.phase_updated_at
