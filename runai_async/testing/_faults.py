"""What can go wrong on the way, on demand."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import socket
import struct
from collections.abc import Mapping
from typing import Literal, get_args

import msgspec
from aiohttp import web
from attrs import define

FaultKind = Literal["latency", "hang", "reset", "truncate", "drip", "bad_json"]
FAULT_KINDS: tuple[str, ...] = get_args(FaultKind)
Answer = tuple[int, Mapping[str, str], bytes]
_TOKEN_PATH = re.compile(r"/api/v\d/token$")


@define
class Fault:
    """A fault that waits for a request to hit.

    Attributes:
        kind: what goes wrong; None where *answer* is given instead.
        answer: status, headers and body to answer.
    """

    kind: FaultKind | None
    path: re.Pattern[str] | None
    left: int | None
    seconds: float
    rate: float
    answer: Answer | None = None

    def hits(self, path: str, rng: random.Random) -> bool:
        """Tell whether this fault hits a request; token requests only if its path asks for them."""
        if self.left == 0:
            return False
        matches = not _TOKEN_PATH.search(path) if self.path is None else self.path.search(path) is not None
        return matches and (self.rate >= 1 or rng.random() < self.rate)


class Faults:
    """The faults that wait, in the order in which they were asked for."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._waiting: list[Fault] = []

    def add(
        self,
        kind: FaultKind | None,
        path: str | None,
        times: int | None,
        *,
        seconds: float = 0.0,
        rate: float = 1.0,
        answer: Answer | None = None,
    ) -> None:
        """Let the next *times* matching requests meet a fault, or an *answer* instead of theirs."""
        pattern = None if path is None else re.compile(path)
        self._waiting.append(Fault(kind, pattern, times, seconds, rate, answer))

    def clear(self) -> None:
        """Forget all faults."""
        self._waiting.clear()

    def draw(self, path: str) -> Fault | None:
        """Return the fault that a request meets, if any."""
        for fault in self._waiting:
            if fault.hits(path, self._rng):
                if fault.left is not None:
                    fault.left -= 1
                    if not fault.left:
                        self._waiting.remove(fault)
                return fault
        return None


def answer_of(status: int, headers: Mapping[str, str], body: object) -> Answer:
    """Return an answer that a test wants to be given: text is HTML, anything else JSON."""
    if body is None:
        body = {"code": status, "message": "as the test asked for"}
    kind = "text/html" if isinstance(body, str | bytes) else "application/json"
    text = body.encode() if isinstance(body, str) else body
    data = text if isinstance(text, bytes) else msgspec.json.encode(text)
    return status, {"Content-Type": kind, **headers}, data


async def distort(
    fault: Fault, request: web.Request, whole: web.Response, stopping: asyncio.Event
) -> web.StreamResponse:
    """Answer as a fault wants it, given the answer as it should be."""
    if fault.answer is not None:
        status, headers, body = fault.answer
        return web.Response(status=status, headers=headers, body=body)
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
        case _:  # the last of them: reset
            _reset(request)
    return whole


async def pause(seconds: float | None, stopping: asyncio.Event) -> None:
    """Wait for *seconds*, None for ever; but no longer than the server runs."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stopping.wait()


def _reset(request: web.Request) -> None:
    """Close the connection so that the other side sees a reset and not an end."""
    transport = request.transport
    assert transport is not None  # noqa: S101  (a request whose client has gone is cancelled)
    wire: socket.socket = transport.get_extra_info("socket")
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


async def _begin(request: web.Request, whole: web.Response) -> tuple[web.StreamResponse, bytes]:
    body = whole.body if isinstance(whole.body, bytes) else b""
    answer = web.StreamResponse(status=whole.status, headers={"Content-Type": whole.content_type})
    answer.content_length = len(body)
    await answer.prepare(request)
    return answer, body


async def _truncate(request: web.Request, whole: web.Response) -> web.StreamResponse:
    answer, body = await _begin(request, whole)
    await answer.write(body[: len(body) // 2])
    request.protocol.force_close()
    return answer


async def _drip(
    request: web.Request, whole: web.Response, seconds: float, stopping: asyncio.Event
) -> web.StreamResponse:
    answer, body = await _begin(request, whole)
    with contextlib.suppress(ConnectionError):  # the client had enough
        for index in range(len(body)):
            await answer.write(body[index : index + 1])
            await pause(seconds, stopping)
    return answer
