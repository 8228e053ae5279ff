"""What the API returns: an open enumeration of phases, and frozen classes with the schema's fields."""

import copy
import inspect
import pickle
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import pytest

from runai_async import (
    AllocatedResources,
    ChildReference,
    ClusterState,
    Condition,
    ExtendedResource,
    Phase,
    RequestedPods,
    RequestedResources,
    ResourceCores,
    ResourceQuantity,
    Revision,
    Workload,
    from_json,
    models,
)
from runai_async.models import SECRET_FIELDS

RAW = (Path(__file__).parent / "data" / "revision.json").read_bytes()
SECRETS = ("hub-secret-123", "cmd-secret-456", "arg-secret-789")

TERMINAL = {"Failed", "Completed"}
SETTLED = TERMINAL | {"Running", "Stopped", "Degraded"}
TRANSITIONAL = {
    "Creating",
    "Initializing",
    "Pending",
    "Resuming",
    "Updating",
    "Stopping",
    "Terminating",
    "Deleting",
}
LISTED = sorted(SETTLED | TRANSITIONAL | {"Unknown"})

# The schema's own names, class by class; those with a star are required.
SCHEMA = {
    "Revision": "type* name* id* workloadId* tenantId* clusterId* departmentId* projectId* createdAt* phase* "
    "deletedAt revisionRequestedResources podsRequestedResources requestedPods requestedNodePools "
    "allocatedResources currentNodePools runningPods images environmentVariables command arguments "
    "childrenIds conditions phaseMessage phaseUpdatedAt additionalFields",
    "RequestedResources": "gpuRequestType gpu gpuMemory cpu cpuMemory migProfile extendedResources",
    "AllocatedResources": "gpu migProfile gpuMemory cpu cpuMemory extendedResources",
    "ResourceCores": "limit request",
    "ResourceQuantity": "limit request",
    "ExtendedResource": "resource quantity exclude",
    "RequestedPods": "number min max parallelism completions",
    "Condition": "type* status* message reason lastTransitionTime",
    "ChildReference": "id* type",
    "Workload": "type* name* id* clusterId* projectId* phase* createdAt* projectName departmentId "
    "departmentName tenantId namespace phaseUpdatedAt phaseMessage updatedAt deletedAt runningPods "
    "requestedPods conditions images environmentVariables command arguments",
    "HistoryRecord": "meta* spec*",
    "HistoryMeta": "creationTimestamp* type*",
    "HistorySpec": "event phaseUpdate",
    "PhaseUpdate": "phase* phaseMessage",
    "InvolvedObject": "kind name namespace uid",
    "RevisionLogEvent": "createdAt* type* reason message source involvedObject id clusterId",
    "PodContainer": "name* image startedAt",
    "Pod": "name* id* k8sPhase* containers nodeName workloadId revisionId clusterId projectId "
    "currentNodePool requestedNodePools createdAt completedAt k8sPhaseUpdatedAt updatedAt deletedAt",
    "Cluster": "uuid* name* state* lastLiveness version",
}
CLASSES = [
    pytest.param(value, id=name)
    for name, value in inspect.getmembers(models, inspect.isclass)
    if attrs.has(value) and value.__module__ == models.__name__
]


def test_exactly_the_schema_s_phases_are_listed() -> None:
    assert sorted(phase.value for phase in Phase) == LISTED


@pytest.mark.parametrize("value", LISTED)
def test_a_listed_phase_has_its_properties(value: str) -> None:
    phase = Phase(value)
    assert (phase.is_known, phase.is_terminal, phase.is_settled, phase.is_transitional) == (
        True,
        value in TERMINAL,
        value in SETTLED,
        value in TRANSITIONAL,
    )


@pytest.mark.parametrize("value", ["Suspending", "running", "RUNNING", "", "Läuft", "is_known"])
def test_an_unlisted_phase_is_a_value_without_properties(value: str) -> None:
    phase = Phase(value)
    assert isinstance(phase, Phase)
    assert (phase, phase.value, phase.name, str(phase), f"{phase}") == (value,) * 5
    assert (phase.is_known, phase.is_terminal, phase.is_settled, phase.is_transitional) == (False,) * 4


