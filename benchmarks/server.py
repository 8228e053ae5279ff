"""A server fast enough to measure clients with, in a process of its own: `python -m benchmarks.server`.

It prints its port as a line of JSON and ends when its stdin does. It does not check tokens. The first part of
a path chooses the lists:

- `/fixed/…`: always the same list for one workload, and a different one for each workload
- `/gzip/…`: the same lists, compressed
- `/random/…`: likewise one list for each workload, with environment variables of random digits
- `/fresh/…`: never the same list twice, and no revision in two of them
- `/churn/…`: one workload that changes with every response; see `payloads.Churn`

`…/count` returns how many lists were sent, of all kinds: that is how a benchmark counts polls.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

from benchmarks.payloads import Churn, Template, with_random_values, workload_id
from benchmarks.processes import ROOT, ended

_HEAD = (
    b"HTTP/1.1 %s\r\nServer: benchmarks\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n"
    b"Content-Type: application/json\r\n%sContent-Length: %d\r\n\r\n"
)
_LIST = re.compile(rb"GET /(\w+)/api/v1/workloads/inferences/[0-9a-f-]{24}([0-9a-f]{12})/revisions(\S*)")
_POST_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
Write = Callable[[bytes], None]


def token() -> str:
    """Make a JWT that is valid for an hour; nobody checks its signature."""
    now = int(time.time())
    claims = json.dumps({"iat": now, "exp": now + 3600}).encode()
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (b"{}", claims, b"-"))


def response(body: bytes, status: bytes = b"200 OK", headers: bytes = b"") -> bytes:
    """Return a whole response."""
    return _HEAD % (status, headers, len(body)) + body


@cache
def _compressed(tail: bytes) -> bytes:
    body = gzip.compress(Template().body(tail), mtime=0)
    return response(body, headers=b"Content-Encoding: gzip\r\n")


@cache
def _random(tail: bytes) -> bytes:
    return response(with_random_values(tail.decode()))


_PREPARED = {b"gzip": _compressed, b"random": _random}


class Responses:
    """Makes the responses, for all connections of the server."""

    def __init__(self) -> None:
        self.lists = 0
        self._template = Template()
        self._churn = Churn()

    def send(self, request: bytes, write: Write) -> None:
        """Respond at once."""
        write(self.to(request))

    def to(self, request: bytes) -> bytes:
        """Return the whole response to a request."""
        match = _LIST.match(request)
        if match is None:
            return self._token(request)
        mode, tail, rest = match.groups()
        if rest == b"/count":
            return response(b'{"count":%d}' % self.lists)
        if mode == b"churn" and rest == b"?deleted=true":
            return response(self._churn.deleted())
        self.lists += 1
        if mode == b"churn":
            return response(self._churn.response())
        if mode in _PREPARED:
            return _PREPARED[mode](tail)
        return response(self._template.body(tail if mode == b"fixed" else b"%012x" % self.lists))

    def _token(self, request: bytes) -> bytes:
        if request.startswith(b"POST ") and request.split(b" ", 2)[1].endswith(b"/token"):
            return response(json.dumps({"accessToken": token(), "expiresIn": 3600}).encode())
        body = b'{"code":404,"message":"no such path"}'
        return response(body, b"404 Not Found")


class Connection(asyncio.Protocol):
    """One persistent connection.

    Args:
        send: takes a request, and the function that writes a response to it, now or later.
    """

    def __init__(self, send: Callable[[bytes, Write], None]) -> None:
        self._send = send
        self._rest = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        while (end := data.find(b"\r\n\r\n") + 4) >= 4:
            if data.startswith(b"POST "):
                announced = _POST_LENGTH.search(data, 0, end)
                end += int(announced[1]) if announced else 0
                if len(data) < end:
                    break
            self._send(data[:end], self._write)
            data = data[end:]
        self._rest = data

    def _write(self, response: bytes) -> None:
        assert self._transport is not None
        if not self._transport.is_closing():
            self._transport.write(response)


async def serve() -> None:
    """Serve until stdin ends."""
    responses, loop = Responses(), asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(responses.send), "127.0.0.1", 0, backlog=4096)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


@contextmanager
def running() -> Iterator[str]:
    """Run a server and yield its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.server"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with ended(process):
        assert process.stdout is not None
        yield f"http://127.0.0.1:{json.loads(process.stdout.readline())['port']}"


def capacity(url: str, mode: str, requests: int, connections: int = 32) -> float:
    """Return how many lists per second the server sends to plain sockets, in waves of requests."""
    port = int(url.rpartition(":")[2])
    path = f"/{mode}/api/v1/workloads/inferences/{workload_id(1)}/revisions"
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
    sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(connections)]
    waves = max(1, requests // connections)
    try:
        size = _response_size(sockets[0], request)
        began = time.perf_counter()
        for _ in range(waves):
            for sock in sockets:
                sock.sendall(request)
            for sock in sockets:
                sock.recv(size, socket.MSG_WAITALL)
        return waves * connections / (time.perf_counter() - began)
    finally:
        for sock in sockets:
            sock.close()


def _response_size(sock: socket.socket, request: bytes) -> int:
    """Return the size of a whole response in bytes; every response has the same size."""
    sock.sendall(request)
    data = b""
    while b"\r\n\r\n" not in data:
        data += sock.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.rpartition(b": ")[2])
    if len(body) < length:
        sock.recv(length - len(body), socket.MSG_WAITALL)
    return len(head) + 4 + length


if __name__ == "__main__":
    asyncio.run(serve())
