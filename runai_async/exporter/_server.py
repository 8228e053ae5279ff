"""A little HTTP server in threads: it answers while the event loop is busy, too, just when it is asked."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any

from prometheus_client.exposition import choose_encoder

from runai_async.exporter._metrics import Metrics

_logger = logging.getLogger("runai_async")

_PATIENCE = 10.0
"""Seconds that a connection may be silent."""
PLAIN = "text/plain; charset=utf-8"
Page = tuple[HTTPStatus, str, bytes]
"""Status, content type and body of an answer."""
Pages = Callable[[str, str], Page]
"""Makes the answer, in a thread of its own, from the path and the Accept header."""


@asynccontextmanager
async def serving_pages(pages: Pages, host: str, port: int) -> AsyncGenerator[int, None]:
    """Serve *pages* until the block is left.

    Yields:
        The port.

    Raises:
        OSError: the address cannot be had.
    """
    server = await asyncio.to_thread(_Server, host, port, pages)  # it may look the host's name up
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield server.server_port
    finally:
        try:
            await asyncio.to_thread(server.shutdown)
        finally:
            server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # a scrape that waits for the loop must not be waited for in the loop

    def __init__(self, host: str, port: int, pages: Pages) -> None:
        if ":" in host:
            self.address_family = socket.AF_INET6
        super().__init__((host, port), partial(_Handler, pages))

    def server_bind(self) -> None:
        """Bind, and do not ask DNS for the host's own name, which can take long and serves nothing here."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "", self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print no traceback: what fails here is that the other side has gone."""
        del request
        _logger.debug("a connection from %s to the exporter ended early", client_address)


class _Handler(BaseHTTPRequestHandler):
    server_version = "runai-async"
    sys_version = ""
    timeout = _PATIENCE

    def __init__(self, pages: Pages, *args: Any) -> None:
        self._pages = pages
        super().__init__(*args)

    def do_GET(self) -> None:
        """Answer."""
        status, kind, body = self._made()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _made(self) -> Page:
        try:
            return self._pages(self.path.partition("?")[0], self.headers.get("Accept", ""))
        except Exception:
            _logger.exception("a request to the exporter failed")
            return HTTPStatus.INTERNAL_SERVER_ERROR, PLAIN, b"the exporter failed; its log says why\n"

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the base class's word)
        """Say nothing: a scrape every few seconds is no news."""


@asynccontextmanager
async def serving(
    metrics: Metrics, is_healthy: Callable[[], bool], host: str, port: int
) -> AsyncGenerator[int, None]:
    """Serve `/metrics` and `/healthz` in threads, until the block is left.

    Args:
        metrics: what to serve.
        is_healthy: asked by `/healthz`, which is 200 or 503; called in the server's thread.
        host: the address to listen on.
        port: 0 for any free one.

    Yields:
        The port.

    Raises:
        OSError: the address cannot be had.

    Example:
        >>> async with serving(metrics, lambda: metrics.is_fresh(90), "127.0.0.1", 9464):
        ...     async for event in runai.watch_revisions(workload_id):
        ...         metrics.tell(event)
    """

    def pages(path: str, accept: str) -> Page:
        match path:
            case "/metrics":
                encode, kind = choose_encoder(accept)
                return HTTPStatus.OK, kind, encode(metrics.registry)
            case "/healthz" if is_healthy():
                return HTTPStatus.OK, PLAIN, b"ok\n"
            case "/healthz":
                return HTTPStatus.SERVICE_UNAVAILABLE, PLAIN, b"no good poll for too long\n"
            case _:
                return HTTPStatus.NOT_FOUND, PLAIN, b"there are /metrics and /healthz\n"

    async with serving_pages(pages, host, port) as real:
        yield real
