"""The exporter's pages: `/metrics` is prometheus-client's own WSGI application, those for probes are ours.

They are served in threads, so while the event loop is busy, too, which is when the figures matter most.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from wsgiref.types import StartResponse, WSGIEnvironment

from prometheus_client import make_wsgi_app  # pyright: ignore[reportUnknownVariableType]  (its result is untyped)

from runai_async._observe.log import logger
from runai_async.exporter._listener import Listener
from runai_async.exporter._liveness import Heartbeat
from runai_async.exporter._metrics import Metrics

_Page = tuple[str, list[tuple[str, str]], bytes]
"""Status, headers and body of a response."""


@asynccontextmanager
async def serving(
    metrics: Metrics, is_healthy: Callable[[], bool], host: str, port: int
) -> AsyncGenerator[int, None]:
    """Serve `/metrics` and the pages for probes in threads, until the block is left.

    - `/healthz`: 200 while *is_healthy* returns true, else 503
    - `/livez`: 200 while the event loop responds, whatever the control plane does; 503 once it has been stuck
      for ten seconds
    - `/readyz`: 200 once `Metrics.is_ready`, else 503

    A connection that sends no request is closed after ten seconds, or earlier if there are too many.

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
    heartbeat = Heartbeat()
    application = _Application(metrics, is_healthy, heartbeat)
    try:
        server = await asyncio.to_thread(Listener, host, port, application)  # may look up the host's address
    except BaseException:
        heartbeat.stop()
        raise
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield server.server_port
    finally:
        heartbeat.stop()
        try:
            await asyncio.to_thread(server.shutdown)
        finally:
            server.server_close()


class _Application:
    """Chooses the page of a request, and makes a WSGI response of it."""

    def __init__(self, metrics: Metrics, is_healthy: Callable[[], bool], heartbeat: Heartbeat) -> None:
        self._exposition: Callable[..., list[bytes]] = make_wsgi_app(metrics.registry)
        self._probes: dict[str, tuple[Callable[[], bool], str]] = {
            "/healthz": (is_healthy, "no successful poll for too long"),
            "/livez": (heartbeat.responds, "the event loop does not respond"),
            "/readyz": (metrics.is_ready, "the first polls have not ended yet"),
        }

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
        path = environ["PATH_INFO"]
        if path == "/metrics":
            return self._metrics(environ)
        if path not in self._probes:
            return _text("404 Not Found", f"see /metrics, {', '.join(self._probes)}")
        is_good, complaint = self._probes[path]
        return _text("200 OK", "ok") if is_good() else _text("503 Service Unavailable", complaint)

    def _metrics(self, environ: WSGIEnvironment) -> _Page:
        """Run the library's application, as a GET: it does not know HEAD."""
        head: list[tuple[str, list[tuple[str, str]]]] = []

        def start(status: str, headers: list[tuple[str, str]]) -> None:
            head.append((status, headers))

        (body,) = self._exposition({**environ, "REQUEST_METHOD": "GET"}, start)
        return (*head[0], body)


def _text(status: str, text: str) -> _Page:
    return status, [("Content-Type", "text/plain; charset=utf-8")], f"{text}\n".encode()
