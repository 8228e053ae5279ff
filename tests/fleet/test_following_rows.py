"""A fleet of a query follows the rows of its list: it polls early where they change, and else less often."""

import logging
import random
from collections import Counter
from itertools import pairwise
from random import Random
from statistics import median
from typing import Any

import pytest
from attrs import evolve
from support.fleets import controls_of, reading_of
from support.harness import HTML_502, REFUSED_403, REFUSED_404, Harness

from runai_async import (
    FleetEvent,
    FleetWatch,
    PhaseChanged,
    PollPolicy,
    RevisionAdded,
    RunaiClient,
    RunaiError,
)
from runai_async._watch.status import PollState
from runai_async.testing import Request, Response

POLICY = PollPolicy(interval=10, fast_interval=2, max_outage=60, missing_grace=20)
WON = "the list of workloads shows changes: "
LOST = "the rows of the list of workloads are not relied on any more: "


class Setting:
    """A fleet of a query, whose revisions alternate between two phases that may last for ever."""

    def __init__(self, workloads: int = 40, *, follow: Any = True) -> None:
        self.harness = Harness()
        state = self.harness.state
        state.delete_workload(self.harness.workload_id)
        state.random.seed(1)  # the same ids each time, so the same spread
        state.rows.follow = follow
        self.ids = [state.add_workload(f"llm-{n}", "Inference", {}) for n in range(workloads)]
        self.revisions = {key: self.harness.add("Running", workload_id=key) for key in self.ids}
        self.clock = self.harness.clock
        self._random = Random(1)
        self._turns: Counter[str] = Counter()

    def watch(self, runai: RunaiClient, **options: Any) -> FleetWatch:
        options = {"poll": POLICY, "discovery_interval": 2.0, **options}
        return runai.watch_fleet(runai.inference_workloads(), **options)

    def change(self, key: str) -> None:
        self._turns[key] += 1
        phase = ("Running", "Degraded")[self._turns[key] % 2]
        self.harness.set_phase(self.revisions[key], phase, running_pods=self._turns[key])

    def change_all(self, seconds: float, every: float = 0.5) -> None:
        """Let some workload change now and then."""
        start, n = self.clock.monotonic(), int(seconds / every)
        for turn in range(n):
            self.harness.at(start + turn * every, self.change, self._random.choice(self.ids))

    async def learn(self, fleet: FleetWatch, seconds: float = 100) -> list[FleetEvent]:
        self.change_all(seconds)
        return await self.harness.collect(fleet, seconds)

    def polls(self, start: float) -> int:
        return sum(at >= start for at in self.harness.times())

    def polls_of(self, key: str, start: float) -> list[float]:
        return [at for at in self.harness.times_of(key) if at >= start]


def state_of(fleet: FleetWatch) -> str:
    return fleet.status.hints


def polls_of(fleet: FleetWatch, key: str) -> PollState:
    return next(state for state in reading_of(fleet).polls if state.workload_id == key)


def delays(events: list[FleetEvent]) -> list[float]:
    """Return the seconds from each change to its event."""
    return [
        (event.observed_at - event.server_time).total_seconds()
        for event in events
        if isinstance(event, PhaseChanged) and event.server_time is not None
    ]


# --- trusted, or not ----------------------------------------------------------------------------------------


async def test_where_rows_follow_changes_are_found_by_the_next_listing_at_no_more_requests(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "runai_async")
    setting = Setting()
    async with setting.harness.client() as runai, setting.watch(runai) as fleet:
        states = [fleet.status.hints]
        slow = delays(await setting.learn(fleet))
        states.append(fleet.status.hints)
        began = setting.clock.monotonic()
        quick = delays(await setting.learn(fleet))
        assert setting.polls(began) <= 1.02 * 40 / 10 * 100 + 4  # those of a second may be left from before
        status = fleet.status
    assert states == ["learning", "trusted"]
    assert median(quick) < 2.5 < median(slow)
    assert max(quick) < 15
    assert status.changes_hinted > 100
    assert status.changes_unhinted <= 0.03 * status.changes_hinted
    assert [text for text in caplog.messages if text.startswith((WON, LOST))] == [
        WON + "where a row changes, the workload is polled early"
    ]


