"""Waiting for a phase and for a rollout: what ends it, and in which words."""

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

import pytest
from support.harness import HTML_502, REFUSED_401, REFUSED_404, Stage

from runai_async import (
    AuthenticationError,
    DeadlineExceededError,
    NotFoundError,
    Phase,
    PhaseFailedError,
    PollPolicy,
    RetryPolicy,
    RolloutFailedError,
    ServerError,
    WaitTimeoutError,
    WatchOutageError,
)

T = TypeVar("T")
STEADY = PollPolicy(interval=10, jitter=0)
UNKNOWN_ID = "00000000-0000-4000-8000-000000000000"


async def within(stage: Stage, seconds: float, wait: Awaitable[T]) -> T:
    """Return what *wait* gives while *seconds* pass on the stage's clock."""
    task = asyncio.ensure_future(wait)
    await stage.clock.advance(seconds)
    try:
        assert task.done(), "it still waits"
        return task.result()
    finally:
        task.cancel()
        await asyncio.wait({task})


# --- wait_for_phase -------------------------------------------------------------------------------------


async def test_a_phase_already_reached_returns_at_once() -> None:
    stage = Stage()
    revision_id = stage.add("Running")
    async with stage.client() as runai:
        revision = await within(stage, 0, runai.wait_for_phase(revision_id, Phase.RUNNING))

    assert (revision.id, revision.phase) == (revision_id, Phase.RUNNING)
    assert stage.times("get") == [0]


async def test_waiting_looks_again_until_the_phase_is_reached() -> None:
    stage = Stage()
    revision_id = stage.add("Creating")
    stage.at(30, lambda: stage.phase(revision_id, "Pending"))
    stage.at(90, lambda: stage.phase(revision_id, "Running"))
    async with stage.client() as runai:
        revision = await within(
            stage, 100, runai.wait_for_phase(revision_id, {Phase.RUNNING, Phase.DEGRADED}, poll=STEADY)
        )

    assert revision.phase == "Running"
    assert stage.times("get")[-1] == 90


async def test_a_phase_of_fail_on_is_a_phase_failed_error_with_the_message() -> None:
    stage = Stage()
    revision_id = stage.add("Pending")
    stage.at(20, lambda: stage.phase(revision_id, "Failed", message="image not found"))
    async with stage.client() as runai:
        with pytest.raises(PhaseFailedError, match="is Failed, 0 pods running: image not found") as caught:
            await within(stage, 60, runai.wait_for_phase(revision_id, Phase.RUNNING))

    assert caught.value.revision is not None
    assert caught.value.revision.phase == "Failed"


async def test_until_wins_over_fail_on() -> None:
    stage = Stage()
    revision_id = stage.add("Completed")
    async with stage.client() as runai:
        revision = await within(stage, 0, runai.wait_for_phase(revision_id, "Completed"))

    assert revision.phase == "Completed"


async def test_degraded_is_no_failure_unless_asked_for() -> None:
    stage = Stage()
    revision_id = stage.add("Degraded")
    stage.at(20, lambda: stage.phase(revision_id, "Running"))
    async with stage.client() as runai:
        assert await within(stage, 60, runai.wait_for_phase(revision_id, Phase.RUNNING))
        stage.phase(revision_id, "Degraded")
        with pytest.raises(PhaseFailedError):
            await within(stage, 60, runai.wait_for_phase(revision_id, "Running", fail_on={Phase.DEGRADED}))


@pytest.mark.parametrize("purged", [False, True])
async def test_a_deletion_is_a_phase_failed_error(purged: bool) -> None:
    stage = Stage()
    revision_id = stage.add("Pending")
    remove = stage.state.purge_revision if purged else stage.state.delete_revision
    stage.at(20, lambda: remove(revision_id))
    async with stage.client() as runai:
        with pytest.raises(PhaseFailedError, match="is gone" if purged else "was deleted at"):
            await within(stage, 200, runai.wait_for_phase(revision_id, Phase.RUNNING))


async def test_a_refused_token_ends_a_wait_at_once() -> None:
    stage = Stage()
    revision_id, stage.others = stage.add("Pending"), REFUSED_401
    async with stage.client() as runai:
        with pytest.raises(AuthenticationError):
            await within(stage, 100, runai.wait_for_phase(revision_id, Phase.RUNNING))
    assert stage.times("get") == [0]


