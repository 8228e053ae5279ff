"""A call that is cancelled at any of its awaits leaves the client as it was."""

import asyncio
from collections.abc import Coroutine, Generator
from functools import partial
from typing import Any

import pytest
from support.clocks import ForwardClock
from support.loops import in_passing_minutes
from support.timed import TimedControlPlane

from runai_async import ClientCredentials, RetryPolicy, RunaiClient
from runai_async._api.list_pace import ListGate
from runai_async._fleet.lister import Lister
from runai_async.testing import FakeControlPlane


class CancelledAt:
    """Awaits a coroutine and cancels its task when it suspends for the nth time, as another task would."""

    def __init__(self, work: Coroutine[Any, Any, object], n: int) -> None:
        self.work = work
        self.n = n
        self.suspensions = 0

    def __await__(self) -> Generator[Any, Any, object]:
        inner = self.work.__await__()
        resume = partial(next, inner)
        while True:
            try:
                waited_for = resume()
            except StopIteration as end:
                return end.value
            self.suspensions += 1
            if self.suspensions == self.n:
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
            try:
                yield waited_for
                resume = partial(next, inner)
            except BaseException as error:  # noqa: BLE001  (it is passed on)
                resume = partial(inner.throw, error)


async def is_cancelled(work: Coroutine[Any, Any, object], n: int) -> bool:
    async def run() -> None:
        await CancelledAt(work, n)

    task = asyncio.create_task(run())
    await asyncio.wait({task})
    return task.cancelled()


def state_of(runai: RunaiClient) -> dict[str, Any]:
    """Return the parts of a client that a call occupies while it runs."""
    authenticated: Any = runai._api.retrying._transport
    pool = authenticated._transport._pool
    return {
        "slots": authenticated._transport._limiter.free,
        "budget": runai._api.retrying._budget.tokens,
        "connections in use": len(pool.session.connector._acquired) if pool else 0,
        "requests of the session": pool.users if pool else 0,
        "exchange": authenticated._source._task,
    }


@pytest.mark.parametrize(
    ("story", "awaits"),
    [
        ("warm connection", 1),
        ("new connection", 2),
        ("slow body", 10),
        ("queue", 2),
        ("new token", 2),
        ("refused token", 3),
        ("retry", 3),
    ],
)
async def test_a_call_cancelled_at_any_await_leaves_nothing_behind(story: str, awaits: int) -> None:
    async with FakeControlPlane() as control_plane:
        workload_id = control_plane.add_workload()
        auth = ClientCredentials(control_plane.client_id, control_plane.client_secret)
        policy, clock = RetryPolicy(attempts=3, wait_initial=0.001), ForwardClock()
        async with RunaiClient(
            control_plane.url, auth, retry=policy, max_concurrency=3, clock=clock
        ) as runai:
            await runai.count_revisions(workload_id)
            before = state_of(runai)
            n, cancelled = 0, True
            while cancelled:
                n += 1
                clock.forward(30)  # a token that was refused when it is young would not be replaced
                others = prepare(story, control_plane, runai, workload_id)
                await asyncio.sleep(0)
                cancelled = await is_cancelled(runai.count_revisions(workload_id), n)
                control_plane.clear_faults()
                async with asyncio.timeout(5):
                    await asyncio.gather(*others)
                    while state_of(runai)["exchange"] or control_plane.in_flight:
                        await asyncio.sleep(0.001)
                    assert await runai.count_revisions(workload_id) == 0
                assert state_of(runai) == before
            assert n - 1 >= awaits


def prepare(
    story: str, control_plane: FakeControlPlane, runai: RunaiClient, workload_id: str
) -> list[asyncio.Task[int]]:
    """Prepare what the next call meets, and return the calls that run at the same time."""
    authenticated: Any = runai._api.retrying._transport
    match story:
        case "new connection":
            authenticated._transport._pool.session.connector._conns.clear()
        case "slow body":
            control_plane.fault("drip", seconds=0.001)
        case "queue":
            control_plane.fault("latency", seconds=0.02, times=3)
            return [asyncio.create_task(runai.count_revisions(workload_id)) for _ in range(3)]
        case "new token":
            authenticated._source._token = None
        case "refused token":
            control_plane.revoke_tokens()
        case "retry":
            control_plane.fail_next(1, 503)
        case _:
            pass
    return []


@in_passing_minutes
async def test_a_call_cancelled_between_its_repeats_of_a_refused_token_leaves_nothing_behind() -> None:
    async with TimedControlPlane() as control_plane, control_plane.client() as runai:
        workload_id = control_plane.add_workload()
        await runai.count_revisions(workload_id)
        before = state_of(runai)
        n, cancelled = 0, True
        while cancelled:
            n += 1
            control_plane.refuse_young_tokens(control_plane._tokens.age(f"Bearer {token_of(runai)}") + 2.5)
            cancelled = await is_cancelled(runai.count_revisions(workload_id), n)
            assert state_of(runai) == before
            control_plane.refuse_young_tokens(0)
            assert await runai.count_revisions(workload_id) == 0
        assert n - 1 >= 5  # three requests, and two pauses between them


def token_of(runai: RunaiClient) -> str:
    authenticated: Any = runai._api.retrying._transport
    token: str = authenticated._token
    return token


@pytest.mark.parametrize("story", ["alone", "behind another listing", "after another listing"])
@in_passing_minutes
async def test_a_listing_cancelled_at_any_await_lets_the_next_one_through(story: str) -> None:
    async with TimedControlPlane() as control_plane, control_plane.client() as runai:
        for _ in range(1200):
            control_plane.add_workload()
        control_plane.list_seconds = 1
        before, n, cancelled = state_of(runai), 0, True
        lister, other = (Lister(runai.inference_workloads, runai._api, 60) for _ in range(2))
        while cancelled:
            n += 1
            beside = []
            if story == "behind another listing":
                beside = [asyncio.create_task(other.list_ids())]
                await asyncio.sleep(0.5)
            elif story == "after another listing":
                await other.list_ids()
            cancelled = await is_cancelled(lister.list_ids(), n)
            await asyncio.gather(*beside)
            gate: ListGate = runai._api.list_gate
            assert not gate._lock.locked()
            await asyncio.sleep(gate.rest)
            began = control_plane.now
            assert len((await lister.list_ids()).ids) == 1200
            assert control_plane.now - began < 5
            await asyncio.sleep(gate.rest)
            assert state_of(runai) == before
        assert n - 1 >= 3
