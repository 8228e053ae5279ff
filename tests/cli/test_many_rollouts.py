"""`runai-async rollout status` of many workloads at once."""

import asyncio
import re
import signal
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from attrs import evolve
from support.cli import Ran, finished, polled, ran, started
from support.clocks import SocketlessClock
from support.samples import revision

from runai_async.cli import gate
from runai_async.cli.ids import WorkloadRef
from runai_async.cli.rollouts import Rollout, State, rollouts_of, shortfall, some, status_of, totals
from runai_async.cli.views.tally import Tally
from runai_async.errors import RolloutFailedError, TransportError, WaitTimeoutError
from runai_async.events import ClusterConnected, ClusterDisconnected, RevisionStalled
from runai_async.models import Phase
from runai_async.testing import FakeControlPlane

FAST = ["--interval", "20ms"]
OTHER = "7d6e6a0a-5f0a-4a4e-9a5b-0c7a1f1f6b1d"
NO_IMAGE = "Back-off pulling image llm:2"


async def status(control_plane: FakeControlPlane, *args: str, during: Awaitable[Any] | None = None) -> Ran:
    """Run the command while something happens."""
    meanwhile = asyncio.gather(*([during] if during is not None else []))
    result = await ran(control_plane, "rollout", "status", *args, *FAST)
    async with asyncio.timeout(10):
        await meanwhile
    return result


def lines(result: Ran) -> list[str]:
    """Return what was printed, without the times."""
    return [re.sub(r"^ *\d+s  ", "", line) for line in result.out.splitlines()]


def workload(control_plane: FakeControlPlane, name: str, phase: str = "Running", **fields: Any) -> str:
    """Add a workload with one revision, which has been in its phase for long; return the workload's id."""
    workload_id = control_plane.add_workload(name)
    long_ago = datetime.now(UTC) - timedelta(minutes=2)
    control_plane.add_revision(workload_id, phase, phase_updated_at=long_ago, **fields)
    return workload_id


def fail(control_plane: FakeControlPlane, name: str) -> str:
    """Add a workload whose rollout has failed for a cause that only an event says; return its id."""
    workload_id = workload(control_plane, name, "Failed", phase_message="not ready")
    control_plane.add_event(control_plane.transitions[-1].revision_id, reason="BackOff", message=NO_IMAGE)
    return workload_id


async def test_several_that_are_done_end_at_once(control_plane: FakeControlPlane) -> None:
    chat, _ = workload(control_plane, "chat"), workload(control_plane, "embed")
    result = await status(control_plane, chat, "embed", "chat")
    assert (result.status, result.err) == (0, "")
    first, *between, last = lines(result)
    assert first == "waiting for the rollouts of 2 workloads"
    assert sorted(between) == ["chat is done: chat-00001 serves", "embed is done: embed-00001 serves"]
    assert last == "the rollouts are done: 2 workloads: 2 done"


async def test_a_change_is_a_line(control_plane: FakeControlPlane) -> None:
    workload(control_plane, "chat")
    embed = control_plane.add_workload("embed")
    revision_id = control_plane.add_revision(embed, "Pending")

    async def arrive() -> None:
        await polled(control_plane, 6)
        control_plane.set_phase(revision_id, "Running")

    result = await status(control_plane, "chat", "embed", "--timeout", "30s", during=arrive())
    assert (result.status, result.err) == (0, "")
    assert [line for line in lines(result) if line.startswith("embed")] == [
        "embed-00001  Pending  0/1-4 pods",
        "embed is done: embed-00001 serves",
    ]


async def test_a_failure_among_many_is_named_with_its_cause(control_plane: FakeControlPlane) -> None:
    for name in ("chat", "rank", "vision"):
        workload(control_plane, name)
    fail(control_plane, "embed")
    result = await status(control_plane, "--all")
    assert result.status == 1
    verdict = f"embed failed: embed-00001 is Failed: BackOff: {NO_IMAGE}"
    assert verdict in lines(result)
    assert result.err.splitlines() == [verdict, "Error: 1 of 4 rollouts is not done: 1 failed"]


