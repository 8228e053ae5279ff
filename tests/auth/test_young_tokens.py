"""A refused token: an old one is replaced, a young one is tried again."""

import asyncio
import base64
import json
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.clocks import ForwardClock, SocketlessClock
from support.harness import Harness, within

from runai_async import (
    AuthenticationError,
    ClientCredentials,
    PollPolicy,
    RetryPolicy,
    RevisionAdded,
    RunaiClient,
)
from runai_async._auth.age import TokenAges
from runai_async._auth.jwt import has_expired
from runai_async.testing import FakeControlPlane, FakeTransport, Response, SentRequest

WORKLOAD = "3f0f1e0c-7d61-4c0e-9d4a-0d2f6f8f1b11"
COUNT = Response(body=b'{"count": 2}')
EMPTY = Response(body=b'{"revisions": []}')
REFUSED = Response(401, body=b'{"code": 401, "message": "token used before issued"}')
POLICY = PollPolicy(interval=10, jitter=0)


class SlowClocks:
    """A control plane whose nodes accept a token only once it is so many seconds old."""

    def __init__(self, behind: float) -> None:
        self.clock = SocketlessClock()
        self.behind = behind
        self.issued: dict[str, float] = {}
        self.times: list[float] = []
        self.transport = FakeTransport([self._respond] * 5000)

    def client(self) -> RunaiClient:
        return RunaiClient(
            "https://acme.run.ai",
            ClientCredentials("app", "s3cret"),
            transport=self.transport,
            clock=self.clock,
        )

    async def _respond(self, sent: SentRequest) -> Response:
        if sent.path.endswith("/token"):
            token = f"token-{len(self.issued)}"
            self.issued[token] = self.clock.monotonic()
            return Response(body=json.dumps({"access_token": token, "expires_in": 3600}).encode())
        self.times.append(self.clock.monotonic())
        age = self.clock.monotonic() - self.issued[sent.headers["Authorization"].removeprefix("Bearer ")]
        return REFUSED if age < self.behind else COUNT if sent.path.endswith("/count") else EMPTY


async def test_a_clock_that_is_two_seconds_behind_costs_a_call_two_seconds() -> None:
    server = SlowClocks(2.0)
    async with server.client() as runai:
        call = asyncio.create_task(runai.count_revisions(WORKLOAD))
        await server.clock.advance(3)
        assert await call == 2

    assert server.times == [0, 1, 3]
    assert len(server.issued) == 1


async def test_a_call_gives_up_after_two_repeats_and_fetches_no_other_token() -> None:
    server = SlowClocks(45.0)
    async with server.client() as runai:
        call = asyncio.create_task(runai.count_revisions(WORKLOAD))
        await server.clock.advance(60)
        with pytest.raises(AuthenticationError):
            await call

    assert (server.times, len(server.issued)) == ([0, 1, 3], 1)


async def test_a_refused_token_is_not_tried_again_before_retry_after() -> None:
    harness = Harness()
    asked = Response(401, {"Retry-After": "7"}, REFUSED.body)
    harness.next_lists.extend([asked, asked])
    async with harness.client(retry=RetryPolicy()) as runai:
        assert await within(harness, 20, runai.list_revisions(harness.workload_id)) == []

    assert harness.times() == [0, 7, 14]


async def test_a_refused_token_with_a_retry_after_beyond_the_deadline_is_raised() -> None:
    harness = Harness()
    harness.lists = Response(401, {"Retry-After": "70"}, REFUSED.body)
    async with harness.client(retry=RetryPolicy()) as runai:
        with pytest.raises(AuthenticationError):
            await within(harness, 20, runai.list_revisions(harness.workload_id))

    assert harness.times() == [0]


async def test_a_watch_outlives_clocks_that_begin_to_differ_by_90_seconds_with_few_tokens() -> None:
    server = SlowClocks(0.0)
    async with server.client() as runai, runai.watch_revisions(WORKLOAD, poll=POLICY) as watch:
        waiting = asyncio.ensure_future(anext(watch))
        await server.clock.advance(100)
        server.behind = 1e9  # all tokens are refused: revoked, as it seems
        await server.clock.advance(10)
        server.behind = 90.0
        await server.clock.advance(500)
        assert watch.status.consecutive_failures == 0
        assert len(server.issued) <= 3
        waiting.cancel()


