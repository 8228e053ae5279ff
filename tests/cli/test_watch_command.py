"""`runai-async watch` in a pipe, in a log, and with a state file."""

import asyncio
import errno
import json
import os
import re
import signal
import stat
import threading
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.cli import Ran, polled, ran, started
from support.fleets import POLICY, of_size

from runai_async import Checkpoint, FleetCheckpoint, shard_of
from runai_async.checkpoint import fleet_part
from runai_async.cli.exits import InputError
from runai_async.cli.files import StateFile
from runai_async.testing import FakeControlPlane

FAST = ["--interval", "30ms", "--timeout", "20s"]
BRIEF = ["--interval", "30ms", "--timeout", "200ms"]
"""Long enough to be sure that there is no event."""


@pytest.fixture
def workload_id(control_plane: FakeControlPlane) -> str:
    workload_id = control_plane.add_workload("my-llm")
    control_plane.add_revision(workload_id, "Running")
    return workload_id


def events(result: Ran) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.out.splitlines()]


def summarized(result: Ran) -> list[tuple[str, str, str]]:
    return [(item["event"], item["revision"]["name"], item["revision"]["phase"]) for item in events(result)]


async def degrade_and_delete(control_plane: FakeControlPlane) -> None:
    """Give a watch something to report about the first revision."""
    revision_id = control_plane.transitions[0].revision_id
    await polled(control_plane)
    control_plane.set_phase(revision_id, "Degraded")
    await polled(control_plane)
    control_plane.delete_revision(revision_id)


async def test_a_pipe_gets_a_line_of_json_for_each_event(
    control_plane: FakeControlPlane, workload_id: str
) -> None:
    change = asyncio.create_task(degrade_and_delete(control_plane))
    result = await ran(control_plane, "watch", workload_id, *FAST, "--count", "3")
    await change
    assert (result.status, result.err) == (0, "")
    assert summarized(result) == [
        ("added", "my-llm-00001", "Running"),
        ("phase_changed", "my-llm-00001", "Degraded"),
        ("deleted", "my-llm-00001", "Degraded"),
    ]


@pytest.mark.parametrize("output", ["json", "table", "cloudevents"])
async def test_a_revision_that_is_stuck_is_reported_in_every_output_and_not_again_by_the_next_run(
    control_plane: FakeControlPlane, workload_id: str, output: str, tmp_path: Path
) -> None:
    revision_id = control_plane.add_revision(workload_id, "Creating")
    control_plane.set_phase(revision_id, "Pending", "no GPUs", at=datetime.now(UTC) - timedelta(minutes=20))
    args = ["watch", workload_id, "--stalled-after", "15m", "--new-only", "--output", output]
    args += ["--state", str(tmp_path / "state.json")]
    result = await ran(control_plane, *args, *FAST, "--count", "1")
    assert (result.status, result.err) == (0, "")
    if output == "table":
        assert re.search(r"  my-llm-00002  stalled: Pending for (19|20)m  0/1-4 pods  no GPUs\n$", result.out)
    else:
        (line,) = events(result)
        data = line if output == "json" else line["data"]
        assert (data["event"], data["revisionId"]) == ("stalled", revision_id)
        assert data["seconds"] == pytest.approx(1200, abs=30)
        assert output == "json" or line["type"] == "runai_async.revision.stalled"
    again = await ran(control_plane, *args, *BRIEF)
    assert (again.status, again.out) == (3, "")


async def test_without_the_option_nothing_is_reported_as_stalled(
    control_plane: FakeControlPlane, workload_id: str
) -> None:
    revision_id = control_plane.add_revision(workload_id, "Creating")
    control_plane.set_phase(revision_id, "Pending", at=datetime.now(UTC) - timedelta(days=20))
    result = await ran(control_plane, "watch", workload_id, "--new-only", *BRIEF)
    assert (result.status, result.out) == (3, "")


