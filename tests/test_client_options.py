"""The client's arguments: URLs, numbers, TLS, proxies, sessions; and its calls."""

import asyncio
import base64
import inspect
import json
import math
import ssl
import threading
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, get_type_hints

import aiohttp
import pytest
import trustme
from yarl import URL

from runai_async import (
    ClientCredentials,
    ClientOptions,
    ConfigurationError,
    NotFoundError,
    Phase,
    RetryPolicy,
    RunaiClient,
    TransportError,
    to_json,
)
from runai_async._arguments import check_timeout
from runai_async._http.addresses import environment_proxy
from runai_async._http.authorities import Authorities
from runai_async.testing import FakeControlPlane, FakeTransport, Response

WORKLOAD = "3f0f1e0c-7d61-4c0e-9d4a-0d2f6f8f1b11"
ONCE = RetryPolicy(attempts=1)
COUNT = Response(body=b'{"count": 2}')


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return path


@pytest.fixture
async def secure(authority: trustme.CA) -> AsyncIterator[FakeControlPlane]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    async with FakeControlPlane(ssl_context=context) as control_plane:
        yield control_plane


@asynccontextmanager
async def proxying(response: bytes) -> AsyncIterator[tuple[str, list[str]]]:
    """Serve as a proxy that responds by itself; yield its address and the heads of the requests it got."""
    heads: list[str] = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
            writer.write(response)
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", heads


PROXIED = b'HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{"count": 7}'

