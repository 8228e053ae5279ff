"""Which attempts are repeated, when, how often, and what hooks receive."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import nullcontext
from datetime import datetime, timedelta
from email.utils import format_datetime

import pytest

from runai_async import (
    ApiError,
    AttemptTimeoutError,
    CallFinished,
    CallStarted,
    ConfigurationError,
    DeadlineExceededError,
    DecodeError,
    InternalServerError,
    RateLimitError,
    RetryPolicy,
    RetryScheduled,
    RunaiClient,
    RunaiError,
    ServiceUnavailableError,
    TransportError,
)
from runai_async._api.retry import RetryBudget
from runai_async.hooks import Hook, HookEvent
from runai_async.testing import FakeClock, FakeTransport, Response, SentRequest

WORKLOAD = "3f0f1e0c-7d61-4c0e-9d4a-0d2f6f8f1b11"
COUNT = Response(body=b'{"count": 2}')
DOWN = Response(503)
NOT_JSON = Response(body=b"<html>gateway</html>")
Script = Iterable[Response | Exception | Callable[[SentRequest], Response]]


@pytest.fixture
async def clock() -> AsyncIterator[FakeClock]:
    """Yield a clock that jumps, and let it come to rest after the test."""
    yield FakeClock(auto=True)
    for _ in range(40):
        await asyncio.sleep(0)


def client_of(
    clock: FakeClock, script: Script, policy: RetryPolicy | None = None, *hooks: Hook
) -> tuple[RunaiClient, FakeTransport]:
    transport = FakeTransport(script)
    runai = RunaiClient(
        "https://acme.run.ai", "token", retry=policy, transport=transport, clock=clock, hooks=hooks
    )
    return runai, transport


def http_date(time: datetime) -> str:
    return format_datetime(time, usegmt=True)


async def outcome(runai: RunaiClient) -> int | str:
    """Return a call's value, or the name of its error."""
    try:
        return await runai.count_revisions(WORKLOAD)
    except RunaiError as error:
        return type(error).__name__


# --- what is repeated -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "failure",
    [
        *(Response(status) for status in (429, 500, 502, 503, 504)),
        TransportError("reset"),
        AttemptTimeoutError("slow"),
        NOT_JSON,
        Response(body=b""),
    ],
    ids=["429", "500", "502", "503", "504", "connection", "timeout", "HTML", "empty"],
)
async def test_a_transient_failure_is_repeated(clock: FakeClock, failure: Response | Exception) -> None:
    runai, transport = client_of(clock, [failure, failure, failure, COUNT])
    assert (await outcome(runai), len(transport.requests), len(clock.sleeps)) == (2, 4, 3)


@pytest.mark.parametrize(
    "failure",
    [
        *(Response(status) for status in (302, 400, 403, 404, 409, 501, 505)),
        TransportError("certificate", transient=False),
        ConfigurationError("log in"),
        DeadlineExceededError("late"),
        Response(body=b"{}"),
        Response(body=b'{"count": "2"}'),
        Response(body=b"[]"),
    ],
)
async def test_a_permanent_failure_is_not_repeated(clock: FakeClock, failure: Response | Exception) -> None:
    runai, transport = client_of(clock, [failure])
    with pytest.raises(RunaiError):
        await runai.count_revisions(WORKLOAD)
    assert (len(transport.requests), clock.sleeps) == (1, [])


async def test_a_cancellation_is_never_repeated(clock: FakeClock) -> None:
    def cancelled(_: SentRequest) -> Response:
        raise asyncio.CancelledError

    scripts: list[list[Response | Callable[[SentRequest], Response]]] = [[cancelled], [DOWN, cancelled]]
    for script in scripts:
        runai, transport = client_of(clock, script)
        with pytest.raises(asyncio.CancelledError):
            await runai.count_revisions(WORKLOAD)
        assert len(transport.requests) == len(script)


async def test_a_call_can_be_cancelled_while_it_waits_for_its_next_attempt() -> None:
    runai, transport = client_of(FakeClock(), [DOWN])
    call = asyncio.create_task(runai.count_revisions(WORKLOAD))
    for _ in range(10):
        await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert len(transport.requests) == 1


