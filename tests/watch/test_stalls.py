"""Revisions that are stuck: when they are reported, once for each phase that they enter, and what is kept."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from math import inf
from typing import Any

import attrs
import pytest
from support.harness import HTML_502, Harness
from support.model import WORKLOAD_ID, body_of, revision

from runai_async import (
    Checkpoint,
    FleetCheckpoint,
    FleetEvent,
    Phase,
    PhaseChanged,
    PollFinished,
    PollPolicy,
    Response,
    RevisionAdded,
    RevisionDeleted,
    RevisionEvent,
    RevisionStalled,
    to_cloudevent,
)
from runai_async._watch.tracker import Lookup, Tracker
from runai_async.testing import Request
from runai_async.testing._state import State

POLICY = PollPolicy(interval=10, fast_interval=10, jitter=0, missing_grace=30, stalled_after=65)
"""A stall is found by the poll after 70 seconds."""
ON_THEIR_WAY = [*(phase for phase in Phase if not phase.is_settled), "Suspending"]


class Skewed(Harness):
    """A control plane whose clock differs by some hours."""

    def __init__(self, hours: float) -> None:
        super().__init__()
        self.hours = hours
        self.state = State(None, self.server_now, 10_000)
        self.workload_id = self.state.add_workload("llm", "Inference", {})

    def server_now(self) -> datetime:
        return self.clock.now() + timedelta(hours=self.hours)

    async def send(self, request: Request, *, timeout: float, deadline: float) -> Response:
        response = await super().send(request, timeout=timeout, deadline=deadline)
        headers = {**response.headers, "Date": format_datetime(self.server_now(), usegmt=True)}
        return attrs.evolve(response, headers=headers)


async def watched(
    harness: Harness, seconds: float, policy: PollPolicy = POLICY, **options: Any
) -> list[RevisionEvent]:
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id, poll=policy, **options)
        return about_revisions(await harness.collect(watch, seconds))


def about_revisions(events: Sequence[FleetEvent]) -> list[RevisionEvent]:
    return [event for event in events if isinstance(event, RevisionEvent)]


def stalls(events: Sequence[FleetEvent]) -> list[RevisionStalled]:
    return [event for event in events if isinstance(event, RevisionStalled)]


def kinds(events: Sequence[FleetEvent]) -> list[str]:
    return [event.kind for event in events]


# --- when ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", ON_THEIR_WAY)
async def test_a_revision_that_is_on_its_way_for_long_is_reported_once(phase: str) -> None:
    harness = Harness()
    began = harness.clock.now()
    revision_id = harness.add(phase)
    added, stall = await watched(harness, 500)
    assert isinstance(added, RevisionAdded)
    assert isinstance(stall, RevisionStalled)
    assert (stall.revision_id, stall.revision.phase) == (revision_id, phase)
    assert (stall.since, stall.seconds) == (began, 70.0)
    assert stall.observed_at == began + timedelta(seconds=70)
    assert stall.server_time == began + timedelta(seconds=65)
    assert harness.times() == [10.0 * n for n in range(51)]  # no poll is made for it


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase.is_settled])
async def test_a_revision_that_has_arrived_never_stalls(phase: str) -> None:
    harness = Harness()
    harness.add(phase)
    assert kinds(await watched(harness, 500)) == ["added"]


async def test_without_the_option_nothing_stalls_and_no_time_is_looked_at() -> None:
    harness = Harness()
    harness.add("Pending")
    assert kinds(await watched(harness, 500, attrs.evolve(POLICY, stalled_after=None))) == ["added"]
    tracker = Tracker(WORKLOAD_ID)
    polled(tracker, revision("a", phase="Pending"), at=1000.0)
    assert tracker.stalls_at == inf
    assert tracker.checkpoint().revisions[0].stall is None


async def test_thousands_of_unchanged_polls_report_a_stall_once() -> None:
    harness = Harness()
    harness.add("Pending")
    policy = PollPolicy(interval=1, fast_interval=1, jitter=0, stalled_after=100)
    assert kinds(await watched(harness, 5000, policy)) == ["added", "stalled"]
    assert len(harness.times()) == 5001


@pytest.mark.parametrize("skew", [-2.0, 0.0, 2.0])
@pytest.mark.parametrize("is_fleet", [False, True])
async def test_the_server_s_clock_decides(skew: float, is_fleet: bool) -> None:
    harness = Skewed(skew)
    began = harness.server_now()
    harness.add("Pending")
    async with harness.client() as runai:
        if is_fleet:
            async with runai.watch_fleet([harness.workload_id], poll=POLICY) as fleet:
                events = await harness.collect(fleet, 200)
        else:
            events = list(await harness.collect(runai.watch_revisions(harness.workload_id, poll=POLICY), 200))
    (stall,) = stalls(events)
    assert stall.since == began
    assert 65 <= stall.seconds < 77
    assert stall.server_time == began + timedelta(seconds=65)
    assert datetime.fromisoformat(to_cloudevent(stall)["time"]) == stall.server_time


async def test_a_server_s_clock_that_is_set_meanwhile_counts() -> None:
    harness = Skewed(0)
    harness.add("Pending")
    policy = attrs.evolve(POLICY, stalled_after=3000)
    harness.at(100, setattr, harness, "hours", 1)
    (_, stall) = await watched(harness, 200, policy)
    assert isinstance(stall, RevisionStalled)
    assert stall.seconds == pytest.approx(3710, abs=12)


MISSING = [{"phase_updated_at": None}, {"phase_updated_at": "0001-01-01T00:00:00Z"}]


@pytest.mark.parametrize("fields", MISSING, ids=["none", "Go's zero time"])
@pytest.mark.parametrize("skew", [-2.0, 2.0])
async def test_without_a_time_of_the_server_s_it_counts_from_when_the_phase_was_first_seen(
    fields: dict[str, Any], skew: float
) -> None:
    harness = Skewed(skew)
    await harness.clock.advance(100)
    revision_id = harness.add("Pending", **fields)
    began = harness.server_now()
    harness.at(220, harness.state.update_revision, revision_id, {"phase": "Creating"})
    _, first, changed, second = await watched(harness, 300)
    assert isinstance(first, RevisionStalled)
    assert isinstance(second, RevisionStalled)
    assert abs((first.since - began).total_seconds()) < 1
    assert abs((second.since - began).total_seconds() - 120) < 1
    assert [first.seconds, second.seconds] == pytest.approx([70, 70], abs=1)
    assert first.server_time is None
    at = datetime.fromisoformat(to_cloudevent(first)["time"])
    assert abs((at - began).total_seconds() - 70) < 1
    assert len({first.id, second.id, changed.id}) == 3


async def test_a_stall_that_a_slow_poll_finds_late_is_found_by_that_poll() -> None:
    harness = Harness()
    harness.add("Pending")
    policy = PollPolicy(interval=300, fast_interval=300, jitter=0, stalled_after=20)
    (_, stall) = await watched(harness, 301, policy)
    assert isinstance(stall, RevisionStalled)
    assert stall.seconds == 300


async def test_a_failed_poll_finds_no_stall() -> None:
    harness = Harness()
    harness.add("Pending")
    harness.at(65, setattr, harness, "lists", HTML_502)
    harness.at(100, setattr, harness, "lists", True)
    (_, stall) = await watched(harness, 300)
    assert isinstance(stall, RevisionStalled)
    assert stall.seconds >= 100


# --- phases that are entered and left -----------------------------------------------------------------------


@pytest.mark.parametrize("phase", ["Pending", "Creating"])
async def test_each_phase_that_is_entered_can_stall(phase: str) -> None:
    harness = Harness()
    revision_id = harness.add("Pending")
    harness.at(105, harness.set_phase, revision_id, phase)  # Pending again: it left that and came back
    events = await watched(harness, 500)
    assert kinds(events) == ["added", "stalled", "phase_changed", "stalled"]
    assert len({event.id for event in events}) == 4
    assert [stall.since for stall in stalls(events)] == [
        events[0].observed_at,
        events[0].observed_at + timedelta(seconds=110),  # the time of the request that saw it
    ]


async def test_the_end_of_a_phase_is_the_end_of_its_stall() -> None:
    harness = Harness()
    revision_id = harness.add("Pending")
    harness.at(62, harness.set_phase, revision_id, "Running")
    assert kinds(await watched(harness, 500)) == ["added", "phase_changed"]


async def test_what_changes_besides_the_phase_is_no_new_stall() -> None:
    harness = Harness()
    revision_id = harness.add("Pending")
    for at in (25, 105, 205):
        harness.at(at, harness.state.update_revision, revision_id, {"phase_message": f"at {at}"})
    events = await watched(harness, 500)
    assert kinds(events) == ["added", "stalled"]
    assert events[1].revision.phase_message == "at 25"


async def test_a_server_that_never_updates_the_time_of_a_phase_gets_another_id_for_each_stall() -> None:
    harness = Harness()
    revision_id = harness.add("Pending")
    for at, phase in ((105, "Running"), (205, "Pending")):
        harness.at(at, harness.state.update_revision, revision_id, {"phase": phase})
    events = await watched(harness, 500)
    assert kinds(events) == ["added", "stalled", "phase_changed", "phase_changed", "stalled"]
    first, second = stalls(events)
    assert (first.since, first.id == second.id) == (second.since, False)


async def test_a_deletion_ends_a_stall() -> None:
    harness = Harness()
    first, second = harness.add("Pending"), harness.add("Pending")
    harness.at(62, harness.state.delete_revision, first)  # by the poll that would find the stall
    events = await watched(harness, 500)
    ends = [(event.kind, event.revision_id) for event in events[2:]]
    assert ends == [("stalled", second), ("deleted", first)]  # at 65 and 70 seconds


async def test_a_revision_that_polls_lack_is_reported_once_they_show_it_again() -> None:
    harness = Harness()
    harness.others = HTML_502  # neither is it found elsewhere
    revision_id = harness.add("Pending")
    harness.at(35, lambda: harness.state.hide(revision_id, hidden=True))
    harness.at(205, lambda: harness.state.hide(revision_id, hidden=False))
    (_, stall) = await watched(harness, 500)
    assert isinstance(stall, RevisionStalled)
    assert stall.seconds == 210


async def test_a_stall_has_an_id_of_its_own_also_where_the_server_s_times_go_back_and_forth() -> None:
    harness = Harness()
    began = harness.clock.now()
    revision_id = harness.add("Pending")
    for at, seconds in ((105, 50), (205, 0), (305, 50)):
        times = {"phase_updated_at": began + timedelta(seconds=seconds)}
        harness.at(at, harness.state.update_revision, revision_id, times)
    found = stalls(await watched(harness, 500))
    assert [(stall.since - began).total_seconds() for stall in found] == [0, 50, 0, 50]
    assert len({stall.id for stall in found}) == 4


# --- order and delivery -------------------------------------------------------------------------------------


async def test_a_first_response_reports_a_revision_before_its_stall() -> None:
    harness = Harness()
    for _ in range(2):
        harness.add("Pending")
        await harness.clock.advance(100)
    events = await watched(harness, 1)
    one, two = (event.revision_id for event in events if isinstance(event, RevisionAdded))
    assert [(event.kind, event.revision_id) for event in events] == [
        ("added", one),
        ("stalled", one),  # at 65 seconds, by the server's clock
        ("added", two),
        ("stalled", two),
    ]
    assert await watched(harness, 1) == events
    assert [event.id for event in await watched(harness, 1)] == [event.id for event in events]


async def test_a_change_of_phase_comes_before_the_stall_that_the_same_poll_finds() -> None:
    harness = Harness()
    revision_id = harness.add("Creating")
    harness.at(15, harness.set_phase, revision_id, "Pending")
    harness.at(15, setattr, harness, "lists", HTML_502)
    harness.at(200, setattr, harness, "lists", True)
    events = await watched(harness, 600)
    assert kinds(events) == ["added", "phase_changed", "stalled"]
    assert events[1].observed_at == events[2].observed_at


async def test_a_stall_is_news_even_of_a_revision_that_existed_before() -> None:
    harness = Harness()
    harness.add("Pending")
    await harness.clock.advance(1000)
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id, poll=POLICY, include_existing=False)
        assert (await watch.peek()).kind == "stalled"
        undelivered = saved(watch.checkpoint())
        assert undelivered.synced  # what is created from here on is no longer one that existed
        new = harness.add("Running")
        events = about_revisions(await harness.collect(watch, 20))
        assert kinds(events) == ["stalled", "added"]
        again = runai.watch_revisions(
            harness.workload_id, poll=POLICY, include_existing=False, resume_from=undelivered
        )
        repeated = about_revisions(await harness.collect(again, 20))
    assert [event.id for event in repeated] == [event.id for event in events]
    assert repeated[1].revision_id == new


async def test_the_hook_of_a_poll_counts_a_stall() -> None:
    harness = Harness()
    harness.add("Pending")
    polls: list[PollFinished] = []
    async with harness.client(
        hooks=[lambda event: polls.append(event) if isinstance(event, PollFinished) else None]
    ) as runai:
        await harness.collect(runai.watch_revisions(harness.workload_id, poll=POLICY), 100)
    assert [poll.events for poll in polls] == [1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]


async def test_a_cancelled_wait_loses_no_stall() -> None:
    harness = Harness()
    harness.add("Pending")
    events: list[RevisionEvent] = []
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id, poll=POLICY)
        for _ in range(200):
            task = asyncio.create_task(anext(watch))
            await harness.clock.advance(3)
            task.cancel()
            await asyncio.wait({task})
            if not task.cancelled():
                events += about_revisions([task.result()])
    assert kinds(events) == ["added", "stalled"]


# --- checkpoints --------------------------------------------------------------------------------------------


def saved(checkpoint: Checkpoint) -> Checkpoint:
    again = Checkpoint.from_json(checkpoint.to_json())
    assert again == checkpoint
    return again


async def test_a_resume_does_not_report_a_stall_again_and_repeats_one_that_was_not_delivered() -> None:
    harness = Harness()
    revision_id = harness.add("Pending")
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id, poll=POLICY)
        await anext(watch)
        peeked = asyncio.create_task(watch.peek())
        await harness.clock.advance(100)
        before, stall = saved(watch.checkpoint()), await peeked
        assert await anext(watch) is stall
        after = saved(watch.checkpoint())
    assert (before.revisions[0].stall, after == before) == (None, False)
    assert [event.id for event in await watched(harness, 100, resume_from=before)] == [stall.id]  # type: ignore[union-attr]
    assert await watched(harness, 100, resume_from=after) == []
    harness.set_phase(revision_id, "Creating")
    assert kinds(await watched(harness, 100, resume_from=after)) == ["phase_changed", "stalled"]


async def test_a_checkpoint_from_before_there_were_stalls_is_resumed() -> None:
    harness = Harness()
    harness.add("Pending")
    old = attrs.evolve(POLICY, stalled_after=None)
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id, poll=old)
        await anext(watch)
        text = watch.checkpoint().to_json()
    assert "stall" not in text
    await harness.clock.advance(100)
    assert kinds(await watched(harness, 50, resume_from=Checkpoint.from_json(text))) == ["stalled"]


async def test_brief_processes_together_find_a_stall_without_a_time_of_the_server_s() -> None:
    harness = Harness()
    harness.add("Pending", phase_updated_at=None)
    checkpoint: Checkpoint | None = None
    found: list[str] = []
    for _ in range(10):
        async with harness.client() as runai:
            watch = runai.watch_revisions(harness.workload_id, poll=POLICY, resume_from=checkpoint)
            found += kinds(await harness.collect(watch, 15))
            checkpoint = saved(watch.checkpoint())
    assert found == ["added", "stalled"]


@pytest.mark.parametrize("is_delivered", [False, True])
async def test_a_fleet_reports_a_stall_once_also_after_a_resume(is_delivered: bool) -> None:
    harness = Harness()
    ids = [harness.workload_id, *(harness.state.add_workload(f"llm-{n}", "Inference", {}) for n in range(3))]
    for key in ids:
        harness.add("Pending", workload_id=key)
    async with harness.client() as runai:
        async with runai.watch_fleet(ids, poll=POLICY) as fleet:
            first = about_revisions(await harness.collect(fleet, 60))
            if is_delivered:
                first += about_revisions(await harness.collect(fleet, 100))
            else:
                await harness.clock.advance(100)
                assert fleet.status.buffered == 4
            checkpoint = FleetCheckpoint.from_json(fleet.checkpoint().to_json())
        async with runai.watch_fleet(ids, poll=POLICY, resume_from=checkpoint) as fleet:
            second = about_revisions(await harness.collect(fleet, 200))
    assert kinds(first) == ["added"] * 4 + ["stalled"] * 4 * is_delivered
    assert kinds(second) == ["stalled"] * 4 * (not is_delivered)
    assert {stall.workload_id for stall in stalls([*first, *second])} == set(ids)


# --- the tracker --------------------------------------------------------------------------------------------


def polled(tracker: Tracker, *listed: dict[str, Any], at: float, **found: Lookup) -> list[RevisionEvent]:
    """Poll a tracker once, so many seconds after the revisions were created."""
    now = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=at)
    snapshot = tracker.read(body_of(*listed))
    if snapshot is not None:
        tracker.apply(snapshot, at=at, now=now, found=found, missing_grace=30)
    elif tracker.stalls_at <= now.timestamp():
        tracker.report_stalls(now)
    return about_revisions([tracker.take() for _ in range(tracker.pending)])


def test_the_next_stall_is_that_of_the_revision_which_is_in_its_phase_for_longest() -> None:
    tracker = Tracker(WORKLOAD_ID, stalled_after=100)
    began = datetime(2026, 1, 1, tzinfo=UTC)
    listed = [
        revision(str(n), phase="Pending", phaseUpdatedAt=(began + timedelta(seconds=n)).isoformat())
        for n in (7, 3, 5)
    ]
    listed.append(revision("settled", phaseUpdatedAt=began.isoformat()))
    seen: list[tuple[float, list[str]]] = []
    for at in (10.0, 103.0, 104.0, 120.0):
        events = polled(tracker, *listed, at=at)
        seen.append((tracker.stalls_at - began.timestamp(), [event.revision_id for event in stalls(events)]))
    assert seen == [(103.0, []), (105.0, ["3"]), (105.0, []), (inf, ["5", "7"])]


def test_a_revision_that_cannot_be_decoded_does_not_stall_until_it_can() -> None:
    tracker = Tracker(WORKLOAD_ID, stalled_after=10)
    stuck = revision("a", phase="Pending", phaseUpdatedAt="2026-01-01T00:00:00+00:00")
    polled(tracker, stuck, at=1.0)
    assert polled(tracker, stuck | {"tenantId": "x"}, at=20.0) == []
    assert polled(tracker, stuck | {"tenantId": "x"}, at=30.0) == []
    assert kinds(polled(tracker, stuck, at=40.0)) == ["stalled"]


def test_a_revision_that_is_missing_stalls_if_it_is_found_elsewhere() -> None:
    tracker = Tracker(WORKLOAD_ID, stalled_after=10)
    stuck = revision("a", phase="Pending", phaseUpdatedAt="2026-01-01T00:00:00+00:00")
    polled(tracker, stuck, at=1.0)
    assert polled(tracker, at=20.0, a=Lookup(failed=True)) == []
    raw = body_of(stuck)[len(b'{"revisions": [') : -len(b"]}")]
    snapshot = Tracker(WORKLOAD_ID).read(body_of(stuck))
    assert snapshot is not None
    found = Lookup(raw, snapshot.changed["a"])
    assert kinds(polled(tracker, at=30.0, a=found)) == ["stalled"]
    assert polled(tracker, at=40.0, a=found) == []


def test_a_revision_that_is_back_after_its_deletion_can_stall_again() -> None:
    tracker = Tracker(WORKLOAD_ID, stalled_after=10)
    stuck = revision("a", phase="Pending", phaseUpdatedAt="2026-01-01T00:00:00+00:00")
    gone = stuck | {"deletedAt": "2026-01-01T00:00:20+00:00"}
    events = [event for at, item in ((15.0, stuck), (20.0, gone)) for event in polled(tracker, item, at=at)]
    for at in range(30, 100, 10):
        events += polled(tracker, stuck, at=float(at))
    assert kinds(events) == ["added", "stalled", "deleted", "added", "stalled"]
    assert isinstance(events[2], RevisionDeleted)
    assert len({event.id for event in events}) == 5


def test_a_time_that_no_clock_will_ever_show_never_stalls() -> None:
    tracker = Tracker(WORKLOAD_ID, stalled_after=1e12)
    polled(tracker, revision("a", phase="Pending", phaseUpdatedAt="9999-12-31T23:59:59+00:00"), at=1.0)
    assert tracker.stalls_at > 1e12


def test_a_gap_that_is_filled_stalls_in_its_last_phase_only() -> None:
    tracker = Tracker(WORKLOAD_ID, stalled_after=10)
    polled(tracker, revision("a", phase="Creating", phaseUpdatedAt="2026-01-01T00:00:00+00:00"), at=1.0)
    now = revision("a", phase="Running", phaseUpdatedAt="2026-01-01T00:10:00+00:00")
    step = Tracker(WORKLOAD_ID).read(body_of(now | {"phase": "Pending"}))
    snapshot = tracker.read(body_of(now))
    assert step is not None
    assert snapshot is not None
    tracker.apply(
        snapshot, at=900.0, now=datetime(2026, 1, 1, 1, tzinfo=UTC), between={"a": [step.changed["a"]]}
    )
    assert [type(tracker.take()) for _ in range(tracker.pending)] == [PhaseChanged, PhaseChanged]


@pytest.mark.parametrize("value", [0, -1, inf, "5", True])
def test_a_limit_that_makes_no_sense_is_refused(value: Any) -> None:
    with pytest.raises((ValueError, TypeError), match="stalled_after"):
        PollPolicy(stalled_after=value)
