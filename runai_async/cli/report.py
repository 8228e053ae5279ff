"""Writes the report on rollouts, however the wait for them ends."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from runai_async.cli.diagnostics import Diagnostics
from runai_async.cli.exits import InputError
from runai_async.cli.files import check_replaceable, replace_file
from runai_async.cli.junit import junit_xml
from runai_async.cli.rollouts import Rollout


@contextlib.contextmanager
def reporting(
    path: Path | None, rollouts: Sequence[Rollout], diagnostics: Diagnostics
) -> Generator[None, None, None]:
    """Write a report at the end of the body, however it ends; if it fails, its own error comes first.

    Args:
        path: the file; None for no report.
        rollouts: those that the body waits for, as they are at its end.
        diagnostics: masks secrets.

    Raises:
        InputError: the file cannot be written; that is checked before the body, too.
    """
    if path is None:
        yield
        return
    check_replaceable("--junit", path)
    began_at, began = datetime.now(UTC), time.monotonic()

    def write(error: BaseException | None = None) -> None:
        seconds = time.monotonic() - began
        for item in rollouts:
            item.end(seconds, error)
        text = junit_xml(rollouts, began_at=began_at, seconds=seconds, masked=diagnostics.masked)
        replace_file("--junit", path, text, mode=0o666)

    try:
        yield
    except BaseException as error:
        try:
            write(error)
        except InputError as problem:
            diagnostics.say(f"runai-async: warning: {problem.message}")
        raise
    write()
