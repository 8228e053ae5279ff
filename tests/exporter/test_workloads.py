"""The exporter never shows the past as present: which workloads are up, and what they then have."""

import asyncio
import gc
import logging
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from prometheus_client import generate_latest
from support.fleets import of_size
from support.harness import REFUSED_404, Harness
from support.metrics import Series, names, series, values
from support.samples import NOW, revision

import runai_async
from runai_async import CallStarted, Phase, PhaseChanged, PollFinished, PollPolicy, RevisionAdded
from runai_async.exporter import Metrics
from runai_async.testing import Response

POLICY = PollPolicy(interval=10, fast_interval=10, deadline=20, max_outage=None, emit={"updated"})
BOUND = 3 * 10 + 20
UP = "runai_async_workload_up"
SUCCESS = "runai_async_workload_last_success_timestamp_seconds"
DOWN_503 = Response(503, body=b'{"code": 503, "message": "starting"}')


def exported(metrics: Metrics) -> Series:
    return series(generate_latest(metrics.registry).decode())


def phases(found: Series) -> set[str]:
    return {dict(labels)["phase"] for name, labels in found if name == "runai_revision_phase"}


class Exporting:
    """A fleet or watch of a harness whose events go to metrics."""

    def __init__(self, harness: Harness, stream: Any, metrics: Metrics) -> None:
        self._harness = harness
        self._stream = stream
        self.metrics = metrics

    async def after(self, seconds: float) -> Series:
        """Return what a scrape finds so many seconds later."""
        for event in await self._harness.collect(self._stream, seconds):
            self.metrics.observe(event)
        return exported(self.metrics)


def lines(caplog: pytest.LogCaptureFixture, text: str) -> list[tuple[int, str]]:
    return [(item.levelno, item.getMessage()) for item in caplog.records if text in item.getMessage()]


