"""What users write, as the type checkers see it: checked, never run."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Mapping
from datetime import datetime
from typing import Literal, assert_never, assert_type
from uuid import UUID

import runai_async
from runai_async import (
    ApiError,
    Checkpoint,
    ClientOptions,
    Clock,
    Cluster,
    ClusterConnected,
    ClusterDisconnected,
    ClusterState,
    Explanation,
    FleetCheckpoint,
    FleetEvent,
    HistoryRecord,
    Phase,
    PhaseChanged,
    Pod,
    Request,
    Response,
    Revision,
    RevisionAdded,
    RevisionDeleted,
    RevisionLogEvent,
    RevisionStalled,
    RevisionUpdated,
    RolloutFailedError,
    RunaiClient,
    Synced,
    TokenProvider,
    Transport,
    WatchDegraded,
    WatchEvent,
    WatchRecovered,
    Workload,
    WorkloadFailed,
    WorkloadQuery,
    from_json,
)
from runai_async.testing import FakeClock, FakeTransport


async def calls(runai: RunaiClient, workload_id: str) -> None:
    assert_type(await runai.list_revisions(workload_id, deleted=True), list[Revision])
    assert_type(await runai.count_revisions(workload_id), int)
    assert_type(await runai.newest_revision(workload_id), Revision | None)
    assert_type(await runai.wait_for_rollout(workload_id, timeout=5), Revision)
    assert_type(await runai.wait_for_phase(workload_id, {Phase.RUNNING, "Stopped"}), Revision)
    assert_type(runai.with_options(timeout=3), RunaiClient)
    assert_type(from_json(b"{}", Revision), Revision)
    assert_type(from_json(b"[]", list[Workload]), list[Workload])
    assert_type(await runai.list_clusters(), list[Cluster])
    assert_type((await runai.get_cluster(workload_id)).state, ClusterState)
    async for workload in runai.list_workloads(filter_by=["name==a"]):
        assert_type(workload, Workload)
    async for record in runai.revision_history(workload_id):
        assert_type(record, HistoryRecord)
    async for event in runai.revision_events(workload_id, newest_first=False):
        assert_type(event, RevisionLogEvent)
    assert_type(await runai.revision_pods(workload_id), list[Pod])
    assert_type((await runai.explain_revision(workload_id)).cause, str | None)


def why(error: RolloutFailedError) -> Explanation | None:
    return error.explanation


async def watching(runai: RunaiClient, workload_id: str, saved: Checkpoint) -> None:
    watch = runai.watch_revisions(workload_id, interval=5, resume_from=saved)
    generator: AsyncGenerator[WatchEvent, None] = watch
    async with watch:
        async for event in generator:
            described(event)
    assert_type(watch.checkpoint(), Checkpoint)
    assert_type(watch.revisions, tuple[Revision, ...])


def described(event: WatchEvent) -> str:
    """Match every kind of event: a new one is an error of the type checkers here."""
    match event:
        case RevisionAdded(revision=revision) | RevisionDeleted(revision=revision):
            return revision.name
        case PhaseChanged(revision=now, previous_phase=before):
            assert_type(before, Phase)
            return now.name
        case RevisionUpdated(changes=changes):
            return changes[0].path
        case RevisionStalled(since=since, seconds=seconds):
            assert_type(since, datetime)
            return f"{seconds:.0f}"
        case WatchDegraded(error=error):
            return str(error.checkpoint)
        case WatchRecovered(seconds=seconds):
            return f"{seconds:.1f}"
        case ClusterDisconnected(last_seen_at=seen):
            assert_type(seen, datetime | None)
            return event.cluster_id
        case ClusterConnected(name=name):
            return name
        case Synced(observed_at=at):
            assert_type(at, datetime)
            return ""
        case _:
            assert_never(event)


async def queries(runai: RunaiClient, mixed: list[str | UUID | Workload]) -> None:
    query = runai.inference_workloads(project="team-a", filter_by=["phase!=Stopped"])
    assert_type(query, WorkloadQuery)
    async for workload in query:
        assert_type(workload, Workload)
    runai.watch_fleet(runai.list_workloads)
    runai.watch_fleet(mixed)
    for workloads in (query, runai.inference_workloads):
        async with runai.watch_fleet(workloads, relaxed_interval=60) as fleet:
            assert_type(fleet.workload("id"), Workload | None)
            assert_type(fleet.status.hints, Literal["off", "learning", "trusted", "untrusted"])


async def fleets(runai: RunaiClient, saved: FleetCheckpoint) -> None:
    async with runai.watch_fleet(runai.inference_workloads, resume_from=saved) as fleet:
        stream: AsyncIterator[FleetEvent] = fleet
        async for event in stream:
            if isinstance(event, WorkloadFailed):
                continue
            described(event)
        assert_type(fleet.checkpoint(), FleetCheckpoint)
        assert_type(fleet.checkpoint("id"), Checkpoint)
        assert_type(fleet.changed_checkpoints(), dict[str, Checkpoint | None])
        assert_type(fleet.revisions(), tuple[Revision, ...])
        assert_type(fleet.revisions("id"), tuple[Revision, ...])


class Vault:
    """A user's own token provider."""

    async def get_token(self) -> str:
        return ""

    def invalidate(self, token: str) -> None:
        pass


class SlowClock:
    """A user's own clock."""

    def monotonic(self) -> float:
        return 0.0

    def now(self) -> datetime:
        return datetime.min

    def sleep(self, seconds: float) -> Awaitable[None]:
        return FakeClock().sleep(2 * seconds)


class Canned:
    """A user's own transport."""

    async def send(self, request: Request, *, timeout: float, deadline: float) -> Response:
        assert_type(request.headers, Mapping[str, str] | None)
        return Response(body=b'{"count": 2}')

    async def aclose(self) -> None:
        pass


class Version01:
    """A transport as 0.1 needed it; the token is in the request's headers now."""

    async def send(
        self, request: Request, *, timeout: float, deadline: float, authorization: str | None = None
    ) -> Response:
        return Response()

    async def aclose(self) -> None:
        pass


def making() -> None:
    provider: TokenProvider = Vault()
    clock: Clock = SlowClock()
    transport: Transport = Canned()
    options: ClientOptions = {"clock": clock, "transport": transport}
    RunaiClient("https://acme.run.ai", provider, transport=FakeTransport(), clock=FakeClock())
    RunaiClient("https://acme.run.ai", provider, **options)
    RunaiClient("https://acme.run.ai", provider, transport=Version01())
    assert_type(RunaiClient.from_env(timeout=5, trust_env=False), RunaiClient)
    assert_type(RunaiClient.from_env(environ={}, **options), RunaiClient)
    RunaiClient(1, "token")  # type: ignore[arg-type]
    RunaiClient.from_env(timeout="5")  # type: ignore[arg-type]
    RunaiClient.from_env(tiemout=5)  # type: ignore[call-arg]


def using_names() -> None:
    assert_type(runai_async.Phase.RUNNING.is_known, bool)
    _ = runai_async.Nonsense  # type: ignore[attr-defined]


def failing(error: ApiError) -> None:
    assert_type(error.status, int)
    assert_type(error.headers, Mapping[str, str])
    assert_type(error.retry_after, float | None)
