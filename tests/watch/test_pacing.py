"""When a watch polls: due times, fast and slow, and the deadline of a poll."""

import asyncio
from itertools import pairwise

import pytest
from support.harness import HTML_502, Harness

from runai_async import PollFinished, PollPolicy

STEADY = PollPolicy(interval=10, jitter=0)


def gaps(times: list[float]) -> list[float]:
    return [round(later - earlier, 6) for earlier, later in pairwise(times)]


# --- absolute times -------------------------------------------------------------------------------------


async def test_polls_are_due_at_absolute_times_however_long_they_take() -> None:
    harness = Harness()
    harness.latency = 1.5
    async with harness.client() as runai:
        await harness.collect(runai.watch_revisions(harness.workload_id, poll=STEADY), 45)

    assert harness.times() == [0, 10, 20, 30, 40]


async def test_a_cancelled_wait_does_not_restart_the_interval() -> None:
    harness = Harness()
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id, poll=STEADY)
        for _ in range(45):
            await harness.collect(watch, 1)

    assert harness.times() == [0, 10, 20, 30, 40]


async def test_jitter_delays_a_poll_and_is_not_accumulated() -> None:
    harness = Harness()
    async with harness.client() as runai:
        await harness.collect(
            runai.watch_revisions(harness.workload_id, poll=PollPolicy(interval=10, jitter=0.3)), 1000
        )

    late = [at - 10 * slot for slot, at in enumerate(harness.times())]
    assert len(late) == 100
    assert all(0 <= seconds <= 3 for seconds in late)
    assert max(late) - min(late) > 1.5


async def test_a_missed_slot_is_skipped_and_never_caught_up() -> None:
    harness = Harness()
    harness.add()
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id, poll=STEADY)
        await anext(watch)
        await harness.clock.advance(37)
        await harness.collect(watch, 20)

    assert harness.times() == [0, 37, 40, 50]


async def test_two_polls_are_never_closer_than_the_minimum_interval_even_when_they_fail_at_once() -> None:
    harness = Harness()
    harness.lists = HTML_502
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id, interval=0.01)
        await harness.collect(watch, 2)

    assert len(harness.times()) > 2
    assert min(gaps(harness.times())) >= 0.01 - 1e-6


async def test_a_slot_missed_by_a_hair_does_not_bring_two_polls_together() -> None:
    harness = Harness()
    harness.add()
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id, poll=STEADY)
        await anext(watch)
        await harness.clock.advance(19.995)
        await harness.collect(watch, 15)

    assert min(gaps(harness.times())) >= 0.01


# --- fast polling while a revision is in transition -----------------------------------------------------


@pytest.mark.parametrize(
    ("phase", "interval"),
    [
        ("Running", 10),
        ("Stopped", 10),
        ("Degraded", 10),
        ("Failed", 10),
        ("Completed", 10),
        ("Pending", 2),
        ("Creating", 2),
        ("Terminating", 2),
        ("Unknown", 2),
        ("Suspending", 2),
    ],
)
async def test_polling_is_fast_while_a_revision_is_in_transition_or_in_an_unknown_phase(
    phase: str, interval: float
) -> None:
    harness = Harness()
    harness.add("Running")
    harness.add(phase)
    async with harness.client() as runai:
        await harness.collect(runai.watch_revisions(harness.workload_id, poll=STEADY), 35)

    assert set(gaps(harness.times())) == {interval}


async def test_polling_is_fast_no_longer_than_fast_for_after_the_last_observed_change() -> None:
    harness = Harness()
    revision_id = harness.add("Creating")
    harness.at(50, lambda: harness.set_phase(revision_id, "Pending"))
    policy = PollPolicy(interval=10, jitter=0, fast_interval=2, fast_for=60)
    async with harness.client() as runai:
        await harness.collect(runai.watch_revisions(harness.workload_id, poll=policy), 200)

    fast = [later for earlier, later in pairwise(harness.times()) if later - earlier < 3]
    assert 108 <= max(fast) <= 114
    assert harness.times()[-1] - harness.times()[-2] == 10