async def test_a_workload_without_a_recent_success_has_no_revisions_and_is_back_afterwards(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    harness, metrics = Harness(), Metrics()
    revision_id = harness.add("Running", running_pods=1)
    metrics.names[harness.workload_id] = "llm"
    metrics.projects[harness.workload_id] = "team-a"
    key = (
        ("project", "team-a"),
        ("workload", "llm"),
        ("workload_id", harness.workload_id),
    )
    async with harness.client() as runai, runai.watch_fleet([harness.workload_id], poll=POLICY) as fleet:
        exporting = Exporting(harness, fleet, metrics)
        metrics.of_fleet(fleet)
        assert exported(metrics)[UP, key] == 0
        first = await exporting.after(15)
        assert (first[UP, key], phases(first)) == (1, {"Running"})
        harness.lists = DOWN_503
        began = first[SUCCESS, key]
        still = await exporting.after(BOUND - 16)
        assert (still[UP, key], phases(still)) == (1, {"Running"})
        assert lines(caplog, "no successful poll") == []
        down = await exporting.after(20)
        again = await exporting.after(300)
        for found in (down, again):
            assert found[UP, key] == 0
            assert {name for name in names(found) if name.startswith("runai_revision_")} == set()
            assert began <= found[SUCCESS, key] < began + 11
        ((level, text),) = lines(caplog, "no successful poll")
        described = f"workload llm ({harness.workload_id})"
        assert (level, text.partition(" for ")[0]) == (logging.WARNING, f"no successful poll of {described}")
        assert "so its revisions are not exported: ServiceUnavailableError: GET " in text
        harness.lists = True
        harness.set_phase(revision_id, "Degraded")
        back = await exporting.after(200)
        assert (back[UP, key], phases(back)) == (1, {"Degraded"})
        assert back[SUCCESS, key] > began + 300
    assert lines(caplog, "succeed again")[-1] == (logging.INFO, f"polls of {described} succeed again")


async def test_one_workload_that_fails_takes_no_other_with_it() -> None:
    harness, ids, _ = of_size(3)
    metrics = Metrics()
    harness.by_id[ids[0]] = DOWN_503
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        metrics.of_fleet(fleet)
        found = await Exporting(harness, fleet, metrics).after(BOUND + 20)
    ups = {dict(labels)["workload_id"]: up for (name, labels), up in found.items() if name == UP}
    assert ups == dict(zip(ids, (0, 1, 1), strict=True))
    shown = {dict(labels)["workload_id"] for name, labels in found if name == "runai_revision_phase"}
    assert shown == {*ids[1:]}


async def test_what_never_happened_has_no_time(caplog: pytest.LogCaptureFixture) -> None:
    harness, metrics = Harness(), Metrics()
    harness.lists = DOWN_503
    async with (
        harness.client(hooks=[metrics.hook]) as runai,
        runai.watch_fleet([harness.workload_id], poll=POLICY) as fleet,
    ):
        metrics.of_fleet(fleet)
        exporting = Exporting(harness, fleet, metrics)
        found = await exporting.after(30)
        assert values(found, UP) == [0]
        outage = "runai_async_outage_started_timestamp_seconds"  # which did happen
        assert [name for name in names(found) if "timestamp" in name] == [outage]
        assert lines(caplog, "no successful poll of") == []  # it may just have begun
        await exporting.after(BOUND)
        assert len(lines(caplog, "no successful poll of workload")) == 1


async def test_an_outage_of_all_is_a_few_lines(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    harness, ids, _ = of_size(30)
    metrics = Metrics()
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        metrics.of_fleet(fleet)
        exporting = Exporting(harness, fleet, metrics)
        await exporting.after(20)
        harness.lists = DOWN_503
        await exporting.after(400)
        lost = lines(caplog, "no successful poll of")
        harness.lists = True
        await exporting.after(400)
    assert len(lost) == 21
    assert lost[-1][1] == "no successful poll of 10 more workloads; see runai_async_workload_up"
    assert lines(caplog, "succeed again")[-1][1] == "polls of 10 more workloads succeed again"


async def test_a_workload_without_revisions_is_up() -> None:
    harness, metrics = Harness(), Metrics()
    harness.lists = REFUSED_404
    async with (
        harness.client() as runai,
        runai.watch_fleet(runai.inference_workloads, poll=POLICY) as fleet,
    ):
        metrics.of_fleet(fleet)
        found = await Exporting(harness, fleet, metrics).after(1000)
    assert values(found, UP) == [1]
    assert SUCCESS not in names(found)


async def test_what_the_rows_of_the_list_are_worth_is_exported() -> None:
    harness, ids, revisions = of_size(20)
    metrics = Metrics()
    async with harness.client() as runai:
        async with runai.watch_fleet(ids, poll=POLICY) as fleet:
            metrics.of_fleet(fleet)
            found = await Exporting(harness, fleet, metrics).after(15)
            assert {key: value for key, value in found.items() if key[0] == "runai_async_hints"} == {
                ("runai_async_hints", (("state", state),)): int(state == "off")
                for state in ("off", "learning", "trusted", "untrusted")
            }
        async with runai.watch_fleet(runai.inference_workloads, poll=POLICY, discovery_interval=2) as fleet:
            metrics.of_fleet(fleet)
            exporting = Exporting(harness, fleet, metrics)
            await exporting.after(15)
            began = harness.clock.monotonic()
            for n in range(200):
                phase = ("Degraded", "Running")[n // 20 % 2]
                harness.at(
                    began + n / 2, harness.state.set_phase, revisions[ids[n % 20]], phase, None, n, None
                )
            found = await exporting.after(110)
    assert found["runai_async_hints", (("state", "trusted"),)] == 1
    assert values(found, "runai_async_changes_hinted_total")[0] > 100
    assert values(found, "runai_async_changes_unhinted_total")[0] < 5


# --- values that Prometheus cannot hold ---------------------------------------------------------------------


async def test_a_number_of_400_digits_costs_its_own_series_only() -> None:
    harness, metrics = Harness(), Metrics()
    harness.add("Running", running_pods=10**400)
    async with harness.client() as runai, runai.watch_fleet([harness.workload_id], poll=POLICY) as fleet:
        metrics.of_fleet(fleet)
        found = await Exporting(harness, fleet, metrics).after(20)
    assert phases(found) == {"Running"}
    assert "runai_revision_running_pods" not in names(found)
    assert "runai_revision_created_timestamp_seconds" in names(found)


def test_half_a_character_in_a_name_spoils_no_scrape() -> None:
    metrics, item = Metrics(), evolve(revision(1), name="half \ud83d")
    metrics.names[item.workload_id] = "é \ud83d"
    metrics.observe(RevisionAdded(revision=item, observed_at=NOW))
    (labels,) = [dict(key) for name, key in exported(metrics) if name == "runai_revision_phase"]
    assert (labels["revision"], labels["workload"]) == ("half ?", "é ?")


# --- counters -----------------------------------------------------------------------------------------------


def test_the_counters_of_a_known_operation_start_at_zero() -> None:
    metrics = Metrics()
    before = exported(metrics)
    polls = {dict(key)["outcome"]: count for (name, key), count in before.items() if "requests_total" in name}
    assert {"success", "ServiceUnavailableError", "AttemptTimeoutError"} <= polls.keys()
    assert {*polls.values()} == {0}
    metrics.hook(CallStarted("get_cluster"))
    added = exported(metrics).items() - before.items()
    assert {name for (name, _), _ in added} >= {"runai_async_requests_total", "runai_async_retries_total"}
    assert {count for _, count in added} == {0}
    assert {dict(key)["operation"] for (_, key), _ in added} == {"get_cluster"}


SHARED = """
from prometheus_client import generate_latest
from runai_async import CallFinished
from runai_async.exporter import Metrics
one, other = Metrics(), Metrics()
one.hook(CallFinished("get_revision", 1, 200, None, 0.1))
labels = {"operation": "get_revision", "outcome": "success"}
print(one.registry.get_sample_value("runai_async_requests_total", labels))
print("get_revision" in generate_latest(other.registry).decode())
"""


def test_a_directory_for_several_processes_mixes_nothing(tmp_path: Path) -> None:
    env = os.environ | {
        "PROMETHEUS_MULTIPROC_DIR": str(tmp_path),
        "PYTHONPATH": str(Path(runai_async.__file__).parents[1]),
    }
    ran = subprocess.run([sys.executable, "-c", SHARED], env=env, capture_output=True, text=True, check=False)
    assert (ran.stdout, ran.stderr) == ("1\nFalse\n", "")
    assert [*tmp_path.iterdir()] == []


# --- watches ------------------------------------------------------------------------------------------------


async def test_a_watch_is_up_while_it_polls_and_its_series_go_with_it() -> None:
    harness, metrics = Harness(), Metrics()
    harness.add("Running")
    metrics.names[harness.workload_id] = "llm"
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id, poll=POLICY)
        metrics.of_watch(watch)
        exporting = Exporting(harness, watch, metrics)
        first = await exporting.after(15)
        assert (values(first, UP), phases(first)) == ([1], {"Running"})
        harness.lists = DOWN_503
        down = await exporting.after(BOUND + 20)
        assert (values(down, UP), phases(down)) == ([0], set())
        harness.lists = True
        back = await exporting.after(200)
        assert (values(back, UP), phases(back)) == ([1], {"Running"})
        await watch.aclose()
    found = exported(metrics)
    assert (values(found, UP), phases(found), metrics.names) == ([], set(), {})


async def test_a_watch_whose_consumer_has_stopped_asking_is_not_up() -> None:
    harness, metrics = Harness(), Metrics()
    harness.add("Running")
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id, poll=POLICY)
        metrics.of_watch(watch)
        await Exporting(harness, watch, metrics).after(15)
        await harness.clock.advance(BOUND + 10)
        found = exported(metrics)
    assert (values(found, UP), phases(found)) == ([0], set())


async def test_two_watches_of_one_workload_are_one_series() -> None:
    harness, metrics = Harness(), Metrics()
    harness.add("Running")
    async with harness.client() as runai:
        watches = [runai.watch_revisions(harness.workload_id, poll=POLICY) for _ in range(2)]
        for watch in watches:
            metrics.of_watch(watch)
        found = await Exporting(harness, watches[0], metrics).after(15)
        assert values(found, UP) == [1]
        await watches[1].aclose()
        found = exported(metrics)
        assert (values(found, UP), phases(found)) == ([1], {"Running"})


async def test_a_watch_that_nobody_has_any_more_is_forgotten() -> None:
    harness, metrics = Harness(), Metrics()
    harness.add("Running")
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id, poll=POLICY)
        metrics.of_watch(watch)
        metrics.observe(await anext(watch))
        assert values(exported(metrics), UP) == [1]
        del watch
        gc.collect()
        assert (values(exported(metrics), UP), phases(exported(metrics))) == ([], set())


