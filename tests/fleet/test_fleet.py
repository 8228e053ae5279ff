"""A fleet: one schedule over many workloads, one stream of events. On a clock that the test moves."""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from itertools import pairwise
from random import Random
from typing import Any
from uuid import UUID

import pytest
from attrs import evolve
from support.harness import HTML_502, REFUSED_401, REFUSED_403, REFUSED_404, WORKLOAD_GONE, Stage

from runai_async import (
    AttemptTimeoutError,
    AuthenticationError,
    Checkpoint,
    ConfigurationError,
    FleetCheckpoint,
    FleetEvent,
    PhaseChanged,
    PollFinished,
    PollPolicy,
    RevisionAdded,
    RevisionDeleted,
    RevisionEvent,
    RunaiError,
    ServerError,
    WatchDegraded,
    WatchOutageError,
    WatchRecovered,
    WorkloadFailed,
)
from runai_async._fleet.schedule import offset_of
from runai_async.testing import Response

POLICY = PollPolicy(interval=10, fast_interval=10, max_outage=60)
UNKNOWN_ID = "00000000-0000-4000-8000-000000000000"
PLACE = 0.6435747445286842
"""Of `UNKNOWN_ID` on the circle of an interval: a restart, or another machine, finds it again."""


@pytest.fixture(autouse=True)
async def _no_debug() -> None:
    """Spare many polls the tracebacks of asyncio's debug mode, which take most of the time."""
    asyncio.get_running_loop().set_debug(False)


def of_size(count: int, phase: str = "Running") -> tuple[Stage, list[str], dict[str, str]]:
    """Return a stage with so many workloads, their ids, and the revision of each."""
    stage = Stage()
    ids = [stage.state.add_workload(f"llm-{n}", "Inference", {}) for n in range(count)]
    return stage, ids, {key: stage.add(phase, workload_id=key) for key in ids}


def per_second(times: list[float], start: float, end: float) -> list[int]:
    counts = Counter(int(at) for at in times if start <= at < end)
    return [counts[second] for second in range(int(start), int(end))]


# --- the schedule ---------------------------------------------------------------------------------------


async def test_each_workload_is_polled_once_per_interval_at_its_own_place() -> None:
    stage, ids, _ = of_size(100)
    async with stage.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        events = await stage.told(fleet, 60)

    assert len(events) == 100
    own = {key: [at for at, kind, asked in stage.asked if asked == key] for key in ids}
    assert all(len(times) == 6 for times in own.values())
    for times in own.values():
        assert all(later - earlier == pytest.approx(10) for earlier, later in pairwise(times))


async def test_changes_are_told_within_an_interval_and_no_second_has_many_more_polls() -> None:
    stage = Stage()
    stage.state.random.seed(5)
    ids = [stage.state.add_workload(None, "Inference", {}) for _ in range(600)]
    revisions = [stage.add("Running", workload_id=key) for key in ids]
    phases = ("Running", "Degraded", "Stopped", "Pending", "Unknown")
    for n in range(500):
        revision_id, phase = stage.state.random.choice(revisions), stage.state.random.choice(phases)
        stage.at(10 + n / 50, lambda revision_id=revision_id, phase=phase: stage.phase(revision_id, phase))  # type: ignore[misc]
    async with stage.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        events = await stage.told(fleet, 30)

    counts = per_second(stage.times(), 0, 30)
    assert max(counts) <= 1.5 * sum(counts) / 30
    changes = [event for event in events if isinstance(event, PhaseChanged)]
    assert len({event.id for event in changes}) == len(changes) > 300
    assert all(
        event.observed_at - event.server_time <= timedelta(seconds=10)
        for event in changes
        if event.server_time
    )
    last = {event.revision_id: event.revision.phase for event in events if isinstance(event, RevisionEvent)}
    assert last == {key: stage.state.revision(key)["phase"] for key in revisions}


async def test_the_spread_is_the_same_after_a_restart_first_polls_too() -> None:
    stage, ids, _ = of_size(20)
    async with stage.client() as runai:
        async with runai.watch_fleet(ids, poll=POLICY) as fleet:
            await stage.told(fleet, 35)
        split = len(stage.asked)
        async with runai.watch_fleet(reversed(ids), poll=POLICY) as fleet:
            await stage.told(fleet, 35)

    places = [
        {key: round(at % 10, 4) for at, _, key in part} for part in (stage.asked[:split], stage.asked[split:])
    ]
    assert places[0] == places[1]
    assert len(set(places[0].values())) == 20


def test_a_place_is_the_same_on_every_machine() -> None:
    assert offset_of(UNKNOWN_ID) == pytest.approx(PLACE)


async def test_a_workload_under_way_is_polled_at_the_fast_interval() -> None:
    stage, ids, revisions = of_size(3)
    stage.phase(revisions[ids[0]], "Pending")
    policy = PollPolicy(interval=10, fast_interval=2)
    async with stage.client() as runai, runai.watch_fleet(ids, poll=policy) as fleet:
        await stage.told(fleet, 100)

    asked = Counter(key for _, _, key in stage.asked)
    assert 40 <= asked[ids[0]] <= 51
    assert asked[ids[1]] == asked[ids[2]] == 10


async def test_at_most_max_concurrency_polls_are_in_flight() -> None:
    stage, ids, _ = of_size(50)
    stage.latency = 2.0
    async with stage.client() as runai, runai.watch_fleet(ids, poll=POLICY, max_concurrency=4) as fleet:
        most = 0
        for _ in range(100):
            await stage.told(fleet, 0.25)
            most = max(most, fleet.status.in_flight)
        assert fleet.status.lag > 0
        assert fleet.status.due > 0

    assert most == 4


async def test_there_are_no_more_workers_than_polls_were_in_flight_at_once() -> None:
    stage, ids, _ = of_size(50)
    stage.latency = 0.5
    async with stage.client() as runai, runai.watch_fleet(ids, poll=POLICY, max_concurrency=4) as fleet:
        await stage.told(fleet, 60)
        tasks = [task for task in asyncio.all_tasks() if task.get_name() == "runai-async fleet"]

    assert len(stage.times()) > 250
    assert len(tasks) <= 1 + 4  # and the loop that hands the polls out


