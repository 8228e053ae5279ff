"""The transport protocol, and the aiohttp session wrapper: the only door to aiohttp's client.

A poll costs little more than a bare `session.get()`, so the layers above meet in one timeout: aiohttp's own
`total`, set to what is left of the attempt or of the deadline. It covers the pool, DNS, connecting, headers
and body. Waiting for a free slot is outside of it, since a queue is no sign of a sick server.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import platform
import re
import ssl
import warnings
from pathlib import Path
from typing import Protocol
from urllib import request as urllib_request

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from runai_async._clock import Clock
from runai_async._limiter import Limiter
from runai_async._requests import Request, Response, is_loopback
from runai_async._unpack import ACCEPTED, unpacked
from runai_async._version import __version__
from runai_async.errors import AttemptTimeoutError, ConfigurationError, DeadlineExceededError, TransportError

USER_AGENT = f"runai-async/{__version__} aiohttp/{aiohttp.__version__} Python/{platform.python_version()}"
_HEADERS = {"User-Agent": USER_AGENT, "Accept": "application/json", "Accept-Encoding": ACCEPTED}
_FAILURES = (TimeoutError, aiohttp.ClientError, OSError, ValueError, RuntimeError, AttributeError)
"""What a request of aiohttp's raises, one way or another."""
_KEEPALIVE = 15.0
"""Seconds. Shorter than what gateways keep (nginx 75, AWS 60), so that a poll rarely meets a closing one."""
_TLS_REFUSAL = re.compile(r"CERTIFICATE|UNKNOWN_CA|ACCESS_DENIED")
"""In OpenSSL's name for what a server says that does not like a client's certificate, or the lack of one."""
_FIXED_WORDS = re.compile(
    r"Bad status line|Expected HTTP/|Data after `Connection: close`|Invalid (HTTP header|header token)"
    r"|Invalid character in (chunk size|Content-Length)|Expected LF after chunk data|Got more than \d+ bytes"
    r"|Not enough data (to|for) satisfy [a-z ]+ header( \(received \d+ of \d+ bytes\))?"
)
"""What may be told of errors that else quote the answer: its bytes and headers may hold secrets."""


class Transport(Protocol):
    """Sends one request and returns one whole answer, whatever its status."""

    async def send(
        self, request: Request, *, timeout: float, deadline: float, authorization: str | None = None
    ) -> Response:
        """Send *request*.

        Args:
            request: what to send.
            timeout: seconds for this attempt, everything in it.
            deadline: the clock's monotonic time at which to give up.
            authorization: the value of the Authorization header.

        Raises:
            TransportError: there was no usable answer.
            DeadlineExceededError: the deadline came first.
        """
        ...

    async def aclose(self) -> None:
        """Release what the transport holds."""
        ...


def environment_proxy(base_url: URL) -> URL | None:
    """Return the proxy that the environment names for *base_url* (`HTTPS_PROXY`, `NO_PROXY`, …)."""
    # Read once: with aiohttp's own trust_env, each request would read the whole environment, in a thread.
    proxies = urllib_request.getproxies_environment()
    address = proxies.get(base_url.scheme)
    if not address or urllib_request.proxy_bypass_environment(  # type: ignore[attr-defined]  # since 2.6, in no stub
        f"{base_url.host}:{base_url.port}", proxies
    ):
        return None
    proxy = check_proxy(address)
    # Plain http may go to loopback because it does not leave the machine; so by no proxy elsewhere, either.
    leaves = base_url.scheme == "http" and is_loopback(base_url) and not is_loopback(proxy)
    return None if leaves else proxy


def check_proxy(value: str | URL) -> URL:
    """Return a proxy's URL. Raises `ConfigurationError` for one that aiohttp cannot use."""
    try:
        url = URL(value)
    except (ValueError, TypeError):
        raise ConfigurationError("proxy is no URL; it looks like http://proxy.example:3128") from None
    if url.scheme not in {"http", "https"} or not url.host:
        raise ConfigurationError(
            "proxy must be an http:// or https:// URL with a host; other kinds are not supported"
        )
    return url


