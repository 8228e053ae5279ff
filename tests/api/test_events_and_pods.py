"""Events and pods of a revision, and what they say together."""

import json
import logging
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from runai_async import (
    InvolvedObject,
    NotFoundError,
    Pod,
    PodContainer,
    Response,
    RetryPolicy,
    RevisionLogEvent,
    RunaiClient,
    ServiceUnavailableError,
)
from runai_async.testing import FakeControlPlane, FakeTransport

ID = "c2a1b9d4-70de-4c39-8a5f-91f1d5a0e7b2"
PATH = f"/x/api/v1/workloads/inferences/revisions/{ID}"
EVENT = {"createdAt": "2026-05-01T12:00:00Z", "type": "Warning", "clusterId": ID, "message": "no room"}
POD = {"name": "llm-1", "id": ID, "k8sPhase": "Pending"}


def body(**value: Any) -> Response:
    return Response(body=json.dumps(value).encode())


def client(*script: Response) -> tuple[RunaiClient, FakeTransport]:
    transport = FakeTransport(script)
    retry = RetryPolicy(attempts=1)
    return RunaiClient("https://acme.run.ai/x", "token", transport=transport, retry=retry), transport


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


# --- events -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("newest_first", [True, False])
async def test_events_come_in_the_order_that_was_asked_for(
    control_plane: FakeControlPlane, runai: RunaiClient, newest_first: bool
) -> None:
    revision_id = control_plane.add_revision(control_plane.add_workload())
    for number in range(3):
        control_plane.add_event(revision_id, reason=f"R{number}", message="x", type="Normal")
    found = [event.reason async for event in runai.revision_events(revision_id, newest_first=newest_first)]
    assert found == (["R2", "R1", "R0"] if newest_first else ["R0", "R1", "R2"])


async def test_all_pages_of_events_are_read() -> None:
    runai, transport = client(
        body(events=[{**EVENT, "reason": "A"}], next=1), body(events=[{**EVENT, "reason": "B"}])
    )
    assert [event.reason async for event in runai.revision_events(UUID(ID))] == ["A", "B"]
    assert {sent.path for sent in transport.requests} == {f"{PATH}/events"}
    queries = [dict(sent.url.query) for sent in transport.requests]
    assert queries == [{"offset": offset, "limit": "500", "sortOrder": "desc"} for offset in ("0", "1")]


async def test_every_field_of_an_event_is_read_and_unknown_ones_are_kept() -> None:
    about = {"uid": ID.upper(), "kind": "Pod", "name": "llm-1", "namespace": "team-a"}
    whole = EVENT | {"id": ID, "reason": "R", "source": "kubelet", "involvedObject": about, "count": 3}
    runai, _ = client(body(events=[whole]))
    (event,) = [event async for event in runai.revision_events(ID)]
    assert event == RevisionLogEvent(
        datetime(2026, 5, 1, 12, tzinfo=UTC),
        "Warning",
        "R",
        "no room",
        "kubelet",
        InvolvedObject("Pod", "llm-1", "team-a", ID),
        ID,
        ID,
        extra={"count": 3},
    )
    assert event.is_warning


async def test_an_event_that_is_null_is_none_and_a_broken_one_is_left_out_with_one_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rows = [None, EVENT, {"type": "Normal"}, EVENT | {"type": 5}, EVENT | {"type": "Odd"}]
    runai, _ = client(body(events=rows))
    assert [event.type async for event in runai.revision_events(ID)] == ["Warning", "Odd"]
    (warning,) = warnings(caplog)
    assert warning.startswith("revision_events: left out what cannot be read: $.events[2].createdAt")


async def test_nothing_is_sent_for_an_id_that_is_not_a_uuid() -> None:
    runai, transport = client()
    with pytest.raises(ValueError, match="revision_id must be a UUID"):
        runai.revision_events("llm-00001")
    with pytest.raises(ValueError, match="revision_id must be a UUID"):
        await runai.revision_pods("llm-00001")
    with pytest.raises(ValueError, match="revision_id must be a UUID"):
        await runai.explain_revision("llm-00001")
    assert transport.requests == []


async def test_an_unknown_revision_is_not_found(runai: RunaiClient) -> None:
    with pytest.raises(NotFoundError):
        await anext(runai.revision_events(ID))
    with pytest.raises(NotFoundError):
        await runai.revision_pods(ID)
    with pytest.raises(NotFoundError):
        await runai.explain_revision(ID)


# --- pods ---------------------------------------------------------------------------------------------------


