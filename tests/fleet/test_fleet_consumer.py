"""How a fleet is consumed: back-pressure, closing, cancellation, checkpoints."""

import asyncio
from typing import Any

import pytest
from support.fleets import POLICY, UNKNOWN_ID, of_size
from support.harness import Harness

from runai_async import (
    AttemptTimeoutError,
    Checkpoint,
    FleetCheckpoint,
    FleetEvent,
    RevisionAdded,
    RevisionEvent,
)
from runai_async.testing import Response


async def test_a_full_buffer_pauses_polling_and_drops_nothing() -> None:
    harness, ids, revisions = of_size(60)
    async with (
        harness.client() as runai,
        runai.watch_fleet(ids, poll=POLICY, buffer=10, max_concurrency=5) as fleet,
    ):
        await harness.clock.advance(60)
        status = fleet.status
        assert 10 <= status.buffered <= 15
        assert status.lag > 40
        events = await harness.collect(fleet, 30)

    assert {event.revision_id for event in events if isinstance(event, RevisionAdded)} == set(
        revisions.values()
    )


async def test_the_tasks_live_as_long_as_the_async_with_block() -> None:
    harness, ids, _ = of_size(3)
    before = asyncio.all_tasks()
    async with harness.client() as runai:
        fleet = runai.watch_fleet(ids, poll=POLICY)
        with pytest.raises(RuntimeError, match="enter the fleet first"):
            await anext(fleet)
        async with fleet:
            await harness.clock.advance(15)
            assert asyncio.all_tasks() - before
        assert asyncio.all_tasks() == before
        with pytest.raises(RuntimeError, match="entered only once"):
            await fleet.__aenter__()


async def test_closing_ends_a_poll_that_turns_its_cancellation_into_an_error() -> None:
    class Stubborn(Harness):
        async def send(self, *args: Any, **options: Any) -> Response:
            self.requests.append((0.0, "", ""))
            try:
                return await asyncio.Future()
            except asyncio.CancelledError:
                raise AttemptTimeoutError("too late") from None

    harness = Stubborn()
    async with harness.client() as runai, runai.watch_fleet([harness.workload_id], poll=POLICY) as fleet:
        await harness.clock.advance(10)
        assert harness.requests
        async with asyncio.timeout(1):
            await fleet.aclose()


async def test_closing_ends_a_waiting_consumer_and_a_second_one_is_an_error() -> None:
    harness, ids, _ = of_size(1)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        await harness.collect(fleet, 20)
        waiting = asyncio.ensure_future(anext(fleet, "the end"))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="use one consumer"):
            await anext(fleet)
        await fleet.aclose()
        assert await waiting == "the end"


async def test_a_cancelled_close_ends_a_waiting_consumer_too() -> None:
    class Slow(Harness):
        async def send(self, *args: Any, **options: Any) -> Response:
            try:
                return await asyncio.Future()
            finally:
                await self.clock.sleep(5)

    harness = Slow()
    async with harness.client() as runai, runai.watch_fleet([harness.workload_id], poll=POLICY) as fleet:
        waiting = asyncio.ensure_future(anext(fleet, "the end"))
        await harness.clock.advance(10)
        closing = asyncio.ensure_future(fleet.aclose())
        await harness.clock.advance(1)
        closing.cancel()
        await asyncio.wait({closing})
        async with asyncio.timeout(1):
            assert await waiting == "the end"
        await harness.clock.advance(10)


async def test_a_cancelled_consumer_loses_nothing() -> None:
    harness, ids, revisions = of_size(30)
    events: list[FleetEvent] = []
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        for _ in range(200):
            events += await harness.collect(fleet, 0.1)

    assert sorted(event.revision_id for event in events if isinstance(event, RevisionEvent)) == sorted(
        revisions.values()
    )


async def test_a_fleet_resumes_from_its_checkpoint() -> None:
    harness, ids, revisions = of_size(10)
    async with harness.client() as runai:
        async with runai.watch_fleet(ids, poll=POLICY) as fleet:
            await harness.collect(fleet, 20)
            one = fleet.checkpoint(ids[0])
            saved = FleetCheckpoint.from_json(fleet.checkpoint().to_json())
            with pytest.raises(KeyError):
                fleet.checkpoint(UNKNOWN_ID)
        harness.set_phase(revisions[ids[3]], "Failed")
        new = harness.state.add_workload("new", "Inference", {})
        added = harness.add(workload_id=new)
        async with runai.watch_fleet([*ids[1:], new], poll=POLICY, resume_from=saved) as fleet:
            events = await harness.collect(fleet, 20)
            assert ids[0] not in fleet.checkpoint().workloads
            fleet.add(ids[0])
            later = await harness.collect(fleet, 20)

    assert one == saved.workloads[ids[0]]
    assert isinstance(one, Checkpoint)
    reported = {(event.kind, event.revision_id) for event in events if isinstance(event, RevisionEvent)}
    assert reported == {("phase_changed", revisions[ids[3]]), ("added", added)}
    assert [event.initial for event in events if isinstance(event, RevisionAdded)] == [True]
    assert [(event.kind, event.workload_id) for event in later] == [("added", ids[0])]


# --- an event that is looked at before it is delivered ---------------------------------------------------


async def test_an_event_that_is_peeked_at_is_in_no_checkpoint_until_it_is_taken() -> None:
    harness, ids, _ = of_size(3)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        peeking = asyncio.create_task(fleet.peek())
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="another task"):
            await fleet.peek()
        await harness.clock.advance(30)
        event = await peeking
        assert await fleet.peek() is event
        assert {len(item.revisions) for item in fleet.checkpoint().workloads.values()} == {0}
        assert await anext(fleet) is event
        assert len(fleet.checkpoint(event.workload_id).revisions) == 1
        assert (fleet.status.buffered, await fleet.peek() is event) == (2, False)


async def test_the_events_of_a_removed_workload_are_skipped_by_a_peek() -> None:
    harness, ids, _ = of_size(2)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        await harness.clock.advance(30)
        first = await fleet.peek()
        fleet.remove(first.workload_id)
        second = await fleet.peek()
        assert {first.workload_id, second.workload_id} == set(ids)
        assert await anext(fleet) is second
