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
from support.harness import HTML_502, REFUSED_401, REFUSED_403, REFUSED_404, WORKLOAD_GONE, Harness

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


def of_size(count: int, phase: str = "Running") -> tuple[Harness, list[str], dict[str, str]]:
    """Return a harness with so many workloads, their ids, and the revision of each."""
    harness = Harness()
    ids = [harness.state.add_workload(f"llm-{n}", "Inference", {}) for n in range(count)]
    return harness, ids, {key: harness.add(phase, workload_id=key) for key in ids}


def per_second(times: list[float], start: float, end: float) -> list[int]:
    counts = Counter(int(at) for at in times if start <= at < end)
    return [counts[second] for second in range(int(start), int(end))]


# --- the schedule ---------------------------------------------------------------------------------------


async def test_each_workload_is_polled_once_per_interval_at_its_own_place() -> None:
    harness, ids, _ = of_size(100)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        events = await harness.collect(fleet, 60)

    assert len(events) == 100
    own = {key: [at for at, kind, asked in harness.requests if asked == key] for key in ids}
    assert all(len(times) == 6 for times in own.values())
    for times in own.values():
        assert all(later - earlier == pytest.approx(10) for earlier, later in pairwise(times))


async def test_changes_are_told_within_an_interval_and_no_second_has_many_more_polls() -> None:
    harness = Harness()
    harness.state.random.seed(5)
    ids = [harness.state.add_workload(None, "Inference", {}) for _ in range(600)]
    revisions = [harness.add("Running", workload_id=key) for key in ids]
    phases = ("Running", "Degraded", "Stopped", "Pending", "Unknown")
    for n in range(500):
        revision_id, phase = harness.state.random.choice(revisions), harness.state.random.choice(phases)
        harness.at(10 + n / 50, harness.set_phase, revision_id, phase)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        events = await harness.collect(fleet, 30)

    counts = per_second(harness.times(), 0, 30)
    assert max(counts) <= 1.5 * sum(counts) / 30
    changes = [event for event in events if isinstance(event, PhaseChanged)]
    assert len({event.id for event in changes}) == len(changes) > 300
    assert all(
        event.observed_at - event.server_time <= timedelta(seconds=10)
        for event in changes
        if event.server_time
    )
    last = {event.revision_id: event.revision.phase for event in events if isinstance(event, RevisionEvent)}
    assert last == {key: harness.state.revision(key)["phase"] for key in revisions}


async def test_the_spread_is_the_same_after_a_restart_first_polls_too() -> None:
    harness, ids, _ = of_size(20)
    async with harness.client() as runai:
        async with runai.watch_fleet(ids, poll=POLICY) as fleet:
            await harness.collect(fleet, 35)
        split = len(harness.requests)
        async with runai.watch_fleet(reversed(ids), poll=POLICY) as fleet:
            await harness.collect(fleet, 35)

    places = [
        {key: round(at % 10, 4) for at, _, key in part}
        for part in (harness.requests[:split], harness.requests[split:])
    ]
    assert places[0] == places[1]
    assert len(set(places[0].values())) == 20


def test_a_place_is_the_same_on_every_machine() -> None:
    assert offset_of(UNKNOWN_ID) == pytest.approx(PLACE)


async def test_a_workload_under_way_is_polled_at_the_fast_interval() -> None:
    harness, ids, revisions = of_size(3)
    harness.set_phase(revisions[ids[0]], "Pending")
    policy = PollPolicy(interval=10, fast_interval=2)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=policy) as fleet:
        await harness.collect(fleet, 100)

    asked = Counter(key for _, _, key in harness.requests)
    assert 40 <= asked[ids[0]] <= 51
    assert asked[ids[1]] == asked[ids[2]] == 10


async def test_at_most_max_concurrency_polls_are_in_flight() -> None:
    harness, ids, _ = of_size(50)
    harness.latency = 2.0
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY, max_concurrency=4) as fleet:
        most = 0
        for _ in range(100):
            await harness.collect(fleet, 0.25)
            most = max(most, fleet.status.in_flight)
        assert fleet.status.lag > 0
        assert fleet.status.due > 0

    assert most == 4


async def test_there_are_no_more_workers_than_polls_were_in_flight_at_once() -> None:
    harness, ids, _ = of_size(50)
    harness.latency = 0.5
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY, max_concurrency=4) as fleet:
        await harness.collect(fleet, 60)
        tasks = [task for task in asyncio.all_tasks() if task.get_name() == "runai-async fleet"]

    assert len(harness.times()) > 250
    assert len(tasks) <= 1 + 4  # and the loop that hands the polls out


async def test_rate_limit_bounds_the_requests_confirmations_included() -> None:
    harness, ids, revisions = of_size(40)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY, rate_limit=5) as fleet:
        await harness.collect(fleet, 30)
        for revision_id in revisions.values():
            harness.state.purge_revision(revision_id)
        await harness.collect(fleet, 60)

    assert harness.times("get")
    every = [at for at, _, _ in harness.requests]
    assert all(later - earlier >= 0.2 - 1e-6 for earlier, later in pairwise(every))


