"""Tokens that are passed in, read from files or provided; the repeat after a 401; what errors never show."""

import asyncio
import json
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from yarl import URL

from runai_async import (
    ApiError,
    AttemptTimeoutError,
    AuthenticationError,
    CliCredentials,
    ClientCredentials,
    ConfigurationError,
    DeadlineExceededError,
    DecodeError,
    NotFoundError,
    PermissionDeniedError,
    RetryPolicy,
    RunaiClient,
    RunaiError,
    StaticToken,
    TokenProvider,
    TransportError,
)
from runai_async._auth.sources import TokenSource, token_source
from runai_async._auth.transport import Authenticated
from runai_async.hooks import Hooks
from runai_async.testing import FakeClock, FakeTransport, Request, Response

WORKLOAD = "3f0f1e0c-7d61-4c0e-9d4a-0d2f6f8f1b11"
ONCE = RetryPolicy(attempts=1)
COUNT = Response(body=b'{"count": 2}')
REJECTED = Response(401, body=b'{"code": 401, "message": "the token has expired"}')


def client_of(auth: object, transport: FakeTransport, clock: FakeClock | None = None) -> RunaiClient:
    return RunaiClient(
        "https://acme.run.ai",
        auth,  # type: ignore[arg-type]  # some of the tests pass what is not an auth
        retry=ONCE,
        transport=transport,
        clock=clock or FakeClock(),
    )


async def count_twice(auth: object, transport: FakeTransport) -> int:
    """Count, let half a minute pass, in which the token becomes old, and count again."""
    clock = FakeClock()
    runai = client_of(auth, transport, clock)
    assert await runai.count_revisions(WORKLOAD) == 2
    await clock.advance(30)
    return await runai.count_revisions(WORKLOAD)


def source_of(auth: CliCredentials | str) -> TokenSource:
    return token_source(
        auth, URL("https://acme.run.ai/"), FakeTransport(), FakeClock(), hooks=Hooks(), timeout=1.0
    )


def bearers(transport: FakeTransport) -> list[str]:
    return [request.headers["Authorization"] for request in transport.requests]


def shown(error: BaseException | None) -> str:
    """Return everything that an error shows: its text, its attributes, and what it was raised from."""
    if error is None:
        return ""
    return f"{error} {error!r} {vars(error)} {shown(error.__cause__)}"


def log_in(folder: Path, token: object, url: object = "https://acme.run.ai") -> CliCredentials:
    (folder / "authentication.json").write_text(json.dumps({"accessToken": token}))
    (folder / "config.json").write_text(json.dumps({"control_plane": {"url": url}}))
    return CliCredentials(folder)


class Provider:
    """A user's provider: returns the next of its tokens whenever one was rejected."""

    def __init__(self, tokens: Iterable[object]) -> None:
        self.left = list(tokens)
        self.asked = 0
        self.rejected: list[str] = []

    async def get_token(self) -> str:
        self.asked += 1
        if isinstance(self.left[0], BaseException):
            raise self.left[0]
        return self.left[0]  # type: ignore[return-value]  # some of the tests return what is not a token

    def invalidate(self, token: str) -> None:
        self.rejected.append(token)
        if len(self.left) > 1:
            self.left.pop(0)


# --- a token that is passed in ----------------------------------------------------------------------------


@pytest.mark.parametrize("auth", ["abc", StaticToken("abc")])
async def test_a_token_is_sent_as_bearer(auth: object) -> None:
    transport = FakeTransport([COUNT])
    assert await client_of(auth, transport).count_revisions(WORKLOAD) == 2
    assert bearers(transport) == ["Bearer abc"]


async def test_a_token_that_was_rejected_is_not_tried_again() -> None:
    transport = FakeTransport([REJECTED])
    with pytest.raises(AuthenticationError) as caught:
        await client_of("abc", transport).count_revisions(WORKLOAD)
    assert (caught.value.message, caught.value.attempts) == ("the token has expired", 1)
    assert bearers(transport) == ["Bearer abc"]


async def test_a_static_token_is_a_provider() -> None:
    token = StaticToken("abc")
    assert isinstance(token, TokenProvider)
    token.invalidate("abc")
    assert await token.get_token() == "abc"


async def test_the_source_of_a_fixed_token_returns_it_without_waiting() -> None:
    source = source_of("abc")
    source.invalidate("abc")
    assert (source.current(), await source.get_token()) == ("abc", "abc")
    await source.aclose()


