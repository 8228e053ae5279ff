"""`runai-async rollout status`: what a pipeline gets, and with which exit status."""

import asyncio
import fcntl
import os
import re
import signal
import sys
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support.cli import Ran, environment, finished, polled, ran, started
from support.fleets import UNKNOWN_ID

from runai_async import RunaiClient
from runai_async.cli import gate
from runai_async.testing import FakeControlPlane

FAST = ["--interval", "20ms"]


@pytest.fixture
def workload_id(control_plane: FakeControlPlane) -> str:
    workload_id = control_plane.add_workload("my-llm")
    control_plane.add_revision(workload_id, "Running")
    return workload_id


async def status(control_plane: FakeControlPlane, *args: str, during: Awaitable[Any] | None = None) -> Ran:
    """Run the command while something happens."""
    meanwhile = asyncio.gather(*([during] if during is not None else []))
    result = await ran(control_plane, "rollout", "status", *args, *FAST)
    await meanwhile
    return result


def lines(result: Ran) -> list[str]:
    """Return what was printed, without the times."""
    return [re.sub(r"^ *\d+s  ", "", line) for line in result.out.splitlines()]


def long_ago() -> datetime:
    """Return the time of a failure that counts at once, because it is old."""
    return datetime.now(UTC) - timedelta(minutes=2)


async def roll_out(control_plane: FakeControlPlane, workload_id: str, last: str, message: str = "") -> None:
    """Roll out a revision whose last phase is *last*; the watch sees every phase."""
    await polled(control_plane)
    revision_id = control_plane.add_revision(workload_id, "Creating")
    for phase in ("Pending", last):
        await polled(control_plane)
        control_plane.set_phase(revision_id, phase, message, at=long_ago())


async def test_a_rollout_that_is_done_ends_at_once(control_plane: FakeControlPlane, workload_id: str) -> None:
    result = await status(control_plane, workload_id)
    assert (result.status, result.err) == (0, "")
    assert lines(result) == [
        f"rollout of {workload_id}",
        "my-llm-00001  Running  2/1-4 pods",
        "the rollout is done: my-llm-00001 serves",
    ]


async def test_after_waits_for_a_newer_revision(control_plane: FakeControlPlane, workload_id: str) -> None:
    result = await status(
        control_plane,
        "my-llm",
        "--after",
        control_plane.transitions[0].revision_id,
        "--timeout",
        "10s",
        during=roll_out(control_plane, workload_id, "Running"),
    )
    assert (result.status, result.err) == (0, "")
    assert lines(result) == [
        "rollout of my-llm, after my-llm-00001",
        "waiting for the new revision",
        "my-llm-00002  Creating  0/1-4 pods",
        "my-llm-00002  Pending  0/1-4 pods",
        "my-llm-00002  Running  2/1-4 pods",
        "the rollout is done: my-llm-00002 serves",
    ]
    assert "\x1b" not in result.out


@pytest.mark.parametrize("length", [6, 36, None])
async def test_after_is_an_id_or_its_beginning_or_a_name(
    control_plane: FakeControlPlane, workload_id: str, length: int | None
) -> None:
    after = "my-llm-00001" if length is None else control_plane.transitions[0].revision_id[:length]
    control_plane.add_revision(workload_id, "Running")
    result = await status(control_plane, "my-llm", "--after", after)
    assert (result.status, lines(result)[0]) == (0, "rollout of my-llm, after my-llm-00001")


async def test_a_failure_prints_message_and_conditions(
    control_plane: FakeControlPlane, workload_id: str
) -> None:
    change = roll_out(control_plane, workload_id, "Failed", "ImagePullBackOff: no such image")
    result = await status(control_plane, workload_id, "--after", "my-llm-00001", during=change)
    assert (result.status, lines(result)[-1]) == (
        1,
        "my-llm-00002  Failed  0/1-4 pods  ImagePullBackOff: no such image",
    )
    printed = [line.rstrip() for line in result.err.splitlines()]
    assert printed[:4] == [
        "my-llm-00002 is Failed",
        "ImagePullBackOff: no such image",
        "TYPE              STATUS   REASON     MESSAGE",
        "Ready             Unknown  Deploying  the revision is being rolled out",
    ]
    assert printed[-1] == "Error: the rollout failed: my-llm-00002 is Failed; my-llm-00001 serves meanwhile"


