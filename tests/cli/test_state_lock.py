"""A state file belongs to one process at a time."""

import errno
import os
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.cli import finished, polled, ran, started

from runai_async.cli import state_lock
from runai_async.cli.exits import InputError
from runai_async.cli.state_lock import held
from runai_async.testing import FakeControlPlane

FAST = ["--interval", "30ms"]
IN_USE = "is in use by another process"


@pytest.fixture
def workload_id(control_plane: FakeControlPlane) -> str:
    workload_id = control_plane.add_workload("chat")
    control_plane.add_revision(workload_id, "Running")
    return workload_id


def test_one_at_a_time_has_it_and_nothing_is_left_behind(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    for _ in range(2):
        with held(path):
            with pytest.raises(InputError, match=IN_USE), held(path):
                pass
            with held(tmp_path / "another.json"):
                pass
    assert [*tmp_path.iterdir()] == []


def test_it_is_held_through_its_replacement_and_by_any_name(tmp_path: Path) -> None:
    path, link, draft = tmp_path / "state.json", tmp_path / "link", tmp_path / "draft"
    path.write_text("old")
    link.symlink_to(path)
    with held(link):
        draft.write_text("new")
        draft.replace(path)
        with pytest.raises(InputError, match=IN_USE), held(path):
            pass


def test_what_a_killed_process_left_behind_locks_nobody_out(tmp_path: Path) -> None:
    (tmp_path / "state.json.lock").touch()
    with held(tmp_path / "state.json"):
        pass
    assert [*tmp_path.iterdir()] == []


def test_a_lock_that_its_owner_removes_meanwhile_is_not_taken_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, lock = tmp_path / "state.json", tmp_path / "state.json.lock"
    opened: list[int] = []
    flock = state_lock.fcntl.flock

    def removed_once(descriptor: int, flags: int) -> None:
        flock(descriptor, flags)
        if not opened:
            lock.unlink()
        opened.append(descriptor)

    monkeypatch.setattr(state_lock, "fcntl", SimpleNamespace(flock=removed_once, LOCK_EX=2, LOCK_NB=4))
    with held(path):
        assert os.path.samestat(os.fstat(opened[1]), lock.stat())
    assert len(opened) == 2


def test_where_there_are_no_locks_a_warning_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "state.json"

    def without_locks(*_: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(state_lock, "fcntl", SimpleNamespace(flock=without_locks, LOCK_EX=2, LOCK_NB=4))
    with held(path), held(path):
        pass
    text = f"--state {path} cannot be locked (No locks available): make sure that no other process uses it"
    assert caplog.messages == [text, text]


def test_a_lock_that_cannot_be_opened_is_a_warning_and_a_folder_that_is_missing_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "state.json.lock").mkdir()
    with held(tmp_path / "state.json"):
        pass
    with held(tmp_path / "missing" / "state.json"):
        pass
    (text,) = caplog.messages
    assert "cannot be locked (Is a directory)" in text


def test_without_the_module_of_the_lock_and_for_what_is_no_file_nothing_is_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with held(tmp_path):
        assert not Path(f"{tmp_path}.lock").exists()
    monkeypatch.setattr(state_lock, "fcntl", None)
    path = tmp_path / "state.json"
    with held(path), held(path):
        assert [*tmp_path.iterdir()] == []


async def test_a_second_watch_of_the_same_state_ends_with_2_and_the_first_goes_on(
    control_plane: FakeControlPlane, workload_id: str, tmp_path: Path
) -> None:
    state = tmp_path / "state.json"
    async with started(control_plane, "watch", workload_id, "--state", str(state), *FAST) as first:
        await polled(control_plane)
        second = await ran(control_plane, "watch", workload_id, "--state", str(state), *FAST, "-n", "1")
        assert (second.status, second.out) == (2, "")
        assert second.err == f"Error: --state {state} {IN_USE}: end that one, or name another file\n"
        await polled(control_plane)
        first.send_signal(signal.SIGTERM)
        assert (await finished(first)).status == 143
    assert [*tmp_path.iterdir()] == [state]


async def test_after_a_kill_the_next_watch_has_the_state(
    control_plane: FakeControlPlane, workload_id: str, tmp_path: Path
) -> None:
    args = ["watch", workload_id, "--state", str(tmp_path / "state.json"), *FAST]
    async with started(control_plane, *args) as first:
        await polled(control_plane)
        first.kill()
        await finished(first)
    assert (tmp_path / "state.json.lock").exists()
    assert (await ran(control_plane, *args, "--timeout", "300ms")).status == 3
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]