@pytest.mark.parametrize("secret", ["", "secret word", "secret\nX-Admin: 1", "secrét", b"secret", None])
def test_a_secret_that_does_not_fit_into_a_header_is_rejected_and_not_shown(secret: str) -> None:
    makers: list[tuple[str, Callable[[], object]]] = [
        ("token", lambda: StaticToken(secret)),
        ("client_id", lambda: ClientCredentials(secret, "s")),
        ("client_secret", lambda: ClientCredentials("i", secret)),
    ]
    if isinstance(secret, str):
        makers.append(("auth", lambda: client_of(secret, FakeTransport())))
    for name, make in makers:
        with pytest.raises(ConfigurationError, match=f"^{name} must be ") as caught:
            make()
        assert not secret or str(secret) not in str(caught.value)


def test_an_unknown_token_api_is_rejected() -> None:
    with pytest.raises(ConfigurationError, match="api must be 'auto', 'v1' or 'v2', not 'v3'"):
        ClientCredentials("id", "secret", api="v3")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("url", "text"),
    [
        (5, "token_url must be a str, not int"),
        ("", "token_url must start with https:// and name a host, like https://login"),
        ("login.example/s3cret", "token_url must start with https://"),
        ("https://me:s3cret@login.example", "token_url must not contain a user or password"),
        ("https://login.example:99999/s3cret", "token_url is not a URL|token_url has a port"),
        ("https://login.example/#s3cret", "token_url must not have a fragment"),
        ("http://login.example/s3cret", "token_url is plain http to login.example.*; use https$"),
        ("https://login.example:s3cret", "token_url is not a URL"),
    ],
)
def test_a_token_endpoint_that_the_secret_should_not_go_to_is_rejected(url: object, text: str) -> None:
    with pytest.raises(ConfigurationError, match=text) as caught:
        ClientCredentials("id", "secret", token_url=url)  # type: ignore[arg-type]
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["https://login.example/token?tenant=a", "http://127.0.0.1:8080/token", "http://localhost/token"]
)
def test_a_token_endpoint_elsewhere_is_https_or_on_this_machine(url: str) -> None:
    assert ClientCredentials("id", "secret", token_url=url).token_url == url


def test_a_token_endpoint_elsewhere_is_not_of_the_apis_older_kind() -> None:
    with pytest.raises(ConfigurationError, match="leave out api='v1'"):
        ClientCredentials("id", "secret", api="v1", token_url="https://login.example/token")


@pytest.mark.parametrize("auth", [None, 5, object(), Provider, b"abc"])
def test_an_unusable_auth_is_rejected_by_its_type(auth: object) -> None:
    with pytest.raises(ConfigurationError, match=f"not {type(auth).__name__}$"):
        client_of(auth, FakeTransport())


def test_a_repr_shows_no_secret() -> None:
    assert repr(StaticToken("abc")) == "StaticToken()"
    assert (
        repr(ClientCredentials("id", "abc"))
        == "ClientCredentials(client_id='id', api='auto', token_url=None)"
    )
    assert repr(client_of("abc", FakeTransport())) == "<RunaiClient https://acme.run.ai/>"


# --- the header -------------------------------------------------------------------------------------------


class Keeping:
    """A transport that keeps the requests as they were passed to it."""

    def __init__(self) -> None:
        self.requests: list[Request] = []

    async def send(self, request: Request, *, timeout: float, deadline: float) -> Response:
        self.requests.append(request)
        return COUNT

    async def aclose(self) -> None:
        raise AssertionError


async def test_a_request_is_passed_on_with_the_token_beside_its_own_headers() -> None:
    below = Keeping()
    transport = Authenticated(below, source_of("abc"), FakeClock())
    request = Request("POST", URL("https://acme.run.ai/x"), {"X-Mine": "yes"}, b"body", queued=False)
    await transport.send(request, timeout=1, deadline=1)
    headers = {"X-Mine": "yes", "Authorization": "Bearer abc"}
    assert below.requests == [Request(request.method, request.url, headers, b"body", queued=False)]
    assert request.headers == {"X-Mine": "yes"}


async def test_requests_without_headers_share_one_mapping_for_the_transport_to_prepare_once() -> None:
    below, provider = Keeping(), Provider(["one"])
    source = token_source(provider, URL(), below, FakeClock(), hooks=Hooks(), timeout=1.0)
    transport = Authenticated(below, source, FakeClock())
    for token in ("one", "one", "two"):
        provider.left = [token]
        await transport.send(Request("GET", URL("https://acme.run.ai/x")), timeout=1, deadline=1)
    first, second, third = (request.headers for request in below.requests)
    assert first is second
    assert (first, third) == ({"Authorization": "Bearer one"}, {"Authorization": "Bearer two"})


