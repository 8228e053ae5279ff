"""Client credentials: when a token is fetched, for how long it is used, and who waits for it."""

import asyncio
import base64
import html
import json
import math
import re
import traceback
from collections.abc import Callable, Coroutine
from typing import Literal, Unpack

import pytest
from support.model import body_of, revision
from yarl import URL

from runai_async import (
    ApiError,
    AuthenticationError,
    Checkpoint,
    ClientCredentials,
    ClientOptions,
    DeadlineExceededError,
    DecodeError,
    InternalServerError,
    PollPolicy,
    RetryPolicy,
    RunaiClient,
    RunaiError,
    ServiceUnavailableError,
    TokenRefreshed,
    TransportError,
    WatchOutageError,
)
from runai_async._auth.sources import token_source
from runai_async.hooks import HookEvent, Hooks
from runai_async.testing import FakeClock, FakeControlPlane, FakeTransport, Response, SentRequest

WORKLOAD = "3f0f1e0c-7d61-4c0e-9d4a-0d2f6f8f1b11"
COUNT = Response(body=b'{"count": 2}')
LIST = Response(body=body_of(revision("a")))
REJECTED = Response(401, body=b'{"code": 401, "message": "the token has expired"}')
DOWN = Response(503, body=b'{"code": 503, "message": "down"}')


class FakeServer:
    """A token endpoint, and one that accepts only the latest token; gates hold their responses back."""

    def __init__(self, expires_in: float | None = 100.0) -> None:
        self.clock = FakeClock()
        self.transport = FakeTransport([self._answer] * 2000)
        self.events: list[HookEvent] = []
        self.expires_in = expires_in
        self.token = "token-{}"
        self.issued = 0
        self.failing: Response | Exception | None = None
        self.token_gate, self.gate = asyncio.Event(), asyncio.Event()
        self.token_gate.set()
        self.gate.set()

    def client(self, secret: str = "s3cret", **options: Unpack[ClientOptions]) -> RunaiClient:
        given: ClientOptions = {
            "retry": RetryPolicy(attempts=1),
            "clock": self.clock,
            "transport": self.transport,
            "hooks": [self.events.append],
            **options,
        }
        return RunaiClient("https://acme.run.ai", ClientCredentials("app", secret), **given)

    async def _answer(self, sent: SentRequest) -> Response:
        if not sent.path.endswith("/token"):
            accepted = sent.headers["Authorization"] == f"Bearer {self.token.format(self.issued)}"
            await self.gate.wait()
            return (COUNT if sent.path.endswith("/count") else LIST) if accepted else REJECTED
        await self.token_gate.wait()
        if isinstance(self.failing, Exception):
            raise self.failing
        if self.failing is not None:
            return self.failing
        self.issued += 1
        fields = {"accessToken": self.token.format(self.issued)}
        lifetime = {} if self.expires_in is None else {"expiresIn": self.expires_in}
        return Response(body=json.dumps(fields | lifetime).encode())

    @property
    def exchanges(self) -> int:
        return sum(sent.path.endswith("/token") for sent in self.transport.requests)

    @property
    def lifetimes(self) -> list[float | None]:
        return [event.expires_in for event in self.events if isinstance(event, TokenRefreshed)]

    def used(self) -> str:
        """Return the token of the last request that carried one."""
        return next(
            sent.headers["Authorization"].removeprefix("Bearer ")
            for sent in reversed(self.transport.requests)
            if "Authorization" in sent.headers
        )


async def turns(number: int = 20) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


def jwt(**claims: object) -> str:
    part = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"head.{part}.sign{{}}"


def start(call: Coroutine[None, None, int]) -> asyncio.Task[int]:
    return asyncio.create_task(call)


# --- what is sent -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("api", ["v1", "v2"])
async def test_credentials_are_exchanged_at_either_version_over_a_socket(api: str) -> None:
    async with FakeControlPlane() as control_plane:
        credentials = ClientCredentials(control_plane.client_id, control_plane.client_secret, api=api)  # type: ignore[arg-type]
        async with RunaiClient(control_plane.url, credentials) as runai:
            counts = [await runai.count_revisions(control_plane.add_workload()) for _ in range(2)]
    assert counts == [0, 0]
    assert [request.path for request in control_plane.requests][:1] == [f"/api/{api}/token"]
    assert control_plane.token_requests == 1


