"""When a workload leaves a fleet: a list that lacks it is not enough by itself."""

from random import Random

import pytest
from attrs import evolve
from support.fleets import POLICY, of_size
from support.harness import HTML_502, REFUSED_404, Harness

from runai_async import (
    Checkpoint,
    FleetCheckpoint,
    RevisionAdded,
    RevisionDeleted,
    RunaiClient,
    WorkloadFailed,
)
from runai_async._fleet.discovery import Ask, Discovery, Listed
from runai_async.models import Workload
from runai_async.testing import Response

EVERY_20 = 20
IDS = ["5b0f6f0c-8f3e-4f52-bb0e-2d8f4f6a9c01", "5b0f6f0c-8f3e-4f52-bb0e-2d8f4f6a9c02"]
EMPTY = Response(body=b'{"workloads": []}')


def all_but(harness: Harness, *hidden: str) -> None:
    """Leave workloads out of the list; their revisions stay as they are."""
    shown = harness.state.live_workloads
    harness.state.live_workloads = lambda *, deleted: [  # type: ignore[method-assign]
        item for item in shown(deleted=deleted) if item["id"] not in hidden
    ]


# --- the client's own list ----------------------------------------------------------------------------------


async def test_nobody_leaves_a_fleet_because_a_list_in_random_order_misses_some() -> None:
    harness, ids, _ = of_size(240)
    harness.most_rows, harness.sorts = 100, False
    slow = evolve(POLICY, interval=60)
    events, watched = [], frozenset[str]()
    async with (
        harness.client() as runai,
        runai.watch_fleet(runai.inference_workloads, poll=slow, discovery_interval=30, buffer=5000) as fleet,
    ):
        for _ in range(10):
            events += await harness.collect(fleet, 30)
            assert fleet.workload_ids >= watched
            watched = fleet.workload_ids - {harness.workload_id}  # which has no revision
    assert watched == frozenset(ids)
    assert [type(event) for event in events] == [RevisionAdded] * 240
    assert {event.workload_id for event in events} == set(ids)


async def test_workloads_created_and_deleted_while_pages_are_read_are_noticed_once_each() -> None:
    harness, ids, _ = of_size(30)
    harness.most_rows = 5
    random, living, ever = Random(1), set(ids), set(ids)

    def changes() -> None:
        if harness.clock.monotonic() < 400 and random.random() < 0.4:
            gone = random.choice(sorted(living))
            harness.state.delete_workload(gone)
            new = harness.state.add_workload(None, "Inference", {})
            harness.add(workload_id=new)
            living.remove(gone)
            living.add(new)
            ever.add(new)

    harness.before_page = changes
    async with (
        harness.client() as runai,
        runai.watch_fleet(runai.inference_workloads, poll=POLICY, discovery_interval=20) as fleet,
    ):
        events = await harness.collect(fleet, 1000)
        assert fleet.workload_ids >= living
        assert fleet.workload_ids - living <= {harness.workload_id}
    added = [event.workload_id for event in events if isinstance(event, RevisionAdded)]
    deleted = [event.workload_id for event in events if isinstance(event, RevisionDeleted)]
    assert len(added) == len(set(added)) == len(deleted) + 30
    assert living <= set(added) <= ever
    assert set(added) - living == set(deleted)
    assert [event for event in events if isinstance(event, WorkloadFailed)] == []


@pytest.mark.parametrize("listings", [EMPTY, True])
async def test_a_list_that_lacks_workloads_whose_revisions_live_is_not_believed(
    listings: Response | bool,
) -> None:
    harness, ids, _ = of_size(3)
    async with (
        harness.client() as runai,
        runai.watch_fleet(runai.inference_workloads, poll=POLICY, discovery_interval=EVERY_20) as fleet,
    ):
        assert len(await harness.collect(fleet, 15)) == 3
        harness.listings = listings
        all_but(harness, *ids[:2])
        assert await harness.collect(fleet, 600) == []
        assert fleet.workload_ids >= set(ids)