# --- a login of the vendor's command line -----------------------------------------------------------------


async def test_a_login_is_read_at_first_use_and_kept(tmp_path: Path) -> None:
    transport = FakeTransport([COUNT, COUNT])
    runai = client_of(log_in(tmp_path, "one."), transport)
    await runai.count_revisions(WORKLOAD)
    log_in(tmp_path, "two.")
    await runai.count_revisions(WORKLOAD)
    await runai.aclose()
    assert bearers(transport) == ["Bearer one.", "Bearer one."]


async def test_a_new_login_is_picked_up_when_the_old_token_is_rejected(tmp_path: Path) -> None:
    async def log_in_again(_: object) -> Response:
        await asyncio.to_thread(log_in, tmp_path, "two.")
        return REJECTED

    transport = FakeTransport([COUNT, log_in_again, COUNT])
    assert await count_twice(log_in(tmp_path, "one."), transport) == 2
    assert bearers(transport) == ["Bearer one.", "Bearer one.", "Bearer two."]


async def test_the_same_login_is_not_tried_twice(tmp_path: Path) -> None:
    transport = FakeTransport([COUNT, REJECTED])
    with pytest.raises(AuthenticationError):
        await count_twice(log_in(tmp_path, "one."), transport)
    assert bearers(transport) == ["Bearer one."] * 2


async def test_a_login_is_dropped_only_for_its_own_token(tmp_path: Path) -> None:
    source = source_of(log_in(tmp_path, "two."))
    assert await source.get_token() == "two."
    source.invalidate("one.")
    assert source.current() == "two."
    source.invalidate("two.")
    assert source.current() is None


# --- a user's provider ------------------------------------------------------------------------------------


async def test_a_provider_is_asked_for_every_request() -> None:
    transport, provider = FakeTransport([COUNT, COUNT]), Provider(["one"])
    runai = client_of(provider, transport)
    await runai.count_revisions(WORKLOAD)
    provider.left = ["two"]
    await runai.count_revisions(WORKLOAD)
    await runai.aclose()
    assert (bearers(transport), provider.rejected) == (["Bearer one", "Bearer two"], [])


async def test_a_provider_learns_which_token_was_rejected_and_returns_another() -> None:
    transport, provider = FakeTransport([COUNT, REJECTED, COUNT]), Provider(["one", "two"])
    assert await count_twice(provider, transport) == 2
    assert bearers(transport) == ["Bearer one", "Bearer one", "Bearer two"]
    assert provider.rejected == ["one"]


async def test_a_provider_that_returns_the_rejected_token_again_is_not_tried_again() -> None:
    transport, provider = FakeTransport([COUNT, REJECTED]), Provider(["one"])
    with pytest.raises(AuthenticationError):
        await count_twice(provider, transport)
    assert (bearers(transport), provider.asked) == (["Bearer one"] * 2, 3)


async def test_a_403_does_not_invalidate_the_token() -> None:
    transport, provider = FakeTransport([Response(403)]), Provider(["one", "two"])
    with pytest.raises(PermissionDeniedError):
        await client_of(provider, transport).count_revisions(WORKLOAD)
    assert (bearers(transport), provider.rejected) == (["Bearer one"], [])


async def test_a_request_with_a_rejected_token_is_repeated_only_once() -> None:
    transport, provider = FakeTransport([COUNT, REJECTED, REJECTED]), Provider(["one", "two", "three"])
    with pytest.raises(AuthenticationError):
        await count_twice(provider, transport)
    assert bearers(transport) == ["Bearer one", "Bearer one", "Bearer two"]


@pytest.mark.parametrize("cause", [ValueError("secret"), TimeoutError("secret"), KeyError("secret")])
async def test_a_provider_that_fails_is_a_transport_error_that_does_not_quote_it(cause: Exception) -> None:
    transport = FakeTransport()
    with pytest.raises(TransportError) as caught:
        await client_of(Provider([cause]), transport).count_revisions(WORKLOAD)
    assert str(caught.value) == f"the token provider failed: {type(cause).__name__}"
    assert (caught.value.__cause__, transport.requests) == (cause, [])