@pytest.mark.parametrize("api", ["v1", "v2"])
async def test_wrong_credentials_are_an_authentication_error_after_one_request(api: str) -> None:
    async with FakeControlPlane() as control_plane:
        credentials = ClientCredentials(control_plane.client_id, "s3cret", api=api)  # type: ignore[arg-type]
        async with RunaiClient(control_plane.url, credentials) as runai:
            with pytest.raises(AuthenticationError) as caught:
                await runai.count_revisions(control_plane.add_workload())
    assert (caught.value.url, len(control_plane.requests)) == (f"{control_plane.url}/api/{api}/token", 1)


async def test_an_exchange_has_no_token_and_the_timeout_of_an_attempt() -> None:
    control_plane = FakeServer()
    await control_plane.client(timeout=7.0).count_revisions(WORKLOAD)
    sent = control_plane.transport.requests[0]
    assert (sent.method, "Authorization" in sent.headers) == ("POST", False)
    assert (sent.timeout, sent.deadline) == (7.0, 14.0)


# --- which endpoint ---------------------------------------------------------------------------------------

TOKEN = Response(body=b'{"access_token": "a", "expires_in": 100, "token_type": "Bearer"}')
OLD_TOKEN = Response(body=b'{"accessToken": "a", "expiresIn": 100}')
REFUSED = Response(401, body=b'{"error": "invalid_client"}')
MISSING = [
    Response(404),
    Response(405),
    Response(404, body=b'{"code": 404, "message": "no such route"}'),
    Response(404, body=b"<html>404 page not found</html>"),
    Response(405, body=b'{"error": "invalid_client"}'),
]


def paths(transport: FakeTransport) -> list[str]:
    """Return the paths of the exchanges, without their common beginning and end."""
    return [
        sent.path.removeprefix("/api/").removesuffix("/token")
        for sent in transport.requests
        if sent.method == "POST"
    ]


async def exchanging(
    script: list[Response | Exception], calls: int = 1, **credentials: str
) -> tuple[list[object], FakeTransport]:
    """Make calls, each in need of another token; return what became of them."""
    clock, transport = FakeClock(), FakeTransport(script)
    auth = ClientCredentials("app", "s3cret", **credentials)  # type: ignore[arg-type]
    runai = RunaiClient(
        "https://acme.run.ai", auth, transport=transport, clock=clock, retry=RetryPolicy(attempts=1)
    )
    outcomes: list[object] = []
    for _ in range(calls):
        try:
            outcomes.append(await runai.count_revisions(WORKLOAD))
        except RunaiError as error:
            outcomes.append(type(error).__name__)
        await clock.advance(100)
    await runai.aclose()
    return outcomes, transport


async def test_the_newer_endpoint_is_tried_first_and_kept() -> None:
    outcomes, transport = await exchanging([TOKEN, COUNT, TOKEN, COUNT], 2)
    assert (outcomes, paths(transport)) == ([2, 2], ["v2", "v2"])
    assert transport.requests[0].headers["Content-Type"] == "application/x-www-form-urlencoded"


@pytest.mark.parametrize("missing", MISSING)
async def test_the_older_endpoint_is_tried_where_the_newer_one_is_missing_and_kept(missing: Response) -> None:
    outcomes, transport = await exchanging([missing, OLD_TOKEN, COUNT, OLD_TOKEN, COUNT], 2)
    assert (outcomes, paths(transport)) == ([2, 2], ["v2", "v1", "v1"])


@pytest.mark.parametrize("missing", MISSING[:2])
async def test_an_endpoint_that_issued_a_token_is_not_missing(missing: Response) -> None:
    outcomes, transport = await exchanging([TOKEN, COUNT, missing, TOKEN, COUNT], 3)
    assert (outcomes, paths(transport)) == ([2, "ApiError", 2], ["v2", "v2", "v2"])


