"""Encoding: the API's own shape in its normal form; events and CloudEvents without secrets."""

import functools
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runai_async import (
    Cluster,
    ClusterConnected,
    ClusterDisconnected,
    ClusterState,
    Condition,
    FieldChange,
    FleetEvent,
    HistoryRecord,
    Phase,
    PhaseChanged,
    RequestedResources,
    ResourceCores,
    Revision,
    RevisionAdded,
    RevisionDeleted,
    RevisionEvent,
    RevisionStalled,
    RevisionUpdated,
    RunaiError,
    Synced,
    TransportError,
    WatchDegraded,
    WatchRecovered,
    Workload,
    WorkloadFailed,
    _codec,
    from_json,
    to_cloudevent,
    to_json,
)
from runai_async._codec import encode

DATA = Path(__file__).parents[1] / "data"
RAW = (DATA / "revision.json").read_bytes()
REVISION = from_json(RAW, Revision)
PLAIN: dict[str, Any] = json.loads(RAW)
# The same with its times as they are written: in UTC, with fractions in microseconds.
NORMAL: dict[str, Any] = json.loads(
    RAW.replace(b"T09:58:03+02:00", b"T07:58:03Z").replace(b".481Z", b".481000Z")
)
SEEN = datetime(2025, 9, 14, 12, 0, 0, 500, timezone(timedelta(hours=2)))
SECRETS = ("hub-secret-123", "cmd-secret-456", "arg-secret-789")
OPEN = {
    key: value for key, value in NORMAL.items() if key not in {"environmentVariables", "command", "arguments"}
}

ADDED = RevisionAdded(revision=REVISION, observed_at=SEEN, initial=True)
CHANGED = PhaseChanged(revision=REVISION, observed_at=SEEN, previous_phase=Phase("Suspending"))
UPDATED = RevisionUpdated(
    revision=REVISION,
    observed_at=SEEN,
    changes=(FieldChange("running_pods", 1, 3), FieldChange("deleted_at", None, REVISION.deleted_at)),
)
STALLED = RevisionStalled(revision=REVISION, observed_at=SEEN, since=SEEN, seconds=720.5, stalled_after=600.0)
DELETED = RevisionDeleted(revision=REVISION, observed_at=SEEN)
ABOUT_REVISIONS = [
    pytest.param(event, id=event.kind) for event in (ADDED, CHANGED, UPDATED, STALLED, DELETED)
]
ERROR = TransportError("the connection was refused")
ABOUT_WORKLOADS: list[tuple[FleetEvent, dict[str, Any]]] = [
    (Synced(workload_id="w", observed_at=SEEN), {"event": "synced"}),
    (
        WatchDegraded(workload_id="w", observed_at=SEEN, error=ERROR),
        {"event": "degraded", "error": "TransportError", "message": "the connection was refused"},
    ),
    (WatchRecovered(workload_id="w", observed_at=SEEN, seconds=0.0), {"event": "recovered", "seconds": 0.0}),
    (
        WorkloadFailed(workload_id="w", observed_at=SEEN, error=RunaiError("x")),
        {"event": "workload_failed", "error": "RunaiError", "message": "x"},
    ),
]

# --- the normal form ---------------------------------------------------------------------------------------

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
ZONES = st.builds(
    timezone,
    st.timedeltas(timedelta(hours=-14), timedelta(hours=14)).map(lambda d: d - d % timedelta(minutes=1)),
)
TIMES = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=ZONES | st.just(UTC))
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
BY_TYPE: dict[Any, st.SearchStrategy[Any]] = {
    str: TEXTS,
    int: st.integers(-(2**31), 2**31),
    bool: st.booleans(),
    float: NUMBERS,
    datetime: TIMES,
    Phase: st.sampled_from(Phase) | TEXTS.map(Phase),
    ClusterState: st.sampled_from(ClusterState) | TEXTS.map(ClusterState),
    Any: JSON,
}


@functools.cache
def values(kind: Any) -> st.SearchStrategy[Any]:
    """Return the strategy that draws every value of a field's type."""
    if attrs.has(kind):
        return models(kind)
    if get_origin(kind) in {Union, UnionType}:
        (inner,) = (arg for arg in get_args(kind) if arg is not NoneType)
        return st.none() | values(inner)
    if get_origin(kind) is tuple:
        return st.lists(values(get_args(kind)[0]), max_size=3).map(tuple)
    if isinstance(get_origin(kind), type) and issubclass(get_origin(kind), Mapping):
        return st.dictionaries(TEXTS, values(get_args(kind)[1]), max_size=3)
    return BY_TYPE[kind]


