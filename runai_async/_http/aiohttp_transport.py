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
from http import HTTPStatus
from pathlib import Path

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from runai_async._clock import Clock
from runai_async._http.addresses import proxy_headers
from runai_async._http.aiohttp_errors import (
    AIOHTTP_ERRORS,
    closed_error,
    credentials_error,
    is_certificate_error,
    map_error,
    redacted_cause,
)
from runai_async._http.authorities import Authorities
from runai_async._http.compression import ACCEPTED, decompress
from runai_async._http.limiter import Limiter
from runai_async._http.messages import CompressedResponse, Request, Response
from runai_async._version import __version__
from runai_async.errors import DeadlineExceededError, TransportError

USER_AGENT = f"runai-async/{__version__} aiohttp/{aiohttp.__version__} Python/{platform.python_version()}"
_HEADERS = {"User-Agent": USER_AGENT, "Accept": "application/json", "Accept-Encoding": ACCEPTED}
_KEEPALIVE = 15.0
"""Seconds. Gateways keep connections longer (nginx 75, AWS 60), so a poll rarely meets one being closed."""
_MAX_AGE = 300.0
"""Seconds for which a connection is used. A name may move to another address while the old one lives on."""
_NO_TIMEOUT = aiohttp.ClientTimeout()
_BOM = b"\xef\xbb\xbf"
"""Some servers put it before their JSON, which does not allow it: https://www.rfc-editor.org/rfc/rfc8259#section-8.1."""


_Proxy = tuple[URL | None, Mapping[str, str] | None]
"""A proxy's URL, and the headers that it gets."""


class _Pool:
    """A session with the connections that it keeps.

    aiohttp cannot limit the age of a connection: its connector (3.11 to 3.14) knows only for how long one may
    be idle, and a poll every 10 s keeps it from being idle. Closing connections by their age would take
    private attributes, because a response whose body has arrived has already let go of its connection. So the
    session itself is replaced when it is *max_age* old. Requests in flight finish on the old one, where
    nothing new begins, and its idle connections end by their keep-alive.
    """

    __slots__ = ("expires_at", "session", "users")

    def __init__(self, session: aiohttp.ClientSession, expires_at: float) -> None:
        self.session = session
        self.expires_at = expires_at
        self.users = 0


