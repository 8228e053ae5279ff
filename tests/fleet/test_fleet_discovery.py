"""Fleets whose workloads are listed by a function that is called again and again."""

import asyncio
import logging
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest
from attrs import evolve
from support.fleets import POLICY, UNKNOWN_ID, of_size
from support.harness import (
    HTML_502,
    REFUSED_401,
    REFUSED_403,
    REFUSED_404,
    WORKLOAD_GONE,
    WRONG_SHAPE,
    Harness,
)

from runai_async import (
    AttemptTimeoutError,
    AuthenticationError,
    Checkpoint,
    FleetCheckpoint,
    PermissionDeniedError,
    RevisionDeleted,
    RunaiError,
    WatchOutageError,
    WorkloadFailed,
)
from runai_async._fleet.lister import Lister
from runai_async.testing import Response

BASE_URL = "https://acme.example"


async def test_workloads_may_be_listed_by_a_coroutine() -> None:
    harness, ids, _ = of_size(3)

    async def ask() -> list[str]:
        return ids

    async with harness.client() as runai, runai.watch_fleet(ask, poll=POLICY) as fleet:
        await harness.collect(fleet, 20)
        assert fleet.workload_ids == frozenset(ids)


async def test_a_discovery_whose_token_is_refused_ends_a_fleet_that_watches_nothing() -> None:
    harness, _, _ = of_size(3)
    harness.listings = REFUSED_401
    async with harness.client() as runai, runai.watch_fleet(runai.inference_workloads, poll=POLICY) as fleet:
        with pytest.raises(AuthenticationError) as caught:
            await harness.collect(fleet, 100)
        assert caught.value.checkpoint == fleet.checkpoint()
        await harness.clock.advance(100)
    assert harness.times("workloads") == [0, 1, 3]


async def test_what_a_watching_fleet_makes_of_a_refused_token_its_polls_decide() -> None:
    harness, ids, _ = of_size(3)
    harness.at(30, setattr, harness, "listings", REFUSED_401)
    harness.at(300, setattr, harness, "lists", REFUSED_401)
    async with harness.client() as runai, runai.watch_fleet(runai.inference_workloads, poll=POLICY) as fleet:
        await harness.collect(fleet, 299)
        assert fleet.workload_ids >= set(ids)
        with pytest.raises(AuthenticationError):
            await harness.collect(fleet, 100)


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


async def test_a_discovery_that_fails_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    harness, ids, _ = of_size(3)
    rounds = 0

    def ask() -> list[str]:
        nonlocal rounds
        rounds += 1
        if rounds == 1:
            return ids
        raise OSError("no route")

    async with harness.client() as runai, runai.watch_fleet(ask, poll=POLICY, discovery_interval=20) as fleet:
        await harness.collect(fleet, 200)
        assert fleet.workload_ids == frozenset(ids)

    assert rounds == 11
    assert caplog.text.count("the list of workloads cannot be read") == 1


@pytest.mark.parametrize("resumed", [False, True])
async def test_an_outage_before_the_first_discovery_is_handled_like_any_other(
    caplog: pytest.LogCaptureFixture, resumed: bool
) -> None:
    harness, ids, _ = of_size(1)
    saved = FleetCheckpoint({ids[0]: Checkpoint(ids[0], synced=True)} if resumed else {}, BASE_URL)
    harness.others = HTML_502
    caplog.set_level(logging.INFO)
    async with harness.client() as runai:
        async with runai.watch_fleet(runai.inference_workloads, poll=POLICY, resume_from=saved) as fleet:
            with pytest.raises(WatchOutageError, match="the list of workloads for 60 s") as caught:
                await harness.collect(fleet, 200)
        assert caught.value.checkpoint == saved
        assert [record.levelname for record in caplog.records] == ["WARNING"]

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
        assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


async def test_a_discovery_refused_for_max_outage_ends_a_fleet_that_watches_nothing() -> None:
    harness, _, _ = of_size(1)
    harness.others = REFUSED_403
    async with harness.client() as runai, runai.watch_fleet(runai.inference_workloads, poll=POLICY) as fleet:
        assert await harness.collect(fleet, 50) == []
        with pytest.raises(PermissionDeniedError):
            await harness.collect(fleet, 200)


