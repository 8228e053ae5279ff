"""Events and pods of the fake control plane."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support.raw import get, refusal

from runai_async.testing import FakeControlPlane

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
UNKNOWN = "7c5a8c3e-0b8e-4d5c-9b1a-1d2e3f4a5b6c"


@pytest.fixture
def times() -> list[datetime]:
    return [NOON]


@pytest.fixture
async def control_plane(times: list[datetime]) -> Any:
    async with FakeControlPlane(clock=lambda: times[-1]) as control_plane:
        yield control_plane


@pytest.fixture
def revision_id(control_plane: FakeControlPlane) -> str:
    workload_id = control_plane.add_workload("llm")
    return control_plane.add_revision(workload_id, "Running", requested_pods={"number": 3}, running_pods=1)


def path_of(revision_id: str, what: str) -> str:
    return f"/api/v1/workloads/inferences/revisions/{revision_id}/{what}"


async def phases(control_plane: FakeControlPlane, revision_id: str) -> list[str]:
    return [
        item["k8sPhase"] for item in (await get(control_plane, path_of(revision_id, "pods"))).body["pods"]
    ]


async def test_an_event_is_about_the_first_pod(
    control_plane: FakeControlPlane, times: list[datetime], revision_id: str
) -> None:
    times.append(NOON + timedelta(hours=1))
    control_plane.add_event(revision_id.upper(), reason="FailedScheduling", message="no room", exit_code=5)
    (event,) = (await get(control_plane, path_of(revision_id, "events"))).body["events"]
    pod = (await get(control_plane, path_of(revision_id, "pods"))).body["pods"][0]
    assert event == {
        "createdAt": "2026-05-01T13:00:00.000000Z",
        "id": event["id"],
        "clusterId": control_plane.cluster_ids[0],
        "type": "Warning",
        "reason": "FailedScheduling",
        "message": "no room",
        "source": "kubelet",
        "involvedObject": {
            "uid": pod["id"],
            "kind": "Pod",
            "name": pod["name"],
            "namespace": "runai-team-a",
        },
        "exitCode": 5,
    }


@pytest.mark.parametrize(
    ("query", "order"), [("", "210"), ("?sortOrder=desc", "210"), ("?sortOrder=asc", "012")]
)
async def test_events_are_sorted(
    control_plane: FakeControlPlane, revision_id: str, query: str, order: str
) -> None:
    for number in range(3):
        control_plane.add_event(revision_id, reason=str(number), message="x")
    listed = (await get(control_plane, path_of(revision_id, f"events{query}"))).body["events"]
    assert "".join(event["reason"] for event in listed) == order


async def test_events_come_in_pages(control_plane: FakeControlPlane, revision_id: str) -> None:
    control_plane.add_event(revision_id, reason="A", message="x", count=3)
    first = (await get(control_plane, path_of(revision_id, "events?limit=2"))).body
    rest = (await get(control_plane, path_of(revision_id, "events?limit=2&offset=2"))).body
    assert (len(first["events"]), first["next"], len(rest["events"]), "next" in rest) == (2, 2, 1, False)
    assert len({event["id"] for event in first["events"] + rest["events"]}) == 3


@pytest.mark.parametrize("query", ["sortOrder=up", "sortOrder=asc&sortOrder=desc", "limit=0", "offset=-1"])
async def test_a_query_that_is_not_the_api_s_is_a_400(
    control_plane: FakeControlPlane, revision_id: str, query: str
) -> None:
    assert (await get(control_plane, path_of(revision_id, f"events?{query}"))).status == 400


@pytest.mark.parametrize(
    ("phase", "running", "expected"),
    [
        ("Running", 3, ["Running"] * 3),
        ("Running", 1, ["Running", "Pending", "Pending"]),
        ("Pending", 0, ["Pending"] * 3),
        ("Running", 5, ["Running"] * 5),
        ("Failed", 0, []),
        ("Stopped", 0, []),
    ],
)
async def test_a_revision_has_the_pods_that_its_fields_name(
    control_plane: FakeControlPlane, revision_id: str, phase: str, running: int, expected: list[str]
) -> None:
    control_plane.set_phase(revision_id, phase, running_pods=running)
    assert await phases(control_plane, revision_id) == expected


async def test_pods_are_the_same_ones_each_time(control_plane: FakeControlPlane, revision_id: str) -> None:
    first, again = [(await get(control_plane, path_of(revision_id, "pods"))).body["pods"] for _ in range(2)]
    assert first == again
    assert len({pod["id"] for pod in first}) == 3
    assert [pod["name"] for pod in first] == [f"llm-00001-deployment-{number}" for number in range(3)]


async def test_a_test_may_set_the_pods(control_plane: FakeControlPlane, revision_id: str) -> None:
    control_plane.set_pods(revision_id, "Failed", "Evicted", node_name="node-7")
    pods = (await get(control_plane, path_of(revision_id, "pods"))).body["pods"]
    assert [(pod["k8sPhase"], pod["nodeName"]) for pod in pods] == [
        ("Failed", "node-7"),
        ("Evicted", "node-7"),
    ]
    control_plane.set_pods(revision_id)
    assert len(await phases(control_plane, revision_id)) == 3


async def test_there_are_no_deleted_pods(control_plane: FakeControlPlane, revision_id: str) -> None:
    assert await get(control_plane, path_of(revision_id, "pods?deleted=true")) == (200, {"pods": []})
    assert (await get(control_plane, path_of(revision_id, "pods?deleted=1"))).status == 400


@pytest.mark.parametrize("what", ["events", "pods"])
async def test_what_is_not_there_is_a_404(
    control_plane: FakeControlPlane, revision_id: str, what: str
) -> None:
    missing = refusal(404, f"there is no revision {UNKNOWN}")
    assert await get(control_plane, path_of(UNKNOWN, what)) == missing
    assert (await get(control_plane, path_of("x", what))).status == 400
    with pytest.raises(LookupError, match="there is no revision"):
        control_plane.add_event(UNKNOWN, reason="A", message="x")
    with pytest.raises(LookupError, match="there is no revision"):
        control_plane.set_pods(UNKNOWN, "Running")
    control_plane.hide_revision(revision_id)
    assert (await get(control_plane, path_of(revision_id, what))).status == 404
    control_plane.show_revision(revision_id)
    control_plane.restart_read_model(60)
    assert (await get(control_plane, path_of(revision_id, what))).status == 404


async def test_a_cluster_that_is_disconnected_reports_no_new_event_and_no_other_pods(
    control_plane: FakeControlPlane, revision_id: str
) -> None:
    control_plane.add_event(revision_id, reason="A", message="x")
    control_plane.set_pods(revision_id, "Pending")
    (cluster_id,) = control_plane.cluster_ids
    control_plane.disconnect_cluster(cluster_id)
    control_plane.add_event(revision_id, reason="B", message="x")
    control_plane.set_pods(revision_id, "Failed")
    events = (await get(control_plane, path_of(revision_id, "events"))).body["events"]
    assert ([event["reason"] for event in events], await phases(control_plane, revision_id)) == (
        ["A"], ["Pending"],
    )  # fmt: skip
    control_plane.connect_cluster(cluster_id)
    events = (await get(control_plane, path_of(revision_id, "events"))).body["events"]
    assert ([event["reason"] for event in events], await phases(control_plane, revision_id)) == (
        ["B", "A"], ["Failed"],
    )  # fmt: skip
