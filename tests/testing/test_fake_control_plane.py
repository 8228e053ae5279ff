"""The fake control plane, used as in the tests of a user."""

import asyncio
import contextlib
import gc
import itertools
import socket
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import aiohttp
import pytest
from support.ports import lasting_port

from runai_async import (
    AttemptTimeoutError,
    ClientCredentials,
    DecodeError,
    NotFoundError,
    Phase,
    RetryPolicy,
    RunaiClient,
    ServiceUnavailableError,
    testing,
)
from runai_async.testing import FakeControlPlane
from runai_async.testing._state import State, stamp


@pytest.fixture
def runai(runai: RunaiClient) -> RunaiClient:
    return runai.with_options(retry=RetryPolicy(attempts=1))


async def test_the_fixtures_are_a_control_plane_and_its_client(
    runai_control_plane: FakeControlPlane, runai_client: RunaiClient
) -> None:
    workload_id = runai_control_plane.add_workload()
    revision_id = runai_control_plane.add_revision(workload_id)

    assert [item.id for item in await runai_client.list_revisions(workload_id)] == [revision_id]


async def test_a_deleted_revision_moves_to_the_deleted_list_and_is_found_by_id(
    control_plane: FakeControlPlane, runai: RunaiClient
) -> None:
    workload_id = control_plane.add_workload()
    kept, gone = control_plane.add_revision(workload_id), control_plane.add_revision(workload_id)
    control_plane.delete_revision(gone)

    assert [item.id for item in await runai.list_revisions(workload_id)] == [kept]
    assert [item.id for item in await runai.list_revisions(workload_id, deleted=True)] == [gone]
    assert (await runai.get_revision(gone)).deleted_at is not None
    counts = [await runai.count_revisions(workload_id, deleted=deleted) for deleted in (None, False, True)]
    assert counts == [1, 1, 1]
    sent = [request.query for request in control_plane.requests if request.path.endswith("/count")]
    assert sent == [{}, {}, {"deleted": "true"}]


@pytest.mark.parametrize(
    ("requested", "running"),
    [
        ({"number": 2, "min": 1, "max": 4}, 2),
        ({"min": 3, "max": 5}, 3),
        ({"number": 1, "min": 2}, 2),
        ({"number": 0}, 0),
        ({"min": 0}, 0),
        ({}, 1),
        (None, 1),
    ],
)
async def test_as_many_pods_run_as_are_requested_so_that_a_rollout_completes(
    control_plane: FakeControlPlane, runai: RunaiClient, requested: dict[str, int] | None, running: int
) -> None:
    workload_id = control_plane.add_workload()
    for phase in ("Running", "Pending"):
        revision_id = control_plane.add_revision(workload_id, phase, requested_pods=requested)
        control_plane.set_phase(revision_id, "Running")
        assert control_plane.revision(revision_id)["runningPods"] == running
        assert (await runai.wait_for_rollout(workload_id, timeout=5)).id == revision_id


async def test_a_revision_is_returned_as_a_copy_and_ids_are_lower_case(
    control_plane: FakeControlPlane, runai: RunaiClient
) -> None:
    given = "5B0F6F0C-8F3E-4F52-BB0E-2D8F4F6A9C01"
    workload_id = control_plane.add_workload(id=given)
    revision_id = control_plane.add_revision(workload_id, "Pending", id=given)
    before = control_plane.revision(revision_id)
    control_plane.set_phase(revision_id, "Running")
    before["images"].append("another")
    assert (before["phase"], workload_id, revision_id) == ("Pending", given.lower(), given.lower())
    assert "another" not in ((await runai.get_revision(revision_id)).images or ())


