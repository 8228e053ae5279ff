"""What the API returns, as frozen values.

Fields have the schema's names in snake_case (`phaseUpdatedAt` is `phase_updated_at`). Arrays are tuples,
times are aware and in UTC, ids are `str`, and keys that the schema does not have are kept in `extra`.
The schema is that of the Run:ai control plane 2.22, https://run-ai-docs.nvidia.com/api/2.22/workloads/revisions.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from attrs import field

from runai_async._values import frozen

_ID: dict[str, Any] = {"coerce": "id"}
"""Metadata of an id: some are numbers in the vendor's own samples."""
_QUANTITY: dict[str, Any] = {"coerce": "quantity"}
"""Metadata of a Kubernetes quantity: some are numbers there, too, even fractions."""


def _nothing() -> dict[str, Any]:
    return {}


def _extra() -> Any:
    """Make the field for the keys that the schema does not have."""
    return field(factory=_nothing, repr=False, hash=False)


class _OpenEnum(StrEnum):
    """An enumeration that accepts values which it does not list: the vendor adds some without notice."""

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        """Accept a text that is not listed."""
        if not isinstance(value, str):
            return None
        member = str.__new__(cls, value)
        member._name_ = value
        member._value_ = value
        return member

    @property
    def is_known(self) -> bool:
        """Whether the schema lists this value."""
        return self._value_ in type(self)._value2member_map_


class Phase(_OpenEnum):
    """The phase of a revision or workload: an open enumeration.

    A control plane may send a phase that is not listed here. `Phase("Suspending")` is then a `Phase` with
    that value whose `is_known` is False, so a `match` over phases needs a `case _`.

    Example:
        >>> Phase("Running") is Phase.RUNNING
        True
        >>> Phase("Suspending").is_known
        False
    """

    CREATING = "Creating"
    INITIALIZING = "Initializing"
    RESUMING = "Resuming"
    PENDING = "Pending"
    DELETING = "Deleting"
    RUNNING = "Running"
    UPDATING = "Updating"
    STOPPED = "Stopped"
    STOPPING = "Stopping"
    DEGRADED = "Degraded"
    FAILED = "Failed"
    COMPLETED = "Completed"
    TERMINATING = "Terminating"
    UNKNOWN = "Unknown"

    @property
    def is_terminal(self) -> bool:
        """Whether the phase is final: Failed or Completed."""
        return self in _TERMINAL

    @property
    def is_settled(self) -> bool:
        """Whether the phase can last indefinitely: the terminal ones, Running, Stopped and Degraded."""
        return self in _SETTLED

    @property
    def is_transitional(self) -> bool:
        """Whether the revision is on its way to another phase. False for Unknown and unlisted phases."""
        return self in _TRANSITIONAL


_TERMINAL = frozenset({Phase.FAILED, Phase.COMPLETED})
_SETTLED = _TERMINAL | {Phase.RUNNING, Phase.STOPPED, Phase.DEGRADED}
_TRANSITIONAL = frozenset(Phase) - _SETTLED - {Phase.UNKNOWN}


@frozen
class ResourceCores:
    """A request for cores (CPU) or devices (GPU), in units of one core or device; fractions allowed.

    Attributes:
        limit: the maximum that may be used.
        request: the amount that is reserved.

    Example:
        >>> revision.pods_requested_resources.gpu.request
        1.0
    """

    limit: float | None = None
    request: float | None = None
    extra: Mapping[str, Any] = _extra()


@frozen
class ResourceQuantity:
    """A request for an amount, as a Kubernetes quantity such as `"20G"` or `"512Mi"`.

    https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/

    Attributes:
        limit: the maximum that may be used.
        request: the amount that is reserved.

    Example:
        >>> revision.pods_requested_resources.cpu_memory.limit
        '64G'
    """

    limit: str | None = field(default=None, metadata=_QUANTITY)
    request: str | None = field(default=None, metadata=_QUANTITY)
    extra: Mapping[str, Any] = _extra()


@frozen
class ExtendedResource:
    """An extended resource, for example an RDMA device, and its quantity.

    Attributes:
        resource: its name in Kubernetes.
        quantity: how much of it, a Kubernetes quantity.
        exclude: whether this workload opts out of a policy's default for it.

    Example:
        >>> requested = revision.pods_requested_resources.extended_resources or ()
        >>> {item.resource: item.quantity for item in requested if item is not None}
        {'nvidia.com/rdma': '1'}
    """

    resource: str | None = None
    quantity: str | None = field(default=None, metadata=_QUANTITY)
    exclude: bool | None = None
    extra: Mapping[str, Any] = _extra()


