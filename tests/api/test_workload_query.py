"""A query of workloads: a value that is iterated any number of times, and that a fleet follows."""

from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import UUID

import pytest
from attrs.exceptions import FrozenInstanceError
from support.fleets import POLICY, of_size
from support.harness import Harness

from runai_async import RunaiClient, Workload
from runai_async.testing import FakeControlPlane


async def test_it_yields_workloads_as_often_as_it_is_iterated_also_at_once() -> None:
    harness, ids, _ = of_size(5)
    async with harness.client() as runai:
        query = runai.inference_workloads()
        readings = [[item async for item in query] for _ in range(2)]
        one, two = aiter(query), aiter(query)
        pairs = [(await anext(one), await anext(two)) for _ in range(6)]
    assert readings[0] == readings[1]
    assert [item.id for item in readings[0]] == [harness.workload_id, *ids]
    assert pairs == [(item, item) for item in readings[0]]
    assert all(isinstance(item, Workload) for item in readings[0])


async def test_a_project_is_a_condition_beside_the_others() -> None:
    async with (
        FakeControlPlane() as control_plane,
        RunaiClient(control_plane.url, control_plane.token) as runai,
    ):
        ids = [control_plane.add_workload(project_name=name) for name in ("team-a", "team-b", "team-b")]
        query = runai.inference_workloads(project="team-b", filter_by=["name!=llm-2"])
        assert [item.id async for item in query] == ids[2:]
    (request,) = control_plane.requests
    assert request.query["filterBy"] == "name!=llm-2,projectName==team-b"


@pytest.mark.parametrize(
    ("project", "message"),
    [
        ("a,b", r"project must not have ',' in it"),
        ("a\n,b", r"project must not have '\\n' ',' in it"),
        ("", "project must not be empty"),
        (" ", "project must not be empty"),
    ],
)
async def test_a_project_that_no_condition_can_hold_is_a_value_error(project: str, message: str) -> None:
    async with Harness().client() as runai:
        with pytest.raises(ValueError, match=message):
            runai.inference_workloads(project=project)


async def test_it_is_a_frozen_value() -> None:
    def of_the_team(_: Workload) -> bool:
        return True

    async with Harness().client() as runai, Harness().client() as other:
        query = runai.inference_workloads(project="team-a", filter_by="phase==Running")
        same = runai.inference_workloads(project="team-a", filter_by=["phase==Running"])
        assert (query, hash(query)) == (same, hash(same))
        assert query != runai.inference_workloads(project="team-a")
        assert query != other.inference_workloads(project="team-a", filter_by=["phase==Running"])
        assert query.filter_by == ("phase==Running",)
        assert repr(query) == (
            "WorkloadQuery(filter_by=('phase==Running',), project='team-a', is_inference=is_inference_type)"
        )
        assert repr(runai.inference_workloads(is_inference=of_the_team)).endswith("of_the_team)")
        changed: Any = query
        with pytest.raises(FrozenInstanceError):
            changed.project = "team-b"


@pytest.mark.parametrize("called", [False, True])
async def test_a_fleet_follows_a_query_called_or_not(called: bool) -> None:
    harness, ids, _ = of_size(3)
    async with harness.client() as runai:
        workloads = runai.inference_workloads() if called else runai.inference_workloads
        async with runai.watch_fleet(workloads, poll=POLICY, discovery_interval=20) as fleet:
            await harness.collect(fleet, 15)
            new = harness.state.add_workload("new", "Inference", {})
            await harness.collect(fleet, 20)
            assert fleet.workload_ids == {harness.workload_id, *ids, new}
    assert harness.times("workloads") == [0, 20]