@pytest.mark.slow
async def test_lines_are_flushed_one_by_one(control_plane: FakeControlPlane, workload_id: str) -> None:
    async with started(control_plane, "watch", workload_id, *FAST) as process:
        assert process.stdout is not None
        for phase in ("Running", "Degraded", "Stopped"):
            line = json.loads(await asyncio.wait_for(process.stdout.readline(), 10))
            assert line["revision"]["phase"] == phase
            following = {"Running": "Degraded", "Degraded": "Stopped"}.get(phase)
            if following:
                control_plane.set_phase(line["revisionId"], following)


async def test_secrets_are_left_out_by_default(control_plane: FakeControlPlane, workload_id: str) -> None:
    args = ["watch", workload_id, *FAST, "-n", "1"]
    hidden, complete = [await ran(control_plane, *args, *more) for more in ([], ["--show-secrets"])]
    assert ("API_KEY" in hidden.out, "tensor-parallel" in hidden.out) == (False, False)
    assert ("API_KEY" in complete.out, "tensor-parallel" in complete.out) == (True, True)


async def test_only_events_about_revisions_are_cloudevents(
    control_plane: FakeControlPlane, workload_id: str
) -> None:
    result = await ran(
        control_plane, "watch", workload_id, "-o", "cloudevents", "--emit", "synced", *FAST, "-n", "2"
    )
    (event,) = events(result)
    assert (result.status, result.err) == (
        0,
        "runai-async: warning: --output cloudevents leaves out synced\n",
    )
    assert (event["specversion"], event["type"], event["source"]) == (
        "1.0",
        "runai_async.revision.added",
        f"/workloads/{workload_id}",
    )


async def test_what_cloudevents_leave_out_is_named_once(
    control_plane: FakeControlPlane, workload_id: str
) -> None:
    emit = [f"--emit={kind}" for kind in ("recovered", "updated", "degraded", "clusters", "degraded")]
    result = await ran(control_plane, "watch", workload_id, "-o", "cloudevents", *emit, *FAST, "-n", "1")
    assert result.err == "runai-async: warning: --output cloudevents leaves out degraded, recovered\n"
    assert (await ran(control_plane, "watch", workload_id, *emit, *FAST, "-n", "1")).err == ""


async def test_other_events_are_printed_on_demand(control_plane: FakeControlPlane, workload_id: str) -> None:
    result = await ran(control_plane, "watch", workload_id, "--emit", "synced", *FAST, "-n", "2")
    assert [event["event"] for event in events(result)] == ["added", "synced"]


async def test_existing_revisions_can_be_left_out(control_plane: FakeControlPlane, workload_id: str) -> None:
    result = await ran(control_plane, "watch", workload_id, "--new-only", *BRIEF)
    assert (result.status, result.out, result.err) == (
        3,
        "",
        "Error: timed out after 200ms\n",
    )


async def test_a_log_gets_a_line_of_text_for_each_event(
    control_plane: FakeControlPlane, workload_id: str
) -> None:
    async def outage() -> None:
        await polled(control_plane)
        # Not retried within a call, so no deadline can replace this error.
        control_plane.fail_next(None, 501, body={"code": 501, "message": "upgrade"})
        await polled(control_plane, 5)
        control_plane.clear_faults()

    change = asyncio.create_task(outage())
    args = ["watch", "my-llm", *FAST, "-o", "table", "-n", "3"]
    result = await ran(control_plane, *args)
    await change
    assert [re.sub(r"[\d:.]{12}Z|\d+\.\d s", "T", line) for line in result.out.splitlines()] == [
        "T  my-llm-00001  exists: Running for 0s  2/1-4 pods",
        "T  my-llm  outage began: 501 upgrade",
        "T  my-llm  outage ended after T",
    ]
    assert (result.status, result.err) == (0, "")  # the outage is not logged too


async def test_a_deleted_workload_ends_its_watch(control_plane: FakeControlPlane, workload_id: str) -> None:
    async def delete() -> None:
        await polled(control_plane)
        control_plane.delete_workload(workload_id)

    change = asyncio.create_task(delete())
    result = await ran(control_plane, "watch", workload_id, *FAST, "--max-outage", "100ms")
    await change
    assert (result.status, summarized(result)[-1]) == (0, ("deleted", "my-llm-00001", "Running"))
    assert result.err == ""


