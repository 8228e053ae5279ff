"""The transport over aiohttp: broken connections and responses, timeouts, and the session's lifetime."""

import asyncio
import gc
import gzip
import re
import time
import traceback
import warnings
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest
from aioresponses import aioresponses
from support.ports import lasting_port
from support.servers import Reply, serving
from yarl import URL

from runai_async import (
    ApiError,
    AttemptTimeoutError,
    ClientCredentials,
    ClientOptions,
    ConfigurationError,
    DeadlineExceededError,
    HookEvent,
    RetryPolicy,
    RunaiClient,
    ServiceUnavailableError,
    TransportError,
)
from runai_async._clock import SystemClock
from runai_async._http.aiohttp_errors import map_error
from runai_async._http.aiohttp_transport import USER_AGENT, AiohttpTransport
from runai_async._http.messages import Request
from runai_async.testing import FakeClock, FakeControlPlane, Response

WORKLOAD = "3f0f1e0c-7d61-4c0e-9d4a-0d2f6f8f1b11"
BASE = "https://acme.run.ai"
COUNT_URL = f"{BASE}/api/v1/workloads/inferences/{WORKLOAD}/revisions/count"
ONCE = RetryPolicy(attempts=1)
COUNT = b'{"count": 2}'


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)


def response(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *headers, "", ""]).encode() + body


def whole(body: bytes, *headers: str) -> bytes:
    return response(body, f"Content-Length: {len(body)}", *headers)


async def forever() -> None:
    await asyncio.Event().wait()


# --- what is sent -----------------------------------------------------------------------------------------


async def test_a_request_has_the_token_the_agent_and_what_it_accepts(mock_aiohttp: aioresponses) -> None:
    mock_aiohttp.get(f"{COUNT_URL}?deleted=true", body=COUNT)
    async with RunaiClient(BASE, "abc", timeout=7) as runai:
        assert await runai.count_revisions(WORKLOAD, deleted=True) == 2
    ((_, url), (call,)) = next(iter(mock_aiohttp.requests.items()))
    assert url.query == {"deleted": "true"}
    assert call.kwargs["headers"] == {
        "User-Agent": USER_AGENT,
        "Accept": "application/json",
        "Accept-Encoding": "gzip, deflate",
        "Authorization": "Bearer abc",
    }
    assert call.kwargs["timeout"] == aiohttp.ClientTimeout()
    assert (call.kwargs["allow_redirects"], call.kwargs["ssl"]) == (False, True)


def test_headers_are_prepared_once_for_requests_that_share_a_mapping() -> None:
    transport, token = AiohttpTransport(SystemClock()), {"Authorization": "Bearer abc"}
    first, second, third, fourth, fifth = (
        transport._headers(Request("GET", URL(BASE), headers))
        for headers in (None, token, token, {"X-Mine": "yes"}, None)
    )
    assert second is third
    assert [headers.get("Authorization") for headers in (first, second, fourth)] == [None, "Bearer abc", None]
    assert (fourth["X-Mine"], fifth) == ("yes", first)


async def test_the_agent_names_package_and_versions_on_the_wire() -> None:
    async with (
        FakeControlPlane() as control_plane,
        RunaiClient(control_plane.url, control_plane.token) as runai,
    ):
        await runai.count_revisions(control_plane.add_workload())
    assert control_plane.requests[0].headers["User-Agent"].startswith("runai-async/")
    assert f" aiohttp/{aiohttp.__version__} Python/3." in control_plane.requests[0].headers["User-Agent"]


@pytest.mark.parametrize(
    ("status", "kind"), [(503, ServiceUnavailableError), (418, ApiError), (303, ApiError)]
)
async def test_a_status_is_an_error_of_its_class(
    mock_aiohttp: aioresponses, status: int, kind: type[ApiError]
) -> None:
    mock_aiohttp.get(COUNT_URL, status=status, body="<h1>no</h1>")
    async with RunaiClient(BASE, "abc", retry=ONCE) as runai:
        with pytest.raises(kind) as caught:
            await runai.count_revisions(WORKLOAD)
    assert (type(caught.value), caught.value.status) == (kind, status)


