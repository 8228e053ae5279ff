"""A cluster that has lost its control plane: watches, fleets, waits, the exporter and commands say so."""

import asyncio
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TypeVar

import pytest
from attrs import evolve
from prometheus_client import generate_latest
from support.cli import finished, ran, started
from support.clocks import ForwardClock
from support.harness import REFUSED_403, Harness, within
from support.metrics import series

from runai_async import (
    ClusterConnected,
    ClusterDisconnected,
    PhaseChanged,
    PollPolicy,
    RevisionAdded,
    RunaiClient,
    WaitTimeoutError,
)
from runai_async.exporter import Metrics
from runai_async.testing import FakeControlPlane, Response

POLICY = PollPolicy(interval=10, jitter=0, emit={"clusters"})
T = TypeVar("T")


def lose(harness: Harness, at: float, *, until: float = 1e9) -> str:
    """Let the only cluster lose its connection for a while, and return its id."""
    (cluster_id,) = harness.state.clusters
    harness.at(at, lambda: harness.state.disconnect_cluster(cluster_id, None))
    harness.at(until, lambda: harness.state.connect_cluster(cluster_id))
    return cluster_id


async def test_a_watch_reports_a_lost_cluster_and_its_return() -> None:
    harness = Harness()
    revision_id = harness.add("Pending")
    cluster_id = lose(harness, 100, until=600)
    harness.at(200, lambda: harness.set_phase(revision_id, "Running"))
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id, poll=POLICY)
        events = await harness.collect(watch, 900)

    added, lost, *rest = events
    assert isinstance(added, RevisionAdded)
    assert isinstance(lost, ClusterDisconnected)
    assert (lost.cluster_id, lost.last_seen_at is not None) == (cluster_id, True)
    assert {type(event) for event in rest} == {ClusterConnected, PhaseChanged}
    asked = [at for at, kind, _ in harness.requests if kind == "cluster"]
    assert all(later - earlier >= 60 for earlier, later in pairwise(asked))
    assert 14 <= len(asked) <= 16


async def test_a_watch_that_does_not_want_clusters_asks_for_none() -> None:
    harness = Harness()
    harness.add()
    async with harness.client() as runai:
        await harness.collect(runai.watch_revisions(harness.workload_id, poll=PollPolicy(interval=10)), 300)
    assert {kind for _, kind, _ in harness.requests} == {"list"}


async def test_polls_are_on_time_though_the_clusters_endpoint_hangs() -> None:
    class Hanging(Harness):
        def _reply(self, kind: str, key: str) -> object:  # type: ignore[override]
            return None if kind in {"cluster", "minimal"} else super()._reply(kind, key)

    harness = Hanging()
    harness.add()
    async with harness.client() as runai:
        await harness.collect(runai.watch_revisions(harness.workload_id, poll=POLICY), 100)
        assert harness.times() == list(range(0, 101, 10))
        policy = evolve(POLICY, fast_interval=10)
        async with runai.watch_fleet([harness.workload_id], poll=policy) as fleet:
            await harness.collect(fleet, 105)
        assert len(harness.times()) in {21, 22}


async def test_a_fleet_reports_a_lost_cluster_once_and_counts_it() -> None:
    harness = Harness()
    ids = [harness.state.add_workload(f"llm-{n}", "Inference", {}) for n in range(20)]
    for key in ids:
        harness.add(workload_id=key)
    other = harness.state.add_workload(
        "far", "Inference", {"cluster_id": "7d6d3f3c-8c2e-4c55-9a40-000000000001"}
    )
    harness.add(workload_id=other)
    harness.at(100, lambda: harness.state.disconnect_cluster("7d6d3f3c-8c2e-4c55-9a40-000000000001", None))
    harness.at(600, lambda: harness.state.connect_cluster("7d6d3f3c-8c2e-4c55-9a40-000000000001"))
    async with harness.client() as runai, runai.watch_fleet([*ids, other], poll=POLICY) as fleet:
        events = await harness.collect(fleet, 400)
        assert fleet.status.disconnected == 1
        events += await harness.collect(fleet, 400)
        assert fleet.status.disconnected == 0

    (lost, back) = (event for event in events if not isinstance(event, RevisionAdded))
    assert isinstance(lost, ClusterDisconnected)
    assert isinstance(back, ClusterConnected)
    assert len([1 for _, kind, _ in harness.requests if kind == "cluster"]) <= 2 * 14


async def test_a_watch_and_a_fleet_of_one_client_share_the_requests() -> None:
    harness = Harness()
    harness.add()
    async with (
        harness.client() as runai,
        runai.watch_fleet([harness.workload_id], poll=POLICY) as fleet,
        runai.watch_revisions(harness.workload_id, poll=POLICY) as watch,
    ):
        await asyncio.gather(harness.collect(fleet, 300), drained(watch, 300, harness))
    assert len([1 for _, kind, _ in harness.requests if kind == "cluster"]) <= 6