async def test_rate_limit_bounds_the_requests_confirmations_included() -> None:
    stage, ids, revisions = of_size(40)
    async with stage.client() as runai, runai.watch_fleet(ids, poll=POLICY, rate_limit=5) as fleet:
        await stage.told(fleet, 30)
        for revision_id in revisions.values():
            stage.state.purge_revision(revision_id)
        await stage.told(fleet, 60)

    assert stage.times("get")
    every = [at for at, _, _ in stage.asked]
    assert all(later - earlier >= 0.2 - 1e-6 for earlier, later in pairwise(every))


async def test_a_confirmation_waits_for_its_turn_no_longer_than_its_poll_may_take() -> None:
    class Holding(Stage):
        async def send(self, *args: Any, **options: Any) -> Response:
            now = self.clock.monotonic()
            self.latency = 30 - now if 20 <= now < 30 else 0  # at 30, all of them answer at once
            return await super().send(*args, **options)

    stage, polls = Holding(), list[PollFinished]()
    ids = [stage.state.add_workload(None, "Inference", {}) for _ in range(20)]
    revisions = [stage.add(workload_id=key) for key in ids]
    policy = PollPolicy(interval=10, fast_interval=10, deadline=12)
    hooks = [lambda event: polls.append(event) if isinstance(event, PollFinished) else None]
    async with stage.client(hooks=hooks) as runai, runai.watch_fleet(ids, poll=policy, rate_limit=2) as fleet:
        await stage.told(fleet, 20)
        for revision_id in revisions:
            stage.state.hide(revision_id, hidden=True)
        await stage.told(fleet, 60)

    assert stage.times("get")
    assert max(poll.seconds for poll in polls) <= 12


async def test_a_finished_poll_tells_how_many_events_it_brought_whatever_waits_already() -> None:
    stage, ids, revisions = of_size(3)
    polls: list[PollFinished] = []
    hooks = [lambda event: polls.append(event) if isinstance(event, PollFinished) else None]
    async with stage.client(hooks=hooks) as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        await stage.clock.advance(30)
        stage.phase(revisions[ids[0]], "Failed")
        await stage.clock.advance(30)

        assert sum(poll.events for poll in polls) == fleet.status.buffered == 4


async def test_a_fleet_s_poll_is_one_attempt() -> None:
    stage, ids, _ = of_size(1)
    stage.next_lists.append(HTML_502)
    async with stage.client(retry=None) as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        assert len(await stage.told(fleet, 45)) == 1

    apart = [round(later - earlier, 6) for earlier, later in pairwise(stage.times())]
    assert apart in ([10] * 3, [10] * 4)


# --- trouble --------------------------------------------------------------------------------------------


async def test_one_workloads_trouble_is_told_once_per_spell_and_disturbs_nobody() -> None:
    stage, ids, revisions = of_size(20)
    hangs, forbidden, missing, garbage = ids[:4]
    responses = {
        hangs: None,
        forbidden: REFUSED_403,
        missing: REFUSED_404,
        garbage: Response(body=b"<html/>"),
    }
    stage.by_id.update(responses)
    policy = PollPolicy(interval=10, fast_interval=10, max_outage=60, deadline=5)
    async with stage.client() as runai, runai.watch_fleet(ids, poll=policy) as fleet:
        first = await stage.told(fleet, 400)
        stage.by_id.clear()
        good = await stage.told(fleet, 400)
        stage.by_id.update(responses)
        again = await stage.told(fleet, 800)

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
    assert {event.revision_id for event in good if isinstance(event, RevisionAdded)} == {
        revisions[key] for key in ids[:4]
    }
    assert failed(good) == {}
    assert failed(again) == dict.fromkeys(ids[:4], 1)
    for key in ids[4:]:
        own = [at for at, kind, asked in stage.asked if asked == key and kind == "list"]
        assert all(later - earlier == pytest.approx(10) for earlier, later in pairwise(own))


async def test_a_workload_that_failed_is_polled_with_back_off_up_to_300_seconds() -> None:
    stage, ids, _ = of_size(2)
    stage.by_id[ids[0]] = REFUSED_403
    policy = PollPolicy(interval=10, fast_interval=10, missing_grace=55)
    async with stage.client() as runai, runai.watch_fleet(ids, poll=policy) as fleet:
        await stage.told(fleet, 5000)

    own = [at for at, _, asked in stage.asked if asked == ids[0]]
    gaps = [later - earlier for earlier, later in pairwise(own)]
    assert all(gap == pytest.approx(10) for gap in gaps[:6])
    backed_off = gaps[6:]
    assert all(1.3 * earlier < later or later >= 150 for earlier, later in pairwise(backed_off))
    assert 150 <= max(backed_off) <= 300


async def test_an_envelope_that_is_not_the_api_s_is_told_at_once_if_it_is_the_very_first_answer() -> None:
    stage, ids, _ = of_size(2)
    wrong = Response(body=b'{"items": []}')
    stage.by_id[ids[0]] = wrong
    async with stage.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        first = await stage.told(fleet, 20)
        stage.by_id = {ids[1]: wrong}
        then = await stage.told(fleet, 50)

    assert {(event.kind, event.workload_id) for event in first} == {
        ("workload_failed", ids[0]),
        ("added", ids[1]),
    }
    assert [(event.kind, event.workload_id) for event in then] == [("added", ids[0])]


async def test_a_workload_whose_refusals_contradict_each_other_is_told_failed() -> None:
    stage, ids, _ = of_size(1)
    stage.next_lists.extend([REFUSED_403, REFUSED_404] * 100)
    async with stage.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        (event,) = await stage.told(fleet, 500)

    assert isinstance(event, WorkloadFailed)
    assert isinstance(event.error, WatchOutageError)


