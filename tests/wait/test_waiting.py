"""Waiting for a phase and for a rollout: how a wait ends, and what its errors say."""

import asyncio
from typing import Any, TypeVar

import pytest
from support.harness import HTML_502, REFUSED_401, REFUSED_403, REFUSED_404, Harness, within

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
from runai_async.testing import Response

T = TypeVar("T")
STEADY = PollPolicy(interval=10, jitter=0)
UNKNOWN_ID = "00000000-0000-4000-8000-000000000000"


# --- wait_for_phase -------------------------------------------------------------------------------------


async def test_a_phase_already_reached_returns_at_once() -> None:
    harness = Harness()
    revision_id = harness.add("Running")
    async with harness.client() as runai:
        revision = await within(harness, 0, runai.wait_for_phase(revision_id, Phase.RUNNING))

    assert (revision.id, revision.phase) == (revision_id, Phase.RUNNING)
    assert harness.times("get") == [0]


async def test_a_wait_polls_until_the_phase_is_reached() -> None:
    harness = Harness()
    revision_id = harness.add("Creating")
    harness.at(30, lambda: harness.set_phase(revision_id, "Pending"))
    harness.at(90, lambda: harness.set_phase(revision_id, "Running"))
    async with harness.client() as runai:
        revision = await within(
            harness, 100, runai.wait_for_phase(revision_id, {Phase.RUNNING, Phase.DEGRADED}, poll=STEADY)
        )

    assert revision.phase == "Running"
    assert harness.times("get")[-1] == 90


async def test_a_phase_in_fail_on_is_a_phase_failed_error_with_the_message() -> None:
    harness = Harness()
    revision_id = harness.add("Pending")
    harness.at(20, lambda: harness.set_phase(revision_id, "Failed", message="image not found"))
    async with harness.client() as runai:
        with pytest.raises(PhaseFailedError, match="is Failed, 0 pods running: image not found") as caught:
            await within(harness, 60, runai.wait_for_phase(revision_id, Phase.RUNNING))

    assert caught.value.revision is not None
    assert caught.value.revision.phase == "Failed"


async def test_until_takes_precedence_over_fail_on() -> None:
    harness = Harness()
    revision_id = harness.add("Completed")
    async with harness.client() as runai:
        revision = await within(harness, 0, runai.wait_for_phase(revision_id, "Completed"))

    assert revision.phase == "Completed"


async def test_degraded_is_a_failure_only_on_request() -> None:
    harness = Harness()
    revision_id = harness.add("Degraded")
    harness.at(20, lambda: harness.set_phase(revision_id, "Running"))
    async with harness.client() as runai:
        assert await within(harness, 60, runai.wait_for_phase(revision_id, Phase.RUNNING))
        harness.set_phase(revision_id, "Degraded")
        with pytest.raises(PhaseFailedError):
            await within(harness, 60, runai.wait_for_phase(revision_id, "Running", fail_on={Phase.DEGRADED}))


@pytest.mark.parametrize("purged", [False, True])
async def test_a_deletion_is_a_phase_failed_error(purged: bool) -> None:
    harness = Harness()
    revision_id = harness.add("Pending")
    remove = harness.state.purge_revision if purged else harness.state.delete_revision
    harness.at(20, lambda: remove(revision_id))
    async with harness.client() as runai:
        with pytest.raises(PhaseFailedError, match="was deleted" if purged else "was deleted at"):
            await within(harness, 400, runai.wait_for_phase(revision_id, Phase.RUNNING))


async def test_a_token_that_is_refused_from_the_start_ends_a_wait_after_two_repeats() -> None:
    harness = Harness()
    revision_id, harness.others = harness.add("Pending"), REFUSED_401
    async with harness.client(retry=RetryPolicy()) as runai:
        with pytest.raises(AuthenticationError):
            await within(harness, 100, runai.wait_for_phase(revision_id, Phase.RUNNING))
    assert harness.times("get") == [0, 1, 3]


@pytest.mark.parametrize("refusal", [REFUSED_401, REFUSED_403, REFUSED_404])
async def test_a_wait_outlives_four_minutes_in_which_everyone_is_refused(refusal: Response) -> None:
    harness = Harness()
    revision_id = harness.add("Pending")
    harness.at(20, lambda: setattr(harness, "others", refusal))
    harness.at(260, lambda: setattr(harness, "others", True))
    harness.at(260, lambda: harness.set_phase(revision_id, "Running"))
    async with harness.client(retry=RetryPolicy()) as runai:
        revision = await within(harness, 400, runai.wait_for_phase(revision_id, Phase.RUNNING))
    assert revision.phase == Phase.RUNNING