async def test_a_failure_counts_more_than_a_timeout(control_plane: FakeControlPlane) -> None:
    workload(control_plane, "chat")
    workload(control_plane, "rank", "Pending", phase_message="waiting for 2 GPUs")
    fail(control_plane, "embed")
    result = await status(control_plane, "--all", "--timeout", "1500ms")
    assert result.status == 1
    assert result.err.splitlines() == [
        f"embed failed: embed-00001 is Failed: BackOff: {NO_IMAGE}",
        "rank timed out: rank-00001 is Pending: waiting for 2 GPUs",
        "Error: 2 of 3 rollouts are not done: 1 failed, 1 timed out",
    ]
    assert "rank timed out" not in result.out


async def test_a_timeout_has_a_status_of_its_own(control_plane: FakeControlPlane) -> None:
    for name in ("chat", "embed"):
        workload(control_plane, name, "Pending", conditions=[])
    result = await status(control_plane, "chat", "embed", "--timeout", "1500ms")
    assert result.status == 3
    assert result.err.splitlines() == [
        "chat timed out: chat-00001 is Pending, 0/1-4 pods",
        "embed timed out: embed-00001 is Pending, 0/1-4 pods",
        "Error: 2 of 2 rollouts are not done: 2 timed out",
    ]


@pytest.mark.parametrize(
    ("reason", "message", "said"),
    [
        ("Failed", "Failed to pull image", "chat-00001: Failed to pull image"),
        ("Failed", "no such image", "chat-00001 is Failed: no such image"),
        ("BackOff", "no such image", "chat-00001 is Failed: BackOff: no such image"),
    ],
)
async def test_a_cause_does_not_repeat_the_phase(
    control_plane: FakeControlPlane, reason: str, message: str, said: str
) -> None:
    workload(control_plane, "embed", "Running")
    workload(control_plane, "chat", "Failed", phase_message="not ready")
    control_plane.add_event(control_plane.transitions[-1].revision_id, reason=reason, message=message)
    result = await status(control_plane, "chat", "embed", "--timeout", "20s")
    assert result.err.splitlines()[0] == f"chat failed: {said}"


@pytest.mark.parametrize("args", [["chat", "no-such"], ["chat", "embed", "-p", "team-z"]])
async def test_an_unknown_name_is_an_error_before_anything_is_waited_for(
    control_plane: FakeControlPlane, args: list[str]
) -> None:
    workload(control_plane, "chat", "Pending")
    result = await status(control_plane, *args)
    assert (result.status, result.out, result.err.count("\n")) == (2, "", 1)
    assert not [item for item in control_plane.requests if item.path.endswith("/revisions")]


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        ([], "name the workloads to wait for, or give --all"),
        (["-p", "team-a"], "name the workloads to wait for, or give --all"),
        (["chat", "--all"], "give workloads or --all, not both"),
        (["chat", "--filter", "phase!=Stopped"], "give workloads or --filter, not both"),
        (["chat", "--after", "chat-00001", "--after", "chat-00002"], "give --after once for each workload"),
    ],
)
async def test_what_makes_no_sense_is_rejected(
    control_plane: FakeControlPlane, args: list[str], reason: str
) -> None:
    result = await status(control_plane, *args)
    assert (result.status, result.out, len(control_plane.requests)) == (2, "", 0)
    assert result.err.startswith(f"Error: {reason}")


async def test_all_of_a_project_or_of_a_condition_are_chosen(control_plane: FakeControlPlane) -> None:
    for name in ("chat", "embed"):
        workload(control_plane, name)
    there = control_plane.add_workload("chat", project_id=OTHER, project_name="team-b")
    control_plane.add_revision(there, "Running")
    control_plane.add_workload("job", type="Training")
    for args, done in (
        (["--all", "-p", "team-b"], ["chat"]),
        (["--filter", "projectName==team-a"], ["chat", "embed"]),
        (["--all"], ["embed", "team-a/chat", "team-b/chat"]),
    ):
        result = await status(control_plane, *args)
        assert result.status == 0
        assert sorted(line.split()[0] for line in lines(result) if "is done:" in line) == done


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["--all"], "no inference workload exists"),
        (["--all", "-p", "team-z"], 'no inference workload exists in project "team-z"'),
        (["--filter", "projectName==team-z"], "no inference workload matches"),
    ],
)
async def test_a_selection_of_none_is_an_error(
    control_plane: FakeControlPlane, args: list[str], text: str
) -> None:
    control_plane.add_workload("job", type="Training")
    assert await status(control_plane, *args) == Ran(2, "", f"Error: {text}\n")