async def test_a_confirmation_waits_for_its_turn_no_longer_than_its_poll_may_take() -> None:
    class Holding(Harness):
        async def send(self, *args: Any, **options: Any) -> Response:
            now = self.clock.monotonic()
            self.latency = 30 - now if 20 <= now < 30 else 0  # at 30, all of them answer at once
            return await super().send(*args, **options)

    harness, polls = Holding(), list[PollFinished]()
    ids = [harness.state.add_workload(None, "Inference", {}) for _ in range(20)]
    revisions = [harness.add(workload_id=key) for key in ids]
    policy = PollPolicy(interval=10, fast_interval=10, deadline=12)
    hooks = [lambda event: polls.append(event) if isinstance(event, PollFinished) else None]
    async with (
        harness.client(hooks=hooks) as runai,
        runai.watch_fleet(ids, poll=policy, rate_limit=2) as fleet,
    ):
        await harness.collect(fleet, 20)
        for revision_id in revisions:
            harness.state.hide(revision_id, hidden=True)
        await harness.collect(fleet, 60)

    assert harness.times("get")
    assert max(poll.seconds for poll in polls) <= 12


async def test_a_finished_poll_tells_how_many_events_it_brought_whatever_waits_already() -> None:
    harness, ids, revisions = of_size(3)
    polls: list[PollFinished] = []
    hooks = [lambda event: polls.append(event) if isinstance(event, PollFinished) else None]
    async with harness.client(hooks=hooks) as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        await harness.clock.advance(30)
        harness.set_phase(revisions[ids[0]], "Failed")
        await harness.clock.advance(30)

        assert sum(poll.events for poll in polls) == fleet.status.buffered == 4


async def test_a_fleet_s_poll_is_one_attempt() -> None:
    harness, ids, _ = of_size(1)
    harness.next_lists.append(HTML_502)
    async with harness.client(retry=None) as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        assert len(await harness.collect(fleet, 45)) == 1

    apart = [round(later - earlier, 6) for earlier, later in pairwise(harness.times())]
    assert apart in ([10] * 3, [10] * 4)


# --- trouble --------------------------------------------------------------------------------------------


async def test_one_workloads_trouble_is_told_once_per_spell_and_disturbs_nobody() -> None:
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
        good = await harness.collect(fleet, 400)
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
    assert {event.revision_id for event in good if isinstance(event, RevisionAdded)} == {
        revisions[key] for key in ids[:4]
    }
    assert failed(good) == {}
    assert failed(again) == dict.fromkeys(ids[:4], 1)
    for key in ids[4:]:
        own = [at for at, kind, asked in harness.requests if asked == key and kind == "list"]
        assert all(later - earlier == pytest.approx(10) for earlier, later in pairwise(own))


async def test_a_workload_that_failed_is_polled_with_back_off_up_to_300_seconds() -> None:
    harness, ids, _ = of_size(2)
    harness.by_id[ids[0]] = REFUSED_403
    policy = PollPolicy(interval=10, fast_interval=10, missing_grace=55)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=policy) as fleet:
        await harness.collect(fleet, 5000)

    own = [at for at, _, asked in harness.requests if asked == ids[0]]
    gaps = [later - earlier for earlier, later in pairwise(own)]
    assert all(gap == pytest.approx(10) for gap in gaps[:6])
    backed_off = gaps[6:]
    assert all(1.3 * earlier < later or later >= 150 for earlier, later in pairwise(backed_off))
    assert 150 <= max(backed_off) <= 300


async def test_an_envelope_that_is_not_the_api_s_is_told_at_once_if_it_is_the_very_first_answer() -> None:
    harness, ids, _ = of_size(2)
    wrong = Response(body=b'{"items": []}')
    harness.by_id[ids[0]] = wrong
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        first = await harness.collect(fleet, 20)
        harness.by_id = {ids[1]: wrong}
        then = await harness.collect(fleet, 50)

    assert {(event.kind, event.workload_id) for event in first} == {
        ("workload_failed", ids[0]),
        ("added", ids[1]),
    }
    assert [(event.kind, event.workload_id) for event in then] == [("added", ids[0])]


async def test_a_workload_whose_refusals_contradict_each_other_is_told_failed() -> None:
    harness, ids, _ = of_size(1)
    harness.next_lists.extend([REFUSED_403, REFUSED_404] * 100)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        (event,) = await harness.collect(fleet, 500)

    assert isinstance(event, WorkloadFailed)
    assert isinstance(event.error, WatchOutageError)


async def test_degraded_and_recovered_are_told_of_each_workload_if_asked_for() -> None:
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


async def test_a_401_ends_the_fleet_once_with_its_checkpoint() -> None:
    harness, ids, _ = of_size(5)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        await harness.collect(fleet, 20)
        harness.lists = REFUSED_401
        with pytest.raises(AuthenticationError) as caught:
            await harness.collect(fleet, 60)
        assert isinstance(caught.value.checkpoint, FleetCheckpoint)
        assert set(caught.value.checkpoint.workloads) == set(ids)
        with pytest.raises(StopAsyncIteration):
            await anext(fleet)