async def test_a_revision_that_is_never_there_is_not_found_after_the_grace() -> None:
    stage = Stage()
    async with stage.client() as runai:
        with pytest.raises(NotFoundError):
            await within(stage, 100, runai.wait_for_phase(UNKNOWN_ID, Phase.RUNNING, poll=STEADY))
    assert 60 <= stage.times("get")[-1] <= 62


async def test_a_wait_lives_through_an_outage_that_ends_and_not_through_one_that_lasts() -> None:
    stage = Stage()
    revision_id = stage.add("Pending")
    stage.others = HTML_502
    stage.at(300, lambda: setattr(stage, "others", True))
    stage.at(300, lambda: stage.phase(revision_id, "Running"))
    async with stage.client() as runai:
        assert await within(stage, 400, runai.wait_for_phase(revision_id, Phase.RUNNING))
        stage.phase(revision_id, "Pending")
        stage.others = HTML_502
        with pytest.raises(WatchOutageError):
            await within(stage, 1000, runai.wait_for_phase(revision_id, Phase.RUNNING))


async def test_an_outage_in_a_wait_for_a_phase_is_one_warning_and_one_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    stage = Stage()
    revision_id = stage.add("Pending")
    stage.at(10, lambda: setattr(stage, "others", HTML_502))
    stage.at(100, lambda: setattr(stage, "others", True))
    stage.at(150, lambda: stage.phase(revision_id, "Running"))
    async with stage.client() as runai:
        await within(stage, 300, runai.wait_for_phase(revision_id, "Running", poll=STEADY))
    assert [(record.levelname, record.getMessage().partition(": ")[2][:14]) for record in caplog.records] == [
        ("WARNING", "polls fail, Se"),
        ("INFO", "polls are good"),
    ]


@pytest.mark.parametrize("until", ["Runing", ["Running", "Suspending"]])
async def test_a_phase_that_the_api_does_not_list_is_a_value_error(until: str | list[str]) -> None:
    stage = Stage()
    async with stage.client() as runai:
        with pytest.raises(
            ValueError, match=r"until: .* is not a phase that the API lists; they are Creating"
        ):
            await runai.wait_for_phase(UNKNOWN_ID, until)
    assert stage.asked == []


async def test_no_phase_at_all_is_a_value_error() -> None:
    stage = Stage()
    async with stage.client() as runai:
        with pytest.raises(ValueError, match="until must name at least one phase"):
            await runai.wait_for_phase(UNKNOWN_ID, [])
    assert stage.asked == []


@pytest.mark.parametrize(
    ("timeout", "error", "problem"),
    [
        (0, ValueError, "a positive number"),
        (-1, ValueError, "a positive number"),
        (float("nan"), ValueError, "a positive number"),
        ("10", TypeError, "a number, not str"),
    ],
)
async def test_a_timeout_must_be_positive(timeout: Any, error: type[Exception], problem: str) -> None:
    stage = Stage()
    async with stage.client() as runai:
        with pytest.raises(error, match=f"timeout must be {problem}"):
            await runai.wait_for_phase(UNKNOWN_ID, "Running", timeout=timeout)


# --- wait_for_rollout -----------------------------------------------------------------------------------


async def test_a_rollout_succeeds_when_the_newest_runs_with_its_pods() -> None:
    stage = Stage()
    stage.add("Running")
    stage.clock.shift_now(1)
    new = stage.add("Creating", requested_pods={"min": 2, "max": 5})
    stage.at(20, lambda: stage.phase(new, "Pending"))
    stage.at(60, lambda: stage.phase(new, "Running", running_pods=1))
    stage.at(90, lambda: stage.state.update_revision(new, {"running_pods": 2}))
    async with stage.client() as runai:
        revision = await within(stage, 120, runai.wait_for_rollout(stage.workload_id, poll=STEADY))

    assert (revision.id, revision.running_pods) == (new, 2)
    assert stage.times()[-1] == 90


@pytest.mark.parametrize(
    ("requested", "running"),
    [({"number": 3}, 3), ({"min": 0, "number": 3}, 0), ({}, 0), ({"number": 2}, None)],
)
async def test_enough_pods_are_min_else_number_else_none_where_the_answer_tells(
    requested: dict[str, int], running: int | None
) -> None:
    stage = Stage()
    stage.add("Running", requested_pods=requested, running_pods=running)
    async with stage.client() as runai:
        assert await within(stage, 0, runai.wait_for_rollout(stage.workload_id))


