"""`runai-async describe`: one screen about a workload."""

import json
import re
from datetime import UTC, datetime, timedelta

import pytest
import yaml
from attrs import evolve
from support.cli import Ran, ran
from support.samples import revision

from runai_async.cli.description import Description, ran_last
from runai_async.cli.ids import WorkloadRef
from runai_async.testing import FakeControlPlane

NO_ROOM = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."


@pytest.fixture
def workload_id(control_plane: FakeControlPlane) -> str:
    return control_plane.add_workload("chat", created_at=ago(5))


def ago(hours: float) -> datetime:
    """Return a time so many hours ago, also by the server's clock, which is known to half a second."""
    return datetime.now(UTC) - timedelta(hours=hours, seconds=5)


def add(control_plane: FakeControlPlane, workload_id: str, phase: str, hours: float, **fields: object) -> str:
    """Add a revision that entered its phase so many hours ago."""
    at = ago(hours)
    return control_plane.add_revision(workload_id, phase, created_at=at, phase_updated_at=at, **fields)


async def described(control_plane: FakeControlPlane, *args: str) -> list[str]:
    result: Ran = await ran(control_plane, "describe", *args)
    assert (result.status, result.err) == (0, "")
    assert "\x1b" not in result.out
    return result.out.splitlines()


async def test_a_rollout_that_waits_for_a_node(control_plane: FakeControlPlane, workload_id: str) -> None:
    add(control_plane, workload_id, "Stopped", 5)
    add(control_plane, workload_id, "Running", 3)
    new = add(
        control_plane, workload_id, "Pending", 1, phase_message="not ready", arguments="--secret hunter2"
    )
    control_plane.add_event(new, reason="Pulled", message="x", type="Normal", created_at=ago(0.75))
    control_plane.add_event(new, reason="FailedScheduling", message=NO_ROOM, created_at=ago(0.5))
    lines = await described(control_plane, "chat")
    assert lines == [
        f"Workload:   chat {workload_id}",
        "Project:    team-a",
        "Serves:     chat-00002  Running for 3h00m, 2/1-4 pods",
        "Comes:      chat-00003  Pending for 1h00m, 0/1-4 pods",
        "Message:    not ready",
        f"Why:        FailedScheduling: {NO_ROOM}",
        "Pods:       2 Pending",
        "Not true:   Ready is Unknown, Deploying: the revision is being rolled out",
        "Older:      1 more live revision",
        "Changed since chat-00002, which ran before:",
        "  images[0]: models.example/llm-server:1.2 -> models.example/llm-server:1.3",
        "  environment_variables.API_KEY: *** -> ***",
        "  arguments: *** -> ***",
        "Events of chat-00003, the newest first:",
        f"     30m  Warning  FailedScheduling: {NO_ROOM}",
        "     45m  Normal  Pulled: x",
    ]


async def test_a_rollout_that_failed_while_nothing_serves(
    control_plane: FakeControlPlane, workload_id: str
) -> None:
    control_plane.delete_revision(add(control_plane, workload_id, "Running", 3))
    message = 'Deployment "chat" exceeded its progress deadline'
    add(control_plane, workload_id, "Failed", 1, phase_message=message, conditions=[])
    lines = await described(control_plane, workload_id)
    assert lines[:5] == [
        f"Workload:   {workload_id}",
        "Serves:     nothing",
        "Failed:     chat-00002  Failed for 1h00m, 0/1-4 pods",
        f"Message:    {message}",
        "            it was not ready within Knative's progress-deadline",
    ]
    assert lines[5:7] == ["Pods:       none", "Changed since chat-00001, which ran before:"]


async def test_what_serves_and_is_the_newest_is_named_once(
    control_plane: FakeControlPlane, workload_id: str
) -> None:
    revision_id = add(control_plane, workload_id, "Running", 3, conditions=[])
    control_plane.add_event(revision_id, reason="Unhealthy", message="HTTP 503", created_at=ago(2))
    assert (await described(control_plane, "chat"))[2:] == [
        "Serves:     chat-00001  Running for 3h00m, 2/1-4 pods",
        "Pods:       2 Running",
        "Events of chat-00001, the newest first:",
        "   2h00m  Warning  Unhealthy: HTTP 503",
    ]


