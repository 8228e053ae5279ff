"""What an error means to whoever called the command: one line, and an exit status."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Collection
from typing import NoReturn

import click

from runai_async.cli.text import clean
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
_LINE, _TAIL = 600, 200
"""Characters of an error's line, and those of its end that are kept where it is longer."""
_SIGNALLED = 128
_SIGPIPE = 13

EXIT_STATUS = """\b
Exit status:
  0    done, or reached
  1    a phase or rollout failed
  2    wrong usage or configuration
  3    timeout
  4    no access: authentication, permission, connection, outage
  5    any other error of the API (such as 404), or a defect
  130  ended by SIGINT        143  by SIGTERM        141  nobody reads the output"""

_MENDS: tuple[tuple[type[RunaiError], str], ...] = (
    (WatchOutageError, "see whether the control plane answers; --max-outage sets how long to wait"),
    (DeadlineExceededError, "see whether the control plane answers; --deadline sets how long to wait"),
    (TransportError, "check RUNAI_BASE_URL, the network and the proxy"),
)


class InputError(click.ClickException):
    """What was given to a command does not fit what is there. The text says the mend, so no help is named."""

    exit_code = USAGE


class SignalledError(Exception):
    """A signal ended the command, which has tidied up."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.status = _SIGNALLED + number


class ReaderGoneError(Exception):
    """Nobody reads what the command prints any more."""


class TimeIsUpError(Exception):
    """The time that the caller gave a command is over."""


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
    (KeyboardInterrupt, _SIGNALLED + 2),
    (click.Abort, _SIGNALLED + 2),
    (ReaderGoneError, _SIGNALLED + _SIGPIPE),
    (OSError, USAGE),
)
"""The first that fits counts. DeadlineExceededError is an OSError, too, being a TimeoutError."""


def exit_status(error: BaseException) -> int:
    """Return the exit status that stands for an error."""
    if isinstance(error, click.ClickException):
        return error.exit_code
    if isinstance(error, SignalledError):
        return error.status
    return next((status for kind, status in _STATUS if isinstance(error, kind)), API)


def describe(error: BaseException) -> str:
    """Write an error in one line, with what mends it; nothing where the caller knows."""
    if isinstance(error, SignalledError | KeyboardInterrupt | click.Abort | ReaderGoneError):
        return ""
    if isinstance(error, RunaiError):
        text = str(error).replace("pass allow_http=True", "give --allow-http")  # as it is called here
        mend = next((mend for kind, mend in _MENDS if isinstance(error, kind)), "")
    elif isinstance(error, click.ClickException):
        text, mend = error.format_message(), _help_of(error)
    elif isinstance(error, TimeIsUpError | OSError):
        text, mend = str(error), ""
    else:
        text = f"{type(error).__name__}: {error}"
        mend = "this is a defect of runai-async; run it again with --debug and report what it prints"
    line = _clipped(clean(text))
    return f"{line.removesuffix('.')}; {mend}" if mend else line


def _clipped(line: str) -> str:
    """Cut the middle out of a line that is too long: a server's message stands there, the mend at the end."""
    return line if len(line) <= _LINE else f"{line[: _LINE - _TAIL]} ... {line[-_TAIL:]}"


def _help_of(error: click.ClickException) -> str:
    ctx = error.ctx if isinstance(error, click.UsageError) else None
    return f"see {ctx.command_path} --help" if ctx is not None else ""


def leave(error: BaseException, *, debug: bool, secrets: Collection[str] = ()) -> NoReturn:
    """Say what went wrong and end the process; with *debug*, say also where."""
    if debug:
        click.echo(masked("".join(traceback.format_exception(error)), secrets), err=True, nl=False)
    if line := describe(error):
        click.echo(masked(f"runai-async: error: {line}", secrets), err=True)
    sys.exit(exit_status(error))


def masked(text: str, secrets: Collection[str]) -> str:
    """Return a text without the secrets in it."""
    for secret in secrets:
        text = text.replace(secret, "***")
    return text