class AiohttpTransport:
    """A wrapper around one `aiohttp.ClientSession`.

    The session is made at first use, in the running loop, and belongs to that loop. A session of the
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
        self._last_headers: tuple[str | None, CIMultiDict[str]] = (None, CIMultiDict(_HEADERS))
        self._max_body = max_body
        self._ssl: ssl.SSLContext | bool = ssl_context or True
        self._ca_file = ca_file
        # Its credentials apart: aiohttp's errors tell the URL.
        self._proxy = None if proxy is None else proxy.with_user(None)
        self._proxy_headers = _proxy_headers(proxy)

    def __del__(self) -> None:
        # No async work here: the loop may be gone. aiohttp's own complaint would not name what to close.
        if self._session is not None and not self._session.closed and self._given is None:
            warnings.warn(
                f"a RunaiClient was not closed: use `async with`, or await its aclose() ({self!r})",
                ResourceWarning,
                source=self,
                stacklevel=2,
            )
            if (connector := self._session.connector) is not None:
                connector._close()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # its close() wants a loop

    async def send(
        self, request: Request, *, timeout: float, deadline: float, authorization: str | None = None
    ) -> Response:
        """Send one request over the session; see `Transport.send`."""
        session = self._session
        if session is None or self._loop is not asyncio.get_running_loop():
            session = await self._open()
        if not request.queued:
            return await self._attempt(session, request, timeout, deadline, authorization)
        if not self._limiter.take():
            await self._queue(deadline)
        try:
            return await self._attempt(session, request, timeout, deadline, authorization)
        finally:
            self._limiter.give()

    async def _queue(self, deadline: float) -> None:
        try:
            await self._limiter.wait(deadline)
        except TimeoutError as error:
            raise DeadlineExceededError(
                "the deadline passed while waiting for a free slot; raise max_concurrency or the deadline"
            ) from error

    async def _attempt(
        self,
        session: aiohttp.ClientSession,
        request: Request,
        timeout: float,
        deadline: float,
        authorization: str | None,
    ) -> Response:
        left = deadline - self._clock.monotonic()
        limit = min(timeout, left)
        if limit <= 0:
            raise DeadlineExceededError(
                f"the deadline passed before {request.method} {request.url.path} was sent"
            )
        try:
            async with session.request(
                request.method,
                request.url,
                data=request.body,
                headers=self._headers(request, authorization),
                timeout=_within(limit),
                allow_redirects=False,
                auto_decompress=False,  # not every aiohttp has a bound for what it unpacks
                raise_for_status=False,
                proxy=self._proxy,
                proxy_headers=self._proxy_headers and {**self._proxy_headers},  # aiohttp adds to it
                ssl=self._ssl,
            ) as answer:
                return Response(answer.status, answer.headers, await self._read(answer))
        except _FAILURES as error:
            meaning = self._meaning(error, request, limit, cut=limit < timeout)
            if meaning is error:
                raise
            raise meaning from _presentable(error)

    def _headers(self, request: Request, authorization: str | None) -> CIMultiDict[str]:
        """Return the headers of a request: mostly those of the one before, as making them takes its time."""
        if self._last_headers[0] != authorization or request.headers:
            made = CIMultiDict({**_HEADERS, **(request.headers or {})})
            if authorization is not None:
                made["Authorization"] = authorization
            if request.headers:
                return made
            self._last_headers = (authorization, made)
        return self._last_headers[1]

    async def _read(self, answer: aiohttp.ClientResponse) -> bytes:
        """Read a body of bounded size; one that announces its length needs no counting."""
        length = answer.content_length
        if length is not None and length <= self._max_body:
            body = await answer.read()
        else:
            body = await self._counted(answer)
        encoding = answer.headers.get("Content-Encoding")
        return unpacked(body, encoding, self._max_body) if encoding else body

    async def _counted(self, answer: aiohttp.ClientResponse) -> bytes:
        body = bytearray()
        async for chunk in answer.content.iter_any():
            body += chunk
            if len(body) > self._max_body:
                answer.close()
                raise TransportError(
                    f"the answer's body is longer than {self._max_body} bytes (max_body)", transient=False
                )
        return bytes(body)

    def _meaning(self, error: Exception, request: Request, limit: float, *, cut: bool) -> Exception:
        """Turn what aiohttp raised into an error of ours."""
        where = f"{request.method} {request.url.with_query(None)}"
        if isinstance(error, TimeoutError):
            if cut:
                return DeadlineExceededError(f"{where}: the deadline passed with the attempt in flight")
            return AttemptTimeoutError(f"{where}: no complete answer within {limit:g} s")
        if _is_tls(error):
            return TransportError(
                f"{where}: TLS failed: {_said(error)} — for a private CA pass ca_file or ssl_context, "
                "for a client certificate an ssl_context",
                transient=False,
            )
        if isinstance(error, RuntimeError | AttributeError):
            return self._unexpected(error, where)
        return TransportError(f"{where}: {_said(error)}")

    def _unexpected(self, error: Exception, where: str) -> Exception:
        """Tell what aiohttp raises of a closed session from a defect, which is raised as it is."""
        if self._session is not None and not self._session.closed:
            return error
        if isinstance(error, AttributeError):
            # Before 3.12, aiohttp repeats a request that closing cut, over a connector that is gone.
            return TransportError(f"{where}: the client was closed")
        return RuntimeError("the client's session is closed; make a new client")

    async def _open(self) -> aiohttp.ClientSession:
        """Bind to the running loop and make the session."""
        loop = asyncio.get_running_loop()
        if self._closed:
            raise RuntimeError("the client is closed; make a new one")
        if self._loop is None:
            self._loop, self._opening = loop, asyncio.Lock()
        if self._loop is not loop or self._opening is None:
            raise RuntimeError("the client is bound to another event loop; make one client in each loop")
        async with self._opening:
            if self._session is None:
                if self._ca_file is not None:
                    self._ssl = await asyncio.to_thread(_trusting, self._ca_file)
                if self._closed:
                    raise RuntimeError("the client is closed; make a new one")
                self._session = self._given or self._make_session()
        return self._session

    def _make_session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEPALIVE),
            cookie_jar=aiohttp.DummyCookieJar(),  # an API with bearer tokens has no use for cookies
            timeout=aiohttp.ClientTimeout(),
            trust_env=False,
        )

    async def aclose(self) -> None:
        """Close the session, unless it is the caller's. Closing twice is fine."""
        self._closed = True
        session, self._session = self._session, None
        if session is not None and self._given is None:
            await session.close()