async def test_no_answer_at_all_for_max_outage_ends_the_fleet_once() -> None:
    harness, ids, _ = of_size(5)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        await harness.collect(fleet, 20)
        harness.lists = HTML_502
        with pytest.raises(WatchOutageError, match="no answer from the control plane for"):
            await harness.collect(fleet, 200)

    assert harness.clock.monotonic() - 20 >= 60


async def test_time_without_workloads_is_no_outage() -> None:
    harness, ids, _ = of_size(2)
    named: list[str] = []
    async with (
        harness.client() as runai,
        runai.watch_fleet(lambda: named, poll=POLICY, discovery_interval=20) as fleet,
    ):
        await harness.clock.advance(200)
        named += ids
        harness.next_lists.extend([HTML_502, HTML_502])
        assert len(await harness.collect(fleet, 60)) == 2
        named.clear()
        harness.lists = HTML_502
        await harness.collect(fleet, 20)
        for key in ids:
            fleet.remove(key)
        await harness.clock.advance(200)
        fleet.add(ids[1])
        assert await harness.collect(fleet, 20) == []


async def test_one_failed_poll_is_no_long_outage_however_long_the_interval_is() -> None:
    harness, ids, _ = of_size(1)
    policy = PollPolicy(interval=100, max_outage=60)
    harness.next_lists.append(HTML_502)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=policy) as fleet:
        assert len(await harness.collect(fleet, 300)) == 1
        harness.next_lists.append(HTML_502)
        assert await harness.collect(fleet, 300) == []
        assert fleet.status.oldest_success_at is not None


async def test_a_configuration_that_does_not_work_ends_the_fleet_unless_it_worked_before() -> None:
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


async def test_a_poll_that_is_cancelled_from_within_ends_the_fleet_and_is_not_lost() -> None:
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


async def test_of_several_polls_that_are_refused_the_token_at_once_one_ends_the_fleet() -> None:
    harness, ids, _ = of_size(100)
    harness.lists, harness.latency = REFUSED_401, 3.0
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        with pytest.raises(AuthenticationError):
            await harness.collect(fleet, 4)
        assert fleet.status.in_flight > 1
        await harness.clock.advance(4)
        with pytest.raises(StopAsyncIteration):
            await anext(fleet)


async def test_a_refusal_is_an_answer_of_the_control_plane() -> None:
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
        assert len([at for at, _, asked in harness.requests if asked == key]) == 5


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
    harness, ids = Harness(), evenly_placed(300)
    for key in ids:
        harness.add(workload_id=harness.state.add_workload(None, "Inference", {"id": key}), id=key)
    harness.at(20, lambda: setattr(harness, "lists", HTML_502))
    for n, key in enumerate(ids[:50]):
        harness.at(30 + n, harness.set_phase, key, "Failed")
    harness.at(80, lambda: setattr(harness, "lists", True))
    policy = PollPolicy(interval=10, fast_interval=10)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=policy) as fleet:
        events = await harness.collect(fleet, 150)

    counts = per_second(harness.times(), 0, 150)
    assert counts[:20] == [30] * 20
    assert max(counts) <= 1.25 * 30
    assert max(sum(counts[at : at + 10]) for at in range(140)) <= 1.05 * 300
    assert max(sum(counts[at : at + 10]) for at in range(40, 70)) < 0.9 * 300
    changes = [event.revision_id for event in events if isinstance(event, PhaseChanged)]
    assert sorted(changes) == sorted(ids[:50])


@pytest.mark.parametrize("pause", [34, 39])
async def test_a_pause_is_not_caught_up_with_a_storm(pause: int) -> None:
    harness, ids = Harness(), evenly_placed(200)
    for key in ids:
        harness.add(workload_id=harness.state.add_workload(None, "Inference", {"id": key}), id=key)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY, buffer=10) as fleet:
        await harness.clock.advance(pause)  # nobody takes an event: the buffer is full, so nothing is polled
        before = len(harness.requests)
        await harness.collect(fleet, 70)
        assert fleet.status.lag == 0

    assert before == 10
    counts = per_second(harness.times(), pause, pause + 70)
    assert max(counts) <= 1.15 * 20
    assert counts[-10:] == [20] * 10
    assert {key for at, _, key in harness.requests if at < pause + 10} == set(ids)
    for key in ids:
        times = [at for at, _, asked in harness.requests if asked == key]
        assert all(5 < later - earlier < 15 for earlier, later in pairwise(times) if earlier > pause)


@pytest.mark.parametrize("seconds", [0.5, 8.0])
async def test_what_a_standstill_made_late_is_polled_at_little_more_than_the_usual_rate(
    seconds: float,
) -> None:
    harness, ids = Harness(), evenly_placed(200)
    for key in ids:
        harness.add(workload_id=harness.state.add_workload(None, "Inference", {"id": key}), id=key)
    harness.at(20, lambda: setattr(harness, "latency", seconds))
    harness.at(20 + seconds, lambda: setattr(harness, "latency", 0.0))
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY, max_concurrency=1) as fleet:
        await harness.collect(fleet, 20 + seconds + 90)
        assert fleet.status.lag == 0

    counts = per_second(harness.times(), 20 + int(seconds) + 1, 20 + int(seconds) + 91)
    assert 20 < max(counts) <= 1.15 * 20
    assert counts[-10:-1] == [20] * 9