@pytest.mark.parametrize("kind", [NotFoundError, PermissionDeniedError])
async def test_an_api_error_of_a_provider_is_not_taken_for_one_of_the_call(
    kind: type[ApiError],
) -> None:
    failed = kind(404, "no such secret", code=404)
    with pytest.raises(TransportError, match=f"^the token provider failed: {kind.__name__}$") as caught:
        await client_of(Provider([failed]), FakeTransport()).count_revisions(WORKLOAD)
    assert caught.value.__cause__ is failed


async def test_a_provider_that_fails_to_invalidate_is_a_transport_error_too() -> None:
    class Forgetful(Provider):
        def invalidate(self, token: str) -> None:
            raise KeyError(token)

    with pytest.raises(TransportError, match=r"^the token provider failed: KeyError$"):
        await count_twice(Forgetful(["one"]), FakeTransport([COUNT, REJECTED]))


@pytest.mark.parametrize("error", [ConfigurationError("log in"), AttemptTimeoutError("the vault is slow")])
async def test_a_provider_may_raise_errors_of_ours(error: RunaiError) -> None:
    with pytest.raises(type(error)) as caught:
        await client_of(Provider([error]), FakeTransport()).count_revisions(WORKLOAD)
    assert caught.value is error


async def test_a_provider_may_be_cancelled() -> None:
    with pytest.raises(asyncio.CancelledError):
        await client_of(Provider([asyncio.CancelledError()]), FakeTransport()).count_revisions(WORKLOAD)


@pytest.mark.parametrize("token", [None, b"one", "", "o\nne"])
async def test_a_provider_that_returns_no_usable_token_is_a_configuration_error(token: object) -> None:
    transport = FakeTransport()
    with pytest.raises(ConfigurationError, match="the provider's token must be"):
        await client_of(Provider([token]), transport).count_revisions(WORKLOAD)
    assert transport.requests == []


async def test_the_deadline_covers_a_provider_that_hangs() -> None:
    class Hanging(Provider):
        async def get_token(self) -> str:
            await asyncio.Event().wait()
            raise AssertionError

    runai = client_of(Hanging([]), FakeTransport()).with_options(retry=RetryPolicy(deadline=0.02))
    with pytest.raises(DeadlineExceededError, match="while waiting for a token"):
        await runai.count_revisions(WORKLOAD)


async def test_a_provider_may_explain_why_it_was_late() -> None:
    class Explaining(Provider):
        async def get_token(self) -> str:
            try:
                await asyncio.Event().wait()
            finally:
                raise AttemptTimeoutError("the vault is sealed")

    runai = client_of(Explaining([]), FakeTransport()).with_options(
        retry=RetryPolicy(deadline=0.02, attempts=1)
    )
    with pytest.raises(AttemptTimeoutError, match="the vault is sealed"):
        await runai.count_revisions(WORKLOAD)


# --- a server that quotes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("response", "kind"),
    [
        (Response(401, body=b'{"code": 401, "message": "no: abc&xyz"}'), AuthenticationError),
        (Response(403, body=b'{"code": 403, "message": "no", "details": "Bearer abc&xyz"}'), ApiError),
        (Response(400, body=b"<p>Bearer abc&xyz</p>"), ApiError),
        # as Go, PHP and others write it in JSON
        (Response(400, body=b'{"code": 400, "message": "no: abc\\u0026xyz"}'), ApiError),
        (Response(503, headers={"X-Echo": "Bearer abc&xyz"}), ApiError),
        (Response(302, headers={"Location": "https://other/login/abc&xyz"}), ApiError),
        (Response(200, body=b"<p>Bearer abc&xyz</p>"), DecodeError),
    ],
    ids=["message", "details", "text", "escaped", "header", "redirect", "not JSON"],
)
async def test_a_token_that_the_server_quotes_is_in_no_error(
    response: Response, kind: type[RunaiError]
) -> None:
    with pytest.raises(kind) as caught:
        await client_of("abc&xyz", FakeTransport([response])).count_revisions(WORKLOAD)
    assert "abc&xyz" not in shown(caught.value)


async def test_neither_token_is_shown_when_both_are_rejected_and_quoted() -> None:
    responses = [
        Response(401, body=f'{{"code": 401, "message": "{name}"}}'.encode()) for name in ("k1!", "k2!")
    ]
    with pytest.raises(AuthenticationError, match=r"401 \*\*\*") as caught:
        await client_of(Provider(["k1!", "k2!"]), FakeTransport(responses)).count_revisions(WORKLOAD)
    assert [name for name in ("k1!", "k2!") if name in shown(caught.value)] == []
