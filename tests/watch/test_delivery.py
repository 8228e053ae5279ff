"""What a watch delivers: the first response, changes, deletions, and nothing twice."""

import asyncio
from datetime import timedelta

import pytest
from support.harness import HTML_404, Harness

from runai_async import (
    Phase,
    PhaseChanged,
    PollPolicy,
    RevisionAdded,
    RevisionDeleted,
    RevisionEvent,
    WatchEvent,
)
from runai_async.testing import Response

EMPTY = Response(body=b'{"revisions": []}')


def brief(event: WatchEvent) -> tuple[str, ...]:
    """Return an event as kind, revision and phases."""
    match event:
        case RevisionAdded(revision=revision):
            return "added", revision.id, revision.phase
        case PhaseChanged(revision=revision, previous_phase=before):
            return "changed", revision.id, before, revision.phase
        case RevisionDeleted(revision=revision):
            return "deleted", revision.id, revision.phase
        case _:
            return (event.kind,)


# --- the first response ---------------------------------------------------------------------------------


async def test_every_live_revision_of_the_first_response_is_added_as_initial() -> None:
    harness = Harness()
    running, pending = harness.add("Running"), harness.add("Pending")
    deleted = harness.add()
    harness.state.delete_revision(deleted)
    async with harness.client() as runai:
        events = await harness.collect(runai.watch_revisions(harness.workload_id), 0)

    assert {brief(event) for event in events} == {
        ("added", running, "Running"),
        ("added", pending, "Pending"),
    }
    assert all(isinstance(event, RevisionAdded) and event.initial for event in events)


async def test_without_include_existing_they_are_tracked_but_not_reported() -> None:
    harness = Harness()
    known = harness.add("Pending")
    harness.at(10, lambda: harness.set_phase(known, "Running"))
    async with harness.client() as runai:
        events = await harness.collect(runai.watch_revisions(harness.workload_id, include_existing=False), 30)

    assert [brief(event) for event in events] == [("changed", known, "Pending", "Running")]


async def test_a_revision_first_seen_running_is_added_without_a_change() -> None:
    harness = Harness()
    added: list[str] = []
    harness.at(5, lambda: added.append(harness.add("Creating")))
    harness.at(5, lambda: harness.set_phase(added[0], "Running"))
    async with harness.client() as runai:
        events = await harness.collect(runai.watch_revisions(harness.workload_id, interval=10), 60)

    assert [brief(event) for event in events] == [("added", added[0], "Running")]
    assert not any(isinstance(event, RevisionAdded) and event.initial for event in events)


# --- changes only ---------------------------------------------------------------------------------------


async def test_an_unchanged_response_yields_nothing() -> None:
    harness = Harness()
    harness.add()
    async with harness.client() as runai:
        events = await harness.collect(runai.watch_revisions(harness.workload_id, interval=10), 1000)

    assert len(events) == 1
    assert len(harness.times()) > 90


async def test_a_change_of_another_field_is_not_an_event() -> None:
    harness = Harness()
    revision_id = harness.add()
    harness.at(10, lambda: harness.state.update_revision(revision_id, {"running_pods": 7}))
    async with harness.client() as runai:
        assert len(await harness.collect(runai.watch_revisions(harness.workload_id), 60)) == 1


async def test_events_of_one_poll_are_ordered_by_server_time_then_id() -> None:
    harness = Harness()
    base = harness.clock.now()
    late = harness.add(id="b" * 8 + "-0000-4000-8000-000000000000", created_at=base + timedelta(seconds=9))
    tied = [
        harness.add(id=f"{n}0000000-0000-4000-8000-000000000000", created_at=base + timedelta(seconds=5))
        for n in (7, 3)
    ]
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id, interval=10, poll=PollPolicy(jitter=0))
        first = await harness.collect(watch, 5)
        harness.set_phase(late, "Failed", at=base + timedelta(seconds=1))
        harness.set_phase(tied[0], "Stopped", at=base + timedelta(seconds=2))
        harness.state.update_revision(tied[1], {"phase": "Degraded"})
        del harness.state.revision(tied[1])["phaseUpdatedAt"]
        second = await harness.collect(watch, 10)

    assert [event.revision_id for event in first if isinstance(event, RevisionAdded)] == [
        *reversed(tied),
        late,
    ]
    assert [brief(event)[1] for event in second] == [late, tied[0], tied[1]]