async def test_a_change_of_another_revision_does_not_prolong_fast_polling() -> None:
    harness = Harness()
    harness.add("Pending")
    other = harness.add("Running")
    harness.at(50, lambda: harness.set_phase(other, "Degraded"))
    policy = PollPolicy(interval=10, jitter=0, fast_interval=2, fast_for=60)
    async with harness.client() as runai:
        await harness.collect(runai.watch_revisions(harness.workload_id, poll=policy), 200)

    fast = [later for earlier, later in pairwise(harness.times()) if later - earlier < 3]
    assert max(fast) <= 64


async def test_the_fast_interval_is_the_smaller_of_the_two() -> None:
    harness = Harness()
    harness.add("Pending")
    policy = PollPolicy(interval=1, jitter=0, fast_interval=2)
    async with harness.client() as runai:
        await harness.collect(runai.watch_revisions(harness.workload_id, poll=policy), 5.5)

    assert set(gaps(harness.times())) == {1}


# --- one hard deadline ----------------------------------------------------------------------------------


async def test_a_hung_server_costs_one_deadline_and_no_more() -> None:
    harness = Harness()
    harness.add()
    harness.next_lists.append(None)
    policy = PollPolicy(interval=10, jitter=0, deadline=25)
    async with harness.client(timeout=300) as runai:
        watch = runai.watch_revisions(harness.workload_id, poll=policy)
        events = await harness.collect(watch, 60)

    assert harness.times()[:3] == [0, 30, 40]
    assert len(events) == 1


async def test_confirmations_get_a_quarter_of_the_deadline() -> None:
    harness = Harness()
    harness.add()
    policy = PollPolicy(interval=10, jitter=0, deadline=4)
    polls: list[PollFinished] = []
    hooks = [lambda event: polls.append(event) if isinstance(event, PollFinished) else None]
    async with harness.client(timeout=300, hooks=hooks) as runai:
        watch = runai.watch_revisions(harness.workload_id, poll=policy)
        await harness.collect(watch, 1)
        harness.state.hide(next(iter(harness.state.revisions)), hidden=True)
        harness.others = None
        await harness.collect(watch, 30)

    assert harness.times() == [0, 10, 20, 30]
    assert [poll.seconds for poll in polls[:3]] == [0, 1, 1]


@pytest.mark.parametrize(
    ("policy", "seconds"),
    [
        (PollPolicy(interval=10, jitter=0, fast_for=0, deadline=4), 13.5),
        (PollPolicy(interval=5, jitter=0, fast_for=0), 9.5),
    ],
    ids=["deadline", "interval"],
)
async def test_a_hanging_history_delays_an_event_by_at_most_a_deadline_and_an_interval(
    policy: PollPolicy, seconds: float
) -> None:
    harness = Harness()
    revision_id = harness.add("Pending")
    async with harness.client(timeout=300) as runai:
        watch = runai.watch_revisions(harness.workload_id, poll=policy, fill_gaps=True)
        await harness.collect(watch, 1)
        harness.clock.shift_now(1)
        harness.set_phase(revision_id, "Running")
        harness.others = None
        events = await harness.collect(watch, seconds)

    assert [event.kind for event in events] == ["phase_changed"]


async def test_a_jump_of_the_wall_clock_moves_no_poll() -> None:
    harness = Harness()
    harness.add()
    for time, seconds in ((5, 86_400), (15, -172_800), (25, 0.5)):
        harness.at(time, harness.clock.shift_now, seconds)
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id, poll=STEADY)
        await harness.collect(watch, 45)
        assert not watch.status.stale

    assert harness.times() == [0, 10, 20, 30, 40]


async def test_a_timeout_of_the_consumer_applies_in_addition_to_the_deadline() -> None:
    harness = Harness()
    harness.lists = None
    async with harness.client(timeout=300) as runai:
        watch = runai.watch_revisions(harness.workload_id)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await anext(watch)

        assert watch.status.consecutive_failures == 0
