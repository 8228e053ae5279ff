"""What a poll of a fleet means: pure values, without a clock or a fleet."""

import pytest
from yarl import URL

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
from runai_async._api.endpoints import Call
from runai_async._fleet.doubt import NO_DOUBT, Doubt
from runai_async._fleet.member import Member
from runai_async._fleet.outcomes import Outcome, Poll, of_failure, of_success
from runai_async._fleet.schedule import next_slot
from runai_async._http.messages import Request
from runai_async._watch.failures import NO_FAILURES, FailureStreak
from runai_async._watch.tracker import Tracker

WORKLOAD = "5b7ad5a4-4f2c-4c0a-b63b-0d4c1e9f7c11"
POLICY = PollPolicy(interval=10, jitter=0, missing_grace=60, max_outage=900)
OUTAGE = ServerError(502, "bad gateway")
REFUSED = PermissionDeniedError(403, "not yours", code=403)
GONE = NotFoundError(404, "no such workload", code=404)


def member(streak: FailureStreak = NO_FAILURES, *, backoff: int = 0, last: float | None = 90.0) -> Member:
    tracker = Tracker(WORKLOAD)
    call = Call("list_revisions", Request("GET", URL("https://acme.run.ai/")), tracker.read)
    made = Member(tracker, call, POLICY.interval)
    made.streak, made.backoff, made.last_success_at = streak, backoff, last
    return made


def refused_as(kind: type[RunaiError]) -> FailureStreak:
    return FailureStreak(6, refused_as=kind, refused_seconds=890.0, noted_at=90.0, pause=10.0)


def poll(
    began: float = 100.0, *, is_leaving: bool = False, ever_responded: bool = True, doubt: Doubt = NO_DOUBT
) -> Poll:
    return Poll(began, began + 0.1, is_leaving=is_leaving, ever_responded=ever_responded, doubt=doubt)


def failed(error: RunaiError, of: Member, at: Poll | None = None) -> Outcome:
    return of_failure(of, error, at or poll(), POLICY)


def test_a_success_ends_the_streak_and_says_how_long_the_outage_was() -> None:
    outcome = of_success(member(FailureStreak(3, outage_since=70.0), backoff=2), poll(), POLICY)

    assert (outcome.streak, outcome.backoff, outcome.response) == (NO_FAILURES, 0, "yes")
    assert outcome.outage_ended_after == pytest.approx(30.1)
    assert 100.1 < outcome.due <= 110.1


def test_a_success_of_a_workload_that_is_no_longer_listed_lets_it_leave() -> None:
    assert of_success(member(), poll(is_leaving=True), POLICY).leaves


def test_a_first_failure_begins_an_outage_and_keeps_the_schedule() -> None:
    outcome = failed(OUTAGE, member())

    assert (outcome.outage_begins, outcome.response, outcome.report, outcome.ends) == (True, "no", None, None)
    assert (outcome.streak.failures, outcome.streak.outage_since) == (1, 100.0)
    assert 100.1 < outcome.due <= 110.1


@pytest.mark.parametrize("after", [0.2, 3.0, 8.0])
def test_only_an_early_poll_that_was_of_use_stands_for_the_slot_that_it_came_before(after: float) -> None:
    one = member()
    one.slot = next_slot(one.offset, 10, 100.1 + after)
    began = one.slot - after
    early = Poll(began, began + 0.1, is_leaving=False, ever_responded=True)

    assert of_success(one, early._replace(stands=True), POLICY).due == pytest.approx(one.slot + 10)
    assert of_success(one, early, POLICY).due == one.slot
    assert of_failure(one, OUTAGE, early, POLICY).due == one.slot


def test_a_slot_is_not_later_than_it_was_where_the_interval_is_longer() -> None:
    one = member()
    one.slot = next_slot(one.offset, 10, 105)
    early = Poll(101, 101.1, is_leaving=False, ever_responded=True, usual=60)

    assert of_success(one, early, POLICY).due == one.slot