async def test_a_workload_without_revisions_is_counted_and_not_waited_for(
    control_plane: FakeControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "_GLANCE", 0.01)
    workload(control_plane, "chat")
    control_plane.add_workload("idle")
    distributed = control_plane.add_workload("wide")
    control_plane.fail_next(None, 404, path=f"{distributed}/revisions$")
    result = await status(control_plane, "--all")
    assert (result.status, result.err) == (0, "")
    assert {"idle has no revisions: it is not waited for", "wide has no revisions: it is not waited for"} <= {
        *lines(result)
    }
    assert lines(result)[-1] == "the rollouts are done: 3 workloads: 1 done, 2 without revisions"


async def test_a_named_workload_without_revisions_is_waited_for(control_plane: FakeControlPlane) -> None:
    workload(control_plane, "chat")
    idle = control_plane.add_workload("idle")

    async def arrive() -> None:
        await polled(control_plane, 4)
        control_plane.add_revision(idle, "Running")

    result = await status(control_plane, "chat", "idle", during=arrive())
    assert result.status == 0
    assert "idle waiting for the new revision" in lines(result)


async def test_what_has_no_revisions_for_a_moment_is_waited_for_while_others_are(
    control_plane: FakeControlPlane,
) -> None:
    chat = control_plane.add_workload("chat")
    revision_id = control_plane.add_revision(chat, "Pending")
    late = control_plane.add_workload("late")

    async def arrive() -> None:
        await polled(control_plane, 4)
        long_ago = datetime.now(UTC) - timedelta(minutes=2)
        control_plane.add_revision(late, "Failed", phase_updated_at=long_ago)
        await polled(control_plane, 6)
        control_plane.set_phase(revision_id, "Running")

    result = await status(control_plane, "--all", "--timeout", "30s", during=arrive())
    assert result.status == 1
    assert "late has no revisions: it is not waited for" in lines(result)
    assert "late failed: late-00001 is Failed" in result.err


async def test_no_revisions_at_all_are_no_success(control_plane: FakeControlPlane) -> None:
    for name in ("chat", "embed"):
        control_plane.add_workload(name)
    result = await status(control_plane, "--all")
    text = "no workload has a revision, so there is no rollout to wait for"
    assert (result.status, result.err) == (2, f"Error: {text}\n")


async def test_a_revision_that_cannot_be_decoded_is_one(control_plane: FakeControlPlane) -> None:
    workload(control_plane, "chat")
    control_plane.add_revision(control_plane.add_workload("odd"), "Running", created_at="never")
    result = await status(control_plane, "--all", "--timeout", "1500ms")
    assert result.status == 3
    assert "odd timed out: the rollout is not done after 1.5 s: revision odd-00001" in result.err


async def test_a_workload_that_is_deleted_meanwhile_fails(
    control_plane: FakeControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "_GLANCE", 0.01)
    workload(control_plane, "chat")
    embed = workload(control_plane, "embed", "Pending")

    async def delete() -> None:
        await polled(control_plane, 4)
        control_plane.delete_workload(embed)

    result = await status(control_plane, "--all", "--max-outage", "200ms", during=delete())
    assert result.status == 1
    assert f"embed failed: workload {embed} was deleted" in result.err.splitlines()


async def test_a_server_that_dies_half_way_is_an_outage(control_plane: FakeControlPlane) -> None:
    workload(control_plane, "chat")
    for name in ("embed", "rank"):
        workload(control_plane, name, "Pending")

    async def die() -> None:
        await polled(control_plane, 8)
        control_plane.fail_next(None, 501, body={"code": 501, "message": "gone"})

    result = await status(control_plane, "--all", "--max-outage", "300ms", during=die())
    assert result.status == 4
    assert lines(result).count("outage began: 501 gone") == 1
    *each, last = result.err.splitlines()
    assert [line.split(":")[0] for line in each] == ["embed ended by an error", "rank ended by an error"]
    assert last == "Error: 2 of 3 rollouts are not done: 2 ended by an error"


async def test_an_outage_is_waited_out_and_is_a_line(control_plane: FakeControlPlane) -> None:
    revisions = [
        control_plane.add_revision(control_plane.add_workload(name), "Pending") for name in ("chat", "embed")
    ]

    async def outage() -> None:
        await polled(control_plane, 6)
        control_plane.fail_next(None, 501, body={"code": 501, "message": "upgrade"})
        await polled(control_plane, 8)
        control_plane.clear_faults()
        for revision_id in revisions:
            control_plane.set_phase(revision_id, "Running")

    result = await status(control_plane, "--all", "--timeout", "30s", during=outage())
    assert (result.status, result.err) == (0, "")
    assert "outage began: 501 upgrade" in lines(result)


