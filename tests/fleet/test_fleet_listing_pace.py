"""How often a fleet lists the workloads: a list is not free, least of all a slow one."""

import asyncio
import logging
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import pytest
from attrs import evolve
from support.fleets import POLICY, of_size
from support.harness import HTML_502, Harness

from runai_async import RetryPolicy, RunaiClient, WorkloadQuery
from runai_async._fleet.discovery import Ask
from runai_async.testing import FakeControlPlane


def listings(harness: Harness) -> list[float]:
    """Return when a listing began: when its first page was asked for."""
    return harness.times_of("0", "workloads")


def stretches(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "are listed every" in record.getMessage()]


async def test_a_slow_list_is_busy_for_a_tenth_of_the_time_at_most(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    harness, ids, _ = of_size(2)
    harness.listing_latency = 8
    async with (
        harness.client() as runai,
        runai.watch_fleet(runai.inference_workloads, poll=POLICY, discovery_interval=2) as fleet,
    ):
        assert fleet.status.discovery_interval == 2
        await harness.collect(fleet, 810)
        assert fleet.workload_ids >= set(ids)
        assert fleet.status.discovery_interval == 72
        assert listings(harness) == [80.0 * n for n in range(11)]
        harness.listing_latency = 0.1
        await harness.collect(fleet, 120)
        assert fleet.status.discovery_interval == 2
    assert stretches(caplog) == [
        "the workloads are listed every 72 s or more, not every 2 s: the list takes 8.0 s",
        "the workloads are listed every 2 s again",
    ]


@pytest.mark.parametrize("is_query", [True, False])
async def test_all_shards_together_list_for_a_tenth_of_the_time(
    is_query: bool,
) -> None:
    harness, ids, _ = of_size(2)
    harness.listing_latency, lists = 8, list[float]()

    async def ours() -> list[str]:
        lists.append(harness.clock.monotonic())
        await harness.clock.sleep(8)
        return ids

    async with harness.client() as runai:
        workloads: Any = runai.inference_workloads if is_query else ours
        async with runai.watch_fleet(workloads, poll=POLICY, discovery_interval=2, shard=(0, 4)) as fleet:
            await harness.collect(fleet, 700)
            assert fleet.status.discovery_interval == 39 * 8
    assert (listings(harness) if is_query else lists) == [0, 320, 640]


@pytest.mark.parametrize("watching", [False, True])
async def test_a_list_that_times_out_is_not_asked_for_again_at_once(watching: bool) -> None:
    harness, _, _ = of_size(1)
    harness.listings = True if watching else None
    patient = evolve(POLICY, max_outage=None)
    async with (
        harness.client(retry=RetryPolicy()) as runai,
        runai.watch_fleet(runai.inference_workloads, poll=patient, discovery_interval=2) as fleet,
    ):
        await harness.collect(fleet, 1)
        harness.listings = None
        await harness.collect(fleet, 1199)
        assert fleet.status.discovery_interval == 300
    assert listings(harness) == ([0, 2, 302, 632, 962] if watching else [0, 300, 630, 960])


async def test_a_list_that_fails_at_once_is_asked_for_at_the_usual_interval() -> None:
    harness, _, _ = of_size(1)
    async with (
        harness.client() as runai,
        runai.watch_fleet(runai.inference_workloads, poll=POLICY, discovery_interval=60) as fleet,
    ):
        await harness.collect(fleet, 1)
        harness.listings, harness.latency = HTML_502, 0.01
        await harness.collect(fleet, 250)
    assert [round(time) for time in listings(harness)] == [0, 60, 120, 180, 240]


async def test_all_pages_and_readings_of_a_listing_count_together() -> None:
    harness, _, _ = of_size(12)
    harness.most_rows, harness.listing_latency = 4, 1
    async with (
        harness.client() as runai,
        runai.watch_fleet(runai.inference_workloads, poll=POLICY, discovery_interval=2) as fleet,
    ):
        await harness.collect(fleet, 100)  # 13 rows, in pages of 4, 3, 3 and 3 more each
        assert [at for at, kind, _ in harness.requests if kind == "workloads"] == [
            0, 1, 2, 3, 40, 41, 42, 43, 80, 81, 82, 83,
        ]  # fmt: skip
        assert fleet.status.discovery_interval == 36


async def test_two_fleets_of_a_client_and_its_copies_list_one_after_the_other() -> None:
    harness, ids, _ = of_size(2)
    harness.listing_latency = 5
    async with harness.client() as runai:
        other = runai.with_options(timeout=20)
        async with (
            runai.watch_fleet(runai.inference_workloads, poll=POLICY, discovery_interval=10) as one,
            other.watch_fleet(other.inference_workloads, poll=POLICY, discovery_interval=10) as two,
        ):
            await harness.collect(one, 500)
            assert one.workload_ids == two.workload_ids >= set(ids)
    times = listings(harness)
    assert times == [50.0 * n for n in range(len(times))]


async def test_what_a_caller_lists_neither_waits_nor_counts() -> None:
    harness, _, _ = of_size(2)
    harness.listing_latency = 8

    async def lists(runai: RunaiClient) -> None:
        for _ in range(3):
            assert len([item async for item in runai.list_workloads()]) == 3
            assert len([item async for item in runai.inference_workloads()]) == 3

    async with (
        harness.client() as runai,
        runai.watch_fleet(runai.inference_workloads, poll=POLICY, discovery_interval=2) as fleet,
    ):
        await harness.collect(fleet, 10)
        harness.requests.clear()
        task = asyncio.create_task(lists(runai))
        await harness.collect(fleet, 90)
        await task
    assert listings(harness) == [10, 18, 26, 34, 42, 50, 80]


@pytest.mark.parametrize("kind", ["function", "lambda", "coroutine"])
async def test_of_a_function_that_returns_our_listing_only_the_requests_count(kind: str) -> None:
    harness, ids, _ = of_size(2)
    async with harness.client() as runai:

        async def ask() -> WorkloadQuery:
            await harness.clock.sleep(3)
            return runai.inference_workloads(filter_by=["type==Inference"])

        async def own() -> AsyncIterator[str]:
            await harness.clock.sleep(3)
            async for item in runai.list_workloads():
                yield item.id

        functions: dict[str, Ask] = {
            "function": own,
            "lambda": lambda: runai.inference_workloads(filter_by=["type==Inference"]),
            "coroutine": ask,
        }
        harness.listing_latency = 1
        async with runai.watch_fleet(functions[kind], poll=POLICY, discovery_interval=2) as fleet:
            await harness.collect(fleet, 20)
            assert fleet.workload_ids >= set(ids)
            rest = {"function": 36, "lambda": 9, "coroutine": 9}[kind]
            assert fleet.status.discovery_interval == rest


async def test_a_query_is_listed_again_and_again_whether_it_is_called_or_returned() -> None:
    harness, ids, _ = of_size(2)
    async with harness.client() as runai:
        query = runai.inference_workloads()
        async with runai.watch_fleet(lambda: query, poll=POLICY, discovery_interval=20) as fleet:
            await harness.collect(fleet, 200)
            assert fleet.workload_ids >= set(ids)
    assert len(listings(harness)) == 11


async def test_a_fleet_of_given_ids_lists_nothing() -> None:
    harness, ids, _ = of_size(2)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        await harness.collect(fleet, 100)
        assert fleet.status.discovery_interval is None
    assert listings(harness) == []


async def test_a_slow_list_over_a_real_socket_rests_nine_times_as_long() -> None:
    async with (
        FakeControlPlane() as control_plane,
        RunaiClient(control_plane.url, control_plane.token) as runai,
    ):
        control_plane.add_revision(control_plane.add_workload(), "Running")
        control_plane.fault("latency", path="/workloads$", times=3, seconds=0.05)
        async with runai.watch_fleet(
            runai.inference_workloads, interval=0.05, discovery_interval=0.01
        ) as fleet:
            await anext(fleet)
            while sum(request.path.endswith("/workloads") for request in control_plane.requests) < 3:
                await asyncio.sleep(0.01)
    times = [request.at for request in control_plane.requests if request.path.endswith("/workloads")]
    queries = [request.query for request in control_plane.requests if request.path.endswith("/workloads")]
    assert all(later - earlier >= 0.45 for earlier, later in pairwise(times[:3]))
    assert {(query["sortBy"], query["sortOrder"]) for query in queries} == {("createdAt", "asc")}


async def test_a_function_of_the_caller_s_that_hangs_keeps_no_other_fleet_from_listing() -> None:
    harness, ids, _ = of_size(2)

    async def hangs() -> list[str]:
        await harness.clock.sleep(1e9)
        return []

    async with (
        harness.client() as runai,
        runai.watch_fleet(hangs, poll=POLICY) as other,
        runai.watch_fleet(runai.inference_workloads, poll=POLICY, discovery_interval=20) as fleet,
    ):
        await harness.collect(fleet, 200)
        assert fleet.workload_ids >= set(ids)
        assert other.workload_ids == frozenset()
    assert 10 <= len(listings(harness)) <= 11
