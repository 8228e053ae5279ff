"""The transport that adds a token to each request."""

from __future__ import annotations

import asyncio

from runai_async._auth.masking import redact
from runai_async._auth.sources import TokenSource
from runai_async._clock import Clock
from runai_async._http.messages import Request, Response, Transport
from runai_async.errors import DeadlineExceededError, RunaiError

_OK = 200


class Authenticated:
    """A transport over a transport: adds the token, and after a 401 repeats the request once with another."""

    def __init__(self, transport: Transport, source: TokenSource, clock: Clock) -> None:
        self._transport = transport
        self._source = source
        self._clock = clock
        self._token = ""
        self._headers: dict[str, str] = {}

    async def send(self, request: Request, *, timeout: float, deadline: float) -> Response:
        """Send one request with a token; see `Transport.send`.

        Raises:
            AuthenticationError: the token endpoint rejected the credentials.
        """
        token = self._source.current() or await self._wait_for_token(deadline)
        response = await self._transport.send(
            self._with_token(request, token), timeout=timeout, deadline=deadline
        )
        if response.status == 401:  # noqa: PLR2004
            self._source.invalidate(token)
            rejected, token = token, self._source.current() or await self._wait_for_token(deadline)
            if token != rejected:
                response = await self._transport.send(
                    self._with_token(request, token), timeout=timeout, deadline=deadline
                )
        return response if response.status == _OK else redact(response, token)

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
        headers = self._headers if request.headers is None else {**request.headers, **self._headers}
        return Request(request.method, request.url, headers, request.body, request.queued)

    async def aclose(self) -> None:
        """Stop what the source runs, then close the transport below."""
        await self._source.aclose()
        await self._transport.aclose()
