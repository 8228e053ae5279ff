"""Whether hints are trusted, over a simulated control plane and over rows that say anything at all."""

import heapq
import math
from bisect import bisect
from random import Random
from typing import Any, Literal
from uuid import UUID

import hypothesis.strategies as st
import pytest
from attrs import define, evolve, field, frozen
from hypothesis import example, given, settings

from runai_async._fleet.hints import Hints, HintState
from runai_async._fleet.schedule import next_slot
from runai_async._fleet.spread import offset_of

Rows = Literal["follow", "silent", "noisy"]


@frozen
class Setting:
    """A fleet and its control plane, with changes at random times.

    Attributes:
        rows: what the rows of the list say.
        view: seconds between refreshes of what lists are read from; 0 for the present.
        silent_from: when rows cease to change.
        between: mean seconds between two changes of one workload.
        seconds: for how long there are changes.
    """

    rows: Rows = "follow"
    view: float = 0.0
    silent_from: float = math.inf
    workloads: int = 60
    interval: float = 10.0
    discovery: float = 5.0
    relaxed: float | None = None
    between: float = 100.0
    seconds: float = 2000.0
    seed: int = 1


@define
class Simulation:
    """Runs a setting, event by event."""

    setting: Setting
    hints: Hints = field(init=False)
    states: list[HintState] = field(factory=list)
    polls: int = 0
    delays: list[float] = field(factory=list)
    _seen: dict[str, int] = field(factory=dict)
    _rows: dict[str, object] = field(factory=dict)
    _due: dict[str, float] = field(factory=dict)
    _changes: dict[str, list[float]] = field(factory=dict)
    _events: list[tuple[float, str]] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.hints = Hints(relaxes=self.setting.relaxed is not None)
        random = Random(self.setting.seed)
        for _ in range(self.setting.workloads):
            key = str(UUID(int=random.getrandbits(128), version=4))
            self._changes[key] = self._times(random)
            self._plan(key, 0.0)
        heapq.heappush(self._events, (0.0, ""))

    def _times(self, random: Random) -> list[float]:
        times, now = [], 0.0
        while now < self.setting.seconds:
            now += random.expovariate(1 / self.setting.between)
            times.append(now)
        return times

    def _interval(self, key: str) -> float:
        relaxed = self.setting.relaxed
        return relaxed if relaxed is not None and self.hints.may_relax(key) else self.setting.interval

    def _plan(self, key: str, now: float) -> None:
        self._push(key, next_slot(offset_of(key), self._interval(key), now))

    def _push(self, key: str, due: float) -> None:
        self._due[key] = due
        heapq.heappush(self._events, (due, key))

    def run(self, until: float) -> HintState:
        while self._events[0][0] <= until:
            now, key = heapq.heappop(self._events)
            if not key:
                self._list(now)
            elif self._due[key] == now:
                self._poll(key, now)
        return self.hints.state

    def _row(self, key: str, now: float) -> object:
        setting = self.setting
        if setting.rows == "noisy":
            return now
        at = min(now, setting.silent_from)
        if setting.view:
            at = at // setting.view * setting.view
        return 0 if setting.rows == "silent" else bisect(self._changes[key], at)

    def _list(self, now: float) -> None:
        rows = {key: self._row(key, now) for key in self._changes}
        changed = [key for key in self._seen if self._rows[key] != rows[key]]
        self._rows = rows
        self.hints.choose_controls(frozenset(self._seen))
        for key in self.hints.listed(changed, now, now):
            self._push(key, now)
        self.states.append(self.hints.state)
        heapq.heappush(self._events, (now + self.setting.discovery, ""))

    def _poll(self, key: str, now: float) -> None:
        self.polls += 1
        seen, before = bisect(self._changes[key], now), self._seen.get(key)
        self._seen[key] = seen
        if before is not None:
            self.delays += [now - at for at in self._changes[key][before:seen]]
            relaxed = self.hints.may_relax(key)
            self.hints.polled(key, began=now, ended=now, found_change=seen > before, is_relaxed=relaxed)
        self._plan(key, now)


SEEDS = st.integers(0, 2**32)
POLICIES = st.sampled_from([(10.0, 5.0), (10.0, 10.0), (30.0, 5.0), (2.0, 5.0)])


@settings(max_examples=8)
@given(SEEDS, POLICIES, st.sampled_from([None, 60.0]))
def test_rows_that_follow_revisions_become_trusted_and_stay_so(
    seed: int, policy: tuple[float, float], relaxed: float | None
) -> None:
    simulation = Simulation(Setting(seed=seed, interval=policy[0], discovery=policy[1], relaxed=relaxed))
    assert simulation.run(1000) == "trusted"
    assert [state for state in simulation.states if state == "untrusted"] == []


