"""Why a revision does not serve, from what was read of it."""

import copy
import pickle
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from attrs import evolve
from support.samples import revision

from runai_async import Condition, Phase, Pod, PodContainer, RevisionLogEvent
from runai_async.explanation import EventCount, Explanation, counted_warnings, explanation_of

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
NO_NODE = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."


def event(
    reason: str | None, message: str | None = None, minutes: float = 0, **fields: Any
) -> RevisionLogEvent:
    created_at = NOON + timedelta(minutes=minutes)
    return RevisionLogEvent(created_at, fields.pop("type", "Warning"), reason, message, **fields)


def pod(k8s_phase: str, **container: Any) -> Pod:
    return Pod("llm-1", "p1", k8s_phase, (PodContainer("server", "llm:1", extra=container),))


def explained(**fields: Any) -> Explanation:
    return Explanation("r1", "llm-00001", Phase.PENDING, **fields)


# --- warnings -----------------------------------------------------------------------------------------------


def test_warnings_of_one_reason_and_message_are_one_with_a_count_and_the_newest_is_first() -> None:
    events = [event("A", "x", 0), event("B", "x", 5), event("A", "x", 9), event("A", "y", 3)]
    expected = [("A", "x", 2, 9), ("B", "x", 1, 5), ("A", "y", 1, 3)]
    for given in (events, events[::-1]):
        assert counted_warnings(given) == tuple(
            EventCount(reason, message, count, NOON + timedelta(minutes=at))
            for reason, message, count, at in expected
        )


def test_events_that_are_no_warnings_do_not_count() -> None:
    events = [event("Pulled", "x", type="Normal"), event("A", "x", type="warning"), event("B", type="New")]
    assert [item.reason for item in counted_warnings(events)] == ["A"]


@pytest.mark.parametrize(("count", "expected"), [(7, 7), (0, 1), (-3, 1), ("7", 1), (True, 1), (None, 1)])
def test_the_count_of_a_server_that_gives_one_is_added(count: Any, expected: int) -> None:
    (found,) = counted_warnings([event("A", extra={"count": count})])
    assert found.count == expected


@pytest.mark.parametrize(
    ("reason", "message", "text"), [("A", "x", "A: x"), ("A", None, "A"), (None, "x", "x"), ("", "", "")]
)
def test_a_reason_or_a_message_may_be_missing(reason: str | None, message: str | None, text: str) -> None:
    (found,) = counted_warnings([event(reason, message)])
    assert str(found) == text


# --- the cause ----------------------------------------------------------------------------------------------

ALL: dict[str, Any] = {
    "warnings": (EventCount("FailedScheduling", NO_NODE, 3, NOON), EventCount("Older", "x", 1, NOON)),
    "pods": (
        pod(
            "Pending", state={"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling llm:2"}}
        ),
        pod("Evicted"),
    ),
    "conditions": (
        Condition("Ready", "Unknown", "the revision is being rolled out", "Deploying"),
        Condition("ContainerHealthy", "False", "exit code 1", "ExitCode1"),
    ),
    "message": "not ready",
    "lost_cluster": "cluster eu-1 lost its connection",
}


def test_the_first_cause_is_found_in_the_documented_order() -> None:
    left, causes = dict(ALL), list[str | None]()
    for name in (*ALL, None):
        causes.append(explained(**left).cause)
        left.pop(name or "", None)
    assert causes == [
        f"FailedScheduling: {NO_NODE}",
        "container server: ImagePullBackOff: Back-off pulling llm:2",
        "ExitCode1: exit code 1",
        "not ready",
        "cluster eu-1 lost its connection",
        None,
    ]


@pytest.mark.parametrize(
    "state",
    [
        None,
        "waiting",
        {"waiting": None},
        {"waiting": {"message": "x"}},
        {"waiting": {"reason": 5}},
        {"waiting": {"reason": "ContainerCreating"}},
        {"running": {"startedAt": "now"}},
    ],
)
def test_a_container_that_starts_or_has_no_state_explains_nothing(state: Any) -> None:
    assert explained(pods=(pod("Pending", state=state), Pod("llm-2", "p2", "Running"))).cause is None


def test_a_waiting_container_may_have_no_message() -> None:
    found = explained(pods=(pod("Running", state={"waiting": {"reason": "CrashLoopBackOff", "message": 5}}),))
    assert found.cause == "container server: CrashLoopBackOff"


@pytest.mark.parametrize(("phase", "cause"), [("Failed", "pod llm-1 is Failed"), ("running", None)])
def test_a_pod_in_an_unusual_phase_is_a_cause(phase: str, cause: str | None) -> None:
    assert explained(pods=(pod(phase),)).cause == cause


def test_a_cause_is_one_line_without_escapes_and_of_bounded_length() -> None:
    found = explained(warnings=(EventCount("A\x1b[31m", "two\nlines " + "long " * 500, 1, NOON),))
    assert found.cause is not None
    assert found.cause.startswith("A [31m: two lines long long")
    assert len(found.cause) <= 300
    assert found.cause.endswith(" ...")
    assert found.cause.isprintable()


def test_a_cause_without_printable_text_is_none() -> None:
    assert explained(warnings=(EventCount("\x1b", "\n", 1, NOON),), message="why").cause == "why"


# --- Knative's deadline -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"message": 'Deployment "llm" exceeded its progress deadline'},
        {"conditions": (Condition("Ready", "False", None, "ProgressDeadlineExceeded"),)},
        {"conditions": (Condition("Ready", "False", "llm Exceeded Its Progress Deadline", None),)},
        {"warnings": (EventCount("ProgressDeadlineExceeded", "", 1, NOON),)},
    ],
)
def test_a_revision_that_knative_gave_up_on_is_recognised(fields: dict[str, Any]) -> None:
    assert explained(**fields).exceeded_deadline
    assert not explained(**ALL).exceeded_deadline
    assert not explained().exceeded_deadline


# --- as a whole ---------------------------------------------------------------------------------------------


def test_an_explanation_keeps_what_is_not_true_and_nothing_that_may_be_secret() -> None:
    known = evolve(
        revision(),
        phase_message="",
        environment_variables={"KEY": "hub-secret"},
        command="cmd-secret",
        conditions=(Condition("Ready", "False"), Condition("Active", "True"), Condition("New", "Maybe")),
    )
    found = explanation_of(known, [event("A")], [pod("Running"), pod("Pending"), pod("Running")])
    assert (found.revision_id, found.name, found.phase, found.message) == (
        known.id, known.name, known.phase, None,
    )  # fmt: skip
    assert [item.type for item in found.conditions] == ["Ready", "New"]
    assert found.pod_phases == {"Running": 2, "Pending": 1}
    assert "secret" not in repr(found) + str(found) + pickle.dumps(found).decode("latin-1")


def test_the_text_has_a_line_for_each_thing_that_is_known() -> None:
    assert str(explained(**ALL, unread=("events",))).splitlines() == [
        "revision llm-00001 is Pending: not ready",
        f"why: FailedScheduling: {NO_NODE}",
        "pods: 1 Pending, 1 Evicted",
        "cluster eu-1 lost its connection",
        "not readable: events",
    ]
    assert str(explained()) == "revision llm-00001 is Pending"
    assert str(explained(message="no GPU")) == "revision llm-00001 is Pending: no GPU"
    lost = explained(lost_cluster="cluster eu-1 lost its connection")
    assert str(lost).splitlines()[1:] == ["why: cluster eu-1 lost its connection"]


def test_an_explanation_is_a_value() -> None:
    found = explained(**ALL)
    assert (copy.deepcopy(found), pickle.loads(pickle.dumps(found))) == (found, found)