async def test_within_one_revision_added_comes_first_and_deleted_last_whatever_the_times_say() -> None:
    harness = Harness()
    base = harness.clock.now()
    revision_id = harness.add("Pending")
    other = harness.add("Pending")
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id, interval=10)
        await harness.collect(watch, 1)
        harness.set_phase(revision_id, "Failed", at=base + timedelta(seconds=900))
        harness.state.delete_revision(revision_id)
        harness.state.revision(revision_id)["deletedAt"] = "2020-01-01T00:00:00Z"
        harness.set_phase(other, "Running", at=base + timedelta(seconds=100))
        events = await harness.collect(watch, 20)

    assert [brief(event) for event in events] == [
        ("changed", other, "Pending", "Running"),
        ("changed", revision_id, "Pending", "Failed"),
        ("deleted", revision_id, "Failed"),
    ]


# --- a subsequence of the phases, and what was missed ---------------------------------------------------


async def test_a_revision_that_came_and_went_between_two_polls_is_not_reported() -> None:
    harness = Harness()
    harness.add()
    harness.at(5, lambda: harness.state.purge_revision(harness.add("Pending")))
    async with harness.client() as runai:
        assert len(await harness.collect(runai.watch_revisions(harness.workload_id), 60)) == 1


async def test_responses_are_taken_as_current_so_a_stale_replica_shows_as_flapping() -> None:
    harness = Harness()
    revision_id = harness.add("Pending")
    stale = harness.state.list_body(harness.workload_id, deleted=False)
    harness.clock.shift_now(1)
    harness.set_phase(revision_id, "Running")
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id, interval=10)
        events = await harness.collect(watch, 1)
        harness.next_lists.append(Response(body=stale))
        events += await harness.collect(watch, 60)

    assert [brief(event) for event in events] == [
        ("added", revision_id, "Running"),
        ("changed", revision_id, "Running", "Pending"),
        ("changed", revision_id, "Pending", "Running"),
    ]
    assert len({event.id for event in events if isinstance(event, RevisionEvent)}) == 3


async def test_phases_are_a_subsequence_that_ends_with_the_last_one_of_the_server() -> None:
    harness = Harness()
    revision_id = harness.add("Creating")
    for second, phase in enumerate(("Initializing", "Pending", "Running", "Degraded", "Running")):
        harness.at(2 + second * 0.7, harness.set_phase, revision_id, phase)
    async with harness.client() as runai:
        events = await harness.collect(runai.watch_revisions(harness.workload_id, interval=3), 100)

    phases = [event.revision.phase for event in events if isinstance(event, RevisionAdded | PhaseChanged)]
    assert phases[0] == "Creating"
    assert phases[-1] == "Running"
    assert len(phases) < 6


@pytest.mark.parametrize("seconds", [-3600, 3600])
async def test_leaving_a_phase_and_returning_to_it_is_a_coalesced_change(seconds: float) -> None:
    harness = Harness()
    revision_id = harness.add("Running")
    at = harness.clock.now() + timedelta(seconds=seconds)
    harness.at(5, lambda: harness.set_phase(revision_id, "Running", at=at))
    async with harness.client() as runai:
        _, event = await harness.collect(runai.watch_revisions(harness.workload_id), 30)

    assert isinstance(event, PhaseChanged)
    assert (event.previous_phase, event.revision.phase, event.coalesced) == ("Running", "Running", True)


async def skip_phases(harness: Harness, revision_id: str) -> None:
    """Take a revision through phases between two polls."""
    for phase in ("Initializing", "Pending", "Running"):
        harness.clock.shift_now(1)
        harness.set_phase(revision_id, phase, message=f"now {phase}")


async def test_fill_gaps_reads_the_phases_in_between_from_the_history() -> None:
    harness = Harness()
    revision_id = harness.add("Creating")
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id, fill_gaps=True)
        await harness.collect(watch, 1)
        await skip_phases(harness, revision_id)
        events = await harness.collect(watch, 10)

    assert [brief(event) for event in events] == [
        ("changed", revision_id, "Creating", "Initializing"),
        ("changed", revision_id, "Initializing", "Pending"),
        ("changed", revision_id, "Pending", "Running"),
    ]
    times = [event.server_time for event in events if isinstance(event, PhaseChanged)]
    assert times == sorted(set(times), key=str)
    assert [event.revision.phase_message for event in events if isinstance(event, PhaseChanged)] == [
        "now Initializing", "now Pending", "now Running",
    ]  # fmt: skip