@pytest.mark.parametrize(
    "setting",
    [
        pytest.param(Setting(rows="silent"), id="silent"),
        pytest.param(Setting(rows="noisy"), id="noisy"),
        pytest.param(Setting(rows="noisy", workloads=3, between=500), id="noisy and few"),
        pytest.param(Setting(rows="noisy", interval=60.0, between=300), id="noisy, polled rarely"),
        pytest.param(Setting(view=30.0), id="half a minute old"),
        pytest.param(Setting(view=15.0), id="a quarter of a minute old"),
        pytest.param(Setting(view=30.0, interval=30.0), id="half a minute old, polled rarely"),
        pytest.param(
            Setting(view=30.0, interval=60.0, workloads=300, seconds=900),
            id="half a minute old, polled more rarely",
        ),
        pytest.param(
            Setting(view=30.0, workloads=400, between=20.0, seconds=300), id="half a minute old, busy"
        ),
        pytest.param(Setting(view=30.0, interval=2.0), id="half a minute old, polled often"),
    ],
)
@settings(max_examples=6)
@given(seed=SEEDS, relaxed=st.sampled_from([None, 60.0]))
def test_rows_that_do_not_are_never_trusted(setting: Setting, seed: int, relaxed: float | None) -> None:
    simulation = Simulation(evolve(setting, seed=seed, relaxed=relaxed))
    simulation.run(setting.seconds)
    assert "trusted" not in simulation.states


@settings(max_examples=12)
@given(SEEDS, st.sampled_from([None, 60.0]), st.sampled_from(["silent", "noisy", "old"]))
@example(381, 60.0, "old")
def test_rows_that_cease_to_follow_lose_trust_within_a_hundred_changes(
    seed: int, relaxed: float | None, kind: str
) -> None:
    simulation = Simulation(Setting(seed=seed, relaxed=relaxed, workloads=200))
    assert simulation.run(1000) == "trusted"
    worse: dict[str, dict[str, Any]] = {
        "silent": {"silent_from": 1000.0},
        "noisy": {"rows": "noisy"},
        "old": {"view": 30.0},
    }
    simulation.setting = evolve(simulation.setting, **worse[kind])
    before, now = simulation.hints.changes_unhinted + simulation.hints.changes_hinted, 1000.0
    while simulation.hints.state == "trusted":
        now += 5
        simulation.run(now)
    after = simulation.hints.changes_unhinted + simulation.hints.changes_hinted
    # Of relaxed workloads nearly all count in a figure of their own.
    assert after - before <= (100 if relaxed is None else 150)


IDS = [str(UUID(int=number, version=4)) for number in range(40)]
CALLS = st.lists(
    st.one_of(
        st.tuples(st.just("list"), st.sets(st.sampled_from(IDS)), st.floats(0, 5)),
        st.tuples(st.just("poll"), st.sampled_from(IDS), st.booleans(), st.booleans()),
        st.tuples(st.just("fail"), st.floats(0.1, 30)),
        st.tuples(st.just("forget"), st.sampled_from(IDS)),
        st.tuples(st.just("wait"), st.floats(0, 20)),
    ),
    max_size=300,
)


@given(CALLS, st.booleans())
def test_whatever_rows_come_only_changed_workloads_are_due_and_memory_is_bounded(
    calls: list[tuple[Any, ...]], relaxes: bool
) -> None:
    hints, now, open_ids = Hints(relaxes=relaxes), 0.0, set()
    hints.choose_controls(frozenset(IDS))
    for name, *arguments in calls:
        now += 0.5
        match name, *arguments:
            case "list", changed, seconds:
                due = hints.listed(changed, now - seconds, now)
                assert set(due) == (changed if hints.state == "trusted" else set())
                assert len(due) == len(set(due))
                open_ids |= changed
            case "poll", key, found, relaxed:
                hints.polled(key, began=now - 0.7, ended=now, found_change=found, is_relaxed=relaxed)
                open_ids.add(key)
            case "fail", interval:
                hints.check_age(now, interval)
            case "forget", key:
                hints.forget(key)
                open_ids.discard(key)
            case "wait", seconds:
                now += seconds
            case _:
                raise AssertionError(name)
        assert len(hints) <= len(open_ids)
        if hints.changes_hinted + hints.changes_unhinted < 20:
            assert hints.state == "learning"
    for key in IDS:  # every verdict is given in the end, and nothing outlives it
        hints.polled(key, began=now + 10, ended=now + 10, found_change=False)
    hints.listed([], now + 20, now + 20)
    assert len(hints) == 0


def test_following_the_list_asks_less_and_reports_sooner() -> None:
    usual = Simulation(Setting(rows="silent", workloads=200, between=1000, seconds=12_000))
    hinted = Simulation(Setting(relaxed=60.0, workloads=200, between=1000, seconds=12_000))
    for simulation in (usual, hinted):
        simulation.run(2000)  # to learn
        simulation.polls = 0
        simulation.delays.clear()
        simulation.run(12_000)
    assert hinted.polls < 0.25 * usual.polls
    assert sum(hinted.delays) / len(hinted.delays) < 0.6 * sum(usual.delays) / len(usual.delays)
