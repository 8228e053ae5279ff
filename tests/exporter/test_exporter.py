"""The exporter: what it serves to Prometheus, whatever the event loop and the fleet do."""

import asyncio
import gzip
import logging
import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Generator
from typing import Any, Self

import pytest
from attrs import evolve
from prometheus_client import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from support.metrics import Series, fetched, get, names, series, values
from support.samples import CONTROL_PLANE, NOW, revision

from runai_async import (
    CallFinished,
    FleetWatch,
    HookEvent,
    Phase,
    PhaseChanged,
    PollFinished,
    PollPolicy,
    RequestedPods,
    RetryScheduled,
    RevisionAdded,
    RevisionDeleted,
    RevisionStalled,
    RevisionUpdated,
    RunaiClient,
    Synced,
    TransportError,
    WorkloadFailed,
)
from runai_async._watch.clusters import UNKNOWN, Link
from runai_async.exporter import Metrics, serving
from runai_async.exporter._collector import _of_clusters
from runai_async.exporter._listener import Handler
from runai_async.exporter._sources import LoopReader
from runai_async.testing import FakeControlPlane

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
POLL = PollPolicy(interval=0.02, emit=frozenset({"updated"}))


def exported(metrics: Metrics, prefix: str = "runai_") -> Series:
    return series(generate_latest(metrics.registry).decode(), prefix)


def value(found: Series, name: str, **labels: str) -> float | None:
    return found.get((name, tuple(sorted(labels.items()))))


def labelled(item: Any, name: str = "", **more: str) -> tuple[tuple[str, str], ...]:
    labels = {"workload_id": item.workload_id, "workload": name, "project": "", "revision_id": item.id}
    return tuple(sorted({**labels, "revision": item.name, **more}.items()))


# --- revisions ----------------------------------------------------------------------------------------------


def test_a_revision_becomes_series_in_base_units() -> None:
    metrics, item = Metrics(), revision(1, "Pending")
    changed = item.phase_updated_at
    assert changed is not None
    metrics.names[item.workload_id] = "llm"
    metrics.observe(RevisionAdded(revision=item, observed_at=NOW))
    assert exported(metrics, "runai_revision_") == {
        ("runai_revision_phase", labelled(item, "llm", phase="Pending")): 1,
        ("runai_revision_phase_updated_timestamp_seconds", labelled(item, "llm")): changed.timestamp(),
        ("runai_revision_stalled", labelled(item, "llm")): 0,
        ("runai_revision_running_pods", labelled(item, "llm")): 0,
        ("runai_revision_requested_pods", labelled(item, "llm")): 1,
        ("runai_revision_created_timestamp_seconds", labelled(item, "llm")): item.created_at.timestamp(),
        ("runai_revision_phase_changes_total", labelled(item, "llm")): 0,
    }


def test_a_new_phase_replaces_the_previous_one_and_is_counted() -> None:
    metrics, item = Metrics(), revision(1, "Pending")
    metrics.observe(RevisionAdded(revision=item, observed_at=NOW))
    for phase in (Phase.CREATING, Phase.RUNNING):
        now = evolve(item, phase=phase)
        metrics.observe(PhaseChanged(revision=now, observed_at=NOW, previous_phase=Phase.PENDING))
    found = exported(metrics, "runai_revision_phase")
    del found["runai_revision_phase_updated_timestamp_seconds", labelled(item)]
    assert found == {
        ("runai_revision_phase", labelled(item, phase="Running")): 1,
        ("runai_revision_phase_changes_total", labelled(item)): 2,
    }


def test_a_stall_is_shown_until_the_phase_is_left() -> None:
    metrics, item = Metrics(), revision(1, "Pending")

    def shown() -> list[float]:
        return values(exported(metrics), "runai_revision_stalled")

    metrics.observe(RevisionAdded(revision=item, observed_at=NOW))
    seen = [shown()]
    metrics.observe(RevisionStalled(revision=item, observed_at=NOW, since=NOW, seconds=900.0))
    seen.append(shown())
    metrics.observe(RevisionUpdated(revision=item, observed_at=NOW, changes=()))
    seen.append(shown())
    metrics.observe(PhaseChanged(revision=item, observed_at=NOW, previous_phase=item.phase, coalesced=True))
    seen.append(shown())
    metrics.observe(RevisionStalled(revision=item, observed_at=NOW, since=NOW, seconds=900.0))
    metrics.observe(RevisionDeleted(revision=item, observed_at=NOW))
    seen.append(shown())
    metrics.observe(RevisionAdded(revision=item, observed_at=NOW))
    seen.append(shown())
    assert seen == [[0], [1], [1], [0], [], [0]]


