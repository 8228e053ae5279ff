"""No secret leaks to another host, over plain http, or into a path or header."""

import asyncio
import base64
import json
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
from support.servers import serving
from yarl import URL

from runai_async import (
    ApiError,
    CliCredentials,
    ClientCredentials,
    ConfigurationError,
    DecodeError,
    FileToken,
    Phase,
    PollPolicy,
    RetryPolicy,
    RunaiClient,
    StaticToken,
)
from runai_async.testing import FakeControlPlane, FakeTransport, Response

WORKLOAD = "3f0f1e0c-7d61-4c0e-9d4a-0d2f6f8f1b11"
ONCE = RetryPolicy(attempts=1)
COUNT = b'HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{"count": 7}'


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


# --- plain http -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("auth", ["token", ClientCredentials("id", "secret")])
def test_plain_http_to_another_machine_is_refused(auth: Any) -> None:
    with pytest.raises(ConfigurationError, match="is plain http to acme"):
        RunaiClient("http://acme.run.ai", auth)
    with pytest.raises(ConfigurationError, match="is plain http to acme"):
        RunaiClient.from_env(environ={"RUNAI_BASE_URL": "http://acme.run.ai", "RUNAI_TOKEN": "t"})


async def test_plain_http_to_loopback_bypasses_the_proxy_of_the_environment(
    control_plane: FakeControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.invalid:3128")
    async with RunaiClient(control_plane.url, control_plane.token, retry=ONCE) as runai:
        assert await runai.count_revisions(WORKLOAD) == 0


# --- another origin ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "location"),
    [
        (301, "{url}/api"),
        (302, "//{authority}/"),
        (303, "{url}"),
        (307, "{url}/api/v1/token"),
        (308, "{url}/api"),
    ],
)
async def test_no_redirect_to_another_server_is_followed(status: int, location: str) -> None:
    async with FakeControlPlane() as control_plane, FakeControlPlane() as other:
        target = location.format(url=other.url, authority=URL(other.url).authority)
        control_plane.fail_next(None, status, headers={"Location": target}, body="", path="")
        for auth in (
            control_plane.token,
            ClientCredentials(control_plane.client_id, control_plane.client_secret, api="v1"),
            ClientCredentials(control_plane.client_id, control_plane.client_secret, api="v2"),
        ):
            async with RunaiClient(control_plane.url, auth) as runai:
                for call in (
                    runai.list_revisions(WORKLOAD),
                    anext(runai.watch_revisions(WORKLOAD, poll=PollPolicy(interval=0.01, max_outage=0.01))),
                ):
                    with pytest.raises(Exception, match="redirects to http://127"):
                        await call

    assert list(other.requests) == []
    paths = {request.path.rpartition("/api/")[2] for request in control_plane.requests}
    assert paths == {f"v1/workloads/inferences/{WORKLOAD}/revisions", "v1/token", "v2/token"}


