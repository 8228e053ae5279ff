"""Clusters of the fake control plane: what it serves of them, and what they freeze."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from support.raw import get, refusal

from runai_async.testing import FakeControlPlane

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
OTHER = "7c5a8c3e-0b8e-4d5c-9b1a-1d2e3f4a5b6c"


@pytest.fixture
def times() -> list[datetime]:
    return [NOON]


@pytest.fixture
async def control_plane(times: list[datetime]) -> Any:
    async with FakeControlPlane(clock=lambda: times[-1], record_responses=True) as control_plane:
        yield control_plane


def revisions_of(workload_id: str) -> str:
    return f"/api/v1/workloads/inferences/{workload_id}/revisions"


async def phases(control_plane: FakeControlPlane, workload_id: str, *, deleted: bool = False) -> list[str]:
    query = "?deleted=true" if deleted else ""
    listed = await get(control_plane, revisions_of(workload_id) + query)
    return [item["phase"] for item in listed.body["revisions"]]


async def state(control_plane: FakeControlPlane, cluster_id: str) -> tuple[str, str | None]:
    full = (await get(control_plane, f"/api/v1/clusters/{cluster_id}")).body
    return full["status"]["state"], full.get("lastLiveness")


async def test_a_cluster_is_served_in_full_and_in_its_minimal_form(control_plane: FakeControlPlane) -> None:
    (cluster_id,) = control_plane.cluster_ids
    full = (await get(control_plane, f"/api/v1/clusters/{cluster_id}")).body
    assert full == {
        "uuid": cluster_id,
        "name": "cluster-1",
        "tenantId": 1,
        "createdAt": full["createdAt"],
        "updatedAt": "2026-05-01T12:00:00.000000Z",
        "deletedAt": None,
        "version": "2.24.17",
        "domain": "https://cluster-1.example",
        "status": {"state": "Connected"},
        "lastLiveness": "2026-05-01T12:00:00.000000Z",
    }
    minimal = (await get(control_plane, f"/api/v1/clusters/{cluster_id}/minimal")).body
    kept = {key: full[key] for key in ("uuid", "name", "tenantId", "version", "domain")}
    assert minimal == {**kept, "state": "Connected", "platform": "Kubernetes"}
    assert await get(control_plane, "/api/v1/clusters") == (200, [full])


async def test_a_workload_is_in_the_first_cluster_or_in_one_that_exists_from_then_on(
    control_plane: FakeControlPlane,
) -> None:
    (first,) = control_plane.cluster_ids
    here, there = control_plane.add_workload(), control_plane.add_workload(cluster_id=OTHER.upper())
    assert control_plane.cluster_ids == (first, OTHER)
    assert (await get(control_plane, f"/api/v1/clusters/{OTHER}/minimal")).body["name"] == "cluster-2"
    rows = (await get(control_plane, "/api/v1/workloads")).body["workloads"]
    assert {row["id"]: row["clusterId"] for row in rows} == {here: first, there: OTHER}
    assert control_plane.revision(control_plane.add_revision(there))["clusterId"] == OTHER


async def test_an_unknown_cluster_is_a_404_and_a_lookup_error(control_plane: FakeControlPlane) -> None:
    missing = refusal(404, f"there is no cluster {OTHER}")
    paths = [f"/api/v1/clusters/{OTHER}", f"/api/v1/clusters/{OTHER}/minimal"]
    assert [await get(control_plane, path) for path in paths] == [missing] * 2
    assert (await get(control_plane, "/api/v1/clusters/x")).status == 400
    with pytest.raises(LookupError, match="there is no cluster"):
        control_plane.disconnect_cluster(OTHER)
    with pytest.raises(LookupError, match="there is no cluster"):
        control_plane.connect_cluster(OTHER)
    with pytest.raises(LookupError, match="there is no cluster"):
        control_plane.set_cluster_state(OTHER, "ServiceIssues")


@pytest.mark.parametrize(("version", "status"), [("2.22", 404), ("2.24", 200), ("3.0", 200)])
async def test_an_early_version_has_no_minimal_form(version: Any, status: int) -> None:
    async with FakeControlPlane(version=version) as control_plane:
        (cluster_id,) = control_plane.cluster_ids
        found = await get(control_plane, f"/api/v1/clusters/{cluster_id}/minimal")
        assert found.status == found.body.get("code", 200) == status
        assert (await get(control_plane, f"/api/v1/clusters/{cluster_id}")).status == 200
        paths = (await get(control_plane, "/openapi.json")).body["paths"]
        assert ("/api/v1/clusters/{clusterId}/minimal" in paths) == (status == 200)


async def test_a_disconnected_cluster_was_last_heard_when_it_was_disconnected(
    control_plane: FakeControlPlane, times: list[datetime]
) -> None:
    (cluster_id,) = control_plane.cluster_ids
    control_plane.disconnect_cluster(cluster_id)
    times.append(NOON + timedelta(hours=1))
    assert await state(control_plane, cluster_id) == ("Disconnected", "2026-05-01T12:00:00.000000Z")
    control_plane.connect_cluster(cluster_id)
    assert await state(control_plane, cluster_id) == ("Connected", "2026-05-01T13:00:00.000000Z")
    control_plane.disconnect_cluster(cluster_id, at=NOON - timedelta(minutes=6))
    assert await state(control_plane, cluster_id) == ("Disconnected", "2026-05-01T11:54:00.000000Z")


async def test_a_cluster_can_be_in_any_state_without_freezing_anything(
    control_plane: FakeControlPlane,
) -> None:
    workload_id = control_plane.add_workload()
    revision_id = control_plane.add_revision(workload_id, "Pending")
    (cluster_id,) = control_plane.cluster_ids
    control_plane.set_cluster_state(cluster_id, "WaitingToConnect")
    assert await state(control_plane, cluster_id) == ("WaitingToConnect", None)
    control_plane.set_cluster_state(cluster_id, "Disconnected")
    control_plane.set_phase(revision_id, "Running")
    assert await phases(control_plane, workload_id) == ["Running"]


def _changes(control_plane: FakeControlPlane, workload_id: str, ids: list[str]) -> Iterator[str]:
    """Change everything about a workload, naming what was changed."""
    changed, hidden, deleted, purged = ids
    control_plane.set_phase(changed, "Running", "it runs")
    yield "phase"
    control_plane.hide_revision(hidden)
    yield "hidden"
    control_plane.delete_revision(deleted)
    yield "deleted"
    control_plane.purge_revision(purged)
    yield "purged"
    control_plane.add_revision(workload_id, "Creating")
    yield "added"
    control_plane.delete_workload(workload_id)
    yield "workload deleted"


async def test_what_responses_show_of_a_disconnected_cluster_stays_whatever_a_test_changes(
    control_plane: FakeControlPlane,
) -> None:
    workload_id = control_plane.add_workload()
    ids = [control_plane.add_revision(workload_id, "Pending") for _ in range(4)]
    by_id = [f"/api/v1/workloads/inferences/revisions/{item}" for item in ids]
    paths = [
        *("/api/v1/workloads", "/api/v1/workloads?deleted=true", "/api/v1/workloads/count"),
        *(revisions_of(workload_id) + rest for rest in ("", "?deleted=true", "/count")),
        *by_id,
        *(f"{path}/history" for path in by_id),
    ]
    before = [await get(control_plane, path) for path in paths]
    control_plane.disconnect_cluster(control_plane.cluster_ids[0])
    for change in _changes(control_plane, workload_id, ids):
        assert [await get(control_plane, path) for path in paths] == before, change
    control_plane.disconnect_cluster(control_plane.cluster_ids[0])  # once more: nothing is seen anew
    assert [await get(control_plane, path) for path in paths] == before

    control_plane.connect_cluster(control_plane.cluster_ids[0])
    assert (await get(control_plane, revisions_of(workload_id))).status == 404
    assert await phases(control_plane, workload_id, deleted=True) == ["Running", "Pending", "Creating"]
    statuses = [(await get(control_plane, path)).status for path in by_id]
    assert statuses == [200, 404, 200, 404]


async def test_what_is_added_to_a_disconnected_cluster_shows_once_it_is_back(
    control_plane: FakeControlPlane,
) -> None:
    (cluster_id,) = control_plane.cluster_ids
    control_plane.disconnect_cluster(cluster_id)
    workload_id = control_plane.add_workload()
    revision_id = control_plane.add_revision(workload_id)
    paths = [revisions_of(workload_id), f"/api/v1/workloads/inferences/revisions/{revision_id}"]
    assert (await get(control_plane, "/api/v1/workloads")).body["workloads"] == []
    assert [(await get(control_plane, path)).status for path in paths] == [404, 404]
    control_plane.connect_cluster(cluster_id)
    assert [(await get(control_plane, path)).status for path in paths] == [200, 200]


async def test_other_clusters_are_shown_as_they_are(control_plane: FakeControlPlane) -> None:
    workload_id = control_plane.add_workload()
    revision_id = control_plane.add_revision(workload_id, "Pending")
    control_plane.add_workload(cluster_id=OTHER)
    control_plane.disconnect_cluster(OTHER)
    control_plane.set_phase(revision_id, "Running")
    assert await phases(control_plane, workload_id) == ["Running"]
    assert (await get(control_plane, f"/api/v1/workloads/inferences/revisions/{uuid4()}")).status == 404


async def test_a_test_sees_a_disconnected_cluster_as_it_is(control_plane: FakeControlPlane) -> None:
    revision_id = control_plane.add_revision(control_plane.add_workload(), "Pending")
    control_plane.disconnect_cluster(control_plane.cluster_ids[0])
    control_plane.set_phase(revision_id, "Running")
    assert control_plane.revision(revision_id)["phase"] == "Running"


async def test_the_record_has_what_responses_contained(control_plane: FakeControlPlane) -> None:
    workload_id = control_plane.add_workload()
    revision_id = control_plane.add_revision(workload_id, "Pending")
    control_plane.disconnect_cluster(control_plane.cluster_ids[0])
    control_plane.set_phase(revision_id, "Running")
    await phases(control_plane, workload_id)
    assert control_plane.responses[-1].phases[revision_id][0] == "Pending"