@functools.lru_cache(8)
def _within(seconds: float) -> aiohttp.ClientTimeout:
    """Make the timeout of an attempt; mostly it is the same one, and making it takes its time."""
    # Exact: aiohttp would round limits of 5 s and more up to whole seconds.
    return aiohttp.ClientTimeout(total=seconds, ceil_threshold=float("inf"))


def _trusting(ca_file: Path) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"ca_file {str(ca_file)!r} cannot be used: {error}") from error


def _proxy_headers(proxy: URL | None) -> dict[str, str] | None:
    """Return what lets us through a proxy; aiohttp hands an Authorization on as Proxy-Authorization."""
    if proxy is None or proxy.user is None:
        return None
    pair = f"{proxy.user}:{proxy.password or ''}".encode()
    return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}


def _is_tls(error: Exception) -> bool:
    """Tell whether TLS refuses: the server's certificate here, or ours there, which shows only at a read."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError):
        return True
    cause = error.__cause__
    return isinstance(cause, ssl.SSLError) and _TLS_REFUSAL.search(cause.reason or "") is not None


def _quotes(error: Exception) -> bool:
    """Tell whether an error of aiohttp's quotes what was sent or answered."""
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return not isinstance(error.message, str)
    return isinstance(error, aiohttp.ClientResponseError) or (
        isinstance(error, aiohttp.ClientPayloadError) and bool(error.args)
    )


def _presentable(error: Exception) -> Exception:
    """Return an error of aiohttp's, or one in its place that quotes nothing."""
    return aiohttp.ClientError(_said(error)) if _quotes(error) else error


def _said(error: Exception) -> str:
    """Describe an error of aiohttp's; some have no text, and some have one that is not to be told."""
    kind = type(error).__name__
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"{kind}: the proxy answered {error.status}"
    if _quotes(error):
        known = _FIXED_WORDS.search(str(error))
        return f"{kind}: {known[0] if known else 'the answer is no whole and proper HTTP'}"
    return f"{kind}: {error}" if str(error) else kind