@pytest.mark.parametrize(("given", "is_printed"), [([], False), (["--stalled-after", "1m"], True)])
async def test_a_newest_revision_that_is_stuck_is_a_line_and_no_failure(
    control_plane: FakeControlPlane, workload_id: str, given: list[str], is_printed: bool
) -> None:
    async def arrive() -> None:
        revision_id = control_plane.add_revision(workload_id, "Creating")
        control_plane.set_phase(revision_id, "Pending", at=long_ago())  # ten minutes are the default
        await polled(control_plane, 3)
        control_plane.set_phase(revision_id, "Running")

    result = await status(control_plane, workload_id, "--after", "my-llm-00001", *given, during=arrive())
    assert (result.status, result.err) == (0, "")
    found = [item for item in lines(result) if item.startswith("stalled")]
    assert len(found) == is_printed
    for item in found:
        assert re.fullmatch("stalled: my-llm-00002 has been Pending for (1m59s|2m0[0-9]s)", item)


NO_ROOM = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."


@pytest.mark.parametrize("last", ["Failed", "Pending"])
async def test_a_failure_and_a_timeout_say_why(
    control_plane: FakeControlPlane, workload_id: str, last: str
) -> None:
    revision_id = control_plane.add_revision(
        workload_id, last, phase_message="not ready", phase_updated_at=long_ago()
    )
    control_plane.add_event(revision_id, reason="FailedScheduling", message=NO_ROOM, count=3)
    control_plane.set_pods(revision_id, "Pending", "Pending", "Running")
    result = await status(control_plane, workload_id, "--timeout", "500ms")
    assert result.status == (1 if last == "Failed" else 3)
    *_, why, pods, error = result.err.splitlines()
    assert why == f"why: FailedScheduling: {NO_ROOM} (3 times)"
    assert pods == "pods: 2 Pending, 1 Running"
    state = f"my-llm-00002 is {last}; my-llm-00001 serves meanwhile"
    assert error == (
        f"Error: the rollout failed: {state}"
        if last == "Failed"
        else f"Error: timed out after 500ms: {state}; the rollout goes on"
    )


async def test_a_revision_that_knative_gave_up_on_names_the_progress_deadline(
    control_plane: FakeControlPlane, workload_id: str
) -> None:
    message = 'Deployment "my-llm-00002-deployment" exceeded its progress deadline'
    control_plane.add_revision(workload_id, "Failed", phase_message=message, phase_updated_at=long_ago())
    result = await status(control_plane, workload_id)
    assert result.status == 1
    (why,) = [line for line in result.err.splitlines() if line.startswith("why: ")]
    assert why.startswith("why: it was not ready within Knative's progress-deadline: 10 minutes, unless")


async def test_what_an_event_says_is_printed_in_one_line_without_escapes(
    control_plane: FakeControlPlane, workload_id: str
) -> None:
    revision_id = control_plane.add_revision(workload_id, "Failed", phase_updated_at=long_ago())
    control_plane.add_event(revision_id, reason="BackOff", message="two\nlines \x1b[31m" + "long " * 1000)
    control_plane.set_pods(revision_id, "Odd\x1b[2J")
    result = await status(control_plane, workload_id)
    (why,) = [line for line in result.err.splitlines() if line.startswith("why: ")]
    assert why.startswith("why: BackOff: two lines [31mlong long")
    assert len(why) < 320
    assert "pods: 1 Odd [2J" in result.err
    assert "\x1b" not in result.err


@pytest.mark.parametrize("what", ["events", "pods"])
async def test_where_nobody_may_say_why_the_gate_fails_as_before(
    control_plane: FakeControlPlane, workload_id: str, what: str
) -> None:
    control_plane.add_revision(workload_id, "Failed", phase_updated_at=long_ago())
    control_plane.fail_next(None, 403, path=f"/{what}$")
    result = await status(control_plane, workload_id)
    assert result.status == 1
    assert "why" not in result.err
    assert result.err.splitlines()[-1].startswith("Error: the rollout failed: my-llm-00002 is Failed;")