async def test_an_unknown_workload_is_reported_at_once(control_plane: FakeControlPlane) -> None:
    nothing = "5d6e6a0a-5f0a-4a4e-9a5b-0c7a1f1f6b1d"
    result = await ran(control_plane, "watch", nothing, *FAST, "--max-outage", "100ms")
    warning, error = result.err.splitlines()
    assert (result.status, warning) == (
        5,
        f"runai-async: workload {nothing} not found; retrying for a while",
    )
    assert f"404 there is no workload {nothing}" in error


async def test_an_error_of_the_first_check_is_left_to_the_watch(
    control_plane: FakeControlPlane, workload_id: str
) -> None:
    control_plane.fail_next(1, 403, path="/count$")
    result = await ran(control_plane, "watch", workload_id, *FAST, "-n", "1")
    assert (result.status, summarized(result), result.err) == (0, [("added", "my-llm-00001", "Running")], "")


async def test_an_outage_that_lasts_too_long_ends_with_status_4(
    control_plane: FakeControlPlane, workload_id: str
) -> None:
    async def stop() -> None:
        await polled(control_plane)
        control_plane.fail_next(None, 503)

    change = asyncio.create_task(stop())
    result = await ran(
        control_plane, "watch", workload_id, *FAST, "--max-outage", "200ms", "--deadline", "50ms"
    )
    await change
    warning, error = result.err.splitlines()
    assert (result.status, len(events(result))) == (4, 1)
    assert warning.startswith(f"runai-async: warning: workload {workload_id}: polls fail: ")
    assert error.endswith("check that the control plane responds; --max-outage sets how long to wait")


# --- many ---------------------------------------------------------------------------------------------------


async def test_several_workloads_are_one_stream(control_plane: FakeControlPlane, workload_id: str) -> None:
    other = control_plane.add_workload("other")
    control_plane.add_revision(other, "Pending")
    result = await ran(control_plane, "watch", "my-llm", other, *FAST, "-n", "2")
    assert sorted(summarized(result)) == [
        ("added", "my-llm-00001", "Running"),
        ("added", "other-00001", "Pending"),
    ]


@pytest.mark.parametrize(
    ("more", "names"),
    [
        ([], ["my-llm-00001", "other-00001"]),
        (["--filter", "name==other"], ["other-00001"]),
        (["--type", "Train"], ["job-00001"]),
    ],
)
async def test_all_watches_the_workloads_of_a_type_and_filter(
    control_plane: FakeControlPlane, workload_id: str, more: list[str], names: list[str]
) -> None:
    for name, kind in (("other", "Inference"), ("job", "Training")):
        control_plane.add_revision(control_plane.add_workload(name, type=kind), "Running")
    result = await ran(control_plane, "watch", "--all", *FAST, "-n", str(len(names)), *more)
    assert sorted(name for _, name, _ in summarized(result)) == names


@pytest.mark.parametrize(
    ("more", "what"),
    [
        (["--filter", "name==nosuch"], "inference workload"),
        (["--type", "noSuch"], "workload of a type with 'nosuch' in it"),
    ],
)
async def test_if_no_workload_matches_yet_a_line_says_so(
    control_plane: FakeControlPlane, workload_id: str, more: list[str], what: str
) -> None:
    result = await ran(control_plane, "watch", "--all", *BRIEF, *more)
    assert (result.status, result.out) == (3, "")
    assert result.err.splitlines() == [
        f"no {what} matches yet; looking for new ones every 10s",
        "Error: timed out after 200ms",
    ]


async def test_each_share_of_all_is_watched_by_one_process(control_plane: FakeControlPlane) -> None:
    ids = [control_plane.add_workload(f"llm-{number}") for number in range(8)]
    for workload_id in ids:
        control_plane.add_revision(workload_id, "Running")
    for index in range(2):
        own = {key for key in ids if shard_of(key, 2) == index}
        result = await ran(control_plane, "watch", "--all", "--shard", f"{index}/2", *BRIEF)
        assert {json.loads(line)["workloadId"] for line in result.out.splitlines()} & {*ids} == own


