"""The first polls of a fleet come soon, along the spread, and only where polls succeed."""

import logging
import random
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from support.fleets import POLICY, UNKNOWN_ID, of_size, per_second
from support.harness import HTML_502, REFUSED_401, Harness

from runai_async import FleetCheckpoint, PollPolicy
from runai_async._fleet.first_pass import FirstPass, first_due, is_overdue, span_of
from runai_async._fleet.schedule import Schedule, next_slot
from runai_async._fleet.spread import offset_of
from runai_async.testing import Response

FULL_SECOND = 2 * 30
"""More than the polls of 300 workloads at 10 s in one second ever are by chance; a burst has all 300."""
SLOW = PollPolicy(interval=60, fast_interval=60)
BUSY_429 = Response(429, {"Retry-After": "20"}, b'{"code": 429, "message": "too busy"}')


def first_times(harness: Harness) -> dict[str, float]:
    """Return when each workload was polled first."""
    first: dict[str, float] = {}
    for at, _, key in harness.requests:
        first.setdefault(key, at)
    return first


# --- pure ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "interval", "span"), [(1, 60, 0.005), (200, 60, 1), (3000, 60, 15), (5000, 10, 10)]
)
def test_first_polls_come_at_200_a_second_and_take_no_longer_than_an_interval(
    count: int, interval: float, span: float
) -> None:
    assert span_of(count, interval) == span


def test_first_polls_are_in_the_order_of_the_slots() -> None:
    slots = [next_slot(n / 10, 60, 1000) for n in range(10)]
    dues = [first_due(slot, 60, 2, 1000, 1000) for slot in slots]
    assert [due for _, due in sorted(zip(slots, dues, strict=True))] == sorted(dues)
    assert 1000 < min(dues) < max(dues) <= 1002


def test_a_first_poll_that_is_late_by_its_own_slot_is_late_like_any_other() -> None:
    assert not is_overdue(10, 10.9)
    assert is_overdue(10, 11.1)


def test_ten_failed_polls_of_twenty_end_a_first_pass_and_eleven_successes_allow_the_next() -> None:
    first_pass = FirstPass()
    ends = list[bool]()
    for _ in range(11):
        first_pass.succeeded()
        ends.append(first_pass.failed())
    assert ends == [False] * 9 + [True, False]
    assert first_pass.is_over
    for _ in range(2):
        first_pass.succeeded()
    assert not first_pass.is_over


def test_four_failed_polls_of_ten_do_not_end_a_first_pass() -> None:
    first_pass = FirstPass()
    for turn in range(100):
        if turn % 5 in (0, 2):
            assert not first_pass.failed()
        else:
            first_pass.succeeded()
    assert not first_pass.is_over


# --- what a fleet begins with -------------------------------------------------------------------------------


@pytest.mark.parametrize("start", ["ids", "function", "listing"])
async def test_whatever_a_fleet_begins_with_is_polled_within_a_second(start: str) -> None:
    harness, ids, _ = of_size(50)
    async with harness.client() as runai:
        workloads: Any = {"ids": ids, "function": lambda: ids, "listing": runai.inference_workloads}[start]
        async with runai.watch_fleet(workloads, poll=SLOW) as fleet:
            events = await harness.collect(fleet, 1)

    assert {event.workload_id for event in events} == set(ids)


async def test_many_are_polled_at_200_a_second_in_the_order_of_the_spread() -> None:
    harness, ids, _ = of_size(1000)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=SLOW) as fleet:
        await harness.collect(fleet, 30)

    first = first_times(harness)
    assert len(first) == len(harness.requests) == 1000
    assert max(first.values()) <= 5.001
    assert all(150 <= count <= 250 for count in per_second([*first.values()], 0, 5))
    assert sorted(ids, key=first.__getitem__) == sorted(ids, key=offset_of)