@pytest.mark.parametrize(
    "respell",
    [str.upper, lambda text: text.replace("-", ""), UUID],
    ids=["capitals", "no dashes", "UUID"],
)
async def test_workloads_and_revisions_are_found_by_any_spelling_of_their_ids(respell: Any) -> None:
    control_plane = FakeControlPlane()
    workload_id = control_plane.add_workload(id=respell("5b0f6f0c-8f3e-4f52-bb0e-2d8f4f6a9c01"))
    assert workload_id == "5b0f6f0c-8f3e-4f52-bb0e-2d8f4f6a9c01"
    revision_id = control_plane.add_revision(respell(workload_id))
    control_plane.set_phase(respell(revision_id), "Running")
    control_plane.update_revision(respell(revision_id), running_pods=7)
    control_plane.hide_revision(respell(revision_id))
    control_plane.show_revision(respell(revision_id))
    control_plane.delete_revision(respell(revision_id))
    assert control_plane.revision(respell(revision_id))["runningPods"] == 7
    control_plane.purge_revision(respell(revision_id))
    new = await control_plane.roll_out(respell(workload_id), step=0, retire_old=True)
    control_plane.delete_workload(respell(workload_id))
    assert control_plane.revision(new)["deletedAt"] is not None


async def test_it_stops_on_a_loop_that_cannot_remove_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> bool:
        raise NotImplementedError

    monkeypatch.setattr(asyncio.get_running_loop(), "remove_reader", missing)
    port = lasting_port()
    async with (
        FakeControlPlane(port=port) as control_plane,
        RunaiClient(control_plane.url, control_plane.token) as runai,
    ):
        assert [item async for item in runai.list_workloads()] == []
    async with FakeControlPlane(port=port):
        pass


async def test_a_hidden_revision_is_in_no_response_until_it_is_shown(
    control_plane: FakeControlPlane, runai: RunaiClient
) -> None:
    workload_id = control_plane.add_workload()
    revision_id = control_plane.add_revision(workload_id)
    control_plane.hide_revision(revision_id)

    assert await runai.list_revisions(workload_id) == []
    with pytest.raises(NotFoundError):
        await runai.get_revision(revision_id)

    control_plane.show_revision(revision_id)
    assert len(await runai.list_revisions(workload_id)) == 1


async def test_a_purged_revision_leaves_no_trace(control_plane: FakeControlPlane, runai: RunaiClient) -> None:
    workload_id = control_plane.add_workload()
    revision_id = control_plane.add_revision(workload_id)
    control_plane.purge_revision(revision_id)

    assert await runai.list_revisions(workload_id, deleted=True) == []
    with pytest.raises(NotFoundError):
        await runai.get_revision(revision_id)


async def test_a_deleted_workload_is_not_found_but_has_a_count_of_zero(
    control_plane: FakeControlPlane, runai: RunaiClient
) -> None:
    workload_id = control_plane.add_workload()
    live, deleted = control_plane.add_revision(workload_id), control_plane.add_revision(workload_id)
    control_plane.delete_revision(deleted)
    control_plane.delete_workload(workload_id)

    with pytest.raises(NotFoundError):
        await runai.list_revisions(workload_id)
    assert await runai.count_revisions(workload_id) == 0
    assert [item.id async for item in runai.list_workloads()] == []
    assert [item.id async for item in runai.list_workloads(deleted=True)] == [workload_id]
    gone = [item.revision_id for item in control_plane.transitions if item.kind == "deleted"]
    assert gone == [deleted, live]


async def test_fields_and_times_are_as_given(control_plane: FakeControlPlane, runai: RunaiClient) -> None:
    then = datetime(2026, 5, 1, 12, tzinfo=UTC)
    revision_id = control_plane.add_revision(
        control_plane.add_workload(),
        created_at=then,
        requested_pods={"min": 0, "max": 3},
        project_id=7,
        environment_variables={"LOG_LEVEL": "info"},
    )
    control_plane.set_phase(
        revision_id, "Running", "all well", running_pods=3, at=then + timedelta(minutes=1)
    )
    control_plane.update_revision(revision_id, images=["other:1"])

    revision = await runai.get_revision(revision_id)

    assert revision.created_at == then
    assert revision.phase_updated_at == then + timedelta(minutes=1)
    assert (revision.phase, revision.phase_message, revision.running_pods) == (Phase.RUNNING, "all well", 3)
    assert (revision.project_id, revision.images) == ("7", ("other:1",))
    assert revision.environment_variables == {"LOG_LEVEL": "info"}
    assert revision.requested_pods is not None
    assert (revision.requested_pods.min, revision.requested_pods.max) == (0, 3)