async def test_all_can_be_relaxed(control_plane: FakeControlPlane, workload_id: str) -> None:
    result = await ran(control_plane, "watch", "--all", "--relaxed-interval", "60s", *BRIEF)
    assert (result.status, result.err) == (3, "Error: timed out after 200ms\n")
    assert workload_id in result.out


# --- state --------------------------------------------------------------------------------------------------


async def test_a_state_file_resumes_where_the_last_run_ended(
    control_plane: FakeControlPlane, workload_id: str, tmp_path: Path
) -> None:
    file = tmp_path / "state.json"
    args = ["watch", workload_id, "--state", str(file)]
    first = [*FAST, "-n", "1"]
    assert summarized(await ran(control_plane, *args, *first)) == [("added", "my-llm-00001", "Running")]
    assert summarized(await ran(control_plane, *args, *BRIEF)) == []
    control_plane.add_revision(workload_id, "Pending")
    assert summarized(await ran(control_plane, *args, *first)) == [("added", "my-llm-00002", "Pending")]
    assert summarized(await ran(control_plane, *args, control_plane.add_workload("other"), *BRIEF)) == []
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "API_KEY" not in file.read_text(encoding="utf-8")


@pytest.mark.slow
async def test_a_killed_watch_has_saved_what_it_printed_before(
    control_plane: FakeControlPlane, workload_id: str, tmp_path: Path
) -> None:
    file = tmp_path / "state.json"
    args = ["watch", workload_id, *FAST, "--state", str(file)]
    async with started(control_plane, *args) as process:
        assert process.stdout is not None
        await process.stdout.readline()
        while "my-llm-00001" not in file.read_text(encoding="utf-8"):
            await asyncio.sleep(0.02)
        process.kill()
        await process.wait()
    assert summarized(await ran(control_plane, *args, *BRIEF)) == []


async def test_state_is_saved_while_a_watch_runs(
    control_plane: FakeControlPlane, workload_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runai_async.cli.files._PAUSE", 0.01)
    file = tmp_path / "state.json"

    async def change() -> str:
        while "my-llm-00001" not in (file.read_text(encoding="utf-8") if file.exists() else ""):
            await asyncio.sleep(0.01)
        saved = file.read_text(encoding="utf-8")
        control_plane.delete_workload(workload_id)
        return saved

    changing = asyncio.create_task(change())
    args = ["watch", workload_id, "--state", str(file), *FAST, "--max-outage", "100ms"]
    result = await ran(control_plane, *args)
    assert (result.status, summarized(result)[-1]) == (0, ("deleted", "my-llm-00001", "Running"))
    assert file.read_text(encoding="utf-8") != await changing


async def test_a_state_file_is_replaced_as_a_whole_or_not_at_all(
    control_plane: FakeControlPlane, workload_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "state.json"
    args = ["watch", workload_id, *FAST, "--state", str(file), "-n", "1"]
    await ran(control_plane, *args)
    saved = file.read_text(encoding="utf-8")
    control_plane.add_revision(workload_id, "Pending")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    result = await ran(control_plane, *args)
    assert (result.status, file.read_text(encoding="utf-8")) == (2, saved)
    assert f"--state {file} cannot be written: No space left on device" in result.err
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]


async def test_an_empty_state_file_is_a_new_one(
    control_plane: FakeControlPlane, workload_id: str, tmp_path: Path
) -> None:
    file = tmp_path / "state.json"
    file.touch()
    result = await ran(control_plane, "watch", workload_id, *FAST, "-n", "1", "--state", str(file))
    assert (result.status, result.err, len(events(result))) == (0, "", 1)
    assert FleetCheckpoint.from_json(file.read_text()).workloads.keys() == {workload_id}


def test_a_file_that_is_replaced_keeps_its_mode_and_its_owner(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    file.touch()
    file.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(file, 1234, 5678)
    before = file.stat()
    StateFile(file).save(["tex", "t"])
    after = file.stat()
    assert (file.read_text(), after.st_ino == before.st_ino) == ("text", False)
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)


@pytest.mark.parametrize("refused", [1, 2], ids=["owner", "owner and group"])
def test_an_owner_that_cannot_be_kept_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: int
) -> None:
    asked: list[int] = []

    def fchown(_: int, owner: int, _group: int) -> None:
        asked.append(owner)
        if len(asked) <= refused:
            raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr("os.fchown", fchown)
    file = tmp_path / "state.json"
    file.touch()
    StateFile(file).save(["tex", "t"])
    assert (file.read_text(), asked) == ("text", [os.getuid(), -1])