@pytest.mark.parametrize("phase", ["Pending", "Degraded", "Terminating", "Unknown", "Suspending"])
async def test_enough_pods_in_another_phase_than_running_are_not_done(phase: str) -> None:
    stage = Stage()
    stage.add(phase, requested_pods={"number": 1}, running_pods=1)
    async with stage.client() as runai:
        with pytest.raises(WaitTimeoutError, match=f"is {phase}, 1 pods running"):
            await within(stage, 60, runai.wait_for_rollout(stage.workload_id, timeout=60))


async def test_too_few_pods_are_not_done() -> None:
    stage = Stage()
    stage.add("Running", requested_pods={"number": 2}, running_pods=1)
    async with stage.client() as runai:
        with pytest.raises(WaitTimeoutError, match="is Running, 1 pods running"):
            await within(stage, 60, runai.wait_for_rollout(stage.workload_id, timeout=60))


@pytest.mark.parametrize("phase", ["Failed", "Completed"])
async def test_a_rollout_that_failed_or_completed_is_failed_and_an_older_one_that_does_not_run_is_not_named(
    phase: str,
) -> None:
    stage = Stage()
    stage.add("Stopped")
    stage.clock.shift_now(1)
    stage.add(phase)
    async with stage.client() as runai:
        with pytest.raises(RolloutFailedError, match=f"is {phase}.*; no other revision serves") as caught:
            await within(stage, 60, runai.wait_for_rollout(stage.workload_id))

    assert caught.value.serving is None


async def test_an_older_revision_that_runs_without_its_pods_does_not_serve() -> None:
    stage = Stage()
    stage.add("Running", running_pods=0, requested_pods={"number": 2})
    stage.clock.shift_now(1)
    stage.add("Failed")
    async with stage.client() as runai:
        with pytest.raises(RolloutFailedError, match="no other revision serves") as caught:
            await within(stage, 60, runai.wait_for_rollout(stage.workload_id))

    assert caught.value.serving is None


async def test_a_failed_rollout_names_what_failed_and_which_older_one_serves() -> None:
    stage = Stage()
    old = stage.add("Running")
    stage.clock.shift_now(1)
    new = stage.add("Pending")
    stage.at(30, lambda: stage.phase(new, "Failed", message="crash loop"))
    async with stage.client() as runai:
        with pytest.raises(RolloutFailedError) as caught:
            await within(stage, 60, runai.wait_for_rollout(stage.workload_id))

    error = caught.value
    assert error.revision is not None
    assert error.serving is not None
    assert (error.revision.id, error.serving.id) == (new, old)
    assert f"llm-00002 ({new}) is Failed, 0 pods running: crash loop" in str(error)
    assert f"llm-00001 ({old}) serves meanwhile" in str(error)
    assert "mend the workload's image, arguments or resources" in str(error)


@pytest.mark.parametrize("purged", [False, True])
async def test_the_newest_gone_while_the_older_serves_is_a_failed_rollout(purged: bool) -> None:
    stage = Stage()
    old = stage.add("Running")
    stage.clock.shift_now(1)
    new = stage.add("Pending")
    remove = stage.state.purge_revision if purged else stage.state.delete_revision
    stage.at(600, lambda: remove(new))
    async with stage.client() as runai:
        with pytest.raises(RolloutFailedError, match=f"{new}\\) was deleted") as caught:
            await within(stage, 800, runai.wait_for_rollout(stage.workload_id))

    assert caught.value.serving is not None
    assert caught.value.serving.id == old


async def test_of_two_quick_updates_the_newer_one_counts_though_the_first_never_runs() -> None:
    stage = Stage()
    stage.add("Running")
    stage.clock.shift_now(1)
    first = stage.add("Creating")
    second: list[str] = []
    stage.at(20, lambda: second.append(stage.add("Creating")))
    stage.at(30, lambda: stage.phase(first, "Failed"))
    stage.at(60, lambda: stage.phase(second[0], "Running"))
    async with stage.client() as runai:
        revision = await within(stage, 100, runai.wait_for_rollout(stage.workload_id))

    assert revision.id == second[0]


