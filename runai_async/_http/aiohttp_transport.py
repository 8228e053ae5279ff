"""The transport over an aiohttp session: the only door to aiohttp's client.

A poll should cost little more than a bare `session.get()`, so there is a single timeout, set to what remains
of the attempt or of the deadline. It covers the pool, DNS, connecting, headers and body. Waiting for a free
slot does not count against it, because a queue is no sign of a sick server.
"""

from __future__ import annotations

import asyncio
import platform
import ssl
import warnings
from collections.abc import Mapping
from pathlib import Path

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from runai_async._clock import Clock
from runai_async._http.addresses import proxy_headers
from runai_async._http.aiohttp_errors import AIOHTTP_ERRORS, map_error, redacted_cause
from runai_async._http.compression import ACCEPTED, decompress
from runai_async._http.limiter import Limiter
from runai_async._http.messages import Request, Response
from runai_async._version import __version__
from runai_async.errors import ConfigurationError, DeadlineExceededError, TransportError

USER_AGENT = f"runai-async/{__version__} aiohttp/{aiohttp.__version__} Python/{platform.python_version()}"
_HEADERS = {"User-Agent": USER_AGENT, "Accept": "application/json", "Accept-Encoding": ACCEPTED}
_KEEPALIVE = 15.0
"""Seconds. Gateways keep connections longer (nginx 75, AWS 60), so a poll rarely meets one being closed."""
_NO_TIMEOUT = aiohttp.ClientTimeout()


class AiohttpTransport:
    """A wrapper around one `aiohttp.ClientSession`.

    The session is created at first use, in the running loop, and belongs to that loop. A session of the
    caller's is used as it is and never closed.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        session: aiohttp.ClientSession | None = None,
        max_concurrency: int = 100,
        max_body: int = 32 * 2**20,
        ssl_context: ssl.SSLContext | None = None,
        ca_file: Path | None = None,
        proxy: URL | None = None,
    ) -> None:
        self._clock = clock
        self._given = session
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opening: asyncio.Lock | None = None
        self._closed = False
        self._limiter = Limiter(max_concurrency, clock)
        self._prepared: tuple[Mapping[str, str] | None, CIMultiDict[str]] = (None, CIMultiDict(_HEADERS))
        self._max_body = max_body
        self._ssl: ssl.SSLContext | bool = ssl_context or True
        self._ca_file = ca_file
        # Without its credentials: aiohttp's errors quote the URL.
        self._proxy = None if proxy is None else proxy.with_user(None)
        self._proxy_headers = proxy_headers(proxy)

    def __del__(self) -> None:
        # No async work here: the loop may be gone. aiohttp's own warning would not say what to close.
        connector = None if self._session is None or self._given is not None else self._session.connector
        if connector is not None and not connector.closed:
            warnings.warn(
                f"a RunaiClient was not closed: use `async with`, or await its aclose() ({self!r})",
                ResourceWarning,
                source=self,
                stacklevel=2,
            )
            connector._close()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # its close() needs a loop

    async def send(self, request: Request, *, timeout: float, deadline: float) -> Response:
        """Send one request over the session; see `Transport.send`."""
        session = self._session
        if session is None or self._loop is not asyncio.get_running_loop():
            session = await self._open()
        if request.queued and not self._limiter.take():
            await self._queue(deadline)
        try:
            return await self._attempt(session, request, timeout, deadline)
        finally:
            if request.queued:
                self._limiter.give()

    async def _queue(self, deadline: float) -> None:
        try:
            await self._limiter.wait(deadline)
        except TimeoutError as error:
            raise DeadlineExceededError(
                "the deadline passed while waiting for a free slot; raise max_concurrency or the deadline"
            ) from error

    async def _attempt(
        self, session: aiohttp.ClientSession, request: Request, timeout: float, deadline: float
    ) -> Response:
        left = deadline - self._clock.monotonic()
        limit = left if left < timeout else timeout  # noqa: FURB136  (min() takes five times as long)
        if limit <= 0:
            raise DeadlineExceededError(
                f"the deadline passed before {request.method} {request.url.path} was sent"
            )
        try:
            # Not aiohttp's own `total`: it takes back two cancellations for its one, so a task that is
            # cancelled in the same moment would continue.
            async with (
                asyncio.timeout(limit),
                session.request(
                    request.method,
                    request.url,
                    data=request.body,
                    headers=self._headers(request),
                    timeout=_NO_TIMEOUT,
                    allow_redirects=False,
                    auto_decompress=False,  # not every aiohttp limits what it decompresses to
                    raise_for_status=False,
                    proxy=self._proxy,
                    proxy_headers=self._proxy_headers and {**self._proxy_headers},  # aiohttp adds to it
                    ssl=self._ssl,
                ) as response,
            ):
                return Response(response.status, response.headers, await self._read(response))
        except AIOHTTP_ERRORS as error:
            ours = map_error(error, request, limit, cut=limit < timeout, session=self._session)
            if ours is error:
                raise
            raise ours from redacted_cause(error)

    def _headers(self, request: Request) -> CIMultiDict[str]:
        """Return all headers of a request; reuses the previous ones if it can: building them is slow."""
        given, prepared = self._prepared
        if request.headers is not given:
            prepared = CIMultiDict({**_HEADERS, **(request.headers or {})})
            self._prepared = request.headers, prepared
        return prepared

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        """Read a body of bounded size; if its length is announced, there is nothing to count."""
        length = response.content_length
        if length is not None and length <= self._max_body:
            body = await response.read()
        else:
            body = await self._counted(response)
        encoding = response.headers.get("Content-Encoding")
        return decompress(body, encoding, self._max_body) if encoding else body

    async def _counted(self, response: aiohttp.ClientResponse) -> bytes:
        body = bytearray()
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > self._max_body:
                response.close()
                raise TransportError(
                    f"the response body is longer than {self._max_body} bytes (max_body)", transient=False
                )
        return bytes(body)

    async def _open(self) -> aiohttp.ClientSession:
        """Bind to the running loop and create the session."""
        loop = asyncio.get_running_loop()
        if self._closed:
            raise RuntimeError("the client is closed; make a new one")
        if self._loop is None:
            self._loop, self._opening = loop, asyncio.Lock()
        if self._loop is not loop or self._opening is None:
            raise RuntimeError("the client is bound to another event loop; make one client in each loop")
        async with self._opening:
            self._session = self._session or await self._first_session()
        return self._session

    async def _first_session(self) -> aiohttp.ClientSession:
        if self._ca_file is not None:
            self._ssl = await asyncio.to_thread(_trusting, self._ca_file)
        if self._closed:
            raise RuntimeError("the client is closed; make a new one")
        return self._given or self._make_session()

    def _make_session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEPALIVE),
            cookie_jar=aiohttp.DummyCookieJar(),  # an API with bearer tokens needs no cookies
            timeout=_NO_TIMEOUT,
            trust_env=False,
        )

    async def aclose(self) -> None:
        """Close the session, unless it is the caller's. Closing twice is fine."""
        self._closed = True
        session, self._session = self._session, None
        if session is not None and self._given is None:
            await session.close()


def _trusting(ca_file: Path) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"ca_file {str(ca_file)!r} cannot be used: {error}") from error