async def test_a_defect_is_raised_as_it_is_and_not_repeated(clock: FakeClock) -> None:
    runai, transport = client_of(clock, [ZeroDivisionError("defect")])
    with pytest.raises(ZeroDivisionError):
        await runai.count_revisions(WORKLOAD)
    assert len(transport.requests) == 1


async def test_one_attempt_turns_retrying_off(clock: FakeClock) -> None:
    runai, transport = client_of(clock, [DOWN], RetryPolicy(attempts=1))
    assert (await outcome(runai), len(transport.requests)) == ("ServiceUnavailableError", 1)


async def test_a_poll_can_be_a_single_attempt(clock: FakeClock) -> None:
    runai, transport = client_of(clock, [DOWN])
    with pytest.raises(ServiceUnavailableError):
        await runai._api.retrying.once().call(runai._api.endpoints.count_revisions(WORKLOAD))
    assert (len(transport.requests), transport.requests[0].timeout) == (1, 30.0)


async def test_a_caller_may_set_an_earlier_deadline_but_not_a_later_one(clock: FakeClock) -> None:
    runai, transport = client_of(clock, [COUNT, COUNT])
    for deadline in (20.0, 90.0):
        await runai._api.retrying.call(runai._api.endpoints.count_revisions(WORKLOAD), deadline=deadline)
    assert [sent.deadline for sent in transport.requests] == [20.0, 60.0]


async def test_the_last_error_is_raised_when_the_attempts_are_used_up(clock: FakeClock) -> None:
    runai, transport = client_of(clock, [TransportError("a"), DOWN, NOT_JSON, Response(500)])
    with pytest.raises(InternalServerError) as caught:
        await runai.count_revisions(WORKLOAD)
    assert (caught.value.attempts, len(transport.requests)) == (4, 4)


async def test_a_body_that_is_not_json_after_the_last_attempt_is_a_decode_error(clock: FakeClock) -> None:
    runai, _ = client_of(clock, [NOT_JSON] * 2, RetryPolicy(attempts=2))
    with pytest.raises(DecodeError) as caught:
        await runai.count_revisions(WORKLOAD)
    assert caught.value.is_json is False


async def test_a_permanent_failure_ends_the_repeats(clock: FakeClock) -> None:
    runai, transport = client_of(clock, [DOWN, Response(404)])
    with pytest.raises(ApiError) as caught:
        await runai.count_revisions(WORKLOAD)
    assert (caught.value.status, caught.value.attempts, len(transport.requests)) == (404, 2, 2)


async def test_the_policy_decides_which_statuses_are_repeated(clock: FakeClock) -> None:
    runai, _ = client_of(clock, [Response(418), COUNT, DOWN], RetryPolicy(statuses={418}))
    assert [await outcome(runai) for _ in range(2)] == [2, "ServiceUnavailableError"]


# --- when -------------------------------------------------------------------------------------------------


async def test_the_waits_are_drawn_between_zero_and_a_growing_bound(clock: FakeClock) -> None:
    policy = RetryPolicy(attempts=7, wait_initial=0.5, wait_max=4.0, deadline=1000)
    for _ in range(60):
        await outcome(client_of(clock, [DOWN] * 7, policy)[0])
    for repeat, bound in enumerate([0.5, 1, 2, 4, 4, 4]):
        waits = clock.sleeps[repeat::6]
        assert (len(waits), min(waits) >= 0, max(waits) <= bound) == (60, True, True)
        # of 60 uniform draws, none within a fifth of an end: less than once in 10,000 runs
        assert min(waits) < bound * 0.2 < bound * 0.8 < max(waits)


async def test_the_waits_can_be_turned_off(clock: FakeClock) -> None:
    runai, _ = client_of(clock, [DOWN, DOWN, COUNT], RetryPolicy(wait_initial=0))
    assert (await outcome(runai), clock.sleeps) == (2, [0, 0])