@pytest.mark.parametrize("failure", [REFUSED_403, HTML_502, WRONG_SHAPE], ids=["403", "502", "shape"])
async def test_a_discovery_that_fails_for_ever_does_not_end_a_fleet_that_watches(failure: Response) -> None:
    harness, ids, _ = of_size(2)
    harness.at(30, lambda: setattr(harness, "others", failure))
    async with harness.client() as runai, runai.watch_fleet(runai.inference_workloads, poll=POLICY) as fleet:
        await harness.collect(fleet, 2000)
        assert fleet.workload_ids >= frozenset(ids)
        assert not fleet.status.stale


async def test_what_the_function_of_a_caller_raises_in_the_first_round_ends_the_fleet() -> None:
    def ask() -> list[str]:
        raise LookupError("no inventory")

    harness = Harness()
    async with harness.client() as runai, runai.watch_fleet(ask, poll=POLICY) as fleet:
        with pytest.raises(RunaiError, match="LookupError: no inventory") as caught:
            await harness.collect(fleet, 1)
    assert isinstance(caught.value.__cause__, LookupError)


async def test_what_it_raises_later_counts_as_a_failed_listing(caplog: pytest.LogCaptureFixture) -> None:
    rounds = 0

    def ask() -> list[str]:
        nonlocal rounds
        rounds += 1
        if rounds > 1:
            raise LookupError("no inventory")
        return []

    harness = Harness()
    async with (
        harness.client() as runai,
        runai.watch_fleet(ask, poll=POLICY, discovery_interval=20) as fleet,
    ):
        with pytest.raises(WatchOutageError, match="LookupError: no inventory") as caught:
            await harness.collect(fleet, 200)
    assert isinstance(caught.value.last_error.__cause__, LookupError)
    assert [record.levelname for record in caplog.records] == ["WARNING"]


@pytest.mark.parametrize("kind", ["generator", "awaitable"])
async def test_a_discovery_has_a_time_limit(kind: str) -> None:
    async def pages() -> AsyncIterator[str]:
        await asyncio.sleep(3600)
        yield UNKNOWN_ID

    async def ids() -> list[str]:
        await asyncio.sleep(3600)
        return []

    async with Harness().client() as runai, asyncio.timeout(5):
        lister = Lister(pages if kind == "generator" else ids, runai._api, 0.01)
        with pytest.raises(AttemptTimeoutError, match=r"no next page within 0\.01 s"):
            await lister.list_ids()


async def test_a_timeout_of_the_caller_s_own_function_is_not_taken_for_the_limit() -> None:
    async def ids() -> list[str]:
        raise TimeoutError("my own")

    async with Harness().client() as runai:
        with pytest.raises(TimeoutError, match="my own"):
            await Lister(ids, runai._api, 5).list_ids()


