"""What is attached is read at each scrape: the state needs no events."""

import asyncio
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from attrs import evolve
from prometheus_client import generate_latest
from support.fleets import POLICY, of_size
from support.harness import Harness
from support.metrics import Series, get, series, values

from runai_async import Checkpoint, FleetCheckpoint, Revision, RunaiClient
from runai_async._watch.live import LiveRevisions
from runai_async.exporter import Metrics, _revisions, serving
from runai_async.exporter._revisions import RevisionRow
from runai_async.testing import FakeControlPlane

PODS = "runai_revision_running_pods"
CHANGES = "runai_revision_phase_changes_total"


def exported(metrics: Metrics) -> Series:
    return series(generate_latest(metrics.registry).decode())


def phases(found: Series) -> dict[str, str]:
    """Return the phase of each revision that is exported."""
    shown = [dict(labels) for name, labels in found if name == "runai_revision_phase"]
    return {labels["revision_id"]: labels["phase"] for labels in shown}


# --- without events -----------------------------------------------------------------------------------------


async def test_a_fleet_is_exported_though_no_event_is_observed() -> None:
    harness, ids, revisions = of_size(3)
    metrics = Metrics()
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        metrics.attach(fleet)
        assert phases(exported(metrics)) == {}
        await harness.clock.advance(15)
        assert phases(exported(metrics)) == dict.fromkeys(revisions.values(), "Running")
        harness.set_phase(revisions[ids[0]], "Failed")
        harness.state.delete_revision(revisions[ids[1]])
        await harness.clock.advance(15)
        found = exported(metrics)
    assert phases(found) == {revisions[ids[0]]: "Failed", revisions[ids[2]]: "Running"}
    assert {*values(found, CHANGES)} == {0}


async def test_pods_are_as_of_the_last_poll_without_events_about_updates() -> None:
    harness = Harness()
    revision_id = harness.add("Running", running_pods=1)
    metrics = Metrics()
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id, poll=POLICY)
        metrics.attach(watch)
        await harness.collect(watch, 1)
        assert values(exported(metrics), PODS) == [1]
        harness.state.update_revision(revision_id, {"running_pods": 2})
        assert await harness.collect(watch, 15) == []
        assert values(exported(metrics), PODS) == [2]


async def test_a_daemon_that_resumes_exports_all_phases_at_once_though_nothing_has_changed() -> None:
    harness, ids, revisions = of_size(3)
    async with harness.client() as runai:
        async with runai.watch_fleet(ids, poll=POLICY) as fleet:
            await harness.collect(fleet, 15)
            saved = FleetCheckpoint.from_json(fleet.checkpoint().to_json())
        metrics = Metrics()
        async with runai.watch_fleet(ids, poll=POLICY, resume_from=saved) as fleet:
            metrics.attach(fleet)
            assert phases(exported(metrics)) == {}
            events = await harness.collect(fleet, 1)
            assert (events, phases(exported(metrics))) == ([], dict.fromkeys(revisions.values(), "Running"))


async def test_a_stall_is_exported_also_by_a_daemon_that_resumes_after_it_was_reported() -> None:
    harness = Harness()
    harness.add("Pending", phase_updated_at=harness.clock.now())
    poll = evolve(POLICY, stalled_after=60)
    stalled = "runai_revision_stalled"
    async with harness.client() as runai:
        first, second = Metrics(), Metrics()
        watch = runai.watch_revisions(harness.workload_id, poll=poll)
        first.attach(watch)
        await harness.collect(watch, 30)
        assert values(exported(first), stalled) == [0]
        await harness.collect(watch, 60)
        assert values(exported(first), stalled) == [1]
        saved = Checkpoint.from_json(watch.checkpoint().to_json())
        resumed = runai.watch_revisions(harness.workload_id, poll=poll, resume_from=saved)
        second.attach(resumed)
        assert await harness.collect(resumed, 15) == []
        assert values(exported(second), stalled) == [1]
        third, silent = Metrics(), evolve(POLICY, stalled_after=None)
        other = runai.watch_revisions(harness.workload_id, poll=silent, resume_from=saved)
        third.attach(other)
        assert await harness.collect(other, 15) == []
        assert values(exported(third), stalled) == [0]