async def test_a_revoked_account_costs_few_tokens_until_the_watch_ends() -> None:
    server = SlowClocks(0.0)
    async with server.client() as runai, runai.watch_revisions(WORKLOAD, poll=POLICY) as watch:
        waiting = asyncio.ensure_future(anext(watch))
        await server.clock.advance(100)
        server.behind = 1e9
        await server.clock.advance(1000)
        with pytest.raises(AuthenticationError):
            await waiting

    assert 1000 <= server.times[-1] <= 1015
    assert len(server.issued) <= 6


async def test_a_fixed_token_past_its_exp_ends_a_watch_at_once() -> None:
    clock = SocketlessClock()
    expires = clock.now().timestamp() + 100
    claims = base64.urlsafe_b64encode(json.dumps({"exp": expires}).encode()).decode().rstrip("=")

    async def respond(_: SentRequest) -> Response:
        return EMPTY if clock.monotonic() < 100 else REFUSED

    runai = RunaiClient(
        "https://acme.run.ai", f"head.{claims}.sign", transport=FakeTransport([respond] * 100), clock=clock
    )
    waiting = asyncio.ensure_future(anext(runai.watch_revisions(WORKLOAD, poll=POLICY)))
    await clock.advance(101)
    with pytest.raises(AuthenticationError) as caught:
        await waiting
    assert caught.value.is_final


async def test_a_fixed_token_that_was_accepted_may_be_refused_for_a_while() -> None:
    clock = SocketlessClock()

    async def respond(_: SentRequest) -> Response:
        return REFUSED if 100 <= clock.monotonic() < 340 else EMPTY

    runai = RunaiClient(
        "https://acme.run.ai", "opaque", transport=FakeTransport([respond] * 500), clock=clock
    )
    watch = runai.watch_revisions(WORKLOAD, poll=POLICY)
    waiting = asyncio.ensure_future(anext(watch))
    await clock.advance(500)
    assert watch.status.consecutive_failures == 0
    waiting.cancel()


async def test_a_wrong_clock_of_ours_does_not_make_a_fixed_token_expire() -> None:
    clock = SocketlessClock()
    expires = clock.now().timestamp() + 3600
    claims = base64.urlsafe_b64encode(json.dumps({"exp": expires}).encode()).decode().rstrip("=")
    date = format_datetime(clock.now(), usegmt=True)
    clock.shift_now(7200)

    async def respond(_: SentRequest) -> Response:
        refused = Response(401, {"Date": date}, REFUSED.body)
        return refused if 100 <= clock.monotonic() < 145 else EMPTY

    transport = FakeTransport([respond] * 500)
    runai = RunaiClient("https://acme.run.ai", f"head.{claims}.sign", transport=transport, clock=clock)
    watch = runai.watch_revisions(WORKLOAD, poll=POLICY)
    waiting = asyncio.ensure_future(anext(watch))
    await clock.advance(300)
    assert watch.status.consecutive_failures == 0
    waiting.cancel()


class Pool:
    """A provider that uses two tokens in turn, and makes a new one of each that was rejected."""

    def __init__(self) -> None:
        self.tokens = ["a", "b"]
        self.made = 0
        self.rejected: list[str] = []

    async def get_token(self) -> str:
        self.tokens.reverse()
        return self.tokens[0]

    def invalidate(self, token: str) -> None:
        self.rejected.append(token)
        self.made += 1
        self.tokens[self.tokens.index(token)] = f"new-{self.made}"


async def test_a_provider_that_uses_tokens_in_turn_learns_which_are_too_old() -> None:
    clock, provider = SocketlessClock(), Pool()

    async def respond(sent: SentRequest) -> Response:
        is_revoked = clock.monotonic() >= 100 and not sent.headers["Authorization"].startswith("Bearer new")
        return REFUSED if is_revoked else EMPTY

    runai = RunaiClient(
        "https://acme.run.ai", provider, transport=FakeTransport([respond] * 900), clock=clock
    )
    watch = runai.watch_revisions(WORKLOAD, poll=POLICY)
    waiting = asyncio.ensure_future(anext(watch))
    await clock.advance(400)
    assert watch.status.consecutive_failures == 0
    assert sorted(provider.rejected) == ["a", "b"]
    waiting.cancel()


@pytest.mark.parametrize("gateways", [1, 2])
async def test_token_requests_are_few_where_every_token_or_every_other_request_is_refused(
    gateways: int,
) -> None:
    server, seen = SlowClocks(0.0), [0]
    original = server._respond

    async def respond(sent: SentRequest) -> Response:
        seen[0] += 1
        if gateways == 2 and server.clock.monotonic() > 100 and not sent.path.endswith("/token"):
            await original(sent)
            return REFUSED if seen[0] % 2 else EMPTY
        return await original(sent)

    server.transport = FakeTransport([respond] * 9000)
    policy = PollPolicy(interval=10, jitter=0, max_outage=None)
    async with server.client() as runai, runai.watch_revisions(WORKLOAD, poll=policy) as watch:
        waiting = asyncio.ensure_future(anext(watch))
        await server.clock.advance(100)
        server.behind = 1e9 if gateways == 1 else 0.0
        await server.clock.advance(3600)
        assert len(server.issued) <= 18
        waiting.cancel()


