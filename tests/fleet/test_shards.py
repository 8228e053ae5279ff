"""Several fleets that share the workloads between them."""

from collections import Counter
from random import Random
from typing import Any
from uuid import UUID

import pytest
from support.fleets import POLICY, of_size

from runai_async import Checkpoint, FleetCheckpoint, RevisionAdded, Synced, shard_of
from runai_async._fleet.spread import _jump, as_shard, offset_of
from runai_async.policy import PollPolicy

RANDOM = Random(1)
MANY = [str(UUID(int=RANDOM.getrandbits(128), version=4)) for _ in range(20_000)]


# --- whose a workload is ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "count", "shard"),
    [(0, 1, 0), (42, 57, 43), (0xDEAD10CC, 666, 361), (256, 1024, 520), (10863919174838991, 11, 6)],
)
def test_it_is_jump_consistent_hashing(key: int, count: int, shard: int) -> None:
    assert _jump(key, count) == shard  # as other implementations of it have it


def test_the_shard_of_an_id_never_changes() -> None:
    workload_id = "5b7ad5a4-4f2c-4c0a-b63b-0d4c1e9f7c11"
    assert [shard_of(workload_id, count) for count in (1, 2, 3, 4, 8, 16, 1000)] == [0, 0, 2, 3, 3, 8, 313]
    assert shard_of(workload_id.upper(), 1000) == 313


def test_shards_are_even_and_spread_over_the_interval() -> None:
    owners = Counter(shard_of(key, 16) for key in MANY)
    assert set(owners) == {*range(16)}
    assert max(owners.values()) < 1250 * 1.08
    assert min(owners.values()) > 1250 * 0.92
    for shard in range(16):
        quarters = Counter(int(offset_of(key) * 4) for key in MANY if shard_of(key, 16) == shard)
        assert min(quarters.values()) > 0.8 * owners[shard] / 4


def test_one_more_shard_takes_its_part_and_moves_nobody_else() -> None:
    before, after = [{key: shard_of(key, count) for key in MANY} for count in (4, 5)]
    moved = {key for key in MANY if before[key] != after[key]}
    assert {after[key] for key in moved} == {4}
    assert len(moved) == pytest.approx(len(MANY) / 5, rel=0.05)


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ((4, 4), ValueError), ((-1, 4), ValueError), ((0, 0), ValueError), ((0,), TypeError),
        ((0, 2**31), ValueError), ("0/4", TypeError), ((0.0, 4), TypeError), ((True, 4), TypeError),
        (0, TypeError),
    ],
)  # fmt: skip
async def test_a_shard_that_cannot_be_is_refused(value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"shard must be \(index, count\)"):
        as_shard(value)
    harness, ids, _ = of_size(1)
    async with harness.client() as runai:
        with pytest.raises(error):
            runai.watch_fleet(ids, shard=value)


@pytest.mark.parametrize(
    ("count", "error"),
    [(0, ValueError), (2**31, ValueError), (10**400, ValueError), (1.5, TypeError)],
    ids=["none", "more than 31 bits", "more than a float", "no whole number"],
)
def test_a_number_of_shards_that_cannot_be_is_refused(count: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="count must be"):
        shard_of(MANY[0], count)


def test_the_largest_number_of_shards_is_no_error() -> None:
    assert 0 <= shard_of(MANY[0], 2**31 - 1) < 2**31 - 1
    assert as_shard((0, 2**31 - 1)).count == 2**31 - 1


# --- what a fleet does with it ------------------------------------------------------------------------------


def parts(ids: list[str], count: int) -> list[set[str]]:
    return [{key for key in ids if shard_of(key, count) == index} for index in range(count)]