@pytest.mark.parametrize("follow", [False, "noisy"])
async def test_rows_that_say_nothing_or_anything_cost_and_delay_nothing(follow: Any) -> None:
    requests, found = list[list[tuple[float, str, str]]](), list[list[FleetEvent]]()
    for by_query in (True, False):
        setting = Setting(follow=follow)
        async with setting.harness.client() as runai:
            workloads: Any = runai.inference_workloads() if by_query else lambda ids=setting.ids: ids
            async with runai.watch_fleet(workloads, poll=POLICY, discovery_interval=2) as fleet:
                found.append(await setting.learn(fleet, 200))
                assert state_of(fleet) == ("untrusted" if by_query else "off")
        order = {key: n for n, key in enumerate(setting.ids)}
        requests.append([(at, kind, str(order.get(key))) for at, kind, key in setting.harness.requests])
    polls = [sum(kind != "workloads" for _, kind, _ in some) for some in requests]
    assert polls[0] <= 1.02 * polls[1]
    assert median(delays(found[0])) < 1.1 * median(delays(found[1]))


async def test_a_fleet_polls_as_without_a_query_until_rows_are_trusted() -> None:
    requests: list[list[tuple[float, str, str]]] = []
    for given in ("ids", "function", "query"):
        random.seed(1)  # for what is drawn in a failure streak
        setting = Setting(20)
        harness, ids = setting.harness, setting.ids
        harness.at(12, harness.by_id.__setitem__, ids[0], HTML_502)
        harness.at(59, harness.by_id.clear)
        harness.at(35, setting.change, ids[1])
        harness.at(41, harness.state.delete_revision, setting.revisions[ids[2]])
        async with harness.client() as runai:
            workloads: Any = {
                "ids": ids,
                "function": lambda ids=ids: ids,
                "query": runai.inference_workloads,
            }[given]
            async with runai.watch_fleet(workloads, poll=POLICY, discovery_interval=7) as fleet:
                await harness.collect(fleet, 120)
        requests.append([item for item in harness.requests if item[1] != "workloads"])
    assert requests[0] == requests[1] == requests[2]
    assert len(requests[0]) > 200


# --- a hinted poll ------------------------------------------------------------------------------------------


async def test_a_hinted_poll_keeps_its_distance_and_stands_for_the_next_slot() -> None:
    setting = Setting(workloads=200)
    async with setting.harness.client() as runai, setting.watch(runai) as fleet:
        await setting.learn(fleet)
        assert state_of(fleet) == "trusted"
        await setting.harness.collect(fleet, 30)
        began = setting.clock.monotonic()
        key = setting.ids[3]
        before = setting.polls_of(key, began - 10)[-1]
        for seconds in range(20):
            setting.harness.at(began + seconds, setting.change, key)
        await setting.harness.collect(fleet, 20)
        times = setting.polls_of(key, began)
        assert min(later - earlier for earlier, later in pairwise([before, *times])) >= 2
        await setting.harness.collect(fleet, 40)
        began = setting.clock.monotonic()
        slot = setting.polls_of(key, began - 10)[-1] + 10
        setting.harness.at(slot + 3, setting.change, key)
        await setting.harness.collect(fleet, 40)
        before, hinted, *rest = setting.polls_of(key, began)
        assert before == slot
        assert slot + 3 <= hinted <= slot + 5.1  # the next listing
        assert rest[:2] == pytest.approx([slot + 20, slot + 30])


async def test_all_polls_together_are_no_more_than_the_intervals_ask_for() -> None:
    setting = Setting(workloads=100)  # 10 polls a second
    async with setting.harness.client() as runai, setting.watch(runai) as fleet:
        await setting.learn(fleet)
        assert state_of(fleet) == "trusted"
        began = setting.clock.monotonic()
        for turn in range(6):
            for key in setting.ids:
                setting.harness.at(began + turn * 15, setting.change, key)
        await setting.harness.collect(fleet, 100)
        times = [at for at in setting.harness.times() if at >= began]
    assert len(times) <= 1.03 * 1000
    windows = [sum(start <= at < start + 10 for at in times) for start in times if start < began + 90]
    assert max(windows) <= 120  # one second's worth more, at most, and some rounding


