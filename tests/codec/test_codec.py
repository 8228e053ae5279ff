"""Decoding: strict types, the exceptions that the vendor's samples need, and errors that name the path."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runai_async import (
    AllocatedResources,
    ChildReference,
    Condition,
    DecodeError,
    ExtendedResource,
    HistorySpec,
    Phase,
    PhaseUpdate,
    RequestedPods,
    RequestedResources,
    ResourceCores,
    ResourceQuantity,
    Revision,
    _codec,
    from_json,
)
from runai_async._codec import converter, decode, fast

DATA = Path(__file__).parents[1] / "data"
RAW = (DATA / "revision.json").read_bytes()
LIST = (DATA / "revisions.json").read_bytes()
PLAIN: dict[str, Any] = json.loads(RAW)
SECRET = "5tr1ctly-s3cret"
REQUIRED = [
    "type",
    "name",
    "id",
    "workloadId",
    "tenantId",
    "clusterId",
    "departmentId",
    "projectId",
    "createdAt",
    "phase",
]


def raw(**fields: Any) -> bytes:
    """Return the recorded revision with other fields, in the API's own names."""
    return json.dumps({**PLAIN, **fields}).encode()


def error_of(decode: Callable[[], object]) -> tuple[str, str]:
    """Return the path and the text of the error that decoding raises."""
    with pytest.raises(DecodeError) as caught:
        decode()
    return caught.value.path, str(caught.value)


def test_a_list_as_the_vendor_sends_it_is_decoded() -> None:
    first, second, third, fourth = _codec.decode_revisions(LIST)
    assert (first.project_id, first.department_id) == ("1", "2")
    assert (first.allocated_resources, first.deleted_at) == (None, None)
    assert first.requested_pods == RequestedPods(min=0, max=4)
    assert second.phase == "Suspending"
    assert not second.phase.is_known
    assert second.revision_requested_resources == RequestedResources(
        gpu_memory=ResourceQuantity(request="20000000000"),
        mig_profile=(None, "7g.80gb"),
        extended_resources=(None, ExtendedResource("rdma/hca", "2")),
    )
    assert [third.phase, fourth.phase] == [Phase.PENDING, Phase.UNKNOWN]


def test_unknown_keys_are_kept_as_they_came() -> None:
    older = _codec.decode_revisions(LIST)[1]
    notes = [None, {"by": "older control planes"}]
    assert older.extra == {"requestedResources": {"gpu": {"request": 1}, "notes": notes}}
    pods = from_json('{"min": 1, "surge": 1.0, "min_": "no field", "extra": null}', RequestedPods)
    assert pods == RequestedPods(min=1, extra={"surge": 1.0, "min_": "no field", "extra": None})


def test_a_list_of_models_is_decoded() -> None:
    assert from_json(b'[{"limit": 1}, {}]', list[ResourceCores]) == [ResourceCores(1.0), ResourceCores()]


@pytest.mark.parametrize("name", [name for name in PLAIN if name not in REQUIRED])
def test_an_optional_field_that_is_null_reads_as_missing(name: str) -> None:
    rest = {key: value for key, value in PLAIN.items() if key != name}
    revision = from_json(raw(**{name: None}), Revision)
    assert revision == from_json(json.dumps(rest), Revision) != from_json(RAW, Revision)
    assert revision.extra == {}


@pytest.mark.parametrize("name", REQUIRED)
def test_a_required_field_that_is_null_or_missing_is_named(name: str) -> None:
    rest = {key: value for key, value in PLAIN.items() if key != name}
    path = f"$.{name}"
    assert error_of(lambda: from_json(raw(**{name: None}), Revision)) == (
        path,
        f"{path}: null, but it is required",
    )
    assert error_of(lambda: from_json(json.dumps(rest), Revision)) == (
        path,
        f"{path}: missing, but it is required",
    )


@pytest.mark.parametrize("name", ["id", "workloadId", "clusterId", "departmentId", "projectId"])
def test_a_numeric_id_becomes_a_string(name: str) -> None:
    twins = from_json(raw(**{name: 40}), Revision), from_json(raw(**{name: "40"}), Revision)
    assert twins[0] == twins[1] != from_json(RAW, Revision)
    assert from_json('{"id": 7}', ChildReference) == ChildReference("7")