async def test_watches_that_have_ended_do_not_add_up_though_nobody_scrapes() -> None:
    harness, metrics = Harness(), Metrics()
    harness.add("Running")
    async with harness.client() as runai:
        for _ in range(350):
            async with runai.watch_revisions(harness.workload_id, poll=POLICY) as watch:
                metrics.of_watch(watch)
        (source,) = metrics._state._watches.values()
        assert len(source._watches) <= 100


def test_the_watches_of_an_earlier_loop_are_forgotten() -> None:
    metrics = Metrics()

    async def work(watches: list[Any]) -> None:
        harness = Harness()
        harness.add("Running")
        async with harness.client() as runai:
            watches.append(runai.watch_revisions(harness.workload_id, poll=POLICY))
            metrics.of_watch(watches[-1])
            metrics.observe(await anext(watches[-1]))

    watches: list[Any] = []
    for _ in range(2):
        asyncio.run(work(watches))
        found = exported(metrics)
        assert (values(found, UP), phases(found)) == ([], set())  # nobody knows any more
        assert len(metrics._state._reported) == len(metrics._state._watches) == 1


async def test_a_watch_beside_a_fleet_is_forgotten_alone() -> None:
    harness, ids, _ = of_size(2)
    metrics = Metrics()
    metrics.names.update(zip(ids, "ab", strict=True))
    async with harness.client() as runai, runai.watch_fleet(ids[:1], poll=POLICY) as fleet:
        watch = runai.watch_revisions(ids[1], poll=POLICY)
        metrics.of_fleet(fleet)
        metrics.of_watch(watch)
        metrics.observe(await anext(watch))
        found = await Exporting(harness, fleet, metrics).after(20)
        assert (values(found, UP), len(values(found, "runai_revision_phase"))) == ([1, 1], 2)
        await watch.aclose()
        for _ in range(2):
            found = exported(metrics)
    assert (values(found, UP), len(values(found, "runai_revision_phase"))) == ([1], 1)
    assert metrics.names == {ids[0]: "a"}


