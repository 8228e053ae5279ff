"""A transport that logs each request, for those who debug."""

from __future__ import annotations

from runai_async._clock import Clock
from runai_async._http.messages import Request, Response, Transport
from runai_async._observe.log import logger


class LoggedTransport:
    """A transport over a transport: logs method, path, status and milliseconds; no headers and no bodies."""

    def __init__(self, transport: Transport, clock: Clock) -> None:
        self._transport = transport
        self._clock = clock

    async def send(self, request: Request, *, timeout: float, deadline: float) -> Response:
        """Send one request; see `Transport.send`."""
        began = self._clock.monotonic()
        outcome = "cancelled"
        try:
            response = await self._transport.send(request, timeout=timeout, deadline=deadline)
            outcome = str(response.status)
        except Exception as error:
            outcome = type(error).__name__
            raise
        finally:
            took = (self._clock.monotonic() - began) * 1000
            logger.debug("%s %s: %s, %.0f ms", request.method, request.url.raw_path_qs, outcome, took)
        return response

    async def aclose(self) -> None:
        """Close the transport below."""
        await self._transport.aclose()