@pytest.mark.parametrize(
    ("call", "number"), [("os.replace", errno.EBUSY), ("os.open", errno.EROFS), ("os.open", errno.EACCES)]
)
def test_a_file_that_is_mounted_by_itself_is_an_error_that_says_what_to_mount(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    file = tmp_path / "state.json"
    file.touch()
    monkeypatch.setattr(call, fail)
    with pytest.raises(InputError, match="where the file alone is mounted, mount its folder"):
        StateFile(file).save(["tex", "t"])
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "checkpoint: not JSON"),
        ('{"version": 9, "workloads": []}', "version 9 is unknown here"),
        ('{"version": 1, "workload_id": "x", "revisions": []}', "is this the checkpoint of a single watch?"),
    ],
)
async def test_a_state_file_that_cannot_be_read_is_an_error(
    control_plane: FakeControlPlane, workload_id: str, tmp_path: Path, text: str, problem: str
) -> None:
    file = tmp_path / "state.json"
    file.write_text(text, encoding="utf-8")
    result = await ran(control_plane, "watch", workload_id, "--state", str(file))
    assert (result.status, result.out, result.err.count("\n")) == (2, "", 1)
    assert problem in result.err
    assert "move it away, or name another file, to start afresh" in result.err
    assert file.read_text(encoding="utf-8") == text


async def test_a_state_file_of_another_workload_is_rejected(
    control_plane: FakeControlPlane, workload_id: str, tmp_path: Path
) -> None:
    file = tmp_path / "state.json"
    await ran(control_plane, "watch", workload_id, "--state", str(file), *FAST, "-n", "1")
    result = await ran(control_plane, "watch", control_plane.add_workload("other"), "--state", str(file))
    assert result.status == 2
    assert f"belongs to workload {workload_id}: name another file" in result.err


@pytest.mark.parametrize("everything", [False, True])
async def test_a_state_file_of_another_control_plane_is_rejected_until_it_is_adopted(
    control_plane: FakeControlPlane, workload_id: str, tmp_path: Path, everything: bool
) -> None:
    file = tmp_path / "state.json"
    args = ["watch", *(["--all"] if everything else [workload_id]), "--state", str(file), *FAST, "-n", "1"]
    await ran(control_plane, *args)
    alias = control_plane.url.replace("127.0.0.1", "localhost")
    before = file.read_text(encoding="utf-8")
    result = await ran(control_plane, *args, RUNAI_BASE_URL=alias)
    assert (result.status, result.out, result.err.count("\n")) == (2, "", 1)
    assert f"{file} is of {control_plane.url}, but this control plane is {alias}" in result.err
    assert "give --adopt-state if it is the same one under another name" in result.err
    assert file.read_text(encoding="utf-8") == before

    control_plane.add_revision(workload_id, "Creating")
    result = await ran(control_plane, *args, "--adopt-state", RUNAI_BASE_URL=alias)
    assert (result.status, len(events(result))) == (0, 1)
    assert FleetCheckpoint.from_json(file.read_text(encoding="utf-8")).base_url == alias