class Tunnel:
    """A proxy that records everything that passes through it."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []
        self.sent = b""

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, keep: bool = False
    ) -> None:
        while data := await reader.read(2**16):
            self.sent += data if keep else b""
            writer.write(data)
        writer.close()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        host, _, port = head.split()[1].decode().rpartition(":")
        inner, outer = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(self._pump(reader, outer, keep=True), self._pump(inner, writer))

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self.connected, "127.0.0.1", 0)
        async with server:
            yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize("source", ["argument", "environment"])
async def test_a_proxy_sees_only_its_own_credentials_and_the_control_plane_none_of_them(
    source: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    authority, context, tunnel = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), Tunnel()
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    async with FakeControlPlane(ssl_context=context) as control_plane, tunnel.serving() as address:
        proxy = f"http://me:pr0xy-pass@{address}"
        options: dict[str, Any] = {"ca_file": tmp_path / "ca.pem", "retry": ONCE}
        if source == "argument":
            options["proxy"] = proxy
        else:
            monkeypatch.setenv("HTTPS_PROXY", proxy)
        auth = ClientCredentials(control_plane.client_id, control_plane.client_secret)
        async with RunaiClient(control_plane.url, auth, **options) as runai:
            assert [await runai.count_revisions(WORKLOAD) for _ in range(2)] == [0, 0]

        credentials = base64.b64encode(b"me:pr0xy-pass").decode()
        assert tunnel.heads
        for head in tunnel.heads:
            names = [line.split(":")[0].lower() for line in head.decode().splitlines()[1:] if line]
            assert (f"Basic {credentials}" in head.decode(), "authorization" in names) == (True, False)
        seen = b"".join(tunnel.heads) + tunnel.sent
        secrets = (b"Bearer", control_plane.client_secret.encode())
        assert [secret for secret in secrets if secret in seen] == []
        requests = [
            f"{request.path} {request.query} {dict(request.headers)}" for request in control_plane.requests
        ]
        assert [text for text in requests if re.search(f"(?i)proxy-|pr0xy-pass|{credentials}", text)] == []
        assert len(requests) == 3


# --- paths and headers ------------------------------------------------------------------------------------

BAD_IDS = [
    "",
    "../../../v1/token",
    f"{WORKLOAD}/../{WORKLOAD}",
    f"{WORKLOAD}?deleted=true",
    f"{WORKLOAD}#",
    f"{WORKLOAD}%2f..",
    f"{WORKLOAD}\r\nX-Injected: 1",
    f"{WORKLOAD}\n",
    f" {WORKLOAD}",
    f"//evil.example/{WORKLOAD}",
    f"@evil.example/{WORKLOAD}",
    WORKLOAD.replace("3", "\uff13"),
]
TAKING_IDS: dict[str, Callable[[RunaiClient, str], Awaitable[object]]] = {
    "list_revisions": lambda runai, bad: runai.list_revisions(bad),
    "count_revisions": lambda runai, bad: runai.count_revisions(bad),
    "get_revision": lambda runai, bad: runai.get_revision(bad),
    "newest_revision": lambda runai, bad: runai.newest_revision(bad),
    "revision_history": lambda runai, bad: anext(runai.revision_history(bad)),
    "revision_events": lambda runai, bad: anext(runai.revision_events(bad)),
    "revision_pods": lambda runai, bad: runai.revision_pods(bad),
    "explain_revision": lambda runai, bad: runai.explain_revision(bad),
    "watch_revisions": lambda runai, bad: anext(runai.watch_revisions(bad)),
    "wait_for_phase": lambda runai, bad: runai.wait_for_phase(bad, Phase.RUNNING),
    "wait_for_rollout": lambda runai, bad: runai.wait_for_rollout(bad),
    "after": lambda runai, bad: runai.wait_for_rollout(WORKLOAD, after=bad),
    "watch_fleet": lambda runai, bad: runai.watch_fleet([bad]).__aenter__(),
}


@pytest.mark.parametrize("operation", TAKING_IDS)
async def test_only_a_uuid_gets_into_a_path(operation: str) -> None:
    transport = FakeTransport([])
    runai = RunaiClient("https://acme.run.ai", "token", transport=transport)
    for bad in BAD_IDS:
        with pytest.raises(ValueError, match="must be a UUID"):
            await TAKING_IDS[operation](runai, bad)
    assert list(transport.requests) == []


BAD_TOKENS = ["a\r\nX-Injected: 1", "a\n", "a\r", "a\0", "a b", "a\tb", "tökén", "a\x7f", "a\u2028b", ""]


class GivenToken:
    """A token provider that returns a given token."""

    def __init__(self, token: str) -> None:
        self.token = token

    async def get_token(self) -> str:
        return self.token

    def invalidate(self, token: str) -> None:
        pass


@pytest.mark.parametrize("bad", BAD_TOKENS, ids=ascii)
async def test_no_token_adds_a_header(bad: str, tmp_path: Path) -> None:
    for make in (
        lambda: RunaiClient("https://acme.run.ai", bad),
        lambda: StaticToken(bad),
        lambda: ClientCredentials(bad, "secret"),
        lambda: ClientCredentials("id", bad),
    ):
        with pytest.raises(ConfigurationError):
            make()
    (tmp_path / "authentication.json").write_text(json.dumps({"accessToken": f"x{bad}x"}))
    responses = [Response(body=json.dumps({"accessToken": bad}).encode())]
    (tmp_path / "token").write_bytes(f"x{bad}x".encode("utf-8", "surrogatepass"))
    for auth in (
        GivenToken(bad),
        FileToken(tmp_path / "token"),
        CliCredentials(tmp_path),
        ClientCredentials("id", "secret"),
    ):
        transport = FakeTransport(responses)
        runai = RunaiClient("https://acme.run.ai", auth, transport=transport, retry=ONCE)
        if not (isinstance(auth, CliCredentials | FileToken) and bad == ""):
            with pytest.raises((ConfigurationError, DecodeError)):
                await runai.count_revisions(WORKLOAD)
        assert [request for request in transport.requests if "Authorization" in request.headers] == []


@pytest.mark.parametrize(
    "prefix",
    ["/a\r\nX-Injected: 1", "/a%0d%0aX-Injected:%201", "/a b", "/a\\..\\b", "/ä", "/a%20HTTP/1.1%0d%0a"],
    ids=ascii,
)
async def test_no_base_url_adds_a_header(prefix: str) -> None:
    heads: list[bytes] = []

    async def keep(head: bytes, writer: asyncio.StreamWriter) -> None:
        heads.append(head)
        writer.write(COUNT)

    async with serving(keep) as url, RunaiClient(url + prefix, "abc", retry=ONCE) as runai:
        assert await runai.count_revisions(WORKLOAD) == 7

    first, *headers = heads[0].decode("ascii").removesuffix("\r\n\r\n").split("\r\n")
    assert re.fullmatch(rf"GET /[^ ]*/{WORKLOAD}/revisions/count HTTP/1\.1", first)
    names = [line.split(":")[0].lower() for line in headers]
    assert sorted(names) == ["accept", "accept-encoding", "authorization", "host", "user-agent"]
    agent = next(line for line in headers if line.lower().startswith("user-agent"))
    assert re.fullmatch(r"User-Agent: runai-async/[\w.]+ aiohttp/[\w.]+ Python/[\w.+]+", agent)


@pytest.mark.parametrize(
    "condition",
    [
        "name==a&limit=1&offset=9",
        "name==a#fragment",
        "name==a?deleted=true",
        "name==a\r\nX-Injected: 1",
        "name==a+b %2B;c",
        "name==../../x",
        "name==ä\u2028",
    ],
    ids=ascii,
)
async def test_a_condition_on_workloads_stays_one_parameter(
    control_plane: FakeControlPlane, runai: RunaiClient, condition: str
) -> None:
    try:
        async for _ in runai.with_options(retry=ONCE).list_workloads(filter_by=[condition], page_size=7):
            pass
    except ApiError as error:
        assert error.status == 400  # noqa: PT017  (the control plane may reject it)
    first, *more = control_plane.requests
    order = {"sortBy": "createdAt", "sortOrder": "asc"}
    assert dict(first.query) == {"filterBy": condition, "limit": "7", "offset": "0", **order}
    for request in more:  # a 400 may be about the order, so there is one more without it
        assert dict(request.query) == {"filterBy": condition, "limit": "7", "offset": "0"}
    assert len(more) <= 1
    assert {request.path for request in control_plane.requests} == {"/api/v1/workloads"}
    assert not any("X-Injected" in request.headers for request in control_plane.requests)