async def test_a_token_that_is_refused_for_max_outage_ends_a_wait() -> None:
    harness = Harness()
    revision_id = harness.add("Pending")
    harness.at(20, lambda: setattr(harness, "others", REFUSED_401))
    async with harness.client() as runai:
        with pytest.raises(AuthenticationError):
            await within(harness, 1000, runai.wait_for_phase(revision_id, Phase.RUNNING))
    assert 900 <= harness.times("get")[-1] <= 930


async def test_a_revision_that_does_not_exist_is_not_found_after_the_grace() -> None:
    harness = Harness()
    async with harness.client() as runai:
        with pytest.raises(NotFoundError):
            await within(harness, 100, runai.wait_for_phase(UNKNOWN_ID, Phase.RUNNING, poll=STEADY))
    assert 60 <= harness.times("get")[-1] <= 62


async def test_a_wait_survives_an_outage_that_ends_and_not_one_that_lasts() -> None:
    harness = Harness()
    revision_id = harness.add("Pending")
    harness.others = HTML_502
    harness.at(300, lambda: setattr(harness, "others", True))
    harness.at(300, lambda: harness.set_phase(revision_id, "Running"))
    async with harness.client() as runai:
        assert await within(harness, 400, runai.wait_for_phase(revision_id, Phase.RUNNING))
        harness.set_phase(revision_id, "Pending")
        harness.others = HTML_502
        with pytest.raises(WatchOutageError):
            await within(harness, 1000, runai.wait_for_phase(revision_id, Phase.RUNNING))