async def test_a_lost_cluster_is_one_line_and_each_that_is_stuck_has_its_own(
    control_plane: FakeControlPlane,
) -> None:
    for name in ("chat", "embed"):
        workload(control_plane, name, "Pending")
    control_plane.disconnect_cluster(
        control_plane.cluster_ids[0], at=datetime.now(UTC) - timedelta(hours=1.01)
    )
    result = await status(control_plane, "--all", "--timeout", "1500ms", "--stalled-after", "1m")
    assert result.status == 3
    printed = lines(result)
    assert printed.count("cluster cluster-1 lost its connection 60m ago: states may be out of date") == 1
    assert sum(line.startswith("stalled: ") for line in printed) == 2


async def test_a_timeout_of_the_look_up_names_the_outage(control_plane: FakeControlPlane) -> None:
    control_plane.fail_next(None, 501, body={"code": 501, "message": "upgrade"})
    result = await status(control_plane, "chat", "embed", "--timeout", "1500ms")
    assert result.status == 3
    assert re.search(r"timed out after 1s: the control plane has not responded for \d+s: ", result.err)


async def test_after_belongs_to_the_workload_of_its_name_or_id(control_plane: FakeControlPlane) -> None:
    names = ("chat", "embed")
    ids = [workload(control_plane, name) for name in names]
    chat_1, embed_1 = (item.revision_id for item in control_plane.transitions)

    async def roll_out() -> None:
        await polled(control_plane, 4)
        for workload_id in ids:
            control_plane.add_revision(workload_id, "Running")

    after = ["--after", "chat-00001", "--after", embed_1]
    result = await status(control_plane, "--all", *after, "--timeout", "30s", during=roll_out())
    assert (result.status, result.err) == (0, "")
    assert {"chat is done: chat-00002 serves", "embed is done: embed-00002 serves"} <= {*lines(result)}
    assert chat_1 not in result.out


@pytest.mark.parametrize(
    ("after", "text"),
    [
        ("rank-00001", '--after "rank-00001" is of none of these workloads; give NAME-00012 or an id'),
        ("3f2a", '--after "3f2a" is of none of these workloads; give NAME-00012 or an id'),
        (OTHER, f'--after "{OTHER}" is of none of these workloads; give NAME-00012 or an id'),
        (
            "chat-00001",
            '--after "chat-00001" is of more than one of these workloads; give NAME-00012 or an id',
        ),
        ("embed-00009", 'revision "embed-00009" not found in workload "embed" (did you mean "embed-00001"?)'),
    ],
)
async def test_an_after_of_no_single_workload_is_an_error(
    control_plane: FakeControlPlane, after: str, text: str
) -> None:
    for name in ("chat", "embed"):
        workload(control_plane, name)
    there = control_plane.add_workload("chat", project_id=OTHER, project_name="team-b")
    control_plane.add_revision(there, "Running")
    assert await status(control_plane, "--all", "--after", after) == Ran(2, "", f"Error: {text}\n")


async def test_three_hundred_at_once_take_few_connections(control_plane: FakeControlPlane) -> None:
    for number in range(300):
        workload(control_plane, f"w{number:03d}")
    control_plane.latency = 0.02
    result = await status(control_plane, "--all", "--timeout", "60s")
    assert (result.status, result.err) == (0, "")
    assert lines(result)[-1] == "the rollouts are done: 300 workloads: 300 done"
    assert 1 < control_plane.max_in_flight <= 32


@pytest.mark.parametrize(("number", "expected"), [(signal.SIGTERM, 143)])
async def test_a_cancelled_gate_says_how_many_rollouts_go_on(
    control_plane: FakeControlPlane, number: int, expected: int
) -> None:
    fail(control_plane, "chat")
    for name in ("embed", "rank"):
        workload(control_plane, name, "Pending")
    async with started(control_plane, "rollout", "status", "--all", *FAST) as process:
        assert process.stdout is not None
        while b"chat failed" not in await process.stdout.readline():
            pass
        process.send_signal(number)
        ended = await finished(process)
    assert ended.status == expected
    *failed, last = ended.err.splitlines()
    assert failed == [f"chat failed: chat-00001 is Failed: BackOff: {NO_IMAGE}"]
    assert re.fullmatch(r"runai-async: cancelled after \d+s; 2 rollouts go on", last)