async def drained(watch: object, seconds: float, harness: Harness) -> None:
    async def listen() -> None:
        async for _ in watch:  # type: ignore[attr-defined]
            pass

    task = asyncio.create_task(listen())
    await harness.clock.pause(seconds)
    task.cancel()


@pytest.mark.parametrize("what", ["phase", "rollout"])
async def test_a_wait_that_times_out_names_a_lost_cluster(what: str) -> None:
    harness = Harness()
    revision_id = harness.add("Pending")
    (cluster_id,) = harness.state.clusters
    at = harness.clock.now() - timedelta(minutes=12)
    harness.state.disconnect_cluster(cluster_id, at)
    async with harness.client() as runai:
        wait = (
            runai.wait_for_phase(revision_id, "Running", timeout=60)
            if what == "phase"
            else runai.wait_for_rollout(harness.workload_id, timeout=60)
        )
        with pytest.raises(
            WaitTimeoutError, match=r"; cluster \S+ lost its connection 13m ago: states may be"
        ):
            await within(harness, 65, wait)


async def test_a_wait_names_a_lost_cluster_of_which_only_the_minimal_form_may_be_seen() -> None:
    class Minimal(Harness):
        def _respond(self, kind: str, key: str) -> Response:
            return REFUSED_403 if kind == "cluster" else super()._respond(kind, key)

    harness = Minimal()
    revision_id = harness.add("Pending")
    (cluster_id,) = harness.state.clusters
    harness.state.disconnect_cluster(cluster_id, None)
    async with harness.client() as runai:
        wait = runai.wait_for_phase(revision_id, "Running", timeout=60)
        with pytest.raises(WaitTimeoutError, match=r"; cluster \S+ lost its connection: states may be"):
            await within(harness, 65, wait)


async def test_a_wait_that_is_done_does_not_ask_for_clusters() -> None:
    harness = Harness()
    revision_id = harness.add("Running")
    async with harness.client() as runai:
        await within(harness, 1, runai.wait_for_phase(revision_id, "Running"))
    assert [kind for _, kind, _ in harness.requests] == ["get"]


# --- over a real socket -------------------------------------------------------------------------------------

QUICK = PollPolicy(interval=0.02, fast_interval=0.02, emit={"clusters"})


async def forwarded(clock: ForwardClock, event: Awaitable[T]) -> T:
    """Let time pass in steps of half a minute until there is an event."""
    waiting = asyncio.ensure_future(event)
    while not waiting.done():
        await asyncio.sleep(0.05)
        clock.forward(30)
    return waiting.result()


async def test_a_lost_cluster_over_a_socket_in_a_watch_and_in_the_exporter() -> None:
    clock = ForwardClock()
    async with FakeControlPlane() as control_plane:
        workload_id = control_plane.add_workload("chat")
        control_plane.add_revision(workload_id, "Running")
        (cluster_id,) = control_plane.cluster_ids
        control_plane.disconnect_cluster(cluster_id)
        metrics = Metrics()
        async with (
            RunaiClient(control_plane.url, control_plane.token, clock=clock) as runai,
            runai.watch_revisions(workload_id, poll=QUICK) as watch,
            asyncio.timeout(20),
        ):
            assert isinstance(await anext(watch), RevisionAdded)
            assert isinstance(await forwarded(clock, anext(watch)), ClusterDisconnected)
            clock.forward(60)
            async with runai.watch_fleet([workload_id], poll=QUICK) as fleet:
                metrics.of_fleet(fleet)
                while not isinstance(await forwarded(clock, anext(fleet)), ClusterDisconnected):
                    pass
                found = series(generate_latest(metrics.registry).decode(), "runai_async_cluster_")

    values = {name: (dict(labels)["cluster_id"], value) for (name, labels), value in found.items()}
    assert values["runai_async_cluster_connected"] == (cluster_id, 0)
    assert values["runai_async_cluster_last_seen_timestamp_seconds"][1] > 0


async def test_commands_say_that_a_cluster_is_lost() -> None:
    async with FakeControlPlane() as control_plane:
        workload_id = control_plane.add_workload("chat")
        control_plane.add_revision(workload_id, "Pending")
        (cluster_id,) = control_plane.cluster_ids
        control_plane.disconnect_cluster(cluster_id, at=datetime.now(UTC) - timedelta(minutes=12))
        async with started(control_plane, "watch", "chat", "--interval", "50ms", "--count", "2") as process:
            watched = await finished(process)
        rollout = await ran(
            control_plane, "rollout", "status", "chat", "--interval", "50ms", "--timeout", "500ms"
        )
    assert '"event":"cluster_disconnected"' in watched.out.replace(" ", "")
    assert "lost its connection 12m ago: states may be out of date" in rollout.out
    assert (rollout.status, "lost its connection 12m ago" in rollout.err) == (3, True)