@frozen
class RequestedResources:
    """The resources that a revision, or each of its pods, requests.

    Attributes:
        gpu_request_type: how GPUs are requested: `portion`, `memory`, or the deprecated `migProfile`.
        gpu: devices, or a portion of one.
        gpu_memory: memory of the GPUs.
        cpu: cores.
        cpu_memory: memory.
        mig_profile: profiles of Multi-Instance GPU, like `2g.10gb`; an item may be None.
        extended_resources: further resources; an item may be None.

    Example:
        >>> requested = revision.revision_requested_resources
        >>> requested.gpu_request_type, requested.gpu.limit
        ('portion', 2.0)
    """

    gpu_request_type: str | None = None
    gpu: ResourceCores | None = None
    gpu_memory: ResourceQuantity | None = None
    cpu: ResourceCores | None = None
    cpu_memory: ResourceQuantity | None = None
    mig_profile: tuple[str | None, ...] | None = None
    extended_resources: tuple[ExtendedResource | None, ...] | None = None
    extra: Mapping[str, Any] = _extra()


@frozen
class AllocatedResources:
    """The resources that are allocated to a revision.

    Attributes:
        gpu: devices, fractions included.
        mig_profile: profiles of Multi-Instance GPU; an item may be None.
        gpu_memory: a Kubernetes quantity.
        cpu: cores, fractions included.
        cpu_memory: a Kubernetes quantity.
        extended_resources: further resources; an item may be None.

    Example:
        >>> allocated = revision.allocated_resources
        >>> (allocated.gpu, allocated.gpu_memory) if allocated else "nothing yet"
        (2.0, '160G')
    """

    gpu: float | None = None
    mig_profile: tuple[str | None, ...] | None = None
    gpu_memory: str | None = field(default=None, metadata=_QUANTITY)
    cpu: float | None = None
    cpu_memory: str | None = field(default=None, metadata=_QUANTITY)
    extended_resources: tuple[ExtendedResource | None, ...] | None = None
    extra: Mapping[str, Any] = _extra()


@frozen
class RequestedPods:
    """How many pods are requested: a fixed `number`, or from `min` to `max` where the workload scales.

    Attributes:
        number: how many, where the workload does not scale.
        min: the minimum; 0 where the workload scales to zero.
        max: the maximum.
        parallelism: how many may run at the same time.
        completions: how many must succeed before the workload is complete.

    Example:
        >>> pods = revision.requested_pods
        >>> pods.min, pods.max, pods.wanted
        (1, 4, 1)
    """

    number: int | None = None
    min: int | None = None
    max: int | None = None
    parallelism: int | None = None
    completions: int | None = None
    extra: Mapping[str, Any] = _extra()

    @property
    def wanted(self) -> int | None:
        """The pods with which a revision serves: `min`, else `number`; None where neither is given.

        Where only `max` is given, it is 0: a Go server leaves out a `min` of 0.
        """
        if self.min is not None:
            return self.min
        return self.number if self.max is None else 0


@frozen
class Condition:
    """A condition as Kubernetes has them: `type` is `status`, because of `reason` and `message`.

    Attributes:
        type: what it is about, like `Ready`.
        status: the string `True`, `False` or `Unknown`.
        message: the reason in a sentence, for people.
        reason: the reason in one word, for programs.
        last_transition_time: when the status last changed.

    Example:
        >>> [(item.type, item.message) for item in revision.conditions or () if item.status != "True"]
        [('Ready', 'the revision is being rolled out')]
    """

    type: str
    status: str
    message: str | None = None
    reason: str | None = None
    last_transition_time: datetime | None = None
    extra: Mapping[str, Any] = _extra()


@frozen
class ChildReference:
    """A reference to a child object. The schema marks it as write-only, so responses should not have it.

    Example:
        >>> from_json('{"id": 7, "type": "Pod"}', ChildReference)
        ChildReference(id='7', type='Pod')
    """

    id: str = field(metadata=_ID)
    type: str | None = None
    extra: Mapping[str, Any] = _extra()