@pytest.mark.parametrize("history", ["no such endpoint", "does not fit"])
async def test_a_gap_that_the_history_cannot_fill_is_a_plain_change_and_the_reason_is_logged_once(
    history: str, caplog: pytest.LogCaptureFixture
) -> None:
    harness = Harness()
    revision_id = harness.add("Creating")
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id, fill_gaps=True)
        await harness.collect(watch, 1)
        await skip_phases(harness, revision_id)
        if history == "does not fit":
            harness.state.history(revision_id).clear()
        else:
            harness.others = HTML_404
        events = await harness.collect(watch, 10)
        harness.clock.shift_now(1)
        harness.set_phase(revision_id, "Degraded")
        harness.state.history(revision_id).clear()
        events += await harness.collect(watch, 20)

    assert [brief(event) for event in events] == [
        ("changed", revision_id, "Creating", "Running"),
        ("changed", revision_id, "Running", "Degraded"),
    ]
    warnings = [record for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1
    assert "cannot be filled in" in warnings[0].getMessage()


# --- a deletion is confirmed ----------------------------------------------------------------------------


async def test_a_deletion_is_reported_when_the_deleted_list_confirms_it() -> None:
    harness = Harness()
    revision_id = harness.add()
    harness.at(10, lambda: harness.state.delete_revision(revision_id))
    async with harness.client() as runai:
        policy = PollPolicy(interval=10, jitter=0)
        _, event = await harness.collect(runai.watch_revisions(harness.workload_id, poll=policy), 15)

    assert isinstance(event, RevisionDeleted)
    assert event.revision.deleted_at == event.server_time == harness.clock.now() - timedelta(seconds=5)
    assert harness.times("deleted") == [10.0]
    assert harness.times("get") == []


async def test_deleted_at_in_the_live_list_is_a_deletion() -> None:
    harness = Harness()
    revision_id = harness.add()
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id)
        await harness.collect(watch, 1)
        body = harness.state.list_body(harness.workload_id, deleted=False)
        harness.next_lists.append(
            Response(body=body.replace(b'"deletedAt":null', b'"deletedAt":"2026-01-01T00:00:09Z"'))
        )
        harness.state.delete_revision(revision_id)
        events = await harness.collect(watch, 15)

    assert [brief(event) for event in events] == [("deleted", revision_id, "Running")]


async def test_deleted_at_in_a_get_by_id_is_a_deletion() -> None:
    class Forgetful(Harness):
        def _respond(self, kind: str, key: str) -> Response:
            return EMPTY if kind == "deleted" else super()._respond(kind, key)

    harness = Forgetful()
    revision_id = harness.add()
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id)
        await harness.collect(watch, 1)
        harness.state.delete_revision(revision_id)
        (event,) = await harness.collect(watch, 15)

    assert isinstance(event, RevisionDeleted)
    assert event.server_time is not None


async def test_a_revision_that_is_deleted_when_first_seen_is_not_reported() -> None:
    harness = Harness()
    revision_id = harness.add()
    body = harness.state.list_body(harness.workload_id, deleted=False)
    body = body.replace(b'"deletedAt":null', b'"deletedAt":"2026-01-01T00:00:09Z"')
    harness.state.purge_revision(revision_id)
    harness.next_lists.extend([Response(body=body)] * 3)
    async with harness.client() as runai:
        assert await harness.collect(runai.watch_revisions(harness.workload_id), 60) == []


async def test_an_empty_list_alone_is_never_a_deletion() -> None:
    harness = Harness()
    harness.add()
    harness.add()
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id)
        await harness.collect(watch, 1)
        harness.next_lists.extend([EMPTY] * 30)
        assert await harness.collect(watch, 600) == []


async def test_a_missing_revision_that_reappears_was_never_deleted() -> None:
    harness = Harness()
    revision_id = harness.add()
    harness.at(10, lambda: harness.state.hide(revision_id, hidden=True))
    harness.at(50, lambda: harness.state.hide(revision_id, hidden=False))
    async with harness.client() as runai:
        assert len(await harness.collect(runai.watch_revisions(harness.workload_id), 300)) == 1
    assert len(harness.times("get")) >= 3


