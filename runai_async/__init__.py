"""Asyncio client for the inference workload revisions of NVIDIA Run:ai.

Start with `RunaiClient`: it lists, counts and gets revisions, watches one workload or many, and waits for a
rollout.

    >>> async with RunaiClient.from_env() as runai:
    ...     async for event in runai.watch_revisions(workload_id):
    ...         match event:
    ...             case PhaseChanged(revision=now, previous_phase=before):
    ...                 print(now.name, before, "->", now.phase)
    chat-00002 Creating -> Running

The names by theme:

- to be let in: `StaticToken`, `ClientCredentials`, `CliCredentials`, `TokenProvider`; `Auth` is any of them
- what the API returns: `Revision` with its `Phase`, `Workload`, `HistoryRecord`, and their parts
- what is done with it: `compare_revisions` gives `FieldChange`s; `to_json`, `from_json`, `to_cloudevent`
- watching one workload: `RevisionWatch`, `WatchStatus`, `Checkpoint`; it yields `RevisionAdded`,
  `PhaseChanged`, `RevisionDeleted`, and what `PollPolicy.emit` asks for: `RevisionUpdated`, `Synced`,
  `WatchDegraded`, `WatchRecovered`; `WatchEvent` is any of them
- watching many: `FleetWatch`, `FleetStatus`, `FleetCheckpoint`; it yields `WorkloadFailed`, too
- how often and how long: `PollPolicy`, `RetryPolicy`
- what is going on: a `Hook` gets `CallStarted`, `RetryScheduled`, `CallFinished`, `PollStarted`,
  `PollFinished`, `TokenRefreshed`
- what can go wrong: `RunaiError` is the base of all; the tree is in `runai_async.errors`

Beside them there are `runai_async.testing` (a fake control plane, transport and clock),
`runai_async.exporter` (Prometheus) and `runai_async.telemetry` (OpenTelemetry). What a watch promises is in
the README under "Guarantees". Modules whose names begin with an underscore are not for users.
"""

from runai_async._auth.credentials import Auth, CliCredentials, ClientCredentials, StaticToken, TokenProvider
from runai_async._codec import from_json, to_cloudevent, to_json
from runai_async._fleet.discovery import WorkloadIds
from runai_async._fleet.fleet_watch import FleetStatus, FleetWatch
from runai_async._version import __version__
from runai_async._watch.revision_watch import RevisionWatch, WatchStatus
from runai_async.checkpoint import Checkpoint, FleetCheckpoint, RevisionMark
from runai_async.client import RunaiClient
from runai_async.diff import FieldChange, compare_revisions
from runai_async.errors import (
    ApiError,
    AttemptTimeoutError,
    AuthenticationError,
    ConfigurationError,
    DeadlineExceededError,
    DecodeError,
    InternalServerError,
    NotFoundError,
    PermissionDeniedError,
    PhaseFailedError,
    RateLimitError,
    RolloutFailedError,
    RunaiError,
    ServerError,
    ServiceUnavailableError,
    TransportError,
    WaitError,
    WaitTimeoutError,
    WatchOutageError,
)
from runai_async.events import (
    FleetEvent,
    PhaseChanged,
    RevisionAdded,
    RevisionDeleted,
    RevisionEvent,
    RevisionUpdated,
    Synced,
    WatchDegraded,
    WatchEvent,
    WatchRecovered,
    WorkloadFailed,
)
from runai_async.hooks import (
    CallFinished,
    CallStarted,
    Hook,
    HookEvent,
    PollFinished,
    PollStarted,
    RetryScheduled,
    TokenRefreshed,
)
from runai_async.models import (
    AllocatedResources,
    ChildReference,
    Condition,
    ExtendedResource,
    HistoryMeta,
    HistoryRecord,
    HistorySpec,
    Phase,
    PhaseUpdate,
    RequestedPods,
    RequestedResources,
    ResourceCores,
    ResourceQuantity,
    Revision,
    Workload,
)
from runai_async.policy import PollPolicy, RetryPolicy

__all__ = [
    "AllocatedResources",
    "ApiError",
    "AttemptTimeoutError",
    "Auth",
    "AuthenticationError",
    "CallFinished",
    "CallStarted",
    "Checkpoint",
    "ChildReference",
    "CliCredentials",
    "ClientCredentials",
    "Condition",
    "ConfigurationError",
    "DeadlineExceededError",
    "DecodeError",
    "ExtendedResource",
    "FieldChange",
    "FleetCheckpoint",
    "FleetEvent",
    "FleetStatus",
    "FleetWatch",
    "HistoryMeta",
    "HistoryRecord",
    "HistorySpec",
    "Hook",
    "HookEvent",
    "InternalServerError",
    "NotFoundError",
    "PermissionDeniedError",
    "Phase",
    "PhaseChanged",
    "PhaseFailedError",
    "PhaseUpdate",
    "PollFinished",
    "PollPolicy",
    "PollStarted",
    "RateLimitError",
    "RequestedPods",
    "RequestedResources",
    "ResourceCores",
    "ResourceQuantity",
    "RetryPolicy",
    "RetryScheduled",
    "Revision",
    "RevisionAdded",
    "RevisionDeleted",
    "RevisionEvent",
    "RevisionMark",
    "RevisionUpdated",
    "RevisionWatch",
    "RolloutFailedError",
    "RunaiClient",
    "RunaiError",
    "ServerError",
    "ServiceUnavailableError",
    "StaticToken",
    "Synced",
    "TokenProvider",
    "TokenRefreshed",
    "TransportError",
    "WaitError",
    "WaitTimeoutError",
    "WatchDegraded",
    "WatchEvent",
    "WatchOutageError",
    "WatchRecovered",
    "WatchStatus",
    "Workload",
    "WorkloadFailed",
    "WorkloadIds",
    "__version__",
    "compare_revisions",
    "from_json",
    "to_cloudevent",
    "to_json",
]