@pytest.mark.parametrize("status", [429, 503])
async def test_a_retry_after_in_seconds_is_waited_for(clock: FakeClock, status: int) -> None:
    runai, _ = client_of(clock, [Response(status, {"retry-after": "17"}), Response(status), COUNT])
    assert (await outcome(runai), clock.sleeps[0], clock.sleeps[1] <= 1.0) == (2, 17.0, True)


@pytest.mark.parametrize("skew", [-90, 0, 90])
async def test_a_retry_after_as_a_date_counts_from_the_responses_date(clock: FakeClock, skew: float) -> None:
    server = clock.now() + timedelta(seconds=skew)
    headers = {"Retry-After": http_date(server + timedelta(seconds=30)), "Date": http_date(server)}
    runai, _ = client_of(clock, [Response(503, headers), COUNT])
    assert (await outcome(runai), clock.sleeps) == (2, [30.0])


async def test_a_retry_after_as_a_date_without_another_date_counts_by_the_clients_clock(
    clock: FakeClock,
) -> None:
    headers = {"Retry-After": http_date(clock.now() + timedelta(seconds=30))}
    runai, _ = client_of(clock, [Response(503, headers), COUNT])
    assert (await outcome(runai), clock.sleeps) == (2, [30.0])


async def test_without_a_date_the_offset_learnt_from_other_responses_counts(clock: FakeClock) -> None:
    server = clock.now() + timedelta(seconds=90)
    headers = {"Retry-After": http_date(server + timedelta(seconds=30))}
    known = Response(body=COUNT.body, headers={"Date": http_date(server)})
    runai, _ = client_of(clock, [known, Response(503, headers), COUNT])
    await outcome(runai)
    assert (await outcome(runai), [round(seconds) for seconds in clock.sleeps]) == (2, [30])


@pytest.mark.parametrize("value", ["0", "0.0", "Thu, 01 Jan 2015 00:00:00 GMT"])
async def test_a_retry_after_that_has_passed_still_backs_off(value: str) -> None:
    waits = []
    for _ in range(30):
        clock = FakeClock(auto=True)
        runai, _ = client_of(clock, [Response(429, {"Retry-After": value}), COUNT])
        await runai.count_revisions(WORKLOAD)
        waits += clock.sleeps
    assert min(waits) < 0.2 < 0.3 < max(waits) <= 0.5


@pytest.mark.parametrize("value", ["60", "3600", "Fri, 31 Dec 2100 23:59:59 GMT"])
async def test_a_retry_after_beyond_the_deadline_raises_at_once(clock: FakeClock, value: str) -> None:
    runai, _ = client_of(clock, [Response(429, {"Retry-After": value})])
    with pytest.raises(RateLimitError) as caught:
        await runai.count_revisions(WORKLOAD)
    assert (caught.value.attempts, clock.sleeps, clock.monotonic()) == (1, [], 0.0)


async def test_a_retry_after_longer_than_the_deadline_leaves_raises_the_last_error(clock: FakeClock) -> None:
    responses = [Response(503, {"Retry-After": seconds}) for seconds in ("30", "29", "2")]
    with pytest.raises(ServiceUnavailableError) as caught:
        await client_of(clock, responses)[0].count_revisions(WORKLOAD)
    assert (caught.value.attempts, clock.monotonic()) == (3, 59.0)


async def test_all_attempts_share_one_deadline(clock: FakeClock) -> None:
    responses = [Response(503, {"Retry-After": "20"})] * 2
    runai, transport = client_of(clock, [*responses, COUNT], RetryPolicy(deadline=45))
    assert await outcome(runai) == 2
    assert [(sent.timeout, sent.deadline) for sent in transport.requests] == [(30.0, 45.0)] * 3


async def test_a_deadline_that_cuts_an_attempt_has_the_previous_error(clock: FakeClock) -> None:
    runai, _ = client_of(clock, [DOWN, DeadlineExceededError("cut"), DeadlineExceededError("cut")])
    with pytest.raises(DeadlineExceededError) as caught:
        await runai.count_revisions(WORKLOAD)
    assert isinstance(caught.value.last_error, ServiceUnavailableError)
    with pytest.raises(DeadlineExceededError) as caught:
        await runai.count_revisions(WORKLOAD)
    assert caught.value.last_error is None


