"""What a streak of failed polls means: one decision for watches, waits and fleets."""

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

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


def after(*polls: tuple[float, RunaiError], every: float = 10) -> Verdict:
    """Return the verdict on the last of some failed polls, each given by its time, polled *every* seconds."""
    streak, verdict = NO_FAILURES, None
    for at, error in polls:
        verdict = streak.record(
            error, POLICY, what="workload w", began=at, now=at, interval=every, first=not streak.failures
        )
        streak = verdict.streak._replace(pause=every)
    assert verdict is not None
    return verdict


def steadily(error: RunaiError, until: float, every: float = 10) -> list[tuple[float, RunaiError]]:
    return [(every * n, error) for n in range(int(until // every) + 1)]


def test_the_shared_streak_never_changes() -> None:
    after((0, OUTAGE))

    assert FailureStreak() == NO_FAILURES


def test_a_refusal_is_believed_when_every_poll_returned_it_for_the_grace() -> None:
    assert after((0, REFUSED)).refusal_begins
    assert after(*steadily(REFUSED, 50)).error is None
    assert after(*steadily(REFUSED, 60)).error is REFUSED
    assert after(*steadily(REFUSED, 60)).is_believed


@pytest.mark.parametrize("between", [OUTAGE, GONE])
def test_another_failure_in_between_starts_the_grace_anew(between: RunaiError) -> None:
    polls = [*steadily(REFUSED, 50), (55.0, between)]

    assert after(*polls, *((60.0 + 10 * n, REFUSED) for n in range(6))).error is None
    assert after(*polls, *((60.0 + 10 * n, REFUSED) for n in range(7))).error is REFUSED


def test_alternating_refusals_are_an_outage() -> None:
    verdict = after((0, REFUSED), (10, GONE))

    assert verdict.outage_begins
    assert verdict.streak.outage_since == 10


def test_an_outage_begins_once_and_ends_after_max_outage_with_the_last_error() -> None:
    assert after((0, OUTAGE)).outage_begins
    assert not after((0, OUTAGE), (10, OUTAGE)).outage_begins

    assert after(*steadily(OUTAGE, 890)).error is None
    error = after(*steadily(OUTAGE, 900)).error
    assert isinstance(error, WatchOutageError)
    assert error.last_error is error.__cause__ is OUTAGE


# --- patience counts failed polls -------------------------------------------------------------------------


@pytest.mark.parametrize("error", [OUTAGE, REFUSED])
def test_nothing_is_given_up_before_the_third_failed_poll(error: RunaiError) -> None:
    assert after((0, error), (2_000, error), every=2_000).error is None
    assert after((0, error), (2_000, error), (4_000, error), every=2_000).error is not None


@pytest.mark.parametrize("error", [OUTAGE, REFUSED])
def test_a_process_that_stood_still_adds_one_pause_and_one_deadline(error: RunaiError) -> None:
    short = evolve(POLICY, deadline=5, missing_grace=100, max_outage=100)
    streak, verdict = NO_FAILURES, None
    for at in (0, 10, 20, 100_000, 100_010, 100_020):  # 10 + 10 + (10 + 5) + 10 + 10
        verdict = streak.record(
            error, short, what="w", began=at, now=at, interval=10, first=not streak.failures
        )
        streak = verdict.streak._replace(pause=10)

    assert verdict is not None
    assert verdict.error is None
    assert max(streak.outage_seconds, streak.refused_seconds) == 55


def test_a_poll_that_was_stopped_in_the_middle_adds_a_deadline() -> None:
    verdict = NO_FAILURES.record(OUTAGE, POLICY, what="w", began=0, now=1_000_000, interval=10, first=True)

    assert verdict.streak.outage_seconds == POLICY.deadline


@given(polls=st.lists(st.tuples(st.floats(0, 10_000), st.sampled_from([OUTAGE, REFUSED, GONE])), max_size=30))
def test_whatever_fails_and_whenever_no_more_is_counted_than_was_planned(
    polls: list[tuple[float, RunaiError]],
) -> None:
    now, streak, most = 0.0, NO_FAILURES, 0.0
    for gap, error in polls:
        now += gap
        verdict = streak.record(
            error, POLICY, what="w", began=now, now=now, interval=10, first=not streak.failures
        )
        most += streak.pause + POLICY.deadline
        streak = verdict.streak
        assert streak.outage_seconds <= min(now, most) + 1e-6
        assert streak.refused_seconds <= min(now, most) + 1e-6
        assert verdict.error is None or streak.failures >= 3
        assert verdict.due is None or verdict.due >= now


# --- when to poll next --------------------------------------------------------------------------------------


def test_the_back_off_begins_with_the_second_failure_and_a_refusal_has_none() -> None:
    assert after((0, OUTAGE)).due is None
    due = after((0, OUTAGE), (10, OUTAGE)).due
    assert due is not None
    assert 20 <= due <= 30
    assert after((0, REFUSED), (10, REFUSED)).due is None


def test_one_poll_is_due_when_patience_ends() -> None:
    assert after(*steadily(OUTAGE, 895, every=5), every=5).due == pytest.approx(900)


@pytest.mark.parametrize(("asked", "due"), [(5.0, 10.0), (120.0, 120.0), (3600.0, 300.0)])
def test_a_retry_after_is_the_earliest_time_of_the_next_poll_up_to_five_minutes(
    asked: float, due: float | None
) -> None:
    assert after((0, ServerError(503, "busy", retry_after=asked))).due == due


def test_a_retry_after_holds_in_an_outage_too() -> None:
    busy = ServerError(503, "busy", retry_after=200.0)

    assert after((0, busy), (200, busy)).due == 400
