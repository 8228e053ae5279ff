"""Resuming from a checkpoint, as another process does."""

import pytest
from support.harness import Harness

from runai_async import (
    Checkpoint,
    FleetCheckpoint,
    PhaseChanged,
    PollPolicy,
    RevisionAdded,
    RevisionDeleted,
    RevisionEvent,
    RevisionUpdated,
)
from runai_async.checkpoint import RevisionMark

STEADY = PollPolicy(interval=10, jitter=0)


def saved(checkpoint: Checkpoint) -> Checkpoint:
    """Return a checkpoint as it is read from a file."""
    return Checkpoint.from_json(checkpoint.to_json())


# --- what was delivered ---------------------------------------------------------------------------------


async def test_a_checkpoint_includes_events_that_were_returned_and_none_that_are_buffered() -> None:
    harness = Harness()
    first = harness.add("Pending")
    harness.clock.shift_now(1)
    second = harness.add("Pending")
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id, poll=STEADY)
        event = await anext(watch)
        assert isinstance(event, RevisionAdded)
        assert [mark.id for mark in watch.checkpoint().revisions] == [first]
        await anext(watch)
        harness.set_phase(first, "Running")
        harness.clock.shift_now(1)
        harness.set_phase(second, "Running")
        await harness.clock.advance(10)
        changed = await anext(watch)

    assert changed.kind == "phase_changed"
    phases = {mark.id: mark.phase for mark in watch.checkpoint().revisions}
    assert phases == {first: "Running", second: "Pending"}


async def test_a_checkpoint_holds_the_required_fields_and_no_secret() -> None:
    harness = Harness()
    revision_id = harness.add(command="run --key s3cret", environment_variables={"KEY": "s3cret"})
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id)
        await harness.collect(watch, 1)
        revision = await runai.get_revision(revision_id)
        text = watch.checkpoint().to_json()

    (mark,) = saved(watch.checkpoint()).revisions
    required = ("type", "name", "id", "workload_id", "tenant_id", "cluster_id", "department_id", "project_id",
                "created_at", "phase", "phase_updated_at", "deleted_at")  # fmt: skip
    assert [getattr(mark, name) for name in required] == [getattr(revision, name) for name in required]
    assert isinstance(mark, RevisionMark)
    assert mark.count == 1
    assert "s3cret" not in text


async def test_a_resume_continues_where_the_checkpoint_ends() -> None:
    harness = Harness()
    kept, changed, gone = harness.add(), harness.add("Pending"), harness.add()
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id)
        await harness.collect(watch, 1)
        checkpoint = saved(watch.checkpoint())
        harness.set_phase(changed, "Running")
        harness.state.delete_revision(gone)
        new = harness.add("Creating")
        resumed = runai.watch_revisions(harness.workload_id, resume_from=checkpoint)
        events = await harness.collect(resumed, 1)

    by_id = {event.revision_id: event for event in events if isinstance(event, RevisionEvent)}
    assert set(by_id) == {changed, gone, new}
    assert kept not in by_id
    assert isinstance(by_id[changed], PhaseChanged)
    assert isinstance(by_id[gone], RevisionDeleted)
    added = by_id[new]
    assert isinstance(added, RevisionAdded)
    assert not added.initial


async def test_a_resume_within_the_first_response_still_reports_the_rest_as_initial() -> None:
    harness = Harness()
    ids = [harness.add() for _ in range(3)]
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id)
        first = await anext(watch)
        resumed = runai.watch_revisions(harness.workload_id, resume_from=saved(watch.checkpoint()))
        events = [first, *await harness.collect(resumed, 1)]

    assert {
        event.revision_id for event in events if isinstance(event, RevisionAdded) and event.initial
    } == set(ids)


@pytest.mark.parametrize("existing", [0, 1])
async def test_a_resume_of_a_watch_that_has_yielded_nothing_reports_only_new_revisions(existing: int) -> None:
    harness = Harness()
    for _ in range(existing):
        harness.add()
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id, include_existing=False)
        assert await harness.collect(watch, 1) == []
        new = harness.add()
        resumed = runai.watch_revisions(
            harness.workload_id, include_existing=False, resume_from=saved(watch.checkpoint())
        )
        (event,) = await harness.collect(resumed, 1)

    assert isinstance(event, RevisionAdded)
    assert (event.revision_id, event.initial) == (new, False)


async def test_events_since_the_last_saved_checkpoint_are_repeated_with_the_same_ids() -> None:
    harness = Harness()
    revision_id = harness.add("Pending")
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id, poll=STEADY)
        await harness.collect(watch, 1)
        checkpoint = saved(watch.checkpoint())
        harness.set_phase(revision_id, "Running")
        first = await harness.collect(watch, 10)
        again = await harness.collect(runai.watch_revisions(harness.workload_id, resume_from=checkpoint), 10)

    assert first == again
    assert [event.id for event in first if isinstance(event, RevisionEvent)] == [
        event.id for event in again if isinstance(event, RevisionEvent)
    ]