# --- the budget -------------------------------------------------------------------------------------------


def test_a_budget_stays_between_zero_and_its_capacity() -> None:
    budget = RetryBudget()
    budget.give()
    assert (budget.tokens, bool(budget)) == (100, True)
    for _ in range(49):
        budget.take()
    assert (budget.tokens, bool(budget)) == (51, True)
    budget.take()
    assert (budget.tokens, bool(budget)) == (50, False)
    for _ in range(60):
        budget.take()
    assert budget.tokens == 0
    budget.give()
    assert budget.tokens == 1


async def test_in_an_outage_retries_stop_and_calls_continue(clock: FakeClock) -> None:
    runai, transport = client_of(clock, [DOWN] * 200)
    outcomes = [await outcome(runai) for _ in range(40)]
    assert outcomes == ["ServiceUnavailableError"] * 40
    # 12 calls of 4 attempts leave 52; the next one may repeat once; then each call is one attempt
    assert len(transport.requests) == 12 * 4 + 2 + 27


@pytest.mark.parametrize("response", [COUNT, Response(404), Response(body=b"{}")])
async def test_each_other_response_gives_one_back(clock: FakeClock, response: Response) -> None:
    runai, transport = client_of(clock, [DOWN] * 50 + [response] * 2 + [DOWN, DOWN, COUNT])
    once = runai.with_options(retry=RetryPolicy(attempts=1))
    for _ in range(52):
        await outcome(once)
    assert await outcome(runai) == "ServiceUnavailableError"  # 52, then 51: a repeat, then 50
    assert (len(transport.requests), await outcome(runai)) == (54, 2)


async def test_a_permanent_failure_without_a_response_gives_nothing_back(clock: FakeClock) -> None:
    failed = TransportError("TLS failed", transient=False)
    runai, transport = client_of(clock, [DOWN] * 50 + [failed] * 2 + [DOWN])
    once = runai.with_options(retry=RetryPolicy(attempts=1))
    for _ in range(52):
        await outcome(once)
    assert (await outcome(runai), len(transport.requests)) == ("ServiceUnavailableError", 53)


async def test_the_repeat_after_a_rejected_token_is_not_counted(clock: FakeClock) -> None:
    class Tokens:
        number = 0

        async def get_token(self) -> str:
            return f"token-{self.number}"

        def invalidate(self, token: str) -> None:
            self.number += 1

    transport = FakeTransport([Response(401), COUNT] * 60 + [DOWN, COUNT])
    runai = RunaiClient("https://acme.run.ai", Tokens(), transport=transport, clock=clock)
    assert [await outcome(runai) for _ in range(61)] == [2] * 61


async def test_copies_share_the_budget_and_the_transport(clock: FakeClock) -> None:
    runai, transport = client_of(clock, [DOWN] * 51)
    copy = runai.with_options(retry=RetryPolicy(attempts=1), timeout=3.0)
    for _ in range(50):
        await outcome(copy)
    assert (await outcome(runai), len(transport.requests)) == ("ServiceUnavailableError", 51)
    assert [sent.timeout for sent in transport.requests[-2:]] == [3.0, 30.0]
    again = runai.with_options(timeout=5.0)
    transport.script.append(COUNT)
    assert (await outcome(again), transport.requests[-1].timeout) == (2, 5.0)


# --- hooks ------------------------------------------------------------------------------------------------


async def test_hooks_receive_what_happened_in_order(clock: FakeClock) -> None:
    events: list[HookEvent] = []
    failures: list[Response | Exception] = [
        Response(503, {"Retry-After": "2"}),
        TransportError("reset"),
        NOT_JSON,
    ]
    runai, _ = client_of(clock, [*failures, COUNT], None, events.append)
    assert await outcome(runai) == 2
    delays = clock.sleeps
    assert events == [
        CallStarted("count_revisions"),
        RetryScheduled("count_revisions", 1, "ServiceUnavailableError", 503, 2.0),
        RetryScheduled("count_revisions", 2, "TransportError", None, delays[1]),
        RetryScheduled("count_revisions", 3, "DecodeError", None, delays[2]),
        CallFinished("count_revisions", 4, 200, None, clock.monotonic()),
    ]


