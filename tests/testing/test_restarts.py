"""Services of the fake control plane restart: what requests get meanwhile, and that they recover."""

import math
from uuid import uuid4

import pytest
from support.raw import get, post_for_token, refusal

from runai_async.testing import FakeClock, FakeControlPlane
from runai_async.testing._outages import Outages

TOO_EARLY = refusal(401, "token used before issued")


def revisions_of(workload_id: str) -> str:
    return f"/api/v1/workloads/inferences/{workload_id}/revisions"


async def test_a_service_is_away_for_as_long_as_its_restart_takes() -> None:
    clock = FakeClock()
    outages = Outages(clock.monotonic)
    outages.restart("identity", 10)
    outages.restart("read_model", 5)
    states = []
    for _ in range(3):
        states.append((outages.is_away("identity"), outages.is_away("read_model")))
        await clock.advance(5)
    assert states == [(True, True), (True, False), (False, False)]
    assert not outages.is_away("authorization")


@pytest.mark.parametrize("seconds", [-1, math.nan])
def test_a_restart_of_no_duration_is_a_value_error(seconds: float) -> None:
    control_plane = FakeControlPlane()
    for restart in (
        control_plane.restart_identity,
        control_plane.restart_authorization,
        control_plane.restart_read_model,
        control_plane.refuse_young_tokens,
    ):
        with pytest.raises(ValueError, match="seconds must be 0 or more"):
            restart(seconds)


async def test_while_identity_restarts_every_request_is_401_and_old_tokens_are_valid_again(
    control_plane: FakeControlPlane,
) -> None:
    path, token = revisions_of(control_plane.add_workload()), control_plane.token
    control_plane.restart_identity(60)
    refused = [await get(control_plane, item) for item in (path, "/api/v1/workloads", "/api/v1/clusters")]
    assert refused == [TOO_EARLY] * 3
    assert await get(control_plane, path, "not a token") == TOO_EARLY

    control_plane.restart_identity(0)
    assert (await get(control_plane, path, token)).status == 200


@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_while_identity_restarts_tokens_are_refused_but_not_in_the_words_of_oauth(
    control_plane: FakeControlPlane, version: str
) -> None:
    control_plane.restart_identity(60)
    refused = [await post_for_token(control_plane, version) for _ in range(4)]
    assert [item.status for item in refused] == [503, 401, 503, 401]
    assert "<html>" in refused[0].body
    assert refused[1] == refusal(401, "the identity service is not ready")

    control_plane.restart_identity(0)
    assert (await post_for_token(control_plane, version)).status == 200


async def test_a_restart_ends_by_itself(control_plane: FakeControlPlane) -> None:
    control_plane.restart_authorization(1e-9)
    assert (await get(control_plane, "/api/v1/workloads")).status == 200


async def test_while_authorization_restarts_valid_tokens_are_403_and_others_401(
    control_plane: FakeControlPlane,
) -> None:
    path = revisions_of(control_plane.add_workload())
    control_plane.restart_authorization(60)
    assert await get(control_plane, path) == refusal(403, "the account lacks the permission")
    assert (await get(control_plane, path, "not a token")).status == 401
    assert (await post_for_token(control_plane)).status == 200

    control_plane.restart_authorization(0)
    assert (await get(control_plane, path)).status == 200


async def test_tokens_below_an_age_are_refused_until_that_is_switched_off(
    control_plane: FakeControlPlane,
) -> None:
    token = control_plane.token
    control_plane.refuse_young_tokens(60)
    assert await get(control_plane, "/api/v1/workloads", token) == TOO_EARLY
    control_plane.refuse_young_tokens(1e-9)
    assert (await get(control_plane, "/api/v1/workloads", token)).status == 200
    control_plane.refuse_young_tokens(60)
    assert await get(control_plane, "/api/v1/workloads", token) == TOO_EARLY
    control_plane.refuse_young_tokens(0)
    assert (await get(control_plane, "/api/v1/workloads", token)).status == 200


async def test_a_read_model_that_restarts_is_empty_but_workloads_are_listed(
    control_plane: FakeControlPlane,
) -> None:
    workload_id = control_plane.add_workload()
    kept, gone = (control_plane.add_revision(workload_id) for _ in range(2))
    control_plane.delete_revision(gone)
    path = revisions_of(workload_id)
    control_plane.restart_read_model(60)
    for query in ("", "?deleted=true"):
        assert await get(control_plane, path + query) == (200, {"revisions": []})
    assert await get(control_plane, f"{path}/count") == (200, {"count": 0})
    missing = refusal(404, f"there is no revision {kept}")
    by_id = f"/api/v1/workloads/inferences/revisions/{kept}"
    assert [await get(control_plane, item) for item in (by_id, f"{by_id}/history")] == [missing] * 2
    listed = await get(control_plane, "/api/v1/workloads")
    assert [item["id"] for item in listed.body["workloads"]] == [workload_id]

    control_plane.restart_read_model(0)
    assert len((await get(control_plane, path)).body["revisions"]) == 1
    assert (await get(control_plane, by_id)).body["id"] == kept


async def test_a_read_model_that_restarts_can_lack_even_the_lists(control_plane: FakeControlPlane) -> None:
    workload_id = control_plane.add_workload()
    control_plane.restart_read_model(60, missing=True)
    missing = refusal(404, f"there is no workload {workload_id}")
    paths = [revisions_of(workload_id) + query for query in ("", "?deleted=true")]
    assert [await get(control_plane, path) for path in paths] == [missing] * 2
    assert await get(control_plane, revisions_of(workload_id) + "/count") == (200, {"count": 0})


async def test_a_list_without_revisions_is_recorded_as_such() -> None:
    async with FakeControlPlane(record_responses=True) as control_plane:
        workload_id = control_plane.add_workload()
        control_plane.add_revision(workload_id)
        control_plane.restart_read_model(60)
        await get(control_plane, revisions_of(workload_id))
        (response,) = control_plane.responses
        assert (response.workload_id, response.phases) == (workload_id, {})


async def test_faults_hit_what_a_restarting_service_sends_too(control_plane: FakeControlPlane) -> None:
    control_plane.restart_identity(60)
    control_plane.fail_next(1, 502)
    path = revisions_of(str(uuid4()))
    assert [(await get(control_plane, path)).status for _ in range(2)] == [502, 401]
