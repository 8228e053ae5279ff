"""Standard output: all of it is written, or the command ends with an error.

The interpreter's own stream loses the rest of a short write where it is unbuffered, fails on a full pipe that
does not block, and flushes once more at exit, which replaces the exit status by one of its own.
"""

from __future__ import annotations

import contextlib
import io
import os
import select
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, TextIO

from runai_async.cli.exits import OutputError, ReaderGoneError
from runai_async.cli.stderr import descriptor_of

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_READER_GONE = (BrokenPipeError, ConnectionResetError)


class WholeFile(io.FileIO):
    """A descriptor that is written whole; what comes after a failure is dropped.

    Args:
        descriptor: what is written to.
        owner: the stream that would close it if nobody referred to it.
    """

    def __init__(self, descriptor: int, owner: object) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._owner = owner
        self._failed = False

    def write(self, data: ReadableBuffer, /) -> int:
        """Write all of the data, waiting for room.

        Raises:
            ReaderGoneError: nobody reads it any longer.
            OutputError: it cannot be written.
        """
        left = memoryview(data).cast("B")
        size = len(left)
        if not self._failed:
            self._failed = True  # and that it stays if this raises, or is interrupted
            while left:
                select.select([], [self.fileno()], [])
                left = left[write_some(self.fileno(), left) :]
            self._failed = False
        return size


def whole(stream: TextIO) -> TextIO:
    """Return a stream in the place of stdout that is written whole; one without a descriptor stays."""
    descriptor = descriptor_of(stream)
    if descriptor is None:
        return stream
    stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(WholeFile(descriptor, stream)),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=os.isatty(descriptor),
    )


def has_room(stream: object) -> bool:
    """Return whether something can be written without waiting: its reader may have stopped reading."""
    descriptor = descriptor_of(stream)
    return descriptor is None or bool(select.select([], [descriptor], [], 0)[1])


def write_some(descriptor: int, data: memoryview, write: Callable[[int, memoryview], int] = os.write) -> int:
    """Write as much as there is room for at once; return how many bytes that was.

    Args:
        descriptor: of stdout.
        data: what is to be written.
        write: writes some bytes to a descriptor.

    Raises:
        ReaderGoneError, OutputError: as `WholeFile.write`.
    """
    with own_errors():
        try:
            return write(descriptor, data)
        except BlockingIOError:
            return 0


@contextlib.contextmanager
def own_errors() -> Generator[None, None, None]:
    """Raise the package's own errors where stdout cannot be written."""
    try:
        yield
    except _READER_GONE as error:
        raise ReaderGoneError from error
    except OSError as error:
        raise OutputError(f"stdout cannot be written: {error.strerror or error}") from error