async def test_a_watch_that_resumes_is_exported_with_its_first_poll() -> None:
    harness = Harness()
    revision_id = harness.add("Degraded")
    metrics = Metrics()
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id, poll=POLICY)
        await harness.collect(watch, 1)
        saved = Checkpoint.from_json(watch.checkpoint().to_json())
        resumed = runai.watch_revisions(harness.workload_id, poll=POLICY, resume_from=saved)
        metrics.attach(resumed)
        assert await harness.collect(resumed, 1) == []
        assert phases(exported(metrics)) == {revision_id: "Degraded"}


async def test_events_are_counted_beside_the_state() -> None:
    harness, ids, revisions = of_size(2)
    metrics = Metrics()
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        metrics.attach(fleet)
        for phase in ("Failed", "Running"):
            for event in await harness.collect(fleet, 15):
                metrics.observe(event)
            harness.set_phase(revisions[ids[0]], phase)
        for event in await harness.collect(fleet, 15):
            metrics.observe(event)
        found = exported(metrics)
        counts = {dict(labels)["revision_id"]: n for (name, labels), n in found.items() if name == CHANGES}
        assert counts == {revisions[ids[0]]: 2, revisions[ids[1]]: 0}
        harness.state.delete_revision(revisions[ids[0]])
        for event in await harness.collect(fleet, 15):
            metrics.observe(event)
    assert len(metrics._state._reported) == 0


async def test_the_time_at_which_a_phase_was_entered_is_the_server_s() -> None:
    harness = Harness()
    harness.add("Running", phase_updated_at="2026-01-01T00:00:00Z")
    harness.add("Running", phase_updated_at="0001-01-01T00:00:00Z")
    metrics = Metrics()
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id, poll=POLICY)
        metrics.attach(watch)
        await harness.collect(watch, 1)
        found = exported(metrics)
    assert values(found, "runai_revision_phase_updated_timestamp_seconds") == [1767225600]


async def test_a_workload_that_leaves_takes_its_series_with_it_and_may_return() -> None:
    harness, ids, revisions = of_size(2)
    metrics = Metrics()
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        metrics.attach(fleet)
        await harness.clock.advance(15)
        assert len(phases(exported(metrics))) == 2
        fleet.remove(ids[0])
        assert phases(exported(metrics)) == {revisions[ids[1]]: "Running"}
        assert len(metrics._state._read_revisions._by_workload) == 1
        fleet.add(ids[0])
        assert phases(exported(metrics)) == {revisions[ids[1]]: "Running"}
        await harness.clock.advance(1)
        assert len(phases(exported(metrics))) == 2


async def test_what_was_observed_before_a_fleet_was_attached_is_no_longer_the_state() -> None:
    harness, ids, revisions = of_size(1)
    metrics = Metrics()
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        for event in await harness.collect(fleet, 15):
            metrics.observe(event)
        assert phases(exported(metrics)) == {revisions[ids[0]]: "Running"}
        metrics.attach(fleet)
        assert len(metrics._state._reported) == 0
        assert phases(exported(metrics)) == {revisions[ids[0]]: "Running"}


@pytest.mark.parametrize("attach", [Metrics.attach, None], ids=["attach", "of_..."])
async def test_the_earlier_names_do_the_same(attach: Callable[..., None] | None) -> None:
    harness = Harness()
    harness.add("Running")
    async with harness.client() as runai, runai.watch_fleet([harness.workload_id], poll=POLICY) as fleet:
        watch = runai.watch_revisions(harness.workload_id, poll=POLICY)
        for stream, earlier in ((fleet, Metrics.of_fleet), (watch, Metrics.of_watch)):
            metrics = Metrics()
            (attach or earlier)(metrics, stream)  # type: ignore[arg-type]
            await harness.collect(stream, 1)
            assert len(phases(exported(metrics))) == 1


# --- what is decoded ----------------------------------------------------------------------------------------