async def test_a_timeout_has_a_status_of_its_own(control_plane: FakeControlPlane, workload_id: str) -> None:
    control_plane.add_revision(workload_id, "Pending", phase_message="waiting for 2 GPUs")
    result = await status(control_plane, workload_id, "--timeout", "100ms")
    assert (result.status, lines(result)[-1]) == (3, "my-llm-00002  Pending  0/1-4 pods  waiting for 2 GPUs")
    assert result.err.splitlines()[:2] == ["my-llm-00002 is Pending", "waiting for 2 GPUs"]
    assert result.err.splitlines()[-1].startswith("Error: timed out after 100ms: my-llm-00002 is Pending; ")


async def test_without_a_revision_only_the_error_is_printed(control_plane: FakeControlPlane) -> None:
    result = await status(control_plane, control_plane.add_workload("empty"), "--timeout", "500ms")
    assert (result.status, lines(result)[1:]) == (3, ["waiting for the new revision"])
    assert result.err.count("\n") == 1
    assert "has no revision: did the change take effect?" in result.err


async def test_a_revision_without_conditions_has_no_table(
    control_plane: FakeControlPlane, workload_id: str
) -> None:
    control_plane.add_revision(workload_id, "Failed", conditions=[], phase_updated_at=long_ago())
    result = await status(control_plane, workload_id)
    assert (result.status, result.err.splitlines()[:-1]) == (1, ["my-llm-00002 is Failed"])


async def test_a_very_long_message_is_printed_in_full_once(
    control_plane: FakeControlPlane, workload_id: str
) -> None:
    message = "no such image " * 400
    control_plane.add_revision(workload_id, "Pending", phase_message=message)
    result = await status(control_plane, workload_id, "--timeout", "100ms")
    assert result.status == 3
    assert len(lines(result)[-1]) < 300
    assert result.err.splitlines()[1] == message.strip()
    assert len(result.err.splitlines()[-1]) < 700
    assert result.err.endswith("; the rollout goes on\n")


async def test_pods_that_start_one_by_one_are_printed(
    control_plane: FakeControlPlane, workload_id: str
) -> None:
    revision_id = control_plane.add_revision(workload_id, "Pending", requested_pods={"number": 2})

    async def scale() -> None:
        for running in (0, 1, 2):
            await polled(control_plane)
            control_plane.set_phase(revision_id, "Running", running_pods=running)

    result = await status(control_plane, workload_id, during=scale())
    assert lines(result)[2:-1] == [f"my-llm-00002  Running  {running}/2 pods" for running in (0, 1, 2)]


async def test_an_outage_is_printed_and_waited_out(control_plane: FakeControlPlane, workload_id: str) -> None:
    revision_id = control_plane.add_revision(workload_id, "Pending")

    async def outage() -> None:
        await polled(control_plane)
        # Not retried within a call, so no deadline can replace this error.
        control_plane.fail_next(None, 501, body={"code": 501, "message": "upgrade"})
        await polled(control_plane, 5)
        control_plane.clear_faults()
        control_plane.set_phase(revision_id, "Running")

    result = await status(control_plane, workload_id, during=outage())
    assert (result.status, result.err) == (0, "")
    assert lines(result)[2] == "outage began: 501 upgrade"
    assert re.fullmatch(r"outage ended after \d\.\d s", lines(result)[3]) or "Running" in lines(result)[3]


async def test_an_outage_that_does_not_end_has_status_4(
    control_plane: FakeControlPlane, workload_id: str
) -> None:
    control_plane.add_revision(workload_id, "Pending")

    async def outage() -> None:
        await polled(control_plane)
        control_plane.fail_next(None, 503)

    result = await status(
        control_plane, workload_id, "--deadline", "400ms", "--max-outage", "150ms", during=outage()
    )
    assert result.status == 4
    assert result.err.count("\n") == 1


async def test_an_unknown_after_is_an_error(control_plane: FakeControlPlane, workload_id: str) -> None:
    result = await status(control_plane, workload_id, "--after", "my-llm-00009")
    assert (result.status, result.out, result.err.count("\n")) == (2, "", 1)
    hint = '(did you mean "my-llm-00001"?)'
    assert f'revision "my-llm-00009" not found in workload "{workload_id}" {hint}' in result.err


PURGED = "5d6e6a0a-5f0a-4a4e-9a5b-0c7a1f1f6b1d"