@pytest.mark.parametrize("sorts", [True, False], ids=["sound", "never sound"])
async def test_a_deleted_workload_leaves_after_its_deletions_are_reported(sorts: bool) -> None:
    harness, ids, revisions = of_size(12)
    harness.sorts, harness.most_rows = sorts, 4
    async with (
        harness.client() as runai,
        runai.watch_fleet(runai.inference_workloads, poll=POLICY, discovery_interval=EVERY_20) as fleet,
    ):
        assert len(await harness.collect(fleet, 200)) == 12
        harness.state.delete_workload(ids[0])
        events = await harness.collect(fleet, 400)
        assert ids[0] not in fleet.workload_ids
        assert fleet.workload_ids >= set(ids[1:])
    assert [(event.kind, event.workload_id) for event in events] == [("deleted", ids[0])]
    assert isinstance(events[0], RevisionDeleted)
    assert events[0].revision_id == revisions[ids[0]]


async def test_a_checkpoint_keeps_a_workload_that_has_left_until_its_deletions_are_delivered() -> None:
    harness, ids, revisions = of_size(3)
    async with harness.client() as runai:
        async with runai.watch_fleet(
            runai.inference_workloads, poll=POLICY, discovery_interval=EVERY_20
        ) as fleet:
            assert len(await harness.collect(fleet, 200)) == 3
            for gone in ids[:2]:
                harness.state.delete_workload(gone)
            await harness.clock.advance(400)
            assert fleet.workload_ids == {ids[2], harness.workload_id}
            saved = fleet.checkpoint()
            assert {item.id for key in ids[:2] for item in saved.workloads[key].revisions} == {
                revisions[key] for key in ids[:2]
            }
            first = await anext(fleet)
            assert fleet.checkpoint().workloads.keys() == {*ids, harness.workload_id} - {first.workload_id}
            await anext(fleet)
            assert fleet.checkpoint().workloads.keys() == fleet.workload_ids
        resumed = runai.watch_fleet(
            runai.inference_workloads, poll=POLICY, discovery_interval=EVERY_20, resume_from=saved
        )
        async with resumed:
            events = await harness.collect(resumed, 400)
    assert {(event.kind, event.workload_id) for event in events} == {("deleted", key) for key in ids[:2]}


async def test_an_unlisted_workload_that_still_responds_leaves_when_its_last_revision_is_gone() -> None:
    harness, ids, revisions = of_size(2)
    async with (
        harness.client() as runai,
        runai.watch_fleet(runai.inference_workloads, poll=POLICY, discovery_interval=EVERY_20) as fleet,
    ):
        await harness.collect(fleet, 15)
        all_but(harness, ids[0])
        harness.state.hide(revisions[ids[0]], hidden=True)
        assert await harness.collect(fleet, 50) == []
        assert ids[0] in fleet.workload_ids  # the revision is missing, and not confirmed to be gone
        events = await harness.collect(fleet, 60)
        assert ids[0] not in fleet.workload_ids
    assert [(event.kind, event.workload_id) for event in events] == [("deleted", ids[0])]


async def test_an_unlisted_workload_whose_revision_cannot_be_decoded_stays() -> None:
    harness, ids, revisions = of_size(1)
    async with (
        harness.client() as runai,
        runai.watch_fleet(runai.inference_workloads, poll=POLICY, discovery_interval=EVERY_20) as fleet,
    ):
        harness.state.update_revision(revisions[ids[0]], {"phase": None})
        all_but(harness, ids[0])
        fleet.add(ids[0])
        await harness.collect(fleet, 200)
        assert ids[0] in fleet.workload_ids


async def test_a_workload_that_was_added_leaves_by_listings_since_then() -> None:
    harness, ids, revisions = of_size(2)
    all_but(harness, ids[0])
    harness.state.delete_revision(revisions[ids[0]])
    async with (
        harness.client() as runai,
        runai.watch_fleet(runai.inference_workloads, poll=POLICY, discovery_interval=EVERY_20) as fleet,
    ):
        await harness.collect(fleet, 55)
        fleet.add(ids[0])
        await harness.collect(fleet, 20)
        assert ids[0] in fleet.workload_ids  # one listing since
        await harness.collect(fleet, 30)
        assert ids[0] not in fleet.workload_ids


# --- filters that can change, and a caller's own function ---------------------------------------------------


def by_phase(runai: RunaiClient) -> Ask:
    return lambda: runai.inference_workloads(filter_by=["phase==Running"])