async def test_a_rollout_runs_through_its_phases_and_retires_the_old(
    control_plane: FakeControlPlane, runai: RunaiClient
) -> None:
    workload_id = control_plane.add_workload()
    old = control_plane.add_revision(workload_id, "Running")
    new = await control_plane.roll_out(
        workload_id, phases=("Creating", "Running"), step=0.001, retire_old=True
    )

    assert [(item.id, item.phase) for item in await runai.list_revisions(workload_id)] == [(new, "Running")]
    history = [record async for record in runai.revision_history(new)]
    updates = [record.spec.phase_update for record in history]
    assert [update and update.phase for update in updates] == ["Creating", "Running"]
    changes = [(item.revision_id, item.kind, item.phase) for item in control_plane.transitions]
    assert changes == [
        (old, "added", "Running"),
        (new, "added", "Creating"),
        (new, "phase", "Running"),
        (old, "deleted", "Running"),
    ]


def test_a_deletion_is_recorded_at_the_time_that_responses_contain() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    readings = (start + timedelta(seconds=n) for n in itertools.count())
    state = State(None, lambda: next(readings), 100)
    revision_id = state.add_revision(state.add_workload("llm", "Inference", {}), "Running", {})
    state.delete_revision(revision_id)

    assert stamp(state.transitions[-1].at) == state.revision(revision_id)["deletedAt"]


def test_an_unknown_id_is_a_lookup_error() -> None:
    control_plane = FakeControlPlane()
    with pytest.raises(LookupError, match=f"there is no workload {WORKLOAD_ID}"):
        control_plane.add_revision(WORKLOAD_ID)
    with pytest.raises(LookupError, match=f"there is no revision {WORKLOAD_ID}"):
        control_plane.set_phase(WORKLOAD_ID, "Running")


async def test_lists_are_paged_and_filtered(control_plane: FakeControlPlane, runai: RunaiClient) -> None:
    ids = [control_plane.add_workload(name=f"llm-{n}") for n in range(7)]
    other = control_plane.add_workload(name="notebook", type="Workspace")

    assert [item.id async for item in runai.list_workloads(page_size=3)] == [*ids, other]
    assert [item.id async for item in runai.list_workloads(filter_by=["type==Workspace"])] == [other]
    assert [item.id async for item in runai.list_workloads(filter_by=["name=@llm", "name!=llm-0"])] == ids[1:]
    assert [item.id async for item in runai.inference_workloads()] == ids


async def test_a_fault_hits_the_given_number_of_matching_requests(
    control_plane: FakeControlPlane, runai: RunaiClient
) -> None:
    workload_id = control_plane.add_workload()
    control_plane.fail_next(2, path="/count$")
    assert await runai.list_revisions(workload_id) == []
    for _ in range(2):
        with pytest.raises(ServiceUnavailableError):
            await runai.count_revisions(workload_id)
    assert await runai.count_revisions(workload_id) == 0

    control_plane.fail_next(None)
    with pytest.raises(ServiceUnavailableError):
        await runai.count_revisions(workload_id)
    control_plane.clear_faults()
    assert await runai.count_revisions(workload_id) == 0


async def test_failing_the_next_zero_requests_fails_none(
    control_plane: FakeControlPlane, runai: RunaiClient
) -> None:
    control_plane.fail_next(0)
    assert [await runai.count_revisions(control_plane.add_workload()) for _ in range(2)] == [0, 0]


async def test_a_response_that_is_not_json(control_plane: FakeControlPlane, runai: RunaiClient) -> None:
    control_plane.fault("bad_json")
    with pytest.raises(DecodeError):
        await runai.list_revisions(control_plane.add_workload())