async def test_a_change_of_nothing_that_a_user_requests_is_said(
    control_plane: FakeControlPlane, workload_id: str
) -> None:
    same = {"images": ["llm:1"], "environment_variables": {}}
    add(control_plane, workload_id, "Running", 3, **same)
    add(control_plane, workload_id, "Pending", 1, **same)
    assert "Changed:    nothing since chat-00001, which ran before" in await described(control_plane, "chat")


async def test_a_workload_without_revisions(control_plane: FakeControlPlane, workload_id: str) -> None:
    assert (await described(control_plane, "chat"))[2:] == [
        "Serves:     nothing",
        "Newest:     none: it has no revisions",
    ]


@pytest.mark.parametrize(("number", "shown"), [(0, ""), (1, "C"), (2, "CB"), (9, "CBA")])
async def test_as_many_different_events_as_asked_for_are_printed(
    control_plane: FakeControlPlane, workload_id: str, number: int, shown: str
) -> None:
    revision_id = add(control_plane, workload_id, "Running", 3)
    for reason in "ABC":
        control_plane.add_event(revision_id, reason=reason, message="x", count=3)
    lines = await described(control_plane, "chat", "--events", str(number))
    found = [match for line in lines if (match := re.match(r" +\d+s  Warning  (.): x \(3 times\)", line))]
    assert "".join(match[1] for match in found) == shown


async def test_what_may_not_be_read_is_said(control_plane: FakeControlPlane, workload_id: str) -> None:
    add(control_plane, workload_id, "Pending", 3)
    control_plane.fail_next(None, 403, path="/(events|pods)$")
    lines = await described(control_plane, "chat")
    assert {"Pods:       not readable", "Events:     not readable"} <= set(lines)


async def test_a_lost_cluster_is_said(control_plane: FakeControlPlane, workload_id: str) -> None:
    add(control_plane, workload_id, "Running", 3)
    control_plane.disconnect_cluster(control_plane.cluster_ids[0], at=ago(1.01))
    lines = await described(control_plane, "chat")
    assert "Cluster:    cluster-1 lost its connection 60m ago: states may be out of date" in lines


async def test_a_revision_that_is_purged_meanwhile_is_described_by_what_was_listed(
    control_plane: FakeControlPlane, workload_id: str
) -> None:
    revision_id = add(control_plane, workload_id, "Pending", 3)
    control_plane.fail_next(None, 404, path=f"{revision_id}(/.*)?$")
    lines = await described(control_plane, "chat")
    assert lines[3:] == ["Comes:      chat-00001  Pending for 3h00m, 0/1-4 pods", "Events:     not readable"]


async def test_texts_of_the_server_are_one_line_without_escapes(
    control_plane: FakeControlPlane, workload_id: str
) -> None:
    evil = "two\nlines \x1b[31m" + "long " * 200
    condition = {"type": evil, "status": "False", "reason": evil, "message": evil}
    revision_id = add(
        control_plane, workload_id, "Pending", 3, phase_message=evil, conditions=[condition], name=evil
    )
    control_plane.add_event(revision_id, reason="A", message=evil, type=evil)
    control_plane.set_pods(revision_id, evil)
    assert len(await described(control_plane, "chat")) == 10