async def test_with_a_filter_that_can_change_a_workload_leaves_with_its_next_successful_poll() -> None:
    harness, ids, _ = of_size(3)
    harness.state.workloads[harness.workload_id]["phase"] = "Stopped"
    for key in ids:
        harness.state.workloads[key]["phase"] = "Running"
    async with (
        harness.client() as runai,
        runai.watch_fleet(by_phase(runai), poll=POLICY, discovery_interval=EVERY_20) as fleet,
    ):
        await harness.collect(fleet, 15)
        harness.state.workloads[ids[0]]["phase"] = "Stopped"
        harness.by_id[ids[0]] = HTML_502
        await harness.collect(fleet, 35)  # two listings lack it
        assert fleet.workload_ids == set(ids)
        harness.by_id.clear()
        assert await harness.collect(fleet, 60) == []
        assert fleet.workload_ids == set(ids[1:])


async def test_a_listing_that_is_not_sound_is_not_enough_even_with_such_a_filter() -> None:
    harness, ids, _ = of_size(12)
    for key in ids:
        harness.state.workloads[key]["phase"] = "Running"
    harness.sorts, harness.most_rows = False, 4
    async with (
        harness.client() as runai,
        runai.watch_fleet(by_phase(runai), poll=POLICY, discovery_interval=EVERY_20) as fleet,
    ):
        await harness.collect(fleet, 200)
        assert fleet.workload_ids >= set(ids)
        harness.state.workloads[ids[0]]["phase"] = "Stopped"
        await harness.collect(fleet, 200)
        assert fleet.workload_ids >= set(ids)
        harness.sorts = True
        runai._api.list_gate.sorts = True
        await harness.collect(fleet, 80)
        assert fleet.workload_ids >= set(ids[1:])
        assert ids[0] not in fleet.workload_ids


@pytest.mark.parametrize("own", [True, False], ids=["own function", "filter by phase"])
async def test_there_empty_lists_count_when_there_were_no_others_for_a_while(own: bool) -> None:
    harness, ids, _ = of_size(2)
    listed = list(ids)
    for key in ids:
        harness.state.workloads[key]["phase"] = "Running"
    async with harness.client() as runai:
        ask: Ask = (lambda: listed) if own else by_phase(runai)
        policy = evolve(POLICY, missing_grace=60)
        async with runai.watch_fleet(ask, poll=policy, discovery_interval=EVERY_20) as fleet:
            await harness.collect(fleet, 15)
            listed.clear()
            harness.listings = EMPTY
            assert await harness.collect(fleet, 75) == []  # empty at 20, 40, 60 and 80 s
            assert fleet.workload_ids >= set(ids)
            assert await harness.collect(fleet, 30) == []
            assert not fleet.workload_ids & set(ids)


def listings(*steps: Listed) -> list[tuple[bool, bool]]:
    """Return after each listing whether the first of two workloads is leaving, and by the list alone."""
    discovery = Discovery(lambda: IDS, 60)
    found: list[tuple[bool, bool]] = []
    for number, step in enumerate(steps):
        discovery.succeeded(step, IDS, 20.0 * number, POLICY)
        found.append((discovery.is_leaving(IDS[0]), discovery.is_proven(IDS[0])))
    return found


FULL, LACKS, NOTHING = frozenset(IDS), frozenset(IDS[1:]), frozenset[str]()


def test_two_listings_in_a_row_are_needed() -> None:
    assert listings(*(Listed(ids, 0) for ids in (FULL, LACKS, FULL, LACKS, LACKS))) == [
        (False, False), (False, False), (False, False), (False, False), (True, True),
    ]  # fmt: skip


def test_both_must_be_sound_for_the_list_alone_to_be_enough() -> None:
    steps = [Listed(LACKS, 0, is_sound=sound) for sound in (True, False, True, True)]
    assert listings(*steps) == [(False, False), (True, False), (True, False), (True, True)]


def test_the_client_s_own_list_is_never_enough() -> None:
    assert listings(*[Listed(LACKS, 0, is_proof=False)] * 5)[-1] == (True, False)