# --- over a real socket -------------------------------------------------------------------------------------


async def test_an_identity_service_that_restarts_ends_no_watch() -> None:
    clock = ForwardClock()
    async with FakeControlPlane() as control_plane:
        workload_id = control_plane.add_workload()
        auth = ClientCredentials(control_plane.client_id, control_plane.client_secret)
        poll = PollPolicy(interval=0.01, fast_interval=0.01, jitter=0)
        once = RetryPolicy(attempts=1)
        async with RunaiClient(control_plane.url, auth, clock=clock, retry=once) as runai:
            watch = runai.watch_revisions(workload_id, poll=poll)
            control_plane.add_revision(workload_id, "Running")
            await anext(watch)
            control_plane.restart_identity(0.3)
            clock.forward(60)
            control_plane.add_revision(workload_id, "Running")
            assert isinstance(await anext(watch), RevisionAdded)
            assert control_plane.token_requests <= 20


@pytest.mark.parametrize("api", ["v1", "v2"])
async def test_a_secret_that_becomes_wrong_ends_a_watch_with_its_next_token(api: str) -> None:
    clock = ForwardClock()
    async with FakeControlPlane() as control_plane:
        workload_id = control_plane.add_workload()
        control_plane.add_revision(workload_id, "Running")
        auth = ClientCredentials(control_plane.client_id, control_plane.client_secret, api=api)  # type: ignore[arg-type]
        poll = PollPolicy(interval=0.01, fast_interval=0.01)
        async with RunaiClient(control_plane.url, auth, clock=clock) as runai:
            watch = runai.watch_revisions(workload_id, poll=poll)
            await anext(watch)
            control_plane._tokens.client_secret = "another"
            control_plane.revoke_tokens()
            clock.forward(30)
            with pytest.raises(AuthenticationError) as caught:
                await anext(watch)
    assert caught.value.is_final


# --- how old a token has to be ------------------------------------------------------------------------------


def test_each_token_that_was_refused_from_the_start_gets_twice_the_time_up_to_five_minutes() -> None:
    ages, now, lives = TokenAges(), 0.0, []
    for token in "abcdefg":
        ages.begin(token, now)
        began = now
        while not ages.is_old(token, now):
            ages.refuse(token, now)
            now += 1
        lives.append(now - began)

    assert lives == [60, 120, 240, 300, 300, 300, 300]
    ages.begin("h", now)
    ages.accept("h", now + 500)
    assert (ages.is_old("h", now + 299), ages.is_doubted) == (False, True)
    ages.accept("h", now + 600)
    assert (ages.is_old("h", now + 29), ages.is_old("h", now + 30), ages.is_doubted) == (False, True, False)


def test_a_token_that_was_accepted_before_it_was_refused_is_replaced_as_soon_as_it_is_old() -> None:
    ages = TokenAges()
    ages.begin("a", 0)
    ages.accept("a", 0)
    ages.refuse("a", 1)
    assert (ages.is_old("a", 29), ages.is_old("a", 30), ages.is_doubted) == (False, True, True)


def test_only_so_many_tokens_are_remembered() -> None:
    ages = TokenAges()
    for n in range(100):
        ages.begin(str(n), 0.0)
        ages.refuse(str(n), 0.0)
    assert (len(ages._since), len(ages._counted)) == (8, 8)


@given(st.text())
def test_what_is_not_a_jwt_never_expires(text: str) -> None:
    assert not has_expired(text, 0.0)


@pytest.mark.parametrize("token", [".0/", "a.+/+/.b", "a..b", "a.é.b", "a.=.b"])
def test_a_token_in_another_alphabet_never_expires(token: str) -> None:
    assert not has_expired(token, 1e12)


@pytest.mark.parametrize(("exp", "expired"), [(99, True), (100, True), (101, False)])
def test_a_jwt_expires_at_its_exp(exp: int, expired: bool) -> None:
    part = base64.urlsafe_b64encode(json.dumps({"exp": exp}).encode()).decode().rstrip("=")
    assert has_expired(f"a.{part}.b", 100.0) is expired
