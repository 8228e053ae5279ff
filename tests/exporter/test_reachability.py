"""Whether the control plane responds at all, and since when it does not."""

import asyncio
import time
from collections.abc import Callable

import pytest
from attrs import evolve
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from support.fleets import of_size
from support.harness import REFUSED_404, Harness
from support.metrics import Series, names, series, values

from runai_async import CallFinished, PollPolicy, RunaiClient
from runai_async.exporter import Metrics
from runai_async.testing import FakeControlPlane, Response

POLICY = PollPolicy(interval=10, fast_interval=10, deadline=20, max_outage=None)
BOUND = 3 * 10 + 20
UP = "runai_async_up"
OUTAGE = "runai_async_outage_started_timestamp_seconds"
DOWN_503 = Response(503, body=b'{"code": 503, "message": "starting"}')
DOWN_HTML = Response(403, body=b"<html>sick gateway</html>")


def exported(metrics: Metrics) -> Series:
    return series(generate_latest(metrics.registry).decode())


def shown(metrics: Metrics) -> tuple[list[float], list[float]]:
    """Return whether it is up, and for how many seconds it is not, to the nearest ten."""
    found = exported(metrics)
    return values(found, UP), [round(time.time() - at, -1) for at in values(found, OUTAGE)]


async def test_a_fleet_is_up_until_nothing_has_responded_for_three_intervals_and_a_deadline() -> None:
    harness, ids, _ = of_size(3)
    metrics = Metrics()
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        metrics.attach(fleet)
        assert shown(metrics) == ([0], [])  # nothing was asked for yet
        await harness.collect(fleet, 15)
        assert shown(metrics) == ([1], [])
        harness.lists = DOWN_503
        await harness.collect(fleet, BOUND - 15)
        assert shown(metrics)[0] == [1]
        await harness.collect(fleet, 30)
        up, seconds = shown(metrics)
        assert up == [0]
        assert seconds[0] == pytest.approx(BOUND + 10, abs=15)
        await harness.collect(fleet, 100)
        up, later = shown(metrics)
        assert up == [0]
        assert later[0] - seconds[0] == pytest.approx(100, abs=11)
        harness.lists = True
        await harness.collect(fleet, 100)
        assert shown(metrics) == ([1], [])


async def test_refusals_are_responses_though_no_workload_is_up() -> None:
    harness, ids, _ = of_size(2)
    metrics = Metrics()
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        metrics.attach(fleet)
        await harness.collect(fleet, 15)
        harness.lists = REFUSED_404
        await harness.collect(fleet, 2 * BOUND)
        found = exported(metrics)
    assert values(found, "runai_async_workload_up") == [0, 0]
    assert (values(found, UP), values(found, OUTAGE)) == ([1], [])


async def test_what_only_looks_like_a_refusal_is_none() -> None:
    harness, ids, _ = of_size(2)
    metrics = Metrics()
    harness.lists = DOWN_HTML
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        metrics.attach(fleet)
        await harness.collect(fleet, 2 * BOUND)
        up, seconds = shown(metrics)
    assert (up, len(seconds)) == ([0], 1)


async def test_a_fleet_that_watches_nothing_is_up_while_its_list_can_be_read() -> None:
    harness, metrics = Harness(), Metrics()
    failing = False

    async def listed() -> list[str]:
        if failing:
            await runai.list_revisions(harness.workload_id)
        return []

    async with (
        harness.client() as runai,
        runai.watch_fleet(listed, poll=POLICY, discovery_interval=100) as fleet,
    ):
        metrics.attach(fleet)
        await harness.collect(fleet, 95)
        assert shown(metrics) == ([1], [])
        harness.lists, failing = DOWN_503, True
        await harness.collect(fleet, 100)
        up, seconds = shown(metrics)
    assert up == [0]
    assert seconds == pytest.approx([200], abs=11)