# --- what is rejected -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"timeout": 0}, "timeout must be a positive number, not 0"),
        ({"timeout": "5"}, "timeout must be a number, not str"),
        ({"max_body": True}, "max_body must be a whole number, not bool"),
        ({"max_concurrency": 1.5}, "max_concurrency must be a whole number, not float"),
        ({"max_concurrency": float("nan")}, "max_concurrency must be a whole number, not float"),
        ({"max_concurrency": None}, "max_concurrency must be a whole number, not NoneType"),
        ({"retry": 3}, "retry must be a RetryPolicy, like RetryPolicy(attempts=3), not int"),
        ({"timeout": float("inf")}, "timeout must be a positive number and finite, not inf"),
        ({"timeout": float("nan")}, "timeout must be a positive number, not nan"),
        ({"max_concurrency": 0}, "max_concurrency must be at least 1, not 0"),
        ({"max_body": 0}, "max_body must be at least 1, not 0"),
        ({"ca_file": "x", "ssl_context": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)}, "ssl_context or ca_file"),
        ({"proxy": "socks5://s3cret@host:1"}, "must be an http:// or https:// URL"),
        ({"proxy": "ftp://proxy.example:3128"}, "must be an http:// or https:// URL"),
        ({"proxy": "http://"}, "must be an http:// or https:// URL"),
        ({"proxy": "http://s3cret@host:port"}, "proxy is not a URL"),
        ({"proxy": 5}, "proxy is not a URL"),
    ],
)
def test_an_unusable_option_is_rejected_by_name(options: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        RunaiClient("https://acme.run.ai", "token", **options)  # type: ignore[arg-type]
    assert text in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_plain_http_is_for_loopback_unless_it_is_allowed() -> None:
    with pytest.raises(ConfigurationError, match="plain http to acme"):
        RunaiClient("http://acme.run.ai", "token")
    assert "http://acme.run.ai/" in repr(RunaiClient("http://acme.run.ai", "token", allow_http=True))
    assert "http://[::1]:8080/" in repr(RunaiClient(URL("http://[::1]:8080"), "token"))


def test_a_copy_with_an_unusable_timeout_is_rejected() -> None:
    with pytest.raises(ConfigurationError, match="timeout must be"):
        RunaiClient("https://acme.run.ai", "token").with_options(timeout=-1)


@pytest.mark.parametrize("name", ["max_concurrency", "rate_limit", "buffer", "discovery_interval"])
@pytest.mark.parametrize("number", [0, -1, float("nan"), None, "5"])
def test_a_fleet_rejects_unusable_numbers(name: str, number: Any) -> None:
    runai = RunaiClient("https://acme.run.ai", "token")
    if (name, number) == ("rate_limit", None):
        runai.watch_fleet([], rate_limit=None)  # no limit
    else:
        right = int if name in {"max_concurrency", "buffer"} else int | float
        error = ValueError if isinstance(number, right) else TypeError
        with pytest.raises(error, match=f"^{name} must be (a|at least)"):
            runai.watch_fleet([], **{name: number})


@pytest.mark.parametrize("timeout", [None, math.inf])
def test_a_wait_may_last_for_ever(timeout: float | None) -> None:
    assert check_timeout(timeout) == math.inf


@pytest.mark.parametrize("poll", [5, {"interval": 5}])
async def test_a_value_that_is_not_a_policy_is_a_type_error_that_says_what_it_should_be(poll: Any) -> None:
    runai = RunaiClient("https://acme.run.ai", "token", transport=FakeTransport())
    words = r"^poll must be a PollPolicy, like PollPolicy\(interval=30\), not (int|dict)$"
    with pytest.raises(TypeError, match=words):
        runai.watch_revisions(WORKLOAD, poll=poll)
    with pytest.raises(TypeError, match=words):
        runai.watch_fleet([WORKLOAD], poll=poll)
    with pytest.raises(TypeError, match=words):
        await runai.wait_for_phase(WORKLOAD, "Running", poll=poll)
    with pytest.raises(TypeError, match=words):
        await runai.wait_for_rollout(WORKLOAD, poll=poll)


def test_the_client_options_are_the_keywords_of_the_constructor() -> None:
    keywords = inspect.signature(RunaiClient).parameters.items()
    names = [name for name, parameter in keywords if parameter.kind is parameter.KEYWORD_ONLY]
    annotated = get_type_hints(RunaiClient.__init__)
    assert get_type_hints(ClientOptions) == {name: annotated[name] for name in names}


# --- TLS --------------------------------------------------------------------------------------------------


async def test_a_private_authority_is_trusted_if_its_file_is_passed(
    secure: FakeControlPlane, ca_file: Path
) -> None:
    for value in (str(ca_file), ca_file):
        async with RunaiClient(secure.url, secure.token, ca_file=value) as runai:
            calls = (runai.count_revisions(WORKLOAD) for _ in range(3))
            assert await asyncio.gather(*calls) == [0, 0, 0]


async def test_an_ssl_context_is_used_as_it_is(secure: FakeControlPlane, authority: trustme.CA) -> None:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    async with RunaiClient(secure.url, secure.token, ssl_context=context) as runai:
        assert await runai.count_revisions(WORKLOAD) == 0


async def test_an_untrusted_authority_is_an_immediate_error_that_names_the_fix(
    secure: FakeControlPlane, loop_errors: list[str]
) -> None:
    async with RunaiClient(secure.url, secure.token) as runai:
        with pytest.raises(TransportError, match=r"TLS failed: .*pass ca_file or ssl_context") as caught:
            await runai.count_revisions(WORKLOAD)
    assert (caught.value.transient, len(secure.requests)) == (False, 0)
    async with asyncio.timeout(5):
        while not loop_errors:  # the server's side of it
            await asyncio.sleep(0.001)
    assert [error.splitlines()[0] for error in loop_errors] == [
        "Error on transport creation for incoming connection"
    ]
    loop_errors.clear()


@pytest.mark.parametrize("text", [None, "", "no certificate"])
async def test_an_unusable_ca_file_is_named(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "ca.pem"
    if text is not None:
        path.write_text(text)
    async with RunaiClient("https://localhost:1", "token", ca_file=path) as runai:
        with pytest.raises(ConfigurationError, match=rf"ca_file '{path}' cannot be used: "):
            await runai.count_revisions(WORKLOAD)


async def test_a_ca_file_is_used_with_a_session_of_the_callers(
    secure: FakeControlPlane, ca_file: Path
) -> None:
    async with aiohttp.ClientSession() as session:
        runai = RunaiClient(secure.url, secure.token, session=session, ca_file=ca_file, retry=ONCE)
        assert await runai.count_revisions(WORKLOAD) == 0


async def test_calls_that_begin_at_once_share_a_session(secure: FakeControlPlane, ca_file: Path) -> None:
    async with RunaiClient(secure.url, secure.token, ca_file=ca_file, retry=ONCE) as runai:
        calls = [runai.count_revisions(WORKLOAD) for _ in range(3)]
        assert await asyncio.gather(*calls) == [0, 0, 0]
    # a session that another one replaced would warn here that nobody closed it


async def test_closing_while_the_ca_file_is_read_leaves_no_session(
    secure: FakeControlPlane, ca_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed, load = threading.Event(), Authorities.load

    def slow_load(authorities: Authorities) -> ssl.SSLContext:
        closed.wait(10)
        return load(authorities)

    monkeypatch.setattr(Authorities, "load", slow_load)
    runai = RunaiClient(secure.url, secure.token, ca_file=ca_file, retry=ONCE)
    call = asyncio.create_task(runai.count_revisions(WORKLOAD))
    await asyncio.sleep(0)
    await runai.aclose()
    closed.set()
    with pytest.raises(RuntimeError, match="the client is closed"):
        await call
    assert len(secure.requests) == 0


# --- proxies ----------------------------------------------------------------------------------------------


async def test_a_proxy_gets_the_whole_url() -> None:
    async with proxying(PROXIED) as (proxy, heads):
        for value in (f"http://{proxy}", URL(f"http://{proxy}")):
            async with RunaiClient("http://acme.run.ai", "abc", allow_http=True, proxy=value) as runai:
                assert await runai.count_revisions(WORKLOAD) == 7
    url = f"http://acme.run.ai/api/v1/workloads/inferences/{WORKLOAD}/revisions/count"
    assert [head.splitlines()[0] for head in heads] == [f"GET {url} HTTP/1.1"] * 2


async def test_https_goes_through_a_tunnel_and_a_407_does_not_show_the_proxys_password() -> None:
    async with proxying(b"HTTP/1.1 407 Auth Required\r\nContent-Length: 0\r\n\r\n") as (proxy, heads):
        options: ClientOptions = {"proxy": f"http://me:s3cret@{proxy}", "retry": ONCE}
        async with RunaiClient("https://acme.run.ai", "abc", **options) as runai:
            with pytest.raises(TransportError) as caught:
                await runai.count_revisions(WORKLOAD)
    assert heads[0].startswith("CONNECT acme.run.ai:443 HTTP/1.1\r\n")
    credentials = base64.b64encode(b"me:s3cret").decode()
    assert (f"Proxy-Authorization: Basic {credentials}" in heads[0], "abc" in heads[0]) == (True, False)
    logged = "".join(traceback.format_exception(caught.value))
    assert ("407" in str(caught.value), "s3cret" in logged) == (True, False)


@pytest.mark.parametrize("bypass", [None, "127.0.0.1", "*"])
async def test_the_environment_may_name_a_proxy_and_what_bypasses_it(
    monkeypatch: pytest.MonkeyPatch, bypass: str | None
) -> None:
    async with FakeControlPlane() as control_plane, proxying(PROXIED) as (proxy, heads):
        monkeypatch.setenv("HTTP_PROXY", f"http://{proxy}")
        if bypass:
            monkeypatch.setenv("NO_PROXY", bypass)
        async with RunaiClient(control_plane.url, control_plane.token) as runai:
            assert await runai.count_revisions(WORKLOAD) == (0 if bypass else 7)
        async with RunaiClient(control_plane.url, control_plane.token, trust_env=False) as runai:
            assert await runai.count_revisions(WORKLOAD) == 0
    assert len(heads) == (0 if bypass else 1)


@pytest.mark.parametrize(
    ("name", "bypass", "url", "proxy"),
    [
        ("HTTPS_PROXY", "", "https://acme.run.ai", "http://proxy:3128"),
        ("https_proxy", "", "https://acme.run.ai", "http://proxy:3128"),
        ("HTTP_PROXY", "", "https://acme.run.ai", None),
        ("HTTPS_PROXY", "run.ai", "https://acme.run.ai", None),
        ("HTTPS_PROXY", "acme.run.ai:443", "https://acme.run.ai", None),
        ("HTTPS_PROXY", "acme.run.ai:444", "https://acme.run.ai", "http://proxy:3128"),
        ("HTTPS_PROXY", "un.ai", "https://acme.run.ai", "http://proxy:3128"),
        ("HTTPS_PROXY", "::1", "https://[::1]:8443", None),
        ("HTTPS_PROXY", "", "https://localhost", "http://proxy:3128"),
        ("HTTP_PROXY", "", "http://acme.local", "http://proxy:3128"),
        ("HTTP_PROXY", "", "http://localhost:8080", None),  # it would take the token off this machine
        ("HTTP_PROXY", "", "http://127.0.0.1", None),
    ],
)
def test_the_environments_proxy_is_read_as_other_programs_do(
    monkeypatch: pytest.MonkeyPatch, name: str, bypass: str, url: str, proxy: str | None
) -> None:
    monkeypatch.setenv(name, "http://proxy:3128")
    monkeypatch.setenv("NO_PROXY", bypass)
    assert environment_proxy(URL(url)) == (proxy and URL(proxy))


@pytest.mark.parametrize(
    "address", ["socks5://s3cret@host:1", "ftp://proxy.example:3128", "http://s3cret@host:port"]
)
def test_an_unusable_proxy_in_the_environment_is_named(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("HTTPS_PROXY", address)
    with pytest.raises(ConfigurationError, match=r"^https_proxy in the environment ") as caught:
        RunaiClient("https://acme.run.ai", "token")
    assert "trust_env=False" in str(caught.value)
    assert "s3cret" not in str(caught.value)
    RunaiClient("https://acme.run.ai", "token", trust_env=False)


@pytest.mark.parametrize(
    ("no_proxy", "proxied"),
    [("", ["token", "count"]), ("login.example", ["count"]), ("acme.example", ["token"])],
)
async def test_a_token_endpoint_elsewhere_has_the_proxy_that_the_environment_names_for_it(
    monkeypatch: pytest.MonkeyPatch, no_proxy: str, proxied: list[str]
) -> None:
    loop = asyncio.get_running_loop()
    resolve = loop.getaddrinfo

    async def getaddrinfo(host: str, *rest: Any, **options: Any) -> object:
        if host != "127.0.0.1":
            raise OSError("no such host")
        return await resolve(host, *rest, **options)

    monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)
    async with proxying(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n") as (proxy, heads):
        monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy}")
        monkeypatch.setenv("NO_PROXY", no_proxy)
        for auth in (ClientCredentials("id", "secret", token_url="https://login.example/token"), "token"):
            async with RunaiClient("https://acme.example", auth, retry=ONCE) as runai:
                with pytest.raises(TransportError):
                    await runai.count_revisions(WORKLOAD)
    hosts = {"login.example": "token", "acme.example": "count"}
    assert [hosts[head.split()[1].removesuffix(":443")] for head in heads] == proxied


# --- sessions of the caller's -----------------------------------------------------------------------------


async def test_a_session_of_the_callers_is_used_and_never_closed() -> None:
    async with (
        FakeControlPlane() as control_plane,
        aiohttp.ClientSession(headers={"X-Mine": "yes"}) as session,
    ):
        async with RunaiClient(control_plane.url, control_plane.token, session=session) as runai:
            await runai.count_revisions(WORKLOAD)
        assert (session.closed, control_plane.requests[0].headers["X-Mine"]) == (False, "yes")
        with pytest.raises(RuntimeError, match="the client is closed"):
            await runai.count_revisions(WORKLOAD)


async def test_a_session_of_the_callers_that_was_closed_is_an_error_that_says_so() -> None:
    async with FakeControlPlane() as control_plane:
        async with aiohttp.ClientSession() as session:
            runai = RunaiClient(control_plane.url, control_plane.token, session=session)
            await runai.count_revisions(WORKLOAD)
        with pytest.raises(RuntimeError, match="the client's session is closed; make a new client"):
            await runai.count_revisions(WORKLOAD)


async def test_a_session_of_the_callers_that_raises_for_a_status_does_not_hide_it() -> None:
    async with FakeControlPlane() as control_plane, aiohttp.ClientSession(raise_for_status=True) as session:
        runai = RunaiClient(control_plane.url, control_plane.token, session=session, retry=ONCE)
        with pytest.raises(NotFoundError):
            await runai.list_revisions(WORKLOAD)


# --- the client's own calls -------------------------------------------------------------------------------


async def test_a_copy_need_not_be_closed_and_closes_nothing() -> None:
    transport = FakeTransport([COUNT])
    runai = RunaiClient("https://acme.run.ai", "token", transport=transport)
    async with runai.with_options(retry=ONCE) as copy:
        await copy.count_revisions(WORKLOAD)
    assert transport.closed is False
    await runai.aclose()
    assert transport.closed is True


async def test_an_invalid_argument_is_a_value_error_before_anything_is_sent() -> None:
    transport = FakeTransport()
    runai = RunaiClient("https://acme.run.ai", "token", transport=transport)
    for call in (
        runai.list_revisions("x"),
        runai.count_revisions("x"),
        runai.get_revision("../x"),
        runai.newest_revision("x"),
        runai.wait_for_phase("x", Phase.RUNNING),
        runai.wait_for_rollout("x"),
    ):
        with pytest.raises(ValueError, match="must be"):
            await call
    with pytest.raises(ValueError, match="revision_id must be a UUID"):
        runai.revision_history("x")
    for page_size in (0, 501):
        with pytest.raises(ValueError, match="page_size must be 1 to 500"):
            runai.list_workloads(page_size=page_size)
    assert transport.requests == []


async def test_revisions_are_listed_counted_fetched_and_watched() -> None:
    async with (
        FakeControlPlane(seed=1) as control_plane,
        RunaiClient(control_plane.url, control_plane.token) as runai,
    ):
        workload = control_plane.add_workload()
        assert await runai.newest_revision(workload) is None
        ids = [control_plane.add_revision(workload, phase="Running") for _ in range(3)]
        control_plane.delete_revision(ids[0])
        assert {revision.id for revision in await runai.list_revisions(workload, deleted=False)} == set(
            ids[1:]
        )
        assert [revision.id for revision in await runai.list_revisions(workload, deleted=True)] == ids[:1]
        assert [await runai.count_revisions(workload, deleted=which) for which in (None, True)] == [2, 1]
        newest = await runai.newest_revision(workload)
        assert newest is not None
        assert (newest.id, await runai.get_revision(newest.id)) == (ids[2], newest)
        assert await runai.wait_for_phase(ids[1], Phase.RUNNING) == await runai.get_revision(ids[1])
        assert (await runai.wait_for_rollout(workload)).id == ids[2]
        assert (await runai.wait_for_rollout(workload, after=ids[1])).id == ids[2]
        watch = runai.watch_revisions(workload, interval=60)
        async with watch:
            assert (await anext(watch)).workload_id == workload


async def test_workloads_and_history_are_read_page_by_page() -> None:
    async with (
        FakeControlPlane() as control_plane,
        RunaiClient(control_plane.url, control_plane.token) as runai,
    ):
        ids = [
            control_plane.add_workload(),
            control_plane.add_workload(type="Training"),
            control_plane.add_workload(type="nim-INFERENCE"),
        ]
        assert {workload.id async for workload in runai.list_workloads(page_size=2)} == set(ids)
        assert [request.query["offset"] for request in control_plane.requests] == ["0", "1"]
        assert {item.id async for item in runai.inference_workloads()} == {ids[0], ids[2]}
        filtered = [workload.id async for workload in runai.list_workloads(filter_by="type==Training")]
        assert filtered == [ids[1]]
        revision = control_plane.add_revision(ids[0], phase="Pending")
        control_plane.set_phase(revision, "Running")
        assert len([record async for record in runai.revision_history(revision)]) >= 2
        async with runai.watch_fleet(ids, interval=0.05) as fleet:
            assert (await anext(aiter(fleet))).workload_id == ids[0]


@pytest.mark.parametrize("following", [0, None])
async def test_a_page_whose_next_offset_does_not_increase_is_the_last_one(following: int | None) -> None:
    async with (
        FakeControlPlane() as control_plane,
        RunaiClient(control_plane.url, control_plane.token) as runai,
    ):
        revision = control_plane.add_revision(control_plane.add_workload())
        records = [to_json(record) async for record in runai.revision_history(revision)]
        workloads = [to_json(workload) async for workload in runai.list_workloads()]
    pages = [(b"records", records), (b"workloads", workloads), (b"records", []), (b"workloads", [])]
    bodies = [
        b'{"%s": [%s], "next": %s}' % (key, b",".join(items), json.dumps(following if items else 9).encode())
        for key, items in pages
    ]
    transport = FakeTransport(Response(body=body) for body in bodies)
    runai = RunaiClient("https://acme.run.ai", "token", transport=transport)
    for number in (len(records), 0):
        assert len([record async for record in runai.revision_history(revision)]) == number
        assert len([workload async for workload in runai.list_workloads()]) == min(number, 1)
    assert (len(records), len(workloads), len(transport.requests)) == (1, 1, 4)