@frozen
class Revision:
    """A snapshot of an inference workload's configuration, and its state.

    `environment_variables`, `command` and `arguments` may hold secrets and are not in the repr.

    Attributes:
        created_at: when it was created, by the server's clock; the newest revision is the current one.
        phase: its phase; see `Phase`.
        phase_message: the reason for the phase, for people.
        phase_updated_at: when it entered the phase, by the server's clock.
        deleted_at: when it was deleted; None while it exists.
        revision_requested_resources: what all of its pods request together.
        pods_requested_resources: what each of its pods requests.
        requested_pods: how many pods it requests.
        allocated_resources: what is allocated to it.
        running_pods: pods that are running. A Running revision may have none, because it scales to zero.
        children_ids: not expected in responses.
        additional_fields: further fields, as the API sends them.

    Example:
        >>> revision = from_json(body, Revision)
        >>> revision.phase, revision.running_pods
        (<Phase.RUNNING: 'Running'>, 2)
    """

    type: str
    name: str
    id: str = field(metadata=_ID)
    workload_id: str = field(metadata=_ID)
    tenant_id: int
    cluster_id: str = field(metadata=_ID)
    department_id: str = field(metadata=_ID)
    project_id: str = field(metadata=_ID)
    created_at: datetime
    phase: Phase
    deleted_at: datetime | None = None
    revision_requested_resources: RequestedResources | None = None
    pods_requested_resources: RequestedResources | None = None
    requested_pods: RequestedPods | None = None
    requested_node_pools: tuple[str, ...] | None = None
    allocated_resources: AllocatedResources | None = None
    current_node_pools: tuple[str, ...] | None = None
    running_pods: int | None = None
    images: tuple[str, ...] | None = None
    environment_variables: Mapping[str, str] | None = field(default=None, repr=False, hash=False)
    command: str | None = field(default=None, repr=False)
    arguments: str | None = field(default=None, repr=False)
    children_ids: tuple[ChildReference, ...] | None = None
    conditions: tuple[Condition, ...] | None = None
    phase_message: str | None = None
    phase_updated_at: datetime | None = None
    additional_fields: Mapping[str, Any] | None = field(default=None, repr=False, hash=False)
    extra: Mapping[str, Any] = _extra()


SECRET_FIELDS = ("environment_variables", "command", "arguments")
"""The fields of a `Revision` or `Workload` that may hold secrets."""


@frozen
class Workload:
    """A workload as the control plane lists it, with the fields that discovery and dashboards need.

    The schema's other fields are kept in `extra`, so that nothing is lost. `environment_variables`, `command`
    and `arguments` may hold secrets and are not in the repr.

    Attributes:
        type: the kind of workload; the API does not document its values.
        phase: the workload's phase. It stays Running during a rollout, which only the revisions show.

    Example:
        >>> async for workload in runai.list_workloads():
        ...     print(workload.name, workload.phase, workload.extra["priorityClassName"])
        chat Running inference
    """

    type: str
    name: str
    id: str = field(metadata=_ID)
    cluster_id: str = field(metadata=_ID)
    project_id: str = field(metadata=_ID)
    phase: Phase
    created_at: datetime
    project_name: str | None = None
    department_id: str | None = field(default=None, metadata=_ID)
    department_name: str | None = None
    tenant_id: int | None = None
    namespace: str | None = None
    phase_updated_at: datetime | None = None
    phase_message: str | None = None
    updated_at: datetime | None = None
    deleted_at: datetime | None = None
    running_pods: int | None = None
    requested_pods: RequestedPods | None = None
    conditions: tuple[Condition, ...] | None = None
    images: tuple[str, ...] | None = None
    environment_variables: Mapping[str, str] | None = field(default=None, repr=False, hash=False)
    command: str | None = field(default=None, repr=False)
    arguments: str | None = field(default=None, repr=False)
    extra: Mapping[str, Any] = _extra()


@frozen
class HistoryMeta:
    """When a record of a revision's history was made, and its kind.

    Attributes:
        creation_timestamp: when it was made, by the server's clock.
        type: `Event` or `PhaseUpdate`.

    Example:
        >>> [record.meta.type async for record in runai.revision_history(revision_id)]
        ['PhaseUpdate']
    """

    creation_timestamp: datetime
    type: str
    extra: Mapping[str, Any] = _extra()


@frozen
class PhaseUpdate:
    """A phase that a revision entered.

    Attributes:
        phase_message: the reason for the phase, for people.

    Example:
        >>> records = [record async for record in runai.revision_history(revision_id)]
        >>> [update.phase.value for record in records if (update := record.spec.phase_update)]
        ['Running']
    """

    phase: Phase
    phase_message: str | None = None
    extra: Mapping[str, Any] = _extra()


@frozen
class HistorySpec:
    """What happened: a change of phase, or an event.

    Attributes:
        event: the event as the API sends it, where the record is one.
        phase_update: the change of phase, where the record is one.

    Example:
        >>> async for record in runai.revision_history(revision_id):
        ...     print(record.spec.event or record.spec.phase_update.phase)
        Running
    """

    event: Mapping[str, Any] | None = field(default=None, hash=False)
    phase_update: PhaseUpdate | None = None
    extra: Mapping[str, Any] = _extra()


@frozen
class HistoryRecord:
    """One record of a revision's history.

    Attributes:
        meta: when it was made, and its kind.
        spec: what happened.

    Example:
        >>> async for record in runai.revision_history(revision_id):
        ...     if (update := record.spec.phase_update) is not None:
        ...         print(f"{record.meta.creation_timestamp:%H:%M}", update.phase)
        00:00 Running
    """

    meta: HistoryMeta
    spec: HistorySpec
    extra: Mapping[str, Any] = _extra()