async def test_rows_that_change_for_no_reason_cost_a_small_fleet_two_percent_at_most() -> None:
    setting, chance = Setting(workloads=20), Random(5)
    rows = setting.harness.state.workloads
    async with setting.harness.client() as runai, setting.watch(runai) as fleet:
        await setting.learn(fleet, 200)
        began = setting.clock.monotonic()
        for turn in range(200):
            setting.harness.at(began + 2 * turn, setting.change, chance.choice(setting.ids))
            for late in (0.5, 1.5):
                row = rows[chance.choice(setting.ids)]
                setting.harness.at(
                    began + 2 * turn + late, row.__setitem__, "phaseMessage", f"row {turn} {late}"
                )
        quick = delays(await setting.harness.collect(fleet, 400))
        assert state_of(fleet) == "trusted"
        assert setting.polls(began) <= 1.02 * 2 * 400 + 2
    assert max(quick) <= 12


async def test_a_hint_shortens_no_back_off_and_no_wait_that_the_server_asked_for() -> None:
    setting = Setting(workloads=60)
    random.seed(1)
    async with setting.harness.client() as runai, setting.watch(runai) as fleet:
        await setting.learn(fleet)
        assert state_of(fleet) == "trusted"
        began = setting.clock.monotonic()
        failing, busy = setting.ids[:2]
        setting.harness.by_id[failing] = HTML_502
        setting.harness.by_id[busy] = Response(
            429, {"Retry-After": "60"}, b'{"code": 429, "message": "too many"}'
        )
        for seconds in range(12, 58):
            setting.harness.at(began + seconds, setting.change, failing)
            setting.harness.at(began + seconds, setting.change, busy)
        await setting.harness.collect(fleet, 58)
        assert len(setting.polls_of(busy, began)) == 1
        assert len(setting.polls_of(failing, began)) <= 5


async def test_a_hint_that_comes_while_a_poll_is_in_flight_asks_for_another_one() -> None:
    setting = Setting(workloads=60)
    harness, key, send, changed = setting.harness, setting.ids[0], setting.harness.send, list[float]()

    async def late(request: Request, *, timeout: float, deadline: float) -> Response:
        """Change a revision behind the back of a response that takes its time."""
        response = await send(request, timeout=timeout, deadline=deadline)
        if request.url.path.endswith(f"{key}/revisions") and not changed:
            changed.append(setting.clock.monotonic())
            setting.change(key)
            await setting.clock.sleep(5)
        return response

    async with harness.client() as runai, setting.watch(runai) as fleet:
        await setting.learn(fleet)
        assert state_of(fleet) == "trusted"
        await harness.collect(fleet, 25)
        harness.send = late  # type: ignore[method-assign]
        (found,) = await harness.collect(fleet, 25)
        assert 5 <= delays([found])[0] < 5.5


@pytest.mark.parametrize("follow", [True, False])
async def test_a_workload_without_revisions_is_polled_when_its_row_changes(follow: bool) -> None:
    setting = Setting(workloads=12, follow=follow)  # trusted or not
    key, harness = setting.ids[0], setting.harness
    harness.state.delete_revision(setting.revisions[key])
    harness.by_id[key] = REFUSED_404
    async with harness.client() as runai, setting.watch(runai) as fleet:
        await harness.collect(fleet, 150)
        assert fleet.status.without_revisions == 1
        began = setting.clock.monotonic()
        last = setting.polls_of(key, 0)[-1]
        harness.at(began + 20, harness.by_id.clear)
        harness.at(began + 20, harness.state.workloads[key].update, {"phaseMessage": "rolling out"})
        harness.at(began + 20, lambda: harness.add("Running", workload_id=key))
        events = await harness.collect(fleet, 40)
        assert began + 40 < last + 300
        assert setting.polls_of(key, began)[0] <= began + 22
        assert [type(event) for event in events if event.workload_id == key] == [RevisionAdded]
        assert fleet.status.without_revisions == 0