async def test_a_first_poll_stands_for_the_next_slot_and_the_spread_is_the_usual_one_afterwards() -> None:
    harness, ids, _ = of_size(100)
    async with harness.client() as runai:
        await harness.clock.advance(12345.6)
        async with runai.watch_fleet(ids, poll=SLOW) as fleet:
            await harness.collect(fleet, 300)

    for key in ids:
        first, *others = harness.times_of(key)
        assert first <= 12346.6
        assert 60 <= others[0] - first < 120
        assert all(at / 60 % 1 == pytest.approx(offset_of(key), abs=1e-6) for at in others)
        assert all(later - earlier == pytest.approx(60) for earlier, later in pairwise(others))


async def test_a_workload_in_transition_is_polled_fast_after_its_first_poll() -> None:
    harness, ids, _ = of_size(1, "Pending")
    policy = PollPolicy(interval=60, fast_interval=2)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=policy) as fleet:
        await harness.collect(fleet, 20)

    first, second, *_ = harness.times()
    assert first <= 1
    assert 1 <= second - first <= 3


async def test_a_fleet_that_resumes_has_its_first_polls_as_soon() -> None:
    harness, ids, _ = of_size(50)
    async with harness.client() as runai:
        async with runai.watch_fleet(ids, poll=SLOW) as fleet:
            await harness.collect(fleet, 70)
            saved = FleetCheckpoint.from_json(fleet.checkpoint().to_json())
        harness.requests.clear()
        async with runai.watch_fleet(lambda: ids, poll=SLOW, resume_from=saved) as fleet:
            assert await harness.collect(fleet, 1) == []

    assert {key for _, _, key in harness.requests} == set(ids)


@pytest.mark.parametrize("count", [1000, pytest.param(5000, marks=pytest.mark.slow)])
async def test_the_same_spread_follows_every_restart(count: int) -> None:
    harness, ids, _ = of_size(count)
    async with harness.client() as runai:
        for start in (0, 130):
            async with runai.watch_fleet(ids, poll=SLOW) as fleet:
                await harness.collect(fleet, 130)
            first = per_second(harness.times(), start, start + count // 200)
            second = per_second(harness.times(), start + 60, start + 120)
            assert sum(first) == sum(second) == count
            assert max(first) <= 1.3 * 200
            assert max(second) <= 1.5 * count / 60 + 10
    before = {key: at % 60 for at, _, key in harness.requests if at < 130}
    after = {key: at % 60 for at, _, key in harness.requests}
    assert after == pytest.approx(before)


# --- what joins later ---------------------------------------------------------------------------------------


async def test_what_is_added_later_has_the_same_bound() -> None:
    harness, ids, _ = of_size(50)
    async with harness.client() as runai, runai.watch_fleet(ids[:1], poll=SLOW) as fleet:
        await harness.collect(fleet, 100)
        for key in ids[1:]:
            fleet.add(key)
        fleet.remove(ids[49])
        events = await harness.collect(fleet, 1)
        assert fleet.status.lag == 0

    assert {event.workload_id for event in events} == set(ids[1:49])


async def test_what_is_removed_at_once_is_not_polled() -> None:
    harness, ids, _ = of_size(1)
    async with harness.client() as runai, runai.watch_fleet([], poll=SLOW) as fleet:
        await harness.collect(fleet, 1)
        fleet.add(ids[0])
        fleet.remove(ids[0])
        assert await harness.collect(fleet, 100) == []
    assert harness.requests == []


async def test_many_that_join_together_are_spread_by_their_number() -> None:
    harness, ids, _ = of_size(1000)
    listed: list[str] = ids[:1]
    async with (
        harness.client() as runai,
        runai.watch_fleet(lambda: listed, poll=SLOW, discovery_interval=10) as fleet,
    ):
        await harness.collect(fleet, 95)
        listed = ids
        await harness.collect(fleet, 30)

    counts = per_second([*first_times(harness).values()], 100, 105)
    assert sum(counts) == 999
    assert max(counts) <= 250


# --- failures -----------------------------------------------------------------------------------------------


async def test_where_nothing_succeeds_ten_polls_end_the_first_pass() -> None:
    random.seed(1)
    harness, ids, _ = of_size(300)
    harness.lists = HTML_502
    harness.at(35, lambda: setattr(harness, "lists", True))
    policy = PollPolicy(interval=10, fast_interval=10)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=policy) as fleet:
        events = await harness.collect(fleet, 90)
        assert (fleet.status.failing, fleet.status.lag) == (0, 0)

    counts = per_second(harness.times(), 0, 90)
    assert 10 <= counts[0] <= 10 + 1.6 * 30
    assert max(counts[1:]) <= 1.6 * 30
    tens = [sum(counts[at : at + 10]) for at in range(80)]
    assert tens[0] <= 310  # those ten are polled in their slots as well
    assert max(tens) <= 1.1 * 300
    assert len(events) == 300