async def test_degraded_and_recovered_are_told_of_each_workload_if_asked_for() -> None:
    stage, ids, _ = of_size(2)
    policy = PollPolicy(interval=10, fast_interval=10, emit=frozenset({"degraded", "recovered"}))
    async with stage.client() as runai, runai.watch_fleet(ids, poll=policy) as fleet:
        await stage.told(fleet, 20)
        stage.by_id[ids[0]] = HTML_502
        await stage.clock.advance(100)
        stage.by_id.clear()
        events = await stage.told(fleet, 100)

    assert [(type(event), event.workload_id) for event in events] == [
        (WatchDegraded, ids[0]),
        (WatchRecovered, ids[0]),
    ]
    degraded, recovered = events
    assert isinstance(degraded, WatchDegraded)
    assert isinstance(degraded.error, ServerError)
    assert isinstance(recovered, WatchRecovered)
    assert 80 <= recovered.seconds <= 180


async def test_a_401_ends_the_fleet_once_with_its_checkpoint() -> None:
    stage, ids, _ = of_size(5)
    async with stage.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        await stage.told(fleet, 20)
        stage.lists = REFUSED_401
        with pytest.raises(AuthenticationError) as caught:
            await stage.told(fleet, 60)
        assert isinstance(caught.value.checkpoint, FleetCheckpoint)
        assert set(caught.value.checkpoint.workloads) == set(ids)
        with pytest.raises(StopAsyncIteration):
            await anext(fleet)


async def test_no_answer_at_all_for_max_outage_ends_the_fleet_once() -> None:
    stage, ids, _ = of_size(5)
    async with stage.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        await stage.told(fleet, 20)
        stage.lists = HTML_502
        with pytest.raises(WatchOutageError, match="no response from the control plane for"):
            await stage.told(fleet, 200)

    assert stage.clock.monotonic() - 20 >= 60


async def test_time_without_workloads_is_no_outage() -> None:
    stage, ids, _ = of_size(2)
    named: list[str] = []
    async with (
        stage.client() as runai,
        runai.watch_fleet(lambda: named, poll=POLICY, discovery_interval=20) as fleet,
    ):
        await stage.clock.advance(200)
        named += ids
        stage.next_lists.extend([HTML_502, HTML_502])
        assert len(await stage.told(fleet, 60)) == 2
        named.clear()
        stage.lists = HTML_502
        await stage.told(fleet, 20)
        for key in ids:
            fleet.remove(key)
        await stage.clock.advance(200)
        fleet.add(ids[1])
        assert await stage.told(fleet, 20) == []


async def test_one_failed_poll_is_no_long_outage_however_long_the_interval_is() -> None:
    stage, ids, _ = of_size(1)
    policy = PollPolicy(interval=100, max_outage=60)
    stage.next_lists.append(HTML_502)
    async with stage.client() as runai, runai.watch_fleet(ids, poll=policy) as fleet:
        assert len(await stage.told(fleet, 300)) == 1
        stage.next_lists.append(HTML_502)
        assert await stage.told(fleet, 300) == []
        assert fleet.status.oldest_success_at is not None


async def test_a_configuration_that_does_not_work_ends_the_fleet_unless_it_worked_before() -> None:
    stage, ids, _ = of_size(3)
    broken = ConfigurationError("log in again")
    async with stage.client() as runai:
        async with runai.watch_fleet(ids, poll=POLICY) as fleet:
            assert len(await stage.told(fleet, 20)) == 3
            stage.lists = broken
            assert await stage.told(fleet, 30) == []
            stage.lists = True
            assert await stage.told(fleet, 60) == []
        stage.lists = broken
        async with runai.watch_fleet(ids, poll=POLICY) as fleet:
            with pytest.raises(ConfigurationError, match="log in again"):
                await stage.told(fleet, 20)


async def test_a_poll_that_is_cancelled_from_within_ends_the_fleet_and_is_not_lost() -> None:
    class Cancelling(Stage):
        async def send(self, *args: Any, **options: Any) -> Response:
            raise asyncio.CancelledError

    stage = Cancelling()
    async with stage.client() as runai, runai.watch_fleet([stage.workload_id], poll=POLICY) as fleet:
        with pytest.raises(RunaiError, match="the fleet watch failed: CancelledError"):
            await stage.told(fleet, 20)


async def test_a_defect_in_a_poll_ends_the_fleet_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Stage):
        async def send(self, *args: Any, **options: Any) -> Response:
            raise ZeroDivisionError("in a transport of the caller's")

    stage = Broken()
    async with stage.client() as runai, runai.watch_fleet([stage.workload_id], poll=POLICY) as fleet:
        with pytest.raises(RunaiError, match="the fleet watch failed: ZeroDivisionError: in a") as caught:
            await stage.told(fleet, 20)

    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    (record,) = [record for record in caplog.records if record.message == "the fleet watch failed"]
    assert record.exc_info is not None
    assert record.exc_info[1] is caught.value.__cause__


async def test_of_several_polls_that_are_refused_the_token_at_once_one_ends_the_fleet() -> None:
    stage, ids, _ = of_size(100)
    stage.lists, stage.latency = REFUSED_401, 3.0
    async with stage.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        with pytest.raises(AuthenticationError):
            await stage.told(fleet, 4)
        assert fleet.status.in_flight > 1
        await stage.clock.advance(4)
        with pytest.raises(StopAsyncIteration):
            await anext(fleet)


async def test_a_refusal_is_an_answer_of_the_control_plane() -> None:
    stage, ids, _ = of_size(5)
    stage.by_id[ids[0]] = REFUSED_403
    for key in ids[1:]:
        stage.by_id[key] = HTML_502
    async with stage.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        events = await stage.told(fleet, 150)

    assert {event.workload_id for event in events if isinstance(event, WorkloadFailed)} == set(ids)


async def test_while_some_polls_hang_the_others_are_on_time() -> None:
    stage, ids, _ = of_size(30)
    for key in ids[:7]:
        stage.by_id[key] = None
    async with stage.client() as runai, runai.watch_fleet(ids, poll=POLICY, max_concurrency=8) as fleet:
        await stage.told(fleet, 50)

    for key in ids[7:]:
        assert len([at for at, _, asked in stage.asked if asked == key]) == 5


# --- an outage of the control plane ---------------------------------------------------------------------


def evenly_placed(count: int) -> list[str]:
    """Return ids of which each has its own part of the interval: what is uneven then is the fleet's doing."""
    random, ids = Random(3), dict[int, str]()
    while len(ids) < count:
        key = str(UUID(int=random.getrandbits(128), version=4))
        ids.setdefault(int(offset_of(key) * count), key)
    return list(ids.values())