async def test_after_an_outage_in_which_all_hung_there_is_no_spike() -> None:
    harness, ids = Harness(), evenly_placed(200)
    for key in ids:
        harness.add(workload_id=harness.state.add_workload(None, "Inference", {"id": key}), id=key)
    harness.at(20, lambda: setattr(harness, "lists", None))
    harness.at(80, lambda: setattr(harness, "lists", True))
    policy = PollPolicy(interval=10, fast_interval=10, deadline=5)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=policy, max_concurrency=5) as fleet:
        await harness.collect(fleet, 200)
        assert (fleet.status.failing, fleet.status.lag) == (0, 0)

    counts = per_second(harness.times(), 0, 200)
    assert sum(counts[20:80]) < 100  # so most of them were not polled at all
    assert max(counts) <= 1.25 * 20
    assert max(sum(counts[at : at + 10]) for at in range(190)) <= 1.15 * 200


async def test_after_a_pause_workloads_under_way_do_not_wait_for_all_the_others() -> None:
    harness, ids, revisions = of_size(200, "Pending")
    for key in ids[40:]:
        harness.set_phase(revisions[key], "Running")
    policy = PollPolicy(interval=30, fast_interval=2, fast_for=1000)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=policy, buffer=30) as fleet:
        await harness.collect(fleet, 60)
        for key in ids:
            harness.set_phase(revisions[key], "Creating" if key in ids[:40] else "Degraded")
        await harness.clock.advance(40)  # nobody takes an event
        assert fleet.status.lag > 30
        await harness.collect(fleet, 60)

    assert (
        max(per_second(harness.times(), 100, 160)) < 50
    )  # usually 20 of those under way, and 5 of the others
    for key in ids[:40]:
        times = [at for at, _, asked in harness.requests if asked == key and at >= 100]
        assert times[0] < 104
        assert all(later - earlier < 5 for earlier, later in pairwise(times))


async def test_a_workload_that_settles_is_polled_within_an_interval() -> None:
    harness, ids, revisions = of_size(50, "Pending")
    policy = PollPolicy(interval=30, fast_interval=2)
    for n, key in enumerate(ids):
        harness.at(40 + n / 2, harness.set_phase, revisions[key], "Running")
    async with harness.client() as runai, runai.watch_fleet(ids, poll=policy) as fleet:
        await harness.collect(fleet, 150)

    for key in ids:
        times = [at for at, _, asked in harness.requests if asked == key]
        assert all(later - earlier <= 30 + 2 / 2 + 1e-6 for earlier, later in pairwise(times))
        assert times[-1] > 120


@pytest.mark.parametrize(
    "limits", [{"rate_limit": 6.0}, {"max_concurrency": 1}, {"max_concurrency": 2}], ids=str
)
async def test_limits_that_are_just_enough_make_no_fleet_fall_behind(limits: dict[str, Any]) -> None:
    harness, ids, _ = of_size(50)
    harness.latency = 0.15
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY, **limits) as fleet:
        await harness.collect(fleet, 300)
        assert fleet.status.lag < 3

    assert len(harness.requests) >= 0.99 * 300 * 5


async def test_an_outage_lowers_the_rate_and_recovering_brings_no_spike(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "runai_async")
    harness, ids, revisions = of_size(100)
    harness.at(60, lambda: setattr(harness, "lists", HTML_502))
    harness.at(90, lambda: harness.set_phase(revisions[ids[5]], "Failed"))
    harness.at(120, lambda: setattr(harness, "lists", True))
    policy = PollPolicy(interval=10, fast_interval=10, max_outage=900)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=policy) as fleet:
        events = await harness.collect(fleet, 240)

    tens = [sum(per_second(harness.times(), start, start + 10)) for start in range(0, 240, 10)]
    assert all(count <= 105 for count in tens)
    assert all(count < 100 for count in tens[8:12])
    assert tens[-1] == 100
    assert [type(event) for event in events[100:]] == [PhaseChanged]
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


@pytest.mark.parametrize("seed", range(2))
async def test_after_an_outage_all_are_polled_once_within_an_interval_of_the_first_answer(seed: int) -> None:
    random.seed(seed)
    harness, ids, _ = of_size(100)
    harness.at(60, lambda: setattr(harness, "lists", HTML_502))
    harness.at(660, lambda: setattr(harness, "lists", True))
    policy = PollPolicy(interval=10, fast_interval=10)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=policy) as fleet:
        await harness.collect(fleet, 700)
        assert fleet.status.failing == 0

    first = min(at for at, _, _ in harness.requests if at >= 660)
    for start in (first, first + 10, first + 20):
        polled = Counter(key for at, _, key in harness.requests if start < at <= start + 10)
        assert len(polled) >= len(ids) - 1  # the first to be answered may have its place in the interval
        assert sum(polled.values()) <= len(ids) + 1