def test_phases_with_the_same_value_are_equal_and_hash_like_it() -> None:
    assert Phase("Suspending") == Phase("Suspending") != Phase("Sleeping")
    assert {Phase("Suspending"), Phase.RUNNING} == {"Suspending", "Running"}
    assert {"Suspending": 1, "Running": 2}[Phase("Suspending")] == 1


def test_an_unlisted_phase_is_not_added_to_the_list() -> None:
    Phase("Suspending")
    assert len(Phase) == len(LISTED)
    assert not Phase("Suspending").is_known


@pytest.mark.parametrize("value", [5, None, True, b"Running", ("Running",)])
def test_a_phase_must_be_a_string(value: Any) -> None:
    with pytest.raises(ValueError, match="is not a valid Phase"):
        Phase(value)


@pytest.mark.parametrize("value", ["Suspending", "Running"])
def test_a_phase_survives_pickling_and_copying(value: str) -> None:
    phase = Phase(value)
    for twin in (pickle.loads(pickle.dumps(phase)), copy.copy(phase), copy.deepcopy(phase)):
        assert type(twin) is Phase
        assert (twin, twin.value, twin.is_known) == (phase, value, value == "Running")


def test_a_match_over_phases_falls_through_to_the_open_case() -> None:
    def described(phase: Phase) -> str:
        match phase:
            case Phase.RUNNING:
                return "serves"
            case _:
                return f"is {phase}"

    assert [described(Phase("Running")), described(Phase("Suspending"))] == ["serves", "is Suspending"]


def test_a_cluster_s_state_is_an_open_enumeration_like_a_phase() -> None:
    listed = {"WaitingToConnect", "Connected", "Disconnected", "MissingPrerequisites", "ServiceIssues"}
    assert {state.value for state in ClusterState} == listed | {"Unknown"}
    other = ClusterState("Upgrading")
    assert (other, other.is_known, ClusterState.CONNECTED.is_known) == ("Upgrading", False, True)
    assert pickle.loads(pickle.dumps(other)) == copy.deepcopy(other) == other
    with pytest.raises(ValueError, match="is not a valid ClusterState"):
        ClusterState(5)  # type: ignore[arg-type]


def test_every_class_of_the_schema_has_a_model() -> None:
    assert sorted(str(param.id) for param in CLASSES) == sorted(SCHEMA)


@pytest.mark.parametrize("cls", CLASSES)
def test_a_model_has_the_schema_s_fields_in_snake_case(cls: Any) -> None:
    def camel(name: str) -> str:
        head, *tail = name.split("_")
        return head + "".join(map(str.capitalize, tail))

    *fields, extra = attrs.fields(cls)
    required = {field.name for field in fields if field.default is attrs.NOTHING}
    names = [
        field.metadata.get("key", camel(field.name)) + "*" * (field.name in required) for field in fields
    ]
    assert sorted(names) == sorted(SCHEMA[cls.__name__].split())
    assert extra.name == "extra"


@pytest.mark.parametrize("cls", CLASSES)
def test_a_model_is_frozen_and_slotted(cls: Any) -> None:
    value = cls(*(None for field in attrs.fields(cls) if field.default is attrs.NOTHING))
    name = attrs.fields(cls)[0].name
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(value, name, "another")
    assert not hasattr(value, "__dict__")


@pytest.mark.parametrize("cls", CLASSES)
def test_an_optional_field_is_none_and_extra_an_empty_mapping_of_its_own(cls: Any) -> None:
    required = [None for field in attrs.fields(cls) if field.default is attrs.NOTHING]
    one, other = cls(*required), cls(*required)
    optional = attrs.fields(cls)[len(required) : -1]
    assert [getattr(one, field.name) for field in optional] == [None] * len(optional)
    assert one.extra == {}
    assert one.extra is not other.extra


@pytest.mark.parametrize("cls", CLASSES)
def test_ids_are_strings_and_times_are_datetimes(cls: Any) -> None:
    types = {field.name: str(field.type) for field in attrs.fields(cls)}
    for name, kind in types.items():
        if name == "tenant_id":
            assert "int" in kind
        elif name == "id" or name.endswith("_id"):
            assert "str" in kind
        elif name.endswith(("_at", "_time", "_timestamp")):
            assert datetime.__name__ in kind