@pytest.mark.parametrize(
    ("failed", "outcome"),
    [
        (REFUSED, "AuthenticationError"),
        (Response(400, body=b'{"error": "invalid_client"}'), "AuthenticationError"),
        (Response(403, body=b'{"code": 403, "message": "disabled"}'), "AuthenticationError"),
        (Response(401), "ApiError"),
        (Response(403), "ApiError"),
        (Response(410), "ApiError"),
        (Response(400, body=b'{"error": "invalid_request"}'), "ApiError"),
        (DOWN, "ServiceUnavailableError"),
        (Response(body=b"<html>"), "DecodeError"),
        (TransportError("reset"), "TransportError"),
    ],
)
async def test_the_older_endpoint_is_not_tried_after_any_other_failure(
    failed: Response | Exception, outcome: str
) -> None:
    outcomes, transport = await exchanging([failed, MISSING[0], OLD_TOKEN, COUNT], 2)
    assert (outcomes, paths(transport)) == ([outcome, 2], ["v2", "v2", "v1"])


async def test_nothing_is_kept_before_a_token_was_issued() -> None:
    outcomes, transport = await exchanging([MISSING[0], DOWN, MISSING[0], MISSING[1], TOKEN, COUNT], 3)
    assert outcomes == ["ServiceUnavailableError", "ApiError", 2]
    assert paths(transport) == ["v2", "v1", "v2", "v1", "v2"]


@pytest.mark.parametrize(("api", "issued"), [("v1", OLD_TOKEN), ("v2", TOKEN)])
async def test_an_endpoint_that_was_asked_for_is_the_only_one(api: str, issued: Response) -> None:
    outcomes, transport = await exchanging([MISSING[0], issued, COUNT], 2, api=api)
    assert (outcomes, paths(transport)) == (["ApiError", 2], [api, api])


@pytest.mark.parametrize("api", ["auto", "v2"])
async def test_a_token_endpoint_elsewhere_is_sent_a_form_and_nothing_else_is_tried(api: str) -> None:
    url = "https://login.example/realms/runai/token?tenant=a"
    outcomes, transport = await exchanging([MISSING[0], TOKEN, COUNT], 2, api=api, token_url=url)
    first, second, count = transport.requests
    assert (outcomes, [str(first.url), str(second.url)]) == (["ApiError", 2], [url, url])
    assert first.body == b"grant_type=client_credentials&client_id=app&client_secret=s3cret"
    assert (count.url.host, count.headers["Authorization"]) == ("acme.run.ai", "Bearer a")


@pytest.mark.parametrize(("version", "asked"), [("2.22", ["v2", "v1"]), ("2.24", ["v2"]), ("3.0", ["v2"])])
async def test_every_version_of_the_control_plane_issues_a_token(version: str, asked: list[str]) -> None:
    async with FakeControlPlane(version=version) as control_plane:  # type: ignore[arg-type]
        auth = ClientCredentials(control_plane.client_id, control_plane.client_secret)
        async with RunaiClient(control_plane.url, auth) as runai:
            assert await runai.count_revisions(control_plane.add_workload()) == 0
    exchanges = [request.path for request in control_plane.requests if request.method == "POST"]
    assert exchanges == [f"/api/{api}/token" for api in asked]


# --- one exchange for all ---------------------------------------------------------------------------------


async def test_one_exchange_serves_all_waiting_calls() -> None:
    control_plane = FakeServer()
    runai = control_plane.client()
    counts = await asyncio.gather(*(runai.count_revisions(WORKLOAD) for _ in range(50)))
    assert (counts, control_plane.exchanges) == ([2] * 50, 1)


async def test_a_source_with_a_valid_token_returns_it_without_another_exchange() -> None:
    control_plane = FakeServer()
    credentials, url = ClientCredentials("app", "s3cret"), URL("https://acme.run.ai/")
    source = token_source(
        credentials, url, control_plane.transport, control_plane.clock, hooks=Hooks(), timeout=1.0
    )
    assert [await source.get_token() for _ in range(2)] == ["token-1", "token-1"]
    assert (source.current(), control_plane.exchanges) == ("token-1", 1)


