"""Lines on standard output, each of which is written as a whole before its event counts as delivered."""

from __future__ import annotations

import asyncio
import os
import select
import stat
from collections.abc import Callable
from pathlib import Path
from typing import IO

import click

from runai_async.cli.stderr import descriptor_of
from runai_async.cli.stdout import own_errors, write_some

_SHORT, _LONG = 0.001, 0.05
"""Seconds between two looks for room: the first pause, and the longest."""
_OPEN_FILES = Path("/proc/self/fd")
"""Where an open file can be opened for reading, as stdout itself cannot be read; a system may lack it."""
_PIECE: int = getattr(select, "PIPE_BUF", 4096)
"""Bytes that a pipe with any room takes at once, so that not even one that blocks stops the event loop."""


class LineWriter:
    """Writes lines to a stream without blocking the event loop while the reader is slow.

    A line that was cut by an earlier failure is ended first, where the stream is a regular file.

    Args:
        stream: stdout, or what stands in for it.
        write: writes some bytes to a descriptor, as `os.write` does.
    """

    def __init__(self, stream: IO[str], *, write: Callable[[int, memoryview], int] = os.write) -> None:
        self._stream = stream
        self._encoding: str = getattr(stream, "encoding", None) or "utf-8"
        self._write = write
        self._lock = asyncio.Lock()
        self._piece: int | None = _PIECE
        self._before = b""
        self._descriptor = descriptor_of(stream)
        if self._descriptor is not None and stat.S_ISREG(os.fstat(self._descriptor).st_mode):
            self._piece = None  # it always has room
            self._before = b"\n" if _ends_inside_a_line(self._descriptor) else b""

    async def write(self, line: str | bytes) -> None:
        """Write a line, and return when all of it is written.

        Args:
            line: as text, or in UTF-8.

        Raises:
            ReaderGoneError: nobody reads the lines any longer.
            OutputError: it cannot be written; some of it may have been.
        """
        async with self._lock:
            if self._descriptor is None:
                with own_errors():
                    click.echo(line, self._stream, color=True)
            else:
                text = line if isinstance(line, bytes) else line.encode(self._encoding, "replace")
                await self._write_whole(self._descriptor, b"%b%b\n" % (self._before, text))
                self._before = b""

    async def _write_whole(self, descriptor: int, data: bytes) -> None:
        left, pause = memoryview(data), _SHORT
        while left:
            if count := self._write_some(descriptor, left[: self._piece]):
                left, pause = left[count:], _SHORT
            else:
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONG)

    def _write_some(self, descriptor: int, data: memoryview) -> int:
        """Write some of the data, if there is room; return how much."""
        has_room = select.select([], [descriptor], [], 0)[1]
        return write_some(descriptor, data, self._write) if has_room else 0


def _ends_inside_a_line(descriptor: int) -> bool:
    """Return whether what was written last to a regular file is not a whole line."""
    # Where a file is appended to, the position is 0 until something is written.
    end = os.lseek(descriptor, 0, os.SEEK_CUR) or os.fstat(descriptor).st_size
    try:
        with (_OPEN_FILES / str(descriptor)).open("rb") as file:
            file.seek(max(0, end - 1))
            return file.read(1) not in {b"", b"\n"}
    except OSError:
        return False