async def test_a_workload_without_revisions_whose_row_always_changes_is_polled_less_and_less() -> None:
    setting = Setting(workloads=3, follow="noisy")
    key, harness = setting.ids[0], setting.harness
    harness.state.delete_revision(setting.revisions[key])
    harness.by_id[key] = REFUSED_404
    async with harness.client() as runai, setting.watch(runai) as fleet:
        await harness.collect(fleet, 60)
        assert fleet.status.without_revisions == 1
        began = setting.clock.monotonic()
        await harness.collect(fleet, 300)
        assert 4 <= len(setting.polls_of(key, began)) <= 7
        harness.state.rows.follow = True
        await harness.collect(fleet, 1000)
        for seconds in (0, 30):  # it was quiet for long enough
            began = setting.clock.monotonic()
            harness.state.workloads[key]["phaseMessage"] = f"rolling out {seconds}"
            await harness.collect(fleet, 20)
            assert len(setting.polls_of(key, began)) == 1


async def test_a_workload_without_revisions_waits_for_its_time_while_failing_ones_take_their_room() -> None:
    setting = Setting(workloads=3)
    harness, (bare, *failing) = setting.harness, setting.ids
    patient = evolve(POLICY, max_outage=None)
    harness.state.delete_revision(setting.revisions[bare])
    harness.by_id[bare] = REFUSED_404
    async with harness.client() as runai, setting.watch(runai, poll=patient, max_concurrency=4) as fleet:
        await harness.collect(fleet, 60)
        assert fleet.status.without_revisions == 1
        last = setting.polls_of(bare, 0)[-1]
        harness.by_id |= dict.fromkeys(failing, HTML_502)
        await harness.collect(fleet, 15)
        harness.by_id |= dict.fromkeys(failing)  # they hang
        while fleet.status.in_flight < 2:
            await harness.collect(fleet, 1)
        harness.state.workloads[bare]["phaseMessage"] = "rolling out"
        await harness.collect(fleet, 5)
        assert fleet.status.in_flight == 2
        assert setting.polls_of(bare, 0)[-1] == last
        await harness.collect(fleet, 60)  # until they time out
        assert last < setting.polls_of(bare, 0)[-1] < last + 300


# --- relaxed ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("relaxed", [9.9, 0, -1, float("inf"), "60"])
async def test_a_relaxed_interval_below_the_usual_one_is_an_error_that_names_both(relaxed: Any) -> None:
    async with Harness().client() as runai:
        message = r"relaxed_interval must be (at least 10|a number)"
        with pytest.raises((ValueError, TypeError), match=message):
            runai.watch_fleet(runai.inference_workloads, relaxed_interval=relaxed)


async def test_a_relaxed_interval_requires_a_query() -> None:
    setting = Setting(workloads=2)
    async with setting.harness.client() as runai:
        others: list[Any] = [[], runai.list_workloads, lambda: setting.ids]
        for given in others:
            with pytest.raises(ValueError, match="relaxed_interval requires a query"):
                runai.watch_fleet(given, relaxed_interval=60)


async def test_a_relaxed_interval_that_is_the_usual_one_is_as_none() -> None:
    setting = Setting(workloads=40)
    async with setting.harness.client() as runai, setting.watch(runai, relaxed_interval=10) as fleet:
        await setting.learn(fleet)
        assert state_of(fleet) == "trusted"


async def test_a_query_of_another_client_is_an_error_and_one_of_a_copy_is_not() -> None:
    setting = Setting(workloads=2)
    async with setting.harness.client() as runai, Harness().client() as other:
        theirs, copy = other.inference_workloads(), runai.with_options(timeout=3)
        given: list[Any] = [theirs, other.inference_workloads]
        for query in given:
            with pytest.raises(ValueError, match="the query is of another client"):
                runai.watch_fleet(query)
        with pytest.raises(RunaiError, match="the query is of another client"):
            async with runai.watch_fleet(lambda: theirs, poll=POLICY) as fleet:
                await setting.harness.collect(fleet, 5)
        async with runai.watch_fleet(copy.inference_workloads, poll=POLICY) as fleet:
            await setting.harness.collect(fleet, 5)
            assert len(fleet.workload_ids) == 2


