"""Clusters: listed, and read one by one in the form that the account may see."""

import json
import logging
from typing import Any
from uuid import UUID, uuid4

import pytest

from runai_async import (
    ClusterState,
    DecodeError,
    NotFoundError,
    PermissionDeniedError,
    Response,
    RetryPolicy,
    RunaiClient,
    ServiceUnavailableError,
)
from runai_async.testing import FakeControlPlane, FakeTransport

ID = "c2a1b9d4-70de-4c39-8a5f-91f1d5a0e7b2"
FULL = f"/api/v1/clusters/{ID}"
MINIMAL = f"{FULL}/minimal"


def cluster(**fields: Any) -> Response:
    return Response(body=json.dumps({"uuid": ID, "name": "eu-1", **fields}).encode())


def refused(status: int) -> Response:
    return Response(status, body=json.dumps({"code": status, "message": "no"}).encode())


def client(*script: Response) -> tuple[RunaiClient, FakeTransport]:
    transport = FakeTransport(script)
    retry = RetryPolicy(attempts=1)
    return RunaiClient("https://acme.run.ai/x", "token", transport=transport, retry=retry), transport


async def test_clusters_are_listed(control_plane: FakeControlPlane, runai: RunaiClient) -> None:
    control_plane.add_workload(cluster_id=ID)
    control_plane.disconnect_cluster(ID)
    first, second = await runai.list_clusters()
    assert (first.id, first.state) == (control_plane.cluster_ids[0], ClusterState.CONNECTED)
    assert (second.id, second.name, second.state) == (ID, "cluster-2", ClusterState.DISCONNECTED)
    assert second.last_seen_at is not None


async def test_a_cluster_that_cannot_be_decoded_is_left_out_with_one_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rows = [{"uuid": ID, "name": "eu-1"}, {"uuid": ID}, {"name": "eu-2"}]
    runai, _ = client(Response(body=json.dumps(rows).encode()))
    assert [item.name for item in await runai.list_clusters()] == ["eu-1"]
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warning.startswith("list_clusters: left out what cannot be read: $[1].name")


async def test_a_list_that_is_refused_raises(control_plane: FakeControlPlane, runai: RunaiClient) -> None:
    control_plane.fail_next(1, 403, path="/clusters$")
    with pytest.raises(PermissionDeniedError):
        await runai.list_clusters()


@pytest.mark.parametrize("given", [ID, ID.upper(), UUID(ID)])
async def test_a_cluster_is_read_in_full(given: str | UUID) -> None:
    runai, transport = client(cluster(status={"state": "Disconnected"}))
    assert (await runai.get_cluster(given)).state == ClusterState.DISCONNECTED
    assert [request.path for request in transport.requests] == [f"/x{FULL}"]


@pytest.mark.parametrize("status", [403, 404])
@pytest.mark.parametrize("body", [None, b"404 page not found"])
async def test_where_the_full_form_is_refused_or_missing_the_minimal_one_is_read(
    status: int, body: bytes | None
) -> None:
    no = refused(status) if body is None else Response(status, body=body)
    runai, transport = client(no, cluster(state="Connected"))
    assert (await runai.get_cluster(ID)).state == ClusterState.CONNECTED
    assert [request.path for request in transport.requests] == [f"/x{FULL}", f"/x{MINIMAL}"]


@pytest.mark.parametrize("second", [403, 404])
@pytest.mark.parametrize(("first", "error"), [(403, PermissionDeniedError), (404, NotFoundError)])
async def test_where_both_are_refused_the_first_refusal_is_raised(
    first: int, error: type[Exception], second: int
) -> None:
    runai, _ = client(refused(first), refused(second))
    with pytest.raises(error) as caught:
        await runai.get_cluster(ID)
    assert MINIMAL not in str(caught.value)


async def test_another_failure_is_raised_as_it_is() -> None:
    runai, transport = client(refused(503), refused(403), refused(503))
    for _ in range(2):
        with pytest.raises(ServiceUnavailableError):
            await runai.get_cluster(ID)
    assert [request.path for request in transport.requests] == [f"/x{FULL}", f"/x{FULL}", f"/x{MINIMAL}"]


async def test_another_cluster_is_not_taken_for_it() -> None:
    runai, _ = client(cluster(uuid=str(uuid4())))
    with pytest.raises(DecodeError, match="not the cluster that was asked for"):
        await runai.get_cluster(ID)


async def test_an_id_that_is_not_a_uuid_is_a_value_error() -> None:
    runai, transport = client()
    with pytest.raises(ValueError, match="cluster_id"):
        await runai.get_cluster("eu-1")
    assert transport.requests == []


async def test_an_early_version_without_the_minimal_form_refuses() -> None:
    async with (
        FakeControlPlane(version="2.22") as control_plane,
        RunaiClient(control_plane.url, control_plane.token) as runai,
    ):
        (cluster_id,) = control_plane.cluster_ids
        assert (await runai.get_cluster(cluster_id)).last_seen_at is not None
        control_plane.fail_next(1, 403, path="/clusters/")
        with pytest.raises(PermissionDeniedError):
            await runai.get_cluster(cluster_id)
