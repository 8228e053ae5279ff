"""How many polls may come early because of hints."""

import math
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runai_async._api.endpoints import Call
from runai_async._fleet.capacity import Capacity
from runai_async._fleet.hinted import HintedPolls
from runai_async._fleet.member import Member
from runai_async._watch.tracker import Tracker

WORKLOAD_ID = "5b7ad5a4-4f2c-4c0a-b63b-{:012d}"


def member(number: int, due: float = 10.0) -> Member:
    call: Call[None] = Call("test", None, lambda _: None)  # type: ignore[arg-type]
    made = Member(Tracker(WORKLOAD_ID.format(number)), call, 10.0)  # type: ignore[arg-type]
    made.due = due
    return made


def begin(hinted: HintedPolls, now: float) -> Member:
    taken = hinted.pop(now)
    taken.due = None
    hinted.spend(taken, now)
    return taken


def test_a_poll_stands_for_the_next_slot_unless_an_earlier_one_does() -> None:
    hinted, one = HintedPolls(lambda: 10.0), member(1, due=8.0)
    hinted.ask(one, 2.0)
    assert (one.hinted_for, hinted.first_at()) == (2.0, 2.0)
    assert begin(hinted, 2.0) is one
    assert (one.slot, one.hinted_at, one.hinted_for) == (8.0, 2.0, None)
    one.due = 18.0
    hinted.ask(one, 5.0)
    assert hinted.first_at() == math.inf  # it has no slot to give
    assert (hinted.free_at(5.0, slot_waits=True), hinted.free_at(5.0, slot_waits=False)) == (math.inf, 5.0)
    begin(hinted, 5.0)
    assert one.slot == 8.0


def test_one_that_will_hardly_find_anything_waits_for_plenty() -> None:
    hinted = HintedPolls(lambda: 10.0)
    hinted.ask(member(1), 2.0, yields=True)
    assert hinted.first_at() == math.inf
    assert (hinted.free_at(5.0, slot_waits=True), hinted.free_at(5.0, slot_waits=False)) == (math.inf, 5.0)


def test_what_was_polled_in_its_slot_or_removed_is_no_longer_asked_for() -> None:
    hinted, one, other = HintedPolls(lambda: 10.0), member(1), member(2)
    for item in (one, other):
        hinted.ask(item, 2.0)
    hinted.spend(one, 1.0)
    other.removed, other.due = True, None
    assert hinted.free_at(3.0, slot_waits=False) == math.inf
    third = member(3)
    hinted.ask(third, 4.0)
    hinted.clear()
    assert hinted.free_at(5.0, slot_waits=False) == math.inf


@pytest.mark.parametrize("yields", [False, True])
def test_what_was_asked_for_before_is_not_kept(yields: bool) -> None:
    hinted, members = HintedPolls(lambda: 10.0), [member(number) for number in range(3)]
    for now in range(1000):
        for one in members:
            hinted.ask(one, float(now), yields=yields)
    assert len(hinted) < 50
    assert hinted.free_at(2000.0, slot_waits=False) == 2000.0
    assert {begin(hinted, 2000.0) for _ in members} == {*members}
    assert hinted.free_at(3000.0, slot_waits=False) == math.inf


@pytest.mark.parametrize(("rate", "burst"), [(0.1, 2), (10.0, 10), (500.0, 500)])
def test_at_most_the_polls_of_a_second_come_at_once_and_then_as_many_as_the_rate(
    rate: float, burst: int
) -> None:
    hinted, begun = HintedPolls(lambda: rate), 0
    for number in range(3 * burst):
        hinted.ask(member(number), 0.0)
    now = 0.0
    while (at := hinted.free_at(now, slot_waits=True)) < math.inf:
        now = at
        begun += 1
        begin(hinted, now)
        assert begun <= burst + rate * now + 1e-3
    assert begun == 3 * burst
    assert now == pytest.approx(2 * burst / rate)


@given(st.integers(0, 2**32))
def test_all_polls_together_stay_below_the_rate_whatever_is_asked_for(seed: int) -> None:
    random, now, hinted_polls, slots = Random(seed), 0.0, list[float](), 0
    hinted = HintedPolls(lambda: 5.0)
    members = [member(number, due=math.inf) for number in range(50)]  # 5 polls a second at 10 s each
    for _ in range(400):
        now += random.expovariate(20)
        someone = random.choice(members)
        someone.due = now + random.uniform(0.1, 20)
        if random.random() < 0.5:
            hinted.ask(someone, now + random.uniform(0, 1))
        if random.random() < 0.1:
            slots += 1
            hinted.spend(someone, now)
        if hinted.free_at(now, slot_waits=random.random() < 0.5) <= now:
            begin(hinted, now)
            hinted_polls.append(now)
    assert len(hinted_polls) <= 5 + 1 + 1.02 * 5 * now


@given(st.integers(1, 30), st.integers(0, 2**32))
@settings(max_examples=10, deadline=None)
def test_hinted_polls_that_find_nothing_add_two_percent_however_uneven_the_slots_are(
    workloads: int, seed: int
) -> None:
    random, extra = Random(seed), 0
    hinted, restless = HintedPolls(lambda: workloads / 10), member(99)
    offsets = [random.uniform(0, 10) for _ in range(workloads)]
    for now in sorted(offset + 10 * turn for offset in offsets for turn in range(50)):
        hinted.spend(member(1), now)
        hinted.ask(restless, now)  # whose slot it leaves alone
        if hinted.free_at(now, slot_waits=False) <= now:
            extra += 1
            begin(hinted, now)
            restless.due = now + 10
    owed = 2 + workloads / 4  # at the end, by the uneven slots
    assert extra <= max(2, workloads / 10) + owed + 0.02 * 50 * workloads


def test_without_workloads_nothing_is_free() -> None:
    hinted = HintedPolls(lambda: 0.0)
    hinted.ask(member(1), 0.0)
    assert hinted.free_at(1.0, slot_waits=False) == math.inf


def test_the_rate_of_a_relaxed_fleet_is_that_of_its_usual_intervals() -> None:
    capacity = Capacity(32, None)
    for interval in (60.0, 60.0, 10.0, 2.0):
        capacity.join(interval)
    assert capacity.rate_without(60.0, 10.0) == pytest.approx(0.1 * 3 + 0.5)
    assert capacity.rate_without(10.0, 10.0) == pytest.approx(2 / 60 + 0.1 + 0.5)