@frozen
class InvolvedObject:
    """The object in Kubernetes that an event is about.

    Attributes:
        kind: such as `Pod`.

    Example:
        >>> async for event in runai.revision_events(revision_id):
        ...     print(event.involved_object.kind, event.involved_object.name)
        Pod chat-00001-deployment-0
    """

    kind: str | None = None
    name: str | None = None
    namespace: str | None = None
    uid: str | None = field(default=None, metadata=_ID)
    extra: Mapping[str, Any] = _extra()


@frozen
class RevisionLogEvent:
    """An event of Kubernetes about a revision or one of its pods.

    It is not one of the events that a watch yields.

    Attributes:
        created_at: when it was recorded, by the server's clock.
        type: `Normal` or `Warning`.
        reason: what happened in one word, for programs, such as `FailedScheduling`.
        message: the same in a sentence, for people.
        source: what recorded it.
        involved_object: what it is about.

    Example:
        >>> async for event in runai.revision_events(revision_id):
        ...     print(event.type, event.reason, event.message)
        Warning Unhealthy Readiness probe failed: HTTP 503
    """

    created_at: datetime
    type: str
    reason: str | None = None
    message: str | None = None
    source: str | None = None
    involved_object: InvolvedObject | None = None
    id: str | None = field(default=None, metadata=_ID)
    cluster_id: str | None = field(default=None, metadata=_ID)
    extra: Mapping[str, Any] = _extra()

    @property
    def is_warning(self) -> bool:
        """Whether its type is `Warning`, in any case."""
        return self.type.lower() == "warning"


@frozen
class PodContainer:
    """A container of a pod.

    Attributes:
        started_at: when it was started; None if it was not.

    Example:
        >>> pods = await runai.revision_pods(revision_id)
        >>> [container.image for container in pods[0].containers or ()]
        ['llm:1']
    """

    name: str
    image: str | None = None
    started_at: datetime | None = None
    extra: Mapping[str, Any] = _extra()


@frozen
class Pod:
    """A pod of a revision.

    The schema's other fields are kept in `extra`.

    Attributes:
        k8s_phase: its phase in Kubernetes, such as `Pending` or `Running`; any text.
        containers: its containers.
        node_name: the node that it runs on; None until it is scheduled.
        k8s_phase_updated_at: when it entered the phase, by the server's clock.

    Example:
        >>> for pod in await runai.revision_pods(revision_id):
        ...     print(pod.name, pod.k8s_phase, pod.node_name)
        chat-00001-deployment-0 Running node-1
    """

    name: str
    id: str = field(metadata=_ID)
    k8s_phase: str
    containers: tuple[PodContainer, ...] | None = None
    node_name: str | None = None
    workload_id: str | None = field(default=None, metadata=_ID)
    revision_id: str | None = field(default=None, metadata=_ID)
    cluster_id: str | None = field(default=None, metadata=_ID)
    project_id: str | None = field(default=None, metadata=_ID)
    current_node_pool: str | None = None
    requested_node_pools: tuple[str, ...] | None = None
    created_at: datetime | None = None
    completed_at: datetime | None = None
    k8s_phase_updated_at: datetime | None = None
    updated_at: datetime | None = None
    deleted_at: datetime | None = None
    extra: Mapping[str, Any] = _extra()


class ClusterState(_OpenEnum):
    """The state of a cluster's connection to the control plane: an open enumeration, as `Phase` is.

    Example:
        >>> ClusterState("Disconnected") is ClusterState.DISCONNECTED
        True
        >>> ClusterState("Upgrading").is_known
        False
    """

    WAITING_TO_CONNECT = "WaitingToConnect"
    CONNECTED = "Connected"
    DISCONNECTED = "Disconnected"
    MISSING_PREREQUISITES = "MissingPrerequisites"
    SERVICE_ISSUES = "ServiceIssues"
    UNKNOWN = "Unknown"


@frozen
class Cluster:
    """A cluster, which runs workloads and reports their phases to the control plane.

    The control plane describes a cluster in full or, for those who may not see that, in a minimal form.
    `state` is read from `state` or from `status.state`, and is Unknown where there is neither.

    Attributes:
        id: `uuid` in the API.
        state: the state of its connection. What a Disconnected cluster last reported stays as it was.
        last_seen_at: when the control plane last heard of it, `lastLiveness` in the API; None in the minimal
            form.
        version: of the software in the cluster.

    Example:
        >>> for cluster in await runai.list_clusters():
        ...     print(cluster.name, cluster.state, cluster.version)
        cluster-1 Connected 2.24.17
    """

    id: str = field(metadata={**_ID, "key": "uuid"})
    name: str
    state: ClusterState
    last_seen_at: datetime | None = field(default=None, metadata={"key": "lastLiveness"})
    version: str | None = None
    extra: Mapping[str, Any] = _extra()