async def test_pods_are_listed(control_plane: FakeControlPlane, runai: RunaiClient) -> None:
    revision_id = control_plane.add_revision(
        control_plane.add_workload("llm"), "Running", running_pods=1, requested_pods={"number": 2}
    )
    first, second = await runai.revision_pods(revision_id)
    assert (first.name, first.k8s_phase, first.node_name) == ("llm-00001-deployment-0", "Running", "node-1")
    assert (second.k8s_phase, second.node_name, second.revision_id) == ("Pending", None, revision_id)


async def test_a_pod_needs_little_and_a_broken_one_hides_no_other(caplog: pytest.LogCaptureFixture) -> None:
    containers = [{"name": "server", "image": "llm:1", "startedAt": "0001-01-01T00:00:00Z", "state": {}}]
    rows = [{**POD, "containers": containers, "ip": "10.0.0.1"}, {"name": "llm-2"}, POD | {"k8sPhase": "Odd"}]
    runai, transport = client(body(pods=rows))
    first, second = await runai.revision_pods(ID)
    assert first == Pod(
        "llm-1", ID, "Pending", (PodContainer("server", "llm:1", None, {"state": {}}),),
        extra={"ip": "10.0.0.1"},
    )  # fmt: skip
    assert second.k8s_phase == "Odd"
    assert len(warnings(caplog)) == 1
    assert [str(sent.url) for sent in transport.requests] == [f"https://acme.run.ai{PATH}/pods"]


@pytest.mark.parametrize("response", [body(pods=None), body(), body(pods=[])])
async def test_no_pods_are_an_empty_list(response: Response) -> None:
    runai, _ = client(response)
    assert await runai.revision_pods(ID) == []


# --- explained ----------------------------------------------------------------------------------------------


@pytest.fixture
def revision_id(control_plane: FakeControlPlane) -> str:
    revision_id = control_plane.add_revision(
        control_plane.add_workload("llm"), "Pending", phase_message="not ready"
    )
    control_plane.add_event(revision_id, reason="FailedScheduling", message="no room", count=2)
    control_plane.add_event(revision_id, reason="Pulled", message="x", type="Normal")
    control_plane.set_pods(revision_id, "Pending", "Failed")
    return revision_id


async def test_a_revision_is_explained(runai: RunaiClient, revision_id: str) -> None:
    found = await runai.explain_revision(revision_id)
    assert (found.name, found.phase, found.message, found.lost_cluster, found.unread) == (
        "llm-00001", "Pending", "not ready", None, (),
    )  # fmt: skip
    assert [(item.reason, item.count) for item in found.warnings] == [("FailedScheduling", 2)]
    assert [(item.type, item.status) for item in found.conditions] == [("Ready", "Unknown")]
    assert found.pod_phases == {"Pending": 1, "Failed": 1}
    assert found.cause == "FailedScheduling: no room"


@pytest.mark.parametrize("status", [403, 404])
@pytest.mark.parametrize("page", [None, "<html>no such route</html>"])
@pytest.mark.parametrize("what", ["events", "pods"])
async def test_a_part_that_is_refused_or_missing_is_named_and_the_rest_is_there(
    control_plane: FakeControlPlane,
    runai: RunaiClient,
    revision_id: str,
    *,
    what: str,
    page: str | None,
    status: int,
) -> None:
    control_plane.fail_next(None, status, body=page, path=f"/{what}$")
    found = await runai.explain_revision(revision_id)
    assert found.unread == (what,)
    assert (bool(found.warnings), bool(found.pods)) == (what != "events", what != "pods")


async def test_an_outage_is_raised_and_not_taken_for_silence(
    control_plane: FakeControlPlane, runai: RunaiClient, revision_id: str
) -> None:
    control_plane.fail_next(None, 503, path="/events$")
    impatient = runai.with_options(retry=RetryPolicy(attempts=1))
    with pytest.raises(ServiceUnavailableError):
        await impatient.explain_revision(revision_id)


async def test_a_lost_cluster_is_named(
    control_plane: FakeControlPlane, runai: RunaiClient, revision_id: str
) -> None:
    (cluster_id,) = control_plane.cluster_ids
    control_plane.disconnect_cluster(cluster_id, at=datetime(2026, 5, 1, tzinfo=UTC))
    found = await runai.explain_revision(revision_id)
    assert (found.lost_cluster or "").startswith("cluster cluster-1 lost its connection")
    assert (found.lost_cluster or "") in str(found)
    assert found.cause == "FailedScheduling: no room"
