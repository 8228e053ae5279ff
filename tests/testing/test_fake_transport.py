"""The transport without a socket: what it replies, records and, like the real one, cuts off."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from yarl import URL

from runai_async import (
    AttemptTimeoutError,
    DeadlineExceededError,
    RetryPolicy,
    RunaiClient,
    ServiceUnavailableError,
    TransportError,
)
from runai_async._http.messages import Request
from runai_async.testing import FakeClock, FakeTransport, Response, SentRequest

WORKLOAD = "3f0f1e0c-7d61-4c0e-9d4a-0d2f6f8f1b11"
COUNT = Response(body=b'{"count": 2}')
REQUEST = Request("GET", URL("https://acme.run.ai/x"))
ONCE = RetryPolicy(attempts=1)


def after(seconds: float, clock: FakeClock) -> Callable[[SentRequest], Awaitable[Response]]:
    async def reply(_: SentRequest) -> Response:
        await clock.sleep(seconds)
        return COUNT

    return reply


async def never(_: SentRequest) -> Response:
    await asyncio.Event().wait()
    raise AssertionError


async def rest() -> None:
    """Let a clock that jumps come to rest."""
    for _ in range(60):
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("seconds", "timeout", "deadline", "outcome", "at"),
    [
        (29.0, 30.0, 60.0, "2", 29.0),
        (31.0, 30.0, 60.0, "AttemptTimeoutError", 30.0),
        (1e9, 30.0, 60.0, "AttemptTimeoutError", 30.0),
        (11.0, 30.0, 10.0, "DeadlineExceededError", 10.0),
        (9.0, 30.0, 10.0, "2", 9.0),
        (31.0, 30.0, 30.0, "AttemptTimeoutError", 30.0),
    ],
)
async def test_a_reply_that_takes_too_long_is_cut_off_by_the_clock_in_use(
    seconds: float, timeout: float, deadline: float, outcome: str, at: float
) -> None:
    clock = FakeClock(auto=True)
    transport = FakeTransport([after(seconds, clock)])
    policy = RetryPolicy(attempts=1, deadline=deadline)
    runai = RunaiClient(
        "https://acme.run.ai", "token", transport=transport, clock=clock, timeout=timeout, retry=policy
    )
    try:
        result = str(await runai.count_revisions(WORKLOAD))
    except (AttemptTimeoutError, DeadlineExceededError) as error:
        result = type(error).__name__
    assert (result, clock.monotonic(), clock.sleeps) == (outcome, at, [seconds])
    await rest()


async def test_an_attempt_that_timed_out_is_repeated() -> None:
    clock = FakeClock(auto=True)
    transport = FakeTransport([never, COUNT])
    runai = RunaiClient(
        "https://acme.run.ai",
        "token",
        transport=transport,
        clock=clock,
        timeout=5,
        retry=RetryPolicy(wait_initial=0),
    )
    assert (await runai.count_revisions(WORKLOAD), clock.monotonic()) == (2, 5.0)
    assert [sent.deadline for sent in transport.requests] == [60.0, 60.0]
    await rest()


async def test_the_texts_are_those_of_the_real_transport() -> None:
    clock = FakeClock(auto=True)
    transport = FakeTransport([never, never, COUNT], clock=clock)
    with pytest.raises(AttemptTimeoutError, match=r"^GET https://.*/x: no complete response within 3 s$"):
        await transport.send(REQUEST, timeout=3, deadline=60)
    with pytest.raises(DeadlineExceededError, match="the deadline passed with the attempt in flight"):
        await transport.send(REQUEST, timeout=30, deadline=5)
    with pytest.raises(DeadlineExceededError, match=r"^the deadline passed before GET /x was sent$"):
        await transport.send(REQUEST, timeout=3, deadline=5)
    assert (len(transport.requests), list(transport.script)) == (2, [COUNT])
    await rest()


async def test_a_reply_that_is_made_at_once_is_not_cut_off() -> None:
    clock = FakeClock()
    transport = FakeTransport([COUNT, lambda _: COUNT, TransportError("reset")], clock=clock)
    for _ in range(2):
        assert await transport.send(REQUEST, timeout=1e-9, deadline=1e-9) == COUNT
    with pytest.raises(TransportError, match="reset"):
        await transport.send(REQUEST, timeout=1, deadline=1)


async def test_a_time_limit_of_the_replys_own_stays_its_own() -> None:
    async def timing_out(_: SentRequest) -> Response:
        raise TimeoutError("mine")

    transport = FakeTransport([timing_out], clock=FakeClock())
    with pytest.raises(TimeoutError, match="mine") as caught:
        await transport.send(REQUEST, timeout=1, deadline=1)
    assert type(caught.value) is TimeoutError


async def test_a_call_that_is_cancelled_is_cancelled_and_leaves_nothing_running() -> None:
    clock = FakeClock()
    transport = FakeTransport([never], clock=clock)
    sending = asyncio.create_task(transport.send(REQUEST, timeout=1, deadline=1))
    await rest()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    await clock.advance(2)


async def test_a_transport_with_a_clock_of_its_own_keeps_it() -> None:
    own, clients = FakeClock(auto=True), FakeClock()
    runai = RunaiClient(
        "https://acme.run.ai",
        "token",
        transport=FakeTransport([never], clock=own),
        clock=clients,
        retry=ONCE,
        timeout=3,
    )
    with pytest.raises(AttemptTimeoutError):
        await runai.count_revisions(WORKLOAD)
    assert (own.monotonic(), clients.monotonic()) == (3.0, 0.0)
    await rest()


async def test_without_a_client_and_a_clock_nothing_is_measured() -> None:
    transport = FakeTransport([after(5, FakeClock(auto=True))])
    assert await transport.send(REQUEST, timeout=1, deadline=0) == COUNT
    await rest()


async def test_without_a_fake_clock_the_real_one_counts() -> None:
    runai = RunaiClient(
        "https://acme.run.ai", "token", transport=FakeTransport([never]), retry=ONCE, timeout=0.01
    )
    with pytest.raises(AttemptTimeoutError):
        await runai.count_revisions(WORKLOAD)


async def test_a_transport_of_the_callers_needs_no_clock() -> None:
    class Counting:
        async def send(self, request: Request, *, timeout: float, deadline: float) -> Response:
            return COUNT

        async def aclose(self) -> None: ...

    assert await RunaiClient("https://acme.run.ai", "t", transport=Counting()).count_revisions(WORKLOAD) == 2


async def test_a_scripted_transport_gives_its_replies_in_order() -> None:
    transport = FakeTransport(
        [
            Response(200, body=b'{"count": 2}'),
            ServiceUnavailableError(503, "no"),
            lambda request: Response(200, body=b'{"count": %d}' % len(request.path)),
        ]
    )
    async with RunaiClient(
        "https://acme.example", "secret", transport=transport, retry=RetryPolicy(attempts=1)
    ) as runai:
        workload_id = "7c5a8c3e-0b8e-4d5c-9b1a-1d2e3f4a5b6c"
        assert await runai.count_revisions(workload_id) == 2
        with pytest.raises(ServiceUnavailableError):
            await runai.count_revisions(workload_id)
        path = f"/api/v1/workloads/inferences/{workload_id}/revisions/count"
        assert await runai.count_revisions(workload_id) == len(path)
        with pytest.raises(AssertionError, match=r"the script has no reply left for GET /api/"):
            await runai.count_revisions(workload_id)

    assert [(item.method, item.path) for item in transport.requests] == [("GET", path)] * 4
    assert "secret" not in repr(transport.requests)
    assert transport.closed