async def test_a_minute_without_a_control_plane_makes_no_second_and_no_ten_seconds_busier() -> None:
    random.seed(7)
    stage, ids = Stage(), evenly_placed(300)
    for key in ids:
        stage.add(workload_id=stage.state.add_workload(None, "Inference", {"id": key}), id=key)
    stage.at(20, lambda: setattr(stage, "lists", HTML_502))
    for n, key in enumerate(ids[:50]):
        stage.at(30 + n, lambda key=key: stage.phase(key, "Failed"))  # type: ignore[misc]
    stage.at(80, lambda: setattr(stage, "lists", True))
    policy = PollPolicy(interval=10, fast_interval=10)
    async with stage.client() as runai, runai.watch_fleet(ids, poll=policy) as fleet:
        events = await stage.told(fleet, 150)

    counts = per_second(stage.times(), 0, 150)
    assert counts[:20] == [30] * 20
    assert max(counts) <= 1.25 * 30
    assert max(sum(counts[at : at + 10]) for at in range(140)) <= 1.05 * 300
    assert max(sum(counts[at : at + 10]) for at in range(40, 70)) < 0.9 * 300
    changes = [event.revision_id for event in events if isinstance(event, PhaseChanged)]
    assert sorted(changes) == sorted(ids[:50])


@pytest.mark.parametrize("pause", [34, 39])
async def test_a_pause_is_not_caught_up_with_a_storm(pause: int) -> None:
    stage, ids = Stage(), evenly_placed(200)
    for key in ids:
        stage.add(workload_id=stage.state.add_workload(None, "Inference", {"id": key}), id=key)
    async with stage.client() as runai, runai.watch_fleet(ids, poll=POLICY, buffer=10) as fleet:
        await stage.clock.advance(pause)  # nobody takes an event: the buffer is full, so nothing is polled
        before = len(stage.asked)
        await stage.told(fleet, 70)
        assert fleet.status.lag == 0

    assert before == 10
    counts = per_second(stage.times(), pause, pause + 70)
    assert max(counts) <= 1.15 * 20
    assert counts[-10:] == [20] * 10
    assert {key for at, _, key in stage.asked if at < pause + 10} == set(ids)
    for key in ids:
        times = [at for at, _, asked in stage.asked if asked == key]
        assert all(5 < later - earlier < 15 for earlier, later in pairwise(times) if earlier > pause)


@pytest.mark.parametrize("seconds", [0.5, 8.0])
async def test_what_a_standstill_made_late_is_polled_at_little_more_than_the_usual_rate(
    seconds: float,
) -> None:
    stage, ids = Stage(), evenly_placed(200)
    for key in ids:
        stage.add(workload_id=stage.state.add_workload(None, "Inference", {"id": key}), id=key)
    stage.at(20, lambda: setattr(stage, "latency", seconds))
    stage.at(20 + seconds, lambda: setattr(stage, "latency", 0.0))
    async with stage.client() as runai, runai.watch_fleet(ids, poll=POLICY, max_concurrency=1) as fleet:
        await stage.told(fleet, 20 + seconds + 90)
        assert fleet.status.lag == 0

    counts = per_second(stage.times(), 20 + int(seconds) + 1, 20 + int(seconds) + 91)
    assert 20 < max(counts) <= 1.15 * 20
    assert counts[-10:-1] == [20] * 9


async def test_after_an_outage_in_which_all_hung_there_is_no_spike() -> None:
    stage, ids = Stage(), evenly_placed(200)
    for key in ids:
        stage.add(workload_id=stage.state.add_workload(None, "Inference", {"id": key}), id=key)
    stage.at(20, lambda: setattr(stage, "lists", None))
    stage.at(80, lambda: setattr(stage, "lists", True))
    policy = PollPolicy(interval=10, fast_interval=10, deadline=5)
    async with stage.client() as runai, runai.watch_fleet(ids, poll=policy, max_concurrency=5) as fleet:
        await stage.told(fleet, 200)
        assert (fleet.status.failing, fleet.status.lag) == (0, 0)

    counts = per_second(stage.times(), 0, 200)
    assert sum(counts[20:80]) < 100  # so most of them were not polled at all
    assert max(counts) <= 1.25 * 20
    assert max(sum(counts[at : at + 10]) for at in range(190)) <= 1.15 * 200


async def test_after_a_pause_workloads_under_way_do_not_wait_for_all_the_others() -> None:
    stage, ids, revisions = of_size(200, "Pending")
    for key in ids[40:]:
        stage.phase(revisions[key], "Running")
    policy = PollPolicy(interval=30, fast_interval=2, fast_for=1000)
    async with stage.client() as runai, runai.watch_fleet(ids, poll=policy, buffer=30) as fleet:
        await stage.told(fleet, 60)
        for key in ids:
            stage.phase(revisions[key], "Creating" if key in ids[:40] else "Degraded")
        await stage.clock.advance(40)  # nobody takes an event
        assert fleet.status.lag > 30
        await stage.told(fleet, 60)

    assert max(per_second(stage.times(), 100, 160)) < 50  # usually 20 of those under way, and 5 of the others
    for key in ids[:40]:
        times = [at for at, _, asked in stage.asked if asked == key and at >= 100]
        assert times[0] < 104
        assert all(later - earlier < 5 for earlier, later in pairwise(times))


async def test_a_workload_that_settles_is_polled_within_an_interval() -> None:
    stage, ids, revisions = of_size(50, "Pending")
    policy = PollPolicy(interval=30, fast_interval=2)
    for n, key in enumerate(ids):
        stage.at(40 + n / 2, lambda key=key: stage.phase(revisions[key], "Running"))  # type: ignore[misc]
    async with stage.client() as runai, runai.watch_fleet(ids, poll=policy) as fleet:
        await stage.told(fleet, 150)

    for key in ids:
        times = [at for at, _, asked in stage.asked if asked == key]
        assert all(later - earlier <= 30 + 2 / 2 + 1e-6 for earlier, later in pairwise(times))
        assert times[-1] > 120


