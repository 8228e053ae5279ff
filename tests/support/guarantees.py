"""What a watch guarantees for each revision, asserted of a run of the model and the events of a consumer."""

import re
from collections import defaultdict
from itertools import groupby
from typing import Protocol

from runai_async.checkpoint import Checkpoint
from runai_async.events import PhaseChanged, RevisionAdded, RevisionEvent
from support.model import ControlPlaneModel, EventSummary
from support.oracle import by_revision, check_stalls, is_subsequence


class Story(Protocol):
    """One workload, and what a consumer saw of it.

    Attributes:
        events: the events that were delivered.
        responded: the serials and phases in responses, by the id of the revision, in order.
    """

    control_plane: ControlPlaneModel
    events: list[RevisionEvent]
    responded: dict[str, list[tuple[str, str]]]

    def checkpoint(self) -> Checkpoint:
        """Return the checkpoint of the workload."""
        ...


def summary_of(event: RevisionEvent) -> EventSummary:
    changed = event if isinstance(event, PhaseChanged) else None
    return EventSummary(
        event.kind,
        event.revision_id,
        event.revision.phase.value,
        event.server_time.isoformat() if event.server_time else None,
        previous=changed.previous_phase.value if changed else None,
        coalesced=changed is not None and changed.coalesced,
        initial=isinstance(event, RevisionAdded) and event.initial,
    )


def check_order(batch: list[tuple[int, EventSummary]]) -> None:
    """Assert the order of events: by poll, and within a poll by server time, then id.

    A revision whose own times go backwards is left out: its events keep their order whatever the times say.
    """
    times: dict[tuple[int, str], list[tuple[bool, str]]] = defaultdict(list)
    for poll, item in batch:
        times[poll, item.revision_id].append((item.time is None, item.time or ""))
    ordered = [
        (poll, item.time is None, item.time or "", item.revision_id)
        for poll, item in batch
        if (own := times[poll, item.revision_id]) == sorted(own)
    ]
    assert ordered == sorted(ordered)
    assert [poll for poll, _ in batch] == sorted(poll for poll, _ in batch)


def check_each_revision(story: Story) -> None:
    """Assert the events of each revision: added, changed, deleted, as in responses and without a break."""
    for revision_id, events in by_revision(story.events).items():
        kinds = "".join(event.kind[0] for event in events)
        check_stalls(events)
        assert re.fullmatch("a[pus]*d?", kinds), kinds
        responded = dict(story.responded[revision_id])
        serials = [event.revision.phase_message for event in events]
        states = [serial for serial, _ in groupby(serial for serial in serials if serial is not None)]
        assert is_subsequence(states, (serial for serial, _ in story.responded[revision_id]))
        for event, before in zip(events[1:], events, strict=False):
            serial = event.revision.phase_message or ""
            assert event.revision.phase == responded.get(serial, before.revision.phase)
            assert not isinstance(event, PhaseChanged) or event.previous_phase == before.revision.phase


def check_rest(story: Story) -> None:
    """Assert that at rest, every live revision has its last phase, and every deleted one its deletion."""
    last = {revision_id: events[-1] for revision_id, events in by_revision(story.events).items()}
    deleted = {revision_id for revision_id, event in last.items() if event.kind == "deleted"}
    live = set(story.control_plane.live())
    assert last.keys() - deleted == live - (story.control_plane.hidden - last.keys())
    for revision_id in last.keys() - deleted:
        assert last[revision_id].revision.phase == story.control_plane.revisions[revision_id]["phase"]
    assert deleted == story.responded.keys() - live - never_reported(story)
    remembered = {mark.id for mark in story.checkpoint().revisions}
    still_listed = deleted & {item["id"] for item in story.control_plane.listed()}
    assert last.keys() - deleted <= remembered <= (last.keys() - deleted) | still_listed


def never_reported(story: Story) -> set[str]:
    """Return the revisions that responses contained only after their deletion."""
    return story.responded.keys() - {event.revision_id for event in story.events}


def check(story: Story) -> None:
    ids = [event.id for event in story.events]
    assert len(set(ids)) == len(ids)
    check_each_revision(story)
    check_rest(story)
