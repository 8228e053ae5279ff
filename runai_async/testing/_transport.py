"""A transport without a socket: scripted responses, recorded requests."""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping

from attrs import field, frozen
from yarl import URL

from runai_async._http.messages import Request, Response


@frozen
class SentRequest:
    """A request as it would have been sent.

    Attributes:
        timeout: seconds that the attempt was given.
        deadline: when the call would have been cut off, on the clock's monotonic time.

    Example:
        >>> transport = FakeTransport([Response(body=b'{"count": 2}')])
        >>> runai = RunaiClient("https://acme.run.ai", "token", transport=transport)
        >>> count = await runai.count_revisions(workload_id)
        >>> [(sent.method, sent.headers["Authorization"], sent.timeout) for sent in transport.requests]
        [('GET', 'Bearer token', 30.0)]
    """

    method: str
    url: URL
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = field(repr=False)
    timeout: float
    deadline: float

    @property
    def path(self) -> str:
        """The URL's path."""
        return self.url.path


Reply = Response | Exception | Callable[[SentRequest], "Response | Awaitable[Response]"]
"""A response to return, an error to raise, or a function (async or not) that makes the response."""


class FakeTransport:
    """A transport that replies from a script, one entry per request.

    Args:
        script: the replies in order: a `Response`, an exception to raise, or a function (async or not) that
            takes the `SentRequest` and returns a `Response`. A request beyond the last one raises an
            `AssertionError`.

    Attributes:
        script: the replies that are left.
        requests: what was sent, oldest first.
        closed: whether the client was closed.

    Example:
        >>> transport = FakeTransport([Response(503), Response(200, body=b'{"count": 2}')])
        >>> clock = FakeClock(auto=True)
        >>> runai = RunaiClient("https://acme.run.ai", "token", transport=transport, clock=clock)
        >>> await runai.count_revisions(workload_id), len(transport.requests)
        (2, 2)
    """

    def __init__(self, script: Iterable[Reply] = ()) -> None:
        self.script: deque[Reply] = deque(script)
        self.requests: list[SentRequest] = []
        self.closed: bool = False

    async def send(self, request: Request, *, timeout: float, deadline: float) -> Response:
        """Record the request and give the next reply of the script."""
        headers = dict(request.headers or {})
        sent = SentRequest(request.method, request.url, headers, request.body, timeout, deadline)
        self.requests.append(sent)
        if not self.script:
            raise AssertionError(f"the script has no reply left for {sent.method} {sent.path}")
        reply = self.script.popleft()
        if isinstance(reply, Exception):
            raise reply
        if isinstance(reply, Response):
            return reply
        made = reply(sent)
        return await made if inspect.isawaitable(made) else made

    async def aclose(self) -> None:
        """Record that the client was closed."""
        self.closed = True
