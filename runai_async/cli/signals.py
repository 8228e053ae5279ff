"""The signals that end a command: which of them are obeyed, and how before and after its work."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

_Handler = Callable[[int, FrameType | None], object]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_OUTSIDE_MAIN_THREAD = (OSError, ValueError)
"""Raised where no handler can be set. KeyboardInterrupt still works there."""
_INIT = 1


def end_at_once() -> None:
    """Have signals end the process without a cleanup, as they do by default.

    For process 1, as in a container, the kernel ignores a SIGTERM that has no handler.
    """
    _set(signal.SIGINT, signal.default_int_handler)
    _set(signal.SIGTERM, _exit if os.getpid() == _INIT else signal.SIG_DFL)


def on_signal(handler: _Handler) -> None:
    """Have signals call a handler."""
    for number in _SIGNALS:
        _set(number, handler)


def _set(number: signal.Signals, handler: _Handler | signal.Handlers) -> None:
    """Set a handler, unless whoever started the process has it ignore the signal, as `nohup` and `&` do."""
    with contextlib.suppress(*_OUTSIDE_MAIN_THREAD):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def _exit(number: int, _: FrameType | None) -> NoReturn:
    os._exit(128 + number)