@pytest.mark.parametrize("interval", [10.0, 60.0])
def test_the_next_poll_of_a_relaxed_workload_is_no_later_than_its_interval_allows(interval: float) -> None:
    one = member()
    one.interval = interval
    for began in range(100, 160):
        one.slot = next_slot(one.offset, interval, began)
        early = Poll(began, began + 0.1, is_leaving=False, ever_responded=True, usual=60, stands=True)
        assert began < of_success(one, early, POLICY).due <= began + 60.1


def test_an_outage_that_lasts_is_reported_once_and_then_polled_rarely() -> None:
    first = failed(OUTAGE, member(FailureStreak(50, -801.0, 890.0, noted_at=40.0, pause=60.0)))
    assert isinstance(first.report, WatchOutageError)
    assert first.backoff == 2

    second = failed(OUTAGE, member(first.streak, backoff=first.backoff))
    assert (second.report, second.backoff) == (None, 3)
    assert 100.1 + 20 <= second.due <= 100.1 + 40

    late = failed(OUTAGE, member(first.streak, backoff=20))
    assert 100.1 + 150 <= late.due <= 100.1 + 300


def test_a_refusal_is_a_response_and_is_reported_when_it_is_believed() -> None:
    young = failed(REFUSED, member())
    assert (young.response, young.report, young.outage_begins) == ("yes", None, False)

    old = failed(REFUSED, member(refused_as(PermissionDeniedError)))
    assert (old.report, old.deleted, old.leaves) == (REFUSED, False, False)


@pytest.mark.parametrize(("is_leaving", "report"), [(True, None), (False, GONE)])
def test_a_404_that_is_believed_deletes_what_was_seen(is_leaving: bool, report: RunaiError | None) -> None:
    seen = member(refused_as(NotFoundError))
    seen.tracker.synced = True
    outcome = failed(GONE, seen, poll(is_leaving=is_leaving))

    assert (outcome.deleted, outcome.leaves, outcome.report) == (True, is_leaving, report)


def test_a_404_of_what_was_never_seen_deletes_nothing() -> None:
    outcome = failed(
        GONE,
        member(
            refused_as(NotFoundError),
            last=None,
        ),
    )

    assert (outcome.deleted, outcome.report) == (False, GONE)


def test_a_deleted_workload_that_the_list_lacks_is_about_to_leave_and_no_failure() -> None:
    seen = member(refused_as(NotFoundError))
    seen.tracker.synced, seen.gone_since = True, 40.0
    outcome = failed(GONE, seen, poll(doubt=Doubt(follows_list=True, listed_at=60.0)))

    assert (outcome.deleted, outcome.leaves, outcome.report) == (True, False, None)


@pytest.mark.parametrize("last", [None, 90.0])
def test_a_refused_token_is_the_fleet_s_matter(last: float | None) -> None:
    outcome = failed(AuthenticationError(401, "revoked", code=401), member(last=last))

    assert (outcome.ends, outcome.report, outcome.response) == (None, None, "token")


def test_rejected_credentials_end_the_fleet() -> None:
    error = AuthenticationError(401, "invalid_client")
    error.is_final = True

    assert failed(error, member()).ends is error


@pytest.mark.parametrize("ever_responded", [True, False])
def test_a_configuration_that_never_worked_ends_the_fleet_and_later_it_is_one_workload_s_failure(
    ever_responded: bool,
) -> None:
    error = ConfigurationError("no login")
    outcome = failed(error, member(last=None), poll(ever_responded=ever_responded))

    assert outcome.ends is (None if ever_responded else error)
    assert outcome.report is (error if ever_responded else None)


def test_three_first_responses_that_are_not_the_api_s_are_reported() -> None:
    error = DecodeError("$.revisions: missing", path="$.revisions", is_json=True)
    twice = FailureStreak(2, outage_since=80.0, malformed=2, noted_at=90.0, pause=10.0)

    assert failed(error, member(last=None)).report is None
    assert failed(error, member(twice, last=None)).report is error
    seen = member(twice)
    seen.tracker.synced = True
    assert failed(error, seen).report is None
