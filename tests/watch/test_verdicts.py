"""What a streak of failed polls means: one decision for watches, waits and fleets."""

import pytest

from runai_async import (
    NotFoundError,
    PermissionDeniedError,
    PollPolicy,
    RunaiError,
    ServerError,
    WatchOutageError,
)
from runai_async._watch.failures import NO_FAILURES, FailureStreak, Verdict

POLICY = PollPolicy(interval=10, jitter=0, missing_grace=60, max_outage=900)
OUTAGE = ServerError(502, "bad gateway")
REFUSED = PermissionDeniedError(403, "not yours", code=403)
GONE = NotFoundError(404, "no such workload", code=404)


def after(*polls: tuple[float, RunaiError]) -> Verdict:
    """Return the verdict on the last of some failed polls, each given by its time."""
    streak, verdict = NO_FAILURES, None
    for at, error in polls:
        verdict = streak.record(
            error, POLICY, what="workload w", began=at, now=at, interval=10, first=not streak.failures
        )
        streak = verdict.streak
    assert verdict is not None
    return verdict


def test_the_shared_streak_never_changes() -> None:
    after((0, OUTAGE))

    assert FailureStreak() == NO_FAILURES


def test_a_refusal_is_believed_when_every_poll_returned_it_for_the_grace() -> None:
    assert after((0, REFUSED)).refusal_begins
    assert after((0, REFUSED), (59, REFUSED)).error is None
    assert after((0, REFUSED), (60, REFUSED)).error is REFUSED
    assert after((0, REFUSED), (60, REFUSED)).is_believed


@pytest.mark.parametrize("between", [OUTAGE, GONE])
def test_another_failure_in_between_starts_the_grace_anew(between: RunaiError) -> None:
    verdict = after((0, REFUSED), (50, between), (60, REFUSED))

    assert verdict.error is None
    assert verdict.streak.refused_since == 60


def test_alternating_refusals_are_an_outage() -> None:
    verdict = after((0, REFUSED), (10, GONE))

    assert verdict.outage_begins
    assert verdict.streak.outage_since == 10


def test_an_outage_begins_once_and_ends_after_max_outage_with_the_last_error() -> None:
    assert after((0, OUTAGE)).outage_begins
    assert not after((0, OUTAGE), (10, OUTAGE)).outage_begins

    error = after((0, OUTAGE), (899, OUTAGE)).error
    assert error is None
    error = after((0, OUTAGE), (900, OUTAGE)).error
    assert isinstance(error, WatchOutageError)
    assert error.last_error is error.__cause__ is OUTAGE


def test_the_back_off_begins_with_the_second_failure_and_a_refusal_has_none() -> None:
    assert after((0, OUTAGE)).due is None
    due = after((0, OUTAGE), (10, OUTAGE)).due
    assert due is not None
    assert 20 <= due <= 30
    assert after((0, REFUSED), (10, REFUSED)).due is None


def test_one_poll_is_due_when_patience_ends() -> None:
    due = after((0, OUTAGE), (895, OUTAGE)).due

    assert due == 900