async def test_a_404_by_id_counts_when_the_revision_was_missing_for_missing_grace() -> None:
    harness = Harness()
    harness.add()
    revision_id = harness.add()
    harness.at(10, lambda: harness.state.purge_revision(revision_id))
    policy = PollPolicy(interval=10, jitter=0, missing_grace=45)
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id, poll=policy)
        assert len(await harness.collect(watch, 54)) == 2
        events = await harness.collect(watch, 10)

    assert [brief(event) for event in events] == [("deleted", revision_id, "Running")]


async def test_a_missing_revision_that_is_found_by_id_counts_as_listed() -> None:
    harness = Harness()
    revision_id = harness.add("Pending")
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id, interval=10)
        await harness.collect(watch, 1)
        harness.lists = EMPTY
        harness.set_phase(revision_id, "Running")
        events = await harness.collect(watch, 200)

    assert [brief(event) for event in events] == [("changed", revision_id, "Pending", "Running")]


async def test_a_404_of_a_gateway_confirms_nothing() -> None:
    harness = Harness()
    harness.add()
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id)
        await harness.collect(watch, 1)
        harness.lists, harness.others = EMPTY, HTML_404
        assert await harness.collect(watch, 600) == []


async def test_a_poll_looks_for_missing_revisions_in_turn_with_at_most_two_requests() -> None:
    harness = Harness()
    ids = [harness.add() for _ in range(4)]
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id, poll=PollPolicy(interval=10, jitter=0))
        await harness.collect(watch, 1)
        harness.lists = EMPTY
        await harness.collect(watch, 40)

    requests = [(at, kind, key) for at, kind, key in harness.requests if at >= 10]
    assert [(at, kind) for at, kind, _ in requests] == [
        (at, kind) for at in (10.0, 20.0, 30.0, 40.0) for kind in ("list", "deleted", "get")
    ]
    assert {key for _, kind, key in requests if kind == "get"} == set(ids)


async def test_a_failed_confirmation_decides_nothing_and_delays_no_other_event() -> None:
    harness = Harness()
    gone, other = harness.add(), harness.add("Pending")
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id, interval=10)
        await harness.collect(watch, 1)
        harness.state.delete_revision(gone)
        harness.set_phase(other, "Running")
        harness.others = None
        first = await harness.collect(watch, 30)
        harness.others = True
        second = await harness.collect(watch, 60)

    assert [brief(event) for event in first] == [("changed", other, "Pending", "Running")]
    assert [brief(event) for event in second] == [("deleted", gone, "Running")]


async def test_a_broken_revision_in_the_deleted_list_hides_no_deletion_not_even_its_own() -> None:
    harness = Harness()
    harness.state.delete_revision(harness.add())  # before the watch begins
    ids = [harness.add() for _ in range(3)]
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id, interval=10)
        await harness.collect(watch, 1)
        for revision_id in ids:
            harness.state.delete_revision(revision_id)
        harness.state.update_revision(ids[1], {"createdAt": "no time"})
        events = await harness.collect(watch, 12)

    assert {brief(event) for event in events} == {("deleted", key, "Running") for key in ids}
    assert all(event.server_time is not None for event in events if isinstance(event, RevisionDeleted))


# --- nothing twice, nothing lost, at the consumer's pace ------------------------------------------------


async def test_an_event_is_delivered_when_anext_returns_it_and_no_sooner() -> None:
    harness = Harness()
    for _ in range(3):
        harness.add()
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id)
        first = await anext(watch)
        checkpoint = watch.checkpoint()
        resumed = runai.watch_revisions(harness.workload_id, resume_from=checkpoint)
        rest = await harness.collect(resumed, 1)
        same = await harness.collect(watch, 1)

    assert len(checkpoint.revisions) == 1
    assert rest == same
    assert len({event.id for event in (first, *rest) if isinstance(event, RevisionAdded)}) == 3


