"""The root of the commands."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
from collections.abc import Generator
from importlib import import_module
from pathlib import Path
from typing import Any

import click
from attrs import Factory, define

from runai_async._version import __version__
from runai_async.cli.exits import EXIT_STATUS, ReaderGoneError, leave, masked
from runai_async.cli.text import clean

_COMMANDS = {
    "demo": "demo:demo",
    "revisions": "revisions:revisions",
    "watch": "watch:watch",
    "rollout": "rollout:rollout",
    "timeline": "timeline:timeline",
    "exporter": "exporter:exporter",
    "fake": "fake:fake",
}
"""Where each command is. They are imported when they are needed, which keeps the start short."""

_COMPLETION = """\b
Completion in bash (for zsh or fish, put that in bash's place):
  eval "$(_RUNAI_ASYNC_COMPLETE=bash_source runai-async)"
"""


@define
class Settings:
    """What holds for one run of the command line.

    Attributes:
        debug: print tracebacks, and all that is logged.
        secrets: texts that must not be printed.
        quiet: print no log lines: a live view tells it.
    """

    debug: bool = False
    secrets: set[str] = Factory(set[str])
    quiet: bool = False


class _Log(logging.Handler):
    """Prints what the package logs as lines on stderr."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self._settings = settings

    def emit(self, record: logging.LogRecord) -> None:
        """Print a warning; with --debug, anything."""
        shown = self._settings.quiet and getattr(record, "is_outage", False)
        if self._settings.debug or (record.levelno >= logging.WARNING and not shown):
            text = masked(clean(record.getMessage()), self._settings.secrets)
            click.echo(f"runai-async: {record.levelname.lower()}: {text}", err=True)


@contextlib.contextmanager
def _logged(settings: Settings) -> Generator[None, None, None]:
    log = logging.getLogger("runai_async")
    handler, level, propagate = _Log(settings), log.level, log.propagate
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
        log.propagate = propagate


class Application(click.Group):
    """A group that imports its commands when they are needed, and turns errors into lines and statuses."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands, in the order in which they are worth knowing."""
        del ctx
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        del ctx
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(f"runai_async.cli.commands.{module}"), name)
        return command

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run the command line and end the process."""
        settings = Settings()
        try:
            with _logged(settings):
                status = super().main(*args, **{**extra, "standalone_mode": False, "obj": settings})
        except click.UsageError as error:
            if type(error).__name__ == "NoArgsIsHelpError":  # new in click 8.2; it shows the help
                error.show()
                sys.exit(error.exit_code)
            leave(error, debug=settings.debug, secrets=settings.secrets)
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  (whatever it is, it ends here)
            leave(error, debug=settings.debug, secrets=settings.secrets)
        sys.exit(status if isinstance(status, int) else 0)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; tell a reader who has gone from errors of files."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except (BrokenPipeError, ReaderGoneError) as error:
            # The interpreter flushes once more on its way out, and would complain.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise ReaderGoneError from error
        return result


@click.group(cls=Application, epilog=f"{EXIT_STATUS}\n\n{_COMPLETION}")
@click.version_option(__version__, prog_name="runai-async")
@click.option("--debug", is_flag=True, help="Print tracebacks, and all that is logged. Secrets are masked.")
@click.pass_obj
def app(settings: Settings, debug: bool) -> None:  # noqa: FBT001  (click calls it by keyword)
    """Look at, watch and wait for the revisions of NVIDIA Run:ai inference workloads.

    RUNAI_BASE_URL names the control plane; RUNAI_TOKEN, or RUNAI_CLIENT_ID with RUNAI_CLIENT_SECRET, let you
    in. What is missing of these is taken from the login of the vendor's command line. Try `runai-async demo`
    without any of it.
    """
    settings.debug = settings.debug or debug


def run() -> None:
    """Run the command line."""
    # Where the caller has closed them, what is printed is for nobody, but the exit status is not.
    sys.stdout, sys.stderr = (
        stream or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115  (as long as the process)
        for stream in (sys.stdout, sys.stderr)
    )
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without Unicode is no reason to end
    app()
