"""What a streak of failed polls means: one decision for watches, waits and fleets."""

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from runai_async import (
    AuthenticationError,
    ConfigurationError,
    DecodeError,
    NotFoundError,
    PermissionDeniedError,
    PollPolicy,
    RunaiError,
    ServerError,
    WatchOutageError,
)
from runai_async._watch.failures import NO_FAILURES, FailureStreak, Past, Verdict, grace_of

POLICY = PollPolicy(interval=10, jitter=0, missing_grace=60, max_outage=900)
OUTAGE = ServerError(502, "bad gateway")
REFUSED = PermissionDeniedError(403, "not yours", code=403)
GONE = NotFoundError(404, "no such workload", code=404)


NEW, SEEN, RESUMED = Past(False, False), Past(True, True), Past(False, True)


def record(
    streak: FailureStreak,
    error: RunaiError,
    *,
    at: float,
    began: float | None = None,
    interval: float = 10,
    policy: PollPolicy = POLICY,
    past: Past = NEW,
) -> Verdict:
    """Return the verdict on one more failed poll, with the grace of a watch."""
    return streak.record(
        error,
        policy,
        what="workload w",
        began=at if began is None else began,
        now=at,
        interval=interval,
        past=past,
        grace=grace_of(error, policy, past),
    )


def after(
    *polls: tuple[float, RunaiError], every: float = 10, policy: PollPolicy = POLICY, past: Past = NEW
) -> Verdict:
    """Return the verdict on the last of some failed polls, each given by its time, polled *every* seconds."""
    streak, verdict = NO_FAILURES, None
    for at, error in polls:
        verdict = record(streak, error, at=at, interval=every, policy=policy, past=past)
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


# --- what was readable before is doubted longer -------------------------------------------------------------


def believed_after(error: RunaiError, policy: PollPolicy, past: Past) -> float:
    """Return the seconds after which a refusal that every poll returns ends the watch."""
    polls = [(10.0 * n, error) for n in range(200)]
    return next(10.0 * n for n in range(200) if after(*polls[: n + 1], policy=policy, past=past).error)


@pytest.mark.parametrize("past", [SEEN, RESUMED])
@pytest.mark.parametrize(
    ("error", "max_outage", "seconds"),
    [(REFUSED, 700.0, 700.0), (REFUSED, None, 900.0), (REFUSED, 30.0, 60.0), (GONE, 700.0, 300.0)],
)
def test_a_refusal_where_one_could_read_is_doubted_longer(
    error: RunaiError, max_outage: float | None, seconds: float, past: Past
) -> None:
    policy = evolve(POLICY, max_outage=max_outage)

    assert believed_after(error, policy, past) == seconds
    assert believed_after(error, policy, NEW) == 60


# --- a refused token ----------------------------------------------------------------------------------------

TOKEN = AuthenticationError(401, "token used before issued", code=401)
TOKEN_ONCE = AuthenticationError(401, "token used before issued", code=401)
TOKEN.attempts = 3
REJECTED = AuthenticationError(401, "invalid_client")
REJECTED.is_final = True
LOGIN_PAGE = AuthenticationError(401, "<html>log in</html>")


def test_a_refused_token_ends_a_watch_that_never_had_a_success() -> None:
    assert after((0, TOKEN)).error is TOKEN
    assert after((0, TOKEN), past=RESUMED).error is TOKEN
    assert after((0, OUTAGE), (10, TOKEN)).error is TOKEN


def test_without_repeats_a_token_has_to_be_refused_by_three_polls() -> None:
    assert after((0, TOKEN_ONCE), (10, TOKEN_ONCE)).error is None
    assert after((0, TOKEN_ONCE), (10, TOKEN_ONCE), (20, TOKEN_ONCE)).error is TOKEN_ONCE


def test_a_refused_token_is_an_outage_where_it_was_accepted_before_and_ends_as_what_it_is() -> None:
    assert after((0, TOKEN), past=SEEN).outage_begins
    assert after(*steadily(TOKEN, 890), past=SEEN).error is None
    assert after(*steadily(TOKEN, 900), past=SEEN).error is TOKEN