async def test_with_after_only_a_newer_revision_counts() -> None:
    stage = Stage()
    before = stage.add("Running")
    added: list[str] = []
    stage.at(15, lambda: added.append(stage.add("Creating")))
    stage.at(45, lambda: stage.phase(added[0], "Running"))
    async with stage.client() as runai:
        revision = await within(stage, 100, runai.wait_for_rollout(stage.workload_id, after=before))

    assert revision.id == added[0]


async def test_an_outage_while_the_one_given_as_after_is_looked_up_is_lived_through() -> None:
    stage = Stage()
    before = stage.add("Running")
    stage.clock.shift_now(1)
    new = stage.add("Running")
    stage.lists = stage.others = HTML_502
    stage.at(300, lambda: setattr(stage, "lists", True))
    stage.at(300, lambda: setattr(stage, "others", True))
    async with stage.client() as runai:
        revision = await within(stage, 500, runai.wait_for_rollout(stage.workload_id, after=before))

    assert revision.id == new


async def test_with_after_and_nothing_newer_the_timeout_asks_whether_the_change_took_effect() -> None:
    stage = Stage()
    before = stage.add("Running")
    async with stage.client() as runai:
        with pytest.raises(WaitTimeoutError, match="newer than the one given as after: did the change take"):
            await within(stage, 100, runai.wait_for_rollout(stage.workload_id, after=before, timeout=50))


async def test_long_pending_is_no_failure() -> None:
    stage = Stage()
    new = stage.add("Pending", phase_message="waiting for quota")
    stage.at(40_000, lambda: stage.phase(new, "Running"))
    policy = PollPolicy(interval=600, fast_interval=600)
    async with stage.client() as runai:
        revision = await within(stage, 43_000, runai.wait_for_rollout(stage.workload_id, poll=policy))

    assert revision.phase == "Running"


async def test_a_revision_scaled_to_zero_is_done() -> None:
    stage = Stage()
    stage.add("Running", requested_pods={"min": 0, "max": 4}, running_pods=0)
    async with stage.client() as runai:
        assert (await within(stage, 0, runai.wait_for_rollout(stage.workload_id))).running_pods == 0


@pytest.mark.parametrize("revisions", [0, 1])
async def test_a_workload_that_goes_away_is_a_failed_rollout(revisions: int) -> None:
    stage = Stage()
    for _ in range(revisions):
        stage.add("Pending")
    async with stage.client() as runai:
        wait = asyncio.ensure_future(runai.wait_for_rollout(stage.workload_id, poll=STEADY))
        await stage.clock.advance(5)
        stage.lists = REFUSED_404
        with pytest.raises(RolloutFailedError, match="was deleted"):
            await within(stage, 200, wait)


async def test_newest_revision_is_the_one_created_last_then_by_id() -> None:
    stage = Stage()
    async with stage.client() as runai:
        assert await runai.newest_revision(stage.workload_id) is None
        stage.add()
        stage.clock.shift_now(1)
        ids = [stage.add(), stage.add()]
        newest = await runai.newest_revision(stage.workload_id)

    assert newest is not None
    assert newest.id == max(ids)


# --- timeouts -------------------------------------------------------------------------------------------


async def test_a_timeout_raises_with_the_last_revision_seen() -> None:
    stage = Stage()
    old = stage.add("Running")
    stage.clock.shift_now(1)
    new = stage.add("Pending", phase_message="waiting for nodes")
    async with stage.client() as runai:
        with pytest.raises(WaitTimeoutError) as caught:
            await within(stage, 30, runai.wait_for_rollout(stage.workload_id, timeout=30))
        with pytest.raises(WaitTimeoutError, match=r"is Pending.*, not Running within 30 s") as other:
            await within(stage, 30, runai.wait_for_phase(new, Phase.RUNNING, timeout=30))

    assert isinstance(caught.value, TimeoutError)
    assert caught.value.revision is not None
    assert caught.value.serving is not None
    assert (caught.value.revision.id, caught.value.serving.id) == (new, old)
    assert "is not done after 30 s" in str(caught.value)
    assert "waiting for nodes" in str(caught.value)
    assert "Nothing was cancelled; wait again to go on" in str(caught.value)
    assert other.value.revision is not None
    assert other.value.revision.id == new


async def test_the_timeout_counts_from_before_the_one_given_as_after_is_looked_up() -> None:
    stage = Stage()
    before = stage.add("Running")
    stage.latency = 3
    async with stage.client() as runai:
        with pytest.raises(WaitTimeoutError, match="is not done after 5 s"):
            await within(stage, 6, runai.wait_for_rollout(stage.workload_id, after=before, timeout=5))