async def test_a_place_in_the_schedule_is_left_and_found_again_without_counting_twice() -> None:
    harness, ids, _ = of_size(20)
    harness.at(20, lambda: setattr(harness, "lists", HTML_502))
    harness.at(31, lambda: setattr(harness, "lists", True))  # after one failure each, which backs nobody off
    policy = PollPolicy(interval=10, fast_interval=10)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=policy) as fleet:
        await harness.collect(fleet, 60)
        assert fleet.status.failing == 0

    asked = Counter(key for at, _, key in harness.requests if 20 < at <= 60)
    assert set(asked.values()) <= {4, 5}


async def test_many_that_fail_while_others_are_answered_back_off_all_the_same(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "runai_async")
    random.seed(3)
    harness, ids, _ = of_size(60)
    broken = set(ids[:50])
    harness.by_id.update(dict.fromkeys(broken, HTML_502))
    policy = PollPolicy(interval=10, fast_interval=10)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=policy) as fleet:
        await harness.collect(fleet, 600)

    polled = Counter(key in broken for at, _, key in harness.requests if 200 <= at < 600)
    assert polled[False] == 10 * 40
    assert polled[True] < 50 * 40 / 2
    assert caplog.records == []  # of the control plane there is nothing to say


async def test_what_is_removed_while_it_waits_for_the_rate_limit_is_not_polled() -> None:
    harness, ids, _ = of_size(2)
    async with harness.client() as runai, runai.watch_fleet((), poll=POLICY, rate_limit=0.01) as fleet:
        fleet.add(ids[0])
        await harness.collect(fleet, 15)
        fleet.add(ids[1])
        await harness.collect(fleet, 15)
        fleet.remove(ids[1])
        fleet.remove(ids[0])
        await harness.collect(fleet, 300)

    assert [key for _, _, key in harness.requests] == [ids[0]]


async def test_the_status_tells_how_many_fail_and_when_nothing_is_good_any_more() -> None:
    harness, ids, _ = of_size(3)
    policy = PollPolicy(interval=10, fast_interval=10, deadline=20, max_outage=None)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=policy) as fleet:
        await harness.collect(fleet, 15)
        assert (fleet.status.failing, fleet.status.stale) == (0, False)
        harness.by_id[ids[0]] = HTML_502
        await harness.collect(fleet, 100)
        assert (fleet.status.failing, fleet.status.stale) == (1, False)
        harness.lists = HTML_502
        await harness.collect(fleet, 40)
        assert (fleet.status.failing, fleet.status.stale) == (3, False)
        await harness.collect(fleet, 30)
        assert (fleet.status.failing, fleet.status.stale) == (3, True)


async def test_a_fleet_with_nothing_to_watch_is_not_stale_nor_is_one_that_has_just_got_something() -> None:
    harness, ids, _ = of_size(1)
    harness.lists = HTML_502
    async with harness.client() as runai, runai.watch_fleet((), interval=10) as fleet:
        await harness.collect(fleet, 1000)
        assert (fleet.status.watched, fleet.status.stale) == (0, False)
        fleet.add(ids[0])
        await harness.collect(fleet, 30)
        assert (fleet.status.failing, fleet.status.stale) == (1, False)
        await harness.collect(fleet, 70)
        assert fleet.status.stale


# --- the consumer ---------------------------------------------------------------------------------------


async def test_a_full_buffer_makes_polling_wait_and_drops_nothing() -> None:
    harness, ids, revisions = of_size(60)
    async with (
        harness.client() as runai,
        runai.watch_fleet(ids, poll=POLICY, buffer=10, max_concurrency=5) as fleet,
    ):
        await harness.clock.advance(60)
        status = fleet.status
        assert 10 <= status.buffered <= 15
        assert status.lag > 40
        events = await harness.collect(fleet, 30)

    assert {event.revision_id for event in events if isinstance(event, RevisionAdded)} == set(
        revisions.values()
    )


async def test_the_tasks_live_in_the_async_with() -> None:
    harness, ids, _ = of_size(3)
    before = asyncio.all_tasks()
    async with harness.client() as runai:
        fleet = runai.watch_fleet(ids, poll=POLICY)
        with pytest.raises(RuntimeError, match="enter the fleet first"):
            await anext(fleet)
        async with fleet:
            await harness.clock.advance(15)
            assert asyncio.all_tasks() - before
        assert asyncio.all_tasks() == before
        with pytest.raises(RuntimeError, match="entered once"):
            await fleet.__aenter__()


async def test_closing_ends_a_poll_that_makes_an_error_of_its_cancellation() -> None:
    class Stubborn(Harness):
        async def send(self, *args: Any, **options: Any) -> Response:
            self.requests.append((0.0, "", ""))
            try:
                return await asyncio.Future()
            except asyncio.CancelledError:
                raise AttemptTimeoutError("too late") from None

    harness = Stubborn()
    async with harness.client() as runai, runai.watch_fleet([harness.workload_id], poll=POLICY) as fleet:
        await harness.clock.advance(10)
        assert harness.requests
        async with asyncio.timeout(1):
            await fleet.aclose()