@pytest.mark.parametrize(
    "limits", [{"rate_limit": 6.0}, {"max_concurrency": 1}, {"max_concurrency": 2}], ids=str
)
async def test_limits_that_are_just_enough_make_no_fleet_fall_behind(limits: dict[str, Any]) -> None:
    stage, ids, _ = of_size(50)
    stage.latency = 0.15
    async with stage.client() as runai, runai.watch_fleet(ids, poll=POLICY, **limits) as fleet:
        await stage.told(fleet, 300)
        assert fleet.status.lag < 3

    assert len(stage.asked) >= 0.99 * 300 * 5


async def test_an_outage_lowers_the_rate_and_recovering_brings_no_spike(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "runai_async")
    stage, ids, revisions = of_size(100)
    stage.at(60, lambda: setattr(stage, "lists", HTML_502))
    stage.at(90, lambda: stage.phase(revisions[ids[5]], "Failed"))
    stage.at(120, lambda: setattr(stage, "lists", True))
    policy = PollPolicy(interval=10, fast_interval=10, max_outage=900)
    async with stage.client() as runai, runai.watch_fleet(ids, poll=policy) as fleet:
        events = await stage.told(fleet, 240)

    tens = [sum(per_second(stage.times(), start, start + 10)) for start in range(0, 240, 10)]
    assert all(count <= 105 for count in tens)
    assert all(count < 100 for count in tens[8:12])
    assert tens[-1] == 100
    assert [type(event) for event in events[100:]] == [PhaseChanged]
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


@pytest.mark.parametrize("seed", range(2))
async def test_after_an_outage_all_are_polled_once_within_an_interval_of_the_first_answer(seed: int) -> None:
    random.seed(seed)
    stage, ids, _ = of_size(100)
    stage.at(60, lambda: setattr(stage, "lists", HTML_502))
    stage.at(660, lambda: setattr(stage, "lists", True))
    policy = PollPolicy(interval=10, fast_interval=10)
    async with stage.client() as runai, runai.watch_fleet(ids, poll=policy) as fleet:
        await stage.told(fleet, 700)
        assert fleet.status.failing == 0

    first = min(at for at, _, _ in stage.asked if at >= 660)
    for start in (first, first + 10, first + 20):
        polled = Counter(key for at, _, key in stage.asked if start < at <= start + 10)
        assert len(polled) >= len(ids) - 1  # the first to be answered may have its place in the interval
        assert sum(polled.values()) <= len(ids) + 1


async def test_a_place_in_the_schedule_is_left_and_found_again_without_counting_twice() -> None:
    stage, ids, _ = of_size(20)
    stage.at(20, lambda: setattr(stage, "lists", HTML_502))
    stage.at(31, lambda: setattr(stage, "lists", True))  # after one failure each, which backs nobody off
    policy = PollPolicy(interval=10, fast_interval=10)
    async with stage.client() as runai, runai.watch_fleet(ids, poll=policy) as fleet:
        await stage.told(fleet, 60)
        assert fleet.status.failing == 0

    asked = Counter(key for at, _, key in stage.asked if 20 < at <= 60)
    assert set(asked.values()) <= {4, 5}


async def test_many_that_fail_while_others_are_answered_back_off_all_the_same(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "runai_async")
    random.seed(3)
    stage, ids, _ = of_size(60)
    broken = set(ids[:50])
    stage.by_id.update(dict.fromkeys(broken, HTML_502))
    policy = PollPolicy(interval=10, fast_interval=10)
    async with stage.client() as runai, runai.watch_fleet(ids, poll=policy) as fleet:
        await stage.told(fleet, 600)

    polled = Counter(key in broken for at, _, key in stage.asked if 200 <= at < 600)
    assert polled[False] == 10 * 40
    assert polled[True] < 50 * 40 / 2
    assert caplog.records == []  # of the control plane there is nothing to say


async def test_what_is_removed_while_it_waits_for_the_rate_limit_is_not_polled() -> None:
    stage, ids, _ = of_size(2)
    async with stage.client() as runai, runai.watch_fleet((), poll=POLICY, rate_limit=0.01) as fleet:
        fleet.add(ids[0])
        await stage.told(fleet, 15)
        fleet.add(ids[1])
        await stage.told(fleet, 15)
        fleet.remove(ids[1])
        fleet.remove(ids[0])
        await stage.told(fleet, 300)

    assert [key for _, _, key in stage.asked] == [ids[0]]


async def test_the_status_tells_how_many_fail_and_when_nothing_is_good_any_more() -> None:
    stage, ids, _ = of_size(3)
    policy = PollPolicy(interval=10, fast_interval=10, deadline=20, max_outage=None)
    async with stage.client() as runai, runai.watch_fleet(ids, poll=policy) as fleet:
        await stage.told(fleet, 15)
        assert (fleet.status.failing, fleet.status.stale) == (0, False)
        stage.by_id[ids[0]] = HTML_502
        await stage.told(fleet, 100)
        assert (fleet.status.failing, fleet.status.stale) == (1, False)
        stage.lists = HTML_502
        await stage.told(fleet, 40)
        assert (fleet.status.failing, fleet.status.stale) == (3, False)
        await stage.told(fleet, 30)
        assert (fleet.status.failing, fleet.status.stale) == (3, True)


async def test_a_fleet_with_nothing_to_watch_is_not_stale_nor_is_one_that_has_just_got_something() -> None:
    stage, ids, _ = of_size(1)
    stage.lists = HTML_502
    async with stage.client() as runai, runai.watch_fleet((), interval=10) as fleet:
        await stage.told(fleet, 1000)
        assert (fleet.status.watched, fleet.status.stale) == (0, False)
        fleet.add(ids[0])
        await stage.told(fleet, 30)
        assert (fleet.status.failing, fleet.status.stale) == (1, False)
        await stage.told(fleet, 70)
        assert fleet.status.stale


# --- the consumer ---------------------------------------------------------------------------------------