async def test_changes_of_other_fields_before_a_resume_yield_no_update() -> None:
    harness = Harness()
    revision_id = harness.add()
    policy = PollPolicy(interval=10, jitter=0, emit=frozenset({"updated"}))
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id, poll=policy)
        await harness.collect(watch, 1)
        harness.state.update_revision(revision_id, {"running_pods": 5})
        resumed = runai.watch_revisions(
            harness.workload_id, poll=policy, resume_from=saved(watch.checkpoint())
        )
        assert await harness.collect(resumed, 5) == []
        harness.state.update_revision(revision_id, {"running_pods": 6})
        (event,) = await harness.collect(resumed, 10)

    assert isinstance(event, RevisionUpdated)
    assert [(change.path, change.old, change.new) for change in event.changes] == [("running_pods", 5, 6)]


async def test_a_deletion_after_a_resume_holds_what_the_checkpoint_remembers() -> None:
    harness = Harness()
    revision_id = harness.add(images=["a:1"])
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id)
        await harness.collect(watch, 1)
        harness.state.purge_revision(revision_id)
        resumed = runai.watch_revisions(
            harness.workload_id, resume_from=saved(watch.checkpoint()), poll=PollPolicy(missing_grace=0)
        )
        (event,) = await harness.collect(resumed, 30)

    assert isinstance(event, RevisionDeleted)
    assert (event.revision.name, event.revision.phase) == ("llm-00001", "Running")
    assert event.revision.images is None


# --- checkpoints that do not fit ------------------------------------------------------------------------


async def test_a_checkpoint_of_another_workload_is_a_value_error_that_says_which() -> None:
    harness = Harness()
    other = "00000000-0000-4000-8000-000000000000"
    async with harness.client() as runai:
        with pytest.raises(
            ValueError, match=f"is of workload {other}, but this watch is of {harness.workload_id}"
        ):
            runai.watch_revisions(harness.workload_id, resume_from=Checkpoint(other))


async def test_a_checkpoint_of_another_control_plane_is_a_value_error_that_names_both() -> None:
    harness = Harness()
    key, foreign = harness.workload_id, "https://other.example/prefix"
    single = Checkpoint(key, base_url=foreign)
    problem = (
        f"is of {foreign}, but this client is of https://acme.example; if that is the same control plane "
        r"under another name, resume from checkpoint.moved_to\('https://acme.example'\)"
    )
    async with harness.client() as runai:
        with pytest.raises(ValueError, match=problem):
            runai.watch_revisions(key, resume_from=single)
        for fleet in (FleetCheckpoint({}, foreign), FleetCheckpoint({key: single})):
            with pytest.raises(ValueError, match=problem):
                runai.watch_fleet([key], resume_from=fleet)
            runai.watch_fleet([key], resume_from=fleet.moved_to("HTTPS://Acme.example:443/"))
        runai.watch_revisions(key, resume_from=single.moved_to(runai.base_url))


async def test_checkpoints_know_the_control_plane_and_share_its_name() -> None:
    harness = Harness()
    harness.add()
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id, resume_from=Checkpoint(harness.workload_id))
        await harness.collect(watch, 1)
        async with runai.watch_fleet([harness.workload_id]) as fleet:
            await harness.collect(fleet, 1)
            whole = fleet.checkpoint()
        names = [watch.checkpoint().base_url, whole.base_url, whole.workloads[harness.workload_id].base_url]
    assert names == ["https://acme.example"] * 3
    assert [name for name in names if name is not runai.base_url] == []


async def test_a_checkpoint_of_the_wrong_type_is_a_type_error_that_names_the_right_one() -> None:
    harness = Harness()
    fleet, single = FleetCheckpoint({}), Checkpoint(harness.workload_id)
    async with harness.client() as runai:
        with pytest.raises(TypeError, match=r"must be a Checkpoint, as .* returns, not FleetCheckpoint"):
            runai.watch_revisions(harness.workload_id, resume_from=fleet)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"must be a FleetCheckpoint, as .* returns, not Checkpoint"):
            runai.watch_fleet([], resume_from=single)  # type: ignore[arg-type]


def test_a_checkpoint_of_an_unknown_version_is_a_value_error_that_says_which() -> None:
    text = Checkpoint("w").to_json().replace('"version":1', '"version":99')
    with pytest.raises(ValueError, match="version 99 is unknown here; this release reads 1"):
        Checkpoint.from_json(text)


async def test_an_old_checkpoint_yields_a_longer_difference() -> None:
    harness = Harness()
    old = harness.add("Creating")
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id)
        await harness.collect(watch, 1)
        checkpoint = saved(watch.checkpoint())
        for _ in range(20):
            harness.clock.shift_now(86400)
            harness.set_phase(old, "Running")
            harness.state.delete_revision(harness.add())
        harness.clock.shift_now(1)
        newest = harness.add()
        resumed = runai.watch_revisions(harness.workload_id, resume_from=checkpoint)
        events = await harness.collect(resumed, 1)

    assert [(event.kind, event.revision_id) for event in events if isinstance(event, RevisionEvent)] == [
        ("phase_changed", old),
        ("added", newest),
    ]
