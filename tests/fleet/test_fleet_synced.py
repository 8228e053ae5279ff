"""A fleet says once that all it began with is known, if it is asked to."""

from typing import Any

import pytest
from support.fleets import of_size
from support.harness import HTML_502, REFUSED_404, Harness

from runai_async import FleetCheckpoint, PollPolicy

SYNCED = PollPolicy(interval=10, fast_interval=10, max_outage=60, emit={"synced"})


async def test_a_fleet_says_once_that_all_it_began_with_is_known_behind_their_events() -> None:
    harness, ids, _ = of_size(20)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=SYNCED) as fleet:
        events = await harness.collect(fleet, 60)
        fleet.add(harness.workload_id)
        later = await harness.collect(fleet, 60)

    kinds = [(event.kind, event.workload_id) for event in events]
    assert kinds[-1] == ("synced", "")
    assert sorted(kinds[:-1]) == sorted((kind, key) for key in ids for kind in ("added", "synced"))
    assert [(event.kind, event.workload_id) for event in later] == [("synced", harness.workload_id)]


async def test_it_waits_for_no_workload_that_fails_or_has_no_revisions_or_is_removed() -> None:
    harness, ids, _ = of_size(4)
    harness.by_id = {ids[0]: HTML_502, ids[1]: REFUSED_404, ids[2]: HTML_502}
    async with (
        harness.client() as runai,
        runai.watch_fleet(runai.inference_workloads, poll=SYNCED, discovery_interval=10) as fleet,
    ):
        events = await harness.collect(fleet, 60)
        assert ("synced", "") not in [(event.kind, event.workload_id) for event in events]
        fleet.remove(ids[2])
        events = await harness.collect(fleet, 200)

    kinds = [(event.kind, event.workload_id) for event in events]
    assert ("workload_failed", ids[0]) in kinds
    assert kinds.count(("synced", "")) == 1


@pytest.mark.parametrize("workloads", [[], list], ids=["ids", "function"])
async def test_a_fleet_that_begins_with_nothing_is_synced_at_once(workloads: Any) -> None:
    harness = Harness()
    async with harness.client() as runai, runai.watch_fleet(workloads, poll=SYNCED) as fleet:
        events = await harness.collect(fleet, 1)
        fleet.add(harness.workload_id)
        events += await harness.collect(fleet, 20)

    assert [(event.kind, event.workload_id) for event in events] == [
        ("synced", ""),
        ("synced", harness.workload_id),
    ]


async def test_what_was_polled_before_the_first_listing_is_not_waited_for() -> None:
    harness, ids, _ = of_size(2)
    harness.listings = HTML_502
    harness.at(35, lambda: setattr(harness, "listings", True))
    async with (
        harness.client() as runai,
        runai.watch_fleet(runai.inference_workloads, poll=SYNCED, discovery_interval=10) as fleet,
    ):
        for key in (*ids, harness.workload_id):
            fleet.add(key)
        events = await harness.collect(fleet, 30)
        assert len(events) == 5
        events = await harness.collect(fleet, 300)

    assert [(event.kind, event.workload_id) for event in events] == [("synced", "")]


async def test_a_resumed_fleet_is_synced_again_and_its_checkpoint_is_that_of_what_was_delivered() -> None:
    harness, ids, revisions = of_size(3)
    async with harness.client() as runai:
        async with runai.watch_fleet(ids, poll=SYNCED) as fleet:
            await harness.collect(fleet, 15)
            saved = FleetCheckpoint.from_json(fleet.checkpoint().to_json())
        harness.set_phase(revisions[ids[0]], "Failed")
        async with runai.watch_fleet(ids, poll=SYNCED, resume_from=saved) as fleet:
            events = await harness.collect(fleet, 15)
            assert [(event.kind, event.workload_id) for event in events] == [
                ("phase_changed", ids[0]),
                ("synced", ""),
            ]
            assert fleet.checkpoint(ids[0]).revisions[0].phase == "Failed"
            assert await harness.collect(fleet, 30) == []
