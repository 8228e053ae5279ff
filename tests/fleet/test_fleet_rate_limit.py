"""A fleet that its own rate limit slows down is slow, and not stale."""

import pytest
from attrs import evolve
from support.fleets import POLICY, of_size, reading_of
from support.harness import HTML_502

from runai_async import FleetWatch
from runai_async._fleet.capacity import Capacity

BRIEF = evolve(POLICY, deadline=5, max_outage=None)
"""By the interval alone, 35 seconds without a success are stale."""


def late(fleet: FleetWatch) -> list[str]:
    """Return the workloads that the exporter would show as not up."""
    return [poll.workload_id for poll in reading_of(fleet).polls if poll.is_late]


async def test_a_fleet_that_may_poll_once_in_fifty_seconds_is_not_stale_for_that() -> None:
    harness, ids, _ = of_size(1)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=BRIEF, rate_limit=0.02) as fleet:
        for _ in range(50):
            await harness.collect(fleet, 10)
            assert not fleet.status.stale
        harness.lists = HTML_502
        await harness.collect(fleet, 200)
        assert fleet.status.stale


async def test_nor_is_a_workload_whose_turn_comes_once_in_fifty_seconds() -> None:
    harness, ids, _ = of_size(50)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=BRIEF, rate_limit=1) as fleet:
        await harness.collect(fleet, 60)
        for _ in range(20):
            await harness.collect(fleet, 10)
            assert late(fleet) == []
        harness.by_id[ids[0]] = HTML_502
        await harness.collect(fleet, 220)
        assert late(fleet) == [ids[0]]


async def test_a_limit_that_leaves_room_changes_nothing() -> None:
    harness, ids, _ = of_size(5)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=BRIEF, rate_limit=5) as fleet:
        await harness.collect(fleet, 60)
        harness.lists = HTML_502
        await harness.collect(fleet, 46)
        assert fleet.status.stale


@pytest.mark.parametrize(("limit", "stretch"), [(None, 1), (100, 1), (10, 1), (5, 2), (0.1, 100)])
def test_the_stretch_is_what_the_intervals_ask_for_by_what_the_limit_allows(
    limit: float | None, stretch: float
) -> None:
    capacity = Capacity(32, limit)
    for _ in range(100):
        capacity.join(10)
    assert capacity.stretch == stretch
