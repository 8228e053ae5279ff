"""A transport without a socket: scripted responses, recorded requests."""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping

from attrs import field
from yarl import URL

from runai_async._clock import Clock
from runai_async._http.messages import Request, Response
from runai_async._values import frozen
from runai_async.errors import AttemptTimeoutError, DeadlineExceededError, RunaiError
from runai_async.testing._clock import FakeClock


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
            `AssertionError`. An async function that takes longer than the request may is cut off, as the
            real transport does it.
        clock: the clock by which that is measured; by default the one of the client that uses the transport.

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

    def __init__(self, script: Iterable[Reply] = (), *, clock: Clock | None = None) -> None:
        self.script: deque[Reply] = deque(script)
        self.requests: list[SentRequest] = []
        self.closed: bool = False
        self._clock = clock

    def use_clock(self, clock: Clock) -> None:
        """Measure time by a client's clock, unless the transport was given one."""
        self._clock = self._clock or clock

    async def send(self, request: Request, *, timeout: float, deadline: float) -> Response:
        """Record the request and give the next reply of the script.

        Raises:
            AttemptTimeoutError: the reply took longer than *timeout*.
            DeadlineExceededError: *deadline* came first.
        """
        headers = dict(request.headers or {})
        sent = SentRequest(request.method, request.url, headers, request.body, timeout, deadline)
        if self._clock is not None and self._clock.monotonic() >= deadline:
            raise DeadlineExceededError(f"the deadline passed before {sent.method} {sent.path} was sent")
        self.requests.append(sent)
        if not self.script:
            raise AssertionError(f"the script has no reply left for {sent.method} {sent.path}")
        reply = self.script.popleft()
        if isinstance(reply, Exception):
            raise reply
        if isinstance(reply, Response):
            return reply
        made = reply(sent)
        if not inspect.isawaitable(made):
            return made
        return await (made if self._clock is None else _within_its_time(made, sent, self._clock))

    async def aclose(self) -> None:
        """Record that the client was closed."""
        self.closed = True


async def _within_its_time(reply: Awaitable[Response], sent: SentRequest, clock: Clock) -> Response:
    """Wait for a reply, for as long as its request may take."""
    seconds = min(sent.timeout, sent.deadline - clock.monotonic())
    limit = asyncio.timeout(None)
    timer = asyncio.get_running_loop().create_task(_expire(clock, seconds, limit), name="FakeTransport")
    try:
        async with limit:
            return await reply
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise _too_late(sent, seconds) from error
    finally:
        timer.cancel()


async def _expire(clock: Clock, seconds: float, limit: asyncio.Timeout) -> None:
    # A fake clock lists the sleeps that the code under test asked for; this is none of them.
    await (clock.pause(seconds) if isinstance(clock, FakeClock) else clock.sleep(seconds))
    limit.reschedule(asyncio.get_running_loop().time())


def _too_late(sent: SentRequest, seconds: float) -> RunaiError:
    where = f"{sent.method} {sent.url.with_query(None)}"
    if seconds < sent.timeout:
        return DeadlineExceededError(f"{where}: the deadline passed with the attempt in flight")
    return AttemptTimeoutError(f"{where}: no complete response within {seconds:g} s")
