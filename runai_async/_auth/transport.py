"""The transport that adds a token to each request."""

from __future__ import annotations

import asyncio

from runai_async._api.server_time import parse_date
from runai_async._api.statuses import error_for
from runai_async._auth import jwt
from runai_async._auth.age import TokenAges
from runai_async._auth.masking import redact
from runai_async._auth.sources import TokenSource
from runai_async._clock import Clock
from runai_async._http.messages import Request, Response, Transport
from runai_async.errors import AuthenticationError, DeadlineExceededError, RunaiError

_OK = 200
_UNAUTHORIZED = 401


class Authenticated:
    """A transport over a transport: adds the token, and replaces one that has become too old."""

    def __init__(self, transport: Transport, source: TokenSource, clock: Clock) -> None:
        self._transport = transport
        self._source = source
        self._clock = clock
        self._token = ""
        self._ages = TokenAges()
        self._headers: dict[str, str] = {}

    async def send(self, request: Request, *, timeout: float, deadline: float) -> Response:
        """Send one request with a token; see `Transport.send`. After a 401 it is repeated with a new token.

        A young token that is refused is kept: see `TokenAges`.

        Raises:
            AuthenticationError: the token endpoint rejected the credentials, or the token has expired and
                cannot be replaced.
        """
        token = self._source.current() or await self._wait_for_token(deadline)
        response = await self._transport.send(
            self._with_token(request, token), timeout=timeout, deadline=deadline
        )
        if response.status == _UNAUTHORIZED and (other := await self._replace(token, deadline)) is not None:
            token = other
            response = await self._transport.send(
                self._with_token(request, token), timeout=timeout, deadline=deadline
            )
        if response.status == _OK:
            if self._ages.is_doubted:
                self._ages.accept(token, self._clock.monotonic())
            return response
        response = redact(response, token)
        if response.status == _UNAUTHORIZED:
            self._refused(request, token, response)
        return response

    async def _replace(self, token: str, deadline: float) -> str | None:
        """Return another token in place of a refused one, if there is one that may fare better."""
        now = self._clock.monotonic()
        if not self._ages.is_old(token, now):
            return None
        self._source.invalidate(token)
        other = self._source.current() or await self._wait_for_token(deadline)
        if other != token:
            self._ages.replace(now)
            return other
        self._ages.renew(token, now)  # there is no other: asking for one again and again would not help
        return None

    def _refused(self, request: Request, token: str, response: Response) -> None:
        """Note that the token in use was refused.

        Raises:
            AuthenticationError: it has expired, and there will be no other.
        """
        self._ages.refuse(token, self._clock.monotonic())
        now = parse_date(response.headers.get("Date")) or self._clock.now()  # the server's clock decides
        if self._source.is_fixed and jwt.has_expired(token, now.timestamp()):
            error = error_for(response, request)
            assert isinstance(error, AuthenticationError)  # noqa: S101  (for the type checkers: that is a 401)
            error.is_final = True
            raise error

    async def _wait_for_token(self, deadline: float) -> str:
        limit = asyncio.timeout(max(0.0, deadline - self._clock.monotonic()))
        try:
            async with limit:
                return await self._source.get_token()
        except TimeoutError as error:
            if isinstance(error, RunaiError) or not limit.expired():
                raise
            raise DeadlineExceededError("the deadline passed while waiting for a token") from error

    def _with_token(self, request: Request, token: str) -> Request:
        """Return a request with the token's header: one mapping for all, so it is prepared once."""
        if self._token != token:
            self._token, self._headers = token, {"Authorization": f"Bearer {token}"}
            self._ages.begin(token, self._clock.monotonic())
        headers = self._headers if request.headers is None else {**request.headers, **self._headers}
        return Request(request.method, request.url, headers, request.body, request.queued)

    async def aclose(self) -> None:
        """Stop what the source runs, then close the transport below."""
        await self._source.aclose()
        await self._transport.aclose()
