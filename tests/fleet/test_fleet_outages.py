"""Outages and pauses of a fleet: polling slows down, and recovers without a spike."""

import logging
import random
from collections import Counter
from itertools import pairwise
from random import Random
from typing import Any
from uuid import UUID

import pytest
from support.fleets import POLICY, of_size, per_second
from support.harness import HTML_502, Harness

from runai_async import PhaseChanged, PollPolicy
from runai_async._fleet.spread import offset_of


def evenly_spread(count: int) -> tuple[Harness, list[str]]:
    """Return a harness with so many workloads, each with its own part of the interval, and their ids.

    If polls are uneven then, it is the fleet that makes them so. Each workload has one revision, of the same
    id.
    """
    random, ids = Random(3), dict[int, str]()
    while len(ids) < count:
        key = str(UUID(int=random.getrandbits(128), version=4))
        ids.setdefault(int(offset_of(key) * count), key)
    harness = Harness()
    for key in ids.values():
        harness.add(workload_id=harness.state.add_workload(None, "Inference", {"id": key}), id=key)
    return harness, list(ids.values())


async def test_an_outage_of_a_minute_makes_no_second_and_no_ten_seconds_busier() -> None:
    random.seed(7)
    harness, ids = evenly_spread(300)
    harness.at(20, lambda: setattr(harness, "lists", HTML_502))
    for n, key in enumerate(ids[:50]):
        harness.at(30 + n, harness.set_phase, key, "Failed")
    harness.at(80, lambda: setattr(harness, "lists", True))
    policy = PollPolicy(interval=10, fast_interval=10)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=policy) as fleet:
        events = await harness.collect(fleet, 150)

    counts = per_second(harness.times(), 0, 150)
    assert counts[10:20] == [30] * 10
    assert max(counts[10:]) <= 1.25 * 30
    assert max(sum(counts[at : at + 10]) for at in range(140)) <= 1.05 * 300
    assert max(sum(counts[at : at + 10]) for at in range(40, 70)) < 0.9 * 300
    changes = [event.revision_id for event in events if isinstance(event, PhaseChanged)]
    assert sorted(changes) == sorted(ids[:50])


@pytest.mark.parametrize("pause", [34, pytest.param(39, marks=pytest.mark.slow)])
async def test_a_pause_is_caught_up_without_a_burst(pause: int) -> None:
    harness, ids = evenly_spread(200)
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
        times = harness.times_of(key)
        assert all(5 < later - earlier < 15 for earlier, later in pairwise(times) if earlier > pause)


@pytest.mark.parametrize("seconds", [8.0, pytest.param(0.5, marks=pytest.mark.slow)])
async def test_overdue_polls_after_a_standstill_run_at_little_more_than_the_usual_rate(
    seconds: float,
) -> None:
    harness, ids = evenly_spread(200)
    harness.at(20, lambda: setattr(harness, "latency", seconds))
    harness.at(20 + seconds, lambda: setattr(harness, "latency", 0.0))
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY, max_concurrency=1) as fleet:
        await harness.collect(fleet, 20 + seconds + 90)
        assert fleet.status.lag == 0

    counts = per_second(harness.times(), 20 + int(seconds) + 1, 20 + int(seconds) + 91)
    assert 20 < max(counts) <= 1.15 * 20
    assert counts[-10:-1] == [20] * 9


async def test_an_outage_in_which_all_polls_hung_is_followed_by_no_spike() -> None:
    harness, ids = evenly_spread(200)
    harness.at(20, lambda: setattr(harness, "lists", None))
    harness.at(80, lambda: setattr(harness, "lists", True))
    policy = PollPolicy(interval=10, fast_interval=10, deadline=5)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=policy, max_concurrency=5) as fleet:
        await harness.collect(fleet, 200)
        assert (fleet.status.failing, fleet.status.lag) == (0, 0)

    counts = per_second(harness.times(), 0, 200)
    assert sum(counts[20:80]) < 100  # so most were not polled at all
    assert max(counts[10:]) <= 1.25 * 20
    assert max(sum(counts[at : at + 10]) for at in range(190)) <= 1.15 * 200


async def test_after_a_pause_workloads_in_transition_do_not_wait_for_all_others() -> None:
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

    # Usually 20 of those in transition, and 5 of the others.
    assert max(per_second(harness.times(), 100, 160)) < 50
    for key in ids[:40]:
        times = [at for at in harness.times_of(key) if at >= 100]
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
        times = harness.times_of(key)
        assert all(later - earlier <= 30 + 2 / 2 + 1e-6 for earlier, later in pairwise(times))
        assert times[-1] > 120


@pytest.mark.parametrize(
    "limits",
    [
        {"rate_limit": 6.0},
        {"max_concurrency": 1},
        pytest.param({"max_concurrency": 2}, marks=pytest.mark.slow),
    ],
    ids=str,
)
async def test_limits_that_are_just_sufficient_do_not_make_a_fleet_fall_behind(
    limits: dict[str, Any],
) -> None:
    harness, ids, _ = of_size(50)
    harness.latency = 0.15
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY, **limits) as fleet:
        await harness.collect(fleet, 300)
        assert fleet.status.lag < 3

    assert len(harness.requests) >= 0.99 * 300 * 5


async def test_an_outage_lowers_the_rate_and_recovery_causes_no_spike(
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


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
async def test_after_an_outage_all_are_polled_once_within_an_interval_of_the_first_success(seed: int) -> None:
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
        assert len(polled) >= len(ids) - 1  # the first to succeed may be due again within the interval
        assert sum(polled.values()) <= len(ids) + 1


async def test_a_workload_returns_to_its_offset_without_an_extra_poll() -> None:
    harness, ids, _ = of_size(20)
    harness.at(20, lambda: setattr(harness, "lists", HTML_502))
    harness.at(31, lambda: setattr(harness, "lists", True))  # after one failure each: no back-off
    policy = PollPolicy(interval=10, fast_interval=10)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=policy) as fleet:
        await harness.collect(fleet, 60)
        assert fleet.status.failing == 0

    polls = Counter(key for at, _, key in harness.requests if 20 < at <= 60)
    assert set(polls.values()) <= {4, 5}


async def test_failing_workloads_back_off_even_while_others_succeed(
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
    assert abs(polled[False] - 10 * 40) <= 10  # a poll at either end may fall inside or outside
    assert polled[True] < 50 * 40 / 2
    assert caplog.records == []  # the control plane itself responds


async def test_a_workload_removed_while_it_waits_for_the_rate_limit_is_not_polled() -> None:
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


async def test_the_status_counts_failing_workloads_and_is_stale_when_none_succeeds() -> None:
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


async def test_a_fleet_is_not_stale_without_workloads_or_with_a_new_one() -> None:
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