async def test_an_outage_during_a_wait_for_a_phase_logs_one_warning_and_one_recovery(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    harness = Harness()
    revision_id = harness.add("Pending")
    harness.at(10, lambda: setattr(harness, "others", HTML_502))
    harness.at(100, lambda: setattr(harness, "others", True))
    harness.at(150, lambda: harness.set_phase(revision_id, "Running"))
    async with harness.client() as runai:
        await within(harness, 300, runai.wait_for_phase(revision_id, "Running", poll=STEADY))
    assert [(record.levelname, record.getMessage().partition(": ")[2][:14]) for record in caplog.records] == [
        ("WARNING", "polls fail, Se"),
        ("INFO", "polls succeed "),
    ]


@pytest.mark.parametrize("until", ["Runing", ["Running", "Suspending"]])
async def test_a_phase_that_the_api_does_not_list_is_a_value_error(until: str | list[str]) -> None:
    harness = Harness()
    async with harness.client() as runai:
        with pytest.raises(
            ValueError, match=r"until: .* is not a phase that the API lists; they are Creating"
        ):
            await runai.wait_for_phase(UNKNOWN_ID, until)
    assert harness.requests == []


async def test_an_empty_list_of_phases_is_a_value_error() -> None:
    harness = Harness()
    async with harness.client() as runai:
        with pytest.raises(ValueError, match="until must name at least one phase"):
            await runai.wait_for_phase(UNKNOWN_ID, [])
    assert harness.requests == []


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
    harness = Harness()
    async with harness.client() as runai:
        with pytest.raises(error, match=f"timeout must be {problem}"):
            await runai.wait_for_phase(UNKNOWN_ID, "Running", timeout=timeout)


# --- wait_for_rollout -----------------------------------------------------------------------------------


async def test_a_rollout_succeeds_when_the_newest_runs_with_its_pods() -> None:
    harness = Harness()
    harness.add("Running")
    harness.clock.shift_now(1)
    new = harness.add("Creating", requested_pods={"min": 2, "max": 5})
    harness.at(20, lambda: harness.set_phase(new, "Pending"))
    harness.at(60, lambda: harness.set_phase(new, "Running", running_pods=1))
    harness.at(90, lambda: harness.state.update_revision(new, {"running_pods": 2}))
    async with harness.client() as runai:
        revision = await within(harness, 120, runai.wait_for_rollout(harness.workload_id, poll=STEADY))

    assert (revision.id, revision.running_pods) == (new, 2)
    assert harness.times()[-1] == 90


@pytest.mark.parametrize(
    ("requested", "running"),
    [
        ({"number": 3}, 3),
        ({"min": 0, "number": 3}, 0),
        ({"max": 4, "number": 3}, 0),  # a Go server leaves out a min of 0
        ({"max": 4}, None),
        ({}, 0),
        ({}, None),
    ],
)
async def test_the_required_pods_are_min_else_number_else_none(
    requested: dict[str, int], running: int | None
) -> None:
    harness = Harness()
    harness.add("Running", requested_pods=requested, running_pods=running)
    async with harness.client() as runai:
        assert await within(harness, 0, runai.wait_for_rollout(harness.workload_id))


async def test_running_without_a_number_of_pods_is_not_a_rollout_that_asked_for_some() -> None:
    harness = Harness()
    harness.add("Running", requested_pods={"number": 2}, running_pods=None)
    async with harness.client() as runai:
        with pytest.raises(WaitTimeoutError, match="is Running"):
            await within(harness, 30, runai.wait_for_rollout(harness.workload_id, timeout=30))


@pytest.mark.parametrize("phase", ["Pending", "Degraded", "Terminating", "Unknown", "Suspending"])
async def test_enough_pods_in_another_phase_than_running_do_not_complete_a_rollout(phase: str) -> None:
    harness = Harness()
    harness.add(phase, requested_pods={"number": 1}, running_pods=1)
    async with harness.client() as runai:
        with pytest.raises(WaitTimeoutError, match=f"is {phase}, 1 pods running"):
            await within(harness, 60, runai.wait_for_rollout(harness.workload_id, timeout=60))


async def test_too_few_pods_do_not_complete_a_rollout() -> None:
    harness = Harness()
    harness.add("Running", requested_pods={"number": 2}, running_pods=1)
    async with harness.client() as runai:
        with pytest.raises(WaitTimeoutError, match="is Running, 1 pods running"):
            await within(harness, 60, runai.wait_for_rollout(harness.workload_id, timeout=60))


@pytest.mark.parametrize("phase", ["Failed", "Completed"])
async def test_a_failed_or_completed_rollout_fails_and_names_no_older_revision_that_is_not_running(
    phase: str,
) -> None:
    harness = Harness()
    harness.add("Stopped")
    harness.clock.shift_now(1)
    harness.add(phase)
    async with harness.client() as runai:
        with pytest.raises(RolloutFailedError, match=f"is {phase}.*; no other revision serves") as caught:
            await within(harness, 60, runai.wait_for_rollout(harness.workload_id))

    assert caught.value.serving is None


async def test_an_older_revision_that_runs_without_its_pods_does_not_serve() -> None:
    harness = Harness()
    harness.add("Running", running_pods=0, requested_pods={"number": 2})
    harness.clock.shift_now(1)
    harness.add("Failed")
    async with harness.client() as runai:
        with pytest.raises(RolloutFailedError, match="no other revision serves") as caught:
            await within(harness, 60, runai.wait_for_rollout(harness.workload_id))

    assert caught.value.serving is None


async def test_a_failed_rollout_names_what_failed_and_which_older_one_serves() -> None:
    harness = Harness()
    old = harness.add("Running")
    harness.clock.shift_now(1)
    new = harness.add("Pending")
    harness.at(30, lambda: harness.set_phase(new, "Failed", message="crash loop"))
    async with harness.client() as runai:
        with pytest.raises(RolloutFailedError) as caught:
            await within(harness, 60, runai.wait_for_rollout(harness.workload_id))

    error = caught.value
    assert error.revision is not None
    assert error.serving is not None
    assert (error.revision.id, error.serving.id) == (new, old)
    assert f"llm-00002 ({new}) is Failed, 0 pods running: crash loop" in str(error)
    assert f"llm-00001 ({old}) serves meanwhile" in str(error)
    assert "fix the workload's image, arguments or resources" in str(error)


@pytest.mark.parametrize("purged", [False, True])
async def test_the_newest_gone_while_the_older_serves_is_a_failed_rollout(purged: bool) -> None:
    harness = Harness()
    old = harness.add("Running")
    harness.clock.shift_now(1)
    new = harness.add("Pending")
    remove = harness.state.purge_revision if purged else harness.state.delete_revision
    harness.at(600, lambda: remove(new))
    async with harness.client() as runai:
        with pytest.raises(RolloutFailedError, match=f"{new}\\) was deleted") as caught:
            await within(harness, 800, runai.wait_for_rollout(harness.workload_id))

    assert caught.value.serving is not None
    assert caught.value.serving.id == old


async def test_of_two_quick_updates_the_newer_one_counts_though_the_first_never_runs() -> None:
    harness = Harness()
    harness.add("Running")
    harness.clock.shift_now(1)
    first = harness.add("Creating")
    second: list[str] = []
    harness.at(20, lambda: second.append(harness.add("Creating")))
    harness.at(30, lambda: harness.set_phase(first, "Failed"))
    harness.at(60, lambda: harness.set_phase(second[0], "Running"))
    async with harness.client() as runai:
        revision = await within(harness, 100, runai.wait_for_rollout(harness.workload_id))

    assert revision.id == second[0]


async def test_with_after_only_a_newer_revision_counts() -> None:
    harness = Harness()
    before = harness.add("Running")
    added: list[str] = []
    harness.at(15, lambda: added.append(harness.add("Creating")))
    harness.at(45, lambda: harness.set_phase(added[0], "Running"))
    async with harness.client() as runai:
        revision = await within(harness, 100, runai.wait_for_rollout(harness.workload_id, after=before))

    assert revision.id == added[0]


async def test_a_wait_survives_an_outage_during_the_lookup_of_after() -> None:
    harness = Harness()
    before = harness.add("Running")
    harness.clock.shift_now(1)
    new = harness.add("Running")
    harness.lists = harness.others = HTML_502
    harness.at(300, lambda: setattr(harness, "lists", True))
    harness.at(300, lambda: setattr(harness, "others", True))
    async with harness.client() as runai:
        revision = await within(harness, 500, runai.wait_for_rollout(harness.workload_id, after=before))

    assert revision.id == new


async def test_with_after_and_nothing_newer_the_timeout_asks_whether_the_change_took_effect() -> None:
    harness = Harness()
    before = harness.add("Running")
    async with harness.client() as runai:
        with pytest.raises(WaitTimeoutError, match="newer than the one given as after: did the change take"):
            await within(harness, 100, runai.wait_for_rollout(harness.workload_id, after=before, timeout=50))


async def test_a_long_time_in_pending_is_not_a_failure() -> None:
    harness = Harness()
    new = harness.add("Pending", phase_message="waiting for quota")
    harness.at(40_000, lambda: harness.set_phase(new, "Running"))
    policy = PollPolicy(interval=600, fast_interval=600)
    async with harness.client() as runai:
        revision = await within(harness, 43_000, runai.wait_for_rollout(harness.workload_id, poll=policy))

    assert revision.phase == "Running"


async def test_a_revision_scaled_to_zero_completes_a_rollout() -> None:
    harness = Harness()
    harness.add("Running", requested_pods={"min": 0, "max": 4}, running_pods=0)
    async with harness.client() as runai:
        assert (await within(harness, 0, runai.wait_for_rollout(harness.workload_id))).running_pods == 0


@pytest.mark.parametrize("revisions", [0, 1])
async def test_the_deletion_of_the_workload_is_a_failed_rollout(revisions: int) -> None:
    harness = Harness()
    for _ in range(revisions):
        harness.add("Pending")
    async with harness.client() as runai:
        wait = asyncio.ensure_future(runai.wait_for_rollout(harness.workload_id, poll=STEADY))
        await harness.clock.advance(5)
        harness.lists = REFUSED_404
        with pytest.raises(RolloutFailedError, match="was deleted"):
            await within(harness, 400, wait)


async def test_newest_revision_is_the_one_created_last_and_of_one_second_that_with_the_higher_number() -> (
    None
):
    harness = Harness()
    async with harness.client() as runai:
        assert await runai.newest_revision(harness.workload_id) is None
        harness.add()
        harness.clock.shift_now(1)
        ids = [harness.add(), harness.add()]
        newest = await runai.newest_revision(harness.workload_id)

    assert newest is not None
    assert newest.id == ids[-1]


# --- timeouts -------------------------------------------------------------------------------------------


async def test_a_timeout_raises_with_the_last_revision_seen() -> None:
    harness = Harness()
    old = harness.add("Running")
    harness.clock.shift_now(1)
    new = harness.add("Pending", phase_message="waiting for nodes")
    async with harness.client() as runai:
        with pytest.raises(WaitTimeoutError) as caught:
            await within(harness, 30, runai.wait_for_rollout(harness.workload_id, timeout=30))
        with pytest.raises(WaitTimeoutError, match=r"is Pending.*, not Running within 30 s") as other:
            await within(harness, 30, runai.wait_for_phase(new, Phase.RUNNING, timeout=30))

    assert isinstance(caught.value, TimeoutError)
    assert caught.value.revision is not None
    assert caught.value.serving is not None
    assert (caught.value.revision.id, caught.value.serving.id) == (new, old)
    assert "is not done after 30 s" in str(caught.value)
    assert "waiting for nodes" in str(caught.value)
    assert "Nothing was cancelled; wait again to continue" in str(caught.value)
    assert other.value.revision is not None
    assert other.value.revision.id == new


async def test_the_timeout_includes_the_lookup_of_after() -> None:
    harness = Harness()
    before = harness.add("Running")
    harness.latency = 3
    async with harness.client() as runai:
        with pytest.raises(WaitTimeoutError, match="is not done after 5 s"):
            await within(harness, 6, runai.wait_for_rollout(harness.workload_id, after=before, timeout=5))


async def test_a_timeout_cuts_off_a_hanging_poll_and_logs_no_outage(
    caplog: pytest.LogCaptureFixture,
) -> None:
    harness = Harness()
    harness.add("Pending")
    harness.lists = harness.others = None
    async with harness.client() as runai:
        with pytest.raises(WaitTimeoutError, match=r"no poll of workload .* has succeeded") as caught:
            await within(harness, 5, runai.wait_for_rollout(harness.workload_id, timeout=5))
        with pytest.raises(WaitTimeoutError, match="was not seen"):
            await within(harness, 5, runai.wait_for_phase(UNKNOWN_ID, "Running", timeout=5))

        with pytest.raises(WaitTimeoutError, match=r"no poll of workload .* has succeeded") as other:
            await within(harness, 5, runai.wait_for_rollout(harness.workload_id, after=UNKNOWN_ID, timeout=5))

    assert caught.value.revision is None
    assert other.value.revision is None
    assert isinstance(caught.value.__cause__, DeadlineExceededError)
    assert isinstance(other.value.__cause__, DeadlineExceededError)
    assert caplog.messages == []


@pytest.mark.parametrize("seen", [False, True])
async def test_a_timeout_during_an_outage_says_so_and_claims_nothing_that_is_not_known(seen: bool) -> None:
    harness = Harness()
    revision_id = harness.add("Pending")
    if not seen:
        harness.lists = harness.others = HTML_502
    harness.at(5, lambda: vars(harness).update(lists=HTML_502, others=HTML_502))
    words = "the last poll failed with ServerError: GET https://acme.example/api/v1/workloads/inferences/"
    async with harness.client() as runai:
        with pytest.raises(WaitTimeoutError, match=words) as rollout:
            await within(harness, 30, runai.wait_for_rollout(harness.workload_id, timeout=30))
        with pytest.raises(WaitTimeoutError, match=words) as phase:
            await within(harness, 30, runai.wait_for_phase(revision_id, "Running", timeout=30))

    assert isinstance(rollout.value.__cause__, ServerError)
    assert isinstance(phase.value.__cause__, ServerError)
    assert ("has succeeded" in str(rollout.value)) is not seen
    assert "has no revision" not in str(rollout.value)
    assert ("no other revision serves" in str(rollout.value)) is seen


@pytest.mark.parametrize("in_outage", [False, True])
async def test_a_timeout_that_cuts_off_a_poll_names_the_failure_before_it(
    in_outage: bool,
) -> None:
    harness = Harness()
    revision_id = harness.add("Pending")
    harness.latency = 0.7
    if in_outage:
        harness.lists = harness.others = HTML_502
    retry = RetryPolicy(attempts=10, wait_initial=0.1, wait_max=0.1)
    poll = PollPolicy(interval=0.1, fast_interval=0.1, jitter=0)
    async with harness.client(retry=retry) as runai:
        with pytest.raises(WaitTimeoutError) as rollout:
            # Beyond the timeout, it may ask for as long why the revision does not serve.
            await within(harness, 5, runai.wait_for_rollout(harness.workload_id, timeout=2.5, poll=poll))
        with pytest.raises(WaitTimeoutError) as phase:
            await within(harness, 3, runai.wait_for_phase(revision_id, "Running", timeout=2.5, poll=poll))

    for error in (rollout.value, phase.value):
        assert type(error.__cause__) is (ServerError if in_outage else type(None))
        assert ("the last poll failed with ServerError" in str(error)) is in_outage
        assert "DeadlineExceeded" not in str(error)


async def test_an_outage_that_is_over_is_not_the_reason_for_a_timeout() -> None:
    harness = Harness()
    revision_id = harness.add("Pending")
    harness.lists = harness.others = HTML_502
    harness.at(10, lambda: vars(harness).update(lists=True, others=True))
    async with harness.client() as runai:
        with pytest.raises(WaitTimeoutError) as rollout:
            await within(harness, 40, runai.wait_for_rollout(harness.workload_id, timeout=40))
        harness.lists = harness.others = HTML_502
        harness.at(50, lambda: vars(harness).update(lists=True, others=True))
        with pytest.raises(WaitTimeoutError) as phase:
            await within(harness, 40, runai.wait_for_phase(revision_id, "Running", timeout=40))

    for error in (rollout.value, phase.value):
        assert (error.__cause__, "the last poll failed" in str(error)) == (None, False)
