"""An HTTP request, an HTTP response, and the protocol of what turns one into the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Protocol, runtime_checkable

from attrs import field
from yarl import URL

from runai_async._clock import Clock
from runai_async._values import frozen

_NO_HEADERS: Mapping[str, str] = {}


@frozen
class Request:
    """One HTTP request.

    Attributes:
        method: such as `GET`.
        url: the whole URL, query included.
        headers: what to send beside the transport's own headers; may hold secrets.
        body: may hold secrets.
        queued: whether it counts against the client's concurrency. A token request does not: the calls whose
            slots it would need may be waiting for that very token.

    Example:
        >>> class Counting:
        ...     async def send(self, request: Request, **limits: object) -> Response:
        ...         print(request.method, request.url.path)
        ...         return Response(body=b'{"count": 2}')
        >>> runai = RunaiClient("https://acme.run.ai", token, transport=Counting())
        >>> await runai.count_revisions(workload_id)
        GET /api/v1/workloads/inferences/5b7ad5a4-4f2c-4c0a-b63b-0d4c1e9f7c11/revisions/count
        2
    """

    method: str
    url: URL
    headers: Mapping[str, str] | None = field(default=None, repr=False)
    body: bytes | None = field(default=None, repr=False)
    queued: bool = True


@frozen
class Response:
    """One complete HTTP response.

    Attributes:
        status: the HTTP status.
        headers: the names may be in any case.
        body: complete and decompressed.

    Example:
        >>> transport = FakeTransport([Response(429, {"Retry-After": "2"}), Response(body=b'{"count": 2}')])
    """

    status: int = 200
    headers: Mapping[str, str] = field(factory=lambda: _NO_HEADERS)
    body: bytes = field(default=b"", repr=False)


class CompressedResponse(Response):
    """A successful response whose body is decompressed when it is first asked for.

    Args:
        headers: of the response.
        compressed: the body as it was received.
        decompress: returns the complete body; raises `TransportError`.
    """

    __slots__ = ("_decompress", "compressed")

    compressed: bytes
    _decompress: Callable[[], bytes]

    def __init__(
        self, headers: Mapping[str, str], compressed: bytes, decompress: Callable[[], bytes]
    ) -> None:
        object.__setattr__(self, "status", HTTPStatus.OK.value)
        object.__setattr__(self, "headers", headers)
        object.__setattr__(self, "compressed", compressed)
        object.__setattr__(self, "_decompress", decompress)

    def __getattr__(self, name: str) -> Any:
        """Return the body, which is looked for here as long as it is not set."""
        if name != "body":
            raise AttributeError(name, name=name, obj=self)
        body = self._decompress()
        object.__setattr__(self, "body", body)
        return body


class Transport(Protocol):
    """Sends one request and returns the complete response, whatever its status.

    Example:
        >>> class TwoOfEach:
        ...     async def send(self, request: Request, *, timeout: float, deadline: float) -> Response:
        ...         return Response(200, body=b'{"count": 2}')
        ...     async def aclose(self) -> None:
        ...         pass
        >>> runai = RunaiClient("https://acme.run.ai", token, transport=TwoOfEach())
    """

    async def send(self, request: Request, *, timeout: float, deadline: float) -> Response:
        """Send *request*.

        Args:
            request: what to send; its headers include the token.
            timeout: seconds for this attempt, everything in it.
            deadline: the clock's monotonic time at which to give up.

        Raises:
            TransportError: there was no usable response.
            DeadlineExceededError: the deadline came first.
        """
        ...

    async def aclose(self) -> None:
        """Release what the transport holds."""
        ...


@runtime_checkable
class Timed(Protocol):
    """A transport that measures time by the client's clock, and so has to know it."""

    def use_clock(self, clock: Clock) -> None:
        """Measure time by *clock* from now on."""
        ...