@pytest.mark.parametrize("cls", [Revision, Workload])
def test_possible_secrets_are_not_in_the_repr(cls: type[Revision | Workload]) -> None:
    value = from_json(RAW, cls)
    assert [name for name in SECRET_FIELDS if not getattr(value, name)] == []
    assert [secret for secret in SECRETS if secret in repr(value)] == []
    assert [name for name in SECRET_FIELDS if name in repr(value)] == []
    assert "name='chat-7b-00004'" in repr(value)


def test_unknown_keys_are_not_in_the_repr() -> None:
    revision = attrs.evolve(from_json(RAW, Revision), extra={"pullSecret": "hub-secret-123"})
    assert "hub-secret-123" not in repr(revision)


def test_equal_revisions_are_equal_in_every_field_and_hash_alike() -> None:
    one, other = from_json(RAW, Revision), from_json(RAW, Revision)
    assert one == other
    assert hash(one) == hash(other)
    for field in attrs.fields(Revision):
        another: dict[str, Any] = {field.name: "another"}
        assert attrs.evolve(one, **another) != other


def test_a_revision_survives_pickling() -> None:
    revision = from_json(RAW, Revision)
    assert pickle.loads(pickle.dumps(revision)) == revision


def test_every_field_of_a_revision_is_decoded() -> None:
    assert from_json(RAW, Revision) == Revision(
        type="inference",
        name="chat-7b-00004",
        id="0f6d7c52-5a0e-4a53-9a39-6f1f0e9b7a11",
        workload_id="5b0f6f0c-8f3e-4f52-bb0e-2d8f4f6a9c01",
        tenant_id=1007,
        cluster_id="c2a1b9d4-70de-4c39-8a5f-91f1d5a0e7b2",
        department_id="12",
        project_id="4500017",
        created_at=datetime(2025, 9, 14, 7, 31, 12, 481000, UTC),
        phase=Phase.DEGRADED,
        deleted_at=datetime(2025, 9, 14, 10, tzinfo=UTC),
        revision_requested_resources=RequestedResources(
            "portion",
            ResourceCores(1.5, 1.0),
            ResourceQuantity("40G", "20G"),
            ResourceCores(4.0, 0.5),
            ResourceQuantity("16Gi", "512Mi"),
            ("1g.5gb", "3g.20gb"),
            (ExtendedResource("rdma/hca", "2", exclude=False),),
        ),
        pods_requested_resources=RequestedResources(
            "memory",
            ResourceCores(0.75, 0.5),
            ResourceQuantity("20G", "10G"),
            ResourceCores(2.0, 0.25),
            ResourceQuantity("8Gi", "256Mi"),
            ("2g.10gb",),
            (ExtendedResource("vendor.example/nic", "1", exclude=True),),
        ),
        requested_pods=RequestedPods(number=2, min=1, max=5, parallelism=3, completions=4),
        requested_node_pools=("a100", "default"),
        allocated_resources=AllocatedResources(
            1.5, ("1g.10gb",), "30G", 3.25, "6Gi", (ExtendedResource("rdma/hca", "1", exclude=False),)
        ),
        current_node_pools=("a100",),
        running_pods=3,
        images=("registry.example/llm/server:1.9.2", "registry.example/llm/proxy:0.4"),
        environment_variables={"MODEL": "chat-7b", "HUB_TOKEN": "hub-secret-123"},
        command="serve --key cmd-secret-456",
        arguments="--password arg-secret-789",
        children_ids=(ChildReference("d4a0a6b2-13b7-4f7c-a7a6-b0a1b7b8f2c3", "service"),),
        conditions=(
            Condition(
                type="Available",
                status="False",
                message="1 of 3 pods is not ready",
                reason="PodsNotReady",
                last_transition_time=datetime(2025, 9, 14, 7, 58, 3, tzinfo=UTC),
            ),
        ),
        phase_message="a pod does not answer its probe",
        phase_updated_at=datetime(2025, 9, 14, 7, 58, 4, 100200, UTC),
        additional_fields={
            "autoscaling": {"metric": "concurrency", "target": 10},
            "labels": ["a", None, 1.5],
        },
        extra={},
    )