async def test_a_timeout_cuts_a_poll_that_hangs_and_tells_of_no_outage(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stage = Stage()
    stage.add("Pending")
    stage.lists = stage.others = None
    async with stage.client() as runai:
        with pytest.raises(WaitTimeoutError, match="no good answer came about workload") as caught:
            await within(stage, 5, runai.wait_for_rollout(stage.workload_id, timeout=5))
        with pytest.raises(WaitTimeoutError, match="was not seen"):
            await within(stage, 5, runai.wait_for_phase(UNKNOWN_ID, "Running", timeout=5))

        with pytest.raises(WaitTimeoutError, match=f"{UNKNOWN_ID} was not seen within 5 s") as other:
            await within(stage, 5, runai.wait_for_rollout(stage.workload_id, after=UNKNOWN_ID, timeout=5))

    assert caught.value.revision is None
    assert other.value.revision is None
    assert isinstance(caught.value.__cause__, DeadlineExceededError)
    assert isinstance(other.value.__cause__, DeadlineExceededError)
    assert caplog.messages == []


@pytest.mark.parametrize("seen", [False, True])
async def test_a_timeout_in_an_outage_says_so_and_claims_nothing_that_is_not_known(seen: bool) -> None:
    stage = Stage()
    revision_id = stage.add("Pending")
    if not seen:
        stage.lists = stage.others = HTML_502
    stage.at(5, lambda: vars(stage).update(lists=HTML_502, others=HTML_502))
    words = "the last poll failed with ServerError: GET https://acme.example/api/v1/workloads/inferences/"
    async with stage.client() as runai:
        with pytest.raises(WaitTimeoutError, match=words) as rollout:
            await within(stage, 30, runai.wait_for_rollout(stage.workload_id, timeout=30))
        with pytest.raises(WaitTimeoutError, match=words) as phase:
            await within(stage, 30, runai.wait_for_phase(revision_id, "Running", timeout=30))

    assert isinstance(rollout.value.__cause__, ServerError)
    assert isinstance(phase.value.__cause__, ServerError)
    assert ("no good answer came about workload" in str(rollout.value)) is not seen
    assert "has no revision" not in str(rollout.value)
    assert ("no other revision serves" in str(rollout.value)) is seen


@pytest.mark.parametrize("in_outage", [False, True])
async def test_a_timeout_that_cuts_a_poll_names_what_failed_before_and_not_its_own_cut(
    in_outage: bool,
) -> None:
    stage = Stage()
    revision_id = stage.add("Pending")
    stage.latency = 0.7
    if in_outage:
        stage.lists = stage.others = HTML_502
    retry = RetryPolicy(attempts=10, wait_initial=0.1, wait_max=0.1)
    poll = PollPolicy(interval=0.1, fast_interval=0.1, jitter=0)
    async with stage.client(retry=retry) as runai:
        with pytest.raises(WaitTimeoutError) as rollout:
            await within(stage, 3, runai.wait_for_rollout(stage.workload_id, timeout=2.5, poll=poll))
        with pytest.raises(WaitTimeoutError) as phase:
            await within(stage, 3, runai.wait_for_phase(revision_id, "Running", timeout=2.5, poll=poll))

    for error in (rollout.value, phase.value):
        assert type(error.__cause__) is (ServerError if in_outage else type(None))
        assert ("the last poll failed with ServerError" in str(error)) is in_outage
        assert "DeadlineExceeded" not in str(error)


async def test_an_outage_that_is_over_is_no_reason_of_a_timeout() -> None:
    stage = Stage()
    revision_id = stage.add("Pending")
    stage.lists = stage.others = HTML_502
    stage.at(10, lambda: vars(stage).update(lists=True, others=True))
    async with stage.client() as runai:
        with pytest.raises(WaitTimeoutError) as rollout:
            await within(stage, 40, runai.wait_for_rollout(stage.workload_id, timeout=40))
        stage.lists = stage.others = HTML_502
        stage.at(50, lambda: vars(stage).update(lists=True, others=True))
        with pytest.raises(WaitTimeoutError) as phase:
            await within(stage, 40, runai.wait_for_phase(revision_id, "Running", timeout=40))

    for error in (rollout.value, phase.value):
        assert (error.__cause__, "the last poll failed" in str(error)) == (None, False)
