"""An asyncio client for the inference workload revisions of NVIDIA Run:ai.

Start with `RunaiClient`: it lists, counts and gets revisions, watches one workload or many, and waits for a
rollout.

    >>> async with RunaiClient.from_env() as runai:
    ...     async for event in runai.watch_revisions(workload_id):
    ...         match event:
    ...             case PhaseChanged(revision=now, previous_phase=before):
    ...                 print(now.name, before, "->", now.phase)
    chat-00002 Creating -> Running

The names by theme:

- the client: `RunaiClient`; its keyword arguments are `ClientOptions`
- authentication: `StaticToken`, `FileToken`, `ClientCredentials`, `CliCredentials`, `TokenProvider`; `Auth`
  is any of them
- policies: `RetryPolicy` says how often to retry, `PollPolicy` how often to poll
- models: `Revision` with its `Phase`, `Workload`, `HistoryRecord`, `RevisionLogEvent`, `Pod`, `Cluster` with
  its `ClusterState`, and their parts
- why a revision does not serve: `Explanation` with its `EventCount`s
- working with them: `compare_revisions` returns `FieldChange`s; `to_json`, `from_json`, `to_cloudevent`
- watching one workload: `RevisionWatch`, `WatchStatus`, `Checkpoint`; it yields `RevisionAdded`,
  `PhaseChanged`, `RevisionDeleted`, with `PollPolicy.stalled_after` `RevisionStalled`, and whatever
  `PollPolicy.emit` asks for: `RevisionUpdated`, `Synced`, `WatchDegraded`, `WatchRecovered`, and, of the
  clusters, `ClusterDisconnected` and `ClusterConnected`; `WatchEvent` is any of them
- watching many workloads: `FleetWatch`, `FleetStatus`, `FleetCheckpoint`, `WorkloadQuery`, `WorkloadIds`; it
  also yields `WorkloadFailed`; `shard_of` says which of several fleets a workload belongs to
- what checkpoints consist of: `RevisionMark`, `PollStreak`, `StallMark`
- hooks: a `Hook` receives `CallStarted`, `RetryScheduled`, `CallFinished`, `PollStarted`, `PollFinished`,
  `TokenRefreshed`; `HookEvent` is any of them
- errors: `RunaiError` is the base of all; the tree is in `runai_async.errors`
- a clock or a transport of your own: the protocols `Clock` and `Transport`; `Request`, `Response`

There are also `runai_async.testing` (a fake control plane, transport and clock), `runai_async.exporter`
(Prometheus) and `runai_async.telemetry` (OpenTelemetry). The README's "Guarantees" say what a watch promises.
Modules whose names begin with an underscore are private. Every name here is imported when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from runai_async._version import __version__

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
    "ClientOptions",
    "Clock",
    "Cluster",
    "ClusterConnected",
    "ClusterDisconnected",
    "ClusterEvent",
    "ClusterState",
    "Condition",
    "ConfigurationError",
    "DeadlineExceededError",
    "DecodeError",
    "EventCount",
    "Explanation",
    "ExtendedResource",
    "FieldChange",
    "FileToken",
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
    "InvolvedObject",
    "NotFoundError",
    "PermissionDeniedError",
    "Phase",
    "PhaseChanged",
    "PhaseFailedError",
    "PhaseUpdate",
    "Pod",
    "PodContainer",
    "PollFinished",
    "PollPolicy",
    "PollStarted",
    "PollStreak",
    "RateLimitError",
    "Request",
    "RequestedPods",
    "RequestedResources",
    "ResourceCores",
    "ResourceQuantity",
    "Response",
    "RetryPolicy",
    "RetryScheduled",
    "Revision",
    "RevisionAdded",
    "RevisionDeleted",
    "RevisionEvent",
    "RevisionLogEvent",
    "RevisionMark",
    "RevisionStalled",
    "RevisionUpdated",
    "RevisionWatch",
    "RolloutFailedError",
    "RunaiClient",
    "RunaiError",
    "ServerError",
    "ServiceUnavailableError",
    "StallMark",
    "StaticToken",
    "Synced",
    "TokenProvider",
    "TokenRefreshed",
    "Transport",
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
    "WorkloadQuery",
    "__version__",
    "compare_revisions",
    "from_json",
    "shard_of",
    "to_cloudevent",
    "to_json",
]

_NAMES = {
    "_api.workload_query": "WorkloadQuery",
    "_auth.credentials": "Auth CliCredentials ClientCredentials FileToken StaticToken TokenProvider",
    "_clock": "Clock",
    "_codec": "from_json to_cloudevent to_json",
    "_fleet.discovery": "WorkloadIds",
    "_fleet.fleet_watch": "FleetWatch",
    "_fleet.spread": "shard_of",
    "_fleet.status": "FleetStatus",
    "_http.messages": "Request Response Transport",
    "_watch.revision_watch": "RevisionWatch",
    "_watch.status": "WatchStatus",
    "checkpoint": "Checkpoint FleetCheckpoint PollStreak RevisionMark StallMark",
    "client": "ClientOptions RunaiClient",
    "diff": "FieldChange compare_revisions",
    "errors": "ApiError AttemptTimeoutError AuthenticationError ConfigurationError DeadlineExceededError "
    "DecodeError InternalServerError NotFoundError PermissionDeniedError PhaseFailedError "
    "RateLimitError RolloutFailedError RunaiError ServerError ServiceUnavailableError "
    "TransportError WaitError WaitTimeoutError WatchOutageError",
    "events": "ClusterConnected ClusterDisconnected ClusterEvent FleetEvent PhaseChanged RevisionAdded "
    "RevisionDeleted RevisionEvent RevisionStalled RevisionUpdated Synced WatchDegraded WatchEvent "
    "WatchRecovered WorkloadFailed",
    "explanation": "EventCount Explanation",
    "hooks": "CallFinished CallStarted Hook HookEvent PollFinished PollStarted RetryScheduled TokenRefreshed",
    "models": "AllocatedResources ChildReference Cluster ClusterState Condition ExtendedResource "
    "HistoryMeta HistoryRecord HistorySpec InvolvedObject Phase PhaseUpdate Pod PodContainer RequestedPods "
    "RequestedResources ResourceCores ResourceQuantity Revision RevisionLogEvent Workload",
    "policy": "PollPolicy RetryPolicy",
}
"""The public names by the module that defines each."""
_MODULES = {name: module for module, names in _NAMES.items() for name in names.split()}


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


if TYPE_CHECKING:
    from runai_async._api.workload_query import WorkloadQuery
    from runai_async._auth.credentials import (
        Auth,
        CliCredentials,
        ClientCredentials,
        FileToken,
        StaticToken,
        TokenProvider,
    )
    from runai_async._clock import Clock
    from runai_async._codec import from_json, to_cloudevent, to_json
    from runai_async._fleet.discovery import WorkloadIds
    from runai_async._fleet.fleet_watch import FleetWatch
    from runai_async._fleet.spread import shard_of
    from runai_async._fleet.status import FleetStatus
    from runai_async._http.messages import Request, Response, Transport
    from runai_async._watch.revision_watch import RevisionWatch
    from runai_async._watch.status import WatchStatus
    from runai_async.checkpoint import Checkpoint, FleetCheckpoint, PollStreak, RevisionMark, StallMark
    from runai_async.client import ClientOptions, RunaiClient
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
        ClusterConnected,
        ClusterDisconnected,
        ClusterEvent,
        FleetEvent,
        PhaseChanged,
        RevisionAdded,
        RevisionDeleted,
        RevisionEvent,
        RevisionStalled,
        RevisionUpdated,
        Synced,
        WatchDegraded,
        WatchEvent,
        WatchRecovered,
        WorkloadFailed,
    )
    from runai_async.explanation import EventCount, Explanation
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
        Cluster,
        ClusterState,
        Condition,
        ExtendedResource,
        HistoryMeta,
        HistoryRecord,
        HistorySpec,
        InvolvedObject,
        Phase,
        PhaseUpdate,
        Pod,
        PodContainer,
        RequestedPods,
        RequestedResources,
        ResourceCores,
        ResourceQuantity,
        Revision,
        RevisionLogEvent,
        Workload,
    )
    from runai_async.policy import PollPolicy, RetryPolicy
else:  # hidden from type checkers, which would accept any name otherwise

    def __getattr__(name: str) -> object:
        """Import a public name, or a public module, when it is first used."""
        if name in _MODULES:
            value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
        elif name in _NAMES and not name.startswith("_"):
            value = import_module(f"{__name__}.{name}")
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value
