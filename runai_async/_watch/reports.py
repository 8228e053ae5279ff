"""What a watch or a wait logs about its failed polls."""

from __future__ import annotations

import logging

from runai_async._observe.log import logger
from runai_async._watch.failures import OUTAGE, RECOVERY, FailureStreak, Past, Verdict, describe_failure
from runai_async.errors import PermissionDeniedError, RunaiError


def report_failure(what: str, verdict: Verdict, error: RunaiError, grace: float, past: Past) -> None:
    """Log what begins with a failed poll: an outage once when it begins.

    Args:
        what: whose poll it was, for messages: `workload …`.
        verdict: what the poll means.
        error: what it raised.
        grace: seconds after which a refusal is believed.
        past: what is known from earlier polls.
    """
    if verdict.outage_begins and verdict.error is None:
        logger.warning("%s: polls fail, %s", what, describe_failure(error), extra=OUTAGE)
    elif verdict.is_reminder:
        logger.warning("%s: polls still fail, %s", what, describe_failure(error), extra=OUTAGE)
    elif verdict.refusal_begins and verdict.error is None:
        # A 404 is how workloads end. A 403 where one could read means an outage, or a permission taken.
        is_unusual = past.readable and isinstance(error, PermissionDeniedError)
        level = logging.WARNING if is_unusual else logging.INFO
        text = "%s: refused; believed if every poll returns it for %g s: %s"
        logger.log(level, text, what, grace, error, extra=OUTAGE)


def report_recovery(what: str, streak: FailureStreak, now: float) -> float | None:
    """Log that polls succeed again; return the seconds of the outage, None if there was none.

    Args:
        what: whose polls these are.
        streak: the polls that failed until now.
        now: monotonic time.
    """
    if streak.outage_since is None:
        return None
    seconds, text = now - streak.outage_since, "%s: polls succeed again after %.0f s and %d failures"
    logger.info(text, what, seconds, streak.failures, extra=OUTAGE | RECOVERY)
    return seconds


def drop_frames(error: RunaiError) -> None:
    """Drop the tracebacks of a kept error: thousands of watches would keep their frames alive."""
    link: BaseException | None = error
    seen: set[int] = set()
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        link.__traceback__ = None
        link = link.__cause__ or link.__context__
