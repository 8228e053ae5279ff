"""`runai-async rollout history`: what each revision changed."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml
from support.cli import Ran, on_terminal, ran, without_styles

from runai_async.testing import FakeControlPlane

SAME = {"environment_variables": {"MODE": "fast", "KEY": "hunter1"}, "arguments": "", "images": ["llm:1"]}


@pytest.fixture
def workload_id(control_plane: FakeControlPlane) -> str:
    """Five revisions: a deleted one, a stopped one, one that serves, one that failed and one that comes."""
    workload_id = control_plane.add_workload("chat")
    long = {**SAME, "images": ["registry.example/models/" + "llm" * 30 + ":2"]}
    changed = {**long, "environment_variables": {"MODE": "safe", "KEY": "hunter2"}}
    for hours, phase, fields in (
        (9, "Running", SAME),
        (7, "Stopped", SAME),
        (5, "Running", long),
        (3, "Failed", long),
        (1, "Pending", changed),
    ):
        at = datetime.now(UTC) - timedelta(hours=hours, seconds=5)
        revision_id = control_plane.add_revision(workload_id, phase, created_at=at, **fields)
        if hours == 9:
            control_plane.delete_revision(revision_id)
    return workload_id


async def history(control_plane: FakeControlPlane, *args: str) -> Ran:
    result = await ran(control_plane, "rollout", "history", *args)
    assert (result.status, result.err) == (0, "")
    return result


IMAGE = f"images[0]: llm:1 -> registry.example/models/{'llm' * 30}:2"
MASKED = "environment_variables.MODE: *** -> ***; environment_variables.KEY: *** -> ***"


async def test_the_newest_comes_first_and_deleted_ones_count(
    control_plane: FakeControlPlane, workload_id: str
) -> None:
    lines = (await history(control_plane, "chat")).out.splitlines()
    assert [line.split(maxsplit=4) for line in lines] == [
        ["REVISION", "PHASE", "AGE", "SERVES", "CHANGED"],
        ["chat-00005", "Pending", "1h00m", "-", MASKED],
        ["chat-00004", "Failed", "3h00m", "-", "nothing"],
        ["chat-00003", "Running", "5h00m", "yes", IMAGE],
        ["chat-00002", "Stopped", "7h00m", "-", "nothing"],
        ["chat-00001", "deleted", "9h00m", "-"],
    ]
    assert workload_id not in "".join(lines)


async def test_wide_has_ids_and_images(control_plane: FakeControlPlane, workload_id: str) -> None:
    lines = (await history(control_plane, workload_id, "-o", "wide", "--no-headers")).out.splitlines()
    assert len(lines) == 5
    name, _, _, _, _, image, change = lines[-2].split(maxsplit=6)
    assert (name, image, change) == ("chat-00002", "llm:1", "nothing")


async def test_secrets_are_shown_if_asked_for(control_plane: FakeControlPlane, workload_id: str) -> None:
    assert "hunter" not in (await history(control_plane, workload_id, "-o", "yaml")).out
    shown = await history(control_plane, "chat", "--show-secrets")
    assert "environment_variables.KEY: hunter1 -> hunter2" in shown.out


async def test_formats_for_programs(control_plane: FakeControlPlane, workload_id: str) -> None:
    found: dict[str, Any] = json.loads((await history(control_plane, "chat", "-o", "json")).out)
    steps = found["history"]
    assert [(item["revision"]["name"], item["serves"]) for item in steps] == [
        ("chat-00005", False),
        ("chat-00004", False),
        ("chat-00003", True),
        ("chat-00002", False),
        ("chat-00001", False),
    ]
    assert [item["changes"] for item in steps[1:]] == [
        [],
        [{"path": "images[0]", "old": "llm:1", "new": IMAGE.rsplit(maxsplit=1)[-1]}],
        [],
        None,
    ]
    assert steps[0]["revision"]["environmentVariables"] == {"MODE": "***", "KEY": "***"}
    assert yaml.safe_load((await history(control_plane, "chat", "-o", "yaml")).out) == found
    lines = (await history(control_plane, "chat", "-o", "jsonl")).out.splitlines()
    assert [json.loads(line) for line in lines] == steps
    names = (await history(control_plane, "chat", "-o", "name")).out.split()
    assert names == [item["revision"]["name"] for item in steps]


async def test_a_workload_without_revisions(control_plane: FakeControlPlane) -> None:
    control_plane.add_workload("idle")
    assert await ran(control_plane, "rollout", "history", "idle") == Ran(0, "", "idle has no revisions\n")


@pytest.mark.slow
async def test_a_terminal_cuts_what_changed(control_plane: FakeControlPlane, workload_id: str) -> None:
    (result,) = await on_terminal(control_plane, f"rollout history {workload_id}")
    lines = without_styles(result.out).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[3].endswith("…")
