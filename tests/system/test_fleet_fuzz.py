"""A fleet over a real socket, while everything changes, fails, is cancelled and dies at random."""

from collections.abc import Sequence

import pytest
from support.fleets import trusting
from support.fuzz import Open, Saved, Scenario, run_all
from support.oracle import GRACE, STALLED_AFTER

from runai_async import FleetCheckpoint, FleetWatch, PollPolicy, RetryPolicy, RunaiClient

POLICY = PollPolicy(
    interval=0.2,
    fast_interval=0.1,
    deadline=10,
    missing_grace=GRACE,
    max_outage=None,
    stalled_after=STALLED_AFTER,
    emit={"updated"},
)


def open_fleet(runai: RunaiClient, workload_ids: Sequence[str], saved: Saved | None) -> FleetWatch:
    assert isinstance(saved, FleetCheckpoint | None)
    return runai.watch_fleet(workload_ids, poll=POLICY, resume_from=saved, buffer=5, max_concurrency=4)


def open_fleet_of_the_list(
    runai: RunaiClient, workload_ids: Sequence[str], saved: Saved | None
) -> FleetWatch:
    assert isinstance(saved, FleetCheckpoint | None)
    return runai.watch_fleet(
        runai.inference_workloads, poll=POLICY, discovery_interval=0.1, resume_from=saved, buffer=5
    )


def open_fleet_that_relaxes(
    runai: RunaiClient, workload_ids: Sequence[str], saved: Saved | None
) -> FleetWatch:
    assert isinstance(saved, FleetCheckpoint | None)
    query = runai.inference_workloads()
    return runai.watch_fleet(
        query, poll=POLICY, discovery_interval=0.05, resume_from=saved, buffer=5, relaxed_interval=0.6
    )


def open_fleet_that_trusts_any_rows(
    runai: RunaiClient, workload_ids: Sequence[str], saved: Saved | None
) -> FleetWatch:
    return trusting(open_fleet_that_relaxes(runai, workload_ids, saved))


@pytest.mark.parametrize(
    "opened",
    [
        pytest.param(open_fleet, marks=pytest.mark.slow),
        pytest.param(open_fleet_of_the_list, marks=pytest.mark.slow),
        open_fleet_that_relaxes,
        pytest.param(open_fleet_that_trusts_any_rows, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize(
    "seeds",
    [range(3), pytest.param(range(1000, 1030), marks=[pytest.mark.slow, pytest.mark.timeout(300)])],
    ids=["3 seeds", "30 seeds"],
)
async def test_a_fleet_loses_and_repeats_nothing(
    seeds: range, opened: Open, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("ERROR", "runai_async")
    scenario = Scenario(opened, workloads=6, steps=80, retry=RetryPolicy(attempts=1), saves=0.2, dies=0.03)
    await run_all(scenario, seeds)