async def test_a_response_that_is_sent_byte_by_byte_arrives_whole(
    control_plane: FakeControlPlane, runai: RunaiClient
) -> None:
    control_plane.fault("drip", seconds=0.001)
    workload_id = control_plane.add_workload()
    assert [await runai.count_revisions(workload_id) for _ in range(2)] == [0, 0]


async def test_stopping_does_not_wait_for_a_response_that_drips() -> None:
    control_plane = FakeControlPlane()
    await control_plane.start()
    control_plane.fault("drip", seconds=1000)
    async with RunaiClient(control_plane.url, control_plane.token, retry=RetryPolicy(attempts=1)) as runai:
        call = asyncio.create_task(runai.count_revisions(control_plane.add_workload()))
        async with asyncio.timeout(5):
            while not control_plane.in_flight:
                await asyncio.sleep(0.001)
            await asyncio.sleep(0.01)  # the first byte is on its way
            await control_plane.stop()
            assert await call == 0


async def test_a_request_whose_client_has_gone_is_abandoned(
    control_plane: FakeControlPlane, runai: RunaiClient
) -> None:
    control_plane.fault("reset")
    control_plane.hold()
    with pytest.raises(AttemptTimeoutError):
        await runai.with_options(timeout=0.02).count_revisions(control_plane.add_workload())
    async with asyncio.timeout(5):
        while control_plane.in_flight:
            await asyncio.sleep(0.001)


async def test_a_fault_hits_the_token_endpoint_only_if_its_path_matches(
    control_plane: FakeControlPlane,
) -> None:
    workload_id = control_plane.add_workload()
    auth = ClientCredentials(control_plane.client_id, control_plane.client_secret)
    async with RunaiClient(control_plane.url, auth, retry=RetryPolicy(attempts=1)) as runai:
        control_plane.fail_next(1)
        with pytest.raises(ServiceUnavailableError, match="/count"):
            await runai.count_revisions(workload_id)
    async with RunaiClient(control_plane.url, auth, retry=RetryPolicy(attempts=1)) as runai:
        control_plane.fail_next(1, path="/token$")
        with pytest.raises(ServiceUnavailableError, match="/api/v2/token"):
            await runai.count_revisions(workload_id)


def test_an_unknown_kind_of_fault_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="kind must be one of latency, hang, reset"):
        FakeControlPlane().fault("explode")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"grantType": "client_credentials", "clientID": "ID", "clientSecret": "SECRET"}, 200),
        ({"granttype": "client_credentials", "CLIENTid": "ID", "clientsecret": "SECRET"}, 200),
        ({"grantType": "app_token", "AppId": "ID", "appSecret": "SECRET"}, 200),
        ({"grantType": "client_credentials", "clientID": "ID", "clientSecret": "wrong"}, 403),
        ({"grantType": "password"}, 400),
        ([], 400),
        (b"not JSON", 400),
    ],
)
async def test_the_v1_token_endpoint_takes_both_grants_with_keys_in_any_case(
    control_plane: FakeControlPlane, body: Any, status: int
) -> None:
    real = {"ID": control_plane.client_id, "SECRET": control_plane.client_secret}
    if isinstance(body, dict):
        body = {key: real.get(value, value) for key, value in body.items()}
    url = f"{control_plane.url}/api/v1/token"
    sent = {"data": body} if isinstance(body, bytes) else {"json": body}
    async with aiohttp.ClientSession() as session, session.post(url, **sent) as response:
        assert response.status == status
        assert ("accessToken" in await response.json()) == (status == 200)