async def test_where_half_of_the_polls_fail_the_first_pass_ends() -> None:
    harness, ids, _ = of_size(200, seed=1)
    harness.by_id = dict.fromkeys(sorted(ids, key=offset_of)[::2], HTML_502)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        await harness.collect(fleet, 9.9)
    assert len(harness.times()) <= 1.02 * 200 + 10  # and those ten again, in their slots


async def test_many_that_are_added_one_by_one_are_polled_at_200_a_second_too() -> None:
    harness, ids, _ = of_size(1000)
    async with harness.client() as runai, runai.watch_fleet([], poll=SLOW) as fleet:
        for key in ids:
            fleet.add(key)
            await harness.clock.advance(0.001)
        await harness.collect(fleet, 30)

    first = [*first_times(harness).values()]
    assert len(first) == 1000
    assert max(first) <= 5.1
    assert max(per_second(first, 0, 6)) <= 250  # some are polled in their slots, which come before


async def test_what_is_added_behind_very_many_waits_no_longer_than_for_its_slot() -> None:
    harness, ids, _ = of_size(1010, seed=1)
    async with harness.client() as runai, runai.watch_fleet(ids[:1000], poll=POLICY) as fleet:
        await harness.collect(fleet, 1)
        for key in ids[1000:]:
            fleet.add(key)
        await harness.collect(fleet, 20)

    first = first_times(harness)
    for key in ids[1000:]:
        assert first[key] <= min(5.1, next_slot(offset_of(key), 10, 1)) + 0.1


async def test_what_joins_in_an_outage_waits_for_its_slot() -> None:
    harness, ids, _ = of_size(100)
    harness.at(100, lambda: setattr(harness, "lists", HTML_502))
    async with harness.client() as runai, runai.watch_fleet(ids[:50], poll=SLOW) as fleet:
        await harness.collect(fleet, 120)
        for key in ids[50:]:
            fleet.add(key)
        await harness.collect(fleet, 2)
        assert len({key for _, _, key in harness.requests} & set(ids[50:])) < 10
        harness.lists = True
        await harness.collect(fleet, 60)

    assert set(first_times(harness)) == set(ids)


@pytest.mark.parametrize("reply", [REFUSED_401, BUSY_429], ids=["401", "429"])
async def test_a_pause_of_the_whole_fleet_ends_the_first_pass(reply: Response) -> None:
    harness, ids, _ = of_size(300, seed=1)
    harness.next_lists.extend([reply] * 3)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=SLOW) as fleet:
        events = await harness.collect(fleet, 100)

    assert {event.workload_id for event in events} == set(ids)
    assert max(per_second(harness.times(), 0, 100)) <= 20


async def test_polls_that_hang_from_the_beginning_cause_no_burst_afterwards() -> None:
    harness, ids, _ = of_size(300)
    harness.lists = None
    harness.at(30, lambda: setattr(harness, "lists", True))
    policy = PollPolicy(interval=10, fast_interval=10, deadline=20)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=policy) as fleet:
        await harness.collect(fleet, 100)

    assert max(per_second(harness.times(), 1, 100)) <= FULL_SECOND
    assert set(first_times(harness)) == set(ids)


async def test_a_consumer_that_comes_late_is_not_followed_by_a_burst() -> None:
    harness, ids, _ = of_size(300)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY, buffer=10) as fleet:
        await harness.clock.advance(34)
        await harness.collect(fleet, 60)

    assert max(per_second(harness.times(), 34, 94)) <= FULL_SECOND