@pytest.mark.parametrize(
    ("response", "status", "error"),
    [
        (COUNT, 200, None),
        (Response(404), 404, "NotFoundError"),
        (Response(302), 302, "ApiError"),
        (TransportError("reset"), None, "TransportError"),
        (AttemptTimeoutError("slow"), None, "AttemptTimeoutError"),
        (ZeroDivisionError("defect"), None, "ZeroDivisionError"),
        (Response(body=b"{}"), 200, "DecodeError"),
        (NOT_JSON, 200, "DecodeError"),
    ],
)
async def test_a_finished_call_has_the_status_of_its_last_response(
    clock: FakeClock, response: Response | Exception, status: int | None, error: str | None
) -> None:
    events: list[HookEvent] = []
    runai, _ = client_of(clock, [response], RetryPolicy(attempts=1), events.append)
    with pytest.raises(BaseException) if error else nullcontext():  # noqa: PT011
        await runai.count_revisions(WORKLOAD)
    assert events[-1] == CallFinished("count_revisions", 1, status, error, 0.0)


async def test_a_cancelled_call_is_reported_as_finished_in_its_own_task() -> None:
    events: list[tuple[HookEvent, object]] = []
    runai, _ = client_of(
        FakeClock(), [DOWN], None, lambda event: events.append((event, asyncio.current_task()))
    )
    call = asyncio.create_task(runai.count_revisions(WORKLOAD))
    for _ in range(10):
        await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert [type(event).__name__ for event, _ in events] == ["CallStarted", "RetryScheduled", "CallFinished"]
    assert events[-1][0] == CallFinished("count_revisions", 1, 503, "CancelledError", 0.0)
    assert {task for _, task in events} == {call}


async def test_a_hook_that_raises_is_logged_once_and_harms_nobody(
    clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(event: HookEvent) -> None:
        raise ValueError(type(event).__name__)

    events: list[HookEvent] = []
    runai, _ = client_of(clock, [DOWN, COUNT, COUNT], None, broken, events.append, broken)
    assert [await outcome(runai), await outcome(runai.with_options(timeout=1))] == [2, 2]
    assert len(events) == 5
    messages = [(record.name, record.levelno, record.getMessage()) for record in caplog.records]
    text = "a hook raised on CallStarted; its further errors are ignored"
    assert messages == [("runai_async", logging.ERROR, text)] * 2  # once for each hook


# --- many at once -----------------------------------------------------------------------------------------


async def test_fifty_calls_at_once_get_their_own_responses_and_errors(clock: FakeClock) -> None:
    seen: dict[str, int] = {}

    def response(sent: SentRequest) -> Response:
        name = sent.path.split("/")[-3]
        number, seen[name] = int(name[-2:]), seen.get(name, 0) + 1
        if number % 3 and seen[name] == 1:
            return DOWN
        if number % 3 == 1:
            return Response(404, body=f'{{"code": 404, "message": "{number}"}}'.encode())
        return Response(body=f'{{"count": {number}}}'.encode())

    runai, _ = client_of(clock, [response] * 200)
    ids = [f"{WORKLOAD[:-2]}{number:02}" for number in range(50)]
    results = await asyncio.gather(*map(runai.count_revisions, ids), return_exceptions=True)
    got = [result.message if isinstance(result, ApiError) else result for result in results]
    assert got == [str(number) if number % 3 == 1 else number for number in range(50)]
    assert {result.attempts for result in results if isinstance(result, ApiError)} == {2}


async def test_a_clock_that_jumps_leaves_no_task_behind_a_call() -> None:
    runai, _ = client_of(FakeClock(auto=True), [DOWN, COUNT])
    assert await outcome(runai) == 2
    left = [task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for _ in range(40):
        await asyncio.sleep(0)
    assert left == []