@pytest.mark.parametrize("source", ["ids", "query", "function"])
async def test_the_shards_together_watch_everything_once(source: str) -> None:
    harness, ids, _ = of_size(60)
    seen: Counter[str] = Counter()
    async with harness.client() as runai:
        what: Any = {"ids": ids, "query": runai.inference_workloads, "function": lambda: ids}[source]
        async with runai.watch_fleet(what, poll=POLICY, shard=(0, 1)) as fleet:
            await harness.collect(fleet, 1)
            everything = sorted(fleet.workload_ids)
        for index, own in enumerate(parts(everything, 3)):
            policy = PollPolicy(interval=10, emit={"synced"})
            async with runai.watch_fleet(what, poll=policy, shard=(index, 3)) as fleet:
                events = await harness.collect(fleet, 25)
                assert fleet.workload_ids == own
                assert (fleet.status.watched, fleet.status.expected) == (len(own), len(own))
            seen.update(event.workload_id for event in events if isinstance(event, RevisionAdded))
            assert [event.workload_id for event in events if isinstance(event, Synced)].count("") == 1
    assert set(seen) == set(ids)
    assert set(everything) >= set(ids)


async def test_what_other_shards_have_does_not_leave_and_does_not_join() -> None:
    harness, ids, _ = of_size(20)
    own = parts([*ids, harness.workload_id], 2)[0]
    async with (
        harness.client() as runai,
        runai.watch_fleet(
            runai.inference_workloads, poll=POLICY, discovery_interval=10, shard=(0, 2)
        ) as fleet,
    ):
        await harness.collect(fleet, 100)
        assert fleet.workload_ids == own


async def test_any_number_of_shards_resumes_from_any_other() -> None:
    harness, ids, _ = of_size(30)
    saved: dict[str, Checkpoint] = {}
    async with harness.client() as runai:
        for index in range(3):
            async with runai.watch_fleet(ids, poll=POLICY, shard=(index, 3)) as fleet:
                await harness.collect(fleet, 25)
                saved |= fleet.checkpoint().workloads
        assert saved.keys() == set(ids)
        whole = FleetCheckpoint(saved, runai.base_url)
        for index, own in enumerate(parts(ids, 2)):
            async with runai.watch_fleet(
                runai.inference_workloads, poll=POLICY, shard=(index, 2), resume_from=whole
            ) as fleet:
                assert await harness.collect(fleet, 45) == []
                assert fleet.checkpoint().workloads.keys() >= own
                assert all(shard_of(key, 2) == index for key in fleet.checkpoint().workloads)


async def test_a_workload_of_another_shard_cannot_be_added() -> None:
    harness, ids, _ = of_size(10)
    own, others = parts(ids, 2)
    async with harness.client() as runai, runai.watch_fleet([], poll=POLICY, shard=(0, 2)) as fleet:
        fleet.add(min(own))
        stranger = min(others)
        with pytest.raises(ValueError, match=f"workload {stranger} belongs to shard 1 of 2, not to 0"):
            fleet.add(stranger)
        assert fleet.workload_ids == {min(own)}


async def test_a_workload_is_added_with_its_checkpoint() -> None:
    harness, ids, _ = of_size(2)
    async with harness.client() as runai:
        async with runai.watch_fleet(ids, poll=POLICY) as fleet:
            await harness.collect(fleet, 25)
            saved = fleet.checkpoint(ids[0])
        async with runai.watch_fleet([], poll=POLICY) as fleet:
            for key, error, match in (
                (ids[1], ValueError, "the checkpoint is of workload"),
                (ids[0], TypeError, "resume_from must be a Checkpoint"),
            ):
                value: Any = saved if error is ValueError else fleet.checkpoint()
                with pytest.raises(error, match=match):
                    fleet.add(key, resume_from=value)
            fleet.add(ids[0], resume_from=saved)
            fleet.add(ids[0], resume_from=saved)
            assert await harness.collect(fleet, 25) == []
            with pytest.raises(ValueError, match=r"the checkpoint is of https://other\.example"):
                fleet.add(ids[0], resume_from=saved.moved_to("https://other.example"))


async def test_a_checkpoint_that_is_refused_costs_the_other_one_nothing() -> None:
    harness, ids, _ = of_size(2)
    async with harness.client() as runai:
        async with runai.watch_fleet(ids, poll=POLICY) as fleet:
            await harness.collect(fleet, 25)
            saved = fleet.checkpoint()
        query = runai.inference_workloads
        async with runai.watch_fleet(query, poll=POLICY, resume_from=saved) as fleet:
            with pytest.raises(ValueError, match="the checkpoint is of workload"):
                fleet.add(ids[0], resume_from=saved.workloads[ids[1]])
            assert fleet.checkpoint().workloads == saved.workloads
