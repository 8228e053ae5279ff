"""Workloads whose polls fail, and what ends a whole fleet."""

import asyncio
from collections import Counter
from itertools import pairwise, takewhile
from typing import Any

import pytest
from support.fleets import POLICY, of_size
from support.harness import HTML_502, REFUSED_401, REFUSED_403, REFUSED_404, Harness

from runai_async import (
    AuthenticationError,
    ConfigurationError,
    FleetCheckpoint,
    FleetEvent,
    PollPolicy,
    RevisionAdded,
    RunaiError,
    ServerError,
    WatchDegraded,
    WatchOutageError,
    WatchRecovered,
    WorkloadFailed,
)
from runai_async.testing import Response


async def test_a_failing_workload_is_reported_once_per_streak_and_disturbs_no_other() -> None:
    harness, ids, revisions = of_size(20)
    hangs, forbidden, missing, garbage = ids[:4]
    responses = {
        hangs: None,
        forbidden: REFUSED_403,
        missing: REFUSED_404,
        garbage: Response(body=b"<html/>"),
    }
    harness.by_id.update(responses)
    policy = PollPolicy(interval=10, fast_interval=10, max_outage=60, deadline=5)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=policy) as fleet:
        first = await harness.collect(fleet, 400)
        harness.by_id.clear()
        healthy = await harness.collect(fleet, 400)
        harness.by_id.update(responses)
        again = await harness.collect(fleet, 800)

    def failed(events: list[FleetEvent]) -> Counter[str]:
        return Counter(event.workload_id for event in events if isinstance(event, WorkloadFailed))

    assert failed(first) == dict.fromkeys(ids[:4], 1)
    errors = {event.workload_id: event.error for event in first if isinstance(event, WorkloadFailed)}
    assert [type(errors[key]).__name__ for key in ids[:4]] == [
        "WatchOutageError", "PermissionDeniedError", "NotFoundError", "WatchOutageError",
    ]  # fmt: skip
    assert {event.revision_id for event in first if isinstance(event, RevisionAdded)} == {
        revisions[key] for key in ids[4:]
    }
    assert {event.revision_id for event in healthy if isinstance(event, RevisionAdded)} == {
        revisions[key] for key in ids[:4]
    }
    assert failed(healthy) == {}
    assert failed(again) == dict.fromkeys(ids[:4], 1)
    for key in ids[4:]:
        _, *own = harness.times_of(key)
        assert all(later - earlier == pytest.approx(10) for earlier, later in pairwise(own))


async def test_a_failed_workload_is_polled_with_back_off_of_up_to_300_seconds() -> None:
    harness, ids, _ = of_size(2, seed=1)
    harness.by_id[ids[0]] = REFUSED_403
    policy = PollPolicy(interval=10, fast_interval=10, missing_grace=50)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=policy) as fleet:
        await harness.collect(fleet, 5000)

    own = harness.times_of(ids[0])
    gaps = [later - earlier for earlier, later in pairwise(own)]
    assert gaps[0] < 10  # the first poll came before its slot, for which it does not stand
    steady = [*takewhile(lambda gap: gap == pytest.approx(10), gaps[1:])]
    assert 4 <= len(steady) <= 5
    backed_off = gaps[1 + len(steady) :]
    assert all(1.3 * earlier < later or later >= 150 for earlier, later in pairwise(backed_off))
    assert 150 <= max(backed_off) <= 300


async def test_a_foreign_envelope_is_reported_as_the_first_three_responses() -> None:
    harness, ids, _ = of_size(2)
    wrong = Response(body=b'{"items": []}')
    harness.by_id[ids[0]] = wrong
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        first = await harness.collect(fleet, 50)
        harness.by_id = {ids[1]: wrong}
        then = await harness.collect(fleet, 60)

    assert {(event.kind, event.workload_id) for event in first} == {
        ("workload_failed", ids[0]),
        ("added", ids[1]),
    }
    assert [(event.kind, event.workload_id) for event in then] == [("added", ids[0])]


async def test_contradictory_refusals_are_reported_as_a_failed_workload() -> None:
    harness, ids, _ = of_size(1)
    harness.next_lists.extend([REFUSED_403, REFUSED_404] * 100)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        (event,) = await harness.collect(fleet, 500)

    assert isinstance(event, WorkloadFailed)
    assert isinstance(event.error, WatchOutageError)


async def test_degraded_and_recovered_are_emitted_for_each_workload_on_request() -> None:
    harness, ids, _ = of_size(2)
    policy = PollPolicy(interval=10, fast_interval=10, emit=frozenset({"degraded", "recovered"}))
    async with harness.client() as runai, runai.watch_fleet(ids, poll=policy) as fleet:
        await harness.collect(fleet, 20)
        harness.by_id[ids[0]] = HTML_502
        await harness.clock.advance(100)
        harness.by_id.clear()
        events = await harness.collect(fleet, 100)

    assert [(type(event), event.workload_id) for event in events] == [
        (WatchDegraded, ids[0]),
        (WatchRecovered, ids[0]),
    ]
    degraded, recovered = events
    assert isinstance(degraded, WatchDegraded)
    assert isinstance(degraded.error, ServerError)
    assert isinstance(recovered, WatchRecovered)
    assert 80 <= recovered.seconds <= 180


