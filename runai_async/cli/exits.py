"""What an error means to the caller of a command: one line on stderr, and an exit status."""

from __future__ import annotations

import signal
import sys
import traceback
from typing import NoReturn

import click

from runai_async.cli.diagnostics import Diagnostics
from runai_async.cli.text import clean
from runai_async.cli.wording import in_flags, usage_text
from runai_async.errors import (
    AuthenticationError,
    ConfigurationError,
    DeadlineExceededError,
    PermissionDeniedError,
    PhaseFailedError,
    RolloutFailedError,
    RunaiError,
    TransportError,
    WaitTimeoutError,
    WatchOutageError,
)

FAILED = 1
USAGE = 2
TIMEOUT = 3
NO_ACCESS = 4
API = 5
_SIGNALLED = 128
_SIGPIPE = 13
"""By its number, as Windows has no such signal."""

_LINE, _TAIL = 600, 200
"""The most characters of an error's line; and how many of its end are kept when it is cut."""

EXIT_STATUS = """\b
Exit status:
  0    success
  1    a phase or rollout failed
  2    wrong usage or configuration
  3    timeout
  4    no access: authentication, permission, connection, outage
  5    any other API error (such as 404), unwritable output, or a bug
  130  ended by SIGINT     143  by SIGTERM     141  nobody reads the output
SIGTERM is the usual end of exporter and fake: their status is 0 then."""

_ADVICE: tuple[tuple[type[RunaiError], str], ...] = (
    (WatchOutageError, "check that the control plane responds; --max-outage sets how long to wait"),
    (DeadlineExceededError, "check that the control plane responds; --deadline sets how long to wait"),
    (TransportError, "check RUNAI_BASE_URL, the network and the proxy"),
)


class InputError(click.ClickException):
    """An argument does not fit what exists. The text says how to fix it, so `--help` is not named."""

    exit_code = USAGE


class OutputError(click.ClickException):
    """What the command prints cannot be written."""

    exit_code = API


class SignalledError(Exception):
    """A signal ended the command, which has cleaned up."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number
        self.status: int = _SIGNALLED + number


class ReaderGoneError(Exception):
    """Nobody reads the command's output any longer."""


class TimeIsUpError(Exception):
    """The time that the caller gave the command has passed."""


class NotDoneError(Exception):
    """Not everything that a command waited for is done.

    Args:
        text: what is missing.
        status: the exit status.
    """

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


_STATUS: tuple[tuple[type[BaseException], int], ...] = (
    (PhaseFailedError, FAILED),
    (RolloutFailedError, FAILED),
    (ConfigurationError, USAGE),
    (WaitTimeoutError, TIMEOUT),
    (TimeIsUpError, TIMEOUT),
    (AuthenticationError, NO_ACCESS),
    (PermissionDeniedError, NO_ACCESS),
    (TransportError, NO_ACCESS),
    (DeadlineExceededError, NO_ACCESS),
    (WatchOutageError, NO_ACCESS),
    (RunaiError, API),
    (KeyboardInterrupt, _SIGNALLED + signal.SIGINT),
    (click.Abort, _SIGNALLED + signal.SIGINT),
    (ReaderGoneError, _SIGNALLED + _SIGPIPE),
    (OSError, USAGE),
)
"""The first match counts: a DeadlineExceededError is a TimeoutError, and so an OSError too."""


def exit_status(error: BaseException) -> int:
    """Return the exit status for an error."""
    if isinstance(error, click.ClickException):
        return error.exit_code
    if isinstance(error, SignalledError | NotDoneError):
        return error.status
    if isinstance(error, RunaiError) and _is_outage(error):
        return NO_ACCESS
    return next((status for kind, status in _STATUS if isinstance(error, kind)), API)


def _is_outage(error: RunaiError) -> bool:
    from runai_async._watch.failures import is_outage  # noqa: PLC0415  (slow to import: --help needs none of it)

    return is_outage(error)


def describe(error: BaseException) -> str:
    """Describe an error and how to fix it in one line; empty where the caller ended the command."""
    if isinstance(error, SignalledError | KeyboardInterrupt | click.Abort | ReaderGoneError):
        return ""
    if isinstance(error, RunaiError):
        text = in_flags(str(error))
        advice = next((advice for kind, advice in _ADVICE if isinstance(error, kind)), "")
    elif isinstance(error, click.ClickException):
        text, advice = usage_text(error), _help_for(error)
    elif isinstance(error, TimeIsUpError | NotDoneError | OSError):
        text, advice = str(error), ""
    else:
        text = f"{type(error).__name__}: {error}"
        advice = "this is a bug in runai-async; run it again with --debug and report what it prints"
    line = _shortened(clean(text))
    return f"{line.removesuffix('.')}; {advice}" if advice else line


def _shortened(line: str) -> str:
    """Cut the middle out of a long line: that is the server's message, and the end says how to fix it."""
    return line if len(line) <= _LINE else f"{line[: _LINE - _TAIL]} ... {line[-_TAIL:]}"


def _help_for(error: click.ClickException) -> str:
    ctx = error.ctx if isinstance(error, click.UsageError) else None
    if "(did you mean " in usage_text(error):
        return ""  # it says what was meant
    return f"see {ctx.command_path} --help" if ctx is not None else ""


def leave(error: BaseException, diagnostics: Diagnostics) -> NoReturn:
    """Print what went wrong, with `--debug` also where, and end the process."""
    if diagnostics.debug:
        diagnostics.say("".join(traceback.format_exception(error)).removesuffix("\n"))
    if line := describe(error):
        diagnostics.say(f"Error: {line}")
    sys.exit(exit_status(error))