async def test_a_revoked_token_causes_one_exchange_however_late_its_401s_arrive() -> None:
    control_plane = FakeServer()
    runai = control_plane.client()
    await runai.count_revisions(WORKLOAD)
    await control_plane.clock.advance(30)
    control_plane.issued = 7  # token-1 is revoked
    early = [start(runai.count_revisions(WORKLOAD)) for _ in range(25)]
    await turns()
    first_gate, control_plane.gate = control_plane.gate, asyncio.Event()
    late = [start(runai.count_revisions(WORKLOAD)) for _ in range(25)]
    await asyncio.gather(*early)
    assert (control_plane.exchanges, first_gate.is_set()) == (2, True)
    control_plane.gate.set()
    assert await asyncio.gather(*late) == [2] * 25
    assert (control_plane.exchanges, control_plane.used()) == (2, "token-8")


async def test_a_late_401_of_the_old_token_does_not_drop_the_new_one() -> None:
    control_plane = FakeServer()
    runai = control_plane.client()
    await runai.count_revisions(WORKLOAD)
    await control_plane.clock.advance(30)
    control_plane.gate.clear()
    control_plane.issued = 7
    late = start(runai.count_revisions(WORKLOAD))
    await turns()
    held, control_plane.gate = control_plane.gate, asyncio.Event()
    control_plane.gate.set()
    await runai.count_revisions(WORKLOAD)
    held.set()
    assert (await late, control_plane.exchanges) == (2, 2)


async def test_a_cancelled_waiter_does_not_end_the_exchange_of_the_others() -> None:
    control_plane = FakeServer()
    control_plane.token_gate.clear()
    runai = control_plane.client()
    first, second = start(runai.count_revisions(WORKLOAD)), start(runai.count_revisions(WORKLOAD))
    await turns()
    first.cancel()
    await turns()
    control_plane.token_gate.set()
    assert (await second, first.cancelled(), control_plane.exchanges) == (2, True, 1)


async def test_an_exchange_whose_waiters_are_all_cancelled_still_counts() -> None:
    control_plane = FakeServer()
    control_plane.token_gate.clear()
    runai = control_plane.client()
    only = start(runai.count_revisions(WORKLOAD))
    await turns()
    only.cancel()
    control_plane.token_gate.set()
    await turns()
    assert (await runai.count_revisions(WORKLOAD), control_plane.exchanges) == (2, 1)


async def test_the_deadline_cuts_the_wait_for_an_exchange_but_not_the_exchange() -> None:
    control_plane = FakeServer()
    control_plane.token_gate.clear()
    runai = control_plane.client()
    with pytest.raises(DeadlineExceededError, match="while waiting for a token"):
        await runai.with_options(retry=RetryPolicy(deadline=0.02)).count_revisions(WORKLOAD)
    control_plane.token_gate.set()
    assert (await runai.count_revisions(WORKLOAD), control_plane.exchanges) == (2, 1)


# --- how long a token is used -----------------------------------------------------------------------------


async def test_the_next_token_is_fetched_early_and_no_call_waits_for_it() -> None:
    control_plane = FakeServer(expires_in=100)
    runai = control_plane.client()
    await runai.count_revisions(WORKLOAD)
    await control_plane.clock.advance(79.9)
    await runai.count_revisions(WORKLOAD)
    await turns()
    assert control_plane.exchanges == 1
    control_plane.token_gate.clear()
    await control_plane.clock.advance(0.2)
    for _ in range(3):  # the exchange hangs, and the old token is still valid
        assert await runai.count_revisions(WORKLOAD) == 2
        await turns()
    assert (control_plane.exchanges, control_plane.used()) == (2, "token-1")
    control_plane.token_gate.set()
    await turns()
    assert (await runai.count_revisions(WORKLOAD), control_plane.used(), control_plane.exchanges) == (
        2,
        "token-2",
        2,
    )


async def test_a_token_near_its_end_is_no_longer_used() -> None:
    control_plane = FakeServer(expires_in=100)
    runai = control_plane.client()
    await runai.count_revisions(WORKLOAD)
    await control_plane.clock.advance(95.0)
    await runai.count_revisions(WORKLOAD)
    assert (control_plane.used(), control_plane.exchanges) == ("token-2", 2)


