"""Fleets whose workloads are listed by a function that is called again and again."""

import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from attrs import evolve
from support.fleets import POLICY, of_size
from support.harness import HTML_502, REFUSED_401, REFUSED_403, WORKLOAD_GONE, Harness

from runai_async import AuthenticationError, Checkpoint, FleetCheckpoint, RevisionDeleted, WatchOutageError


async def test_workloads_may_be_listed_by_a_coroutine() -> None:
    harness, ids, _ = of_size(3)

    async def ask() -> list[str]:
        return ids

    async with harness.client() as runai, runai.watch_fleet(ask, poll=POLICY) as fleet:
        await harness.collect(fleet, 20)
        assert fleet.workload_ids == frozenset(ids)


async def test_a_discovery_whose_token_is_refused_ends_the_fleet() -> None:
    harness, ids, _ = of_size(3)
    rounds = 0

    def ask() -> list[str]:
        nonlocal rounds
        rounds += 1
        if rounds > 1:
            raise AuthenticationError(401, "revoked")
        return ids

    async with harness.client() as runai, runai.watch_fleet(ask, poll=POLICY, discovery_interval=20) as fleet:
        with pytest.raises(AuthenticationError) as caught:
            await harness.collect(fleet, 100)
        assert caught.value.checkpoint == fleet.checkpoint()
        await harness.clock.advance(100)
    assert rounds == 2


async def test_discovery_stops_when_the_fleet_has_ended() -> None:
    harness, ids, _ = of_size(3)
    harness.lists, rounds = REFUSED_401, 0

    def ask() -> list[str]:
        nonlocal rounds
        rounds += 1
        return ids

    async with harness.client() as runai, runai.watch_fleet(ask, poll=POLICY, discovery_interval=20) as fleet:
        with pytest.raises(AuthenticationError):
            await harness.collect(fleet, 15)
        await harness.clock.advance(100)
    assert rounds == 1


async def test_workloads_join_and_leave_by_discovery() -> None:
    harness, ids, revisions = of_size(3)
    listed = [set(ids[:2])]

    async def ask() -> AsyncIterator[str]:
        for key in sorted(listed[-1]):
            yield key

    async with harness.client() as runai, runai.watch_fleet(ask, poll=POLICY, discovery_interval=60) as fleet:
        assert len(await harness.collect(fleet, 30)) == 2
        listed.append({ids[1], ids[2]})
        joined = await harness.collect(fleet, 60)
        assert fleet.workload_ids == frozenset(ids)
        left = await harness.collect(fleet, 60)
        assert fleet.workload_ids == frozenset(ids[1:])

    assert [(event.kind, event.workload_id) for event in joined] == [("added", ids[2])]
    assert left == []
    assert revisions


async def test_a_workload_missing_from_single_discoveries_stays() -> None:
    harness, ids, _ = of_size(2)
    rounds = iter([ids, ids[:1], ids, ids[:1], ids, ids[:1], ids, ids])
    async with (
        harness.client() as runai,
        runai.watch_fleet(lambda: next(rounds, ids), poll=POLICY, discovery_interval=20) as fleet,
    ):
        events = await harness.collect(fleet, 200)
        assert fleet.workload_ids == frozenset(ids)

    assert sorted(event.workload_id for event in events) == sorted(ids)


@pytest.mark.parametrize("discovery", ["fails", "lists nothing"])
async def test_a_discovery_that_fails_or_lists_nothing_changes_nothing(
    discovery: str, caplog: pytest.LogCaptureFixture
) -> None:
    harness, ids, _ = of_size(3)
    rounds = 0

    def ask() -> list[str]:
        nonlocal rounds
        rounds += 1
        if rounds == 1:
            return ids
        if discovery == "fails":
            raise OSError("no route")
        return []

    async with harness.client() as runai, runai.watch_fleet(ask, poll=POLICY, discovery_interval=20) as fleet:
        await harness.collect(fleet, 200)
        assert fleet.workload_ids == frozenset(ids)

    assert rounds == 11
    assert ("discovery failed" in caplog.text) == (discovery == "fails")


