"""What else happens while a fleet pauses because its token is refused."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from attrs import evolve
from support.clocks import SocketlessClock
from support.fleets import of_size
from support.harness import HTML_502, REFUSED_401, Harness, Reply

from runai_async import PollPolicy, RevisionAdded
from runai_async._fleet.dispatch import Dispatcher
from runai_async._fleet.tasks import Tasks
from runai_async._watch.failures import NO_FAILURES
from runai_async.testing import Response

POLICY = PollPolicy(interval=10, fast_interval=10)


def refused_from(harness: Harness, start: float, end: float, reply: Reply = REFUSED_401) -> None:
    """Let all requests for revisions get *reply* for a while."""

    def begin() -> None:
        harness.by_id.clear()
        harness.lists = reply

    def heal() -> None:
        harness.lists = True

    harness.at(start, begin)
    harness.at(end, heal)


# --- the dispatcher -----------------------------------------------------------------------------------------


class Dispatched:
    """A dispatcher of some members that are due at once, and when each of their polls began."""

    def __init__(self, members: int) -> None:
        self.clock = SocketlessClock()
        self.began: list[float] = []
        self.tasks = Tasks(lambda error: None)
        self.dispatcher = Dispatcher(
            self._poll, lambda: False, self.tasks, self.clock, max_concurrency=5, rate_limit=None
        )
        for _ in range(members):
            member: Any = SimpleNamespace(due=None, removed=False, streak=NO_FAILURES, interval=10.0)
            self.dispatcher.plan(member, 0.0)

    async def _poll(self, member: Any) -> None:
        self.began.append(self.clock.monotonic())

    async def run(self, seconds: float) -> list[float]:
        """Let time pass; return when polls began in it."""
        before = len(self.began)
        await self.clock.advance(seconds)
        return self.began[before:]


async def test_a_token_that_is_accepted_again_ends_the_pause_at_once() -> None:
    dispatched = Dispatched(3)
    dispatched.dispatcher.hold(60)
    dispatched.dispatcher.start()
    assert await dispatched.run(20) == []
    dispatched.dispatcher.release()
    assert await dispatched.run(20) == [20] * 3
    await dispatched.tasks.aclose()


async def test_a_token_that_is_accepted_again_does_not_end_a_pause_that_the_server_asked_for() -> None:
    dispatched = Dispatched(3)
    dispatched.dispatcher.pause(100)
    dispatched.dispatcher.hold(20)
    dispatched.dispatcher.start()
    await dispatched.run(50)
    dispatched.dispatcher.release()
    assert await dispatched.run(100) == [100] * 3
    await dispatched.tasks.aclose()


# --- fleets -------------------------------------------------------------------------------------------------


async def test_polls_that_were_held_back_wait_for_the_end_of_the_pause() -> None:
    harness, ids, _ = of_size(100)
    harness.at(50, lambda: harness.by_id.update(dict.fromkeys(ids[:60], None)))
    refused_from(harness, 300, 600)
    policy = evolve(POLICY, deadline=30, max_outage=None)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=policy, max_concurrency=20) as fleet:
        await harness.collect(fleet, 900)
        assert fleet.status.failing == 0

    assert len([at for at in harness.times() if 305 <= at < 600]) <= 35


async def test_a_pause_is_no_shorter_than_retry_after() -> None:
    harness, ids, _ = of_size(20)
    asked = Response(401, {"Retry-After": "100"}, REFUSED_401.body)
    refused_from(harness, 100, 350, asked)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        events = await harness.collect(fleet, 500)

    assert all(isinstance(event, RevisionAdded) for event in events)
    refused = [at for at in harness.times() if 100 <= at < 350]
    assert len(refused) <= 3 + 2
    assert all(at >= 200 for at in refused[3:])


async def test_a_fleet_that_is_closed_in_a_pause_ends_at_once() -> None:
    harness, ids, _ = of_size(20)
    refused_from(harness, 100, 1e9)
    async with harness.client() as runai:
        fleet = runai.watch_fleet(ids, poll=POLICY)
        async with fleet:
            await harness.collect(fleet, 200)
            before = harness.clock.monotonic()
        assert harness.clock.monotonic() == before
        with pytest.raises(StopAsyncIteration):
            await anext(fleet)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_consumer_that_stands_still_in_a_pause_loses_nothing() -> None:
    harness, ids, revisions = of_size(20)
    refused_from(harness, 100, 400)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY, buffer=2) as fleet:
        await harness.collect(fleet, 99)
        await harness.clock.advance(101)  # nobody asks, and the buffer fills as soon as there is anything
        for key in ids:
            harness.set_phase(revisions[key], "Failed")
        await harness.clock.advance(400)
        events = await harness.collect(fleet, 100)

    assert sorted(event.workload_id for event in events) == sorted(ids)
    assert {event.kind for event in events} == {"phase_changed"}


async def test_all_workloads_that_are_removed_in_a_pause_leave_no_pause_behind() -> None:
    harness, ids, _ = of_size(4)
    refused_from(harness, 100, 200)
    async with harness.client() as runai, runai.watch_fleet(ids[:3], poll=POLICY) as fleet:
        await harness.collect(fleet, 150)
        for key in ids[:3]:
            fleet.remove(key)
        await harness.collect(fleet, 100)
        fleet.add(ids[3])
        events = await harness.collect(fleet, 70)
        assert [event.workload_id for event in events] == [ids[3]]
        assert len(harness.times_of(ids[3])) >= 4


@pytest.mark.parametrize("failures", [1, 2, 3])
async def test_a_first_listing_whose_token_is_refused_behind_other_failures_is_tried_again(
    failures: int,
) -> None:
    class Starting(Harness):
        replies = [HTML_502] * failures + [REFUSED_401] * 2

        def _reply(self, kind: str, key: str) -> Reply | bool:
            return self.replies.pop(0) if kind == "workloads" and self.replies else super()._reply(kind, key)

    harness = Starting()
    harness.add()
    async with (
        harness.client() as runai,
        runai.watch_fleet(runai.inference_workloads, poll=POLICY) as fleet,
    ):
        events = await harness.collect(fleet, 100)

    assert [event.kind for event in events] == ["added"]
    refused, again, accepted = harness.times("workloads")[failures : failures + 3]
    assert again - refused == pytest.approx(1)
    assert accepted - again == pytest.approx(2)