async def test_a_redirect_is_not_followed_and_its_query_is_not_shown() -> None:
    async with (
        FakeControlPlane() as control_plane,
        RunaiClient(control_plane.url, control_plane.token) as runai,
    ):
        target = f"{control_plane.url}/login?session=s3cret#part"
        control_plane.fail_next(1, 302, headers={"Location": target}, body="")
        with pytest.raises(ApiError) as caught:
            await runai.count_revisions(WORKLOAD, deleted=True)
    assert (len(control_plane.requests), caught.value.status) == (1, 302)
    assert f"redirects to {control_plane.url}/login;" in str(caught.value)
    assert ("s3cret" in str(caught.value), "?" in caught.value.url) == (False, False)


# --- unusable responses -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cause", "text"),
    [
        (aiohttp.ServerDisconnectedError(), "Server disconnected"),
        (aiohttp.ClientOSError(104, "Connection reset by peer"), "Connection reset by peer"),
        (aiohttp.ClientPayloadError(), "ClientPayloadError"),
        (OSError("no route"), "OSError: no route"),
        (aiohttp.InvalidURL("x"), "InvalidURL"),
        (ValueError("label too long"), "ValueError: label too long"),
    ],
)
async def test_what_aiohttp_raises_becomes_a_transport_error_with_its_cause(
    mock_aiohttp: aioresponses, cause: Exception, text: str
) -> None:
    mock_aiohttp.get(f"{COUNT_URL}?deleted=true", exception=cause)
    async with RunaiClient(BASE, "abc", retry=ONCE) as runai:
        with pytest.raises(TransportError) as caught:
            await runai.count_revisions(WORKLOAD, deleted=True)
    assert (caught.value.__cause__, caught.value.transient) == (cause, True)
    assert str(caught.value).startswith(f"GET {COUNT_URL}: ")
    assert text in str(caught.value)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"HTTP/1.1 200",
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        response(COUNT[:5], "Content-Length: 12"),
        response(b"c\r\n" + COUNT[:5], "Transfer-Encoding: chunked"),
        response(b"zz\r\n", "Transfer-Encoding: chunked"),
        response(b"", "Content-Length: many"),
        whole(b"not gzip", "Content-Encoding: gzip"),
    ],
    ids=["nothing", "half a head", "no HTTP", "half a body", "half a chunk", "no chunk", "length", "no gzip"],
)
async def test_a_response_that_is_broken_on_the_wire_is_a_transport_error(sent: bytes) -> None:
    async with serving(sent) as url, RunaiClient(url, "abc", retry=ONCE) as runai:
        with pytest.raises(TransportError) as caught:
            await runai.count_revisions(WORKLOAD, deleted=True)
    assert caught.value.transient
    assert "deleted=true" not in str(caught.value)


@pytest.mark.parametrize("kind", ["reset", "truncate"])
async def test_a_broken_connection_is_retried(kind: str) -> None:
    async with FakeControlPlane() as control_plane:
        control_plane.fault(kind, times=2)  # type: ignore[arg-type]
        async with RunaiClient(
            control_plane.url, control_plane.token, retry=RetryPolicy(wait_initial=0)
        ) as runai:
            assert await runai.count_revisions(control_plane.add_workload()) == 0


