"""The door to the log: it logs as a logger does, and raises nothing."""

import ast
import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

import runai_async
from runai_async._observe.log import Log, logger

PACKAGE = Path(runai_async.__file__).parent
OWN = "runai_async.test"
LEVELS: list[tuple[Callable[..., None], int]] = [
    (Log.debug, logging.DEBUG),
    (Log.info, logging.INFO),
    (Log.warning, logging.WARNING),
    (Log.error, logging.ERROR),
    (Log.exception, logging.ERROR),
    (lambda log, *args: log.log(17, *args), 17),
]


class Raising(logging.Handler):
    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self._error = error

    def emit(self, record: logging.LogRecord) -> None:
        raise self._error


@pytest.mark.parametrize(("method", "level"), LEVELS)
def test_each_method_logs_at_its_level(
    method: Callable[..., None], level: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "runai_async")
    method(logger, "%s of %d", "one", 2)
    (record,) = caplog.records
    assert (record.name, record.levelno, record.getMessage()) == ("runai_async", level, "one of 2")


def test_a_record_names_the_line_that_logged_it(caplog: pytest.LogCaptureFixture) -> None:
    logger.warning("here")
    (record,) = caplog.records
    assert (record.filename, record.funcName) == (
        Path(__file__).name,
        "test_a_record_names_the_line_that_logged_it",
    )


def test_an_exception_and_further_attributes_are_in_the_record(caplog: pytest.LogCaptureFixture) -> None:
    error = ValueError("why")
    logger.error("failed", exc_info=error)
    logger.warning("outage", extra={"is_outage": True})
    failed, outage = caplog.records
    assert failed.exc_info is not None
    assert failed.exc_info[1] is error
    assert vars(outage)["is_outage"] is True


@pytest.mark.parametrize("error", [OSError("disk full"), ValueError(), RecursionError(), StopIteration()])
@pytest.mark.parametrize(("method", "level"), LEVELS)
def test_what_a_handler_or_filter_raises_is_dropped(
    method: Callable[..., None], level: int, error: Exception
) -> None:
    def refuse(_: logging.LogRecord) -> bool:
        raise error

    raw, log, handler = logging.getLogger(OWN), Log(OWN), Raising(error)
    raw.setLevel(logging.DEBUG)
    raw.addHandler(handler)
    try:
        method(log, "text")
        raw.addFilter(refuse)
        method(log, "text")
    finally:
        raw.removeHandler(handler)
        raw.removeFilter(refuse)


@pytest.mark.parametrize("stop", [asyncio.CancelledError, KeyboardInterrupt, SystemExit])
def test_what_ends_a_task_or_the_process_passes(stop: type[BaseException]) -> None:
    raw, handler = logging.getLogger(OWN), Raising(stop())
    raw.addHandler(handler)
    try:
        with pytest.raises(stop):
            Log(OWN).warning("text")
    finally:
        raw.removeHandler(handler)


def test_no_other_module_logs_by_itself() -> None:
    """The command line adds its handler to the logger, which logs nothing."""
    found = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr == "getLogger"
    }
    assert found == {"_observe/log.py", "cli/diagnostics.py"}