async def test_a_fleet_that_has_nothing_to_ask_for_says_nothing() -> None:
    harness, metrics = Harness(), Metrics()
    async with harness.client() as runai, runai.watch_fleet([], poll=POLICY) as fleet:
        metrics.attach(fleet)
        await harness.collect(fleet, BOUND + 20)
        assert shown(metrics) == ([], [])


async def test_watches_are_up_while_one_of_them_is() -> None:
    harness, ids, _ = of_size(2)
    metrics = Metrics()
    async with harness.client() as runai:
        watches = [runai.watch_revisions(workload_id, poll=POLICY) for workload_id in ids]
        for watch in watches:
            metrics.attach(watch)
            await harness.collect(watch, 1)
        assert shown(metrics) == ([1], [])
        harness.by_id[ids[0]] = DOWN_503
        for _ in range(8):
            await asyncio.gather(*(harness.collect(watch, 0) for watch in watches))
            await harness.clock.advance(10)
        assert shown(metrics) == ([1], [])


async def test_a_watch_that_gets_no_response_says_since_when() -> None:
    harness, metrics = Harness(), Metrics()
    harness.add("Running")
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id, poll=POLICY)
        metrics.attach(watch)
        await harness.collect(watch, 1)
        harness.lists = DOWN_503
        await harness.collect(watch, BOUND + 20)
        up, seconds = shown(metrics)
    assert up == [0]
    assert seconds == pytest.approx([BOUND + 20], abs=11)


def test_before_anything_is_attached_the_last_call_counts() -> None:
    metrics = Metrics()

    def after(status: int | None, error: str | None) -> tuple[list[float], int]:
        call = CallFinished(operation="list_workloads", attempt=1, status=status, error=error, seconds=1.0)
        metrics.hook(call)
        up, seconds = shown(metrics)
        return up, len(seconds)

    assert shown(metrics) == ([0], [])
    assert after(None, "TransportError") == ([0], 1)
    assert after(503, "ServiceUnavailableError") == ([0], 1)
    assert after(404, "NotFoundError") == ([1], 0)
    assert after(None, "CancelledError") == ([1], 0)
    assert after(None, "DeadlineExceededError") == ([0], 1)
    assert after(200, None) == ([1], 0)


async def test_the_hook_of_a_client_is_enough_before_anything_is_attached() -> None:
    metrics = Metrics()
    async with (
        FakeControlPlane() as control_plane,
        RunaiClient(control_plane.url, control_plane.token, hooks=[metrics.hook]) as runai,
    ):
        await runai.count_revisions(control_plane.add_workload())
    assert shown(metrics) == ([1], [])


async def test_revisions_have_the_project_of_their_workload() -> None:
    harness, metrics = Harness(), Metrics()
    harness.add("Running", running_pods=1)
    metrics.projects[harness.workload_id] = "team-a"
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id, poll=evolve(POLICY, interval=5))
        metrics.attach(watch)
        await harness.collect(watch, 1)
        found = exported(metrics)
    projects = {dict(key)["project"] for name, key in found if name.startswith("runai_revision_")}
    assert (projects, "runai_revision_phase_changes_total" in names(found)) == ({"team-a"}, True)


@pytest.mark.parametrize("generate", [generate_latest, generate_openmetrics], ids=["text", "openmetrics"])
async def test_there_are_no_series_that_only_say_when_a_counter_was_created(
    generate: Callable[[CollectorRegistry], bytes],
) -> None:
    harness, metrics = Harness(), Metrics()
    harness.add("Running", running_pods=1)
    async with harness.client(hooks=[metrics.hook]) as runai:
        watch = runai.watch_revisions(harness.workload_id, poll=POLICY)
        metrics.attach(watch)
        await harness.collect(watch, 1)
    text = generate(metrics.registry).decode()
    assert "runai_async_requests_total" in text
    assert [line for line in text.replace("_created_timestamp", "").splitlines() if "_created" in line] == []