# --- how it is written ------------------------------------------------------------------------------------


def entries(*names: str) -> list[Rollout]:
    return rollouts_of(WorkloadRef(name, name, "team-a") for name in names)


def test_the_totals_name_each_state_that_occurs() -> None:
    done, failed, late, broken, waiting = found = entries("a", "b", "c", "d", "e")
    done.end(1.0)
    failed.end(1.0, RolloutFailedError("no such image"))
    late.end(1.0, WaitTimeoutError("too late"))
    broken.end(1.0, TransportError("reset"))
    broken.end(9.0)  # it has ended already
    assert totals(found) == "5 workloads: 1 done, 1 failed, 1 timed out, 1 ended by an error, 1 waiting"
    assert shortfall(found) == "3 of 5 rollouts are not done: 1 failed, 1 timed out, 1 ended by an error"
    assert [status_of(items) for items in (found, [late, broken], [broken], [done, waiting])] == [1, 3, 4, 0]
    assert (broken.seconds, broken.reason) == (1.0, "reset; check RUNAI_BASE_URL, the network and the proxy")
    assert (waiting.state, done.account) == (State.WAITING, "")


def test_some_are_named() -> None:
    assert some(entries("a", "b", "c")) == "a, b, c"
    assert some(entries("a", "b", "c", "d", "e")) == "a, b, c and 2 more"


def test_a_workload_without_a_name_is_called_by_its_id() -> None:
    (item,) = rollouts_of([WorkloadRef("w1")])
    assert item.label == "w1"


async def printed(capsys: pytest.CaptureFixture[str]) -> list[str]:
    for _ in range(5):  # a task of its own writes the lines
        await asyncio.sleep(0)
    return [re.sub(r"^ *[0-9hms]+  ", "", line) for line in capsys.readouterr().out.splitlines()]


async def test_a_log_says_every_thirty_seconds_which_are_waited_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock = SocketlessClock()
    tally = Tally(600.0, clock)
    found = entries("a", "b")
    async with tally.live():
        await asyncio.sleep(0)
        await clock.advance(31)
        assert await printed(capsys) == ["waiting for the list of workloads"]
        tally.begin(found)
        found[0].revision = evolve(revision(), name="a-00001")
        await clock.advance(20)
        found[0].end(50.0)
        tally.ended(found[0])
        await clock.advance(10)
        assert await printed(capsys) == [
            "waiting for the rollouts of 2 workloads",
            "a is done: a-00001 serves",
            "2 workloads: 1 done, 1 waiting (b)",
        ]
        found[1].end(60.0)
        await clock.advance(31)
        assert await printed(capsys) == ["2 workloads: 2 done"]


async def test_what_concerns_all_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    clock = SocketlessClock()
    tally = Tally(600.0, clock)
    found = entries("a", "b")
    now = clock.now()
    lost = ClusterDisconnected(cluster_id=OTHER, name="gpu-1", observed_at=now, last_seen_at=now)
    back = ClusterConnected(cluster_id=OTHER, name="gpu-1", observed_at=now, last_seen_at=now)
    async with tally.live():
        tally.begin(found)
        for item in found:
            tally.outage_began(TransportError("reset"), item)
            tally.cluster(lost)
        await clock.advance(31)
        assert (await printed(capsys))[1:] == [
            "outage began: reset",
            "cluster gpu-1 lost its connection 0s ago: states may be out of date",
            "2 workloads: 2 waiting (a, b); the control plane has not responded for 30s: reset",
        ]
        for item in found:
            tally.outage_ended(31.0, item)
            tally.cluster(back)
        tally.outage_began(TransportError("reset"), found[0])
        found[0].end(32.0, TransportError("reset"))
        tally.ended(found[0])
        pending = evolve(revision(), phase=Phase.PENDING)
        tally.stalled(RevisionStalled(revision=pending, observed_at=now, since=now, seconds=720.0), found[0])
        found[1].revision = pending
        for _ in range(2):
            tally.changed(found[1])
        assert await printed(capsys) == [
            "cluster gpu-1 connected again",
            "outage ended after 31.0 s",
            "outage began: reset",
            "a ended by an error: reset; check RUNAI_BASE_URL, the network and the proxy",
            f"stalled: {pending.name} has been Pending for 12m",
            f"b  {pending.name}  Pending  2/1-4 pods",
        ]