def test_running_pods_change_without_a_change_of_phase() -> None:
    metrics, item = Metrics(), revision(1)
    for pods in (2, 1):
        now = evolve(item, running_pods=pods)
        metrics.observe(RevisionUpdated(revision=now, observed_at=NOW, changes=()))
    found = exported(metrics, "runai_revision_")
    assert found["runai_revision_running_pods", labelled(item)] == 1
    assert found["runai_revision_phase_changes_total", labelled(item)] == 0


@pytest.mark.parametrize(
    ("requested", "expected"),
    [
        (RequestedPods(number=3), 3),
        (RequestedPods(number=5, min=1, max=9), 1),
        (RequestedPods(min=0, max=4), 0),
        (RequestedPods(max=4), 0),
        (RequestedPods(parallelism=2), None),
        (None, None),
    ],
)
def test_unknown_numbers_of_pods_have_no_series(
    requested: RequestedPods | None, expected: int | None
) -> None:
    metrics = Metrics()
    item = evolve(revision(1), running_pods=None, requested_pods=requested)
    metrics.observe(RevisionAdded(revision=item, observed_at=NOW))
    found = exported(metrics, "runai_revision_")
    assert value(found, "runai_revision_requested_pods", **dict(labelled(item))) == expected
    assert "runai_revision_running_pods" not in names(found)


def test_only_a_deleted_revision_leaves_the_output() -> None:
    metrics, old, new = Metrics(), revision(1), revision(2)
    for item in (old, new):
        metrics.observe(RevisionAdded(revision=item, observed_at=NOW))
    metrics.observe(RevisionDeleted(revision=old, observed_at=NOW))
    assert {dict(labels)["revision"] for _, labels in exported(metrics, "runai_revision_")} == {new.name}


def test_an_unknown_phase_is_exported_like_any_other() -> None:
    metrics, item = Metrics(), revision(1, "Suspending")
    metrics.observe(RevisionAdded(revision=item, observed_at=NOW))
    assert exported(metrics, "runai_revision_phase")[
        "runai_revision_phase", labelled(item, phase="Suspending")
    ]


def test_a_name_that_comes_later_is_used_from_then_on() -> None:
    metrics, item = Metrics(), revision(1)
    metrics.observe(RevisionAdded(revision=item, observed_at=NOW))
    assert ("runai_revision_running_pods", labelled(item, "")) in exported(metrics)
    metrics.names[item.workload_id] = "llm"
    assert ("runai_revision_running_pods", labelled(item, "llm")) in exported(metrics)
    assert ("runai_revision_running_pods", labelled(item, "")) not in exported(metrics)


@pytest.mark.parametrize("parse", [parse_text, parse_openmetrics], ids=["text", "openmetrics"])
async def test_prometheus_parsers_accept_any_name(parse: Callable[[str], Any]) -> None:
    metrics, strange = Metrics(), 'a "b" \\ c\nd {e="f"} # é \x1b[2J'
    item = evolve(revision(1), name=strange)
    metrics.names[item.workload_id] = strange
    metrics.observe(RevisionAdded(revision=item, observed_at=NOW))
    async with serving(metrics, lambda: True, "127.0.0.1", 0) as port:
        accept = OPENMETRICS if parse is parse_openmetrics else "text/plain"
        status, kind, text = await get(port, "/metrics", accept)
    assert (status, kind.split(";")[0]) == (200, accept.split(";")[0])
    found = series(text, parse=parse)
    assert ("runai_revision_running_pods", labelled(item, strange)) in found


def test_an_event_about_the_watch_itself_changes_no_metric() -> None:
    metrics = Metrics()
    before = exported(metrics)
    metrics.observe(Synced(workload_id="w", observed_at=NOW))
    assert exported(metrics) == before