async def test_only_what_has_changed_is_decoded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[str] = []
    original = LiveRevisions.decoded

    def counting(self: LiveRevisions) -> Any:
        decoded.append(self.workload_id)
        return original(self)

    monkeypatch.setattr(LiveRevisions, "decoded", counting)
    harness, ids, revisions = of_size(3)
    metrics = Metrics()
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        metrics.attach(fleet)
        await harness.clock.advance(15)
        exported(metrics)
        assert sorted(decoded) == sorted(ids)
        decoded.clear()
        harness.set_phase(revisions[ids[1]], "Failed")
        for _ in range(3):
            await harness.clock.advance(15)
            exported(metrics)
    assert decoded == [ids[1]]


async def test_nothing_is_decoded_in_the_event_loop(
    control_plane: FakeControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: set[str] = set()
    original = _revisions.row_of

    def noting(revision: Revision, *, is_stalled: bool) -> RevisionRow:
        threads.add(threading.current_thread().name)
        return original(revision, is_stalled=is_stalled)

    monkeypatch.setattr(_revisions, "row_of", noting)
    workload_id = control_plane.add_workload("chat")
    control_plane.add_revision(workload_id)
    metrics = Metrics()
    async with (
        RunaiClient(control_plane.url, control_plane.token) as runai,
        runai.watch_fleet([workload_id], interval=0.02) as fleet,
        serving(metrics, lambda: True, "127.0.0.1", 0) as port,
    ):
        metrics.attach(fleet)
        async with asyncio.timeout(10):
            while "runai_revision_phase{" not in (await get(port, "/metrics"))[2]:
                await asyncio.sleep(0.01)
    assert threads
    assert threading.main_thread().name not in threads


async def test_two_watches_of_one_workload_are_exported_as_the_one_that_succeeded_last() -> None:
    harness = Harness()
    revision_id = harness.add("Running")
    metrics = Metrics()
    async with harness.client() as runai:
        one, other = (runai.watch_revisions(harness.workload_id, poll=POLICY) for _ in range(2))
        for watch in (one, other):
            metrics.attach(watch)
            await harness.collect(watch, 1)
        harness.set_phase(revision_id, "Failed")
        await harness.collect(one, 15)
        for _ in range(2):
            assert phases(exported(metrics)) == {revision_id: "Failed"}


# --- names --------------------------------------------------------------------------------------------------


async def test_names_that_the_fleet_knows_are_filled_in() -> None:
    harness, ids, _ = of_size(4)
    metrics = Metrics()
    metrics.names[ids[0]] = "mine"
    known = {
        ids[0]: SimpleNamespace(name="theirs", project_name="a"),
        ids[1]: SimpleNamespace(name="chat", project_name="team-a"),
        ids[2]: SimpleNamespace(name="embed", project_name=None),
        ids[3]: None,
    }
    async with (
        harness.client() as runai,
        runai.watch_fleet([*ids, harness.workload_id], poll=POLICY) as fleet,
    ):
        vars(fleet)["workload"] = known.__getitem__  # raises KeyError for the one that has just left
        metrics.attach(fleet)
        found = exported(metrics)
    labels = [dict(pairs) for name, pairs in found if name == "runai_async_workload_up"]
    shown = {item["workload_id"]: (item["workload"], item["project"]) for item in labels}
    assert [shown[key] for key in (*ids, harness.workload_id)] == [
        ("mine", ""),
        ("chat", "team-a"),
        ("embed", ""),
        ("", ""),
        ("", ""),
    ]


# --- thousands ----------------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_a_scrape_of_5000_workloads_leaves_the_event_loop_to_others() -> None:
    harness, ids, _ = of_size(5000)
    metrics, turns = Metrics(), 0

    async def watching() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY, buffer=10_000) as fleet:
        metrics.attach(fleet)
        await harness.clock.advance(12)
        task, found = asyncio.create_task(watching()), exported(metrics)
        for _ in range(3):
            found = await asyncio.to_thread(exported, metrics)
        task.cancel()
    assert len(phases(found)) == 5000
    assert turns > 3 * 25  # slices, at the least