QUOTED = b'{"revisions": [{"environmentVariables": {"K": "s3cret"}}]}'


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        (QUOTED, "Bad status line|Expected HTTP/"),
        (whole(QUOTED, "Connection: close") + QUOTED, "Data after `Connection: close`"),
        (response(QUOTED, "Transfer-Encoding: chunked"), "Invalid character in chunk size"),
        (response(b"5\r\n" + QUOTED, "Transfer-Encoding: chunked"), "Expected LF after chunk data"),
        (response(b"", "X Echo s3cret"), "Invalid header token"),
        (response(b"", "Content-Length: s3cret"), "Invalid character in Content-Length"),
        (response(b"", "X-Echo: " + 2000 * "s3cret"), "Got more than 8190 bytes"),
        (response(b"", "X-Echo: s3cret")[:-2], "the response is not valid HTTP"),
        (response(QUOTED, "Content-Length: 99"), "Not enough data (to|for) satisfy content length header"),
        (whole(QUOTED, "Content-Encoding: gzip"), "the response body is not valid gzip"),
    ],
)
async def test_a_response_that_is_not_valid_http_is_not_quoted(sent: bytes, text: str) -> None:
    async with serving(sent) as url, RunaiClient(url, "t0ken", retry=ONCE) as runai:
        with pytest.raises(TransportError) as caught:
            await runai.list_revisions(WORKLOAD)
    error = caught.value
    shown = "".join(traceback.format_exception(error)) + repr(error) + repr(error.__cause__)
    assert (re.search(text, str(error)) is not None, "s3cret" in shown, "t0ken" in shown) == (
        True,
        False,
        False,
    )


async def test_a_refused_connection_is_a_transport_error() -> None:
    port = lasting_port()
    async with RunaiClient(f"http://127.0.0.1:{port}", "abc", retry=ONCE) as runai:
        with pytest.raises(TransportError, match=f"ClientConnectorError: .*127.0.0.1:{port}") as caught:
            await runai.count_revisions(WORKLOAD)
    assert "ssl" not in str(caught.value)


def tracing(error: Exception) -> aiohttp.TraceConfig:
    async def started(*_: object) -> None:
        raise error

    config = aiohttp.TraceConfig()
    config.on_request_start.append(started)
    return config


async def test_a_defect_in_a_session_is_raised_as_it_is() -> None:
    defect = RuntimeError("a defect of the caller's tracing")
    async with aiohttp.ClientSession(trace_configs=[tracing(defect)]) as session:
        with pytest.raises(RuntimeError) as caught:
            await RunaiClient(BASE, "abc", session=session).count_revisions(WORKLOAD)
    assert caught.value is defect
    assert caught.value.__cause__ is not defect


# --- bodies that are written unusually ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "sent",
    [
        whole(gzip.compress(COUNT) + bytes(100), "Content-Encoding: gzip"),
        whole(gzip.compress(COUNT), "Content-Encoding: gzip, identity"),
        whole(gzip.compress(COUNT), "Content-Encoding: gzip", "Content-Encoding: identity"),
        whole(b"\xef\xbb\xbf" + COUNT),
        whole(gzip.compress(b"\xef\xbb\xbf" + COUNT) + bytes(1), "Content-Encoding: identity, gzip"),
    ],
    ids=["padding", "identity", "two headers", "byte order mark", "all of it"],
)
async def test_a_body_that_is_written_unusually_is_read(sent: bytes) -> None:
    async with serving(sent) as url, RunaiClient(url, "abc", retry=ONCE) as runai:
        assert await runai.count_revisions(WORKLOAD) == 2


async def test_an_error_body_after_a_byte_order_mark_is_the_apis() -> None:
    body = b'\xef\xbb\xbf{"code": 404, "message": "no such workload"}'
    async with serving(response(body, status="404 Not Found")) as url, RunaiClient(url, "abc") as runai:
        with pytest.raises(ApiError) as caught:
            await runai.list_revisions(WORKLOAD)
    assert (caught.value.code, caught.value.message) == (404, "no such workload")


# --- long bodies ------------------------------------------------------------------------------------------

LONG = b'{"count": ' + b" " * 5000 + b"2}"


async def test_the_message_of_a_compressed_error_is_read() -> None:
    body = gzip.compress(b'{"code": 403, "message": "not yours"}')
    headers = [f"Content-Length: {len(body)}", "Content-Encoding: gzip"]
    async with (
        serving(response(body, *headers, status="403 Forbidden")) as url,
        RunaiClient(url, "abc") as runai,
    ):
        with pytest.raises(ApiError, match="not yours"):
            await runai.count_revisions(WORKLOAD)