@pytest.mark.parametrize("resumed", [False, True])
async def test_an_outage_before_the_first_discovery_is_handled_like_any_other(
    caplog: pytest.LogCaptureFixture, resumed: bool
) -> None:
    harness, ids, _ = of_size(1)
    saved = FleetCheckpoint({ids[0]: Checkpoint(ids[0], synced=True)}) if resumed else None
    harness.others = HTML_502
    caplog.set_level(logging.INFO)
    async with harness.client() as runai:
        async with runai.watch_fleet(runai.inference_workloads, poll=POLICY, resume_from=saved) as fleet:
            with pytest.raises(WatchOutageError, match="no response from the control plane for 6") as caught:
                await harness.collect(fleet, 200)
        assert caught.value.checkpoint == (saved or FleetCheckpoint({}))
        assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]

        caplog.clear()
        patient = evolve(POLICY, max_outage=None)
        async with runai.watch_fleet(
            runai.inference_workloads, poll=patient, discovery_interval=1e6
        ) as fleet:
            assert await harness.collect(fleet, 3 * 10 + 60) == []
            assert not fleet.status.stale
            assert await harness.collect(fleet, 3000) == []
            assert fleet.status.stale
            harness.others = True
            await harness.collect(fleet, 10_000)
            assert (fleet.status.watched, fleet.status.stale) == (2, False)
        assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING", "INFO", "INFO"]


async def test_a_refused_discovery_is_not_an_outage_but_makes_the_fleet_stale() -> None:
    harness, _, _ = of_size(1)
    harness.others = REFUSED_403
    async with harness.client() as runai, runai.watch_fleet(runai.inference_workloads, poll=POLICY) as fleet:
        assert await harness.collect(fleet, 300) == []
        assert fleet.status.stale


@pytest.mark.parametrize("workloads", [None, 5, "generator"])
async def test_workloads_that_are_neither_ids_nor_a_function_are_a_type_error_with_a_hint(
    workloads: Any,
) -> None:
    async with Harness().client() as runai:
        given: Any = runai.inference_workloads() if workloads == "generator" else workloads
        with pytest.raises(TypeError, match="without parentheses: it is called again and again"):
            runai.watch_fleet(given)
        if workloads == "generator":
            await given.aclose()


async def test_an_unlisted_workload_with_a_404_reports_its_deletions_and_leaves() -> None:
    harness, ids, revisions = of_size(2)
    listed = [list(ids)]

    def ask() -> list[str]:
        return listed[-1]

    async with harness.client() as runai, runai.watch_fleet(ask, poll=POLICY, discovery_interval=30) as fleet:
        await harness.collect(fleet, 25)
        listed.append(ids[1:])
        harness.by_id[ids[0]] = WORKLOAD_GONE
        events = await harness.collect(fleet, 200)
        assert fleet.workload_ids == frozenset(ids[1:])

    assert [(event.kind, event.workload_id) for event in events] == [("deleted", ids[0])]
    assert isinstance(events[0], RevisionDeleted)
    assert events[0].revision_id == revisions[ids[0]]


async def test_an_unlisted_workload_with_a_403_is_reported_as_failed_and_stays() -> None:
    harness, ids, _ = of_size(2)
    listed = list(ids)
    async with (
        harness.client() as runai,
        runai.watch_fleet(lambda: listed, poll=POLICY, discovery_interval=30) as fleet,
    ):
        await harness.collect(fleet, 25)
        listed.pop(0)
        harness.by_id[ids[0]] = REFUSED_403
        events = await harness.collect(fleet, 200)
        assert fleet.workload_ids == frozenset(ids)

    assert [(event.kind, event.workload_id) for event in events] == [("workload_failed", ids[0])]


async def test_checkpoints_of_workloads_not_yet_discovered_are_kept() -> None:
    harness, ids, _ = of_size(2)
    saved = FleetCheckpoint({key: Checkpoint(key, synced=True) for key in ids})
    listed = [[ids[0]]]
    harness.others = REFUSED_401
    async with harness.client() as runai:
        fleet = runai.watch_fleet(lambda: listed[-1], poll=POLICY, discovery_interval=30, resume_from=saved)
        assert fleet.checkpoint() == saved
        async with fleet:
            await harness.collect(fleet, 15)
            assert fleet.checkpoint().workloads.keys() == set(ids)
            assert fleet.checkpoint().workloads[ids[1]] == saved.workloads[ids[1]]
            await harness.collect(fleet, 30)  # missing from two rounds in a row: it has left
            assert fleet.checkpoint().workloads.keys() == {ids[0]}
        async with runai.watch_fleet(runai.inference_workloads, resume_from=saved) as other:
            other.remove(ids[0])
            with pytest.raises(AuthenticationError) as caught:
                await anext(other)
    assert caught.value.checkpoint == FleetCheckpoint({ids[1]: saved.workloads[ids[1]]})