@pytest.mark.parametrize(
    ("number", "text"),
    [("2", "2"), ("0.5", "0.5"), ("20000000000", "20000000000"), ("-1", "-1"), ("1e2", "100.0")],
)
def test_a_numeric_quantity_becomes_a_string(number: str, text: str) -> None:
    assert from_json(f'{{"limit": {number}}}', ResourceQuantity) == ResourceQuantity(limit=text)
    # The same where an unknown key leads to the converter.
    assert from_json(f'{{"limit": {number}, "unknown": 1}}', ResourceQuantity).limit == text
    body = f'{{"quantity": {number}}}'.encode()
    assert from_json(body, ExtendedResource).quantity == text
    assert converter.structure(decode.parse(body), ExtendedResource).quantity == text
    assert from_json(f'{{"gpuMemory": {number}}}', AllocatedResources).gpu_memory == text


@pytest.mark.parametrize(
    ("kind", "body", "path", "problem"),
    [
        (ExtendedResource, '{"exclude": "false"}', "$.exclude", "expected a boolean, got a string"),
        (ExtendedResource, '{"exclude": 1}', "$.exclude", "expected a boolean, got an integer"),
        (ExtendedResource, '{"quantity": true}', "$.quantity", "expected a string, got a boolean"),
        (ExtendedResource, '{"resource": 5}', "$.resource", "expected a string, got an integer"),
        (RequestedPods, '{"min": 1.9}', "$.min", "expected an integer, got a number"),
        (RequestedPods, '{"min": 1.0}', "$.min", "expected an integer, got a number"),
        (RequestedPods, '{"min": true}', "$.min", "expected an integer, got a boolean"),
        (RequestedPods, '{"min": "1"}', "$.min", "expected an integer, got a string"),
        (ResourceCores, '{"limit": true}', "$.limit", "expected a number, got a boolean"),
        (ResourceCores, '{"limit": "2"}', "$.limit", "expected a number, got a string"),
        (ResourceCores, f'{{"limit": {"9" * 400}}}', "$.limit", "the number is out of range"),
        (ChildReference, '{"id": 1.5}', "$.id", "expected a string, got a number"),
        (ChildReference, '{"id": false}', "$.id", "expected a string, got a boolean"),
        (ChildReference, '{"id": "a", "type": 5}', "$.type", "expected a string, got an integer"),
        (PhaseUpdate, '{"phase": 5}', "$.phase", "expected a string, got an integer"),
        (Condition, '{"type": "a", "status": ["b"]}', "$.status", "expected a string, got an array"),
        (HistorySpec, '{"event": [1]}', "$.event", "expected an object, got an array"),
        (RequestedResources, '{"gpu": 2}', "$.gpu", "expected an object, got an integer"),
        (RequestedResources, '{"gpu": {"limit": "2"}}', "$.gpu.limit", "expected a number, got a string"),
        (
            RequestedResources,
            '{"migProfile": [null, 5]}',
            "$.migProfile[1]",
            "expected a string, got an integer",
        ),
        (RequestedResources, '{"migProfile": {}}', "$.migProfile", "expected an array, got an object"),
        (RequestedResources, "[]", "$", "expected an object, got an array"),
        (RequestedResources, "null", "$", "expected an object, got null"),
        (list[ResourceCores], "{}", "$", "expected an array, got an object"),
        (list[ResourceCores], "[{}, null]", "$[1]", "expected an object, got null"),
        (list[ResourceCores], '[{"limit": []}]', "$[0].limit", "expected a number, got an array"),
    ],
)
def test_a_wrong_type_is_refused_by_its_path(kind: type[Any], body: str, path: str, problem: str) -> None:
    assert error_of(lambda: from_json(body, kind)) == (path, f"{path}: {problem}")


@pytest.mark.parametrize(
    "name", ["images", "requestedNodePools", "currentNodePools", "conditions", "childrenIds"]
)
def test_a_null_in_an_array_of_non_null_items_is_refused(name: str) -> None:
    assert error_of(lambda: from_json(raw(**{name: [None]}), Revision))[0] == f"$.{name}[0]"