async def test_a_lifetime_counts_from_before_the_exchange() -> None:
    control_plane = FakeServer(expires_in=100)
    control_plane.token_gate.clear()
    runai = control_plane.client(timeout=60.0)
    first = start(runai.count_revisions(WORKLOAD))
    await control_plane.clock.advance(50)
    control_plane.token_gate.set()
    await first
    await control_plane.clock.advance(45)
    await runai.count_revisions(WORKLOAD)
    assert (control_plane.used(), control_plane.exchanges) == ("token-2", 2)


NOW = 1_767_225_600  # FakeClock's


@pytest.mark.parametrize(
    ("expires_in", "token", "lifetime"),
    [
        (60, jwt(exp=NOW + 900), 60.0),
        (None, jwt(exp=NOW + 900), 900.0),
        (None, jwt(exp=NOW + 90_900, iat=NOW + 90_000), 900.0),
        (None, "opaque-{}", 300.0),
        (None, "two.parts{}", 300.0),
        (None, jwt(), 300.0),
        (None, jwt(exp=NOW - 1), 300.0),
        (None, jwt(exp="soon"), 300.0),
        (None, jwt(exp=None), 300.0),
        (None, jwt(exp=math.inf), 300.0),
        (None, jwt(exp=math.nan), 300.0),
        (None, jwt(exp=10**400), 300.0),
        (None, jwt(exp=NOW + 900, iat="then"), 300.0),
        (None, f"h.{base64.b64encode(b'[1]').decode()}.s{{}}", 300.0),
        (None, f"h.{base64.b64encode(b'[' * 99_999).decode()}.s{{}}", 300.0),
        (0, jwt(exp=NOW + 900), 900.0),
    ],
)
async def test_the_lifetime_comes_from_the_response_or_the_token_or_a_default(
    expires_in: float | None, token: str, lifetime: float
) -> None:
    control_plane = FakeServer(expires_in)
    control_plane.token = token
    runai = control_plane.client()
    await runai.count_revisions(WORKLOAD)
    assert control_plane.lifetimes == [lifetime]
    await control_plane.clock.advance(lifetime * 0.95 + 0.001)
    await runai.count_revisions(WORKLOAD)
    assert control_plane.exchanges == 2


# --- an endpoint that fails -------------------------------------------------------------------------------


async def test_a_failed_exchange_fails_all_waiting_calls_and_is_reported_once() -> None:
    control_plane = FakeServer()
    control_plane.failing = DOWN
    runai = control_plane.client()
    errors = await asyncio.gather(
        *(runai.count_revisions(WORKLOAD) for _ in range(9)), return_exceptions=True
    )
    assert ({type(error) for error in errors}, control_plane.exchanges) == ({ServiceUnavailableError}, 1)
    refreshed = [event for event in control_plane.events if isinstance(event, TokenRefreshed)]
    assert refreshed == [TokenRefreshed("ServiceUnavailableError", None, 0.0)]


async def test_a_failing_endpoint_is_left_alone_for_longer_and_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn: list[tuple[float, float]] = []

    def longest(least: float, most: float) -> float:
        drawn.append((least, most))
        return most

    monkeypatch.setattr("random.uniform", longest)
    control_plane = FakeServer()
    control_plane.failing = DOWN
    runai = control_plane.client()
    bounds = [0.5, 1, 2, 4, 8, 16, 30, 30]

    async def fails() -> int:
        with pytest.raises(ServiceUnavailableError):
            await runai.count_revisions(WORKLOAD)
        return control_plane.exchanges

    for failures, most in enumerate(bounds, start=1):
        assert await fails() == failures
        await control_plane.clock.advance(most - 0.001)
        assert await fails() == failures
        await control_plane.clock.advance(0.002)
    assert drawn == [(most / 2, most) for most in bounds]
    control_plane.failing = None
    assert await runai.count_revisions(WORKLOAD) == 2
    control_plane.failing = DOWN
    await control_plane.clock.advance(100)
    await fails()
    assert drawn[-1] == (0.25, 0.5)  # a success restarts the count


