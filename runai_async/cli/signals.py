"""The signals that end a command: which of them are obeyed, and how before and after its work.

A process imports this first of all, to obey them from then on, so it imports little itself.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Generator
from types import FrameType

_Handler = Callable[[int, FrameType | None], object]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_OUTSIDE_MAIN_THREAD = (OSError, ValueError)
"""Raised where no handler can be set. KeyboardInterrupt still works there."""
_INIT = 1


def exit_at_once() -> None:
    """Have signals end the process on the spot, while there is nothing to clean up.

    So it is at the start and the very end: a KeyboardInterrupt amid an import prints a traceback, or is lost.
    """
    _set(signal.SIGINT, _exit)
    _end_on_sigterm()


def end_at_once() -> None:
    """Have signals end the process without waiting for a cleanup, as they do by default."""
    _set(signal.SIGINT, signal.default_int_handler)
    _end_on_sigterm()


@contextlib.contextmanager
def raising() -> Generator[None, None, None]:
    """Have SIGINT raise KeyboardInterrupt in the body, which leaves the terminal in a state of its own."""
    before = signal.getsignal(signal.SIGINT)
    _set(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        _set(signal.SIGINT, before)


def on_signal(handler: _Handler) -> None:
    """Have signals call a handler."""
    for number in _SIGNALS:
        _set(number, handler)


@contextlib.contextmanager
def on_job_control(handler: Callable[[str], object]) -> Generator[None, None, None]:
    """Call a handler when the terminal has the process stop, lets it continue, or changes its size.

    Args:
        handler: takes "stop", after which it has to call `stop`, "continue" or "resize".
    """
    names = {"SIGTSTP": "stop", "SIGCONT": "continue", "SIGWINCH": "resize"}
    found = {signal.Signals[name]: what for name, what in names.items() if hasattr(signal, name)}
    before = {number: signal.getsignal(number) for number in found}
    for number in found:
        _set(number, lambda number, _: handler(found[signal.Signals(number)]))
    try:
        yield
    finally:
        for number, old in before.items():
            _set(number, old)


def stop() -> None:
    """Stop the process, as Ctrl-Z does by default; return when it is continued."""
    before = signal.getsignal(signal.SIGTSTP)
    _set(signal.SIGTSTP, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTSTP)
    _set(signal.SIGTSTP, before)


def _end_on_sigterm() -> None:
    """For process 1, as in a container, the kernel ignores a SIGTERM that has no handler."""
    _set(signal.SIGTERM, _exit if os.getpid() == _INIT else signal.SIG_DFL)


def _set(number: signal.Signals, handler: _Handler | int | None) -> None:
    """Set a handler, unless whoever started the process has it ignore the signal, as `nohup` and `&` do."""
    with contextlib.suppress(*_OUTSIDE_MAIN_THREAD):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def _exit(number: int, _: FrameType | None) -> None:
    os._exit(128 + number)