def test_an_environment_value_that_is_not_a_string_is_refused_by_its_name() -> None:
    path, _ = error_of(lambda: from_json(raw(environmentVariables={"A": "1", "B": 2}), Revision))
    assert path == "$.environmentVariables.B"


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2025-01-31T10:00:00Z", datetime(2025, 1, 31, 10, tzinfo=UTC)),
        ("2025-01-31t10:00:00z", datetime(2025, 1, 31, 10, tzinfo=UTC)),
        ("2025-01-31T10:00:00.5Z", datetime(2025, 1, 31, 10, 0, 0, 500000, UTC)),
        ("2025-01-31T10:00:00.123456Z", datetime(2025, 1, 31, 10, 0, 0, 123456, UTC)),
        ("2025-01-31T10:00:00.123456400Z", datetime(2025, 1, 31, 10, 0, 0, 123456, UTC)),
        ("2025-01-31T10:00:00.1234560000000000001Z", datetime(2025, 1, 31, 10, 0, 0, 123456, UTC)),
        ("2025-01-31T10:00:00+02:00", datetime(2025, 1, 31, 8, tzinfo=UTC)),
        ("2025-01-31T20:00:00.25-05:30", datetime(2025, 2, 1, 1, 30, 0, 250000, UTC)),
    ],
)
def test_a_time_is_aware_and_in_utc(text: str, time: datetime) -> None:
    created = from_json(raw(createdAt=text), Revision).created_at
    assert created == time
    assert created.tzinfo is UTC
    # The same where an unknown key leads to the converter.
    assert from_json(raw(createdAt=text, unknown=1), Revision).created_at.tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        "2025-01-31T10:00:00",
        "2025-01-31",
        "31.1.2025",
        "",
        "2025-02-30T10:00:00Z",
        "0001-01-01T00:00:00+14:00",
    ],
)
def test_an_invalid_time_or_one_without_a_zone_is_refused(text: str) -> None:
    expected = ("$.createdAt", "$.createdAt: expected an RFC 3339 time with a time zone")
    assert error_of(lambda: from_json(raw(createdAt=text), Revision)) == expected


@pytest.mark.parametrize(
    "text", ["2025-01-31T10:00:00", "2025-01-31", "31.1.2025", "0001-01-01", "0000-12-31", " "]
)
def test_an_optional_time_that_is_invalid_is_refused_too(text: str) -> None:
    expected = ("$.phaseUpdatedAt", "$.phaseUpdatedAt: expected an RFC 3339 time with a time zone")
    assert error_of(lambda: from_json(raw(phaseUpdatedAt=text), Revision)) == expected


def test_a_time_as_a_number_is_refused() -> None:
    path = "$.createdAt"
    assert error_of(lambda: from_json(raw(createdAt=1757834000), Revision)) == (
        path,
        f"{path}: expected a time as a string, got an integer",
    )


@pytest.mark.parametrize(
    ("body", "description"),
    [
        (b"", "it is empty"),
        (b"<html>hub-secret-123</html>", "27 bytes that start with '<'"),
        (b"\xff\xfe", "2 bytes that start with '\ufffd'"),
        ("nothing", "7 bytes that start with 'n'"),
        (RAW[:-10], f"{len(RAW) - 10} bytes that start with '{{'"),
        (b'{"name": "\xff"}', "13 bytes that start with '{'"),
        (b'{"limit": NaN}', "14 bytes that start with '{'"),
        (b"[" * 100_000, "100000 bytes that start with '['"),
    ],
)
def test_a_body_that_is_not_json_is_described_without_quoting_it(body: bytes | str, description: str) -> None:
    with pytest.raises(DecodeError) as caught:
        from_json(body, ResourceCores)
    assert (caught.value.is_json, caught.value.path) == (False, "$")
    assert str(caught.value) == f"the body is not JSON: {description}"
    assert isinstance(caught.value.__cause__, Exception)


@pytest.mark.parametrize("name", ["environmentVariables", "command", "arguments", "createdAt", "phase"])
@pytest.mark.parametrize("value", [[SECRET], {"A": {"B": SECRET}}, {"A": [SECRET]}], ids=json.dumps)
def test_a_value_of_the_wrong_type_is_not_quoted(name: str, value: Any) -> None:
    with pytest.raises(DecodeError) as caught:
        from_json(raw(**{name: value}), Revision)
    assert caught.value.path.startswith(f"$.{name}")
    error: BaseException | None = caught.value
    while error:
        assert SECRET not in f"{error!s}{error!r}"
        error = error.__cause__ or error.__context__


