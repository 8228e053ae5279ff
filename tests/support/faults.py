"""A server that responds correctly, or plays one of the faults of the table, byte by byte."""

import asyncio
import base64
import gzip
import itertools
import json
import socket
import struct
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Self

from attrs import frozen

from support.fault_table import BODIES
from support.ports import lasting_port

WORKLOAD_ID = "2b2b2b2b-2222-4222-8222-222222222222"
REVISION_ID = "1a1a1a1a-1111-4111-8111-111111111111"
OTHER_ID = "44444444-4444-4444-8444-444444444444"
SECRET = "s3cr3t-of-the-redirect"
MAX_BODY = 4096
"""The `max_body` of the client; good bodies are shorter."""
DAY = 86400.0
_JSON = {"Content-Type": "application/json"}
_UNAUTHORIZED = b'{"code": 401, "message": "the token was revoked"}'


class Exchange:
    """One request that arrived, and the connection to respond on.

    Attributes:
        body: the body of a good response to it.
    """

    def __init__(
        self, server: "FaultyServer", reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.server = server
        self.body = b""
        self._reader = reader
        self._writer = writer

    async def write(self, data: bytes) -> None:
        """Send bytes, and let the client read them before anything else happens."""
        self._writer.write(data)
        await self._writer.drain()
        await asyncio.sleep(0)

    async def response(
        self, status: int = 200, body: bytes | None = None, headers: Mapping[str, str] = _JSON
    ) -> None:
        """Send a complete response; without a *body*, with the good one."""
        body = self.body if body is None else body
        await self.write(head(status, {"Content-Length": str(len(body)), **headers}) + body)

    async def hang(self) -> None:
        """Wait until the client closes the connection, or the fault is over."""
        self.server.hanging.add(self)
        try:
            await self._reader.read()
        finally:
            self.server.hanging.discard(self)
        await self.close()

    async def close(self) -> None:
        """Close the connection in an orderly way."""
        self._writer.close()

    async def reset(self) -> None:
        """Break the connection, so that the client sees a reset instead of an end of file."""
        await asyncio.sleep(0.01)  # the client reads first what was sent
        connection: Any = self._writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


Play = Callable[[Exchange], Awaitable[None]]


def head(status: int = 200, headers: Mapping[str, str] = _JSON) -> bytes:
    """Return a status line and headers."""
    lines = [f"HTTP/1.1 {status} Reason", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode()


def whole(body: bytes) -> bytes:
    """Return a complete response."""
    return head(200, {"Content-Length": str(len(body))}) + body


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@frozen
class Fault:
    """A fault that is played in the same way each time.

    Attributes:
        play: responds to a request; None if connections are refused.
        slow: whether a timeout or deadline of the client ends it.
        deadline_first: whether that is the deadline of the call instead of the timeout of an attempt.
        at: "token" or "api" if it hits only requests of that kind, whatever the operation, and "any" if it
            hits both; at "token", the token in use is no longer accepted. An operation may also name
            "workloads", the list of them.
        jump: seconds by which the wall clock jumps each time.
        times: how often it is played; None for until `heal`.
    """

    name: str
    play: Play | None
    slow: bool = False
    deadline_first: bool = False
    at: str | None = None
    jump: float = 0.0
    times: int | None = None


FAULTS: dict[str, Fault] = {}


def fault(name: str, **options: Any) -> Callable[[Play], Play]:
    """Register the decorated function, which plays a fault, under a name."""

    def add(play: Play) -> Play:
        FAULTS[name] = Fault(name, play, **options)
        return play

    return add


def response_fault(
    name: str, status: int, body: bytes | None, headers: Mapping[str, str] = _JSON, **options: Any
) -> None:
    """Register a fault that is one complete response; without a *body*, with the good one."""

    async def play(exchange: Exchange) -> None:
        await exchange.response(status, body, headers)

    FAULTS[name] = Fault(name, play, **options)


def bytes_fault(name: str, data: Callable[[bytes], bytes]) -> None:
    """Register a fault that sends bytes, made from the good body, and then closes the connection."""

    async def play(exchange: Exchange) -> None:
        await exchange.write(data(exchange.body))
        await exchange.close()

    FAULTS[name] = Fault(name, play)


# --- connections --------------------------------------------------------------------------------------------

FAULTS["connection refused"] = Fault("connection refused", None)


@fault("reset before the headers")
async def _(exchange: Exchange) -> None:
    await exchange.reset()


@fault("reset in the headers")
async def _(exchange: Exchange) -> None:
    await exchange.write(head()[:30])
    await exchange.reset()


@fault("reset in the body")
async def _(exchange: Exchange) -> None:
    await exchange.write(whole(exchange.body)[:-1])
    await exchange.reset()


bytes_fault("closed before the headers", lambda _: b"")
bytes_fault("closed in the headers", lambda _: head()[:30])
bytes_fault("body cut off", lambda body: head(200, {"Content-Length": str(len(body) + 1)}) + body)
bytes_fault("chunked body cut off", lambda body: head(200, {"Transfer-Encoding": "chunked"}) + chunk(body))

# --- lengths ------------------------------------------------------------------------------------------------


def padded(body: bytes) -> bytes:
    return body + b" " * (MAX_BODY + 1 - len(body))


bytes_fault("body too long, length given", lambda body: whole(padded(body)))
bytes_fault("body too long, length not given", lambda body: head() + padded(body))
bytes_fault(
    "body too long, chunked",
    lambda body: head(200, {"Transfer-Encoding": "chunked"}) + chunk(padded(body)) + chunk(b""),
)
response_fault("gzip bomb", 200, gzip.compress(b" " * 2**20), {"Content-Encoding": "gzip"})


@fault("endless body")
async def _(exchange: Exchange) -> None:
    await exchange.write(head(200, {"Transfer-Encoding": "chunked"}))
    while True:
        await exchange.write(chunk(b" " * 1024))


# --- time ---------------------------------------------------------------------------------------------------


@fault("a byte a second, headers too", slow=True)
async def _(exchange: Exchange) -> None:
    await drip(exchange, whole(exchange.body))


@fault("a byte a second in the body", slow=True)
async def _(exchange: Exchange) -> None:
    await exchange.write(head(200, {"Content-Length": str(len(exchange.body))}))
    await drip(exchange, exchange.body)


async def drip(exchange: Exchange, data: bytes) -> None:
    for byte in data:
        await exchange.write(bytes([byte]))
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                await exchange.hang()
                return


@fault("hang before the headers", slow=True)
async def _(exchange: Exchange) -> None:
    await exchange.hang()


@fault("hang in the headers", slow=True)
async def _(exchange: Exchange) -> None:
    await exchange.write(head()[:30])
    await exchange.hang()


@fault("hang in the body", slow=True)
async def _(exchange: Exchange) -> None:
    await exchange.write(whole(exchange.body)[:-1])
    await exchange.hang()


@fault("hang, and the deadline comes first", slow=True, deadline_first=True)
async def _(exchange: Exchange) -> None:
    await exchange.hang()


@fault("endless interim responses", slow=True)
async def _(exchange: Exchange) -> None:
    while True:
        await exchange.write(head(103, {}))
        await asyncio.sleep(0.2)


# --- encodings ----------------------------------------------------------------------------------------------

bytes_fault("good response, then the connection ends", whole)
response_fault("good JSON labelled text/html", 200, None, {"Content-Type": "text/html"})
response_fault("good JSON without a content type", 200, None, {})
response_fault("unknown charset", 200, None, {"Content-Type": "application/json; charset=klingon"})
response_fault("unknown content encoding", 200, None, {"Content-Encoding": "klingon"})
response_fault("labelled gzip, but is not", 200, None, {"Content-Encoding": "gzip"})
bytes_fault("gzip cut off", lambda body: head(200, {"Content-Encoding": "gzip"}) + gzip.compress(body)[:-20])
bytes_fault("bytes that are not UTF-8", lambda body: head() + body.replace(b'"', b'"\xff', 1))
bytes_fault("UTF-16", lambda body: head() + body.decode().encode("utf-16"))
response_fault("good JSON with 203", 203, None)

# --- headers ------------------------------------------------------------------------------------------------

response_fault("header line of 16 KiB", 200, None, {"X-Long": "x" * 2**14})


bytes_fault("a thousand headers", lambda body: head(200, {f"X-{n}": "x" for n in range(1000)}) + body)


@fault("endless headers", slow=True)
async def _(exchange: Exchange) -> None:
    await exchange.write(b"HTTP/1.1 200 OK\r\n")
    for number in itertools.count():
        await exchange.write(b"X-%d: %b\r\n" % (number, b"x" * 4000))
        await asyncio.sleep(0.2)


bytes_fault("not HTTP at all", lambda _: b"SSH-2.0-OpenSSH_9.6\r\n")
bytes_fault(
    "two lengths that differ",
    lambda body: head()[:-2] + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n" + body,
)
bytes_fault("length that is not a number", lambda body: head(200, {"Content-Length": "many"}) + body)
bytes_fault(
    "chunk size that is not a number",
    lambda body: head(200, {"Transfer-Encoding": "chunked"}) + b"many\r\n" + body,
)


@fault("interim response first")
async def _(exchange: Exchange) -> None:
    await exchange.write(head(103, {}))
    await exchange.response()


@fault("second, unsolicited response")
async def _(exchange: Exchange) -> None:
    await exchange.write(whole(exchange.body) + whole(b'{"count": 666}'))


# --- redirects and statuses ---------------------------------------------------------------------------------


def redirected(status: int) -> None:
    async def play(exchange: Exchange) -> None:
        location = f"http://127.0.0.1:{exchange.server.other_port}/landed?token={SECRET}"
        await exchange.response(status, b"", {"Location": location})

    name = f"{status} to another origin"
    FAULTS[name] = Fault(name, play)


for _status in (301, 302, 307):
    redirected(_status)

STATUSES = (400, 401, 403, 404, 409, 418, 429, 500, 502, 503, 504)
for _status in STATUSES:
    _error = json.dumps({"code": _status, "message": "no luck"}).encode()
    for _kind, _body in zip(BODIES, (_error, b"<html>sick</html>", b"", b'{"oops": [1, 2]}'), strict=True):
        response_fault(f"{_status} with {_kind}", _status, _body)

response_fault("503 with a Retry-After of an hour", 503, b"", {"Retry-After": "3600"})
response_fault("200 with HTML", 200, b"<html>log in first</html>", {"Content-Type": "text/html"})
response_fault("200 with nothing", 200, b"")
response_fault("200 with half of the JSON", 200, b'{"revisions": [{"id": "')
response_fault("200 with other JSON", 200, b'{"oops": [1, 2]}')
response_fault("200 with null", 200, b"null")
response_fault("200 with an array", 200, b"[]")
response_fault("204", 204, b"", {})

# --- JSON as real servers write it --------------------------------------------------------------------------

_LISTS = ("revisions", "workloads", "records", "events", "pods")
_ZERO = "0001-01-01T00:00:00Z"
_Json = dict[str, Any]


def changed_fault(
    name: str, change: Callable[[bytes], bytes], headers: Mapping[str, str] = _JSON, **options: Any
) -> None:
    """Register a fault that is a good response with another body, made from the good one."""

    async def play(exchange: Exchange) -> None:
        await exchange.response(200, change(exchange.body), headers)

    FAULTS[name] = Fault(name, play, **options)


def json_fault(name: str, change: Callable[[_Json], object], **options: Any) -> None:
    """Register a fault inside the JSON of a body, which *change* changes in place."""

    def changed(body: bytes) -> bytes:
        value: _Json = json.loads(body)
        change(value)
        return json.dumps(value).encode()

    changed_fault(name, changed, **options)


def items_of(value: _Json) -> list[_Json]:
    """Return the items of a list, or the one revision that a body is."""
    return next((value[key] for key in _LISTS if key in value), [value] if "id" in value else [])


def in_each(change: Callable[[_Json], _Json]) -> Callable[[_Json], object]:
    """Return a function that replaces fields of each item."""
    return lambda value: [item.update(change(item)) for item in items_of(value)]


def in_lists(change: Callable[[_Json, str], object]) -> Callable[[_Json], object]:
    """Return a function that changes lists, under their keys, and no other bodies."""
    return lambda value: [change(value, key) for key in _LISTS if key in value]


def with_ids(rewrite: Callable[[str], str]) -> Callable[[_Json], object]:
    return in_each(
        lambda item: {key: rewrite(text) for key, text in item.items() if key in ("id", "workloadId")}
    )


def beside(name: str, spoil: Callable[[bytes], bytes], **fields: Any) -> None:
    """Register a fault that is one more item in each list, an older one that cannot be decoded."""

    def add(value: _Json, key: str) -> None:
        older = {"id": OTHER_ID, "name": "chat-00000", "createdAt": "2025-01-01T00:00:00Z"}
        item = value[key][0] | older | {"phaseMessage": "<spoiled>"} | fields
        value[key].insert(0, {name: part for name, part in item.items() if part is not None})

    def changed(body: bytes) -> bytes:
        value: _Json = json.loads(body)
        in_lists(add)(value)
        return spoil(json.dumps(value).encode())

    changed_fault(name, changed)


json_fault("zero times", in_each(lambda _: {"deletedAt": _ZERO}))
json_fault("empty times", in_each(lambda _: {"deletedAt": ""}))
json_fault("times in nanoseconds", in_each(lambda _: {"createdAt": "2026-01-01T00:00:00.123456789Z"}))
json_fault("half of a character", in_each(lambda _: {"phaseMessage": "out of disk \ud83d"}))
json_fault("ids in capitals", with_ids(str.upper))
json_fault("ids without dashes", with_ids(lambda text: text.replace("-", "")))
json_fault("null instead of a list", in_lists(lambda value, key: value.update({key: None})), times=4)
json_fault("an empty object instead of a list", in_lists(lambda value, _: value.clear()), times=4)
json_fault("the next page as text", lambda value: "next" in value and value.update(next="1"))
json_fault("the next page as a fraction", lambda value: "next" in value and value.update(next=1.0))
json_fault("the next page is not a number", lambda value: "next" in value and value.update(next="soon"))
json_fault("a get of another id", lambda value: "id" in value and value.update(id=OTHER_ID))
beside("an item without required fields", bytes, clusterId=None, meta=None, type=None, k8sPhase=None)
beside("an item with NaN", lambda body: body.replace(b'"<spoiled>"', b"NaN"))
beside("an item with a raw tab", lambda body: body.replace(b"<spoiled>", b"\t"))
beside("an item nested too deep", lambda body: body.replace(b'"<spoiled>"', b"[" * 1100 + b"]" * 1100))
changed_fault("a byte order mark", lambda body: b"\xef\xbb\xbf" + body)
changed_fault(
    "gzip with trailing zeros", lambda body: gzip.compress(body) + bytes(16), {"Content-Encoding": "gzip"}
)
changed_fault("gzip, then identity", gzip.compress, {"Content-Encoding": "gzip, identity"})

_AHEAD = {"Date": "Wed, 01 Jan 2031 00:00:00 GMT", "Retry-After": "Wed, 01 Jan 2031 00:00:01 GMT"}
response_fault("429 with a Retry-After of five minutes", 429, b"", {"Retry-After": "300"})
response_fault("503 with a Retry-After of five minutes", 503, b"", {"Retry-After": "300"})
response_fault("503 with a Retry-After of zero", 503, b"", {"Retry-After": "0"})
response_fault(
    "503 with a Retry-After of years ago", 503, b"", {"Retry-After": "Wed, 01 Jan 2020 00:00:00 GMT"}
)
response_fault("503 with a Retry-After by a clock ahead", 503, b"", _AHEAD)

# --- tokens and clocks --------------------------------------------------------------------------------------

response_fault("token refused, 400", 400, b'{"error": "invalid_client"}', at="token")
response_fault("token refused, 401", 401, b'{"code": 401, "message": "wrong secret"}', at="token")
response_fault("token endpoint behind a login page, 401", 401, b"<html>log in</html>", at="token")
response_fault("token refused, 403", 403, b'{"code": 403, "message": "disabled"}', at="token")
response_fault("token endpoint missing, 404", 404, b'{"code": 404, "message": "no such route"}', at="token")
response_fault("token response without a token", 200, b'{"expiresIn": 60}', at="token")
response_fault("token that fits no header", 200, b'{"accessToken": "a\\nb"}', at="token")
response_fault("token response that is not JSON", 200, b"<html></html>", at="token")
response_fault("token endpoint down, 503", 503, b"", at="token")


@fault("token endpoint resets", at="token")
async def _(exchange: Exchange) -> None:
    await exchange.reset()


@fault("token endpoint hangs", at="token", slow=True)
async def _(exchange: Exchange) -> None:
    await exchange.hang()


response_fault("token expired, the next one is valid", 401, _UNAUTHORIZED, at="api", times=1)
response_fault("the wall clock jumps a day ahead", 200, None, at="api", jump=DAY)
response_fault("the wall clock jumps a day back", 200, None, at="api", jump=-DAY)

# --- services that restart ----------------------------------------------------------------------------------

_NOT_YET = b'{"code": 401, "message": "token used before issued"}'
_NO_PERMISSION = b'{"code": 403, "message": "the account lacks the permission"}'
_NOT_READY = b'{"code": 401, "message": "the identity service is not ready"}'
_MISSING = b'{"code": 404, "message": "there is no such revision"}'


@fault("identity restarts", at="any", times=2)
async def _(exchange: Exchange) -> None:
    if b"accessToken" not in exchange.body:
        await exchange.response(401, _NOT_YET)
    elif exchange.server.played % 2:
        await exchange.response(503, b"<html>starting</html>")
    else:
        await exchange.response(401, _NOT_READY)


response_fault("authorization restarts", 403, _NO_PERMISSION, at="api", times=2)


def read_model_fault(name: str, *, missing: bool) -> None:
    """Register a fault in which the server has no revisions; it still has the workloads."""

    async def play(exchange: Exchange) -> None:
        if b'"workloads"' in exchange.body:
            await exchange.response()
        elif b'"count"' in exchange.body:
            await exchange.response(200, b'{"count": 0}')
        elif b'"revisions"' in exchange.body and not missing:
            await exchange.response(200, b'{"revisions": []}')
        else:
            await exchange.response(404, _MISSING)

    FAULTS[name] = Fault(name, play, at="api", times=2 if missing else 3)


read_model_fault("read model restarts, empty", missing=False)
read_model_fault("read model restarts, 404", missing=True)
response_fault("starting up: 200 of another shape once", 200, b'{"status": "starting"}', times=1)
response_fault("young tokens refused", 401, _NOT_YET, at="api", times=2)

# --- the server ---------------------------------------------------------------------------------------------


def _revision(phase: str) -> dict[str, Any]:
    return {
        "type": "inference",
        "name": "chat-00001",
        "id": REVISION_ID,
        "workloadId": WORKLOAD_ID,
        "tenantId": 1,
        "clusterId": "33333333-3333-4333-8333-333333333333",
        "departmentId": "2",
        "projectId": "1",
        "createdAt": "2026-01-01T00:00:00Z",
        "phase": phase,
        "phaseUpdatedAt": "2026-01-01T00:00:01Z",
    }


_WORKLOAD = {key: value for key, value in _revision("Running").items() if key != "workloadId"}
_WORKLOAD["id"] = WORKLOAD_ID
_OTHER = _WORKLOAD | {"type": "workspace", "name": "lab", "id": OTHER_ID}
_RECORD = {
    "meta": {"creationTimestamp": "2026-01-01T00:00:00Z", "type": "PhaseUpdate"},
    "spec": {"phaseUpdate": {"phase": "Running"}},
}
_EVENT = {
    "createdAt": "2026-01-01T00:00:02Z",
    "type": "Warning",
    "clusterId": "33333333-3333-4333-8333-333333333333",
    "reason": "FailedScheduling",
    "message": "0/3 nodes are available",
}
_POD = {
    "name": "chat-00001-0",
    "id": "55555555-5555-4555-8555-555555555555",
    "k8sPhase": "Pending",
    "clusterId": "33333333-3333-4333-8333-333333333333",
    "createdAt": "2026-01-01T00:00:01Z",
    "containers": [{"name": "server", "image": "llm:1"}],
}


class FaultyServer:
    """An HTTP server over plain streams.

    Attributes:
        phase: the phase of its one revision.
        other_port: the port that redirects point to; no request may arrive there.
        redirected: how many did.
        jump: moves the wall clock of the client.
        after_response: called once, after the next good response of the API.
        played: how often a fault was played.
    """

    def __init__(self) -> None:
        self.phase = "Pending"
        self.port = lasting_port()
        self.other_port = 0
        self.redirected = 0
        self.connections: set[asyncio.StreamWriter] = set()
        self.hanging: set[Exchange] = set()
        self.jump: Callable[[float], None] = lambda _: None
        self.after_response: Callable[[], Awaitable[None]] | None = None
        self.played = 0
        self._fault: Fault | None = None
        self._at = "api"
        self._left = 0
        self._tokens = itertools.count(1)
        self._good_from = 0
        self._server: asyncio.Server | None = None
        self._other: asyncio.Server | None = None
        self._closed: socket.socket | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Self:
        self._other = await asyncio.start_server(self._redirected, "127.0.0.1", 0)
        self.other_port = self._other.sockets[0].getsockname()[1]
        await self._listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        for server in (self._server, self._other):
            if server is not None:
                server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._closed is not None:
            self._closed.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def begin(self, fault: Fault, at: str, times: int | None = None) -> None:
        """Play a fault from now on, for every matching request or for the next *times*."""
        self._fault, self._at = fault, fault.at or at
        times = times if fault.times is None else fault.times
        self._left = 10**9 if times is None else times
        if fault.at == "token":
            self._good_from = next(self._tokens)
        if fault.play is None:
            await self._refuse()

    async def heal(self) -> None:
        """Respond correctly from now on."""
        self._fault = None
        for exchange in self.hanging:
            await exchange.close()
        if self._closed is not None:
            await self._listen()

    async def _listen(self) -> None:
        if self._closed is not None:
            self._closed.close()
            self._closed = None
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def _refuse(self) -> None:
        """Keep the port without listening on it."""
        assert self._server is not None
        self._server.close()
        for writer in self.connections:
            writer.transport.abort()
        self._closed = socket.socket()
        self._closed.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._closed.bind(("127.0.0.1", self.port))

    async def _redirected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.redirected += 1
        writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task: Any = asyncio.current_task()
        self._tasks.add(task)
        self.connections.add(writer)
        try:
            while not writer.is_closing():
                await self._respond(reader, Exchange(self, reader, writer))
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client has gone, or this server is being closed
        finally:
            writer.close()
            self.connections.discard(writer)
            self._tasks.discard(task)

    async def _respond(self, reader: asyncio.StreamReader, exchange: Exchange) -> None:
        request = (await reader.readuntil(b"\r\n\r\n")).decode()
        headers = dict(line.lower().split(": ", 1) for line in request.split("\r\n")[1:-2])
        await reader.readexactly(int(headers.get("content-length", 0)))
        path = request.split()[1]
        is_token = path.endswith("/token")
        token = headers.get("authorization", "").removeprefix("bearer t").partition(".")[0]
        if not is_token and int(token) < self._good_from:
            await exchange.response(401, _UNAUTHORIZED)
            return
        exchange.body = self._body(path)
        kinds = {"any", *({"token"} if is_token else {"api", path.partition("?")[0].rpartition("/")[2]})}
        await self._play(exchange, kinds)

    async def _play(self, exchange: Exchange, kinds: set[str]) -> None:
        fault = self._fault
        if fault is None or fault.play is None or self._left == 0 or self._at not in kinds:
            await exchange.response()
            if "token" not in kinds and (after := self.after_response) is not None:
                self.after_response = None
                await after()
            return
        self._left -= 1
        self.played += 1
        self.jump(fault.jump)
        await fault.play(exchange)

    def _body(self, path: str) -> bytes:
        revision = _revision(self.phase)
        path, _, query = path.partition("?")
        match path.split("/")[3:]:
            case ["token"]:
                return self._token_response()
            case ["workloads"]:
                page = (
                    {"workloads": [_WORKLOAD]} if "offset=1" in query else {"workloads": [_OTHER], "next": 1}
                )
                return json.dumps(page).encode()
            case [*_, "count"]:
                return b'{"count": 1}'
            case [*_, "history"]:
                return json.dumps({"records": [_RECORD]}).encode()
            case [*_, "events"]:
                return json.dumps({"events": [_EVENT]}).encode()
            case [*_, "pods"]:
                return json.dumps({"pods": [_POD]}).encode()
            case [*_, "revisions"]:
                return json.dumps({"revisions": [] if "deleted" in query else [revision]}).encode()
            case _:
                return json.dumps(revision).encode()

    def _token_response(self) -> bytes:
        """Return a JWT whose `exp` is all that says when it expires, so that the wall clock matters."""
        payload = json.dumps({"exp": time.time() + 3600}).encode()
        claims = base64.urlsafe_b64encode(payload).decode().rstrip("=")
        return json.dumps({"accessToken": f"t{next(self._tokens)}.{claims}.s"}).encode()