@functools.cache
def models(cls: Any) -> st.SearchStrategy[Any]:
    """Return the strategy that draws a model with any of its fields, and with unknown keys."""
    *fields, _ = attrs.fields(attrs.resolve_types(cls))
    extra = st.dictionaries(TEXTS.map(lambda name: f"x-{name}"), JSON, max_size=3)
    return st.builds(cls, **{field.name: values(field.type) for field in fields}, extra=extra)


def test_a_revision_is_encoded_with_every_field_in_the_api_s_own_names() -> None:
    assert json.loads(to_json(REVISION)) == NORMAL


def test_fields_that_are_none_are_left_out() -> None:
    assert to_json(ResourceCores(limit=2)) == b'{"limit":2}'
    assert to_json(RequestedResources(gpu=ResourceCores())) == b'{"gpu":{}}'


@pytest.mark.parametrize(
    "shape",
    [lambda event: [event], lambda event: (event, event), lambda event: {"last": event}],
    ids=["list", "tuple", "mapping"],
)
def test_events_in_a_sequence_or_mapping_are_written_as_they_are_alone(shape: Callable[[Any], Any]) -> None:
    alone = json.loads(to_json(CHANGED))
    written = to_json(shape(CHANGED))
    assert json.loads(written) == json.loads(json.dumps(shape(alone)))
    assert [secret for secret in SECRETS if secret.encode() in written] == []


@pytest.mark.parametrize(
    "shape", [lambda item: (item,), lambda item: {"last": [item]}], ids=["sequence", "mapping"]
)
def test_a_container_of_models_has_no_secrets_if_asked_to(shape: Callable[[Any], Any]) -> None:
    written = to_json(shape(REVISION), include_secrets=False)
    assert json.loads(written) == json.loads(json.dumps(shape(OPEN)))
    assert json.loads(to_json(shape(REVISION))) == json.loads(json.dumps(shape(NORMAL)))


def test_ids_are_strings_but_the_tenant_s_is_a_number() -> None:
    revision = from_json(json.dumps({**PLAIN, "projectId": 7}), Revision)
    written = json.loads(to_json(revision))
    assert (written["projectId"], written["tenantId"]) == ("7", 1007)


def test_nulls_in_arrays_and_unknown_keys_stay_as_they_came() -> None:
    body = (
        b'{"extendedResources":[null,{"quantity":"1"}],"migProfile":[null],"new":[null,{"a":null}],"n":1.0}'
    )
    assert json.loads(to_json(from_json(body, RequestedResources))) == json.loads(body)
    assert b'"n":1.0' in to_json(from_json(body, RequestedResources))


def test_a_field_wins_over_a_key_of_its_name_in_extra() -> None:
    cores = ResourceCores(limit=1.0, extra={"limit": 5, "request": 6, "burst": 7})
    assert json.loads(to_json(cores)) == {"limit": 1.0, "burst": 7}


@pytest.mark.parametrize(
    ("time", "text"),
    [
        (datetime(2025, 1, 31, 10, tzinfo=UTC), "2025-01-31T10:00:00Z"),
        (datetime(2025, 1, 31, 10, 0, 0, 5, UTC), "2025-01-31T10:00:00.000005Z"),
        (datetime(2025, 1, 31, 1, tzinfo=timezone(timedelta(hours=2))), "2025-01-30T23:00:00Z"),
    ],
)
def test_a_time_is_written_in_utc(time: datetime, text: str) -> None:
    assert json.loads(to_json(attrs.evolve(REVISION, created_at=time)))["createdAt"] == text


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="has no time zone"):
        to_json(attrs.evolve(REVISION, created_at=datetime(2025, 1, 31)))


def test_a_value_that_json_does_not_have_is_a_type_error() -> None:
    with pytest.raises(TypeError):
        to_json(ResourceCores(extra={"key": object()}))


@given(models(Revision))
def test_a_revision_is_the_same_after_a_round_trip(revision: Revision) -> None:
    written = to_json(revision)
    again = from_json(written, Revision)
    assert again == revision
    # The order of keys means nothing: unknown ones stand in the order in which they were learned.
    assert json.loads(to_json(again)) == json.loads(written)


@pytest.mark.parametrize("cls", [Workload, HistoryRecord, Cluster])
@given(data=st.data())
def test_the_other_models_are_the_same_after_a_round_trip(cls: Any, data: st.DataObject) -> None:
    value: Any = data.draw(models(cls))
    assert from_json(to_json(value), cls) == value


@given(st.lists(models(ResourceCores), max_size=3))
def test_a_list_of_models_is_the_same_after_a_round_trip(cores: list[ResourceCores]) -> None:
    assert from_json(to_json(cores), list[ResourceCores]) == cores


def test_the_vendor_s_list_is_in_normal_form_after_one_round_trip() -> None:
    for raw in _codec.split_revisions((DATA / "revisions.json").read_bytes()):
        written = to_json(from_json(raw, Revision))
        assert to_json(from_json(written, Revision)) == written
        assert from_json(written, Revision) == from_json(raw, Revision)


