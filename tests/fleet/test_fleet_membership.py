"""Workloads that join and leave a fleet."""

import pytest
from support.fleets import POLICY, UNKNOWN_ID, of_size
from support.harness import REFUSED_403, WORKLOAD_GONE

from runai_async import RevisionEvent
from runai_async.testing import Response


async def test_adding_and_removing_take_effect_by_the_next_due_time() -> None:
    harness, ids, revisions = of_size(3)
    async with harness.client() as runai, runai.watch_fleet(ids[:2], poll=POLICY) as fleet:
        await harness.collect(fleet, 20)
        fleet.add(ids[2])
        fleet.add(ids[2])
        fleet.remove(ids[0])
        fleet.remove(UNKNOWN_ID)
        harness.set_phase(revisions[ids[0]], "Failed")
        events = await harness.collect(fleet, 20)
        assert fleet.workload_ids == frozenset(ids[1:])

    assert [(event.kind, event.revision_id) for event in events if isinstance(event, RevisionEvent)] == [
        ("added", revisions[ids[2]])
    ]
    assert not [at for at, _, key in harness.requests if key == ids[0] and at > 20]


async def test_removing_a_workload_drops_its_undelivered_events() -> None:
    harness, ids, _ = of_size(2)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        await harness.clock.advance(20)
        fleet.remove(ids[0])
        events = await harness.collect(fleet, 1)

    assert {event.workload_id for event in events} == {ids[1]}


async def test_removing_a_workload_drops_its_undelivered_failure() -> None:
    harness, ids, _ = of_size(2)
    harness.by_id[ids[0]] = REFUSED_403
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        await harness.clock.advance(100)
        fleet.remove(ids[0])
        events = await harness.collect(fleet, 1)

    assert {event.workload_id for event in events} == {ids[1]}


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("response", [True, Response(body=b'{"items": []}')])
async def test_a_poll_in_flight_when_its_workload_is_removed_yields_nothing(
    response: Response | bool, again: bool
) -> None:
    harness, ids, revisions = of_size(1)
    harness.lists, harness.latency = response, 3
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        while not fleet.status.in_flight:
            await harness.clock.advance(1)
        fleet.remove(ids[0])
        if again:
            fleet.add(ids[0])
        assert await harness.collect(fleet, 2.99) == []  # until that poll has ended, and no other one has
        harness.lists = True
        events = await harness.collect(fleet, 20)

    assert [event.revision_id for event in events if isinstance(event, RevisionEvent)] == (
        list(revisions.values()) if again else []
    )


async def test_a_workload_that_leaves_and_is_added_again_starts_afresh() -> None:
    harness, ids, _ = of_size(2)
    listed = list(ids)
    async with harness.client() as runai, runai.watch_fleet(lambda: listed, poll=POLICY) as fleet:
        await harness.collect(fleet, 70)
        listed.pop(0)
        await harness.collect(fleet, 109)
        harness.latency = 15
        await harness.collect(fleet, 11)  # the second discovery that lacks it, and a poll of it in flight
        fleet.remove(ids[0])
        fleet.add(ids[0])
        harness.latency = 0
        events = await harness.collect(fleet, 40)
        assert fleet.workload_ids == frozenset(ids)

    assert [(event.kind, event.workload_id) for event in events] == [("added", ids[0])]


async def test_a_late_poll_of_a_removed_workload_does_not_end_its_new_membership() -> None:
    harness, ids, revisions = of_size(2)
    listed = list(ids)
    async with (
        harness.client() as runai,
        runai.watch_fleet(lambda: listed, poll=POLICY, discovery_interval=1) as fleet,
    ):
        await harness.collect(fleet, 30)
        harness.latency = 9.5
        listed.pop(0)
        harness.requests.clear()
        while ids[0] not in {key for _, _, key in harness.requests}:
            await harness.clock.advance(0.1)
        fleet.remove(ids[0])
        fleet.add(ids[0])
        # The poll ends, shortly before the first one of the new membership.
        assert await harness.collect(fleet, 9.5) == []
        assert fleet.workload_ids == frozenset(ids)
        events = await harness.collect(fleet, 30)

    assert [event.revision_id for event in events if isinstance(event, RevisionEvent)] == [revisions[ids[0]]]


async def test_a_poll_that_fails_after_the_last_workload_was_removed_is_not_an_outage(
    caplog: pytest.LogCaptureFixture,
) -> None:
    harness, ids, _ = of_size(1)
    harness.lists = None
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        await harness.collect(fleet, 10)
        fleet.remove(ids[0])
        await harness.collect(fleet, 100)
    assert (len(harness.requests), caplog.messages) == (1, [])


async def test_a_workload_that_returns_unchanged_is_reported_again() -> None:
    harness, ids, revisions = of_size(1)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        await harness.collect(fleet, 20)
        harness.by_id[ids[0]] = WORKLOAD_GONE
        gone = await harness.collect(fleet, 400)
        del harness.by_id[ids[0]]
        back = await harness.collect(fleet, 400)
        (mark,) = fleet.checkpoint(ids[0]).revisions

    assert [event.kind for event in gone] == ["deleted", "workload_failed"]
    assert [(event.kind, event.revision_id) for event in back if isinstance(event, RevisionEvent)] == [
        ("added", revisions[ids[0]])
    ]
    assert mark.deleted_at is None


async def test_a_single_id_is_not_mistaken_for_a_list() -> None:
    harness, ids, _ = of_size(1)
    async with harness.client() as runai:
        with pytest.raises(TypeError, match="put it into a list"):
            runai.watch_fleet(ids[0])
        with pytest.raises(ValueError, match="workload_id must be a UUID"):
            runai.watch_fleet(["x"])
        with pytest.raises(ValueError, match="rate_limit must be a positive number"):
            runai.watch_fleet(ids, rate_limit=0)