async def test_an_after_that_was_purged_still_means_a_newer_revision(
    control_plane: FakeControlPlane, workload_id: str
) -> None:
    change = roll_out(control_plane, workload_id, "Running")
    patience = ["--max-outage", "200ms"]  # also for the question whether it is really gone
    result = await status(control_plane, workload_id, "--after", PURGED, *patience, during=change)
    assert (result.status, result.err) == (0, "")
    assert lines(result)[:2] == [f"rollout of {workload_id}, after {PURGED}", "waiting for the new revision"]
    assert lines(result)[-1] == "the rollout is done: my-llm-00002 serves"


async def test_an_after_that_was_purged_is_not_followed_by_what_was_there(
    control_plane: FakeControlPlane, workload_id: str
) -> None:
    result = await status(control_plane, workload_id, "--after", PURGED, "--timeout", "500ms")
    assert (result.status, lines(result)[1:]) == (3, ["waiting for the new revision"])
    assert "no revision newer than the one given as --after" in result.err


# --- what is looked up before the wait ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param("503", marks=pytest.mark.slow),
        pytest.param("a web page", marks=pytest.mark.slow),
        "a gateway's 404",
        pytest.param("a reset", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("look_up", ["the name", "--after by name", "--after by id"])
async def test_an_outage_at_each_look_up_is_waited_out(
    control_plane: FakeControlPlane, workload_id: str, look_up: str, trouble: str
) -> None:
    before = control_plane.add_revision(workload_id, "Running")
    control_plane.add_revision(workload_id, "Running")
    path, after = {
        "the name": (r"/workloads$", before),
        "--after by name": (r"/revisions$", "my-llm-00002"),
        "--after by id": (f"/revisions/{before}$", before),
    }[look_up]
    if trouble == "503":
        control_plane.fail_next(6, 503, path=path)
    elif trouble == "a gateway's 404":
        control_plane.fail_next(3, 404, body="<html>no such route</html>", path=path)
    elif trouble == "a web page":
        control_plane.fail_next(6, 200, body="<html>log in</html>", path=path)
    else:
        control_plane.fault("reset", path=path, times=9)  # a dropped request is sent again
    result = await status(control_plane, "my-llm", "--after", after, "--timeout", "30s")
    assert result.status == 0
    assert [line for line in lines(result) if line.startswith("outage ")]
    assert lines(result)[-1] == "the rollout is done: my-llm-00003 serves"


@pytest.mark.parametrize("name", [True, False])
async def test_a_timeout_in_an_outage_names_the_outage(
    control_plane: FakeControlPlane, workload_id: str, *, name: bool
) -> None:
    control_plane.fail_next(None, 503, body={"code": 503, "message": "upgrade"})
    result = await status(control_plane, "my-llm" if name else workload_id, "--timeout", "700ms")
    assert (result.status, result.err.count("\n")) == (3, 1)
    outage = r"timed out after 700ms: the control plane has not responded for \d+s: "
    in_the_first_poll = r"timed out after 700ms: no poll of workload \S+ has succeeded"
    assert re.search(outage if name else f"{outage}|{in_the_first_poll}", result.err)
    assert "503 upgrade" in result.err


async def test_a_refusal_at_the_start_ends_it_at_once(control_plane: FakeControlPlane) -> None:
    result = await status(control_plane, "no-such", "--timeout", "30s")
    assert (result.status, result.err.count("\n")) == (2, 1)
    assert 'workload "no-such" not found' in result.err


async def test_an_after_that_is_missing_for_a_moment_is_read_later(
    control_plane: FakeControlPlane, workload_id: str
) -> None:
    async with RunaiClient(control_plane.url, control_plane.token) as runai:
        (before,) = [item.id for item in await runai.list_revisions(workload_id)]
    gone = {"code": 404, "message": f"there is no revision {before}"}
    control_plane.fail_next(1, 404, body=gone, path=f"/revisions/{before}$")
    change = roll_out(control_plane, workload_id, "Running")
    result = await status(control_plane, workload_id, "--after", before, during=change)
    assert (result.status, lines(result)[-1]) == (0, "the rollout is done: my-llm-00002 serves")


async def test_a_workload_that_is_deleted_and_created_again_fails_the_gate(
    control_plane: FakeControlPlane, workload_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "_GLANCE", 0.01)
    monkeypatch.setattr(gate, "_PAUSE", 0.01)
    control_plane.add_workload("2ada")  # whose id or name begins like no other
    control_plane.add_revision(workload_id, "Pending")
    created: list[str] = []

    async def recreate() -> None:
        await polled(control_plane, 2)
        control_plane.delete_workload(workload_id)
        await polled(control_plane, 2)
        control_plane.fail_next(1, 501, path="/workloads$")
        await listed(control_plane, 2)  # nobody has the name in the second one
        created.append(control_plane.add_workload("my-llm"))

    result = await status(control_plane, "my-llm", "--timeout", "30s", during=recreate())
    assert result.status == 1
    assert f"workload {workload_id} was deleted; the workload my-llm is {created[0]} now: " in result.err


async def test_a_workload_given_by_its_id_has_no_successor(
    control_plane: FakeControlPlane, workload_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "_GLANCE", 0.01)
    control_plane.add_revision(workload_id, "Pending")

    async def recreate() -> None:
        await polled(control_plane, 2)
        control_plane.delete_workload(workload_id)
        control_plane.add_workload("my-llm")

    result = await status(control_plane, workload_id, "--timeout", "500ms", during=recreate())
    assert (result.status, " now: run the command again" in result.err) == (3, False)


@pytest.mark.parametrize("others", [[], ["my-llm"]])
async def test_an_id_that_nothing_knows_is_an_error_at_once(
    control_plane: FakeControlPlane, workload_id: str, monkeypatch: pytest.MonkeyPatch, others: list[str]
) -> None:
    monkeypatch.setattr(gate, "_GLANCE", 0.01)
    control_plane.add_revision(workload_id, "Pending")
    result = await status(control_plane, UNKNOWN_ID, *others, "--timeout", "50s")
    assert (result.status, result.err) == (2, f'Error: workload "{UNKNOWN_ID}" not found\n')


@pytest.mark.parametrize("status_of_list", [501, None])
async def test_an_id_is_not_called_unknown_where_the_list_names_it_or_cannot_be_read(
    control_plane: FakeControlPlane,
    workload_id: str,
    monkeypatch: pytest.MonkeyPatch,
    status_of_list: int | None,
) -> None:
    monkeypatch.setattr(gate, "_GLANCE", 0.01)
    monkeypatch.setattr(gate, "_PAUSE", 0.01)
    control_plane.restart_read_model(2, missing=True)
    if status_of_list is not None:
        control_plane.fail_next(None, status_of_list, path="/workloads$")
    result = await status(control_plane, workload_id, "--timeout", "400ms", during=listed(control_plane, 2))
    assert result.status == 3


async def listed(control_plane: FakeControlPlane, times: int) -> None:
    """Wait for more listings of the workloads."""

    def count() -> int:
        return sum(request.path.endswith("/workloads") for request in control_plane.requests)

    goal = count() + times
    while count() < goal:
        await asyncio.sleep(0.002)


@pytest.mark.parametrize(
    ("number", "expected"),
    [(signal.SIGTERM, 143), pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow)],
)
async def test_a_gate_that_is_cancelled_says_that_the_rollout_goes_on(
    control_plane: FakeControlPlane, workload_id: str, number: int, expected: int
) -> None:
    control_plane.add_revision(workload_id, "Pending")
    async with started(control_plane, "rollout", "status", "my-llm", *FAST) as process:
        await polled(control_plane, 2)
        process.send_signal(number)
        ended = await finished(process)
    assert ended.status == expected
    assert re.fullmatch(r"runai-async: cancelled after \d+s; the rollout goes on\n", ended.err)


async def test_a_gate_whose_log_nobody_reads_ends_in_time(
    control_plane: FakeControlPlane, workload_id: str
) -> None:
    control_plane.add_revision(workload_id, "Pending")
    ours, theirs = os.pipe()
    fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, 4096)
    os.write(theirs, b"x" * 4096)
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "runai_async", "rollout", "status", "my-llm", "--timeout", "1s", *FAST),
            stdout=theirs,
            stderr=asyncio.subprocess.PIPE,
            env=environment(control_plane),
        )
        async with asyncio.timeout(20):
            ended = (await process.communicate())[1].decode()
    finally:
        os.close(theirs)
        os.close(ours)
    assert process.returncode == 3
    assert "timed out after 1s: " in ended
    assert sum(request.path.endswith("/revisions") for request in control_plane.requests) > 3