async def test_closing_ends_a_waiting_consumer_behind_what_is_buffered() -> None:
    harness, ids, _ = of_size(1)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        await harness.collect(fleet, 20)
        waiting = asyncio.ensure_future(anext(fleet, "the end"))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="use one consumer"):
            await anext(fleet)
        await fleet.aclose()
        assert await waiting == "the end"


async def test_a_close_that_is_cut_short_ends_a_waiting_consumer_too() -> None:
    class Slow(Harness):
        async def send(self, *args: Any, **options: Any) -> Response:
            try:
                return await asyncio.Future()
            finally:
                await self.clock.sleep(5)

    harness = Slow()
    async with harness.client() as runai, runai.watch_fleet([harness.workload_id], poll=POLICY) as fleet:
        waiting = asyncio.ensure_future(anext(fleet, "the end"))
        await harness.clock.advance(10)
        closing = asyncio.ensure_future(fleet.aclose())
        await harness.clock.advance(1)
        closing.cancel()
        await asyncio.wait({closing})
        async with asyncio.timeout(1):
            assert await waiting == "the end"
        await harness.clock.advance(10)


async def test_a_cancelled_consumer_loses_nothing() -> None:
    harness, ids, revisions = of_size(30)
    events: list[FleetEvent] = []
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        for _ in range(200):
            events += await harness.collect(fleet, 0.1)

    assert sorted(event.revision_id for event in events if isinstance(event, RevisionEvent)) == sorted(
        revisions.values()
    )


async def test_what_discovery_did_not_claim_yet_is_in_the_checkpoint() -> None:
    harness, ids, _ = of_size(2)
    saved = FleetCheckpoint({key: Checkpoint(key, synced=True) for key in ids})
    named = [[ids[0]]]
    harness.others = REFUSED_401
    async with harness.client() as runai:
        fleet = runai.watch_fleet(lambda: named[-1], poll=POLICY, discovery_interval=30, resume_from=saved)
        assert fleet.checkpoint() == saved
        async with fleet:
            await harness.collect(fleet, 15)
            assert fleet.checkpoint().workloads.keys() == set(ids)
            assert fleet.checkpoint().workloads[ids[1]] == saved.workloads[ids[1]]
            await harness.collect(fleet, 30)  # named in neither of two rounds: it is no more
            assert fleet.checkpoint().workloads.keys() == {ids[0]}
        async with runai.watch_fleet(runai.inference_workloads, resume_from=saved) as other:
            other.remove(ids[0])
            with pytest.raises(AuthenticationError) as caught:
                await anext(other)
    assert caught.value.checkpoint == FleetCheckpoint({ids[1]: saved.workloads[ids[1]]})


async def test_a_fleet_resumes_from_its_checkpoint() -> None:
    harness, ids, revisions = of_size(10)
    async with harness.client() as runai:
        async with runai.watch_fleet(ids, poll=POLICY) as fleet:
            await harness.collect(fleet, 20)
            one = fleet.checkpoint(ids[0])
            saved = FleetCheckpoint.from_json(fleet.checkpoint().to_json())
            with pytest.raises(KeyError):
                fleet.checkpoint(UNKNOWN_ID)
        harness.set_phase(revisions[ids[3]], "Failed")
        new = harness.state.add_workload("new", "Inference", {})
        added = harness.add(workload_id=new)
        async with runai.watch_fleet([*ids[1:], new], poll=POLICY, resume_from=saved) as fleet:
            events = await harness.collect(fleet, 20)
            assert ids[0] not in fleet.checkpoint().workloads
            fleet.add(ids[0])
            later = await harness.collect(fleet, 20)

    assert one == saved.workloads[ids[0]]
    assert isinstance(one, Checkpoint)
    told = {(event.kind, event.revision_id) for event in events if isinstance(event, RevisionEvent)}
    assert told == {("phase_changed", revisions[ids[3]]), ("added", added)}
    assert [event.initial for event in events if isinstance(event, RevisionAdded)] == [True]
    assert [(event.kind, event.workload_id) for event in later] == [("added", ids[0])]


# --- joining and leaving --------------------------------------------------------------------------------


async def test_adding_and_removing_take_effect_by_the_next_due_time() -> None:
    harness, ids, revisions = of_size(3)
    async with harness.client() as runai, runai.watch_fleet(ids[:2], poll=POLICY) as fleet:
        await harness.collect(fleet, 20)
        fleet.add(ids[2])
        fleet.add(ids[2])
        fleet.remove(ids[0])
        fleet.remove(UNKNOWN_ID)
        harness.set_phase(revisions[ids[0]], "Failed")
        events = await harness.collect(fleet, 20)
        assert fleet.workload_ids == frozenset(ids[1:])

    assert [(event.kind, event.revision_id) for event in events if isinstance(event, RevisionEvent)] == [
        ("added", revisions[ids[2]])
    ]
    assert not [at for at, _, key in harness.requests if key == ids[0] and at > 20]