def test_tell_is_a_deprecated_name_of_observe() -> None:
    metrics, item = Metrics(), revision(1)
    with pytest.warns(DeprecationWarning, match=r"^Metrics\.tell\(\) is now Metrics\.observe\(\)$") as caught:
        metrics.tell(RevisionAdded(revision=item, observed_at=NOW))
    assert [warning.filename for warning in caught] == [__file__]
    assert ("runai_revision_running_pods", labelled(item)) in exported(metrics)


# --- the client ---------------------------------------------------------------------------------------------


def test_calls_are_counted_by_operation_and_outcome() -> None:
    metrics = Metrics()
    for error, seconds in ((None, 0.3), (None, 20.0), ("NotFoundError", 0.01)):
        metrics.hook(CallFinished("get_revision", 1, 200, error, seconds))
    of = {"operation": "get_revision"}
    assert value(exported(metrics), "runai_async_retries_total", **of) == 0
    metrics.hook(RetryScheduled("get_revision", 1, "TransportError", None, 0.5))
    metrics.observe(WorkloadFailed(workload_id="w", observed_at=NOW, error=TransportError("gone")))
    found = exported(metrics)
    assert value(found, "runai_async_requests_total", **of, outcome="success") == 2
    assert value(found, "runai_async_requests_total", **of, outcome="NotFoundError") == 1
    assert value(found, "runai_async_request_duration_seconds_sum", **of) == pytest.approx(20.31)
    assert value(found, "runai_async_request_duration_seconds_bucket", **of, le="0.5") == 2
    assert value(found, "runai_async_retries_total", **of) == 1
    assert value(found, "runai_async_workload_failures_total") == 1


def test_the_last_success_is_that_of_the_last_poll() -> None:
    metrics, before = Metrics(), time.time()
    metrics.hook(PollFinished("w", "TransportError", 0, 0, 0.1))
    assert value(exported(metrics), "runai_async_last_success_timestamp_seconds") is None
    metrics.hook(PollFinished("w", None, 0, 0, 0.1))
    last = value(exported(metrics), "runai_async_last_success_timestamp_seconds")
    assert last is not None
    assert before <= last <= time.time()


def test_series_of_the_client_have_no_unbounded_labels() -> None:
    metrics = Metrics()
    metrics.hook(CallFinished("get_revision", 1, 200, None, 0.1))
    metrics.hook(RetryScheduled("get_revision", 1, "TransportError", None, 0.5))
    metrics.hook(PollFinished("some-workload", None, 0, 0, 0.1))
    labels = {name for _, pairs in exported(metrics, "runai_async_") for name, _ in pairs}
    assert labels == {"operation", "outcome", "le"}


