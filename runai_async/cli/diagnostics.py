"""What a command prints on stderr beside its result, without secrets.

None of it is waited for; see `stderr`.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Generator

import click
from attrs import Factory, define

from runai_async.cli.stderr import StderrWriter
from runai_async.cli.text import clean
from runai_async.cli.wording import without_classes


@define
class Diagnostics:
    """How much one run of the command line prints on stderr.

    Attributes:
        debug: print tracebacks and everything that is logged.
        secrets: texts that must not be printed.
        outages_displayed: log no outages, because the view displays them.
        stderr: what it is printed with.
    """

    debug: bool = False
    secrets: set[str] = Factory(set[str])
    outages_displayed: bool = False
    stderr: StderrWriter = Factory(StderrWriter)

    def enable_debug(self) -> None:
        """Print everything from now on."""
        self.debug = True
        logging.getLogger("runai_async").setLevel(logging.DEBUG)

    def masked(self, text: str) -> str:
        """Return a text with its secrets replaced."""
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text

    def say(self, text: str) -> None:
        """Print a line, or several."""
        self.stderr.write(f"{self.masked(text)}\n")

    @contextlib.contextmanager
    def logged(self) -> Generator[None, None, None]:
        """Print what the package logs, for as long as the context lasts; then wait for the rest."""
        log = logging.getLogger("runai_async")
        handler, level, propagate = _Printer(self), log.level, log.propagate
        log.addHandler(handler)
        log.setLevel(logging.INFO)  # the level of recoveries; the records below it cost nothing
        log.propagate = False
        try:
            yield
        finally:
            log.removeHandler(handler)
            log.setLevel(level)
            log.propagate = propagate
            self.stderr.close()


@contextlib.contextmanager
def silence() -> Generator[None, None, None]:
    """Log nothing, for as long as the context lasts."""
    log = logging.getLogger("runai_async")
    before, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = before


def say(text: str) -> None:
    """Print a line on stderr, beside the result of the command that runs."""
    click.get_current_context().ensure_object(Diagnostics).say(text)


class _Printer(logging.Handler):
    """Prints log records as lines on stderr."""

    def __init__(self, diagnostics: Diagnostics) -> None:
        super().__init__()
        self._diagnostics = diagnostics

    def emit(self, record: logging.LogRecord) -> None:
        """Print a warning, or that what one said is over; with --debug, any record."""
        text = clean(record.getMessage())
        if self._diagnostics.debug:
            self._diagnostics.say(f"runai-async: {record.levelname.lower()}: {text}")
        elif self._diagnostics.outages_displayed and getattr(record, "is_outage", False):
            return
        elif record.levelno >= logging.WARNING:
            self._diagnostics.say(f"runai-async: {record.levelname.lower()}: {without_classes(text)}")
        elif getattr(record, "is_recovery", False):
            self._diagnostics.say(f"runai-async: {without_classes(text)}")
