"""What a client sees of each fault that the fake control plane can put into a body."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import get_args
from uuid import UUID

import aiohttp
import pytest

from runai_async import (
    DecodeError,
    PollPolicy,
    RetryPolicy,
    RevisionAdded,
    RevisionUpdated,
    RunaiClient,
    Synced,
    WaitTimeoutError,
)
from runai_async.testing import FakeControlPlane, FaultKind
from runai_async.testing._bodies import BODY_FAULTS, BodyFault

POLL = PollPolicy(interval=0.02, fast_interval=0.02, jitter=0, emit=frozenset({"updated", "synced"}))


class Setting:
    """A control plane with one workload and two revisions, and a client of it."""

    def __init__(self, control_plane: FakeControlPlane, runai: RunaiClient) -> None:
        self.control_plane = control_plane
        self.runai = runai
        self.workload_id = control_plane.add_workload()
        self.old = control_plane.add_revision(self.workload_id, "Running")
        self.new = control_plane.add_revision(self.workload_id, "Running")

    async def read(self) -> list[str]:
        """Return the ids of the listed revisions; of a list with a broken one, those of the others."""
        try:
            return [item.id for item in await self.runai.list_revisions(self.workload_id)]
        except DecodeError as error:
            return [item.id for item in error.partial]

    async def body(self, path: str) -> str:
        """Return a body as it is on the wire."""
        headers = {"Authorization": f"Bearer {self.control_plane.token}"}
        async with aiohttp.ClientSession(self.control_plane.url, headers=headers) as session:
            return await (await session.get(path)).text()

    @property
    def list_path(self) -> str:
        return f"/api/v1/workloads/inferences/{self.workload_id}/revisions"


@pytest.fixture
async def setting() -> AsyncIterator[Setting]:
    async with (
        FakeControlPlane() as control_plane,
        RunaiClient(control_plane.url, control_plane.token) as runai,
    ):
        yield Setting(control_plane, runai)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("zero_time", '"deletedAt":"0001-01-01T00:00:00Z"'),
        ("empty_time", '"deletedAt":""'),
        ("surrogate", '"phaseMessage":"out of disk \\ud83d"'),
        ("nan", '"runningPods":NaN'),
        ("control_character", '"phaseMessage":"out of\tdisk"'),
        ("deep_nesting", '"additionalFields":{"a":{"a":{'),
        ("null_list", '{"revisions":null}'),
        ("empty_object", "{}"),
        ("undecodable_newest", '"phase":null'),
    ],
)
async def test_a_fault_is_in_the_body_of_the_next_response_only(
    setting: Setting, kind: FaultKind, text: str
) -> None:
    setting.control_plane.fault(kind)
    assert text in await setting.body(setting.list_path)
    assert text not in await setting.body(setting.list_path)


@pytest.mark.parametrize("kind", ["zero_time", "empty_time"])
async def test_a_revision_whose_deletion_time_is_zero_lives(setting: Setting, kind: FaultKind) -> None:
    setting.control_plane.fault(kind, times=None)
    revisions = await setting.runai.list_revisions(setting.workload_id)
    assert [item.deleted_at for item in revisions] == [None, None]
    assert (await setting.runai.get_revision(setting.new)).deleted_at is None


async def test_half_a_surrogate_pair_is_replaced(setting: Setting) -> None:
    setting.control_plane.fault("surrogate")
    first, second = await setting.runai.list_revisions(setting.workload_id)
    assert (first.phase_message, second.phase_message) == ("out of disk \ufffd", "")


@pytest.mark.parametrize("kind", ["nan", "control_character", "deep_nesting", "broken_row"])
async def test_a_revision_that_is_broken_hides_no_other(setting: Setting, kind: FaultKind) -> None:
    setting.control_plane.fault(kind, times=None)
    assert await setting.read() == [setting.new]
    with contextlib.suppress(DecodeError):
        await setting.runai.with_options(retry=RetryPolicy(attempts=1)).get_revision(setting.new)
    watch = setting.runai.watch_revisions(setting.workload_id, poll=POLL)
    async with watch:
        added = await anext(watch)
        assert isinstance(added, RevisionAdded)
        assert added.revision_id == setting.new
        assert isinstance(await anext(watch), Synced)
        assert watch.status.undecodable == 1


@pytest.mark.parametrize("kind", ["null_list", "empty_object"])
async def test_a_list_that_is_null_or_missing_is_empty(setting: Setting, kind: FaultKind) -> None:
    setting.control_plane.fault(kind, times=3)
    assert await setting.runai.list_revisions(setting.workload_id) == []
    assert [item async for item in setting.runai.list_workloads()] == []
    assert [item async for item in setting.runai.revision_history(setting.new)] == []
    setting.control_plane.fault(kind, times=2)
    assert [item async for item in setting.runai.revision_events(setting.new)] == []
    assert await setting.runai.revision_pods(setting.new) == []


async def test_a_broken_row_is_left_out_and_its_id_still_counts(setting: Setting) -> None:
    other = setting.control_plane.add_workload()
    setting.control_plane.fault("broken_row", times=3)
    assert [item.id async for item in setting.runai.list_workloads()] == [other]
    found = {item.id async for item in setting.runai.inference_workloads()}
    assert found == {setting.workload_id, other}
    assert [item async for item in setting.runai.revision_history(setting.new)] == []


async def test_an_undecodable_newest_revision_is_left_out(setting: Setting) -> None:
    setting.control_plane.fault("undecodable_newest", times=None)
    assert await setting.read() == [setting.old]
    with pytest.raises(WaitTimeoutError):
        await setting.runai.wait_for_rollout(setting.workload_id, timeout=0.1, poll=POLL)
    setting.control_plane.clear_faults()
    assert (await setting.runai.wait_for_rollout(setting.workload_id, poll=POLL)).id == setting.new


async def test_all_pages_are_read_where_their_offsets_are_strings(setting: Setting) -> None:
    ids = {setting.workload_id, *(setting.control_plane.add_workload() for _ in range(5))}
    setting.control_plane.fault("string_next", times=None)
    assert '"next":"2"' in await setting.body("/api/v1/workloads?limit=2")
    assert {item.id async for item in setting.runai.list_workloads(page_size=2)} == ids


@pytest.mark.parametrize("kind", ["uppercase_ids", "dashless_ids"])
async def test_ids_in_another_spelling_are_the_same(setting: Setting, kind: FaultKind) -> None:
    before = await setting.runai.list_revisions(setting.workload_id)
    setting.control_plane.fault(kind, times=None)
    assert setting.new not in await setting.body(setting.list_path)
    assert await setting.runai.list_revisions(setting.workload_id) == before
    assert await setting.runai.get_revision(setting.new) == before[1]
    assert [item.id async for item in setting.runai.list_workloads()] == [setting.workload_id]
    watch = setting.runai.watch_revisions(setting.workload_id, poll=POLL)
    async with watch:
        assert (await anext(watch)).workload_id == setting.workload_id == watch.workload_id


async def test_times_are_cut_to_seconds(setting: Setting) -> None:
    setting.control_plane.fault("coarse_times")
    for revision in await setting.runai.list_revisions(setting.workload_id):
        times = [revision.created_at, revision.phase_updated_at]
        times += [item.last_transition_time for item in revision.conditions or ()]
        assert {time.microsecond for time in times if time} == {0}


async def test_another_revision_than_the_one_asked_for_is_an_error(setting: Setting) -> None:
    setting.control_plane.fault("other_revision", times=None)
    with pytest.raises(DecodeError, match=r"^\$\.id: not the revision that was asked for$"):
        await setting.runai.get_revision(setting.new)
    assert await setting.read() == [setting.old, setting.new]  # lists are as they were


async def test_a_shuffled_list_is_no_update(setting: Setting) -> None:
    setting.control_plane.update_revision(setting.new, images=list("abcdefgh"))
    setting.control_plane.fault("shuffled_conditions", times=None)
    assert await setting.body(setting.list_path) != await setting.body(setting.list_path)
    watch = setting.runai.watch_revisions(setting.workload_id, poll=POLL)
    async with watch:
        seen = [await anext(watch) for _ in range(3)]
        assert isinstance(seen[-1], Synced)
        while len(setting.control_plane.requests) < 10:
            with contextlib.suppress(TimeoutError):
                await anext_within(watch, 0.05)
        setting.control_plane.update_revision(setting.new, running_pods=7)
        event = await anext(watch)
    assert isinstance(event, RevisionUpdated)
    assert [change.path for change in event.changes] == ["running_pods"]


async def anext_within(watch: AsyncIterator[object], seconds: float) -> None:
    """Wait for an event that must not come."""
    async with asyncio.timeout(seconds):
        raise AssertionError(f"an event: {await anext(watch)!r}")


@pytest.mark.parametrize("kind", BODY_FAULTS)
async def test_a_fault_leaves_other_bodies_and_errors_alone(setting: Setting, kind: BodyFault) -> None:
    setting.control_plane.fault(kind, times=None)
    empty = setting.control_plane.add_workload()
    with contextlib.suppress(DecodeError):
        assert await setting.runai.count_revisions(setting.workload_id) == 2
    assert await setting.runai.list_revisions(empty) == []
    missing = await setting.body(f"/api/v1/workloads/inferences/revisions/{UUID(int=5)}")
    assert '"code":404' in missing


def test_every_body_fault_is_a_kind_of_fault() -> None:
    assert set(BODY_FAULTS) <= set(get_args(FaultKind))