# --- secrets -----------------------------------------------------------------------------------------------


def test_a_model_is_complete_by_default() -> None:
    assert json.loads(to_json(REVISION, include_secrets=True)) == NORMAL
    assert json.loads(to_json(REVISION, include_secrets=False)) == OPEN


def test_a_list_of_models_has_no_secrets_if_asked_to() -> None:
    assert json.loads(to_json([REVISION, REVISION], include_secrets=False)) == [OPEN, OPEN]
    assert json.loads(to_json([REVISION])) == [NORMAL]


@pytest.mark.parametrize("event", ABOUT_REVISIONS)
@pytest.mark.parametrize(
    "write", [to_json, lambda event: json.dumps(to_cloudevent(event)).encode()], ids=["json", "cloudevent"]
)
def test_an_event_has_no_secrets_by_default(
    write: Callable[[RevisionEvent], bytes], event: RevisionEvent
) -> None:
    text = write(event).decode()
    assert [secret for secret in SECRETS if secret in text] == []
    assert [name for name in ("environmentVariables", "command", "arguments") if name in text] == []


@pytest.mark.parametrize("event", ABOUT_REVISIONS)
def test_an_event_has_secrets_if_asked_to(event: RevisionEvent) -> None:
    assert json.loads(to_json(event, include_secrets=True))["revision"] == NORMAL
    assert to_cloudevent(event, include_secrets=True)["data"]["revision"] == NORMAL


# --- events ------------------------------------------------------------------------------------------------

PARTS = {
    "added": {"serverTime": NORMAL["createdAt"], "initial": True},
    "phase_changed": {
        "serverTime": NORMAL["phaseUpdatedAt"],
        "previousPhase": "Suspending",
        "coalesced": False,
    },
    "updated": {
        "changes": [
            {"path": "running_pods", "old": 1, "new": 3},
            {"path": "deleted_at", "old": None, "new": "2025-09-14T10:00:00Z"},
        ]
    },
    "stalled": {
        "serverTime": "2025-09-14T10:10:00.000500Z",
        "since": "2025-09-14T10:00:00.000500Z",
        "seconds": 720.5,
    },
    "deleted": {"serverTime": NORMAL["deletedAt"]},
}


@pytest.mark.parametrize("event", ABOUT_REVISIONS)
def test_an_event_about_a_revision_is_encoded_completely(event: RevisionEvent) -> None:
    written = json.loads(to_json(event))
    assert written == {
        "event": event.kind,
        "id": event.id,
        "workloadId": PLAIN["workloadId"],
        "revisionId": PLAIN["id"],
        "observedAt": written["observedAt"],
        "revision": OPEN,
        **PARTS[event.kind],
    }


@pytest.mark.parametrize(("event", "parts"), [pytest.param(*row, id=row[0].kind) for row in ABOUT_WORKLOADS])
def test_an_event_about_a_workload_is_encoded_completely(event: FleetEvent, parts: dict[str, Any]) -> None:
    written = json.loads(to_json(event))
    assert written == {"workloadId": "w", "observedAt": written["observedAt"], **parts}


LOST = ClusterDisconnected(cluster_id="c", name="eu-1", last_seen_at=SEEN, observed_at=SEEN)
BACK = ClusterConnected(cluster_id="c", name="eu-1", last_seen_at=SEEN, observed_at=SEEN)
UNTIMED = ClusterConnected(cluster_id="c", name="eu-1", observed_at=SEEN)
TIME = "2025-09-14T10:00:00.000500Z"


@pytest.mark.parametrize(
    ("event", "kind", "more"),
    [
        (LOST, "cluster_disconnected", {"lastSeenAt": TIME}),
        (BACK, "cluster_connected", {"lastSeenAt": TIME}),
        (UNTIMED, "cluster_connected", {}),
    ],
    ids=["lost", "back", "untimed"],
)
def test_an_event_about_a_cluster_is_encoded_completely(
    event: ClusterDisconnected | ClusterConnected, kind: str, more: dict[str, str]
) -> None:
    part = {"event": kind, "id": event.id, "clusterId": "c", "name": "eu-1", "observedAt": TIME}
    assert json.loads(to_json(event)) == {**part, **more}
    assert to_cloudevent(event) == {
        "specversion": "1.0",
        "id": event.id,
        "source": "/clusters/c",
        "type": f"runai_async.cluster.{kind.removeprefix('cluster_')}",
        "subject": "c",
        "time": TIME,
        "datacontenttype": "application/json",
        "data": {**part, **more},
    }


@pytest.mark.parametrize("event", [ADDED, ABOUT_WORKLOADS[0][0]], ids=["revision", "workload"])
def test_an_event_s_times_are_in_utc(event: FleetEvent) -> None:
    assert json.loads(to_json(event))["observedAt"] == "2025-09-14T10:00:00.000500Z"