async def test_a_relaxed_fleet_asks_for_less_and_finds_changes_sooner() -> None:
    setting = Setting(workloads=100)
    async with setting.harness.client() as runai, setting.watch(runai, relaxed_interval=60) as fleet:
        await setting.learn(fleet)
        assert state_of(fleet) == "trusted"
        await setting.harness.collect(fleet, 60)
        began = setting.clock.monotonic()
        setting.change_all(200, every=5)
        quick = delays(await setting.harness.collect(fleet, 200))
        assert not fleet.status.stale
        oldest = fleet.status.oldest_success_at
        assert oldest is not None
        assert 10 < (setting.clock.now() - oldest).total_seconds() <= 60.1
        polls = Counter(key for at, kind, key in setting.harness.requests if kind == "list" and at >= began)
    assert len(quick) == 40
    assert max(quick) < 4.5
    assert median(quick) < 2.5
    controls = controls_of(setting.ids)
    assert all(polls[key] >= 20 for key in controls)
    others = [polls[key] for key in setting.ids if key not in controls]
    assert sum(others) <= len(others) * 200 / 60 + 2 * len(quick)
    assert min(others) >= 2


async def test_a_relaxed_workload_is_up_until_its_polls_have_failed_for_three_relaxed_intervals() -> None:
    setting = Setting(workloads=12)
    brief = evolve(POLICY, deadline=5, max_outage=900)
    async with (
        setting.harness.client() as runai,
        setting.watch(runai, relaxed_interval=60, poll=brief) as fleet,
    ):
        await setting.learn(fleet, 200)
        await setting.harness.collect(fleet, 120)
        key = next(key for key in setting.ids if key not in controls_of(setting.ids))
        began = setting.clock.monotonic()
        setting.harness.by_id[key] = HTML_502
        while not setting.polls_of(key, began):
            await setting.harness.collect(fleet, 1)
        assert polls_of(fleet, key).is_up
        await setting.harness.collect(fleet, 185)
        assert not polls_of(fleet, key).is_up
        setting.harness.by_id.clear()
        while not polls_of(fleet, key).is_up:
            await setting.harness.collect(fleet, 1)
        setting.harness.by_id[key] = HTML_502
        await setting.harness.collect(fleet, 185)
        assert not polls_of(fleet, key).is_up


async def test_a_relaxed_fleet_is_stale_as_soon_as_any_other() -> None:
    setting = Setting(workloads=40)
    brief = evolve(POLICY, deadline=5, max_outage=900)
    async with (
        setting.harness.client() as runai,
        setting.watch(runai, relaxed_interval=60, poll=brief) as fleet,
    ):
        await setting.learn(fleet)
        await setting.harness.collect(fleet, 120)
        assert not fleet.status.stale
        setting.harness.lists = HTML_502
        await setting.harness.collect(fleet, 40)
        assert state_of(fleet) == "trusted"
        assert fleet.status.stale
        contact = reading_of(fleet).contact
        assert contact is not None
        assert contact.stale_after == 35


async def test_where_rows_cease_to_follow_the_usual_interval_is_back_without_a_spike(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "runai_async")
    setting = Setting(workloads=100)
    async with setting.harness.client() as runai, setting.watch(runai, relaxed_interval=60) as fleet:
        await setting.learn(fleet)
        assert state_of(fleet) == "trusted"
        setting.harness.state.rows.follow = False
        await setting.learn(fleet, 300)
        assert state_of(fleet) == "untrusted"
        await setting.harness.collect(fleet, 60)
        began = setting.clock.monotonic()
        await setting.harness.collect(fleet, 100)
        assert 980 <= setting.polls(began) <= 1020
        times = setting.harness.times()
    seconds = Counter(int(at) for at in times if at > 20)
    assert max(seconds.values()) <= 25
    assert [text.startswith(LOST) for text in caplog.messages if text.startswith((WON, LOST))] == [
        False,
        True,
    ]


@pytest.mark.parametrize("workloads", [8, 12, 20])
async def test_a_small_fleet_notices_that_rows_cease_to_follow(workloads: int) -> None:
    setting = Setting(workloads)
    async with setting.harness.client() as runai, setting.watch(runai, relaxed_interval=60) as fleet:
        await setting.learn(fleet, 200)
        assert state_of(fleet) == "trusted"
        setting.harness.state.rows.follow = False
        setting.change_all(300, every=20)
        await setting.harness.collect(fleet, 300)
        assert state_of(fleet) == "untrusted"