async def test_the_back_off_is_spread() -> None:
    exchanges = set()
    for _ in range(40):
        control_plane = FakeServer()
        control_plane.failing = DOWN
        runai = control_plane.client()
        for _ in range(2):
            with pytest.raises(ServiceUnavailableError):
                await runai.count_revisions(WORKLOAD)
            await control_plane.clock.advance(0.375)  # the middle of 0.25 to 0.5
        exchanges.add(control_plane.exchanges)
    assert exchanges == {1, 2}


async def test_an_early_refresh_that_fails_is_logged_and_the_token_stays_in_use(
    caplog: pytest.LogCaptureFixture,
) -> None:
    control_plane = FakeServer(expires_in=100)
    runai = control_plane.client()
    await runai.count_revisions(WORKLOAD)
    control_plane.failing = DOWN
    await control_plane.clock.advance(80)
    for _ in range(5):
        assert await runai.count_revisions(WORKLOAD) == 2
        await turns()
    assert (control_plane.exchanges, control_plane.used()) == (2, "token-1")
    (warning,) = [record.message for record in caplog.records]
    assert warning.startswith(
        "the early token refresh failed; the current token stays in use until it expires: POST https://"
    )
    await control_plane.clock.advance(0.501)
    await runai.count_revisions(WORKLOAD)
    await turns()
    assert control_plane.exchanges == 3


async def test_a_refresh_that_fails_after_the_token_expired_is_not_logged_as_an_early_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    control_plane = FakeServer(expires_in=100)
    runai = control_plane.client()
    await runai.count_revisions(WORKLOAD)
    control_plane.failing = DOWN
    await control_plane.clock.advance(100)
    with pytest.raises(ServiceUnavailableError):
        await runai.count_revisions(WORKLOAD)
    await turns()
    assert [record.message for record in caplog.records] == []


async def test_an_error_that_many_calls_raise_does_not_grow() -> None:
    control_plane = FakeServer()
    control_plane.failing = DOWN
    runai = control_plane.client()
    depths = []
    for _ in range(5):
        with pytest.raises(ServiceUnavailableError) as caught:
            await runai.count_revisions(WORKLOAD)
        depths.append(len(list(traceback.walk_tb(caught.value.__traceback__))))
    assert depths[4] <= depths[1]


@pytest.mark.parametrize(
    ("response", "kind"),
    [
        (Response(400, body=b'{"error": "invalid_client"}'), AuthenticationError),
        (Response(400, body=b'{"error": "invalid_grant", "error_description": "x"}'), AuthenticationError),
        (Response(400, body=b'{"error": "unauthorized_client"}'), AuthenticationError),
        (Response(400, body=b'{"error": "invalid_request"}'), ApiError),
        (Response(400, body=b'{"code": 400, "message": "invalid client"}'), AuthenticationError),
        (Response(400, body=b"<html>a gateway's</html>"), ApiError),
        (Response(403, body=b'{"code": 403, "message": "the application is disabled"}'), AuthenticationError),
        (Response(401, body=b'{"code": 401, "message": "the secret is wrong"}'), AuthenticationError),
        (Response(401, body=b'{"error": "invalid_client"}'), AuthenticationError),
        (Response(403, body=b'{"error": "unauthorized_client"}'), AuthenticationError),
        (Response(401, body=b"<html>the identity service restarts</html>"), ApiError),
        (Response(401), ApiError),
        (Response(401, body=b"invalid_client"), ApiError),  # a text, not OAuth's words
        (Response(401, body=b'"invalid_client"'), ApiError),
        (Response(401, body=b'{"error": ["invalid_client"]}'), ApiError),
        (Response(401, body=b'{"error": "server_error"}'), ApiError),
        (Response(401, body=b'{"error": "temporarily_unavailable"}'), ApiError),
        (Response(401, body=b'{"code": 16, "message": "unauthenticated", "details": []}'), ApiError),
        (Response(401, body=b'{"message": "Unauthorized", "status": 401}'), ApiError),
        (Response(403, body=b"<html>a gateway's</html>"), ApiError),
        (Response(404, body=b'{"code": 404, "message": "no such route"}'), ApiError),
        (Response(500, body=b'{"error": "invalid_client"}'), InternalServerError),
        (Response(body=b"{}"), DecodeError),
        (Response(body=b"<html>"), DecodeError),
        (TransportError("reset"), TransportError),
    ],
)
async def test_an_error_of_the_token_endpoint_is_what_the_call_raises(
    response: Response | Exception, kind: type[RunaiError]
) -> None:
    control_plane = FakeServer()
    control_plane.failing = response
    with pytest.raises(RunaiError) as caught:
        await control_plane.client().count_revisions(WORKLOAD)
    assert type(caught.value) is kind
    assert caught.value.__cause__ is not caught.value  # whoever follows causes would never come to an end


