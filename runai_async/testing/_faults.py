"""Faults that a test injects into responses."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import socket
import struct
from collections.abc import Mapping
from http import HTTPStatus
from typing import Literal, get_args

import msgspec
from aiohttp import web
from attrs import define

from runai_async.testing._bodies import BODY_FAULTS, BodyFault, spoiled

FaultKind = Literal["latency", "hang", "reset", "truncate", "drip", "bad_json", BodyFault]
FAULT_KINDS: tuple[str, ...] = get_args(FaultKind)
CannedResponse = tuple[int, Mapping[str, str], bytes]
"""Status, headers and body."""
_TOKEN_PATH = re.compile(r"/api/v\d/token$")


@define
class Fault:
    """A fault that waits for a request to hit.

    Attributes:
        kind: what goes wrong; None if *response* is sent instead.
        left: how many requests it still hits; None for all.
        response: what is sent instead of the real response.
    """

    kind: FaultKind | None
    path: re.Pattern[str] | None
    left: int | None
    seconds: float
    rate: float
    response: CannedResponse | None = None

    def hits(self, path: str, rng: random.Random) -> bool:
        """Return whether this fault hits a request. Token requests are hit only if *path* matches them."""
        if self.left == 0:
            return False
        matches = not _TOKEN_PATH.search(path) if self.path is None else self.path.search(path) is not None
        return matches and (self.rate >= 1 or rng.random() < self.rate)


class Faults:
    """The faults that wait, in the order in which they were added."""

    def __init__(self, rng: random.Random) -> None:
        self.random = rng
        self._waiting: list[Fault] = []

    def add(
        self,
        kind: FaultKind | None,
        path: str | None,
        times: int | None,
        *,
        seconds: float = 0.0,
        rate: float = 1.0,
        response: CannedResponse | None = None,
    ) -> None:
        """Let the next *times* matching requests meet a fault, or get *response* instead of their own."""
        pattern = None if path is None else re.compile(path)
        self._waiting.append(Fault(kind, pattern, times, seconds, rate, response))

    def clear(self) -> None:
        """Forget all faults."""
        self._waiting.clear()

    def draw(self, path: str) -> Fault | None:
        """Return the fault that hits a request, if any, and count the hit."""
        for fault in self._waiting:
            if fault.hits(path, self.random):
                if fault.left is not None:
                    fault.left -= 1
                    if not fault.left:
                        self._waiting.remove(fault)
                return fault
        return None


def canned_response(status: int, headers: Mapping[str, str], body: object) -> CannedResponse:
    """Encode a response that a test specifies: text and bytes as HTML, anything else as JSON."""
    if body is None:
        body = {"code": status, "message": "injected by the test"}
    kind = "text/html" if isinstance(body, str | bytes) else "application/json"
    text = body.encode() if isinstance(body, str) else body
    data = text if isinstance(text, bytes) else msgspec.json.encode(text)
    return status, {"Content-Type": kind, **headers}, data


async def distort(
    fault: Fault, request: web.Request, whole: web.Response, stopping: asyncio.Event, rng: random.Random
) -> web.StreamResponse:
    """Return the response that a fault makes of the *whole* one."""
    if fault.response is not None:
        status, headers, body = fault.response
        return web.Response(status=status, headers=headers, body=body)
    if fault.kind in BODY_FAULTS:
        return _spoil(str(fault.kind), whole, rng)
    match fault.kind:
        case "bad_json":
            return web.Response(body=b'{"revisions": [{"id": "', content_type="application/json")
        case "truncate":
            return await _truncate(request, whole)
        case "drip":
            return await _drip(request, whole, fault.seconds or 1.0, stopping)
        case "latency":
            await pause(fault.seconds, stopping)
        case "hang":
            await pause(fault.seconds or None, stopping)
        case _:  # the last kind: reset
            _reset(request)
    return whole


def _spoil(kind: str, whole: web.Response, rng: random.Random) -> web.Response:
    """Return a successful response with a fault in its JSON."""
    if whole.status != HTTPStatus.OK or not isinstance(whole.body, bytes):
        return whole
    return web.Response(body=spoiled(kind, whole.body, rng), content_type="application/json")


async def pause(seconds: float | None, stopping: asyncio.Event) -> None:
    """Wait for *seconds*, or for ever if None, but no longer than the server runs."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stopping.wait()


def _reset(request: web.Request) -> None:
    """Close the connection so that the client sees a reset instead of an end of file."""
    transport = request.transport
    assert transport is not None  # noqa: S101  (a request whose client has gone is cancelled)
    connection: socket.socket = transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


async def _begin(request: web.Request, whole: web.Response) -> tuple[web.StreamResponse, bytes]:
    body = whole.body if isinstance(whole.body, bytes) else b""
    response = web.StreamResponse(status=whole.status, headers={"Content-Type": whole.content_type})
    response.content_length = len(body)
    await response.prepare(request)
    return response, body


async def _truncate(request: web.Request, whole: web.Response) -> web.StreamResponse:
    response, body = await _begin(request, whole)
    await response.write(body[: len(body) // 2])
    request.protocol.force_close()
    return response


async def _drip(
    request: web.Request, whole: web.Response, seconds: float, stopping: asyncio.Event
) -> web.StreamResponse:
    response, body = await _begin(request, whole)
    with contextlib.suppress(ConnectionError):  # the client has gone
        for index in range(len(body)):
            await response.write(body[index : index + 1])
            await pause(seconds, stopping)
    return response
