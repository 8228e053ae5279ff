"""The listening socket of the exporter and its connections, of which there are never too many.

Each connection has a thread and a descriptor. Those that send no request are closed after a while, or as
soon as another one needs their place, or where the process has no descriptor left for another one. Then the
server pauses: the socket stays readable, and to accept would fail again at once.
"""

from __future__ import annotations

import contextlib
import errno
import io
import math
import socket
import threading
import time
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.types import WSGIApplication

from runai_async._observe.log import logger

_PATIENCE = 10.0
"""Seconds that a connection may be silent before its request."""
_RESPONSE_PATIENCE = 60.0
"""Seconds that a response may take, which can have 50 MB."""
_MOST = 32
"""Connections at a time."""
_PAUSE = 0.2
"""Seconds before the next connection where the process had no descriptor for one."""
_BRIEF_PAUSE = 0.02
"""The same where others give way, which takes their threads a moment."""
_SILENCE = 60.0
"""Seconds between two warnings about that."""
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Connections:
    """The connections of a server, from the oldest to the newest."""

    def __init__(self) -> None:
        self._is_idle: dict[socket.socket, bool] = {}
        self._lock = threading.Lock()

    def add(self, connection: socket.socket) -> bool:
        """Add one that has sent no request yet; return whether there is a place for it."""
        with self._lock:
            if len(self._is_idle) >= _MOST and not self._end_idle():
                return False
            self._is_idle[connection] = True
            return True

    def begin(self, connection: socket.socket) -> None:
        """Note that a request has arrived."""
        with self._lock:
            if connection in self._is_idle:
                self._is_idle[connection] = False

    def remove(self, connection: socket.socket) -> None:
        """Remove one that is about to be closed."""
        with self._lock:
            self._is_idle.pop(connection, None)

    def make_room(self) -> bool:
        """End the older half of those without a request; return whether there are any."""
        with self._lock:
            idle = sum(self._is_idle.values())
            for _ in range(math.ceil(idle / 2)):
                self._end_idle()
            return idle > 0

    def _end_idle(self) -> bool:
        """Let the thread of the oldest one without a request see its end, and close it."""
        oldest = next((item for item, is_idle in self._is_idle.items() if is_idle), None)
        if oldest is None:
            return False
        del self._is_idle[oldest]
        with contextlib.suppress(OSError):  # the other side was faster
            oldest.shutdown(socket.SHUT_RDWR)
        return True


class Listener(ThreadingMixIn, WSGIServer):
    """Serves a WSGI application, each connection in a thread of its own.

    Raises:
        OSError: it cannot listen on the address.
    """

    daemon_threads = True  # nothing waits for them: neither the end of the block nor that of the process
    request_queue_size = 128

    def __init__(self, host: str, port: int, application: WSGIApplication) -> None:
        if ":" in host:
            self.address_family = socket.AF_INET6
        self.connections = Connections()
        self._warned_at = -math.inf
        super().__init__((host, port), Handler)
        self.set_app(application)

    def server_bind(self) -> None:
        """Bind without asking DNS for the host's own name, which can take long and is not used here."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "", self.server_address[1]
        self.setup_environ()

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection; where that is not possible, pause, because it would fail again at once."""
        try:
            return self._accept()
        except OSError as error:
            if error.errno in _EXHAUSTED:
                self._wait_for_descriptor(error)
            raise

    def _accept(self) -> tuple[socket.socket, Any]:
        return super().get_request()

    def _wait_for_descriptor(self, error: OSError) -> None:
        now = time.monotonic()
        if now - self._warned_at >= _SILENCE:
            self._warned_at = now
            logger.warning("the exporter cannot accept a connection: %s", error.strerror)
        _pause(_BRIEF_PAUSE if self.connections.make_room() else _PAUSE)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Return whether there is a place for a connection, whose thread starts then."""
        del client_address
        return self.connections.add(request)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        self.connections.remove(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print no traceback: the other side has closed the connection, or was silent for too long."""
        del request
        logger.debug("a connection from %s to the exporter ended early", client_address)


class Handler(WSGIRequestHandler):
    """Reads one request, and responds with what the application returns."""

    timeout = _PATIENCE

    def parse_request(self) -> bool:
        """Parse the request; once it is complete, the connection is no longer idle."""
        is_complete = super().parse_request()
        if is_complete and isinstance(self.server, Listener):
            self.server.connections.begin(self.connection)
            self.connection.settimeout(_RESPONSE_PATIENCE)
        return is_complete

    def get_stderr(self) -> Any:
        """Print no traceback where the other side does not read the response. All else is logged."""
        return io.StringIO()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the base class's word)
        """Log nothing: there is a scrape every few seconds."""


def _pause(seconds: float) -> None:
    time.sleep(seconds)