async def test_a_full_buffer_makes_polling_wait_and_drops_nothing() -> None:
    stage, ids, revisions = of_size(60)
    async with (
        stage.client() as runai,
        runai.watch_fleet(ids, poll=POLICY, buffer=10, max_concurrency=5) as fleet,
    ):
        await stage.clock.advance(60)
        status = fleet.status
        assert 10 <= status.buffered <= 15
        assert status.lag > 40
        events = await stage.told(fleet, 30)

    assert {event.revision_id for event in events if isinstance(event, RevisionAdded)} == set(
        revisions.values()
    )


async def test_the_tasks_live_in_the_async_with() -> None:
    stage, ids, _ = of_size(3)
    before = asyncio.all_tasks()
    async with stage.client() as runai:
        fleet = runai.watch_fleet(ids, poll=POLICY)
        with pytest.raises(RuntimeError, match="enter the fleet first"):
            await anext(fleet)
        async with fleet:
            await stage.clock.advance(15)
            assert asyncio.all_tasks() - before
        assert asyncio.all_tasks() == before
        with pytest.raises(RuntimeError, match="entered only once"):
            await fleet.__aenter__()


async def test_closing_ends_a_poll_that_makes_an_error_of_its_cancellation() -> None:
    class Stubborn(Stage):
        async def send(self, *args: Any, **options: Any) -> Response:
            self.asked.append((0.0, "", ""))
            try:
                return await asyncio.Future()
            except asyncio.CancelledError:
                raise AttemptTimeoutError("too late") from None

    stage = Stubborn()
    async with stage.client() as runai, runai.watch_fleet([stage.workload_id], poll=POLICY) as fleet:
        await stage.clock.advance(10)
        assert stage.asked
        async with asyncio.timeout(1):
            await fleet.aclose()


async def test_closing_ends_a_waiting_consumer_behind_what_is_buffered() -> None:
    stage, ids, _ = of_size(1)
    async with stage.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        await stage.told(fleet, 20)
        waiting = asyncio.ensure_future(anext(fleet, "the end"))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="use one consumer"):
            await anext(fleet)
        await fleet.aclose()
        assert await waiting == "the end"


async def test_a_close_that_is_cut_short_ends_a_waiting_consumer_too() -> None:
    class Slow(Stage):
        async def send(self, *args: Any, **options: Any) -> Response:
            try:
                return await asyncio.Future()
            finally:
                await self.clock.sleep(5)

    stage = Slow()
    async with stage.client() as runai, runai.watch_fleet([stage.workload_id], poll=POLICY) as fleet:
        waiting = asyncio.ensure_future(anext(fleet, "the end"))
        await stage.clock.advance(10)
        closing = asyncio.ensure_future(fleet.aclose())
        await stage.clock.advance(1)
        closing.cancel()
        await asyncio.wait({closing})
        async with asyncio.timeout(1):
            assert await waiting == "the end"
        await stage.clock.advance(10)


async def test_a_cancelled_consumer_loses_nothing() -> None:
    stage, ids, revisions = of_size(30)
    events: list[FleetEvent] = []
    async with stage.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        for _ in range(200):
            events += await stage.told(fleet, 0.1)

    assert sorted(event.revision_id for event in events if isinstance(event, RevisionEvent)) == sorted(
        revisions.values()
    )


async def test_what_discovery_did_not_claim_yet_is_in_the_checkpoint() -> None:
    stage, ids, _ = of_size(2)
    saved = FleetCheckpoint({key: Checkpoint(key, synced=True) for key in ids})
    named = [[ids[0]]]
    stage.others = REFUSED_401
    async with stage.client() as runai:
        fleet = runai.watch_fleet(lambda: named[-1], poll=POLICY, discovery_interval=30, resume_from=saved)
        assert fleet.checkpoint() == saved
        async with fleet:
            await stage.told(fleet, 15)
            assert fleet.checkpoint().workloads.keys() == set(ids)
            assert fleet.checkpoint().workloads[ids[1]] == saved.workloads[ids[1]]
            await stage.told(fleet, 30)  # named in neither of two rounds: it is no more
            assert fleet.checkpoint().workloads.keys() == {ids[0]}
        async with runai.watch_fleet(runai.inference_workloads, resume_from=saved) as other:
            other.remove(ids[0])
            with pytest.raises(AuthenticationError) as caught:
                await anext(other)
    assert caught.value.checkpoint == FleetCheckpoint({ids[1]: saved.workloads[ids[1]]})


async def test_a_fleet_resumes_from_its_checkpoint() -> None:
    stage, ids, revisions = of_size(10)
    async with stage.client() as runai:
        async with runai.watch_fleet(ids, poll=POLICY) as fleet:
            await stage.told(fleet, 20)
            one = fleet.checkpoint(ids[0])
            saved = FleetCheckpoint.from_json(fleet.checkpoint().to_json())
            with pytest.raises(KeyError):
                fleet.checkpoint(UNKNOWN_ID)
        stage.phase(revisions[ids[3]], "Failed")
        new = stage.state.add_workload("new", "Inference", {})
        added = stage.add(workload_id=new)
        async with runai.watch_fleet([*ids[1:], new], poll=POLICY, resume_from=saved) as fleet:
            events = await stage.told(fleet, 20)
            assert ids[0] not in fleet.checkpoint().workloads
            fleet.add(ids[0])
            later = await stage.told(fleet, 20)

    assert one == saved.workloads[ids[0]]
    assert isinstance(one, Checkpoint)
    told = {(event.kind, event.revision_id) for event in events if isinstance(event, RevisionEvent)}
    assert told == {("phase_changed", revisions[ids[3]]), ("added", added)}
    assert [event.initial for event in events if isinstance(event, RevisionAdded)] == [True]
    assert [(event.kind, event.workload_id) for event in later] == [("added", ids[0])]


# --- joining and leaving --------------------------------------------------------------------------------


async def test_adding_and_removing_take_effect_by_the_next_due_time() -> None:
    stage, ids, revisions = of_size(3)
    async with stage.client() as runai, runai.watch_fleet(ids[:2], poll=POLICY) as fleet:
        await stage.told(fleet, 20)
        fleet.add(ids[2])
        fleet.add(ids[2])
        fleet.remove(ids[0])
        fleet.remove(UNKNOWN_ID)
        stage.phase(revisions[ids[0]], "Failed")
        events = await stage.told(fleet, 20)
        assert fleet.workload_ids == frozenset(ids[1:])

    assert [(event.kind, event.revision_id) for event in events if isinstance(event, RevisionEvent)] == [
        ("added", revisions[ids[2]])
    ]
    assert not [at for at, _, key in stage.asked if key == ids[0] and at > 20]