async def test_a_401_for_max_outage_ends_the_fleet_once_with_its_checkpoint() -> None:
    harness, ids, _ = of_size(5)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        await harness.collect(fleet, 20)
        harness.lists = REFUSED_401
        with pytest.raises(AuthenticationError) as caught:
            await harness.collect(fleet, 200)
        assert isinstance(caught.value.checkpoint, FleetCheckpoint)
        assert set(caught.value.checkpoint.workloads) == set(ids)
        with pytest.raises(StopAsyncIteration):
            await anext(fleet)


async def test_no_response_for_max_outage_ends_the_fleet_once() -> None:
    harness, ids, _ = of_size(5)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        await harness.collect(fleet, 20)
        harness.lists = HTML_502
        with pytest.raises(WatchOutageError, match="no response from the control plane for"):
            await harness.collect(fleet, 200)

    assert harness.clock.monotonic() - 20 >= 60


async def test_time_without_workloads_is_not_an_outage() -> None:
    harness, ids, _ = of_size(2)
    listed: list[str] = []
    async with (
        harness.client() as runai,
        runai.watch_fleet(lambda: listed, poll=POLICY, discovery_interval=20) as fleet,
    ):
        await harness.clock.advance(200)
        listed += ids
        harness.next_lists.extend([HTML_502, HTML_502])
        assert len(await harness.collect(fleet, 60)) == 2
        listed.clear()
        harness.lists = HTML_502
        await harness.collect(fleet, 20)
        for key in ids:
            fleet.remove(key)
        await harness.clock.advance(200)
        fleet.add(ids[1])
        assert await harness.collect(fleet, 20) == []


async def test_one_failed_poll_is_not_a_long_outage_however_long_the_interval_is() -> None:
    harness, ids, _ = of_size(1)
    policy = PollPolicy(interval=100, max_outage=60)
    harness.next_lists.append(HTML_502)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=policy) as fleet:
        assert len(await harness.collect(fleet, 300)) == 1
        harness.next_lists.append(HTML_502)
        assert await harness.collect(fleet, 300) == []
        assert fleet.status.oldest_success_at is not None


async def test_a_configuration_error_ends_the_fleet_unless_the_configuration_worked_before() -> None:
    harness, ids, _ = of_size(3)
    broken = ConfigurationError("log in again")
    async with harness.client() as runai:
        async with runai.watch_fleet(ids, poll=POLICY) as fleet:
            assert len(await harness.collect(fleet, 20)) == 3
            harness.lists = broken
            assert await harness.collect(fleet, 30) == []
            harness.lists = True
            assert await harness.collect(fleet, 60) == []
        harness.lists = broken
        async with runai.watch_fleet(ids, poll=POLICY) as fleet:
            with pytest.raises(ConfigurationError, match="log in again"):
                await harness.collect(fleet, 20)


async def test_a_poll_that_cancels_itself_ends_the_fleet_with_an_error() -> None:
    class Cancelling(Harness):
        async def send(self, *args: Any, **options: Any) -> Response:
            raise asyncio.CancelledError

    harness = Cancelling()
    async with harness.client() as runai, runai.watch_fleet([harness.workload_id], poll=POLICY) as fleet:
        with pytest.raises(RunaiError, match="the fleet watch failed: CancelledError"):
            await harness.collect(fleet, 20)


async def test_a_defect_in_a_poll_ends_the_fleet_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Harness):
        async def send(self, *args: Any, **options: Any) -> Response:
            raise ZeroDivisionError("in a transport of the caller's")

    harness = Broken()
    async with harness.client() as runai, runai.watch_fleet([harness.workload_id], poll=POLICY) as fleet:
        with pytest.raises(RunaiError, match="the fleet watch failed: ZeroDivisionError: in a") as caught:
            await harness.collect(fleet, 20)

    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    (record,) = [record for record in caplog.records if record.message == "the fleet watch failed"]
    assert record.exc_info is not None
    assert record.exc_info[1] is caught.value.__cause__


async def test_when_the_token_is_refused_from_the_start_two_probes_end_the_fleet() -> None:
    harness, ids, _ = of_size(100, seed=1)  # nobody's slot comes within that time
    harness.lists, harness.latency = REFUSED_401, 0.01
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        with pytest.raises(AuthenticationError):
            await harness.collect(fleet, 20)
        with pytest.raises(StopAsyncIteration):
            await anext(fleet)

    _, _, third, *later = harness.times()
    probes = [at - third for at in later if at - third > 0.01]  # others were in flight with the third
    assert probes == [pytest.approx(1.01), pytest.approx(3.02)]


async def test_a_refusal_counts_as_a_response_of_the_control_plane() -> None:
    harness, ids, _ = of_size(5)
    harness.by_id[ids[0]] = REFUSED_403
    for key in ids[1:]:
        harness.by_id[key] = HTML_502
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        events = await harness.collect(fleet, 150)

    assert {event.workload_id for event in events if isinstance(event, WorkloadFailed)} == set(ids)


async def test_while_some_polls_hang_the_others_are_on_time() -> None:
    harness, ids, _ = of_size(30)
    for key in ids[:7]:
        harness.by_id[key] = None
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY, max_concurrency=8) as fleet:
        await harness.collect(fleet, 50)

    for key in ids[7:]:
        assert len(harness.times_of(key)) == 5