async def test_closing_delivers_nothing_and_loses_nothing() -> None:
    harness = Harness()
    for _ in range(3):
        harness.add()
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id)
        first = await anext(watch)
        await watch.aclose()
        with pytest.raises(StopAsyncIteration):
            await anext(watch)
        resumed = runai.watch_revisions(harness.workload_id, resume_from=watch.checkpoint())
        rest = await harness.collect(resumed, 1)

    assert len({event.revision_id for event in (first, *rest) if isinstance(event, RevisionAdded)}) == 3


async def test_a_cancelled_anext_loses_nothing_and_the_next_one_polls_again() -> None:
    harness = Harness()
    revision_id = harness.add()
    harness.latency = 3.0
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id)
        for _ in range(3):
            assert await harness.collect(watch, 2) == []
        assert not watch.status.synced
        harness.latency = 0
        assert [brief(event) for event in await harness.collect(watch, 1)] == [
            ("added", revision_id, "Running")
        ]


async def test_a_slow_consumer_slows_polling_and_gets_one_combined_change() -> None:
    harness = Harness()
    revision_id = harness.add("Pending")
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id, poll=PollPolicy(interval=10, jitter=0))
        await anext(watch)
        for phase in ("Initializing", "Running", "Degraded"):
            await harness.clock.advance(100)
            harness.set_phase(revision_id, phase)
        assert harness.times() == [0.0]
        events = await harness.collect(watch, 5)

    assert [brief(event) for event in events] == [("changed", revision_id, "Pending", "Degraded")]
    assert harness.times()[1] == 300.0


async def test_the_same_responses_yield_the_same_events_with_the_same_ids() -> None:
    harness = Harness()
    ids = [harness.add("Pending") for _ in range(3)]
    bodies = [harness.state.list_body(harness.workload_id, deleted=False)]
    for revision_id in ids:
        harness.clock.shift_now(1)
        harness.set_phase(revision_id, "Running")
        bodies.append(harness.state.list_body(harness.workload_id, deleted=False))
    streams: list[list[WatchEvent]] = []
    async with harness.client() as runai:
        for _ in range(2):
            harness.next_lists.extend(Response(body=body) for body in bodies)
            streams.append(await harness.collect(runai.watch_revisions(harness.workload_id), 60))

    assert streams[0] == streams[1]
    one, two = ([event.id for event in events if isinstance(event, RevisionEvent)] for events in streams)
    assert one == two
    assert len(set(one)) == 6


async def test_an_unknown_phase_is_a_value_and_not_an_error() -> None:
    harness = Harness()
    revision_id = harness.add("Suspending")
    async with harness.client() as runai:
        (event,) = await harness.collect(runai.watch_revisions(harness.workload_id), 1)

    assert isinstance(event, RevisionAdded)
    assert event.revision.phase == Phase("Suspending")
    assert event.revision_id == revision_id


# --- an event that is looked at before it is delivered --------------------------------------------------


async def test_an_event_that_is_peeked_at_is_in_no_checkpoint_until_it_is_taken() -> None:
    harness = Harness()
    harness.add("Running")
    async with harness.client() as runai, runai.watch_revisions(harness.workload_id) as watch:
        event = await watch.peek()
        assert await watch.peek() is event
        assert (watch.checkpoint().revisions, watch.checkpoint().synced) == ((), False)
        assert await anext(watch) is event
        assert (len(watch.checkpoint().revisions), watch.checkpoint().synced) == (1, True)
        assert len(harness.times()) == 1


async def test_a_cancelled_peek_loses_nothing() -> None:
    harness = Harness()
    known = harness.add("Pending")
    harness.at(5, lambda: harness.set_phase(known, "Running"))
    async with harness.client() as runai, runai.watch_revisions(harness.workload_id) as watch:
        assert (await anext(watch)).kind == "added"
        peeking = asyncio.create_task(watch.peek())
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="another task"):
            await watch.peek()
        peeking.cancel()
        await asyncio.wait({peeking})
        assert [brief(event) for event in await harness.collect(watch, 30)] == [
            ("changed", known, "Pending", "Running")
        ]


async def test_a_closed_watch_has_nothing_to_peek_at() -> None:
    harness = Harness()
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id)
        peeking = asyncio.create_task(watch.peek())
        await asyncio.sleep(0)
        await watch.aclose()
        for peeked in (peeking, watch.peek()):
            with pytest.raises(StopAsyncIteration):
                await peeked