async def test_removing_forgets_what_was_not_delivered() -> None:
    stage, ids, _ = of_size(2)
    async with stage.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        await stage.clock.advance(20)
        fleet.remove(ids[0])
        events = await stage.told(fleet, 1)

    assert {event.workload_id for event in events} == {ids[1]}


async def test_removing_forgets_a_failure_that_was_not_delivered() -> None:
    stage, ids, _ = of_size(2)
    stage.by_id[ids[0]] = REFUSED_403
    async with stage.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        await stage.clock.advance(100)
        fleet.remove(ids[0])
        events = await stage.told(fleet, 1)

    assert {event.workload_id for event in events} == {ids[1]}


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("response", [True, Response(body=b'{"items": []}')])
async def test_a_poll_that_is_in_flight_when_its_workload_is_removed_tells_nothing(
    response: Response | bool, again: bool
) -> None:
    stage, ids, revisions = of_size(1)
    stage.lists, stage.latency = response, 3
    async with stage.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        while not fleet.status.in_flight:
            await stage.clock.advance(1)
        fleet.remove(ids[0])
        if again:
            fleet.add(ids[0])
        assert await stage.told(fleet, 5) == []
        stage.lists = True
        events = await stage.told(fleet, 20)

    assert [event.revision_id for event in events if isinstance(event, RevisionEvent)] == (
        list(revisions.values()) if again else []
    )


async def test_a_workload_that_leaves_and_is_added_again_starts_anew() -> None:
    stage, ids, _ = of_size(2)
    named = list(ids)
    async with stage.client() as runai, runai.watch_fleet(lambda: named, poll=POLICY) as fleet:
        await stage.told(fleet, 70)
        named.pop(0)
        await stage.told(fleet, 109)
        stage.latency = 15
        await stage.told(fleet, 11)  # the second discovery that lacks it, and a poll of it in flight
        fleet.remove(ids[0])
        fleet.add(ids[0])
        stage.latency = 0
        events = await stage.told(fleet, 40)
        assert fleet.workload_ids == frozenset(ids)

    assert [(event.kind, event.workload_id) for event in events] == [("added", ids[0])]


async def test_a_poll_of_what_was_removed_does_not_let_leave_what_was_added_again() -> None:
    stage, ids, revisions = of_size(2)
    named = list(ids)
    async with (
        stage.client() as runai,
        runai.watch_fleet(lambda: named, poll=POLICY, discovery_interval=1) as fleet,
    ):
        await stage.told(fleet, 30)
        stage.latency = 9.5
        named.pop(0)
        stage.asked.clear()
        while ids[0] not in {key for _, _, key in stage.asked}:
            await stage.clock.advance(0.1)
        fleet.remove(ids[0])
        fleet.add(ids[0])
        assert await stage.told(fleet, 9.9) == []  # the poll ends, and discovery lacks it for the tenth time
        assert fleet.workload_ids == frozenset(ids)
        events = await stage.told(fleet, 30)

    assert [event.revision_id for event in events if isinstance(event, RevisionEvent)] == [revisions[ids[0]]]


async def test_a_fleet_may_be_named_by_a_coroutine() -> None:
    stage, ids, _ = of_size(3)

    async def ask() -> list[str]:
        return ids

    async with stage.client() as runai, runai.watch_fleet(ask, poll=POLICY) as fleet:
        await stage.told(fleet, 20)
        assert fleet.workload_ids == frozenset(ids)


async def test_a_discovery_that_is_refused_the_token_ends_the_fleet() -> None:
    stage, ids, _ = of_size(3)
    rounds = 0

    def ask() -> list[str]:
        nonlocal rounds
        rounds += 1
        if rounds > 1:
            raise AuthenticationError(401, "revoked")
        return ids

    async with stage.client() as runai, runai.watch_fleet(ask, poll=POLICY, discovery_interval=20) as fleet:
        with pytest.raises(AuthenticationError) as caught:
            await stage.told(fleet, 100)
        assert caught.value.checkpoint == fleet.checkpoint()
        await stage.clock.advance(100)
    assert rounds == 2


async def test_a_fleet_that_has_ended_asks_no_more_which_workloads_there_are() -> None:
    stage, ids, _ = of_size(3)
    stage.lists, rounds = REFUSED_401, 0

    def ask() -> list[str]:
        nonlocal rounds
        rounds += 1
        return ids

    async with stage.client() as runai, runai.watch_fleet(ask, poll=POLICY, discovery_interval=20) as fleet:
        with pytest.raises(AuthenticationError):
            await stage.told(fleet, 15)
        await stage.clock.advance(100)
    assert rounds == 1


async def test_discovery_lets_workloads_join_and_leave() -> None:
    stage, ids, revisions = of_size(3)
    named = [set(ids[:2])]

    async def ask() -> AsyncIterator[str]:
        for key in sorted(named[-1]):
            yield key

    async with stage.client() as runai, runai.watch_fleet(ask, poll=POLICY, discovery_interval=60) as fleet:
        assert len(await stage.told(fleet, 30)) == 2
        named.append({ids[1], ids[2]})
        joined = await stage.told(fleet, 60)
        assert fleet.workload_ids == frozenset(ids)
        left = await stage.told(fleet, 60)
        assert fleet.workload_ids == frozenset(ids[1:])

    assert [(event.kind, event.workload_id) for event in joined] == [("added", ids[2])]
    assert left == []
    assert revisions


async def test_a_workload_that_discovery_lacks_now_and_then_stays() -> None:
    stage, ids, _ = of_size(2)
    rounds = iter([ids, ids[:1], ids, ids[:1], ids, ids[:1], ids, ids])
    async with (
        stage.client() as runai,
        runai.watch_fleet(lambda: next(rounds, ids), poll=POLICY, discovery_interval=20) as fleet,
    ):
        events = await stage.told(fleet, 200)
        assert fleet.workload_ids == frozenset(ids)

    assert sorted(event.workload_id for event in events) == sorted(ids)


