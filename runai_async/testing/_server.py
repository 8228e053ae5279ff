"""A server on loopback that can restart on its port, and leaves no connection open when it stops."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress

from aiohttp import web

_ACCEPT_TURNS = 3
"""Turns of the event loop from the arrival of a connection until the server owns it."""


class Server:
    """Serves an aiohttp application on 127.0.0.1, over https if given an *ssl_context*."""

    def __init__(self, ssl_context: ssl.SSLContext | None) -> None:
        self._ssl = ssl_context
        self._runner: web.AppRunner | None = None
        self._listener: asyncio.Server | None = None

    async def start(self, app: web.Application, port: int) -> int:
        """Start serving on *port*, or on a free port if it is 0, and return the port."""
        self._runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=0.05, keepalive_timeout=60, handler_cancellation=True
        )
        await self._runner.setup()
        assert self._runner.server is not None  # noqa: S101  (for the type checkers: setup() has set it)
        self._listener = await asyncio.get_running_loop().create_server(
            self._runner.server, "127.0.0.1", port, ssl=self._ssl, reuse_address=True
        )
        bound: int = self._listener.sockets[0].getsockname()[1]
        return bound

    async def stop(self) -> None:
        """Stop serving. Stopping twice is fine."""
        runner, self._runner = self._runner, None
        listener, self._listener = self._listener, None
        if runner is not None and listener is not None:
            # A connection that is being accepted while asyncio's server closes would never be closed. So stop
            # accepting first, then give the accepted connections the turns that they need.
            for listening in listener.sockets:
                with suppress(NotImplementedError):  # the proactor loop of Windows has no readers
                    asyncio.get_running_loop().remove_reader(listening.fileno())
            for _ in range(_ACCEPT_TURNS):
                await asyncio.sleep(0)
            listener.close()
            await runner.cleanup()
