"""What a watch promises of each revision: asserted of what the model did and of what was told."""

import re
from collections import defaultdict
from typing import Protocol

from runai_async.checkpoint import Checkpoint
from runai_async.events import PhaseChanged, RevisionAdded, RevisionEvent
from support.model import Plane, Told


class Story(Protocol):
    """One workload and who watched it.

    Attributes:
        events: what was delivered.
        answered: by id and serial the phases that were answered, in order.
    """

    control_plane: Plane
    events: list[RevisionEvent]
    responded: dict[str, dict[str, str]]

    def by_revision(self) -> dict[str, list[RevisionEvent]]:
        """Return what was delivered of each revision."""
        ...

    def checkpoint(self) -> Checkpoint:
        """Return what is remembered of the workload."""
        ...


def told(event: RevisionEvent) -> Told:
    changed = event if isinstance(event, PhaseChanged) else None
    return Told(
        event.kind,
        event.revision_id,
        event.revision.phase.value,
        event.server_time.isoformat() if event.server_time else None,
        previous=changed.previous_phase.value if changed else None,
        coalesced=changed is not None and changed.coalesced,
        initial=isinstance(event, RevisionAdded) and event.initial,
    )


def check_order(batch: list[tuple[int, Told]]) -> None:
    """Poll after poll, and within one by the server's time, then id.

    A revision whose own times go back is set apart: its events keep their order, whatever the times say.
    """
    times: dict[tuple[int, str], list[tuple[bool, str]]] = defaultdict(list)
    for poll, item in batch:
        times[poll, item.revision_id].append((item.time is None, item.time or ""))
    straight = [
        (poll, item.time is None, item.time or "", item.revision_id)
        for poll, item in batch
        if (own := times[poll, item.revision_id]) == sorted(own)
    ]
    assert straight == sorted(straight)
    assert [poll for poll, _ in batch] == sorted(poll for poll, _ in batch)


def check_each_revision(story: Story) -> None:
    """Added, changed…, deleted. What was told was answered, in that order, and goes on from what was told."""
    for revision_id, events in story.by_revision().items():
        kinds = "".join(event.kind[0] for event in events)
        assert re.fullmatch("a[pu]*d?", kinds), kinds
        responded = story.responded[revision_id]
        serials = [event.revision.phase_message for event in events]
        places = [list(responded).index(serial) for serial in serials if serial is not None]
        assert places == sorted(places)
        for event, before in zip(events[1:], events, strict=False):
            assert event.revision.phase == responded.get(
                event.revision.phase_message or "", before.revision.phase
            )
            assert not isinstance(event, PhaseChanged) or event.previous_phase == before.revision.phase


def check_rest(story: Story) -> None:
    """At rest all is told: every live revision with its last phase, every deleted one as deleted."""
    last = {revision_id: events[-1] for revision_id, events in story.by_revision().items()}
    gone = {revision_id for revision_id, event in last.items() if event.kind == "deleted"}
    live = set(story.control_plane.live())
    assert last.keys() - gone == live - (story.control_plane.hidden - last.keys())
    for revision_id in last.keys() - gone:
        assert last[revision_id].revision.phase == story.control_plane.revisions[revision_id]["phase"]
    assert gone == story.responded.keys() - live - never_told(story)
    remembered = {mark.id for mark in story.checkpoint().revisions}
    still_listed = gone & {response["id"] for response in story.control_plane.listed()}
    assert last.keys() - gone <= remembered <= (last.keys() - gone) | still_listed


def never_told(story: Story) -> set[str]:
    """Return those that were answered only after they were deleted."""
    return story.responded.keys() - {event.revision_id for event in story.events}


def check(story: Story) -> None:
    ids = [event.id for event in story.events]
    assert len(set(ids)) == len(ids)
    check_each_revision(story)
    check_rest(story)
