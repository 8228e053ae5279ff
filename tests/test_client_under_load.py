"""Many calls at once against a server that fails, is slow, or revokes its tokens."""

import asyncio

import pytest
from support.clocks import ForwardClock

from runai_async import ClientCredentials, RetryPolicy, RunaiClient
from runai_async.testing import FakeControlPlane, FaultKind

FAULTS: tuple[FaultKind, ...] = ("latency", "hang", "reset", "truncate", "drip", "bad_json")


@pytest.fixture(autouse=True)
async def _no_debug() -> None:
    """Turn off asyncio's debug mode: the tracebacks of thousands of tasks take most of the time."""
    asyncio.get_running_loop().set_debug(False)


@pytest.mark.parametrize("calls", [200, pytest.param(1000, marks=pytest.mark.slow)])
async def test_all_calls_succeed_though_a_third_of_the_responses_is_faulty(calls: int) -> None:
    async with FakeControlPlane(seed=7) as control_plane:
        workload_id = control_plane.add_workload()
        ids = [control_plane.add_revision(workload_id, "Running") for _ in range(3)]
        each = 1 - 0.7 ** (1 / 10)  # ten kinds, drawn one after the other: 30 % meet one of them
        for kind in FAULTS:
            control_plane.fault(kind, times=None, rate=each, seconds=2.5 if kind == "latency" else 0.0)
        control_plane.fail_next(None, 503, rate=each)
        control_plane.fail_next(None, 502, body="<html>Bad Gateway</html>", rate=each)
        control_plane.fail_next(None, 500, body="", rate=each)
        control_plane.fail_next(None, 429, headers={"Retry-After": "0"}, rate=each)
        policy = RetryPolicy(attempts=10, wait_initial=0.05)
        async with RunaiClient(control_plane.url, control_plane.token, timeout=2.0, retry=policy) as runai:
            responses = await asyncio.gather(*(runai.list_revisions(workload_id) for _ in range(calls)))

        assert all(sorted(item.id for item in response) == sorted(ids) for response in responses)
        assert 1.25 * calls <= len(control_plane.requests) <= 1.65 * calls


@pytest.mark.parametrize(("calls", "slots"), [(300, 20), pytest.param(2000, 100, marks=pytest.mark.slow)])
async def test_waiting_for_a_free_slot_does_not_count_against_the_timeout(calls: int, slots: int) -> None:
    async with FakeControlPlane() as control_plane:
        workload_id = control_plane.add_workload()
        control_plane.latency = 0.1
        async with RunaiClient(
            control_plane.url,
            control_plane.token,
            timeout=1.0,
            retry=RetryPolicy(attempts=1),
            max_concurrency=slots,
        ) as runai:
            counts = await asyncio.gather(*(runai.count_revisions(workload_id) for _ in range(calls)))

        assert counts == [0] * calls
        assert 0.95 * slots <= control_plane.max_in_flight <= slots


@pytest.mark.parametrize("count", [300, pytest.param(1000, marks=pytest.mark.slow)])
async def test_a_revoked_token_is_exchanged_once_for_all_calls_in_flight(count: int) -> None:
    async with FakeControlPlane() as control_plane:
        workload_id = control_plane.add_workload()
        control_plane.add_revision(workload_id)
        auth, clock = ClientCredentials(control_plane.client_id, control_plane.client_secret), ForwardClock()
        async with RunaiClient(
            control_plane.url, auth, max_concurrency=count, retry=RetryPolicy(attempts=1), clock=clock
        ) as runai:
            assert await runai.count_revisions(workload_id) == 1
            clock.forward(30)
            control_plane.reset_record()
            control_plane.hold()
            calls = [asyncio.create_task(runai.count_revisions(workload_id)) for _ in range(count)]
            async with asyncio.timeout(20):
                while control_plane.in_flight < count:
                    await asyncio.sleep(0.01)
            control_plane.revoke_tokens()
            control_plane.release()
            counts = await asyncio.gather(*calls)

        assert counts == [1] * count
        assert control_plane.token_requests == 1
        assert len(control_plane.requests) == count + 1 + count