@pytest.mark.parametrize(
    ("form", "status", "error"),
    [
        ({"grant_type": "client_credentials", "client_id": "ID", "client_secret": "SECRET"}, 200, None),
        ({"grant_type": "client_credentials", "client_id": "ID"}, 401, "invalid_client"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({}, 400, "invalid_request"),
    ],
)
async def test_the_v2_token_endpoint_responds_as_oauth_requires(
    control_plane: FakeControlPlane, form: dict[str, str], status: int, error: str | None
) -> None:
    real = {"ID": control_plane.client_id, "SECRET": control_plane.client_secret}
    form = {key: real.get(value, value) for key, value in form.items()}
    url = f"{control_plane.url}/api/v2/token"
    async with aiohttp.ClientSession() as session, session.post(url, data=form) as response:
        assert (response.status, (await response.json()).get("error")) == (status, error)


@pytest.mark.parametrize(
    ("version", "v1", "v2", "lifetime"),
    [("2.22", 200, 404, False), ("2.24", 200, 200, True), ("3.0", 404, 200, False)],
)
async def test_a_version_decides_which_token_endpoints_exist(
    version: Any, v1: int, v2: int, lifetime: bool
) -> None:
    async with FakeControlPlane(version=version) as control_plane, aiohttp.ClientSession() as session:
        given = (control_plane.client_id, control_plane.client_secret)
        old = {"grantType": "client_credentials", "clientID": given[0], "clientSecret": given[1]}
        new = {"grant_type": "client_credentials", "client_id": given[0], "client_secret": given[1]}
        async with session.post(f"{control_plane.url}/api/v1/token", json=old) as response:
            assert (response.status, "expiresIn" in await response.json()) == (v1, lifetime)
        async with session.post(f"{control_plane.url}/api/v2/token", data=new) as response:
            assert response.status == v2
            assert (await response.json()).get("code") == (None if v2 == 200 else v2)
        async with session.get(f"{control_plane.url}/openapi.json") as response:
            document = await response.json()
    paths = {path for path in document["paths"] if path.endswith("/token")}
    named = {"/api/v1/token": v1, "/api/v2/token": v2}
    assert paths == {path for path, status in named.items() if status == 200}
    assert document["info"]["version"] == version


def test_an_unknown_version_is_a_value_error() -> None:
    with pytest.raises(ValueError, match=r"version must be one of 2\.22, 2\.24, 3\.0, not '2\.23'"):
        FakeControlPlane(version="2.23")  # type: ignore[arg-type]


WORKLOAD_ID = "7c5a8c3e-0b8e-4d5c-9b1a-1d2e3f4a5b6c"


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("GET", "/api/v1/workloads/count", 200, None),
        ("GET", "/api/v1/nothing", 404, "Not Found"),
        ("DELETE", "/api/v1/workloads", 405, "Method Not Allowed"),
        ("GET", "/api/v1/workloads/inferences/x/revisions", 400, "workload_id must be a UUID"),
        ("GET", "/api/v1/workloads?deleted=yes", 400, "deleted must be true or false"),
        ("GET", "/api/v1/workloads?limit=0", 400, "limit must be a whole number from 1 to 500"),
        ("GET", "/api/v1/workloads?filterBy=name", 400, "filterBy is field, operator"),
        ("GET", f"/api/v1/workloads/inferences/{WORKLOAD_ID}/revisions", 404, "there is no workload"),
    ],
)
async def test_an_invalid_request_gets_the_error_body_of_the_api(
    control_plane: FakeControlPlane, method: str, path: str, status: int, message: str | None
) -> None:
    headers = {"Authorization": f"Bearer {control_plane.token}"}
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, control_plane.url + path, headers=headers) as response,
    ):
        body = await response.json()
    assert (response.status, body.get("code", 200)) == (status, status)
    assert (message or "") in body.get("message", "")
    assert response.headers.get("Allow") == ("GET" if status == 405 else None)


async def test_a_form_that_cannot_be_read_counts_as_empty(control_plane: FakeControlPlane) -> None:
    url, headers = f"{control_plane.url}/api/v2/token", {"Content-Type": "multipart/form-data"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data=b"no boundary", headers=headers) as response,
    ):
        assert (response.status, (await response.json())["error"]) == (400, "invalid_request")


async def test_it_serves_its_openapi_document(control_plane: FakeControlPlane) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{control_plane.url}/openapi.json") as response,
    ):
        document = await response.json()
    assert "/api/v1/workloads/inferences/{workloadId}/revisions" in document["paths"]