def test_an_invalid_time_is_not_quoted() -> None:
    path, text = error_of(lambda: from_json(raw(createdAt=SECRET), Revision))
    assert path == "$.createdAt"
    assert SECRET not in text


def test_a_mismatch_says_that_the_body_is_json_and_has_a_cause() -> None:
    with pytest.raises(DecodeError) as caught:
        from_json(raw(createdAt="soon"), Revision)
    assert caught.value.is_json
    assert caught.value.partial == ()
    assert caught.value.__cause__ is not None


# --- the fast path and the converter -----------------------------------------------------------------------

JUNK = ["null", "true", "0", "1", "-0", "1.0", "1.9", "1e2", "1e400", "9" * 30, '""', '"5"', '"false"', "[]"]
JUNK += [
    "[null]",
    "{}",
    '{"id": 7}',
    '"2025-01-31T10:00:00"',
    '"2025-01-31T10:00:00.123456789Z"',
    '"\\ud800"',
]
PARTS = sorted({*PLAIN, "unknown", "extra", "limit", "quantity", "min", "lastTransitionTime", "target"})


def typed(value: Any) -> Any:
    """Return a value with its types, because 1, 1.0 and True are equal."""
    if attrs.has(type(value)):
        fields = {name: getattr(value, name) for name in attrs.fields_dict(type(value))}
        return type(value), typed(fields)
    if isinstance(value, dict):
        return {key: typed(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return type(value), [typed(item) for item in value]
    return type(value), value


@st.composite
def nearly_valid(draw: st.DrawFn) -> bytes:
    """Draw a revision of which a part has another value, is missing, is duplicated, or is not even JSON."""
    revision = json.loads(RAW)
    node, depth = revision, draw(st.integers(0, 3))
    for _ in range(depth):
        below = node.values() if isinstance(node, dict) else node
        if inner := [part for part in below if isinstance(part, dict | list) and part]:
            node = draw(st.sampled_from(inner))
    hole = "@@"
    key = draw(st.sampled_from(sorted(node) if isinstance(node, dict) else range(len(node))))
    match draw(st.sampled_from(["replace", "drop", "add", "leave"])):
        case "replace":
            node[key] = hole
        case "drop":
            del node[key]
        case "add" if isinstance(node, dict):
            node[draw(st.sampled_from(PARTS))] = hole
        case _:
            pass
    text = json.dumps(revision).replace(f'"{hole}"', draw(st.sampled_from(JUNK)))
    if draw(st.booleans()):  # a duplicate key: the last one counts
        text = f'{{"{draw(st.sampled_from(PARTS))}": {draw(st.sampled_from(JUNK))}, {text[1:]}'
    body = text.encode()
    if draw(st.integers(0, 9)) == 0:
        at = draw(st.integers(0, len(body) - 1))
        body = body[:at] + draw(st.binary(max_size=2)) + body[at + 1 :]
    return body


def converted(body: bytes) -> Any:
    """Decode a revision with the converter alone; return the value, or the error's path and text."""
    try:
        return typed(converter.structure(decode.parse(body), Revision))
    except DecodeError as error:
        return error.path, str(error), error.is_json


@given(nearly_valid())
@example(RAW)
@example(RAW[:-3])
def test_the_fast_path_and_the_converter_give_the_same_value_or_error(body: bytes) -> None:
    try:
        outcome = typed(from_json(body, Revision))
    except DecodeError as error:
        outcome = error.path, str(error), error.is_json
    assert outcome == converted(body)


def test_a_response_in_the_schema_s_shape_takes_the_fast_path() -> None:
    parse, build = fast.fast_path(Revision)
    revisions = [json.loads(RAW), *json.loads(LIST)["revisions"]]
    for revision in revisions:
        revision.pop("requestedResources", None)  # the only unknown key
        body = json.dumps(revision).encode()
        assert typed(build(parse(body))) == converted(body)