@pytest.mark.parametrize(
    "failing",
    [
        Response(404, body=b'{"code": 404, "message": "no such route"}'),
        Response(403, body=b"<html>a gateway's</html>"),
        Response(401, body=b"<html>the identity service restarts</html>"),
    ],
)
async def test_an_error_of_the_token_endpoint_is_not_taken_for_one_about_a_workload(
    failing: Response,
) -> None:
    control_plane = FakeServer(expires_in=30)
    control_plane.clock = FakeClock(auto=True)
    poll = PollPolicy(missing_grace=20, max_outage=300)
    runai = control_plane.client(clock=control_plane.clock)
    for watch in (runai.watch_fleet([WORKLOAD], poll=poll), runai.watch_revisions(WORKLOAD, poll=poll)):
        kinds: list[str] = []
        control_plane.failing = None
        try:
            async with watch:
                async for event in watch:
                    kinds.append(event.kind)
                    control_plane.failing = failing
        except WatchOutageError as error:
            assert "POST https://acme.run.ai/api/v2/token: 40" in str(error)  # noqa: PT017
            kinds.append("outage")
        assert kinds in (["added", "outage"], ["added", "workload_failed", "outage"])


async def test_each_watch_that_waits_for_a_token_gets_an_error_with_its_own_checkpoint() -> None:
    control_plane = FakeServer()
    control_plane.failing = REFUSED
    runai = control_plane.client()
    ids = [WORKLOAD, WORKLOAD.replace("1b11", "2b22")]
    errors = await asyncio.gather(*(anext(runai.watch_revisions(key)) for key in ids), return_exceptions=True)
    kept = [error.checkpoint for error in errors if isinstance(error, AuthenticationError)]
    assert [checkpoint.workload_id for checkpoint in kept if isinstance(checkpoint, Checkpoint)] == ids
    assert control_plane.exchanges == 1


async def test_a_failed_exchange_is_retried_within_the_call() -> None:
    control_plane = FakeServer()
    control_plane.clock = FakeClock(auto=True)
    control_plane.failing = Response(503, {"Retry-After": "1"})
    runai = control_plane.client(clock=control_plane.clock, retry=RetryPolicy())
    call = start(runai.count_revisions(WORKLOAD))
    while not control_plane.exchanges:
        await asyncio.sleep(0)
    control_plane.failing = None
    assert (await call, control_plane.exchanges) == (2, 2)
    await turns(40)  # the clock comes to rest


SECRET = 'a&b"c+d/'


@pytest.mark.parametrize("secret", [SECRET, "q8/Zs3+k1:Xy==", "?@%2F~"])
@pytest.mark.parametrize("api", ["v1", "v2"])
async def test_a_secret_in_a_quoted_request_is_in_no_error(api: Literal["v1", "v2"], secret: str) -> None:
    def quoting(sent: SentRequest) -> Response:
        return Response(400, body=b"cannot read " + (sent.body or b""))

    auth = ClientCredentials("app", secret, api=api)
    runai = RunaiClient("https://acme.run.ai", auth, transport=FakeTransport([quoting]))
    with pytest.raises(ApiError) as caught:
        await runai.count_revisions(WORKLOAD)
    assert re.search(r"(?i)client_?secret\W+\*\*\*", str(caught.value))