async def test_a_fleet_of_five_is_not_relaxed() -> None:
    setting = Setting(workloads=5)
    async with setting.harness.client() as runai, setting.watch(runai, relaxed_interval=60) as fleet:
        await setting.learn(fleet, 200)
        assert state_of(fleet) == "trusted"
        began = setting.clock.monotonic()
        await setting.harness.collect(fleet, 100)
        assert setting.polls(began) >= 50


async def test_a_control_whose_poll_fails_is_not_relaxed_when_the_next_one_succeeds() -> None:
    setting = Setting(workloads=60)
    async with setting.harness.client() as runai, setting.watch(runai, relaxed_interval=300) as fleet:
        await setting.learn(fleet)
        await setting.harness.collect(fleet, 100)
        assert state_of(fleet) == "trusted"
        control = min(controls_of(setting.ids))
        setting.harness.by_id[control] = HTML_502
        await setting.harness.collect(fleet, 10)
        setting.harness.by_id.clear()
        began = setting.clock.monotonic()
        await setting.harness.collect(fleet, 100)
        assert len(setting.polls_of(control, began)) >= 10


async def test_after_an_outage_of_all_polls_the_controls_are_the_same() -> None:
    setting = Setting(workloads=60)
    async with setting.harness.client() as runai, setting.watch(runai, relaxed_interval=300) as fleet:
        await setting.learn(fleet)
        await setting.harness.collect(fleet, 100)
        assert state_of(fleet) == "trusted"
        setting.harness.lists = HTML_502
        await setting.harness.collect(fleet, 25)
        setting.harness.lists = True
        await setting.harness.collect(fleet, 25)
        assert state_of(fleet) == "trusted"
        began = setting.clock.monotonic()
        await setting.harness.collect(fleet, 100)
        polls = {len(setting.polls_of(key, began)) for key in controls_of(setting.ids)}
        assert polls == {10}


async def test_a_control_that_fails_for_good_gives_its_place_to_another() -> None:
    setting = Setting(workloads=30)
    async with setting.harness.client() as runai, setting.watch(runai, relaxed_interval=60) as fleet:
        await setting.learn(fleet, 200)
        assert state_of(fleet) == "trusted"
        before = controls_of(setting.ids)
        setting.harness.by_id = dict.fromkeys(before, REFUSED_403)
        await setting.harness.collect(fleet, 200)
        assert state_of(fleet) == "trusted"
        began = setting.clock.monotonic()
        await setting.harness.collect(fleet, 100)
        after = controls_of(set(setting.ids) - before)
        assert {len(setting.polls_of(key, began)) for key in after} == {10}


async def test_listings_that_fail_for_long_end_the_relaxation(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "runai_async")
    setting = Setting(workloads=100)
    async with setting.harness.client() as runai, setting.watch(runai, relaxed_interval=60) as fleet:
        await setting.learn(fleet)
        await setting.harness.collect(fleet, 60)
        assert state_of(fleet) == "trusted"
        setting.harness.listings = HTML_502
        await setting.harness.collect(fleet, 70)
        assert state_of(fleet) == "untrusted"
        began = setting.clock.monotonic()
        await setting.harness.collect(fleet, 50)
        assert 490 <= setting.polls(began) <= 510
    assert [text for text in caplog.messages if text.startswith(LOST)] == [LOST + "it cannot be read"]


async def test_a_listing_that_hangs_ends_the_relaxation_as_one_that_fails() -> None:
    setting = Setting(workloads=100)
    async with setting.harness.client() as runai, setting.watch(runai, relaxed_interval=60) as fleet:
        await setting.learn(fleet)
        await setting.harness.collect(fleet, 60)
        assert state_of(fleet) == "trusted"
        setting.harness.listings = None
        await setting.harness.collect(fleet, 10)
        assert state_of(fleet) == "untrusted"
        await setting.harness.collect(fleet, 60)
        began = setting.clock.monotonic()
        await setting.harness.collect(fleet, 50)
        assert 490 <= setting.polls(began) <= 510