async def test_a_fleet_tells_of_a_workload_as_its_last_listing_had_it() -> None:
    harness, ids, _ = of_size(2)
    job = harness.state.add_workload("job", "Training", {})
    async with harness.client() as runai:
        async with runai.watch_fleet(
            runai.inference_workloads(), poll=POLICY, discovery_interval=20
        ) as fleet:
            assert fleet.workload(ids[0]) is None  # not listed yet
            await harness.collect(fleet, 5)
            found = fleet.workload(UUID(ids[0]))
            assert found is not None
            assert (found.name, found.running_pods) == ("llm-0", 2)
            harness.state.workloads[ids[0]]["runningPods"] = 5
            harness.state.delete_workload(ids[1])
            await harness.collect(fleet, 20)
            found = fleet.workload(ids[0].upper())
            assert found is not None
            assert found.running_pods == 5
            assert [fleet.workload(key) for key in (ids[1], job)] == [None, None]
            with pytest.raises(ValueError, match="workload_id must be a UUID"):
                fleet.workload("llm-0")
        async with runai.watch_fleet(ids[:1], poll=POLICY) as fleet:
            await harness.collect(fleet, 15)
            assert fleet.workload(ids[0]) is None


async def test_a_fleet_decodes_a_row_only_when_it_is_new() -> None:
    harness, ids, _ = of_size(3)
    judged: list[str] = []

    def is_inference(workload: Workload) -> bool:
        judged.append(workload.id)
        return True

    async with harness.client() as runai:
        query = runai.inference_workloads(is_inference=is_inference)
        async with runai.watch_fleet(query, poll=POLICY, discovery_interval=20) as fleet:
            await harness.collect(fleet, 15)
            assert judged == [harness.workload_id, *ids]
            harness.state.workloads[ids[0]]["runningPods"] = 5
            new = harness.state.add_workload("new", "Inference", {})
            await harness.collect(fleet, 100)
            assert judged[4:] == [new]


# --- workloads in the place of ids --------------------------------------------------------------------------


async def test_a_fleet_takes_workloads_and_ids_mixed() -> None:
    harness, ids, _ = of_size(3)
    async with harness.client() as runai:
        known = {item.id: item async for item in runai.list_workloads()}
        mixed: list[str | UUID | Workload] = [known[ids[0]], ids[1], UUID(ids[2]), known[ids[1]]]
        async with runai.watch_fleet(mixed, poll=POLICY) as fleet:
            assert fleet.workload_ids == set(ids)

        async def ask() -> AsyncIterator[str | UUID | Workload]:
            for item in mixed:
                yield item

        functions: list[Callable[[], AsyncIterator[str | UUID | Workload] | list[str | UUID | Workload]]]
        functions = [ask, lambda: mixed]
        for function in functions:
            async with runai.watch_fleet(function, poll=POLICY) as fleet:
                await harness.collect(fleet, 1)
                assert fleet.workload_ids == set(ids)


async def test_a_fleet_of_the_method_that_lists_watches_workloads_of_all_kinds() -> None:
    harness, ids, _ = of_size(2)
    job = harness.state.add_workload("job", "Training", {})
    async with (
        harness.client() as runai,
        runai.watch_fleet(runai.list_workloads, poll=POLICY, discovery_interval=20) as fleet,
    ):
        await harness.collect(fleet, 50)
        assert fleet.workload_ids == {harness.workload_id, job, *ids}
        assert fleet.workload(job) is None  # no query named it
    assert harness.times("workloads") == [0, 20, 40]


async def test_a_listed_workload_whose_id_is_not_a_uuid_is_left_out_with_one_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    harness, ids, _ = of_size(2)
    harness.state.workloads[ids[0]]["id"] = "llm"
    async with harness.client() as runai:
        async with runai.watch_fleet(runai.list_workloads, poll=POLICY, discovery_interval=20) as fleet:
            await harness.collect(fleet, 50)
            assert fleet.workload_ids == {harness.workload_id, ids[1]}
        assert [record.getMessage() for record in caplog.records] == [
            "watch_fleet: left out what cannot be read: the id is not a UUID (id llm)"
        ]
        named = [item async for item in runai.list_workloads()]
        with pytest.raises(ValueError, match="workload_id must be a UUID, not 'llm'"):
            runai.watch_fleet(named)


@pytest.mark.parametrize("kind", ["id", "uuid", "workload"])
async def test_a_single_workload_is_a_type_error(kind: str) -> None:
    harness, ids, _ = of_size(1)
    async with harness.client() as runai:
        (workload, *_) = [item async for item in runai.list_workloads()]
        given: Any = {"id": ids[0], "uuid": UUID(ids[0]), "workload": workload}[kind]
        with pytest.raises(TypeError, match="put it into a list"):
            runai.watch_fleet(given)