async def test_a_state_that_is_adopted_includes_that_of_other_workloads(
    control_plane: FakeControlPlane, workload_id: str, tmp_path: Path
) -> None:
    file = tmp_path / "state.json"
    parts = {key: Checkpoint(key, base_url="https://old.example") for key in (workload_id, OTHER)}
    file.write_text(FleetCheckpoint(parts, "https://old.example").to_json())
    result = await ran(
        control_plane, "watch", workload_id, *FAST, "-n", "1", "--state", str(file), "--adopt-state"
    )
    assert result.status == 0
    kept = FleetCheckpoint.from_json(file.read_text())
    assert {kept.base_url, *(part.base_url for part in kept.workloads.values())} == {control_plane.url}
    assert kept.workloads.keys() == {workload_id, OTHER}


async def test_adopting_a_state_requires_one(control_plane: FakeControlPlane, workload_id: str) -> None:
    result = await ran(control_plane, "watch", workload_id, "--adopt-state")
    assert (result.status, result.out) == (2, "")
    assert "--adopt-state requires --state" in result.err


async def test_a_state_file_in_a_missing_folder_is_rejected_before_anything_is_printed(
    control_plane: FakeControlPlane, workload_id: str, tmp_path: Path
) -> None:
    result = await ran(control_plane, "watch", workload_id, "--state", str(tmp_path / "no" / "state.json"))
    assert (result.status, result.out) == (2, "")
    assert "cannot be written: No such file or directory" in result.err


async def test_a_save_in_progress_ends_before_the_last_one_begins(tmp_path: Path) -> None:
    saving, goes_on = threading.Event(), threading.Event()
    saved: list[str] = []

    class Slow(StateFile):
        def save(self, pieces: Iterable[str]) -> None:
            text = "".join(pieces)
            saved.append(f"begins {text}")
            saving.set()
            goes_on.wait(10)
            saved.append(f"ends {text}")

    ids = ["5d6e6a0a-5f0a-4a4e-9a5b-0c7a1f1f6b1d", "6d6e6a0a-5f0a-4a4e-9a5b-0c7a1f1f6b1d"]
    texts = [FleetCheckpoint({key: Checkpoint(key)}) for key in ids]
    current = iter(texts)
    keeping = asyncio.create_task(Slow(tmp_path / "state.json").keep(lambda: next(current)))
    await asyncio.to_thread(saving.wait, 10)
    keeping.cancel()
    await asyncio.sleep(0.05)
    goes_on.set()
    await asyncio.wait({keeping})
    assert keeping.cancelled()
    first, last = (text.to_json() for text in texts)
    assert saved == [f"begins {first}", f"ends {first}", f"begins {last}", f"ends {last}"]


def checkpoint_of(key: str, *, synced: bool = True) -> FleetCheckpoint:
    return FleetCheckpoint({key: Checkpoint(key, synced=synced)})


ONE, OTHER = "5d6e6a0a-5f0a-4a4e-9a5b-0c7a1f1f6b1d", "6d6e6a0a-5f0a-4a4e-9a5b-0c7a1f1f6b1d"


async def test_a_failed_save_is_logged_once_and_retried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("runai_async.cli.files._PAUSE", 0.001)
    monkeypatch.setattr("runai_async.cli.files._SHARE", 0)
    attempts: list[None] = []

    class Counting(StateFile):
        def save(self, pieces: Iterable[str]) -> None:
            attempts.append(None)
            super().save(pieces)

    folder, away = tmp_path / "folder", tmp_path / "away"
    folder.mkdir()
    current = [checkpoint_of(ONE)]
    path = folder / "state.json"
    keeping = asyncio.create_task(Counting(path).keep(lambda: current[-1]))

    async def until_saved(text: str) -> None:
        async with asyncio.timeout(10):
            while not path.exists() or path.read_text() != text:
                await asyncio.sleep(0.001)

    await until_saved(current[-1].to_json())
    folder.rename(away)
    current.append(checkpoint_of(ONE, synced=False))
    goal = len(attempts) + 3
    async with asyncio.timeout(10):
        while len(attempts) < goal:
            await asyncio.sleep(0.001)
    assert caplog.messages == [f"--state {path} cannot be written: No such file or directory; retrying"]
    away.rename(folder)
    await until_saved(current[-1].to_json())
    keeping.cancel()
    await asyncio.wait({keeping})
    assert keeping.cancelled()