async def test_removing_forgets_what_was_not_delivered() -> None:
    harness, ids, _ = of_size(2)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        await harness.clock.advance(20)
        fleet.remove(ids[0])
        events = await harness.collect(fleet, 1)

    assert {event.workload_id for event in events} == {ids[1]}


async def test_removing_forgets_a_failure_that_was_not_delivered() -> None:
    harness, ids, _ = of_size(2)
    harness.by_id[ids[0]] = REFUSED_403
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        await harness.clock.advance(100)
        fleet.remove(ids[0])
        events = await harness.collect(fleet, 1)

    assert {event.workload_id for event in events} == {ids[1]}


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("response", [True, Response(body=b'{"items": []}')])
async def test_a_poll_that_is_in_flight_when_its_workload_is_removed_tells_nothing(
    response: Response | bool, again: bool
) -> None:
    harness, ids, revisions = of_size(1)
    harness.lists, harness.latency = response, 3
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        while not fleet.status.in_flight:
            await harness.clock.advance(1)
        fleet.remove(ids[0])
        if again:
            fleet.add(ids[0])
        assert await harness.collect(fleet, 5) == []
        harness.lists = True
        events = await harness.collect(fleet, 20)

    assert [event.revision_id for event in events if isinstance(event, RevisionEvent)] == (
        list(revisions.values()) if again else []
    )


async def test_a_workload_that_leaves_and_is_added_again_starts_anew() -> None:
    harness, ids, _ = of_size(2)
    named = list(ids)
    async with harness.client() as runai, runai.watch_fleet(lambda: named, poll=POLICY) as fleet:
        await harness.collect(fleet, 70)
        named.pop(0)
        await harness.collect(fleet, 109)
        harness.latency = 15
        await harness.collect(fleet, 11)  # the second discovery that lacks it, and a poll of it in flight
        fleet.remove(ids[0])
        fleet.add(ids[0])
        harness.latency = 0
        events = await harness.collect(fleet, 40)
        assert fleet.workload_ids == frozenset(ids)

    assert [(event.kind, event.workload_id) for event in events] == [("added", ids[0])]


async def test_a_poll_of_what_was_removed_does_not_let_leave_what_was_added_again() -> None:
    harness, ids, revisions = of_size(2)
    named = list(ids)
    async with (
        harness.client() as runai,
        runai.watch_fleet(lambda: named, poll=POLICY, discovery_interval=1) as fleet,
    ):
        await harness.collect(fleet, 30)
        harness.latency = 9.5
        named.pop(0)
        harness.requests.clear()
        while ids[0] not in {key for _, _, key in harness.requests}:
            await harness.clock.advance(0.1)
        fleet.remove(ids[0])
        fleet.add(ids[0])
        assert (
            await harness.collect(fleet, 9.9) == []
        )  # the poll ends, and discovery lacks it for the tenth time
        assert fleet.workload_ids == frozenset(ids)
        events = await harness.collect(fleet, 30)

    assert [event.revision_id for event in events if isinstance(event, RevisionEvent)] == [revisions[ids[0]]]


async def test_a_fleet_may_be_named_by_a_coroutine() -> None:
    harness, ids, _ = of_size(3)

    async def ask() -> list[str]:
        return ids

    async with harness.client() as runai, runai.watch_fleet(ask, poll=POLICY) as fleet:
        await harness.collect(fleet, 20)
        assert fleet.workload_ids == frozenset(ids)


async def test_a_discovery_that_is_refused_the_token_ends_the_fleet() -> None:
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


async def test_a_fleet_that_has_ended_asks_no_more_which_workloads_there_are() -> None:
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


async def test_discovery_lets_workloads_join_and_leave() -> None:
    harness, ids, revisions = of_size(3)
    named = [set(ids[:2])]

    async def ask() -> AsyncIterator[str]:
        for key in sorted(named[-1]):
            yield key

    async with harness.client() as runai, runai.watch_fleet(ask, poll=POLICY, discovery_interval=60) as fleet:
        assert len(await harness.collect(fleet, 30)) == 2
        named.append({ids[1], ids[2]})
        joined = await harness.collect(fleet, 60)
        assert fleet.workload_ids == frozenset(ids)
        left = await harness.collect(fleet, 60)
        assert fleet.workload_ids == frozenset(ids[1:])

    assert [(event.kind, event.workload_id) for event in joined] == [("added", ids[2])]
    assert left == []
    assert revisions


async def test_a_workload_that_discovery_lacks_now_and_then_stays() -> None:
    harness, ids, _ = of_size(2)
    rounds = iter([ids, ids[:1], ids, ids[:1], ids, ids[:1], ids, ids])
    async with (
        harness.client() as runai,
        runai.watch_fleet(lambda: next(rounds, ids), poll=POLICY, discovery_interval=20) as fleet,
    ):
        events = await harness.collect(fleet, 200)
        assert fleet.workload_ids == frozenset(ids)

    assert sorted(event.workload_id for event in events) == sorted(ids)


