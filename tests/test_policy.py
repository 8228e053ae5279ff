"""Policies are values with units: an unusable number is rejected where it is written."""

from typing import Any

import attrs
import pytest

from runai_async import PollPolicy, RetryPolicy
from runai_async._arguments import poll_policy
from runai_async.policy import EMIT_NAMES, LEAST_INTERVAL

NUMBERS = [
    *((RetryPolicy, name) for name in ("wait_initial", "wait_max", "deadline")),
    *(
        (PollPolicy, name)
        for name in (
            "interval",
            "fast_interval",
            "fast_for",
            "jitter",
            "deadline",
            "max_outage",
            "missing_grace",
        )
    ),
]


def made(cls: Any, **options: Any) -> Any:
    """Return a policy from options that a type checker would reject."""
    return cls(**options)


def test_the_defaults_are_those_that_are_documented() -> None:
    assert attrs.asdict(RetryPolicy()) == {
        "attempts": 4,
        "wait_initial": 0.5,
        "wait_max": 10.0,
        "deadline": 60.0,
        "statuses": frozenset({429, 500, 502, 503, 504}),
    }
    assert attrs.asdict(PollPolicy()) == {
        "interval": 10.0,
        "fast_interval": 2.0,
        "fast_for": 600.0,
        "jitter": 0.1,
        "deadline": 60.0,
        "max_outage": 900.0,
        "missing_grace": 60.0,
        "stalled_after": None,
        "emit": frozenset(),
    }


@pytest.mark.parametrize("cls", [RetryPolicy, PollPolicy])
def test_a_policy_is_frozen_hashable_and_takes_keywords_only(cls: Any) -> None:
    name = attrs.fields(cls)[0].name
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(cls(), name, 1)
    with pytest.raises(TypeError, match="positional"):
        cls(1)
    assert len({cls(), cls(), attrs.evolve(cls(), deadline=5)}) == 2


@pytest.mark.parametrize(("cls", "name"), NUMBERS)
def test_a_number_out_of_range_is_rejected_by_name(cls: Any, name: str) -> None:
    for value in (float("nan"), float("inf"), -float("inf"), -1, -0.001):
        finite = " and finite" if value == float("inf") else ""
        bound = rf"(at least 0(\.01)?|a positive number){finite}"
        with pytest.raises(ValueError, match=rf"^{name} must be {bound}, not {value!r}$"):
            made(cls, **{name: value})


@pytest.mark.parametrize(("cls", "name"), NUMBERS)
def test_a_value_that_is_not_a_number_is_rejected_by_name(cls: Any, name: str) -> None:
    values: list[Any] = ["10", True, []]
    for value in values:
        with pytest.raises(TypeError, match=f"^{name} must be a number, not {type(value).__name__}$"):
            made(cls, **{name: value})


@pytest.mark.parametrize(("cls", "name"), [row for row in NUMBERS if row[1] != "max_outage"])
def test_only_an_outage_may_last_for_ever(cls: Any, name: str) -> None:
    assert PollPolicy(max_outage=None).max_outage is None
    with pytest.raises(TypeError, match=f"^{name} must be a number, not NoneType$"):
        made(cls, **{name: None})


@pytest.mark.parametrize("name", ["interval", "fast_interval"])
def test_an_interval_has_a_smallest_value(name: str) -> None:
    assert LEAST_INTERVAL == 0.01
    assert getattr(made(PollPolicy, **{name: 0.01}), name) == 0.01
    with pytest.raises(ValueError, match=rf"^{name} must be at least 0\.01, not 0\.0099$"):
        made(PollPolicy, **{name: 0.0099})


@pytest.mark.parametrize(
    ("cls", "name"),
    [
        (RetryPolicy, "wait_initial"),
        (RetryPolicy, "wait_max"),
        (PollPolicy, "fast_for"),
        (PollPolicy, "jitter"),
        (PollPolicy, "max_outage"),
        (PollPolicy, "missing_grace"),
    ],
)
def test_some_numbers_may_be_zero(cls: Any, name: str) -> None:
    assert getattr(made(cls, **{name: 0}), name) == 0


@pytest.mark.parametrize("cls", [RetryPolicy, PollPolicy])
def test_a_deadline_is_positive(cls: Any) -> None:
    assert cls(deadline=0.001).deadline == 0.001
    with pytest.raises(ValueError, match=r"^deadline must be a positive number, not 0$"):
        cls(deadline=0)


def test_jitter_is_a_fraction() -> None:
    assert PollPolicy(jitter=1).jitter == 1
    with pytest.raises(ValueError, match=r"^jitter is a fraction of the interval, 0 to 1, not 1\.5$"):
        PollPolicy(jitter=1.5)


def test_one_attempt_is_enough_and_zero_too_few() -> None:
    assert RetryPolicy(attempts=1).attempts == 1
    with pytest.raises(ValueError, match=r"^attempts must be at least 1, not 0$"):
        RetryPolicy(attempts=0)


@pytest.mark.parametrize("value", [1.0, "4", True, None])
def test_attempts_are_a_whole_number(value: Any) -> None:
    with pytest.raises(TypeError, match=f"^attempts must be a whole number, not {type(value).__name__}$"):
        RetryPolicy(attempts=value)


@pytest.mark.parametrize("given", [[400, 599, 400], (400, 599), {400, 599}, frozenset({400, 599})], ids=repr)
def test_statuses_may_be_any_collection(given: Any) -> None:
    assert RetryPolicy(statuses=given).statuses == frozenset({400, 599})
    assert RetryPolicy(statuses=frozenset()).statuses == frozenset()


@pytest.mark.parametrize("status", [0, 200, 302, 399, 600])
def test_a_status_that_is_not_an_error_is_rejected(status: int) -> None:
    problem = rf"^statuses must be HTTP error statuses \(400 to 599\), not {status}$"
    with pytest.raises(ValueError, match=problem):
        RetryPolicy(statuses=frozenset({503, status}))


@pytest.mark.parametrize(
    "given", [["updated", "synced"], ("updated", "synced"), {"updated", "synced"}], ids=["[]", "()", "{}"]
)
def test_events_to_emit_may_be_any_collection(given: Any) -> None:
    assert PollPolicy(emit=given).emit == frozenset({"updated", "synced"})


@pytest.mark.parametrize("name", sorted(EMIT_NAMES))
def test_one_event_to_emit_may_be_its_name(name: Any) -> None:
    assert PollPolicy(emit=name).emit == frozenset({name})


def test_an_event_that_cannot_be_chosen_is_rejected() -> None:
    assert frozenset({"updated", "synced", "degraded", "recovered", "clusters"}) == EMIT_NAMES
    wrong: Any = ["updated", "deleted"]
    known = "clusters, degraded, recovered, synced, updated"
    with pytest.raises(ValueError, match=f"^emit may name {known}, but not 'deleted'$"):
        PollPolicy(emit=wrong)


def test_an_interval_overrides_the_policy_s_own() -> None:
    policy = PollPolicy(jitter=0, interval=30)
    assert poll_policy(policy, None) is policy
    assert poll_policy(policy, 5) == PollPolicy(jitter=0, interval=5)
    assert poll_policy(None, 5) == PollPolicy(interval=5)
    assert poll_policy(None, None) == PollPolicy()


def test_an_overriding_interval_is_checked_too() -> None:
    with pytest.raises(ValueError, match=r"^interval must be at least 0\.01, not 0$"):
        poll_policy(PollPolicy(), 0)
