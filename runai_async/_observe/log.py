"""The package's log, which cannot stop what it reports.

A log handler may write to a disk that is full or to a pipe whose reader has gone, and a filter may have a
bug. What they raise would otherwise come out of the middle of a poll, and end it or the whole watch.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping
from typing import Any


class Log:
    """Logs as `logging.Logger` does, except that what handlers and filters raise is dropped with the record.

    What ends a task or the process passes: `CancelledError`, `KeyboardInterrupt`, `SystemExit`.

    Args:
        name: of the logger.
    """

    __slots__ = ("_logger",)

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    @property
    def is_debugging(self) -> bool:
        """Whether records at level DEBUG are logged."""
        return self._logger.isEnabledFor(logging.DEBUG)

    def debug(self, text: str, *args: object, extra: Mapping[str, object] | None = None) -> None:
        """Log at level DEBUG."""
        self._write(logging.DEBUG, text, args, extra=extra)

    def info(self, text: str, *args: object, extra: Mapping[str, object] | None = None) -> None:
        """Log at level INFO."""
        self._write(logging.INFO, text, args, extra=extra)

    def warning(self, text: str, *args: object, extra: Mapping[str, object] | None = None) -> None:
        """Log at level WARNING."""
        self._write(logging.WARNING, text, args, extra=extra)

    def error(self, text: str, *args: object, exc_info: BaseException | None = None) -> None:
        """Log at level ERROR."""
        self._write(logging.ERROR, text, args, exc_info=exc_info)

    def exception(self, text: str, *args: object) -> None:
        """Log at level ERROR, with the exception that is being handled."""
        self._write(logging.ERROR, text, args, exc_info=True)

    def log(self, level: int, text: str, *args: object, extra: Mapping[str, object] | None = None) -> None:
        """Log at any level."""
        self._write(level, text, args, extra=extra)

    def _write(self, level: int, text: str, args: tuple[object, ...], **options: Any) -> None:
        with contextlib.suppress(Exception):  # there is nowhere left to report it
            self._logger.log(level, text, *args, stacklevel=3, **options)  # the caller of our own method


logger = Log("runai_async")
"""What every module of the package logs to."""
