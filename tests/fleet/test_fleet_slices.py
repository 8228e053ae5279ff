"""Thousands of workloads are worked on in slices, so other tasks have their turns."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from attrs import evolve
from support.fleets import POLICY, controls_of, of_size
from support.harness import HTML_502

from runai_async import Synced
from runai_async._fleet.slices import give_way, in_turns

MANY, FEW = 450, 250
TURNS = 2
"""Slices of so many, less one."""
SYNCED = evolve(POLICY, emit={"synced"})


class Turns:
    """Counts the turns of another task."""

    def __init__(self) -> None:
        self.count = 0

    async def run(self) -> None:
        while True:
            self.count += 1
            await asyncio.sleep(0)


@contextmanager
def turns() -> Iterator[Turns]:
    counted = Turns()
    task = asyncio.create_task(counted.run())
    try:
        yield counted
    finally:
        task.cancel()


@pytest.mark.parametrize(("count", "expected"), [(0, 0), (1, 0), (200, 0), (201, 1), (MANY, TURNS)])
async def test_other_tasks_have_a_turn_between_two_slices(count: int, expected: int) -> None:
    with turns() as other:
        assert [item async for item in in_turns(range(count))] == [*range(count)]
        assert other.count == expected


async def test_workloads_that_are_given_join_in_slices() -> None:
    harness, ids, _ = of_size(MANY)
    async with harness.client() as runai:
        fleet = runai.watch_fleet(ids, poll=POLICY)
        with turns() as other:
            async with fleet:
                assert other.count == TURNS
                assert len(fleet.workload_ids) == MANY
                await harness.clock.advance(20)
                assert fleet.status.oldest_success_at is not None


async def test_workloads_that_are_listed_join_in_slices() -> None:
    harness, ids, _ = of_size(MANY)
    seen = []
    async with harness.client() as runai, runai.watch_fleet(lambda: ids, poll=POLICY) as fleet:
        while len(fleet.workload_ids) < MANY:
            seen.append(len(fleet.workload_ids))
            await asyncio.sleep(0)
    assert seen[-TURNS:] == [200, 400]


async def test_a_workload_that_is_removed_while_others_join_is_not_polled() -> None:
    harness, ids, _ = of_size(MANY)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        await asyncio.sleep(0)  # the first polls of one slice are planned
        assert not harness.requests
        fleet.remove(ids[-1])
        await harness.clock.advance(20)
        assert harness.times_of(ids[-2])
    assert harness.times_of(ids[-1]) == []


async def test_all_are_known_though_one_is_removed_while_others_join() -> None:
    harness, ids, _ = of_size(MANY)
    async with harness.client() as runai, runai.watch_fleet(lambda: ids, poll=SYNCED) as fleet:
        while len(fleet.workload_ids) < MANY / 2:
            await asyncio.sleep(0)
        fleet.remove(min(ids))
        events = await harness.collect(fleet, 20)
    assert sum(isinstance(event, Synced) and not event.workload_id for event in events) == 1
    assert harness.times_of(min(ids)) == []


async def test_polls_that_fail_while_others_join_end_the_hurry_of_all() -> None:
    harness, ids, _ = of_size(MANY)
    slow = evolve(POLICY, interval=100, fast_interval=100)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=slow) as fleet:
        await asyncio.sleep(0)  # the first polls of one slice are planned
        for _ in range(10):
            fleet._dispatcher.note(succeeded=False)
        await harness.clock.advance(3)
    assert len(harness.requests) < MANY / 10


async def test_a_fleet_that_is_cancelled_while_it_is_entered_has_ended() -> None:
    harness, ids, _ = of_size(MANY)
    async with harness.client() as runai:
        fleet = runai.watch_fleet(ids, poll=POLICY)
        entering = asyncio.create_task(fleet.__aenter__())
        await asyncio.sleep(0)
        entering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await entering
        with pytest.raises(StopAsyncIteration):
            await anext(fleet)
        await harness.clock.advance(20)
    assert harness.requests == []


async def test_a_fleet_that_is_closed_while_it_is_entered_has_ended() -> None:
    harness, ids, _ = of_size(MANY)
    async with harness.client() as runai:
        fleet = runai.watch_fleet(ids, poll=evolve(POLICY, emit={"clusters"}))
        entering = asyncio.create_task(fleet.__aenter__())
        await asyncio.sleep(0)
        await fleet.aclose()
        await entering
        with pytest.raises(StopAsyncIteration):
            await anext(fleet)
        await harness.clock.advance(20)
    assert harness.requests == []


async def test_after_an_outage_of_all_they_return_to_their_slots() -> None:
    harness, ids, _ = of_size(FEW)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY):
        await harness.clock.advance(20)
        harness.lists = HTML_502
        await harness.clock.advance(40)
        harness.lists = True
        await harness.clock.advance(5)  # one is polled
        back = harness.clock.monotonic()
        await harness.clock.advance(10)
    assert len([at for at in harness.times() if at > back]) == pytest.approx(FEW, rel=0.1)


@pytest.mark.parametrize(("count", "expected"), [(200, 0), (201, 1)])
async def test_a_long_step_over_many_workloads_gives_way_to_other_tasks(count: int, expected: int) -> None:
    with turns() as other:
        await give_way(count)
        assert other.count == expected


async def test_those_that_are_never_relaxed_are_chosen_of_all_in_slices() -> None:
    harness, *_ = of_size(FEW)
    async with (
        harness.client() as runai,
        runai.watch_fleet(
            runai.inference_workloads, poll=POLICY, discovery_interval=10, relaxed_interval=60
        ) as fleet,
    ):
        await harness.collect(fleet, 35)
        hints = fleet._follower._hints
        assert hints is not None
        assert hints._controls.ids == controls_of(fleet.workload_ids)