# --- what is no longer watched ------------------------------------------------------------------------------


async def test_a_month_of_churn_leaves_nothing() -> None:
    harness, metrics = Harness(), Metrics()
    harness.add("Running")
    async with harness.client() as runai, runai.watch_fleet([harness.workload_id], poll=POLICY) as fleet:
        metrics.of_fleet(fleet)
        exporting = Exporting(harness, fleet, metrics)
        for number in range(30):
            workload_id = harness.state.add_workload(f"llm-{number}", "Inference", {})
            harness.add(workload_id=workload_id)
            metrics.names[workload_id] = metrics.projects[workload_id] = f"llm-{number}"
            fleet.add(workload_id)
            await exporting.after(15)
            fleet.remove(workload_id)
        found = exported(metrics)
    assert (metrics.names, metrics.projects) == ({}, {})
    ids = {dict(labels)["workload_id"] for _, labels in found if "workload_id" in dict(labels)}
    assert ids == {harness.workload_id}


async def test_revisions_of_workloads_that_left_are_forgotten_without_a_scrape(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("runai_async.exporter._collector._TIDIED_FROM", 10)
    metrics, harness = Metrics(), Harness()
    async with harness.client() as runai, runai.watch_fleet([harness.workload_id], poll=POLICY) as fleet:
        metrics.of_fleet(fleet)
        for number in range(100):
            item = evolve(revision(number), id=f"r-{number}", workload_id=f"w-{number}")
            metrics.observe(PhaseChanged(revision=item, observed_at=NOW, previous_phase=Phase.PENDING))
        assert 0 < len(metrics._state._reported) < 12


# --- a loop that does not respond ---------------------------------------------------------------------------


def test_what_a_loop_last_knew_is_not_shown_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = Metrics()

    async def work() -> None:
        harness = Harness()
        harness.add("Running")
        async with harness.client() as runai, runai.watch_fleet([harness.workload_id], poll=POLICY) as fleet:
            metrics.of_fleet(fleet)
            await Exporting(harness, fleet, metrics).after(15)

    asyncio.run(work())
    found = exported(metrics)
    assert (values(found, UP), phases(found)) == ([1], {"Running"})
    ahead = time.monotonic() + BOUND
    monkeypatch.setattr("runai_async.exporter._sources.time.monotonic", lambda: ahead)
    found = exported(metrics)
    assert (values(found, UP), phases(found)) == ([0], set())
    assert "runai_async_workloads" not in names(found)


# --- ready --------------------------------------------------------------------------------------------------


async def test_it_is_ready_once_each_workload_was_polled_or_has_failed() -> None:
    harness, ids, _ = of_size(2)
    metrics = Metrics()
    harness.by_id[ids[0]] = None  # silence
    async with harness.client(timeout=15) as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        assert not metrics.is_ready()
        metrics.of_fleet(fleet)
        exporting = Exporting(harness, fleet, metrics)
        await exporting.after(11)
        assert not metrics.is_ready()
        await exporting.after(20)
        assert metrics.is_ready()
        fleet.add(harness.workload_id)  # who comes later does not count
        assert metrics.is_ready()


async def test_a_fleet_that_lists_is_not_ready_before_the_list_was_read() -> None:
    harness, metrics = Harness(), Metrics()
    harness.add("Running")
    harness.listings = DOWN_503
    async with harness.client() as runai:
        fleet = runai.watch_fleet(runai.inference_workloads, poll=POLICY)
        metrics.of_fleet(fleet)
        assert not metrics.is_ready()
        async with fleet:
            exporting = Exporting(harness, fleet, metrics)
            await exporting.after(30)
            assert not metrics.is_ready()
            harness.listings = True
            await exporting.after(300)
            assert metrics.is_ready()


async def test_given_ids_are_not_polled_before_the_fleet_is_entered() -> None:
    harness, metrics = Harness(), Metrics()
    async with harness.client() as runai:
        metrics.of_fleet(runai.watch_fleet([harness.workload_id], poll=POLICY))
        assert not metrics.is_ready()


async def test_a_watch_is_ready_with_its_first_poll() -> None:
    harness, metrics = Harness(), Metrics()
    harness.add("Running")
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id, poll=POLICY)
        metrics.of_watch(watch)
        assert not metrics.is_ready()
        await anext(watch)
        assert metrics.is_ready()


def test_without_a_fleet_one_poll_is_enough() -> None:
    metrics = Metrics()
    assert not metrics.is_ready()
    metrics.hook(PollFinished("w", "TransportError", 0, 0, 0.1))
    assert metrics.is_ready()