async def test_an_unchanged_state_is_not_saved_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runai_async.cli.files._PAUSE", 0.001)
    saved: list[str] = []

    class Counting(StateFile):
        def save(self, pieces: Iterable[str]) -> None:
            saved.append("".join(pieces))

    calls: list[None] = []

    def current() -> FleetCheckpoint:
        calls.append(None)
        return checkpoint_of(ONE)

    keeping = asyncio.create_task(Counting(tmp_path / "state.json").keep(current))
    async with asyncio.timeout(10):
        while len(calls) < 5:
            await asyncio.sleep(0.001)
    keeping.cancel()
    await asyncio.wait({keeping})
    assert saved == [checkpoint_of(ONE).to_json()]


async def test_a_save_encodes_only_the_workloads_that_have_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runai_async.cli.files._PAUSE", 0.001)
    monkeypatch.setattr("runai_async.cli.files._SHARE", 0)
    encoded: list[str] = []

    def counted(checkpoint: Checkpoint, base_url: str | None) -> str:
        encoded.append(checkpoint.workload_id)
        return fleet_part(checkpoint, base_url)

    monkeypatch.setattr("runai_async.cli.files.fleet_part", counted)
    harness, ids, revisions = of_size(3)
    path = tmp_path / "state.json"
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        await harness.collect(fleet, 10)
        keeping = asyncio.create_task(StateFile(path).keep(fleet.checkpoint))

        async def until_saved() -> None:
            async with asyncio.timeout(10):
                while not path.exists() or path.read_text() != fleet.checkpoint().to_json():
                    await asyncio.sleep(0.001)

        await until_saved()
        assert sorted(encoded) == sorted(ids)
        harness.set_phase(revisions[ids[1]], "Degraded")
        await harness.collect(fleet, 10)
        await until_saved()
        assert encoded[3:] == [ids[1]]
        fleet.remove(ids[0])
        await until_saved()
        keeping.cancel()
        await asyncio.wait({keeping})
    assert FleetCheckpoint.from_json(path.read_text()).workloads.keys() == {*ids[1:]}
    assert len(encoded) == 4


async def test_a_state_file_behind_a_link_stays_there_and_keeps_the_state_of_others(
    control_plane: FakeControlPlane, workload_id: str, tmp_path: Path
) -> None:
    file, link = tmp_path / "real.json", tmp_path / "link.json"
    both = FleetCheckpoint({workload_id: Checkpoint(workload_id), OTHER: Checkpoint(OTHER, synced=True)})
    file.write_text(both.to_json())
    link.symlink_to(file)
    result = await ran(control_plane, "watch", workload_id, *FAST, "--count", "1", "--state", str(link))
    assert (result.status, link.is_symlink()) == (0, True)
    kept = FleetCheckpoint.from_json(file.read_text()).workloads
    assert kept[OTHER] == both.workloads[OTHER]
    assert len(kept[workload_id].revisions) == 1