def test_turns_begin_anew_after_a_pause_that_nobody_noticed() -> None:
    class Workload:
        due: float | None = None

    def plan(item: Workload, due: float) -> None:
        item.due = due
        schedule.push(due, item)

    schedule, one, two = Schedule[Workload](), Workload(), Workload()
    assert schedule.peek(100) == float("inf")
    plan(one, 10)
    plan(two, 10.5)
    schedule.note_pause(100)
    assert schedule.peek(100) == 100
    schedule.pop(100)
    assert 100.4 < schedule.peek(100) < 100.5
    schedule.note_pause(9)  # nothing is late
    assert 100.4 < schedule.peek(100) < 100.5


# --- limits -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "limits", [{"max_concurrency": 4}, {"rate_limit": 8.0}, {"buffer": 1}], ids=lambda limits: str(*limits)
)
async def test_limits_delay_a_first_pass_and_are_no_reason_for_a_warning(
    limits: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "runai_async")
    harness, ids, _ = of_size(300)
    harness.latency = 0.5
    async with harness.client() as runai, runai.watch_fleet(ids, poll=SLOW, **limits) as fleet:
        lags = []
        for _ in range(120):
            await harness.collect(fleet, 1)
            lags.append(fleet.status.lag)
        assert fleet.status.concurrency_needed == pytest.approx(2.5)

    assert set(first_times(harness)) == set(ids)
    assert max(lags) <= 1
    assert [item for item in caplog.records if item.name == "runai_async"] == []


async def test_a_first_pass_that_is_slow_because_of_its_rate_says_nothing_about_the_capacity() -> None:
    harness, ids, _ = of_size(300)
    harness.latency = 5
    harness.at(10, lambda: setattr(harness, "latency", 0.1))
    async with harness.client() as runai, runai.watch_fleet(ids, poll=SLOW, max_concurrency=300) as fleet:
        await harness.collect(fleet, 20)
        assert fleet.status.concurrency_needed == 0
        await harness.collect(fleet, 60)
        assert fleet.status.concurrency_needed == pytest.approx(0.5)


# --- how many are expected ----------------------------------------------------------------------------------


@pytest.mark.parametrize("listed", [lambda ids: ids, lambda ids: lambda: ids], ids=["ids", "function"])
async def test_what_is_expected_is_what_is_watched_and_what_a_checkpoint_still_brings(
    listed: Callable[[list[str]], Any],
) -> None:
    harness, ids, _ = of_size(3)
    async with harness.client() as runai:
        async with runai.watch_fleet([*ids, UNKNOWN_ID], poll=POLICY) as fleet:
            await harness.collect(fleet, 20)
            assert (fleet.status.watched, fleet.status.expected) == (4, 4)
            saved = fleet.checkpoint()
        workloads = listed(ids[:2])
        fleet = runai.watch_fleet(workloads, poll=POLICY, resume_from=saved, discovery_interval=30)
        assert (fleet.status.watched, fleet.status.expected) == (0, 4)
        async with fleet:
            await harness.collect(fleet, 1)
            given = not callable(workloads)
            assert (fleet.status.watched, fleet.status.expected) == (2, 2 if given else 4)
            await harness.collect(fleet, 40)
            assert fleet.status.watched == fleet.status.expected == (2 if given else 4)


async def test_nobody_is_forgotten_whose_first_poll_was_to_come_in_its_slot_when_the_hurry_ends() -> None:
    harness, ids, _ = of_size(400)
    harness.lists = HTML_502
    async with harness.client() as runai, runai.watch_fleet(ids[:200], poll=POLICY) as fleet:
        await harness.clock.advance(0.001)
        for key in ids[200:]:  # they wait for the others, and some for their slots
            fleet.add(key)
        await harness.clock.advance(1)
        harness.lists = True
        await harness.collect(fleet, 60)
        assert fleet.status.oldest_success_at is not None