async def test_while_many_polls_fail_nobody_is_polled_more_often() -> None:
    setting = Setting(workloads=100)
    patient = evolve(POLICY, max_outage=None)
    async with (
        setting.harness.client() as runai,
        setting.watch(runai, relaxed_interval=60, poll=patient) as fleet,
    ):
        await setting.learn(fleet)
        await setting.harness.collect(fleet, 60)
        assert state_of(fleet) == "trusted"
        setting.harness.listings = HTML_502
        for key in setting.ids[::4]:
            setting.harness.by_id[key] = HTML_502
        began = setting.clock.monotonic()
        await setting.harness.collect(fleet, 200)
        healthy = next(
            key for n, key in enumerate(setting.ids) if n % 4 and key not in controls_of(setting.ids)
        )
        assert len(setting.polls_of(healthy, began + 60)) <= 3
        setting.harness.by_id.clear()
        await setting.harness.collect(fleet, 120)
        began = setting.clock.monotonic()
        await setting.harness.collect(fleet, 50)
        assert len(setting.polls_of(healthy, began)) == 5


@pytest.mark.parametrize(("reply", "seconds"), [(REFUSED_403, 120), (HTML_502, 1060)])
async def test_some_that_fail_for_long_keep_nobody_relaxed(reply: Response, seconds: float) -> None:
    setting = Setting(workloads=20)
    patient = evolve(POLICY, max_outage=None)
    async with (
        setting.harness.client() as runai,
        setting.watch(runai, relaxed_interval=60, poll=patient, discovery_interval=10) as fleet,
    ):
        await setting.learn(fleet, 200)
        assert state_of(fleet) == "trusted"
        setting.harness.listings = HTML_502
        for key in setting.ids[::3]:
            setting.harness.by_id[key] = reply
        await setting.harness.collect(fleet, seconds)
        assert state_of(fleet) == "untrusted"
        began = setting.clock.monotonic()
        await setting.harness.collect(fleet, 50)
        healthy = [key for n, key in enumerate(setting.ids) if n % 3]
        assert {len(setting.polls_of(key, began)) for key in healthy} == {5}


async def test_a_deletion_is_confirmed_as_soon_as_in_a_fleet_that_is_not_relaxed() -> None:
    setting = Setting(workloads=100)
    async with setting.harness.client() as runai, setting.watch(runai, relaxed_interval=60) as fleet:
        await setting.learn(fleet)
        await setting.harness.collect(fleet, 60)
        keys = [key for key in setting.ids if key not in controls_of(setting.ids)][:5]
        for key in keys:
            setting.harness.state.delete_workload(key)
        events = await setting.harness.collect(fleet, 60)
        assert sorted(event.workload_id for event in events) == sorted(keys)
        assert {event.kind for event in events} == {"deleted"}
        await setting.harness.collect(fleet, 60)
        assert fleet.workload_ids == set(setting.ids) - set(keys)


async def test_what_is_known_but_has_not_joined_yet_is_expected() -> None:
    setting = Setting(workloads=3)
    async with setting.harness.client() as runai:
        async with setting.watch(runai) as fleet:
            await setting.harness.collect(fleet, 15)
            saved = fleet.checkpoint()
        assert (fleet.status.watched, fleet.status.expected) == (3, 3)
        setting.harness.listings = HTML_502
        async with setting.watch(runai, resume_from=saved) as fleet:
            await setting.harness.collect(fleet, 5)
            assert (fleet.status.watched, fleet.status.expected) == (0, 3)


async def test_what_was_added_by_its_id_says_nothing_of_rows() -> None:
    setting = Setting()
    added = setting.harness.state.add_workload("job", "Training", {})
    revision_id = setting.harness.add("Running", workload_id=added)
    async with setting.harness.client() as runai, setting.watch(runai, relaxed_interval=60) as fleet:
        fleet.add(added)
        await setting.learn(fleet)
        began = setting.clock.monotonic()
        for seconds in range(1, 100, 12):
            phase = ("Degraded", "Running")[seconds // 12 % 2]
            setting.harness.at(
                began + seconds, lambda phase=phase: setting.harness.set_phase(revision_id, phase)
            )
        events = await setting.harness.collect(fleet, 110)
        assert sum(event.workload_id == added for event in events) == 9
        assert fleet.status.changes_unhinted <= 2
        assert state_of(fleet) == "trusted"
        assert len(setting.polls_of(added, began)) == 11