async def test_it_can_be_stopped_and_restarted_with_the_same_state(control_plane: FakeControlPlane) -> None:
    workload_id = control_plane.add_workload()
    control_plane.add_revision(workload_id)
    url = control_plane.url
    await control_plane.stop()
    await control_plane.start()

    assert control_plane.url == url
    async with RunaiClient(url, control_plane.token) as runai:
        assert await runai.count_revisions(workload_id) == 1


async def test_a_seed_makes_ids_repeatable_and_shuffles_lists(runai_control_plane: FakeControlPlane) -> None:
    def ids(seed: int | None) -> list[str]:
        control_plane = FakeControlPlane(seed=seed)
        workload_id = control_plane.add_workload()
        return [control_plane.add_revision(workload_id) for _ in range(8)]

    assert ids(3) == ids(3) != ids(4)
    async with (
        FakeControlPlane(seed=3) as control_plane,
        RunaiClient(control_plane.url, control_plane.token) as runai,
    ):
        workload_id = control_plane.add_workload()
        added = [control_plane.add_revision(workload_id) for _ in range(8)]
        orders = {tuple(item.id for item in await runai.list_revisions(workload_id)) for _ in range(5)}
    assert len(orders) > 1
    assert {tuple(sorted(order)) for order in orders} == {tuple(sorted(added))}


async def test_responses_are_recorded_on_request_until_the_record_is_reset() -> None:
    async with (
        FakeControlPlane(record_responses=True) as control_plane,
        RunaiClient(control_plane.url, control_plane.token) as runai,
    ):
        workload_id = control_plane.add_workload()
        revision_id = control_plane.add_revision(workload_id, "Running")
        await runai.list_revisions(workload_id)
        (response,) = control_plane.responses
        assert (response.workload_id, list(response.phases)) == (workload_id, [revision_id])
        control_plane.reset_record()
        assert list(control_plane.responses) == []
        assert list(control_plane.requests) == []
        assert control_plane.max_in_flight == 0


async def test_the_old_names_of_recorded_responses_still_work_and_warn() -> None:
    with pytest.warns(DeprecationWarning, match="record_answers is deprecated, use record_resp") as warned:
        control_plane = FakeControlPlane(record_answers=True)
    async with control_plane, RunaiClient(control_plane.url, control_plane.token) as runai:
        await runai.list_revisions(control_plane.add_workload())
    with pytest.warns(DeprecationWarning, match="answers is deprecated, use responses"):
        assert control_plane.answers is control_plane.responses
    with pytest.warns(DeprecationWarning, match=r"Answered is deprecated: use RecordedResponse"):
        assert isinstance(control_plane.responses[0], testing.Answered)
    assert [warning.filename for warning in warned] == [__file__]


def test_the_module_has_no_other_old_names() -> None:
    with pytest.raises(AttributeError, match=r"module 'runai_async\.testing' has no attribute 'Answer'"):
        testing.Answer  # type: ignore[attr-defined]  # noqa: B018


async def test_held_requests_wait_until_they_are_released(
    control_plane: FakeControlPlane, runai: RunaiClient
) -> None:
    control_plane.hold()
    call = asyncio.create_task(runai.count_revisions(control_plane.add_workload()))
    async with asyncio.timeout(5):
        while not control_plane.in_flight:
            await asyncio.sleep(0.001)
        control_plane.release()
        assert await call == 0


@pytest.mark.parametrize("turns", range(8))
async def test_a_connection_that_arrives_while_it_stops_is_closed(turns: int) -> None:
    control_plane = FakeControlPlane()
    await control_plane.start()
    loop = asyncio.get_running_loop()
    with socket.socket() as caller:

        def call(left: int) -> None:
            if left:
                loop.call_soon(call, left - 1)
            else:
                with contextlib.suppress(ConnectionRefusedError):  # it has stopped
                    caller.connect(("127.0.0.1", control_plane.port))

        call(turns)
        await control_plane.stop()
        caller.settimeout(1)
        for _ in range(turns):
            await asyncio.sleep(0)
        with contextlib.suppress(OSError):  # reset, or never connected
            assert caller.recv(1) == b""
    gc.collect()  # a socket that was not closed warns here
