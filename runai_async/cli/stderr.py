"""Standard error, written by a thread of its own.

A pipe that nobody reads is full after a while, and whoever writes to it waits for ever. Here that is a thread
which does nothing else, so the polls and events of a command go on. It writes to the descriptor and not to
`sys.stderr`: a thread that waits inside that object holds a lock which the interpreter needs to exit.
"""

from __future__ import annotations

import contextlib
import io
import os
import select
import sys
import threading
from queue import SimpleQueue

from runai_async.cli.text import counted

_MOST = 1000
"""Texts that wait to be written; further ones are dropped."""
_PATIENCE = 1.0
"""Seconds that the end of a command waits for those that are left."""


class StderrWriter:
    """Writes texts in their order, drops those that cannot be written, and says how many these were."""

    def __init__(self) -> None:
        self._waiting: SimpleQueue[str | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._dropped = 0
        self._torn = False  # the last text was written in part

    def write(self, text: str) -> None:
        """Have a text written soon; never waits, and raises nothing."""
        with self._lock:
            if self._waiting.qsize() >= _MOST:
                self._dropped += 1
                return
            self._waiting.put(text)
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="runai-async stderr", daemon=True)
                with contextlib.suppress(RuntimeError):  # the system has none left: `close` writes then
                    thread.start()
                    self._thread = thread

    def close(self) -> None:
        """Wait until everything is written, a second at most."""
        self._waiting.put(None)
        with contextlib.suppress(KeyboardInterrupt):  # who presses Ctrl-C now does not want to wait
            if self._thread is None:
                self._run()
            else:
                self._thread.join(_PATIENCE)

    def _run(self) -> None:
        while (text := self._waiting.get()) is not None:
            self._try(text)
        if self._dropped:
            self._try("")

    def _try(self, text: str) -> None:
        """Write a text, behind the number of those that were dropped before it."""
        dropped, change = self._dropped, int(bool(text))
        with contextlib.suppress(Exception):  # a display that stands in for stderr may raise anything
            self._emit(("\n" if self._torn else "") + _lost(dropped) + text)
            change = -dropped
        with self._lock:
            self._dropped += change

    def _emit(self, text: str) -> None:
        stream = sys.stderr
        descriptor = descriptor_of(stream)
        if descriptor is None:
            stream.write(text)
            stream.flush()
            return
        left = text.encode(stream.encoding, "replace")
        while left:
            left = left[_write(descriptor, left) :]
            self._torn = bool(left)


def _lost(dropped: int) -> str:
    if not dropped:
        return ""
    return f"runai-async: warning: stderr could not be written: {counted(dropped, 'message')} dropped\n"


def descriptor_of(stream: object) -> int | None:
    """Return the descriptor of a stream that is written to it as it is; a display may stand in for one."""
    try:
        return stream.fileno() if isinstance(stream, io.TextIOWrapper) and os.name == "posix" else None
    except OSError:
        return None


def _write(descriptor: int, data: bytes) -> int:
    """Write some of the data, waiting for room also where the descriptor does not block; return how much."""
    try:
        return os.write(descriptor, data)
    except BlockingIOError:
        select.select([], [descriptor], [])
        return 0