@pytest.mark.parametrize(
    ("event", "fresh"),
    [
        (PollFinished("w", None, 0, 0, 0.1), True),
        (PollFinished("w", "TransportError", 0, 0, 0.1), False),
        (CallFinished("list_workloads", 1, 200, None, 0.1), False),
    ],
    ids=["successful poll", "failed poll", "call"],
)
def test_only_a_successful_poll_keeps_the_metrics_fresh(
    event: HookEvent, fresh: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr("runai_async.exporter._metrics.time.monotonic", lambda: now)
    metrics = Metrics()
    assert metrics.is_fresh(10)
    now += 11
    assert not metrics.is_fresh(10)
    metrics.hook(event)
    assert metrics.is_fresh(10) == fresh
    metrics.nothing_to_poll()
    assert metrics.is_fresh(10)


@pytest.mark.parametrize("watched", [0, 1])
async def test_a_list_that_can_be_read_keeps_the_metrics_of_a_fleet_without_workloads_fresh(
    watched: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr("runai_async.exporter._metrics.time.monotonic", lambda: now)
    metrics, ids = Metrics(), [CONTROL_PLANE.add_workload()][:watched]
    async with RunaiClient("http://127.0.0.1:1", "token") as runai, runai.watch_fleet(ids) as fleet:
        metrics.of_fleet(fleet)
        now += 11
        metrics.hook(CallFinished("list_workloads", 1, 502, "ServerError", 0.1))
        assert not metrics.is_fresh(10)
        metrics.hook(CallFinished("list_workloads", 1, 200, None, 0.1))
        assert metrics.is_fresh(10) == (not watched)


async def test_a_client_s_calls_and_retries_are_counted() -> None:
    metrics = Metrics()
    async with (
        FakeControlPlane() as control_plane,
        RunaiClient(control_plane.url, control_plane.token, hooks=[metrics.hook]) as runai,
    ):
        control_plane.fail_next(1, 503, headers={"Retry-After": "0"})
        await runai.count_revisions(control_plane.add_workload())
    found, of = exported(metrics), {"operation": "count_revisions"}
    assert value(found, "runai_async_retries_total", **of) == 1
    assert value(found, "runai_async_requests_total", **of, outcome="success") == 1
    assert value(found, "runai_async_request_duration_seconds_count", **of) == 1


# --- a fleet ------------------------------------------------------------------------------------------------


async def listening(metrics: Metrics, fleet: FleetWatch) -> None:
    async for event in fleet:
        metrics.observe(event)


class Watched:
    """A fleet whose events go to metrics, served."""

    def __init__(self, control_plane: FakeControlPlane, workloads: Any) -> None:
        self.metrics = Metrics()
        self._runai = RunaiClient(control_plane.url, control_plane.token, hooks=[self.metrics.hook])
        self.fleet = self._runai.watch_fleet(workloads, poll=POLL, discovery_interval=0.02)

    async def __aenter__(self) -> Self:
        await self.fleet.__aenter__()
        self.metrics.of_fleet(self.fleet)
        self._serving = serving(self.metrics, lambda: True, "127.0.0.1", 0)
        self.port = await self._serving.__aenter__()
        self._listening = asyncio.create_task(listening(self.metrics, self.fleet))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listening.cancel()
        await asyncio.wait({self._listening})
        await self._serving.__aexit__(None, None, None)
        await self.fleet.aclose()
        await self._runai.aclose()

    async def scraped(self) -> Series:
        status, _, text = await get(self.port, "/metrics")
        assert status == 200
        return series(text)

    async def until(self, condition: Callable[[Series], bool]) -> Series:
        async with asyncio.timeout(10):
            while not condition(found := await self.scraped()):
                await asyncio.sleep(0.01)
        return found

    def revisions(self, found: Series) -> set[str]:
        return {dict(labels)["revision"] for name, labels in found if name == "runai_revision_phase"}


async def test_a_fleet_s_figures_change_as_it_polls(control_plane: FakeControlPlane) -> None:
    workload_id = control_plane.add_workload("chat")
    revision_id = control_plane.add_revision(workload_id, "Pending")
    success = "runai_async_last_success_timestamp_seconds"
    async with Watched(control_plane, [workload_id]) as watched:
        # The client's series are read first: a scrape can have the revision and not yet the call.
        first = await watched.until(
            lambda found: (
                watched.revisions(found) == {"chat-00001"} and "runai_async_requests_total" in names(found)
            )
        )
        control_plane.set_phase(revision_id, "Running", running_pods=1)
        await watched.until(lambda found: 1 in values(found, "runai_revision_running_pods"))
        control_plane.set_phase(revision_id, "Running", running_pods=2)
        last = await watched.until(lambda found: 2 in values(found, "runai_revision_running_pods"))
        polls = [values(found, "runai_async_requests_total")[0] for found in (first, last)]
        assert polls[0] < polls[1]
        assert values(first, success) < values(last, success)
        assert values(last, "runai_async_workloads") == [1]
        assert values(last, "runai_async_poll_lag_seconds")[0] >= 0
        assert values(last, "runai_async_polls_in_flight")[0] in {0, 1}
        assert abs(values(last, "runai_async_oldest_success_timestamp_seconds")[0] - time.time()) < 60


async def test_the_lag_grows_while_polls_hang(control_plane: FakeControlPlane) -> None:
    workload_id = control_plane.add_workload("chat")
    runai = RunaiClient(control_plane.url, control_plane.token)
    control_plane.fault("hang", times=10)
    metrics = Metrics()
    async with (
        runai,
        runai.watch_fleet([workload_id, control_plane.add_workload()], poll=POLL, max_concurrency=1) as fleet,
    ):
        metrics.of_fleet(fleet)
        lags = [0.0]
        async with asyncio.timeout(10):
            while len(lags) < 4:
                await asyncio.sleep(0.01)
                lag = values(exported(metrics), "runai_async_poll_lag_seconds")[0]
                lags += [lag] if lag > lags[-1] else []


async def test_the_series_of_a_removed_workload_disappear(control_plane: FakeControlPlane) -> None:
    ids = [control_plane.add_workload(name) for name in ("chat", "embed")]
    for workload_id in ids:
        control_plane.add_revision(workload_id, "Running")
    async with Watched(control_plane, ids) as watched:
        await watched.until(lambda found: len(watched.revisions(found)) == 2)
        watched.fleet.remove(ids[0])
        assert watched.revisions(await watched.scraped()) == {"embed-00001"}
        watched.fleet.add(ids[0])
        await watched.until(lambda found: len(watched.revisions(found)) == 2)


async def test_the_series_of_a_workload_that_discovery_no_longer_lists_disappear(
    control_plane: FakeControlPlane,
) -> None:
    ids = [control_plane.add_workload(name) for name in ("chat", "embed")]
    for workload_id in ids:
        control_plane.add_revision(workload_id, "Running")
    async with Watched(control_plane, lambda: list(ids)) as watched:
        await watched.until(lambda found: len(watched.revisions(found)) == 2)
        ids.pop()  # no event says so: its revisions are not deleted
        found = await watched.until(lambda found: len(watched.revisions(found)) == 1)
        assert watched.revisions(found) == {"chat-00001"}
        assert values(found, "runai_async_workloads") == [1]


async def test_another_fleet_replaces_the_first(control_plane: FakeControlPlane) -> None:
    metrics, ids = Metrics(), [control_plane.add_workload() for _ in range(3)]
    async with RunaiClient(control_plane.url, control_plane.token) as runai:
        for some in (ids[:1], ids[1:]):
            async with runai.watch_fleet(some, poll=POLL) as fleet:
                metrics.of_fleet(fleet)
                assert values(exported(metrics), "runai_async_workloads") == [len(some)]


async def test_a_closed_fleet_is_read_without_waiting(control_plane: FakeControlPlane) -> None:
    async with Watched(control_plane, [control_plane.add_workload()]) as watched:
        await watched.fleet.aclose()
        assert values(await watched.scraped(), "runai_async_workloads") == [1]


def test_a_closed_loop_leaves_the_other_metrics() -> None:
    metrics = Metrics()

    async def work() -> None:
        runai = RunaiClient("http://127.0.0.1:1", "token")
        metrics.of_fleet(runai.watch_fleet([CONTROL_PLANE.add_workload()]))
        metrics.nothing_to_poll()

    asyncio.run(work())
    found = exported(metrics)
    assert values(found, "runai_async_workload_failures_total") == [0]
    assert values(found, "runai_async_workloads") == []


async def test_a_busy_loop_leaves_the_other_metrics(
    control_plane: FakeControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runai_async.exporter._sources._LOOP_PATIENCE", 0.02)
    async with Watched(control_plane, [control_plane.add_workload()]) as watched:
        texts: list[str] = []
        scrape = threading.Thread(target=lambda: texts.append(fetched(watched.port, "/metrics")[2]))
        scrape.start()
        scrape.join()  # blocks the loop
        found = series(texts[0])
        assert values(found, "runai_async_workload_failures_total") == [0]
        assert values(found, "runai_async_workloads") == []
        assert values(await watched.scraped(), "runai_async_workloads") == [1]


async def test_a_reading_that_fails_is_raised_to_who_asked() -> None:
    def failing() -> Generator[None, None, str]:
        yield
        raise KeyError

    reader = LoopReader(failing, "first")
    with pytest.raises(KeyError):
        await asyncio.to_thread(reader.read)


async def test_the_event_loop_goes_on_between_the_slices_of_a_reading() -> None:
    turns: list[str] = []

    def reading() -> Generator[None, None, str]:
        for _ in range(3):
            asyncio.get_running_loop().call_soon(turns.append, "other")
            turns.append("slice")
            yield
        return "whole"

    reader = LoopReader(reading, "first")
    assert (await asyncio.to_thread(reader.read)).value == "whole"
    assert turns == ["slice", "other"] * 3
    assert reader.read().value == "whole"  # in the loop itself there is nobody to wait for


@pytest.mark.parametrize("then", ["goes on", "fails", "ends"])
async def test_a_reading_for_which_nobody_waits_any_more_is_given_up(
    then: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runai_async.exporter._sources._LOOP_PATIENCE", 0.2)
    slices, found = list[int](), list[str]()

    def reading() -> Generator[None, None, str]:
        while not found:  # blocks the loop until the scrape has given up
            pass
        slices.append(1)
        if then == "fails":
            raise KeyError
        if then == "ends":
            return "whole"
        yield
        slices.append(2)
        return "whole"

    reader = LoopReader(reading, "first")
    scrape = threading.Thread(target=lambda: found.append(reader.read().value))
    scrape.start()
    while not slices:
        await asyncio.sleep(0.001)
    scrape.join()
    for _ in range(3):
        await asyncio.sleep(0)
    assert (found, slices) == (["first"], [1])


# --- over HTTP ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "healthy", "status", "body"),
    [
        ("/healthz", True, 200, "ok\n"),
        ("/healthz?verbose", True, 200, "ok\n"),
        ("/healthz", False, 503, "no successful poll for too long\n"),
        ("/livez", False, 200, "ok\n"),
        ("/readyz", True, 503, "the first polls have not ended yet\n"),
        ("/", True, 404, "see /metrics, /healthz, /livez, /readyz\n"),
        ("/metrics/", True, 404, "see /metrics, /healthz, /livez, /readyz\n"),
        ("/livez/x", True, 404, "see /metrics, /healthz, /livez, /readyz\n"),
    ],
)
async def test_every_path_has_its_response(path: str, healthy: bool, status: int, body: str) -> None:
    async with serving(Metrics(), lambda: healthy, "127.0.0.1", 0) as port:
        assert await get(port, path) == (status, "text/plain; charset=utf-8", body)
        assert await get(port, path, method="HEAD") == (status, "text/plain; charset=utf-8", "")
        assert (await get(port, path, method="POST"))[0] == 501


async def test_metrics_are_served_for_get_and_head_only() -> None:
    metrics = Metrics()
    metrics.observe(RevisionAdded(revision=revision(1), observed_at=NOW))
    async with serving(metrics, lambda: True, "127.0.0.1", 0) as port:
        status, kind, text = await get(port, "/metrics")
        assert (status, series(text)) == (200, exported(metrics))
        assert await get(port, "/metrics", method="HEAD") == (200, kind, "")
        assert (await get(port, "/metrics", method="OPTIONS"))[0] == 501


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("runai_revision_phase", {"runai_revision_phase"}),
        ("runai_async_workloads", {"runai_async_workloads"}),
        ("runai_async_retries_total", {"runai_async_retries_total"}),
        ("unknown", set()),
    ],
)
async def test_a_scrape_can_ask_for_metrics_by_name(
    control_plane: FakeControlPlane, name: str, found: set[str]
) -> None:
    workload_id = control_plane.add_workload("chat")
    control_plane.add_revision(workload_id)
    async with Watched(control_plane, [workload_id]) as watched:
        await watched.until(lambda found: watched.revisions(found) == {"chat-00001"})
        _, _, text = await get(watched.port, f"/metrics?name[]={name}")
    assert names(series(text)) == found


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_metrics_are_compressed_where_the_scraper_accepts_it(method: str) -> None:
    metrics = Metrics()
    async with serving(metrics, lambda: True, "127.0.0.1", 0) as port:
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/metrics", headers={"Accept-Encoding": "gzip"}, method=method
        )
        with await asyncio.to_thread(urllib.request.urlopen, request) as response:
            body = response.read()
    assert response.headers["Content-Encoding"] == "gzip"
    if method == "GET":
        assert int(response.headers["Content-Length"]) == len(body)
        assert series(gzip.decompress(body).decode()) == exported(metrics)


