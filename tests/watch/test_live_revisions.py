"""The state of watches and fleets: the live revisions as of the last successful poll."""

import threading

import pytest
from support.fleets import POLICY, UNKNOWN_ID, of_size
from support.harness import HTML_502, WORKLOAD_GONE, Harness

from runai_async import (
    Checkpoint,
    FleetCheckpoint,
    Revision,
    RevisionDeleted,
    RevisionWatch,
)


def shown(revisions: tuple[Revision, ...]) -> list[tuple[str, str]]:
    return [(item.id, item.phase.value) for item in revisions]


async def resumed(harness: Harness, watch: RevisionWatch, seconds: float = 1) -> Checkpoint:
    await harness.collect(watch, seconds)
    return Checkpoint.from_json(watch.checkpoint().to_json())


async def test_a_watch_knows_its_revisions_from_its_first_successful_poll_on() -> None:
    harness = Harness()
    old = harness.add("Running", running_pods=2)
    harness.lists = HTML_502
    harness.at(100, lambda: setattr(harness, "lists", True))
    async with harness.client() as runai, runai.watch_revisions(harness.workload_id) as watch:
        assert not watch.revisions
        await harness.collect(watch, 90)
        assert not watch.revisions
        await harness.collect(watch, 100)
        assert shown(watch.revisions) == [(old, "Running")]
        assert watch.revisions[0].running_pods == 2
        harness.state.update_revision(old, {"running_pods": 3})
        assert await harness.collect(watch, 20) == []  # no event, but the present
        assert watch.revisions[0].running_pods == 3
        harness.lists = HTML_502
        await harness.collect(watch, 60)
        assert shown(watch.revisions) == [(old, "Running")]
    assert shown(watch.revisions) == [(old, "Running")]


async def test_the_newest_comes_first() -> None:
    harness = Harness()
    ids = [harness.add("Running", created_at=f"2026-01-0{day}T00:00:00Z") for day in (2, 3, 1)]
    async with harness.client() as runai, runai.watch_revisions(harness.workload_id) as watch:
        await harness.collect(watch, 1)
        assert [item.id for item in watch.revisions] == [ids[1], ids[0], ids[2]]


async def test_a_watch_that_resumes_knows_nothing_before_its_first_poll_and_then_all() -> None:
    harness = Harness()
    old = harness.add("Running", running_pods=2)
    async with harness.client() as runai:
        saved = await resumed(harness, runai.watch_revisions(harness.workload_id))
        async with runai.watch_revisions(harness.workload_id, resume_from=saved) as watch:
            assert not watch.revisions
            assert await harness.collect(watch, 1) == []
            assert shown(watch.revisions) == [(old, "Running")]
            assert watch.revisions[0].running_pods == 2


async def test_without_existing_revisions_in_the_events_they_are_in_the_state() -> None:
    harness = Harness()
    old = harness.add("Running")
    async with (
        harness.client() as runai,
        runai.watch_revisions(harness.workload_id, include_existing=False) as watch,
    ):
        assert await harness.collect(watch, 1) == []
        assert shown(watch.revisions) == [(old, "Running")]


async def test_a_missing_revision_is_live_until_its_deletion_is_confirmed() -> None:
    harness = Harness()
    old, new = harness.add("Running", running_pods=2), harness.add("Pending")
    async with harness.client() as runai, runai.watch_revisions(harness.workload_id) as watch:
        await harness.collect(watch, 1)
        harness.state.purge_revision(old)
        await harness.collect(watch, 20)
        assert {*shown(watch.revisions)} == {(old, "Running"), (new, "Pending")}
        events = await harness.collect(watch, 100)
        assert [type(event) for event in events] == [RevisionDeleted]
        assert shown(watch.revisions) == [(new, "Pending")]


async def test_a_missing_revision_that_only_a_checkpoint_knows_has_what_the_checkpoint_keeps() -> None:
    harness = Harness()
    old = harness.add("Running", running_pods=2)
    async with harness.client() as runai:
        saved = await resumed(harness, runai.watch_revisions(harness.workload_id))
        harness.state.purge_revision(old)
        async with runai.watch_revisions(harness.workload_id, resume_from=saved) as watch:
            assert await harness.collect(watch, 1) == []
            assert shown(watch.revisions) == [(old, "Running")]
            assert watch.revisions[0].running_pods is None