@pytest.mark.parametrize("language", ["json", "yaml"])
async def test_an_object_says_the_same(
    control_plane: FakeControlPlane, workload_id: str, language: str
) -> None:
    add(control_plane, workload_id, "Running", 3)
    new = add(control_plane, workload_id, "Pending", 1, arguments="--secret hunter2")
    at = ago(0.5)
    for _ in range(2):
        control_plane.add_event(new, reason="FailedScheduling", message=NO_ROOM, created_at=at)
    control_plane.disconnect_cluster(control_plane.cluster_ids[0], at=ago(1.01))
    result = await ran(control_plane, "describe", "chat", "-o", language)
    assert (result.status, result.err) == (0, "")
    found = json.loads(result.out) if language == "json" else yaml.safe_load(result.out)
    serving, newest, before = (found.pop(key) for key in ("serving", "newest", "before"))
    assert [item["name"] for item in (serving, newest, before)] == ["chat-00001", "chat-00002", "chat-00001"]
    assert newest["arguments"] == "***"
    assert "hunter2" not in result.out
    (condition,), (event,) = found.pop("conditions"), found.pop("events")
    assert condition["type"] == "Ready"
    assert datetime.fromisoformat(str(event.pop("lastAt"))) == at
    assert event == {"type": "Warning", "reason": "FailedScheduling", "message": NO_ROOM, "count": 2}
    assert found == {
        "workload": {"id": workload_id, "name": "chat", "project": "team-a"},
        "liveRevisions": 2,
        "cause": f"FailedScheduling: {NO_ROOM}",
        "exceededDeadline": False,
        "lostCluster": "cluster cluster-1 lost its connection 60m ago: states may be out of date",
        "pods": {"Pending": 2},
        "changes": [
            {
                "path": "images[0]",
                "old": "models.example/llm-server:1.1",
                "new": "models.example/llm-server:1.2",
            },
            {"path": "environment_variables.API_KEY", "old": "***", "new": "***"},
            {"path": "arguments", "old": "***", "new": "***"},
        ],
    }


async def test_the_help_names_the_keys(control_plane: FakeControlPlane, workload_id: str) -> None:
    text = (await ran(None, "describe", "--help")).out.partition("Keys of json and yaml")[2]
    named = re.findall(r"^    (\w+)(?:, (\w+))?  ", text.partition("Examples:")[0], re.MULTILINE)
    found = json.loads((await ran(control_plane, "describe", workload_id, "-o", "json")).out)
    assert [key for keys in named for key in keys if key] == list(found)


async def test_an_object_has_null_for_what_does_not_exist_or_cannot_be_read(
    control_plane: FakeControlPlane, workload_id: str
) -> None:
    keys = ("serving", "newest", "before", "cause", "lostCluster", "conditions", "pods", "changes", "events")

    async def nulls() -> tuple[int, list[str]]:
        result = await ran(control_plane, "describe", workload_id, "-o", "json")
        found = json.loads(result.out)
        assert found["workload"] == {"id": workload_id, "name": None, "project": None}
        return found["liveRevisions"], [key for key in keys if found[key] is None]

    none = ["serving", "newest", "before", "cause", "lostCluster", "conditions", "pods", "changes"]
    assert await nulls() == (0, none)
    add(control_plane, workload_id, "Running", 3)
    control_plane.fail_next(None, 403, path="/(events|pods)$")
    assert await nulls() == (1, ["before", "cause", "lostCluster", "pods", "changes", "events"])


def test_what_ran_last_serves_or_else_has_run() -> None:
    failed, stopped = revision(4, "Failed"), revision(3, "Stopped")
    serving, latest = revision(2, "Running"), revision(5, "Running")
    assert ran_last([failed, stopped, serving, latest], latest) is serving
    assert ran_last([failed, stopped, latest], latest) is stopped
    assert ran_last([failed, latest], latest) is None


def test_a_workload_that_was_not_looked_up_has_an_id_only() -> None:
    item = evolve(revision(), conditions=None)
    lines = list(Description(WorkloadRef("w1"), [item], events=None).lines(datetime.now(UTC)))
    assert (lines[0], lines[-1]) == ("Workload:   w1", "Events:     not readable")


async def test_a_project_tells_workloads_of_one_name_apart(control_plane: FakeControlPlane) -> None:
    control_plane.add_workload("chat")
    other = control_plane.add_workload("chat", project_id="p-b", project_name="team-b")
    assert (await ran(control_plane, "describe", "chat")).status == 2
    lines = await described(control_plane, "chat", "-p", "team-b")
    assert lines[:2] == [f"Workload:   chat {other}", "Project:    team-b"]


async def test_changes_show_secrets_only_on_request(
    control_plane: FakeControlPlane, workload_id: str
) -> None:
    add(control_plane, workload_id, "Running", 3, arguments="--secret hunter1")
    add(control_plane, workload_id, "Pending", 1, arguments="--secret hunter2")
    for form in ("table", "json", "yaml"):
        hidden, shown = [
            await ran(control_plane, "describe", "chat", "-o", form, *more)
            for more in ([], ["--show-secrets"])
        ]
        assert ("hunter" in hidden.out, "hunter1" in shown.out, "hunter2" in shown.out) == (False, True, True)