@pytest.mark.parametrize(
    "quote",
    [
        lambda secret: f"<p>{secret}</p>",
        lambda secret: json.dumps({"code": 400, "message": f"no: {secret}"}),
        lambda secret: json.dumps({"error": "invalid_client", "error_description": secret}),
        lambda secret: json.dumps({"code": 400, "message": secret}).replace("&", "\\u0026"),
        lambda secret: "clientSecret=a%26b%22c%2Bd%2F",
        lambda secret: "clientSecret=a%26b%22c%2bd%2f",
        lambda secret: f"<p>{html.escape(secret)}</p>",
        lambda secret: "{broken: " + json.dumps(secret).replace("/", r"\/"),
    ],
    ids=["text", "JSON", "OAuth", "escaped", "form", "form in lower case", "HTML", "escaped slash"],
)
async def test_a_secret_that_the_endpoint_quotes_is_in_no_error_and_no_log(
    quote: Callable[[str], str], caplog: pytest.LogCaptureFixture
) -> None:
    control_plane = FakeServer(expires_in=100)
    runai = control_plane.client(SECRET)
    await runai.count_revisions(WORKLOAD)
    control_plane.failing = Response(400, body=quote(SECRET).encode())
    await control_plane.clock.advance(80)
    await runai.count_revisions(WORKLOAD)  # an early refresh, which is logged
    await turns()
    assert "the early token refresh failed" in caplog.text
    await control_plane.clock.advance(20)
    with pytest.raises(ApiError) as caught:
        await runai.count_revisions(WORKLOAD)
    shown = f"{caught.value} {caught.value!r} {vars(caught.value)} {caught.value.__cause__} {caplog.text}"
    assert ("***" in shown, re.findall("a&|a%26", shown, re.IGNORECASE)) == (True, [])


async def test_a_failed_exchange_whose_waiters_were_all_cancelled_is_reported_nowhere(
    loop_errors: list[str],
) -> None:
    control_plane = FakeServer()
    control_plane.failing = DOWN
    runai = control_plane.client()
    for _ in range(3):
        control_plane.token_gate.clear()
        calls = [start(runai.count_revisions(WORKLOAD)) for _ in range(3)]
        await turns()
        for call in calls:
            call.cancel()
        await turns()
        control_plane.token_gate.set()
        await turns()
        assert [call.cancelled() for call in calls] == [True] * 3
        await control_plane.clock.advance(60)
    await runai.aclose()
    assert (control_plane.exchanges, loop_errors) == (3, [])


async def test_a_defect_in_a_transport_is_raised_by_a_call_that_waits_for_a_token() -> None:
    control_plane = FakeServer()
    defect = control_plane.failing = LookupError("a defect")
    with pytest.raises(LookupError) as caught:
        await control_plane.client().count_revisions(WORKLOAD)
    assert caught.value is defect


# --- closing ----------------------------------------------------------------------------------------------


async def test_closing_while_an_exchange_runs_ends_it_and_the_waiting_calls() -> None:
    control_plane = FakeServer()
    control_plane.token_gate.clear()
    runai = control_plane.client()
    call = start(runai.count_revisions(WORKLOAD))
    await turns()
    await runai.aclose()
    assert "runai-async token" not in {task.get_name() for task in asyncio.all_tasks()}
    with pytest.raises(RuntimeError, match="the client was closed while a call waited for its token"):
        await call
    assert control_plane.transport.closed


@pytest.mark.parametrize("turn", [0, 1, 2])
async def test_a_call_that_is_cancelled_while_the_client_is_closed_is_cancelled(turn: int) -> None:
    control_plane = FakeServer()
    control_plane.token_gate.clear()
    runai = control_plane.client()
    call = start(runai.count_revisions(WORKLOAD))
    await turns()
    closing = asyncio.create_task(runai.aclose())
    await turns(turn)
    call.cancel()
    await closing
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_closing_while_an_early_refresh_runs_is_quiet(caplog: pytest.LogCaptureFixture) -> None:
    control_plane = FakeServer(expires_in=100)
    runai = control_plane.client()
    await runai.count_revisions(WORKLOAD)
    control_plane.token_gate.clear()
    await control_plane.clock.advance(80)
    await runai.count_revisions(WORKLOAD)
    await turns()
    await runai.aclose()
    assert (control_plane.exchanges, caplog.records, control_plane.transport.closed) == (2, [], True)


async def test_closing_while_nothing_runs_is_quiet() -> None:
    control_plane = FakeServer()
    await control_plane.client().aclose()
    assert (control_plane.exchanges, control_plane.transport.closed) == (0, True)
