"""How a watch ends, who may consume it, and what its status shows."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import timedelta

import pytest
from support.harness import HTML_502, Harness

from runai_async import PollPolicy, RevisionAdded, RevisionWatch

STEADY = PollPolicy(interval=10, jitter=0, deadline=60)


# --- nothing is left behind -----------------------------------------------------------------------------


async def test_a_watch_can_continue_after_break() -> None:
    harness = Harness()
    harness.add()
    harness.add()
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id)
        async for event in watch:
            assert isinstance(event, RevisionAdded)
            break
        assert isinstance(await anext(watch), RevisionAdded)


async def test_an_exception_in_the_consumer_closes_the_watch() -> None:
    harness = Harness()
    harness.add()
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id)

        async def consume() -> None:
            async with watch:
                async for _ in watch:
                    raise KeyError

        with pytest.raises(KeyError):
            await consume()
        with pytest.raises(StopAsyncIteration):
            await anext(watch)


@pytest.mark.parametrize("moment", ["asleep", "polling"])
async def test_aclose_from_another_task_ends_a_waiting_anext(moment: str) -> None:
    harness = Harness()
    harness.latency = 1 if moment == "polling" else 0
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id)
        waiting = asyncio.ensure_future(anext(watch, "the end"))
        await harness.clock.advance(0.5)
        await asyncio.gather(watch.aclose(), watch.aclose())

        assert await waiting == "the end"
        assert await anext(watch, "the end") == "the end"


async def test_a_cancellation_that_meets_aclose_is_not_swallowed() -> None:
    harness = Harness()
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id)
        waiting = asyncio.ensure_future(anext(watch))
        await harness.clock.advance(0.5)
        waiting.cancel()
        closing = asyncio.create_task(watch.aclose())
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await closing


async def test_the_task_that_was_ended_by_aclose_is_not_cancelled() -> None:
    harness = Harness()
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id)

        async def consume() -> str:
            async for _ in watch:
                pass
            await asyncio.sleep(0)
            task = asyncio.current_task()
            assert task is not None
            return f"still running, {task.cancelling()} cancellations"

        consumer = asyncio.create_task(consume())
        await harness.clock.advance(0.5)
        await watch.aclose()

        assert await consumer == "still running, 0 cancellations"


async def test_closing_an_unused_watch_is_fine() -> None:
    harness = Harness()
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id)
        await watch.aclose()
        await watch.aclose()

        assert [event async for event in watch] == []
    assert harness.requests == []


# --- as an async generator -------------------------------------------------------------------------------


async def test_a_watch_is_an_async_generator() -> None:
    harness = Harness()
    harness.add()
    async with harness.client() as runai, aclosing(runai.watch_revisions(harness.workload_id)) as watch:
        assert isinstance(watch, AsyncGenerator)
        assert isinstance(await watch.asend(None), RevisionAdded)
        with pytest.raises(TypeError, match="does not take values"):
            await watch.asend("x")  # type: ignore[arg-type]
        with pytest.raises(KeyError):
            await watch.athrow(KeyError("stop"))
        with pytest.raises(StopAsyncIteration):
            await anext(watch)


@pytest.mark.parametrize(
    "thrown", [(KeyError,), (KeyError("k"),), (KeyError, KeyError("k")), (KeyError, None, None)]
)
async def test_athrow_takes_the_arguments_that_a_generator_takes(thrown: tuple[object, ...]) -> None:
    harness = Harness()
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id)
        with pytest.raises(KeyError):
            await watch.athrow(*thrown)  # type: ignore[arg-type]


# --- one consumer ---------------------------------------------------------------------------------------


async def test_a_second_concurrent_consumer_is_a_clear_runtime_error() -> None:
    harness = Harness()
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id)
        first = asyncio.ensure_future(anext(watch))
        await harness.clock.advance(0.5)
        with pytest.raises(RuntimeError, match="one consumer, or one watch for each"):
            await anext(watch)

        harness.add()
        await harness.clock.advance(15)
        assert isinstance(await first, RevisionAdded)


# --- status ---------------------------------------------------------------------------------------------


async def test_the_status_reflects_what_the_watch_has_seen() -> None:
    harness = Harness()
    harness.add()
    began = harness.clock.now()
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id, poll=STEADY)
        status = watch.status
        assert (status.synced, status.last_success_at, status.next_poll_at) == (False, None, began)
        assert repr(watch) == f"<RevisionWatch of workload {harness.workload_id}, not synced>"

        await anext(watch)
        status = watch.status
        assert (status.synced, status.last_success_at) == (True, began)
        assert status.next_poll_at == began + timedelta(seconds=10)
        assert repr(watch).endswith(", synced>")

        harness.lists = HTML_502
        await harness.collect(watch, 15)
        status = watch.status
        assert (status.consecutive_failures, status.last_success_at) == (1, began)

        await watch.aclose()
        assert repr(watch).endswith(", closed>")


async def test_a_watch_that_is_not_consumed_becomes_stale() -> None:
    harness = Harness()
    harness.add()
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id, poll=STEADY)
        await anext(watch)
        await harness.clock.advance(3 * 10 + 60)
        assert not watch.status.stale
        await harness.clock.advance(0.1)
        assert watch.status.stale
        await harness.collect(watch, 1)
        assert not watch.status.stale


async def test_a_watch_whose_polls_fail_becomes_stale() -> None:
    harness = Harness()
    harness.lists = HTML_502
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id, poll=STEADY)
        await harness.collect(watch, 80)
        assert not watch.status.stale
        await harness.collect(watch, 20)
        assert watch.status.stale


async def test_staleness_depends_on_the_current_interval() -> None:
    harness = Harness()
    harness.add("Pending")
    async with harness.client() as runai:
        watch: RevisionWatch = runai.watch_revisions(harness.workload_id, poll=STEADY)
        await anext(watch)
        await harness.clock.advance(3 * 2 + 60 + 0.1)
        assert watch.status.stale
