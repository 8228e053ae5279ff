"""When a fleet polls: one schedule for many workloads, on a clock that the test moves."""

import asyncio
from collections import Counter
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from support.fleets import POLICY, UNKNOWN_ID, of_size, per_second
from support.harness import HTML_502, Harness

from runai_async import PhaseChanged, PollFinished, PollPolicy, RevisionEvent
from runai_async._fleet.spread import offset_of
from runai_async.testing import Response

OFFSET = 0.6435747445286842
"""The offset of `UNKNOWN_ID` in an interval, which depends on nothing but the id."""


async def test_each_workload_is_polled_once_per_interval_at_its_own_offset() -> None:
    harness, ids, _ = of_size(100)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        events = await harness.collect(fleet, 60)

    assert len(events) == 100
    own = {key: harness.times_of(key) for key in ids}
    assert all(len(times) == 6 for times in own.values())
    for first, *times in own.values():
        assert 0 <= first <= 1
        assert all(later - earlier == pytest.approx(10) for earlier, later in pairwise(times))


async def test_changes_are_reported_within_an_interval_and_polls_are_spread_evenly() -> None:
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

    counts = per_second(harness.times(), 10, 30)
    assert max(counts) <= 1.5 * sum(counts) / 20
    changes = [event for event in events if isinstance(event, PhaseChanged)]
    assert len({event.id for event in changes}) == len(changes) > 300
    assert all(
        event.observed_at - event.server_time <= timedelta(seconds=10)
        for event in changes
        if event.server_time
    )
    last = {event.revision_id: event.revision.phase for event in events if isinstance(event, RevisionEvent)}
    assert last == {key: harness.state.revision(key)["phase"] for key in revisions}


async def test_the_spread_is_the_same_after_a_restart_including_the_first_polls() -> None:
    harness, ids, _ = of_size(20)
    async with harness.client() as runai:
        async with runai.watch_fleet(ids, poll=POLICY) as fleet:
            await harness.collect(fleet, 35)
        split = len(harness.requests)
        async with runai.watch_fleet(reversed(ids), poll=POLICY) as fleet:
            await harness.collect(fleet, 35)

    offsets = [
        {key: round(at % 10, 4) for at, _, key in part}
        for part in (harness.requests[:split], harness.requests[split:])
    ]
    assert offsets[0] == offsets[1]
    assert len(set(offsets[0].values())) == 20


def test_an_offset_is_the_same_on_every_machine() -> None:
    assert offset_of(UNKNOWN_ID) == pytest.approx(OFFSET)


async def test_a_workload_in_transition_is_polled_at_the_fast_interval() -> None:
    harness, ids, revisions = of_size(3)
    harness.set_phase(revisions[ids[0]], "Pending")
    policy = PollPolicy(interval=10, fast_interval=2)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=policy) as fleet:
        await harness.collect(fleet, 100)

    polls = Counter(key for _, _, key in harness.requests)
    assert 40 <= polls[ids[0]] <= 51
    assert polls[ids[1]] == polls[ids[2]] == 10


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


async def test_there_are_no_more_workers_than_polls_were_ever_in_flight() -> None:
    harness, ids, _ = of_size(50)
    harness.latency = 0.5
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY, max_concurrency=4) as fleet:
        await harness.collect(fleet, 60)
        tasks = [task for task in asyncio.all_tasks() if task.get_name() == "runai-async fleet"]

    assert len(harness.times()) > 250
    assert len(tasks) <= 1 + 4  # and the loop that dispatches the polls


async def test_rate_limit_bounds_all_requests_including_confirmations() -> None:
    harness, ids, revisions = of_size(40)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY, rate_limit=5) as fleet:
        await harness.collect(fleet, 30)
        for revision_id in revisions.values():
            harness.state.purge_revision(revision_id)
        await harness.collect(fleet, 60)

    assert harness.times("get")
    every = [at for at, _, _ in harness.requests]
    assert all(later - earlier >= 0.2 - 1e-6 for earlier, later in pairwise(every))


async def test_a_confirmation_waits_for_the_rate_limit_no_longer_than_the_deadline_of_its_poll() -> None:
    class Holding(Harness):
        async def send(self, *args: Any, **options: Any) -> Response:
            now = self.clock.monotonic()
            self.latency = 30 - now if 20 <= now < 30 else 0  # at 30, all responses arrive at once
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


async def test_poll_finished_counts_only_the_events_of_its_own_poll() -> None:
    harness, ids, revisions = of_size(3)
    polls: list[PollFinished] = []
    hooks = [lambda event: polls.append(event) if isinstance(event, PollFinished) else None]
    async with harness.client(hooks=hooks) as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        await harness.clock.advance(30)
        harness.set_phase(revisions[ids[0]], "Failed")
        await harness.clock.advance(30)

        assert sum(poll.events for poll in polls) == fleet.status.buffered == 4


async def test_a_poll_of_a_fleet_is_one_attempt() -> None:
    harness, ids, _ = of_size(1, seed=1)
    harness.next_lists.append(HTML_502)
    async with harness.client(retry=None) as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        assert len(await harness.collect(fleet, 45)) == 1

    first, *apart = [round(later - earlier, 6) for earlier, later in pairwise(harness.times())]
    assert first <= 10  # its slot, for which a poll that failed does not stand
    assert apart in ([10] * 3, [10] * 4)
