"""A watch over a real socket, while everything changes, fails and is cancelled at random."""

from collections.abc import Sequence
from contextlib import nullcontext

import pytest
from support.fuzz import Saved, Scenario, run_all
from support.oracle import GRACE, STALLED_AFTER

from runai_async import Checkpoint, PollPolicy, RetryPolicy, RevisionWatch, RunaiClient

POLICY = PollPolicy(
    interval=0.04,
    deadline=10,
    missing_grace=GRACE,
    max_outage=None,
    stalled_after=STALLED_AFTER,
    emit={"updated"},
)


def open_watch(
    runai: RunaiClient, workload_ids: Sequence[str], saved: Saved | None
) -> nullcontext[RevisionWatch]:
    assert isinstance(saved, Checkpoint | None)
    watch = runai.watch_revisions(workload_ids[0], poll=POLICY, resume_from=saved)
    return nullcontext(watch)  # when its consumer dies, nobody closes it


SCENARIO = Scenario(
    open_watch, workloads=1, steps=60, retry=RetryPolicy(attempts=2, wait_initial=0.001), saves=0.3, dies=0.02
)


@pytest.mark.parametrize(
    "seeds",
    [range(5), pytest.param(range(1000, 1100), marks=[pytest.mark.slow, pytest.mark.timeout(180)])],
    ids=["5 seeds", "100 seeds"],
)
async def test_a_watch_loses_and_repeats_nothing_whatever_is_cancelled_or_fails(
    seeds: range, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("ERROR", "runai_async")
    await run_all(SCENARIO, seeds)
