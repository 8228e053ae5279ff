"""The source over a token in a file that something else replaces.

The file is looked at in a thread, because a disk can hang. One look at a time, whoever asks: while one hangs,
the token that is known stays in use, and no other thread is lost to it.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import stat
import threading
from collections.abc import Callable
from typing import ClassVar, NamedTuple

from runai_async._auth.credentials import FileToken
from runai_async._clock import Clock
from runai_async._observe.log import logger
from runai_async.errors import ConfigurationError

_PAUSE = 1.0
"""Seconds between two looks at the file, at least."""
_PATIENCE = 1.0
"""Seconds that a request waits for a look while there is a token that may do."""

_Signature = tuple[int, int, int, int]
"""What differs between two versions of a file: the times of content and name, the size, the inode."""


class _Found(NamedTuple):
    """What a look at the file found: another token, a problem, or neither where nothing has changed."""

    token: str | None = None
    signature: _Signature | None = None
    problem: str | None = None


def _look(auth: FileToken, seen: _Signature | None, *, again: bool) -> _Found:
    """Read the file if it has changed.

    Args:
        auth: names the file.
        seen: the version that was read last, if any.
        again: read it in any case, unless it is a pipe, in which there is nothing more.
    """
    try:
        # Before reading, so that a change in between shows the next time.
        status = os.stat(auth.path)  # noqa: PTH116
        signature = (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino)
        mode = status.st_mode
        is_pipe = stat.S_ISFIFO(mode) or stat.S_ISCHR(mode) or stat.S_ISSOCK(mode)
    except (OSError, ValueError):
        signature, is_pipe = None, False  # reading it says what is wrong
    if seen is not None and (is_pipe or (signature == seen and not again)):
        return _Found()
    try:
        return _Found(auth.read_token(), signature)
    except ConfigurationError as error:
        return _Found(problem=str(error))


def _in_thread(look: Callable[[], _Found]) -> asyncio.Future[_Found]:
    """Look in a thread of its own. It may hang, so it is none for whose end the interpreter waits."""
    loop = asyncio.get_running_loop()
    result: asyncio.Future[_Found] = loop.create_future()

    def run() -> None:
        found = look()
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(result.set_result, found)

    threading.Thread(target=run, name="runai-async token file", daemon=True).start()
    return result


class FileTokenSource:
    """The source over a token in a file, which is read again when it has changed or its token was refused."""

    is_fixed: ClassVar[bool] = False

    def __init__(self, auth: FileToken, clock: Clock) -> None:
        self._auth = auth
        self._clock = clock
        self._token: str | None = None
        self._seen: _Signature | None = None
        self._looked_at = -math.inf
        self._looking: asyncio.Future[_Found] | None = None
        self._is_refused = False
        self._problem: str | None = None

    def current(self) -> str | None:
        if self._is_refused:
            return None
        if self._looking is None and self._clock.monotonic() - self._looked_at >= _PAUSE:
            return None
        return self._token

    async def get_token(self) -> str:
        looking = self._looking or self._begin()
        # Not cancelled with the waiter, since others wait for it, too.
        await asyncio.wait({looking}, timeout=None if self._token is None else _PATIENCE)
        if self._token is None:
            raise ConfigurationError(self._problem)
        return self._token

    def invalidate(self, token: str) -> None:
        if self._token == token:
            self._is_refused = True

    def _begin(self) -> asyncio.Future[_Found]:
        """Look at the file."""
        again, self._is_refused = self._is_refused, False
        self._looked_at = self._clock.monotonic()
        look = _in_thread(lambda: _look(self._auth, self._seen, again=again))
        look.add_done_callback(self._ended)
        self._looking = look
        return look

    def _ended(self, look: asyncio.Future[_Found]) -> None:
        """Take in what a look found; this runs before whoever waits for it continues."""
        self._looking = None
        found = look.result()
        if found.problem is not None and self._problem is None and self._token is not None:
            logger.warning("%s; the last token stays in use", found.problem)
        self._problem = found.problem
        if found.token is not None:
            self._token, self._seen = found.token, found.signature

    async def aclose(self) -> None:
        """Do nothing: a look ends by itself."""
