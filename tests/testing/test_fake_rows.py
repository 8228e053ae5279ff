"""The fake control plane's rows of workloads: whether they follow their revisions, and how old they are."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support.raw import get

from runai_async.testing import FakeControlPlane

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


class Clock:
    """The server's time."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


async def rows(control_plane: FakeControlPlane, query: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await get(control_plane, f"/api/v1/workloads{query}")).body["workloads"]
    return found


async def row(control_plane: FakeControlPlane) -> dict[str, Any]:
    (only,) = await rows(control_plane)
    return only


def minute(number: int) -> str:
    return f"2026-05-01T12:{number:02}:00.000000Z"


async def test_in_a_rollout_a_row_changes_and_its_phase_stays_running() -> None:
    clock = Clock()
    async with FakeControlPlane(clock=clock) as control_plane:
        workload_id = control_plane.add_workload()
        old = control_plane.add_revision(workload_id, "Running", requested_pods={"number": 2})
        found = [await row(control_plane)]
        clock.advance(60)
        new = control_plane.add_revision(workload_id, "Pending", requested_pods={"number": 2})
        found.append(await row(control_plane))
        clock.advance(60)
        control_plane.set_phase(new, "Running")
        found.append(await row(control_plane))
        clock.advance(60)
        control_plane.delete_revision(old)
        found.append(await row(control_plane))
    assert [item["updatedAt"] for item in found] == [minute(number) for number in range(4)]
    assert {(item["phase"], item["phaseUpdatedAt"]) for item in found} == {("Running", minute(0))}
    assert [item["runningPods"] for item in found] == [2, 2, 4, 2]
    ready = [item["conditions"][0] for item in found]
    assert [(item["status"], item["reason"]) for item in ready] == [
        ("True", "Running"),
        ("False", "Pending"),
        ("True", "Running"),
        ("True", "Running"),
    ]


async def test_a_row_has_the_phase_of_the_newest_revision_while_none_is_running() -> None:
    clock = Clock()
    async with FakeControlPlane(clock=clock) as control_plane:
        workload_id = control_plane.add_workload()
        clock.advance(60)
        first = control_plane.add_revision(workload_id, "Creating")
        found = await row(control_plane)
        assert (found["phase"], found["phaseUpdatedAt"], found["runningPods"]) == ("Creating", minute(1), 0)
        control_plane.add_revision(workload_id, "Failed")
        assert (await row(control_plane))["phase"] == "Failed"
        control_plane.set_phase(first, "Running")
        assert (await row(control_plane))["phase"] == "Running"


@pytest.mark.parametrize(
    ("change", "moves"),
    [
        (lambda it, revision: it.update_revision(revision, phase_message="pulling"), True),
        (lambda it, revision: it.purge_revision(revision), True),
        (lambda it, revision: it.hide_revision(revision), False),  # which is a fault, not a change
    ],
    ids=["updated", "purged", "hidden"],
)
async def test_what_moves_a_row(change: Any, moves: bool) -> None:
    clock = Clock()
    async with FakeControlPlane(clock=clock) as control_plane:
        revision_id = control_plane.add_revision(control_plane.add_workload(), "Running")
        clock.advance(60)
        change(control_plane, revision_id)
        assert (await row(control_plane))["updatedAt"] == minute(int(moves))


async def test_a_row_without_live_revisions_has_no_pods_and_keeps_its_phase() -> None:
    async with FakeControlPlane() as control_plane:
        control_plane.purge_revision(control_plane.add_revision(control_plane.add_workload(), "Running"))
        found = await row(control_plane)
    assert (found["phase"], found["runningPods"]) == ("Running", 0)


async def test_what_a_workload_was_given_stays() -> None:
    async with FakeControlPlane() as control_plane:
        workload_id = control_plane.add_workload(phase="Stopped", running_pods=7)
        control_plane.add_revision(workload_id, "Running")
        found = await row(control_plane)
        assert (found["phase"], found["runningPods"]) == ("Stopped", 7)
        assert found["updatedAt"] > found["createdAt"]


