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
    """A transport that adds the token, and after a 401 repeats the request once with another one."""

    def __init__(self, transport: Transport, source: TokenSource, clock: Clock) -> None:
        self._transport = transport
        self._source = source
        self._clock = clock
        self._header = ("", "")

    async def send(
        self,
        request: Request,
        *,
        timeout: float,
        deadline: float,
        authorization: str | None = None,  # noqa: ARG002  (this transport is who sets it)
    ) -> Response:
        """Send one request with a token; see `Transport.send`.

        Raises:
            AuthenticationError: the token endpoint refused the credentials.
        """
        token = self._source.current() or await self._wait_for_token(deadline)
        response = await self._transport.send(
            request, timeout=timeout, deadline=deadline, authorization=self._bearer(token)
        )
        if response.status == 401:  # noqa: PLR2004
            self._source.invalidate(token)
            refused, token = token, self._source.current() or await self._wait_for_token(deadline)
            if token != refused:
                response = await self._transport.send(
                    request, timeout=timeout, deadline=deadline, authorization=self._bearer(token)
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

    def _bearer(self, token: str) -> str:
        if self._header[0] != token:
            self._header = (token, f"Bearer {token}")
        return self._header[1]

    async def aclose(self) -> None:
        """Stop what the source runs, then close the transport below."""
        await self._source.aclose()
        await self._transport.aclose()
