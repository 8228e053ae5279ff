"""The exporter's HTTP server: `/metrics` is prometheus-client's own WSGI application, `/healthz` ours.

It runs in threads, so that it responds while the event loop is busy, which is when its figures matter most.
"""

from __future__ import annotations

import asyncio
import io
import socket
import threading
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.types import StartResponse, WSGIEnvironment

from prometheus_client import make_wsgi_app  # pyright: ignore[reportUnknownVariableType]  (its result is untyped)

from runai_async._observe.log import logger
from runai_async.exporter._metrics import Metrics

_PATIENCE = 10.0
"""Seconds that a connection may be silent."""
_Page = tuple[str, list[tuple[str, str]], bytes]
"""Status, headers and body of a response."""


@asynccontextmanager
async def serving(
    metrics: Metrics, is_healthy: Callable[[], bool], host: str, port: int
) -> AsyncGenerator[int, None]:
    """Serve `/metrics` and `/healthz` in threads, until the block is left.

    Args:
        metrics: the metrics to serve.
        is_healthy: whether `/healthz` responds with 200 or 503; called in the thread of the request.
        host: the address to listen on.
        port: 0 for any free one.

    Yields:
        The port.

    Raises:
        OSError: the server cannot listen on the address.

    Example:
        >>> async with serving(metrics, lambda: metrics.is_fresh(90), "127.0.0.1", 9464):
        ...     async for event in runai.watch_revisions(workload_id):
        ...         metrics.observe(event)
    """
    application = _Application(metrics, is_healthy)
    server = await asyncio.to_thread(_Server, host, port, application)  # may look up the host's address
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield server.server_port
    finally:
        try:
            await asyncio.to_thread(server.shutdown)
        finally:
            server.server_close()


class _Application:
    """Chooses the page of a request, and makes a WSGI response of it."""

    def __init__(self, metrics: Metrics, is_healthy: Callable[[], bool]) -> None:
        self._exposition: Callable[..., list[bytes]] = make_wsgi_app(metrics.registry)
        self._is_healthy = is_healthy

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            status, headers, body = self._page(environ)
        except Exception:  # noqa: BLE001  (whatever it is, the response says so)
            logger.exception("a request to the exporter failed")
            status, headers, body = _text("500 Internal Server Error", "the exporter failed; see its log")
        headers = [*headers, ("Content-Length", str(len(body))), ("Server", "runai-async")]
        start_response(status, headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    def _page(self, environ: WSGIEnvironment) -> _Page:
        if environ["REQUEST_METHOD"] not in {"GET", "HEAD"}:
            return _text("501 Not Implemented", "use GET or HEAD")
        match environ["PATH_INFO"]:
            case "/metrics":
                return self._metrics(environ)
            case "/healthz" if self._is_healthy():
                return _text("200 OK", "ok")
            case "/healthz":
                return _text("503 Service Unavailable", "no successful poll for too long")
            case _:
                return _text("404 Not Found", "see /metrics and /healthz")

    def _metrics(self, environ: WSGIEnvironment) -> _Page:
        """Run the library's application, as a GET: it does not know HEAD."""
        head: list[tuple[str, list[tuple[str, str]]]] = []

        def start(status: str, headers: list[tuple[str, str]]) -> None:
            head.append((status, headers))

        (body,) = self._exposition({**environ, "REQUEST_METHOD": "GET"}, start)
        return (*head[0], body)


def _text(status: str, text: str) -> _Page:
    return status, [("Content-Type", "text/plain; charset=utf-8")], f"{text}\n".encode()


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True  # nothing waits for them: neither the end of the block nor that of the process

    def __init__(self, host: str, port: int, application: _Application) -> None:
        if ":" in host:
            self.address_family = socket.AF_INET6
        super().__init__((host, port), _Handler)
        self.set_app(application)

    def server_bind(self) -> None:
        """Bind without asking DNS for the host's own name, which can take long and is not used here."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "", self.server_address[1]
        self.setup_environ()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print no traceback: the other side has closed the connection, or was silent for too long."""
        del request
        logger.debug("a connection from %s to the exporter ended early", client_address)


class _Handler(WSGIRequestHandler):
    timeout = _PATIENCE

    def get_stderr(self) -> Any:
        """Print no traceback where the other side does not read the response. All else is logged."""
        return io.StringIO()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the base class's word)
        """Log nothing: there is a scrape every few seconds."""
