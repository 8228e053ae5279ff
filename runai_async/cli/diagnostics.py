"""What a command prints on stderr beside its result, without secrets."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Generator

import click
from attrs import Factory, define

from runai_async.cli.text import clean


@define
class Diagnostics:
    """How much one run of the command line prints on stderr.

    Attributes:
        debug: print tracebacks and everything that is logged.
        secrets: texts that must not be printed.
        outages_displayed: log no outages, because the view displays them.
    """

    debug: bool = False
    secrets: set[str] = Factory(set[str])
    outages_displayed: bool = False

    def masked(self, text: str) -> str:
        """Return a text with its secrets replaced."""
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text

    @contextlib.contextmanager
    def logged(self) -> Generator[None, None, None]:
        """Print what the package logs, for as long as the context lasts."""
        log = logging.getLogger("runai_async")
        handler, level, propagate = _Printer(self), log.level, log.propagate
        log.addHandler(handler)
        log.setLevel(logging.DEBUG)
        log.propagate = False
        try:
            yield
        finally:
            log.removeHandler(handler)
            log.setLevel(level)
            log.propagate = propagate


class _Printer(logging.Handler):
    """Prints log records as lines on stderr."""

    def __init__(self, diagnostics: Diagnostics) -> None:
        super().__init__()
        self._diagnostics = diagnostics

    def emit(self, record: logging.LogRecord) -> None:
        """Print a warning; with --debug, any record."""
        displayed = self._diagnostics.outages_displayed and getattr(record, "is_outage", False)
        if self._diagnostics.debug or (record.levelno >= logging.WARNING and not displayed):
            text = self._diagnostics.masked(clean(record.getMessage()))
            click.echo(f"runai-async: {record.levelname.lower()}: {text}", err=True)