@pytest.mark.parametrize("streak", ["fails", "names nothing"])
async def test_a_discovery_that_fails_or_names_nothing_changes_nothing(
    streak: str, caplog: pytest.LogCaptureFixture
) -> None:
    harness, ids, _ = of_size(3)
    rounds = 0

    def ask() -> list[str]:
        nonlocal rounds
        rounds += 1
        if rounds == 1:
            return ids
        if streak == "fails":
            raise OSError("no route")
        return []

    async with harness.client() as runai, runai.watch_fleet(ask, poll=POLICY, discovery_interval=20) as fleet:
        await harness.collect(fleet, 200)
        assert fleet.workload_ids == frozenset(ids)

    assert rounds == 11
    assert ("discovery failed" in caplog.text) == (streak == "fails")


@pytest.mark.parametrize("resumed", [False, True])
async def test_an_outage_before_the_first_discovery_is_one_and_ends_like_one(
    caplog: pytest.LogCaptureFixture, resumed: bool
) -> None:
    harness, ids, _ = of_size(1)
    saved = FleetCheckpoint({ids[0]: Checkpoint(ids[0], synced=True)}) if resumed else None
    harness.others = HTML_502
    caplog.set_level(logging.INFO)
    async with harness.client() as runai:
        async with runai.watch_fleet(runai.inference_workloads, poll=POLICY, resume_from=saved) as fleet:
            with pytest.raises(WatchOutageError, match="no answer from the control plane for 6") as caught:
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


async def test_a_discovery_that_is_refused_is_no_outage_and_makes_a_fleet_stale() -> None:
    harness, _, _ = of_size(1)
    harness.others = REFUSED_403
    async with harness.client() as runai, runai.watch_fleet(runai.inference_workloads, poll=POLICY) as fleet:
        assert await harness.collect(fleet, 300) == []
        assert fleet.status.stale


@pytest.mark.parametrize("workloads", [None, 5, "generator"])
async def test_what_is_neither_ids_nor_a_function_is_a_type_error_that_says_the_mend(workloads: Any) -> None:
    async with Harness().client() as runai:
        given: Any = runai.inference_workloads() if workloads == "generator" else workloads
        with pytest.raises(TypeError, match="without parentheses: it is asked again and again"):
            runai.watch_fleet(given)
        if workloads == "generator":
            await given.aclose()


async def test_a_workload_not_named_and_404_tells_its_deletions_and_is_forgotten() -> None:
    harness, ids, revisions = of_size(2)
    named = [list(ids)]

    def ask() -> list[str]:
        return named[-1]

    async with harness.client() as runai, runai.watch_fleet(ask, poll=POLICY, discovery_interval=30) as fleet:
        await harness.collect(fleet, 25)
        named.append(ids[1:])
        harness.by_id[ids[0]] = WORKLOAD_GONE
        events = await harness.collect(fleet, 200)
        assert fleet.workload_ids == frozenset(ids[1:])

    assert [(event.kind, event.workload_id) for event in events] == [("deleted", ids[0])]
    assert isinstance(events[0], RevisionDeleted)
    assert events[0].revision_id == revisions[ids[0]]


async def test_a_poll_that_fails_after_the_last_workload_was_removed_is_no_outage(
    caplog: pytest.LogCaptureFixture,
) -> None:
    harness, ids, _ = of_size(1)
    harness.lists = None
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        await harness.collect(fleet, 10)
        fleet.remove(ids[0])
        await harness.collect(fleet, 100)
    assert (len(harness.requests), caplog.messages) == (1, [])


async def test_a_workload_that_is_found_again_as_it_was_is_told_again() -> None:
    harness, ids, revisions = of_size(1)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        await harness.collect(fleet, 20)
        harness.by_id[ids[0]] = WORKLOAD_GONE
        gone = await harness.collect(fleet, 200)
        del harness.by_id[ids[0]]
        back = await harness.collect(fleet, 400)
        (mark,) = fleet.checkpoint(ids[0]).revisions

    assert [event.kind for event in gone] == ["deleted", "workload_failed"]
    assert [(event.kind, event.revision_id) for event in back if isinstance(event, RevisionEvent)] == [
        ("added", revisions[ids[0]])
    ]
    assert mark.deleted_at is None


async def test_a_workload_not_named_and_403_is_told_failed_and_stays() -> None:
    harness, ids, _ = of_size(2)
    named = list(ids)
    async with (
        harness.client() as runai,
        runai.watch_fleet(lambda: named, poll=POLICY, discovery_interval=30) as fleet,
    ):
        await harness.collect(fleet, 25)
        named.pop(0)
        harness.by_id[ids[0]] = REFUSED_403
        events = await harness.collect(fleet, 200)
        assert fleet.workload_ids == frozenset(ids)

    assert [(event.kind, event.workload_id) for event in events] == [("workload_failed", ids[0])]


async def test_a_single_id_is_not_taken_for_many() -> None:
    harness, ids, _ = of_size(1)
    async with harness.client() as runai:
        with pytest.raises(TypeError, match="put it into a list"):
            runai.watch_fleet(ids[0])
        with pytest.raises(ValueError, match="workload_id must be a UUID"):
            runai.watch_fleet(["x"])
        with pytest.raises(ValueError, match="rate_limit must be a positive number"):
            runai.watch_fleet(ids, rate_limit=0)