def test_a_state_of_all_workloads_has_no_others(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_text(checkpoint_of(ONE).to_json())
    assert StateFile(path).load(None, "https://acme.run.ai") == checkpoint_of(ONE)


async def test_a_state_that_is_not_a_regular_file_is_rejected(
    control_plane: FakeControlPlane, workload_id: str, tmp_path: Path
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    result = await ran(control_plane, "watch", workload_id, "--state", str(pipe))
    assert (result.status, result.out) == (2, "")
    assert "is not a regular file: name another one" in result.err


async def test_a_view_that_displays_outages_still_logs_what_it_cannot_display(
    control_plane: FakeControlPlane, workload_id: str
) -> None:
    control_plane.add_revision(workload_id, "Failed", created_at="yesterday")
    result = await ran(control_plane, "watch", workload_id, *BRIEF, "-o", "table")
    assert (result.status, result.err.count("a revision cannot be decoded")) == (3, 1)
    rollout = await ran(control_plane, "rollout", "status", workload_id, "--timeout", "300ms")
    assert "a revision cannot be decoded: $.createdAt" in rollout.err


@pytest.mark.parametrize("args", [["-A"], ["--all"], ["llm"]])
async def test_a_project_limits_what_is_watched(args: list[str]) -> None:
    async with FakeControlPlane() as control_plane:
        ids = {
            project: control_plane.add_workload("llm", project_id=ONE[:-1] + end, project_name=project)
            for project, end in (("team-a", "1"), ("team-b", "2"))
        }
        for workload_id in ids.values():
            control_plane.add_revision(workload_id, "Running")
        brief = ["--interval", "20ms", "-n", "1", "-p", "team-b", "--timeout", "10s"]
        result = await ran(control_plane, "watch", *args, *brief)
        assert (result.status, json.loads(result.out)["workloadId"]) == (0, ids["team-b"])
        paths = [request.path for request in control_plane.requests]
        assert [path for path in paths if ids["team-a"] in path] == []


@pytest.mark.parametrize(
    ("command", "workload", "reason"),
    [
        (["watch"], ONE, "timed out after 100ms"),
        (["watch"], "my-llm", "timed out after 100ms"),
        (["rollout", "status"], ONE, f"timed out after 100ms: no poll of workload {ONE} has succeeded"),
        (
            ["rollout", "status"],
            "my-llm",
            "timed out after 100ms: the control plane has not responded to the first request",
        ),
    ],
)
async def test_the_timeout_covers_the_first_requests_too(
    command: list[str], workload: str, reason: str
) -> None:
    async with FakeControlPlane() as control_plane:
        control_plane.add_workload("my-llm", id=ONE)
        control_plane.hold()
        result = await ran(control_plane, *command, workload, "--timeout", "100ms", "--deadline", "20s")
    assert (result.status, "my-llm-00" in result.out) == (3, False)
    assert reason in result.err


@pytest.mark.slow
async def test_a_signal_takes_effect_while_nobody_reads_a_full_pipe() -> None:
    async with FakeControlPlane() as control_plane:
        workload_id = control_plane.add_workload()
        for _ in range(300):
            control_plane.add_revision(workload_id, "Running")
        async with started(control_plane, "watch", workload_id, "-o", "jsonl") as process:
            # 300 lines of 2 kB fill the pipe, and what asyncio reads ahead of it, long before the last one.
            await polled(control_plane, 1)
            await asyncio.sleep(0.5)
            process.terminate()
            async with asyncio.timeout(10):  # wait() would need the pipe to be read to its end
                while process.returncode is None:
                    await asyncio.sleep(0.01)
    assert process.returncode == 128 + signal.SIGTERM


async def test_workloads_of_one_name_are_told_apart_by_their_projects() -> None:
    async with FakeControlPlane() as control_plane:
        for project in ("team-a", "team-b"):
            control_plane.add_revision(
                control_plane.add_workload("dup", project_name=project, project_id=project), "Running"
            )
        result = await ran(control_plane, "watch", "--all", *FAST, "-o", "table", "-n", "2")
        named = [line.split()[1] for line in result.out.splitlines()]
    assert sorted(named) == ["team-a/dup-00001", "team-b/dup-00001"]


async def test_an_outage_of_all_is_a_line_when_it_begins_and_one_when_it_ends() -> None:
    async with FakeControlPlane() as control_plane:
        for index in range(20):
            control_plane.add_revision(control_plane.add_workload(f"llm-{index}"), "Running")

        async def restart() -> None:
            await polled(control_plane, 40)
            control_plane.fail_next(None, 501, body={"code": 501, "message": "upgrade"}, path="/revisions$")
            await polled(control_plane, 60)
            control_plane.clear_faults()
            await polled(control_plane, 60)

        change = asyncio.create_task(restart())
        args = ["watch", "--all", "--interval", "100ms", "-o", "table", "--timeout", "3s"]
        lines = (await ran(control_plane, *args)).out.splitlines()
        await change
    said = [re.sub(r"^\S+  |\d+\.\d s$", "", line) for line in lines if "outage" in line]
    assert said == ["all workloads  outage began: 501 upgrade", "all workloads  outage ended after "]