def test_empty_listings_are_enough_only_when_they_last() -> None:
    assert listings(*[Listed(NOTHING, 0)] * 5) == [
        (False, False), (True, False), (True, False), (True, False), (True, True),
    ]  # fmt: skip


# --- what a checkpoint has ----------------------------------------------------------------------------------


async def test_the_deletions_of_workloads_that_went_while_nobody_watched_are_reported() -> None:
    harness, ids, revisions = of_size(3)
    async with (
        harness.client() as runai,
        runai.watch_fleet(runai.inference_workloads, poll=POLICY, discovery_interval=EVERY_20) as fleet,
    ):
        assert len(await harness.collect(fleet, 15)) == 3
        saved = fleet.checkpoint()
    harness.state.delete_workload(ids[0])
    new = harness.state.add_workload("new", "Inference", {})
    harness.add(workload_id=new)
    async with (
        harness.client() as runai,
        runai.watch_fleet(
            runai.inference_workloads, poll=POLICY, discovery_interval=EVERY_20, resume_from=saved
        ) as fleet,
    ):
        events = await harness.collect(fleet, 400)
        assert fleet.workload_ids == {*ids[1:], new, harness.workload_id}
        assert fleet.checkpoint().workloads.keys() == fleet.workload_ids
    assert sorted((event.kind, event.workload_id) for event in events) == [
        ("added", new),
        ("deleted", ids[0]),
    ]
    assert revisions[ids[0]] in {event.revision_id for event in events if isinstance(event, RevisionDeleted)}


async def test_where_ids_are_given_the_others_of_a_checkpoint_are_dropped() -> None:
    harness, ids, _ = of_size(2)
    saved = FleetCheckpoint({key: Checkpoint(key, synced=True) for key in ids})
    async with harness.client() as runai, runai.watch_fleet(ids[:1], poll=POLICY, resume_from=saved) as fleet:
        await harness.collect(fleet, 100)
        assert fleet.workload_ids == fleet.checkpoint().workloads.keys() == {ids[0]}


async def test_an_unlisted_workload_of_a_checkpoint_that_was_never_seen_leaves_without_a_word() -> None:
    harness, ids, _ = of_size(1)
    gone = "00000000-0000-4000-8000-000000000001"
    harness.by_id[gone] = REFUSED_404
    saved = FleetCheckpoint({gone: Checkpoint(gone)})
    async with (
        harness.client() as runai,
        runai.watch_fleet(
            runai.inference_workloads, poll=POLICY, discovery_interval=EVERY_20, resume_from=saved
        ) as fleet,
    ):
        events = await harness.collect(fleet, 600)
        assert gone not in fleet.workload_ids
    assert {event.workload_id for event in events} == {ids[0]}


# --- what a listing says ------------------------------------------------------------------------------------


async def test_when_the_latest_listing_began_is_known_and_whom_it_names() -> None:
    harness, ids, _ = of_size(2)
    harness.listing_latency = 1
    async with (
        harness.client() as runai,
        runai.watch_fleet(runai.inference_workloads, poll=POLICY, discovery_interval=EVERY_20) as fleet,
    ):
        discovery = fleet._discovery
        assert discovery.began_at < 0
        await harness.collect(fleet, 21.5)
        assert (discovery.began_at, discovery.is_listed(ids[0])) == (0, True)
        all_but(harness, ids[0])
        await harness.collect(fleet, 1)
        assert (discovery.began_at, discovery.is_listed(ids[0])) == (21, False)
        harness.listings = HTML_502
        await harness.collect(fleet, 60)
        assert (discovery.began_at, discovery.is_listed(ids[1])) == (21, True)


async def test_a_test_of_the_caller_s_own_sees_each_workload_once_a_reading() -> None:
    harness, ids, _ = of_size(7)
    harness.most_rows, seen = 3, list[str]()

    def is_inference(workload: Workload) -> bool:
        seen.append(workload.id)
        return workload.id in ids

    async with harness.client() as runai:
        ask = lambda: runai.inference_workloads(is_inference=is_inference)  # noqa: E731
        async with runai.watch_fleet(ask, poll=POLICY) as fleet:
            await harness.collect(fleet, 5)
            assert fleet.workload_ids == set(ids)
    assert set(seen) == {*ids, harness.workload_id}