@pytest.mark.parametrize("streak", ["fails", "names nothing"])
async def test_a_discovery_that_fails_or_names_nothing_changes_nothing(
    streak: str, caplog: pytest.LogCaptureFixture
) -> None:
    stage, ids, _ = of_size(3)
    rounds = 0

    def ask() -> list[str]:
        nonlocal rounds
        rounds += 1
        if rounds == 1:
            return ids
        if streak == "fails":
            raise OSError("no route")
        return []

    async with stage.client() as runai, runai.watch_fleet(ask, poll=POLICY, discovery_interval=20) as fleet:
        await stage.told(fleet, 200)
        assert fleet.workload_ids == frozenset(ids)

    assert rounds == 11
    assert ("discovery failed" in caplog.text) == (streak == "fails")


@pytest.mark.parametrize("resumed", [False, True])
async def test_an_outage_before_the_first_discovery_is_one_and_ends_like_one(
    caplog: pytest.LogCaptureFixture, resumed: bool
) -> None:
    stage, ids, _ = of_size(1)
    saved = FleetCheckpoint({ids[0]: Checkpoint(ids[0], synced=True)}) if resumed else None
    stage.others = HTML_502
    caplog.set_level(logging.INFO)
    async with stage.client() as runai:
        async with runai.watch_fleet(runai.inference_workloads, poll=POLICY, resume_from=saved) as fleet:
            with pytest.raises(WatchOutageError, match="no response from the control plane for 6") as caught:
                await stage.told(fleet, 200)
        assert caught.value.checkpoint == (saved or FleetCheckpoint({}))
        assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]

        caplog.clear()
        patient = evolve(POLICY, max_outage=None)
        async with runai.watch_fleet(
            runai.inference_workloads, poll=patient, discovery_interval=1e6
        ) as fleet:
            assert await stage.told(fleet, 3 * 10 + 60) == []
            assert not fleet.status.stale
            assert await stage.told(fleet, 3000) == []
            assert fleet.status.stale
            stage.others = True
            await stage.told(fleet, 10_000)
            assert (fleet.status.watched, fleet.status.stale) == (2, False)
        assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING", "INFO", "INFO"]


async def test_a_discovery_that_is_refused_is_no_outage_and_makes_a_fleet_stale() -> None:
    stage, _, _ = of_size(1)
    stage.others = REFUSED_403
    async with stage.client() as runai, runai.watch_fleet(runai.inference_workloads, poll=POLICY) as fleet:
        assert await stage.told(fleet, 300) == []
        assert fleet.status.stale


@pytest.mark.parametrize("workloads", [None, 5, "generator"])
async def test_what_is_neither_ids_nor_a_function_is_a_type_error_that_says_the_mend(workloads: Any) -> None:
    async with Stage().client() as runai:
        given: Any = runai.inference_workloads() if workloads == "generator" else workloads
        with pytest.raises(TypeError, match="without parentheses: it is called again and again"):
            runai.watch_fleet(given)
        if workloads == "generator":
            await given.aclose()


async def test_a_workload_not_named_and_404_tells_its_deletions_and_is_forgotten() -> None:
    stage, ids, revisions = of_size(2)
    named = [list(ids)]

    def ask() -> list[str]:
        return named[-1]

    async with stage.client() as runai, runai.watch_fleet(ask, poll=POLICY, discovery_interval=30) as fleet:
        await stage.told(fleet, 25)
        named.append(ids[1:])
        stage.by_id[ids[0]] = WORKLOAD_GONE
        events = await stage.told(fleet, 200)
        assert fleet.workload_ids == frozenset(ids[1:])

    assert [(event.kind, event.workload_id) for event in events] == [("deleted", ids[0])]
    assert isinstance(events[0], RevisionDeleted)
    assert events[0].revision_id == revisions[ids[0]]


async def test_a_poll_that_fails_after_the_last_workload_was_removed_is_no_outage(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stage, ids, _ = of_size(1)
    stage.lists = None
    async with stage.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        await stage.told(fleet, 10)
        fleet.remove(ids[0])
        await stage.told(fleet, 100)
    assert (len(stage.asked), caplog.messages) == (1, [])


async def test_a_workload_that_is_found_again_as_it_was_is_told_again() -> None:
    stage, ids, revisions = of_size(1)
    async with stage.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        await stage.told(fleet, 20)
        stage.by_id[ids[0]] = WORKLOAD_GONE
        gone = await stage.told(fleet, 200)
        del stage.by_id[ids[0]]
        back = await stage.told(fleet, 400)
        (mark,) = fleet.checkpoint(ids[0]).revisions

    assert [event.kind for event in gone] == ["deleted", "workload_failed"]
    assert [(event.kind, event.revision_id) for event in back if isinstance(event, RevisionEvent)] == [
        ("added", revisions[ids[0]])
    ]
    assert mark.deleted_at is None


async def test_a_workload_not_named_and_403_is_told_failed_and_stays() -> None:
    stage, ids, _ = of_size(2)
    named = list(ids)
    async with (
        stage.client() as runai,
        runai.watch_fleet(lambda: named, poll=POLICY, discovery_interval=30) as fleet,
    ):
        await stage.told(fleet, 25)
        named.pop(0)
        stage.by_id[ids[0]] = REFUSED_403
        events = await stage.told(fleet, 200)
        assert fleet.workload_ids == frozenset(ids)

    assert [(event.kind, event.workload_id) for event in events] == [("workload_failed", ids[0])]


async def test_a_single_id_is_not_taken_for_many() -> None:
    stage, ids, _ = of_size(1)
    async with stage.client() as runai:
        with pytest.raises(TypeError, match="put it into a list"):
            runai.watch_fleet(ids[0])
        with pytest.raises(ValueError, match="workload_id must be a UUID"):
            runai.watch_fleet(["x"])
        with pytest.raises(ValueError, match="rate_limit must be a positive number"):
            runai.watch_fleet(ids, rate_limit=0)