async def test_the_server_does_not_name_its_python() -> None:
    async with serving(Metrics(), lambda: True, "127.0.0.1", 0) as port:
        with await asyncio.to_thread(urllib.request.urlopen, f"http://127.0.0.1:{port}/healthz") as response:
            assert response.headers["Server"] == "runai-async"


async def test_a_health_check_that_raises_is_a_500_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> bool:
        raise ZeroDivisionError

    async with serving(Metrics(), broken, "127.0.0.1", 0) as port:
        assert (await get(port, "/healthz"))[0] == 500
        assert (await get(port, "/metrics"))[0] == 200
    assert [(item.levelno, item.getMessage()) for item in caplog.records] == [
        (logging.ERROR, "a request to the exporter failed")
    ]


async def test_a_scraper_that_leaves_early_leaves_no_traceback(
    capfd: pytest.CaptureFixture[str],
) -> None:
    started, disconnected = threading.Event(), threading.Event()

    def slow() -> bool:
        started.set()
        return disconnected.wait(10)

    async with serving(Metrics(), slow, "127.0.0.1", 0) as port:
        for request in (b"GET /healthz HTTP/1.0\r\n\r\n", b"GET /hea", b""):
            sock = await asyncio.to_thread(socket.create_connection, ("127.0.0.1", port))
            # Closed with a reset, so that the response cannot be written.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            sock.sendall(request)
            if request.endswith(b"\r\n\r\n"):
                await asyncio.to_thread(started.wait, 10)
            sock.close()
        disconnected.set()
        assert (await get(port, "/metrics"))[0] == 200
    assert capfd.readouterr() == ("", "")


