"""What a wait reports when the revision that it follows is stuck: one line, and it goes on."""

from datetime import timedelta

import pytest
from support.harness import Harness, within

from runai_async import PollPolicy, WaitTimeoutError

POLICY = PollPolicy(interval=10, fast_interval=10, jitter=0, stalled_after=65)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


def stuck(harness: Harness, revision_id: str, phase: str = "Pending", message: str = "") -> str:
    name = harness.state.revision(revision_id)["name"]
    return f"stalled: revision {name} ({revision_id}) has been {phase} for 70 s{message}"


async def test_a_wait_for_a_phase_logs_each_stall_of_its_revision_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    harness = Harness()
    revision_id = harness.add("Pending")
    harness.set_phase(revision_id, "Pending", message="no GPUs")
    harness.at(200, lambda: harness.set_phase(revision_id, "Creating"))
    harness.at(400, lambda: harness.set_phase(revision_id, "Running"))
    async with harness.client() as runai:
        await within(harness, 401, runai.wait_for_phase(revision_id, "Running", poll=POLICY))
    assert warnings(caplog) == [
        stuck(harness, revision_id, message=": no GPUs"),
        stuck(harness, revision_id, "Creating"),
    ]


@pytest.mark.parametrize("at", [None, "0001-01-01T00:00:00Z"])
async def test_a_wait_for_a_phase_counts_from_its_first_look_where_no_time_is_given(
    at: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    harness = Harness()
    revision_id = harness.add("Pending", phase_updated_at=at)
    async with harness.client() as runai:
        with pytest.raises(WaitTimeoutError):
            await within(harness, 301, runai.wait_for_phase(revision_id, "Running", timeout=300, poll=POLICY))
    assert warnings(caplog) == [stuck(harness, revision_id)]


async def test_a_wait_without_the_option_logs_no_stall(caplog: pytest.LogCaptureFixture) -> None:
    harness = Harness()
    revision_id = harness.add("Pending")
    async with harness.client() as runai:
        for wait in (
            runai.wait_for_phase(revision_id, "Running", timeout=300),
            runai.wait_for_rollout(harness.workload_id, timeout=300),
        ):
            with pytest.raises(WaitTimeoutError):
                await within(harness, 301, wait)
    assert warnings(caplog) == []


async def test_a_rollout_logs_the_stall_of_the_newest_revision_and_of_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    harness = Harness()
    old = harness.add("Pending", created_at=harness.clock.now() - timedelta(hours=1))
    new = harness.add("Pending")
    harness.at(300, lambda: harness.set_phase(new, "Running"))
    async with harness.client() as runai:
        done = await within(harness, 301, runai.wait_for_rollout(harness.workload_id, poll=POLICY))
    assert (done.id, old == new) == (new, False)
    assert warnings(caplog) == [stuck(harness, new)]


async def test_a_rollout_does_not_log_the_stall_of_the_revision_given_as_after(
    caplog: pytest.LogCaptureFixture,
) -> None:
    harness = Harness()
    old = harness.add("Pending")
    async with harness.client() as runai:
        wait = runai.wait_for_rollout(harness.workload_id, after=old, timeout=300, poll=POLICY)
        with pytest.raises(WaitTimeoutError):
            await within(harness, 301, wait)
    assert warnings(caplog) == []


async def test_a_rollout_does_not_log_the_stall_of_a_revision_that_serves(
    caplog: pytest.LogCaptureFixture,
) -> None:
    harness = Harness()
    revision_id = harness.add("Running")
    async with harness.client() as runai:
        done = await within(harness, 1, runai.wait_for_rollout(harness.workload_id, poll=POLICY))
    assert (done.id, warnings(caplog)) == (revision_id, [])
