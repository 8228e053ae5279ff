"""What users write, as the type checkers see it: checked, never run."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from datetime import datetime
from typing import assert_never, assert_type

from runai_async import (
    ApiError,
    Checkpoint,
    FleetCheckpoint,
    FleetEvent,
    HistoryRecord,
    Phase,
    PhaseChanged,
    Revision,
    RevisionAdded,
    RevisionDeleted,
    RevisionUpdated,
    RunaiClient,
    Synced,
    TokenProvider,
    WatchDegraded,
    WatchEvent,
    WatchRecovered,
    Workload,
    WorkloadFailed,
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
    async for workload in runai.list_workloads(filter_by=["name==a"]):
        assert_type(workload, Workload)
    async for record in runai.revision_history(workload_id):
        assert_type(record, HistoryRecord)


async def watching(runai: RunaiClient, workload_id: str, saved: Checkpoint) -> None:
    watch = runai.watch_revisions(workload_id, interval=5, resume_from=saved)
    generator: AsyncGenerator[WatchEvent, None] = watch
    async with watch:
        async for event in generator:
            told(event)
    assert_type(watch.checkpoint(), Checkpoint)


def told(event: WatchEvent) -> str:
    """Match each event there is: a new one makes the type checkers complain here."""
    match event:
        case RevisionAdded(revision=revision) | RevisionDeleted(revision=revision):
            return revision.name
        case PhaseChanged(revision=now, previous_phase=before):
            assert_type(before, Phase)
            return now.name
        case RevisionUpdated(changes=changes):
            return changes[0].path
        case WatchDegraded(error=error):
            return str(error.checkpoint)
        case WatchRecovered(seconds=seconds):
            return f"{seconds:.1f}"
        case Synced(observed_at=at):
            assert_type(at, datetime)
            return ""
        case _:
            assert_never(event)


async def fleets(runai: RunaiClient, saved: FleetCheckpoint) -> None:
    async with runai.watch_fleet(runai.inference_workloads, resume_from=saved) as fleet:
        stream: AsyncIterator[FleetEvent] = fleet
        async for event in stream:
            if isinstance(event, WorkloadFailed):
                continue
            told(event)
        assert_type(fleet.checkpoint(), FleetCheckpoint)
        assert_type(fleet.checkpoint("id"), Checkpoint)


class Vault:
    """A provider of a user's own."""

    async def get_token(self) -> str:
        return ""

    def invalidate(self, token: str) -> None:
        pass


def making() -> None:
    provider: TokenProvider = Vault()
    RunaiClient("https://acme.run.ai", provider, transport=FakeTransport(), clock=FakeClock())
    RunaiClient(1, "token")  # type: ignore[arg-type]


def failing(error: ApiError) -> None:
    assert_type(error.status, int)
    assert_type(error.headers, Mapping[str, str])
    assert_type(error.retry_after, float | None)