async def test_a_listed_workload_whose_revisions_are_404_has_none_and_is_not_a_failure(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    harness, ids, _ = of_size(2)
    harness.by_id[ids[0]] = REFUSED_404
    patient = evolve(POLICY, max_outage=900, missing_grace=60)
    async with harness.client() as runai, runai.watch_fleet(runai.inference_workloads, poll=patient) as fleet:
        events = await harness.collect(fleet, 2000)
        assert (fleet.status.without_revisions, fleet.status.failing) == (1, 0)
        assert [event for event in events if isinstance(event, WorkloadFailed)] == []
        times = [at for at, kind, key in harness.requests if (kind, key) == ("list", ids[0]) and at > 200]
        assert {round(later - earlier) for earlier, later in pairwise(times)} == {300}
        del harness.by_id[ids[0]]
        harness.add(workload_id=ids[0])
        events = await harness.collect(fleet, 400)
        assert {event.workload_id for event in events} == {ids[0]}
        assert fleet.status.without_revisions == 0
    lines = [record.getMessage() for record in caplog.records if "has no revisions" in record.getMessage()]
    assert lines == [f"workload {ids[0]} is listed but has no revisions"]


async def test_a_404_of_an_id_that_was_given_is_a_failure() -> None:
    harness, ids, _ = of_size(2)
    harness.by_id[ids[0]] = REFUSED_404
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        events = await harness.collect(fleet, 400)
    assert [event.workload_id for event in events if isinstance(event, WorkloadFailed)] == [ids[0]]


@pytest.mark.parametrize("workloads", [None, 5, "generator"])
async def test_workloads_that_are_neither_ids_nor_a_function_are_a_type_error_with_a_hint(
    workloads: Any,
) -> None:
    async with Harness().client() as runai:
        given: Any = runai.list_workloads() if workloads == "generator" else workloads
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
    saved = FleetCheckpoint({key: Checkpoint(key, synced=True) for key in ids}, BASE_URL)
    listed = [[ids[0]]]
    harness.others = REFUSED_401
    async with harness.client() as runai:
        fleet = runai.watch_fleet(lambda: listed[-1], poll=POLICY, discovery_interval=30, resume_from=saved)
        assert fleet.checkpoint() == saved
        async with fleet:
            await harness.collect(fleet, 15)
            assert fleet.checkpoint().workloads.keys() == set(ids)
            assert fleet.checkpoint().workloads[ids[1]] == saved.workloads[ids[1]]
            assert fleet.workload_ids == {ids[0]}
            await harness.collect(fleet, 30)  # neither of two listings named it: it is watched all the same
            assert fleet.workload_ids == fleet.checkpoint().workloads.keys() == set(ids)
        async with runai.watch_fleet(runai.inference_workloads, resume_from=saved) as other:
            other.remove(ids[0])
            with pytest.raises(AuthenticationError) as caught:
                await harness.collect(other, 5)
    assert caught.value.checkpoint == FleetCheckpoint({ids[1]: saved.workloads[ids[1]]}, BASE_URL)


async def test_a_discovery_that_is_asked_to_wait_waits() -> None:
    harness = Harness()
    busy = Response(429, {"Retry-After": "200"}, b'{"code": 429, "message": "busy"}')
    harness.others = busy
    harness.at(100, setattr, harness, "others", True)
    patient = evolve(POLICY, max_outage=900)
    async with harness.client() as runai, runai.watch_fleet(runai.inference_workloads, poll=patient) as fleet:
        await harness.collect(fleet, 250)
        assert len(fleet.workload_ids) == 1
    assert harness.times("workloads")[:2] == [0, 200]


@pytest.mark.parametrize("is_async", [True, False])
async def test_what_is_no_workload_in_a_list_is_an_error_that_says_so(is_async: bool) -> None:
    harness, ids, _ = of_size(3)
    listed: list[Any] = [ids[0], None, ids[1]]

    async def later() -> AsyncIterator[Any]:
        for item in listed:
            yield item

    message = "workloads must be ids or Workload objects, not NoneType"
    async with harness.client() as runai:
        with pytest.raises(TypeError, match=message):
            runai.watch_fleet(listed)
        with pytest.raises(RunaiError, match=message):
            async with runai.watch_fleet(later if is_async else lambda: listed, poll=POLICY) as fleet:
                await harness.collect(fleet, 5)


@pytest.mark.parametrize("returned", [None, 3, UUID(int=1), "5b7ad5a4-4f2c-4c0a-b63b-0d4c1e9f7c11"])
@pytest.mark.parametrize("is_async", [True, False])
async def test_a_function_that_returns_no_iterable_is_an_error_that_says_so(
    is_async: bool, returned: Any
) -> None:
    harness, *_ = of_size(1)

    async def later() -> Any:
        return returned

    name = type(returned).__name__
    message = rf"must return an \(async\) iterable of workloads or ids, not {name}$"
    async with harness.client() as runai:
        with pytest.raises(RunaiError, match=message) as error:
            async with runai.watch_fleet(later if is_async else lambda: returned, poll=POLICY) as fleet:
                await harness.collect(fleet, 5)
    assert isinstance(error.value.__cause__, TypeError)


@pytest.mark.parametrize("is_async", [True, False])
async def test_an_iterator_that_is_returned_twice_is_no_empty_list(
    is_async: bool, caplog: pytest.LogCaptureFixture
) -> None:
    harness, ids, _ = of_size(3)

    async def later() -> AsyncIterator[str]:
        for key in ids:
            yield key

    iterator: Any = later() if is_async else iter(ids)
    async with (
        harness.client() as runai,
        runai.watch_fleet(lambda: iterator, poll=POLICY, discovery_interval=20) as fleet,
    ):
        await harness.collect(fleet, 300)
        assert fleet.workload_ids == set(ids)
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "returned the same iterator again" in warning