class AiohttpTransport:
    """A wrapper around one `aiohttp.ClientSession`.

    The session is created at first use, in the running loop, and belongs to that loop. It is replaced from
    time to time. A session of the caller's is used as it is and neither replaced nor closed.
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
        proxies: Mapping[str, URL | None] | None = None,
        max_age: float = _MAX_AGE,
    ) -> None:
        self._clock = clock
        self._given = session
        self._max_age = max_age
        self._pool: _Pool | None = None
        self._retired: list[_Pool] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opening: asyncio.Lock | None = None
        self._closed = False
        self._limiter = Limiter(max_concurrency, clock)
        self._prepared: tuple[Mapping[str, str] | None, CIMultiDict[str]] = (None, CIMultiDict(_HEADERS))
        self._max_body = max_body
        self._ssl: ssl.SSLContext | bool = ssl_context or True
        self._authorities = None if ca_file is None else Authorities(ca_file)
        self._proxy = _usable(proxy)
        self._proxies = {authority: _usable(other) for authority, other in (proxies or {}).items()}

    def __del__(self) -> None:
        # No async work here: the loop may be gone. aiohttp's own warning would not say what to close.
        pools = [] if self._pool is None or self._given is not None else [self._pool, *self._retired]
        connectors = [pool.session.connector for pool in pools]
        still_open = [connector for connector in connectors if connector is not None and not connector.closed]
        if still_open:
            warnings.warn(
                f"a RunaiClient was not closed: use `async with`, or await its aclose() ({self!r})",
                ResourceWarning,
                source=self,
                stacklevel=2,
            )
        for connector in still_open:
            connector._close()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # its close() needs a loop

    async def send(self, request: Request, *, timeout: float, deadline: float) -> Response:
        """Send one request over the session; see `Transport.send`."""
        pool = self._pool
        if (
            pool is None
            or self._clock.monotonic() >= pool.expires_at
            or self._loop is not asyncio.get_running_loop()
        ):
            pool = await self._open()
        if request.queued and not self._limiter.take():
            await self._queue(deadline)
            pool = self._pool or pool  # the wait may have outlasted a session
        context = self._ssl
        pool.users += 1
        try:
            return await self._attempt(pool.session, request, timeout, deadline)
        except TransportError as error:
            if not await self._load_again(error, context):
                raise
            return await self._attempt(pool.session, request, timeout, deadline)
        finally:
            pool.users -= 1
            if request.queued:
                self._limiter.give()

    async def _load_again(self, error: TransportError, used: object) -> bool:
        """Return whether there are other authorities than those *used*, if a certificate was refused."""
        if self._authorities is None or not is_certificate_error(error.__cause__):
            return False
        assert self._opening is not None  # noqa: S101  (for the type checkers: a request was sent)
        async with self._opening:
            if self._ssl is not used:
                return True  # another request has loaded them meanwhile
            context = await asyncio.to_thread(self._authorities.load_again)
            # Connections made with the old context belong to it, and are not used with the new one.
            self._ssl = context or self._ssl
            return context is not None

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
            proxy, credentials = self._proxy_for(request.url) if self._proxies else self._proxy
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
                    proxy=proxy,
                    proxy_headers=credentials and {**credentials},  # aiohttp adds to it
                    ssl=self._ssl,
                ) as response,
            ):
                if session.trust_env:
                    self._check_credentials(session, request, response)
                body = await self._read(response)
                if "Content-Encoding" in response.headers:
                    return self._compressed(response, body)
                return Response(response.status, response.headers, body.removeprefix(_BOM))
        except AIOHTTP_ERRORS as error:
            over = None if self._closed else session
            ours = map_error(error, request, limit, cut=limit < timeout, session=over)
            if ours is error:
                raise
            raise ours from redacted_cause(error)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if (task is not None and task.cancelling()) or not (self._closed or session.closed):
                raise
            # A connector that is closed cancels what it connects, and so the call that waits for it.
            raise closed_error(request) from None

    def _check_credentials(
        self, session: aiohttp.ClientSession, request: Request, response: aiohttp.ClientResponse
    ) -> None:
        """Raise an error if the caller's session sent what is in a netrc file, instead of what it should."""
        # Newer versions of aiohttp refuse to replace a token, but even they add to a request without one.
        sent = response.request_info.headers.get("Authorization")
        if sent not in {self._headers(request).get("Authorization"), session.headers.get("Authorization")}:
            raise credentials_error(request)

    def _proxy_for(self, url: URL) -> _Proxy:
        return self._proxies.get(url.authority, self._proxy)

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
            return await response.read()
        return await self._counted(response)

    def _compressed(self, response: aiohttp.ClientResponse, body: bytes) -> Response:
        """Return a response with a compressed body; that of an error is always read, so at once."""
        encodings = ",".join(response.headers.getall("Content-Encoding"))

        def decompressed() -> bytes:
            return decompress(body, encodings, self._max_body).removeprefix(_BOM)

        if response.status == HTTPStatus.OK:
            return CompressedResponse(response.headers, body, decompressed)
        return Response(response.status, response.headers, decompressed())

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

    async def _open(self) -> _Pool:
        """Bind to the running loop, and create the session or replace one that has come of age."""
        loop = asyncio.get_running_loop()
        if self._closed:
            raise RuntimeError("the client is closed; make a new one")
        if self._loop is None:
            self._loop, self._opening = loop, asyncio.Lock()
        if self._loop is not loop or self._opening is None:
            raise RuntimeError("the client is bound to another event loop; make one client in each loop")
        async with self._opening:
            if self._pool is None or self._clock.monotonic() >= self._pool.expires_at:
                self._pool = await self._next_pool()
                await self._close_unused()
            return self._pool

    async def _next_pool(self) -> _Pool:
        if self._authorities is not None and self._ssl is True:
            self._ssl = await asyncio.to_thread(self._authorities.load)
        if self._closed:
            raise RuntimeError("the client is closed; make a new one")
        if self._given is not None:
            return _Pool(self._given, float("inf"))
        if self._pool is not None:
            self._retired.append(self._pool)
        return _Pool(self._make_session(), self._clock.monotonic() + self._max_age)

    async def _close_unused(self) -> None:
        """Close the replaced sessions over which nothing is in flight any more."""
        unused = [pool for pool in self._retired if not pool.users]
        self._retired = [pool for pool in self._retired if pool.users]
        for pool in unused:
            await pool.session.close()

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
        pools = [*self._retired, *([] if self._pool is None else [self._pool])]
        self._pool, self._retired = None, []
        if self._given is None:
            for pool in pools:
                await pool.session.close()


def _usable(proxy: URL | None) -> _Proxy:
    """Return a proxy without its credentials, since aiohttp's errors quote the URL, and their header."""
    return None if proxy is None else proxy.with_user(None), proxy_headers(proxy)