async def test_rows_may_say_nothing_of_revisions() -> None:
    clock = Clock()
    async with FakeControlPlane(clock=clock, rows_follow_revisions=False) as control_plane:
        workload_id = control_plane.add_workload()
        before = await row(control_plane)
        clock.advance(60)
        revision_id = control_plane.add_revision(workload_id, "Pending")
        control_plane.set_phase(revision_id, "Failed")
        assert await row(control_plane) == before
        control_plane.rows_follow_revisions = True
        assert await row(control_plane) == before
        control_plane.set_phase(revision_id, "Running")
        assert (await row(control_plane))["updatedAt"] == minute(1)


async def test_all_rows_may_change_in_each_list() -> None:
    clock = Clock()
    async with FakeControlPlane(clock=clock, rows_follow_revisions="noisy") as control_plane:
        first, _ = control_plane.add_workload(), control_plane.add_workload()
        listed = [await rows(control_plane) for _ in range(3)]
        for index in range(2):
            assert len({items[index]["updatedAt"] for items in listed}) == 3
        control_plane.add_revision(first, "Failed")
        assert [item["phase"] for item in await rows(control_plane)] == ["Failed", "Running"]


async def test_a_list_may_be_read_from_a_view_that_is_refreshed_now_and_then() -> None:
    clock = Clock()
    async with FakeControlPlane(clock=clock, view_seconds=30) as control_plane:
        workload_id = control_plane.add_workload()
        assert await rows(control_plane) == []
        clock.advance(31)
        assert len(await rows(control_plane)) == 1
        clock.advance(10)
        control_plane.delete_workload(workload_id)
        control_plane.add_workload("other")
        clock.advance(15)
        assert [item["deletedAt"] for item in await rows(control_plane)] == [None]
        clock.advance(5)
        assert [item["name"] for item in await rows(control_plane)] == ["other"]
        assert len(await rows(control_plane, "?deleted=true")) == 1


async def test_a_view_shows_what_was_there_when_it_was_refreshed_and_not_when_it_is_read() -> None:
    clock = Clock()
    async with FakeControlPlane(clock=clock) as control_plane:
        workload_id = control_plane.add_workload()
        revision_id = control_plane.add_revision(workload_id, "Running")
        control_plane.view_seconds = 30
        clock.advance(10)
        control_plane.set_phase(revision_id, "Pending")  # before the refresh at 30 s
        clock.advance(30)
        control_plane.set_phase(revision_id, "Failed")  # behind it
        clock.advance(10)
        assert (await row(control_plane))["phase"] == "Pending"
        clock.advance(20)
        assert (await row(control_plane))["phase"] == "Failed"
        control_plane.set_phase(revision_id, "Stopped")
        control_plane.view_seconds = 0
        assert (await row(control_plane))["phase"] == "Stopped"


async def test_a_view_goes_on_while_a_cluster_is_disconnected() -> None:
    clock = Clock()
    async with FakeControlPlane(clock=clock, view_seconds=30) as control_plane:
        (cluster_id,) = control_plane.cluster_ids
        revision_id = control_plane.add_revision(control_plane.add_workload(), "Running")
        control_plane.disconnect_cluster(cluster_id)
        control_plane.set_phase(revision_id, "Failed")
        clock.advance(60)
        assert (await row(control_plane))["phase"] == "Running"
        control_plane.connect_cluster(cluster_id)
        assert (await row(control_plane))["phase"] == "Running"
        clock.advance(30)
        assert (await row(control_plane))["phase"] == "Failed"


def test_settings_that_make_no_sense_are_value_errors() -> None:
    with pytest.raises(
        ValueError, match="rows_follow_revisions must be True, False or \"noisy\", not 'loud'"
    ):
        FakeControlPlane(rows_follow_revisions="loud")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="view_seconds must be 0 or more, not -1"):
        FakeControlPlane(view_seconds=-1)
    control_plane = FakeControlPlane(rows_follow_revisions="noisy", view_seconds=2.5)
    assert (control_plane.rows_follow_revisions, control_plane.view_seconds) == ("noisy", 2.5)