async def test_a_revision_that_cannot_be_decoded_is_left_out() -> None:
    harness = Harness()
    old, new = harness.add("Running"), harness.add("Running")
    async with harness.client() as runai, runai.watch_revisions(harness.workload_id) as watch:
        await harness.collect(watch, 1)
        harness.state.update_revision(old, {"created_at": "yesterday"})
        await harness.collect(watch, 20)
        assert watch.status.undecodable == 1
        assert shown(watch.revisions) == [(new, "Running")]


async def test_a_workload_that_is_deleted_has_no_revisions() -> None:
    harness = Harness()
    harness.add("Running")
    async with harness.client() as runai, runai.watch_revisions(harness.workload_id) as watch:
        await harness.collect(watch, 1)
        harness.lists = harness.others = WORKLOAD_GONE
        events = await harness.collect(watch, 1000)
        assert [type(event) for event in events] == [RevisionDeleted]
        assert not watch.revisions


async def test_revisions_are_of_the_workload_that_is_watched_whatever_the_response_calls_it() -> None:
    harness = Harness()
    old = harness.add("Running")
    harness.state.update_revision(old, {"workload_id": UNKNOWN_ID})
    async with harness.client() as runai, runai.watch_revisions(harness.workload_id) as watch:
        await harness.collect(watch, 1)
        assert [item.workload_id for item in watch.revisions] == [harness.workload_id]


# --- fleets -------------------------------------------------------------------------------------------------


async def test_a_fleet_knows_the_revisions_of_one_workload_and_of_all() -> None:
    harness, ids, revisions = of_size(3)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        assert not fleet.revisions()
        assert not fleet.revisions(ids[0])
        await harness.clock.advance(15)  # no event is taken for this
        assert shown(fleet.revisions(ids[1].upper())) == [(revisions[ids[1]], "Running")]
        assert {item.id for item in fleet.revisions()} == set(revisions.values())
        assert [item.workload_id for item in fleet.revisions()] == ids


async def test_a_fleet_that_resumes_knows_its_revisions_though_nothing_has_changed() -> None:
    harness, ids, revisions = of_size(3)
    async with harness.client() as runai:
        async with runai.watch_fleet(ids, poll=POLICY) as fleet:
            await harness.collect(fleet, 15)
            saved = FleetCheckpoint.from_json(fleet.checkpoint().to_json())
        async with runai.watch_fleet(ids, poll=POLICY, resume_from=saved) as fleet:
            assert not fleet.revisions()
            assert await harness.collect(fleet, 2) == []
            assert {item.id for item in fleet.revisions()} == set(revisions.values())


async def test_what_is_not_watched_is_a_key_error_and_what_is_no_id_a_value_error() -> None:
    harness, ids, _ = of_size(1)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        with pytest.raises(KeyError):
            fleet.revisions(UNKNOWN_ID)
        with pytest.raises(ValueError, match="workload_id"):
            fleet.revisions("chat")


# --- what is handed out -------------------------------------------------------------------------------------


async def test_the_version_changes_only_when_the_revisions_may_have_changed() -> None:
    harness, ids, revisions = of_size(2)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        first, other = (fleet._members[key].tracker for key in ids)
        assert first.version == other.version == 0
        await harness.collect(fleet, 15)
        before = first.version
        assert 0 < before != other.version > 0
        await harness.collect(fleet, 100)
        assert first.version == before
        harness.set_phase(revisions[ids[0]], "Failed")
        await harness.collect(fleet, 15)
        assert first.version > before


async def test_what_was_handed_out_can_be_decoded_in_another_thread_and_does_not_change() -> None:
    harness = Harness()
    old = harness.add("Running")
    async with harness.client() as runai, runai.watch_revisions(harness.workload_id) as watch:
        await harness.collect(watch, 1)
        live, found = watch._live(), list[Revision]()
        harness.set_phase(old, "Failed")
        await harness.collect(watch, 20)
        thread = threading.Thread(target=lambda: found.extend(live.decoded()))
        thread.start()
        thread.join()
        assert shown(tuple(found)) == [(old, "Running")]
        assert shown(watch.revisions) == [(old, "Failed")]
