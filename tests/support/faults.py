"""A server that answers well, or plays one of the faults of the table, byte by byte."""

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

WORKLOAD_ID = "22222222-2222-4222-8222-222222222222"
REVISION_ID = "11111111-1111-4111-8111-111111111111"
SECRET = "s3cr3t-of-the-redirect"
MAX_BODY = 4096
"""Bytes that the client takes; what is sent well is shorter."""
DAY = 86400.0
_JSON = {"Content-Type": "application/json"}
_UNAUTHORIZED = b'{"code": 401, "message": "the token was revoked"}'


class Wire:
    """One request that came in, and its connection to answer on."""

    def __init__(
        self, server: "SickServer", reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.server = server
        self.good = b""
        self._reader = reader
        self._writer = writer

    async def write(self, data: bytes) -> None:
        """Send bytes, and let them arrive before anything else happens."""
        self._writer.write(data)
        await self._writer.drain()
        await asyncio.sleep(0)

    async def response(
        self, status: int = 200, body: bytes | None = None, headers: Mapping[str, str] = _JSON
    ) -> None:
        """Send a whole answer."""
        body = self.good if body is None else body
        await self.write(head(status, {"Content-Length": str(len(body)), **headers}) + body)

    async def hang(self) -> None:
        """Wait until the client goes away, or the fault is over."""
        self.server.hanging.add(self)
        try:
            await self._reader.read()
        finally:
            self.server.hanging.discard(self)
        await self.close()

    async def close(self) -> None:
        """End the connection in good order."""
        self._writer.close()

    async def reset(self) -> None:
        """Break the connection, so that the client sees a reset and not an end."""
        await asyncio.sleep(0.01)  # what was sent is read first
        wire: Any = self._writer.get_extra_info("socket")
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


Play = Callable[[Wire], Awaitable[None]]


def head(status: int = 200, headers: Mapping[str, str] = _JSON) -> bytes:
    """Return a status line and headers."""
    lines = [f"HTTP/1.1 {status} Reason", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@frozen
class Fault:
    """Something that goes wrong, always the same way.

    Attributes:
        play: answers a request; None where no connection is made at all.
        slow: whether the client's patience ends it.
        deadline_first: whether it is the deadline that ends it, and not the attempt's timeout.
        at: "token" or "api", where it hits there whatever the operation; at "token" the old one is not taken
            any more.
        jump: seconds by which the wall clock jumps at each answer.
        times: how often it is played; None: until it is healed.
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
    """Add a function that plays a fault to the table."""

    def add(play: Play) -> Play:
        FAULTS[name] = Fault(name, play, **options)
        return play

    return add


def responded(
    name: str, status: int, body: bytes | None, headers: Mapping[str, str] = _JSON, **options: Any
) -> None:
    """Add a fault that is one whole answer; without a *body*, with the good one."""

    async def play(wire: Wire) -> None:
        await wire.response(status, body, headers)

    FAULTS[name] = Fault(name, play, **options)


def sent(name: str, data: Callable[[bytes], bytes]) -> None:
    """Add a fault that is made of bytes alone, made of the good body; the connection ends after them."""

    async def play(wire: Wire) -> None:
        await wire.write(data(wire.good))
        await wire.close()

    FAULTS[name] = Fault(name, play)


# --- connections --------------------------------------------------------------------------------------------

FAULTS["connection refused"] = Fault("connection refused", None)


@fault("reset before the headers")
async def _(wire: Wire) -> None:
    await wire.reset()


@fault("reset in the headers")
async def _(wire: Wire) -> None:
    await wire.write(head()[:30])
    await wire.reset()


@fault("reset in the body")
async def _(wire: Wire) -> None:
    await wire.write(head(200, {"Content-Length": str(len(wire.good))}) + wire.good[:-1])
    await wire.reset()


sent("closed before the headers", lambda _: b"")
sent("closed in the headers", lambda _: head()[:30])
sent("body cut off", lambda good: head(200, {"Content-Length": str(len(good) + 1)}) + good)
sent("chunked body cut off", lambda good: head(200, {"Transfer-Encoding": "chunked"}) + chunk(good))

# --- lengths ------------------------------------------------------------------------------------------------


def padded(good: bytes) -> bytes:
    return good + b" " * (MAX_BODY + 1 - len(good))


sent("over-long body, its length told", lambda good: head(200, {"Content-Length": "4097"}) + padded(good))
sent("over-long body, its length not told", lambda good: head() + padded(good))
sent(
    "over-long body, chunked",
    lambda good: head(200, {"Transfer-Encoding": "chunked"}) + chunk(padded(good)) + chunk(b""),
)
responded("gzip bomb", 200, gzip.compress(b" " * 2**20), {"Content-Encoding": "gzip"})


@fault("body without end")
async def _(wire: Wire) -> None:
    await wire.write(head(200, {"Transfer-Encoding": "chunked"}))
    while True:
        await wire.write(chunk(b" " * 1024))


# --- time ---------------------------------------------------------------------------------------------------


@fault("a byte a second, headers too", slow=True)
async def _(wire: Wire) -> None:
    await drip(wire, head(200, {"Content-Length": str(len(wire.good))}) + wire.good)


@fault("a byte a second in the body", slow=True)
async def _(wire: Wire) -> None:
    await wire.write(head(200, {"Content-Length": str(len(wire.good))}))
    await drip(wire, wire.good)


async def drip(wire: Wire, data: bytes) -> None:
    for byte in data:
        await wire.write(bytes([byte]))
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                await wire.hang()
                return


@fault("hang before the headers", slow=True)
async def _(wire: Wire) -> None:
    await wire.hang()


@fault("hang in the headers", slow=True)
async def _(wire: Wire) -> None:
    await wire.write(head()[:30])
    await wire.hang()


@fault("hang in the body", slow=True)
async def _(wire: Wire) -> None:
    await wire.write(head(200, {"Content-Length": str(len(wire.good))}) + wire.good[:-1])
    await wire.hang()


@fault("hang, and the deadline comes first", slow=True, deadline_first=True)
async def _(wire: Wire) -> None:
    await wire.hang()


@fault("interim answers without end", slow=True)
async def _(wire: Wire) -> None:
    while True:
        await wire.write(head(103, {}))
        await asyncio.sleep(0.02)


# --- encodings ----------------------------------------------------------------------------------------------

sent("a good answer, then the end", lambda good: head(200, {"Content-Length": str(len(good))}) + good)
responded("good JSON called text/html", 200, None, {"Content-Type": "text/html"})
responded("good JSON of no type", 200, None, {})
responded("a charset that there is not", 200, None, {"Content-Type": "application/json; charset=klingon"})
responded("an encoding that there is not", 200, None, {"Content-Encoding": "klingon"})
responded("called gzip, but is not", 200, None, {"Content-Encoding": "gzip"})
sent("gzip cut off", lambda good: head(200, {"Content-Encoding": "gzip"}) + gzip.compress(good)[:-20])
sent("bytes that are no UTF-8", lambda good: head() + good.replace(b'"', b'"\xff', 1))
sent("UTF-16", lambda good: head() + good.decode().encode("utf-16"))
responded("good JSON with 203", 203, None)

# --- headers ------------------------------------------------------------------------------------------------

responded("a header line of 16 KiB", 200, None, {"X-Long": "x" * 2**14})


sent("a thousand headers", lambda good: head(200, {f"X-{n}": "x" for n in range(1000)}) + good)


@fault("headers without end", slow=True)
async def _(wire: Wire) -> None:
    await wire.write(b"HTTP/1.1 200 OK\r\n")
    for number in itertools.count():
        await wire.write(b"X-%d: %b\r\n" % (number, b"x" * 4000))
        await asyncio.sleep(0.02)


sent("no HTTP at all", lambda _: b"SSH-2.0-OpenSSH_9.6\r\n")
sent(
    "two lengths that differ",
    lambda good: head()[:-2] + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n" + good,
)
sent("a length that is no number", lambda good: head(200, {"Content-Length": "many"}) + good)
sent(
    "a chunk size that is no number",
    lambda good: head(200, {"Transfer-Encoding": "chunked"}) + b"many\r\n" + good,
)


@fault("an interim answer first")
async def _(wire: Wire) -> None:
    await wire.write(head(103, {}))
    await wire.response()


@fault("a second answer that nobody asked for")
async def _(wire: Wire) -> None:
    whole = [head(200, {"Content-Length": str(len(body))}) + body for body in (wire.good, b'{"count": 666}')]
    await wire.write(b"".join(whole))


# --- redirects and statuses ---------------------------------------------------------------------------------


def redirected(status: int) -> None:
    async def play(wire: Wire) -> None:
        location = f"http://127.0.0.1:{wire.server.elsewhere}/landed?token={SECRET}"
        await wire.response(status, b"", {"Location": location})

    name = f"{status} to another origin"
    FAULTS[name] = Fault(name, play)


for _status in (301, 302, 307):
    redirected(_status)

STATUSES = (400, 401, 403, 404, 409, 418, 429, 500, 502, 503, 504)
BODIES = ("the API's error", "HTML", "nothing", "other JSON")
for _status in STATUSES:
    _error = json.dumps({"code": _status, "message": "no luck"}).encode()
    for _kind, _body in zip(BODIES, (_error, b"<html>sick</html>", b"", b'{"oops": [1, 2]}'), strict=True):
        responded(f"{_status} with {_kind}", _status, _body)

responded("503 that asks for an hour", 503, b"", {"Retry-After": "3600"})
responded("200 with HTML", 200, b"<html>log in first</html>", {"Content-Type": "text/html"})
responded("200 with nothing", 200, b"")
responded("200 with half of the JSON", 200, b'{"revisions": [{"id": "')
responded("200 with other JSON", 200, b'{"oops": [1, 2]}')
responded("200 with null", 200, b"null")
responded("200 with an array", 200, b"[]")
responded("204", 204, b"", {})

# --- tokens and clocks --------------------------------------------------------------------------------------

responded("token refused, 400", 400, b'{"error": "invalid_client"}', at="token")
responded("token refused, 401", 401, b'{"code": 401, "message": "wrong secret"}', at="token")
responded("token refused, 403", 403, b'{"code": 403, "message": "disabled"}', at="token")
responded("token endpoint missing, 404", 404, b'{"code": 404, "message": "no such route"}', at="token")
responded("token answer without a token", 200, b'{"expiresIn": 60}', at="token")
responded("token of characters that no header takes", 200, b'{"accessToken": "a\\nb"}', at="token")
responded("token answer that is no JSON", 200, b"<html></html>", at="token")
responded("token endpoint down, 503", 503, b"", at="token")


@fault("token endpoint resets", at="token")
async def _(wire: Wire) -> None:
    await wire.reset()


@fault("token endpoint hangs", at="token", slow=True)
async def _(wire: Wire) -> None:
    await wire.hang()


responded("token expired, the next is good", 401, _UNAUTHORIZED, at="api", times=1)
responded("the wall clock jumps a day ahead", 200, None, at="api", jump=DAY)
responded("the wall clock jumps a day back", 200, None, at="api", jump=-DAY)

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
_RECORD = {
    "meta": {"creationTimestamp": "2026-01-01T00:00:00Z", "type": "PhaseUpdate"},
    "spec": {"phaseUpdate": {"phase": "Running"}},
}


class SickServer:
    """An HTTP server over bare streams.

    Attributes:
        phase: the phase of the one revision.
        elsewhere: the port that redirects lead to; nobody has to come there.
        landed: how many came.
        jump: moves the client's wall clock.
        after_answer: what happens, once, after the next good answer of the API.
    """

    def __init__(self) -> None:
        self.phase = "Pending"
        self.port = 0
        self.elsewhere = 0
        self.landed = 0
        self.connections: set[asyncio.StreamWriter] = set()
        self.hanging: set[Wire] = set()
        self.jump: Callable[[float], None] = lambda _: None
        self.after_answer: Callable[[], Awaitable[None]] | None = None
        self._fault: Fault | None = None
        self._at_token = False
        self._left = 0
        self._tokens = itertools.count(1)
        self._good_from = 0
        self._server: asyncio.Server | None = None
        self._other: asyncio.Server | None = None
        self._closed: socket.socket | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Self:
        self._other = await asyncio.start_server(self._land, "127.0.0.1", 0)
        self.elsewhere = self._other.sockets[0].getsockname()[1]
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
        """Let every answer from now on, or the next *times*, be a fault."""
        self._fault, self._at_token = fault, (fault.at or at) == "token"
        times = times if fault.times is None else fault.times
        self._left = 10**9 if times is None else times
        if fault.at == "token":
            self._good_from = next(self._tokens)
        if fault.play is None:
            await self._refuse()

    async def heal(self) -> None:
        """Answer well from now on."""
        self._fault = None
        for wire in self.hanging:
            await wire.close()
        if self._closed is not None:
            await self._listen()

    async def _listen(self) -> None:
        if self._closed is not None:
            self._closed.close()
            self._closed = None
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _refuse(self) -> None:
        """Keep the port, but do not listen on it."""
        assert self._server is not None
        self._server.close()
        for writer in self.connections:
            writer.transport.abort()
        self._closed = socket.socket()
        self._closed.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._closed.bind(("127.0.0.1", self.port))

    async def _land(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.landed += 1
        writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task: Any = asyncio.current_task()
        self._tasks.add(task)
        self.connections.add(writer)
        try:
            while not writer.is_closing():
                await self._answer(reader, Wire(self, reader, writer))
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client is gone, or this server is
        finally:
            writer.close()
            self.connections.discard(writer)
            self._tasks.discard(task)

    async def _answer(self, reader: asyncio.StreamReader, wire: Wire) -> None:
        request = (await reader.readuntil(b"\r\n\r\n")).decode()
        headers = dict(line.lower().split(": ", 1) for line in request.split("\r\n")[1:-2])
        await reader.readexactly(int(headers.get("content-length", 0)))
        path = request.split()[1]
        is_token = path.endswith("/token")
        token = headers.get("authorization", "").removeprefix("bearer t").partition(".")[0]
        if not is_token and int(token) < self._good_from:
            await wire.response(401, _UNAUTHORIZED)
            return
        wire.good = self._good(path)
        await self._play(wire, is_token=is_token)

    async def _play(self, wire: Wire, *, is_token: bool) -> None:
        fault = self._fault
        if fault is None or fault.play is None or self._left == 0 or is_token != self._at_token:
            begin, self.after_answer = (
                (self.after_answer, None) if not is_token else (None, self.after_answer)
            )
            await wire.response()
            if begin is not None:
                await begin()
            return
        self._left -= 1
        self.jump(fault.jump)
        await fault.play(wire)

    def _good(self, path: str) -> bytes:
        revision = _revision(self.phase)
        path, _, query = path.partition("?")
        match path.split("/")[3:]:
            case ["token"]:
                return self._token()
            case ["workloads"]:
                return json.dumps({"workloads": [_WORKLOAD]}).encode()
            case [*_, "count"]:
                return b'{"count": 1}'
            case [*_, "history"]:
                return json.dumps({"records": [_RECORD]}).encode()
            case [*_, "revisions"]:
                return json.dumps({"revisions": [] if "deleted" in query else [revision]}).encode()
            case _:
                return json.dumps(revision).encode()

    def _token(self) -> bytes:
        """Return a JWT that alone tells when it ends, so that the wall clock matters."""
        claims = (
            base64.urlsafe_b64encode(json.dumps({"exp": time.time() + 3600}).encode()).decode().rstrip("=")
        )
        return json.dumps({"accessToken": f"t{next(self._tokens)}.{claims}.s"}).encode()