def test_rejected_credentials_end_everything_at_once() -> None:
    assert after((0, REJECTED), past=SEEN).error is REJECTED


def test_a_login_page_for_a_401_is_an_outage_like_any_other() -> None:
    assert after((0, LOGIN_PAGE)).error is None
    assert isinstance(after(*steadily(LOGIN_PAGE, 900)).error, WatchOutageError)


def test_without_a_limit_a_refused_token_is_warned_of_every_quarter_of_an_hour() -> None:
    patient = evolve(POLICY, max_outage=None)
    polls = steadily(TOKEN, 3000)
    reminders = [
        at for n, (at, _) in enumerate(polls) if after(*polls[: n + 1], policy=patient, past=SEEN).is_reminder
    ]

    assert reminders == [900, 1800, 2700]
    assert not any(after(*steadily(TOKEN, at), past=SEEN).is_reminder for at in (800, 850))
    assert not after(*steadily(OUTAGE, 900), policy=patient, past=SEEN).is_reminder


def ended_at(*cycle: RunaiError) -> float:
    """Return when a watch ends whose polls fail with these errors in turn, every ten seconds."""
    polls = [(10.0 * n, cycle[n % len(cycle)]) for n in range(500)]
    return next(10.0 * n for n in range(500) if after(*polls[: n + 1], past=SEEN).error)


@pytest.mark.parametrize(
    "cycle",
    [(TOKEN, REFUSED), (TOKEN, OUTAGE), (REFUSED, REFUSED, GONE, GONE), (OUTAGE, GONE), (TOKEN, GONE)],
)
def test_whatever_fails_in_turn_no_success_for_max_outage_ends_the_watch(
    cycle: tuple[RunaiError, ...],
) -> None:
    assert 900 <= ended_at(*cycle) <= 940


# --- what is not the API's ----------------------------------------------------------------------------------

FOREIGN = DecodeError("$.revisions: missing", path="$.revisions")


def test_three_foreign_responses_and_nothing_else_end_a_new_watch() -> None:
    assert after((0, FOREIGN), (10, FOREIGN)).error is None
    assert after((0, FOREIGN), (10, FOREIGN), (20, FOREIGN)).error is FOREIGN
    assert after((0, FOREIGN), (10, OUTAGE), (20, FOREIGN), (30, FOREIGN), (40, FOREIGN)).error is None
    assert after((0, OUTAGE), (10, FOREIGN), (20, FOREIGN), (30, FOREIGN)).error is None


@pytest.mark.parametrize("past", [SEEN, RESUMED])
def test_foreign_responses_to_a_watch_that_has_a_past_are_an_outage(past: Past) -> None:
    assert after(*steadily(FOREIGN, 890), past=past).error is None


def test_a_configuration_that_does_not_work_ends_a_watch_only_at_its_first_poll() -> None:
    broken = ConfigurationError("log in")

    assert after((0, broken)).error is broken
    assert after((0, broken), past=SEEN).error is None
    assert after((0, OUTAGE), (10, broken)).error is None


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
        verdict = record(streak, error, at=at, policy=short)
        streak = verdict.streak._replace(pause=10)

    assert verdict is not None
    assert verdict.error is None
    assert max(streak.outage_seconds, streak.refused_seconds) == 55


def test_a_poll_that_was_stopped_in_the_middle_adds_a_deadline() -> None:
    verdict = record(NO_FAILURES, OUTAGE, at=1_000_000, began=0)

    assert verdict.streak.outage_seconds == POLICY.deadline


@given(polls=st.lists(st.tuples(st.floats(0, 10_000), st.sampled_from([OUTAGE, REFUSED, GONE])), max_size=30))
def test_whatever_fails_and_whenever_no_more_is_counted_than_was_planned(
    polls: list[tuple[float, RunaiError]],
) -> None:
    now, streak, most = 0.0, NO_FAILURES, 0.0
    for gap, error in polls:
        now += gap
        verdict = record(streak, error, at=now)
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
