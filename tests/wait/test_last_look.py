"""A wait looks often for what is not listed yet, and once more before its time is up."""

import pytest
from support.harness import Harness, within

from runai_async import Phase, PollPolicy, WaitTimeoutError
from runai_async.cli.gate import DisplayedWait
from runai_async.cli.views.progress import Progress

STEADY = PollPolicy(interval=10, fast_interval=10, jitter=0)
"""Nothing is polled fast."""


async def test_a_revision_that_runs_from_the_first_second_is_seen_within_the_fast_interval() -> None:
    harness = Harness()
    before = harness.add("Running")
    harness.at(1, lambda: harness.add("Running"))
    async with harness.client() as runai:
        policy = PollPolicy(interval=10, fast_interval=2, jitter=0)
        wait = runai.wait_for_rollout(harness.workload_id, after=before, poll=policy)
        revision = await within(harness, 2, wait)
    assert revision.name == "llm-00002"
    assert harness.times() == [0, 2]


async def test_a_revision_that_is_never_listed_is_looked_for_fast_only_for_a_while() -> None:
    harness = Harness()
    before = harness.add("Running")
    async with harness.client() as runai:
        policy = PollPolicy(interval=10, fast_interval=2, fast_for=20, jitter=0)
        wait = runai.wait_for_rollout(harness.workload_id, after=before, timeout=60, poll=policy)
        with pytest.raises(WaitTimeoutError):
            await within(harness, 60, wait)
    assert harness.times() == [*range(0, 21, 2), 30, 40, 50, 59]


async def test_a_rollout_is_looked_at_once_more_before_it_times_out() -> None:
    harness = Harness()
    before = harness.add("Running")
    harness.at(1, lambda: harness.add("Running"))
    async with harness.client() as runai:
        wait = runai.wait_for_rollout(harness.workload_id, after=before, timeout=9, poll=STEADY)
        revision = await within(harness, 9, wait)
    assert revision.name == "llm-00002"
    assert harness.times() == [0, 8]


async def test_so_is_the_phase_of_a_revision() -> None:
    harness = Harness()
    revision_id = harness.add("Running")
    harness.at(1, lambda: harness.set_phase(revision_id, "Stopped"))
    async with harness.client() as runai:
        wait = runai.wait_for_phase(revision_id, Phase.STOPPED, timeout=9, poll=STEADY)
        assert (await within(harness, 9, wait)).phase == Phase.STOPPED
    assert harness.times("get") == [0, 8]


async def test_so_is_what_a_gate_waits_for(capsys: pytest.CaptureFixture[str]) -> None:
    harness = Harness()
    before = harness.add("Running")
    harness.at(1, lambda: harness.add("Running"))
    async with harness.client() as runai, runai.watch_revisions(harness.workload_id, poll=STEADY) as watch:
        wait = DisplayedWait(watch, before, None, Progress(12, harness.clock))
        revision = await within(harness, 9, wait.run(12, spent=3))
    assert revision.name == "llm-00002"
    assert harness.times() == [0, 8]
    assert "llm-00002  Running" in capsys.readouterr().out


@pytest.mark.parametrize("timeout", [2, 9, 11, 25])
async def test_an_outage_that_ends_before_the_last_look_does_not_end_the_wait(timeout: float) -> None:
    harness = Harness()
    harness.add("Running")
    harness.next_lists.extend([None])  # the first poll hangs
    policy = PollPolicy(interval=10, jitter=0, deadline=0.5)
    async with harness.client() as runai:
        wait = runai.wait_for_rollout(harness.workload_id, timeout=timeout, poll=policy)
        await within(harness, timeout, wait)
    assert harness.times()[-1] <= timeout - 1