def test_an_event_s_server_time_is_in_utc() -> None:
    deleted = attrs.evolve(DELETED, revision=attrs.evolve(REVISION, deleted_at=SEEN))
    assert json.loads(to_json(deleted))["serverTime"] == "2025-09-14T10:00:00.000500Z"


@pytest.mark.parametrize("event", ABOUT_REVISIONS)
def test_a_cloudevent_has_the_attributes_of_version_1(event: RevisionEvent) -> None:
    written = to_cloudevent(event)
    data = written.pop("data")
    assert written == {
        "specversion": "1.0",
        "id": event.id,
        "source": f"/workloads/{PLAIN['workloadId']}",
        "type": f"runai_async.revision.{event.kind}",
        "subject": PLAIN["id"],
        # Without a time of the server's, it is the time of the poll.
        "time": PARTS[event.kind].get("serverTime", "2025-09-14T10:00:00.000500Z"),
        "datacontenttype": "application/json",
    }
    assert data == json.loads(to_json(event))


def test_a_cloudevent_has_only_json_s_own_types() -> None:
    assert json.loads(json.dumps(to_cloudevent(CHANGED))) == to_cloudevent(CHANGED)


@pytest.mark.parametrize("event", [pytest.param(row[0], id=row[0].kind) for row in ABOUT_WORKLOADS])
def test_an_event_about_a_watch_is_not_a_cloudevent(event: Any) -> None:
    with pytest.raises(TypeError, match=f"not {type(event).__name__}"):
        to_cloudevent(event)


@pytest.mark.parametrize("ahead", [90.0, -3600.0])
def test_a_cloudevent_s_time_without_one_of_the_server_s_is_by_the_server_s_clock(ahead: float) -> None:
    lost = attrs.evolve(DELETED, revision=attrs.evolve(REVISION, deleted_at=None), ahead=ahead)
    for event in (lost, attrs.evolve(UPDATED, ahead=ahead), attrs.evolve(UNTIMED, ahead=ahead)):
        assert datetime.fromisoformat(to_cloudevent(event)["time"]) == SEEN + timedelta(seconds=ahead)
        assert json.loads(to_json(event))["observedAt"] == "2025-09-14T10:00:00.000500Z"
    for timed in (attrs.evolve(CHANGED, ahead=ahead), attrs.evolve(LOST, ahead=ahead)):
        assert timed.server_time is not None
        assert datetime.fromisoformat(to_cloudevent(timed)["time"]) == timed.server_time


@pytest.mark.parametrize("end", ["\u0085", "\u2028", "\u2029"])
def test_json_is_one_line_whatever_counts_as_the_end_of_one(end: str) -> None:
    text = f"pulled{end}started"
    written = to_json(attrs.evolve(CHANGED, revision=attrs.evolve(REVISION, phase_message=text))).decode()
    assert len(written.splitlines()) == 1
    assert f"pulled\\u{ord(end):04x}started" in written
    assert json.loads(written)["revision"]["phaseMessage"] == text


LONG = "\N{PILE OF POO}x" * 40_000
CONDITION = Condition(type="Ready", status="False", message=LONG)


@pytest.mark.parametrize(
    "event",
    [
        attrs.evolve(CHANGED, revision=attrs.evolve(REVISION, phase_message=LONG)),
        attrs.evolve(UPDATED, changes=(FieldChange("phase_message", LONG, LONG + "!"),)),
        attrs.evolve(UPDATED, changes=(FieldChange("conditions", (), (CONDITION,)),)),
        attrs.evolve(CHANGED, revision=attrs.evolve(REVISION, phase_message="\u2028" * 60_000)),
    ],
    ids=["message", "changed message", "condition", "escaped"],
)
def test_a_cloudevent_that_is_too_large_is_cut_at_its_messages(event: RevisionEvent) -> None:
    whole, cut = json.loads(to_json(event)), to_cloudevent(event)
    assert 16_000 < len(encode(cut)) <= 64_000
    assert (cut["id"], cut["data"]["revision"]["name"]) == (event.id, REVISION.name)
    assert cut["data"].keys() == whole.keys()
    assert "..." in encode(cut).decode()


def test_a_cloudevent_that_is_small_enough_is_whole() -> None:
    message = "x" * 50_000
    event = attrs.evolve(CHANGED, revision=attrs.evolve(REVISION, phase_message=message))
    assert to_cloudevent(event)["data"]["revision"]["phaseMessage"] == message


def test_what_is_large_for_another_reason_is_not_cut_to_pieces() -> None:
    event = attrs.evolve(CHANGED, revision=attrs.evolve(REVISION, phase_message="", name="n" * 70_000))
    assert to_cloudevent(event)["data"] == json.loads(to_json(event))
