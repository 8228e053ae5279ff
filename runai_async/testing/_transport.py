"""A transport without a socket: scripted answers, recorded requests."""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping

from attrs import field, frozen
from yarl import URL

from runai_async._http.messages import Request, Response


@frozen
class SentRequest:
    """A request as it would have gone out.

    Attributes:
        timeout: seconds that the attempt had.
        deadline: the clock's monotonic time that would have cut it.

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


Answer = Response | Exception | Callable[[SentRequest], "Response | Awaitable[Response]"]
"""An answer to give, an error to raise, or a function (async or not) that makes the answer."""


class FakeTransport:
    """A transport that gives the answers of a script, one for each request.

    Args:
        script: the answers in order: a `Response`, an exception to raise, or a function (async or not) that
            gets the `SentRequest` and returns a `Response`. When they are used up, the next request is an
            `AssertionError`.

    Attributes:
        script: the answers that are left.
        requests: what was sent, oldest first.
        closed: whether the client was closed.

    Example:
        >>> transport = FakeTransport([Response(503), Response(200, body=b'{"count": 2}')])
        >>> clock = FakeClock(auto=True)
        >>> runai = RunaiClient("https://acme.run.ai", "token", transport=transport, clock=clock)
        >>> await runai.count_revisions(workload_id), len(transport.requests)
        (2, 2)
    """

    def __init__(self, script: Iterable[Answer] = ()) -> None:
        self.script: deque[Answer] = deque(script)
        self.requests: list[SentRequest] = []
        self.closed: bool = False

    async def send(self, request: Request, *, timeout: float, deadline: float) -> Response:
        """Record the request and give the script's next answer."""
        headers = dict(request.headers or {})
        sent = SentRequest(request.method, request.url, headers, request.body, timeout, deadline)
        self.requests.append(sent)
        if not self.script:
            raise AssertionError(f"the script has no answer left for {sent.method} {sent.path}")
        answer = self.script.popleft()
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, Response):
            return answer
        given = answer(sent)
        return await given if inspect.isawaitable(given) else given

    async def aclose(self) -> None:
        """Note that the client was closed."""
        self.closed = True