@pytest.mark.parametrize(
    "sent",
    [
        whole(LONG),
        response(LONG),
        response(b"%x\r\n%s\r\n0\r\n\r\n" % (len(LONG), LONG), "Transfer-Encoding: chunked"),
        whole(gzip.compress(LONG), "Content-Encoding: gzip"),
        response(LONG, "Content-Length: 5012", status="500 Internal Server Error"),
    ],
    ids=["length", "no length", "chunked", "gzip", "an error's"],
)
async def test_a_body_has_a_maximum_length_however_it_is_sent(sent: bytes) -> None:
    async with serving(sent) as url:
        async with RunaiClient(url, "abc", max_body=len(LONG) - 1) as runai:
            with pytest.raises(TransportError, match=rf"longer than {len(LONG) - 1} bytes") as caught:
                await runai.count_revisions(WORKLOAD)
        assert caught.value.transient is False
        if b" 500 " not in sent:
            async with RunaiClient(url, "abc", max_body=len(LONG)) as runai:
                assert await runai.count_revisions(WORKLOAD) == 2


async def test_an_endless_body_is_given_up_at_the_maximum_length() -> None:
    sent = 0

    async def flood(_: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(response(b""))
        while True:
            writer.write(b" " * 2**16)
            await writer.drain()
            sent += 2**16

    async with serving(flood) as url, RunaiClient(url, "abc", max_body=2**20) as runai:
        with pytest.raises(TransportError, match="longer than 1048576 bytes"):
            await runai.count_revisions(WORKLOAD)
    assert sent < 2**26


async def test_a_gzip_bomb_is_not_decompressed() -> None:
    bomb = gzip.compress(b" " * 2**26)  # 64 MiB in 64 KiB
    async with serving(whole(bomb, "Content-Encoding: gzip")) as url, RunaiClient(url, "abc") as runai:
        with pytest.raises(TransportError, match="longer than 33554432 bytes") as caught:
            await runai.count_revisions(WORKLOAD)
    assert not caught.value.transient


# --- time -------------------------------------------------------------------------------------------------


async def drip(_: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(response(b"", "Content-Length: 1000"))
    while True:
        writer.write(b" ")
        await asyncio.sleep(0.01)


async def silent(_: bytes, __: asyncio.StreamWriter) -> None:
    await forever()


def wait_until(end: float) -> None:
    """Block the loop."""
    while (left := end - asyncio.get_running_loop().time()) > 0:
        time.sleep(left)


@pytest.mark.parametrize("reply", [drip, silent])
async def test_the_timeout_covers_the_whole_attempt(reply: Reply) -> None:
    async with serving(reply) as url, RunaiClient(url, "abc", timeout=0.1, retry=ONCE) as runai:
        with pytest.raises(AttemptTimeoutError, match=r"no complete response within 0\.1 s$") as caught:
            await runai.count_revisions(WORKLOAD)
    assert isinstance(caught.value, TimeoutError)


async def test_an_attempt_that_timed_out_is_repeated() -> None:
    async with FakeControlPlane() as control_plane:
        control_plane.fault("hang")
        policy = RetryPolicy(wait_initial=0)
        async with RunaiClient(control_plane.url, control_plane.token, timeout=0.2, retry=policy) as runai:
            assert await runai.count_revisions(control_plane.add_workload()) == 0
    assert len(control_plane.requests) == 2


async def test_the_deadline_cuts_an_attempt_in_flight() -> None:
    policy = RetryPolicy(deadline=0.1)
    async with serving(drip) as url, RunaiClient(url, "abc", retry=policy) as runai:
        with pytest.raises(DeadlineExceededError, match="the deadline passed with the attempt in flight"):
            await runai.count_revisions(WORKLOAD)


@pytest.mark.parametrize("reply", [drip, silent])
@pytest.mark.parametrize("times_out_first", [True, False])
async def test_a_call_that_is_cancelled_just_when_it_times_out_is_cancelled(
    reply: Reply, times_out_first: bool
) -> None:
    loop = asyncio.get_running_loop()
    async with serving(reply) as url, RunaiClient(url, "abc", timeout=0.2) as runai:
        task = asyncio.create_task(runai.count_revisions(WORKLOAD))
        loop.call_later(0.3 if times_out_first else 0.1, task.cancel)
        loop.call_later(
            0.05, wait_until, loop.time() + 0.4
        )  # so that both are due in the same iteration of the loop
        await asyncio.wait({task})
    assert task.cancelled()


async def test_nothing_is_sent_after_the_deadline(mock_aiohttp: aioresponses) -> None:
    transport = AiohttpTransport(SystemClock())
    with pytest.raises(DeadlineExceededError, match="passed before GET / was sent"):
        await transport.send(Request("GET", URL(BASE)), timeout=1, deadline=SystemClock.monotonic())
    await transport.aclose()
    assert mock_aiohttp.requests == {}


async def test_waiting_for_a_slot_does_not_count_against_the_timeout() -> None:
    async with FakeControlPlane() as control_plane:
        control_plane.latency = 0.04
        options: ClientOptions = {"timeout": 0.6, "retry": ONCE, "max_concurrency": 2}
        async with RunaiClient(control_plane.url, control_plane.token, **options) as runai:
            workload = control_plane.add_workload()
            counts = await asyncio.gather(*(runai.count_revisions(workload) for _ in range(48)))
    assert (counts, control_plane.max_in_flight) == ([0] * 48, 2)


async def test_the_deadline_counts_while_waiting_for_a_slot() -> None:
    async with FakeControlPlane() as control_plane:
        control_plane.fault("hang")
        async with RunaiClient(control_plane.url, control_plane.token, max_concurrency=1) as runai:
            first = asyncio.create_task(runai.count_revisions(WORKLOAD))
            while not control_plane.requests:
                await asyncio.sleep(0.001)
            hurried = runai.with_options(retry=RetryPolicy(deadline=0.05))
            with pytest.raises(DeadlineExceededError, match="waiting for a free slot; raise max_concurrency"):
                await hurried.count_revisions(WORKLOAD)
            first.cancel()
            await asyncio.wait([first])
            assert await runai.count_revisions(WORKLOAD) == 0  # the slot is free again
    assert len(control_plane.requests) == 2


async def test_a_request_that_is_not_queued_needs_no_slot() -> None:
    async with FakeControlPlane() as control_plane:
        control_plane.fault("hang")
        transport = AiohttpTransport(SystemClock(), max_concurrency=1)
        url, deadline = URL(control_plane.url).joinpath("openapi.json"), SystemClock.monotonic() + 9
        hanging = asyncio.create_task(transport.send(Request("GET", url), timeout=9, deadline=deadline))
        while not control_plane.requests:
            await asyncio.sleep(0.001)
        token = Request("POST", URL(control_plane.url).joinpath("api/v1/token"), body=b"{}", queued=False)
        assert (await transport.send(token, timeout=9, deadline=deadline)).status == 400
        hanging.cancel()
        await asyncio.wait([hanging])
        await transport.aclose()


# --- the session's lifetime -------------------------------------------------------------------------------


async def test_calls_that_begin_at_once_share_one_session() -> None:
    async with FakeControlPlane() as control_plane:
        transport = AiohttpTransport(SystemClock())
        headers = {"Authorization": f"Bearer {control_plane.token}"}
        request = Request("GET", URL(control_plane.url).joinpath("openapi.json"), headers)
        deadline = SystemClock.monotonic() + 30
        await asyncio.gather(*(transport.send(request, timeout=9, deadline=deadline) for _ in range(5)))
        await transport.aclose()
    assert len(control_plane.requests) == 5


def test_a_client_belongs_to_the_loop_of_its_first_use(mock_aiohttp: aioresponses) -> None:
    mock_aiohttp.get(COUNT_URL, body=COUNT, repeat=True)
    runai = RunaiClient(BASE, "abc")
    with asyncio.Runner() as one, asyncio.Runner() as other:
        assert one.run(runai.count_revisions(WORKLOAD)) == 2
        with pytest.raises(RuntimeError, match="bound to another event loop; make one client in each loop"):
            other.run(runai.count_revisions(WORKLOAD))
        assert one.run(runai.count_revisions(WORKLOAD)) == 2
        one.run(runai.aclose())


async def test_a_closed_client_says_so(mock_aiohttp: aioresponses) -> None:
    mock_aiohttp.get(COUNT_URL, body=COUNT)
    runai = RunaiClient(BASE, "abc")
    assert await runai.count_revisions(WORKLOAD) == 2
    for _ in range(2):
        await runai.aclose()
    with pytest.raises(RuntimeError, match="the client is closed; make a new one"):
        await runai.count_revisions(WORKLOAD)
    assert await RunaiClient(BASE, "abc").aclose() is None  # type: ignore[func-returns-value]  # never used


async def test_closing_ends_a_request_in_flight() -> None:
    arrived = asyncio.Event()

    async def hold(_: bytes, __: asyncio.StreamWriter) -> None:
        arrived.set()
        await forever()

    async with serving(hold) as url:
        runai = RunaiClient(url, "abc", retry=ONCE)
        call = asyncio.create_task(runai.count_revisions(WORKLOAD))
        await arrived.wait()
        await runai.aclose()
        async with asyncio.timeout(5):
            with pytest.raises(TransportError):
                await call


async def test_closing_ends_a_call_that_is_connecting(monkeypatch: pytest.MonkeyPatch) -> None:
    connecting = asyncio.Event()

    async def resolve(*_: object, **__: object) -> list[object]:
        connecting.set()
        await forever()
        return []

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
    runai = RunaiClient("https://acme.example", "abc", retry=ONCE, trust_env=False)
    call = asyncio.create_task(runai.count_revisions(WORKLOAD))
    await connecting.wait()
    await runai.aclose()
    async with asyncio.timeout(5):
        with pytest.raises(TransportError):
            await call


class Connecting(aiohttp.TCPConnector):
    """A connector that, once it is closed, cancels whoever waits for a connection, as some versions do."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting = asyncio.get_running_loop().create_future()
        self.began = asyncio.Event()

    async def connect(self, *_: object, **__: object) -> aiohttp.connector.Connection:
        self.began.set()
        await self.waiting
        raise AssertionError


@pytest.mark.parametrize("by_caller", [False, True])
async def test_a_call_that_nobody_cancelled_is_not_cancelled_when_its_client_closes(by_caller: bool) -> None:
    connector = Connecting()
    session = aiohttp.ClientSession(connector=connector)
    runai = RunaiClient(BASE, "abc", session=session, retry=ONCE)
    call = asyncio.create_task(runai.count_revisions(WORKLOAD))
    await connector.began.wait()
    await (session.close() if by_caller else runai.aclose())
    connector.waiting.cancel()
    with pytest.raises(TransportError, match=r"/count: the client was closed$"):
        await call
    await session.close()


@pytest.mark.parametrize("closed", [False, True])
async def test_a_call_that_is_cancelled_while_it_connects_is_cancelled(closed: bool) -> None:
    connector = Connecting()
    async with aiohttp.ClientSession(connector=connector) as session:
        runai = RunaiClient(BASE, "abc", session=session, retry=ONCE)
        call = asyncio.create_task(runai.count_revisions(WORKLOAD))
        await connector.began.wait()
        if closed:
            await runai.aclose()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call


@pytest.mark.parametrize("raised", [AttributeError("no connector"), RuntimeError("Session is closed")])
async def test_an_internal_error_of_aiohttp_is_a_defect_unless_the_session_was_closed(
    raised: Exception,
) -> None:
    request = Request("GET", URL(COUNT_URL))
    expected = (
        ("TransportError", f"GET {COUNT_URL}: the client was closed")
        if isinstance(raised, AttributeError)
        else ("RuntimeError", "the client's session is closed; make a new client")
    )
    async with aiohttp.ClientSession() as session:
        assert map_error(raised, request, 1, cut=False, session=session) is raised
    for closed in (session, None):
        shown = map_error(raised, request, 1, cut=False, session=closed)
        assert (type(shown).__name__, str(shown)) == expected


def dropped(runai: list[RunaiClient]) -> list[str]:
    """Drop clients without closing them, and return the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        runai.clear()
        gc.collect()
    return [f"{warning.category.__name__}: {warning.message}" for warning in caught]


async def test_a_client_that_was_not_closed_warns_once() -> None:
    async with FakeControlPlane() as control_plane:
        clients = [RunaiClient(control_plane.url, control_plane.token)]
        await clients[0].count_revisions(WORKLOAD)
        (warning,) = dropped(clients)
    assert warning.startswith("ResourceWarning: a RunaiClient was not closed: use `async with`, or await")


async def test_a_client_that_was_closed_or_never_used_or_has_a_session_of_the_callers_does_not_warn() -> None:
    async with FakeControlPlane() as control_plane, aiohttp.ClientSession() as session:
        clients = [RunaiClient(control_plane.url, control_plane.token) for _ in range(2)]
        clients.append(RunaiClient(control_plane.url, control_plane.token, session=session))
        for runai in clients[1:]:
            await runai.count_revisions(WORKLOAD)
        await clients[1].aclose()
        del runai
        assert dropped(clients) == []


# --- the age of connections -------------------------------------------------------------------------------


class Moving:
    """A name that several servers have had, one after the other; all of them live on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, ports: list[int]) -> None:
        self.at = 0
        resolve = asyncio.get_running_loop().getaddrinfo

        async def getaddrinfo(_: str, __: int, **options: object) -> object:
            return await resolve("127.0.0.1", ports[self.at], **options)  # type: ignore[arg-type]

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)


async def test_a_name_that_moved_is_followed_though_the_old_server_lives_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with FakeControlPlane() as old, FakeControlPlane() as new:
        name, clock = Moving(monkeypatch, [old.port, new.port]), FakeClock()
        async with RunaiClient(
            "http://acme.example",
            old.token,
            allow_http=True,
            trust_env=False,
            clock=clock,
            retry=RetryPolicy(attempts=1),
        ) as runai:

            async def asked() -> tuple[int, int]:
                with suppress(ApiError):  # the new one does not know the token
                    await runai.count_revisions(WORKLOAD)
                return len(old.requests), len(new.requests)

            assert await asked() == (1, 0)
            name.at = 1
            await clock.advance(299)
            assert await asked() == (2, 0)
            await clock.advance(1)
            assert await asked() == (2, 1)
            await clock.advance(299)
            assert await asked() == (2, 2)


def send_to(transport: AiohttpTransport, control_plane: FakeControlPlane) -> Coroutine[None, None, Response]:
    request = Request("GET", URL(control_plane.url).joinpath("openapi.json"))
    return transport.send(request, timeout=30, deadline=1e9)


async def test_requests_in_flight_finish_on_connections_that_have_come_of_age() -> None:
    clock, arrived, gate = FakeClock(), asyncio.Event(), asyncio.Event()

    async def reply(_: bytes, writer: asyncio.StreamWriter) -> None:
        if not arrived.is_set():
            arrived.set()
            await gate.wait()
        writer.write(whole(COUNT))

    async with serving(reply) as url:
        transport, request = AiohttpTransport(clock, max_age=10), Request("GET", URL(url))
        first = asyncio.create_task(transport.send(request, timeout=30, deadline=100))
        await arrived.wait()
        in_use = transport._pool
        for _ in range(3):
            await clock.advance(10)
            assert (await transport.send(request, timeout=30, deadline=100)).body == COUNT
            assert transport._retired == [in_use]  # the others had nothing in flight, and are closed
        gate.set()
        assert (await first).body == COUNT
        await clock.advance(10)
        await transport.send(request, timeout=30, deadline=100)
        assert (transport._retired, in_use and in_use.session.closed) == ([], True)
        await transport.aclose()


async def test_closing_closes_the_session_in_use_and_those_replaced() -> None:
    clock = FakeClock()
    async with FakeControlPlane() as control_plane:
        transport = AiohttpTransport(clock, max_age=10)
        control_plane.fault("hang")
        hanging = asyncio.create_task(send_to(transport, control_plane))
        while not control_plane.requests:
            await asyncio.sleep(0.001)
        await clock.advance(10)
        await send_to(transport, control_plane)
        pools = [*transport._retired, transport._pool]
        await transport.aclose()
        assert [pool and pool.session.closed for pool in pools] == [True, True]
        with pytest.raises(TransportError):
            await hanging


async def test_a_session_of_the_callers_is_not_replaced() -> None:
    clock = FakeClock()
    async with FakeControlPlane() as control_plane, aiohttp.ClientSession() as session:
        transport = AiohttpTransport(clock, session=session, max_age=10)
        for _ in range(3):
            await send_to(transport, control_plane)
            await clock.advance(10)
        assert (transport._pool and transport._pool.session, transport._retired) == (session, [])
        await transport.aclose()


async def test_a_client_that_was_not_closed_warns_once_however_many_sessions_it_had() -> None:
    clock = FakeClock()
    async with FakeControlPlane() as control_plane:
        clients = [RunaiClient(control_plane.url, control_plane.token, clock=clock)]
        for _ in range(2):
            await clients[0].count_revisions(WORKLOAD)
            await clock.advance(300)
        (warning,) = dropped(clients)
    assert warning.startswith("ResourceWarning: a RunaiClient was not closed")


async def test_a_call_that_waited_for_its_slot_until_the_client_closed_says_so() -> None:
    async with FakeControlPlane() as control_plane:
        control_plane.fault("hang")
        runai = RunaiClient(control_plane.url, control_plane.token, max_concurrency=1, retry=ONCE)
        calls = [asyncio.create_task(runai.count_revisions(WORKLOAD)) for _ in range(2)]
        while not control_plane.requests:
            await asyncio.sleep(0.001)
        await runai.aclose()
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(outcome).__name__ for outcome in outcomes] == ["TransportError", "RuntimeError"]
    assert str(outcomes[1]) == "the client's session is closed; make a new client"


# --- credentials of the session's -------------------------------------------------------------------------


@pytest.fixture
def netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "netrc"
    path.write_text("machine 127.0.0.1 login somebody password s3cret\n", encoding="utf-8")
    path.chmod(0o600)
    monkeypatch.setenv("NETRC", str(path))


@pytest.mark.usefixtures("netrc")
@pytest.mark.parametrize("kind", ["token", "credentials"])
async def test_a_session_that_adds_credentials_is_a_configuration_error(kind: str) -> None:
    events: list[HookEvent] = []
    async with FakeControlPlane() as control_plane, aiohttp.ClientSession(trust_env=True) as session:
        auth = ClientCredentials(control_plane.client_id, control_plane.client_secret)
        runai = RunaiClient(
            control_plane.url,
            control_plane.token if kind == "token" else auth,
            session=session,
            hooks=[events.append],
            trust_env=False,
        )
        with pytest.raises(ConfigurationError, match=r"pass a session without$") as caught:
            await runai.count_revisions(WORKLOAD)
    assert "entry for 127.0.0.1 in the netrc file" in str(caught.value)
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))
    assert "RetryScheduled" not in [type(event).__name__ for event in events]
    assert len(control_plane.requests) <= 1  # some versions of aiohttp send it, with the other credentials


async def test_a_session_that_trusts_the_environment_is_used_where_netrc_has_no_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    headers = {"Authorization": "Bearer of-the-session"}
    async with (
        FakeControlPlane() as control_plane,
        aiohttp.ClientSession(trust_env=True, headers=headers) as session,
    ):
        auth = ClientCredentials(control_plane.client_id, control_plane.client_secret)
        runai = RunaiClient(control_plane.url, auth, session=session)
        assert await runai.count_revisions(WORKLOAD) == 0


@pytest.mark.usefixtures("netrc")
async def test_a_session_of_our_own_reads_no_netrc(control_plane: FakeControlPlane) -> None:
    async with RunaiClient(control_plane.url, control_plane.token) as runai:
        assert await runai.count_revisions(WORKLOAD) == 0