async def test_a_silent_connection_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Handler, "timeout", 0.05)
    async with serving(Metrics(), lambda: True, "127.0.0.1", 0) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()


async def test_a_scraper_that_does_not_read_leaves_no_traceback(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics, ended, finish = Metrics(), threading.Event(), Handler.finish
    metrics.observe(RevisionAdded(revision=evolve(revision(1), name="x" * 4_000_000), observed_at=NOW))

    def finished(handler: Handler) -> None:
        finish(handler)
        ended.set()

    monkeypatch.setattr("runai_async.exporter._listener._RESPONSE_PATIENCE", 0.05)
    monkeypatch.setattr(Handler, "finish", finished)
    async with serving(metrics, lambda: True, "127.0.0.1", 0) as port:
        with await asyncio.to_thread(socket.create_connection, ("127.0.0.1", port)) as sock:
            sock.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            assert await asyncio.to_thread(ended.wait, 10)
    assert capfd.readouterr() == ("", "")


async def test_scrapes_are_served_concurrently() -> None:
    together = threading.Barrier(3)

    def healthy() -> bool:
        together.wait(10)
        return True

    async with serving(Metrics(), healthy, "127.0.0.1", 0) as port:
        responses = await asyncio.gather(*(get(port, "/healthz") for _ in range(3)))
    assert [status for status, _, _ in responses] == [200] * 3


async def test_the_port_is_free_afterwards() -> None:
    async with serving(Metrics(), lambda: True, "127.0.0.1", 0) as port:
        with pytest.raises(OSError, match="in use"):
            async with serving(Metrics(), lambda: True, "127.0.0.1", port):
                pass
    async with serving(Metrics(), lambda: True, "127.0.0.1", port) as again:
        assert again == port


async def test_the_server_can_listen_on_ipv6() -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6")
    async with serving(Metrics(), lambda: True, "::1", 0) as port:
        with await asyncio.to_thread(socket.create_connection, ("::1", port)):
            pass


async def test_promtool_finds_no_fault(control_plane: FakeControlPlane) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    workload_id = control_plane.add_workload("chat")
    control_plane.add_revision(workload_id, "Running")
    async with Watched(control_plane, [workload_id]) as watched:
        watched.metrics.hook(RetryScheduled("get_revision", 1, "TransportError", None, 0.5))
        await watched.until(lambda found: "runai_async_oldest_success_timestamp_seconds" in names(found))
        _, _, text = await get(watched.port, "/metrics")
    checked = await asyncio.to_thread(
        subprocess.run,
        [promtool, "check", "metrics"],
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_what_is_not_known_of_a_cluster_is_absent() -> None:
    connected, seen = _of_clusters({"a": UNKNOWN, "b": Link(is_connected=True, name="eu-1")})
    assert [sample.labels["cluster_id"] for sample in connected.samples] == ["b"]
    assert seen.samples == []
