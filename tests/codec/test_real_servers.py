"""Decoding what real servers send: half surrogates, `NaN`, zero times, null lists, ids in any spelling."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runai_async import Condition, DecodeError, HistoryRecord, Revision, Workload, _codec, from_json
from runai_async._codec import converter, cut, decode, fast

DATA = Path(__file__).parents[1] / "data"
PLAIN: dict[str, Any] = json.loads((DATA / "revision.json").read_bytes())
ROWS: list[dict[str, Any]] = json.loads((DATA / "workloads.json").read_bytes())["workloads"]
HISTORY: list[dict[str, Any]] = json.loads((DATA / "history.json").read_bytes())["records"]
ID = "5b0f6f0c-8f3e-4f52-bb0e-2d8f4f6a9c01"
OTHER = from_json(json.dumps({**PLAIN, "id": "other"}), Revision)
LATEST = datetime.max.replace(tzinfo=UTC)


def raw(**fields: Any) -> bytes:
    """Return the recorded revision with other fields, in the API's own names."""
    return json.dumps({**PLAIN, **fields}).encode()


def message(text: bytes) -> bytes:
    """Return the recorded revision with text that need not be JSON in its message."""
    return raw(phaseMessage="@@").replace(b"@@", text)


def value(text: bytes) -> bytes:
    """Return the recorded revision with a value that need not be JSON among its fields."""
    return raw(unknown="@@").replace(b'"@@"', text)


def listed(*items: bytes) -> bytes:
    return b'{"revisions": [' + b", ".join(items) + b"]}"


# --- text that JSON allows and UTF-8 does not --------------------------------------------------------------

SURROGATES = [
    (rb"out of disk \ud83d", "out of disk \ufffd"),
    (rb"\uDE00", "\ufffd"),
    (rb"\ud83d\ud83d\ude00", "\ufffd\N{GRINNING FACE}"),
    (rb"\ud83d\u0041", "\ufffdA"),
    (rb"\ud83d\\ude00", "\ufffd\\ude00"),
    (rb"\\ud83d", r"\ud83d"),
    (rb"\\\ud83d", "\\\ufffd"),
    (rb"\ud83d\ude00", "\N{GRINNING FACE}"),
]


@pytest.mark.parametrize(("text", "expected"), SURROGATES)
def test_half_a_surrogate_pair_reads_as_the_replacement_character(text: bytes, expected: str) -> None:
    first, second = _codec.decode_revisions(listed(message(text), raw(id="other")))
    assert (first.phase_message, second) == (expected, OTHER)
    assert _codec.decode_revision(message(text)) == first
    assert from_json(message(text).decode(), Revision) == first


def test_the_bytes_of_a_list_are_cut_as_they_stand() -> None:
    broken = message(rb"\ud83d")
    assert _codec.split_revisions(listed(broken, raw())) == [broken, raw()]


def test_half_a_surrogate_pair_beside_a_count_does_no_harm() -> None:
    assert _codec.decode_count(b'{"count": 2, "note": "\\ud83d"}') == 2


@given(st.lists(st.sampled_from(["\\ud83d", "\\ude00", "\\\\", "\\n", "a", "é", "\\u0041"]), max_size=8))
def test_a_text_with_any_escapes_reads_as_python_reads_it_but_for_lone_surrogates(parts: list[str]) -> None:
    text = "".join(parts)
    expected = json.loads(f'"{text}"').encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert _codec.decode_revision(message(text.encode())).phase_message == expected


# --- what is not JSON in one item --------------------------------------------------------------------------

NOT_JSON = {
    "NaN": value(b"NaN"),
    "infinity": value(b"-Infinity"),
    "tab": message(b"a\tb"),
    "line break": message(b"a\nb"),
    "control character": message(b"a\x00b"),
    "nested deeply": value(b"[" * 101 + b"]" * 101),
    "nested more deeply": value(b"[" * 100_000 + b"]" * 100_000),
    "objects nested deeply": value(b'{"a":' * 1100 + b"1" + b"}" * 1100),
    "invalid escape": message(rb"\x41"),
    "invalid UTF-8": message(b"\xff"),
    "surrogates in UTF-8": message(b"\xed\xa0\xbd"),
    "number out of range": value(b"1e400"),
    "misspelled": value(b"nul"),
    "brackets and quotes in a text": message(rb"}],\"{[").replace(b'"tenantId"', b'"x": NaN, "tenantId"'),
}


@pytest.mark.parametrize("broken", NOT_JSON.values(), ids=NOT_JSON)
def test_what_is_not_json_spoils_only_its_own_revision(broken: bytes) -> None:
    body = listed(raw(id="a"), broken, raw(id="other"))
    assert _codec.split_revisions(body) == [raw(id="a"), broken, raw(id="other")]
    with pytest.raises(DecodeError, match=r"^\$\.revisions\[1\]") as caught:
        _codec.decode_revisions(body)
    assert [item.id for item in caught.value.partial] == ["a", "other"]
    assert caught.value.is_json  # around it
    assert _codec.identity(broken) == PLAIN["id"]


def test_a_value_of_any_type_may_have_100_levels() -> None:
    for _ in range(2):  # by the converter, then on the fast path
        deep = _codec.decode_revision(raw(strange=100 * [0], deeper=json.loads("[" * 100 + "]" * 100)))
        assert json.dumps(deep.extra["deeper"]) == "[" * 100 + "]" * 100


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("strange", "[" * 101 + "]" * 101),
        ("strange", '{"a":' * 101 + "0" + "}" * 101),
        ("additionalFields", '{"a":' * 102 + "0" + "}" * 102),
    ],
)
def test_a_value_with_more_levels_is_refused_on_every_python(key: str, text: str) -> None:
    _codec.decode_revision(raw(strange=0))  # now the fast path knows the key
    with pytest.raises(DecodeError, match=rf"^\$\.{key}(\.a)?: nested too deeply$"):
        _codec.decode_revision(raw(**{key: json.loads(text)}))


def test_the_problem_of_an_item_that_is_not_json_is_described() -> None:
    with pytest.raises(DecodeError, match=r"^\$\.revisions\[0\]: not JSON: \d+ bytes that start with '{'$"):
        _codec.decode_revisions(listed(value(b"NaN")))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b'{"revisions": [{"id": "',
        b'{"revisions": [{"a": NaN}',
        b'{"revisions": [{"a": NaN}]',
        b'{"revisions": [{"a": NaN}]} <html>',
        b'{"revisions": [{"a": NaN}]}}',
        b'{"revisions": [{"a": NaN]}}',
        b'{"revisions": [{"a": NaN},]}',
        b'{"revisions": [,{"a": NaN}]}',
        b'{"revisions": [{"a": NaN} {}]}',
        b'{"revisions": [{"a": NaN}{}]}',
        b'{"revisions": [{"a": NaN}] 5}',
        b'{"revisions": [{"a": NaN}], "status": NaN}',
        b'{"revisions": [{"a": NaN}], 5}',
        b'{"revisions": [{"a": NaN}], "\\x": 5}',
        b'{"revisions": NaN}',
        b'{"items": [{"a": NaN}]}',
        b'[{"revisions": NaN}]',
        b'x{"revisions": [{"a": NaN}]}',
    ],
)
def test_a_body_that_is_not_json_around_its_items_is_not_json(body: bytes) -> None:
    with pytest.raises(DecodeError) as caught:
        _codec.split_revisions(body)
    assert not caught.value.is_json


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=4)
    | st.sampled_from(['"', "]}", ",{", "\\"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(JSON, max_size=4), st.sampled_from([None, 1, "\t"]))
def test_any_array_is_cut_into_its_elements(items: list[Any], indent: Any) -> None:
    assert [json.loads(part) for part in cut.elements(json.dumps(items, indent=indent).encode())] == items


@given(st.dictionaries(st.text(max_size=4), JSON, max_size=4), st.sampled_from([None, 1]))
def test_any_object_is_cut_into_its_members(members: dict[str, Any], indent: Any) -> None:
    found = cut.members(json.dumps(members, indent=indent).encode())
    assert {key: json.loads(part) for key, part in found.items()} == members


# --- times that stand for none -----------------------------------------------------------------------------

NO_TIMES = [
    "",
    "0001-01-01T00:00:00Z",
    "0001-01-01T00:00:00.000000000Z",
    "0001-01-01T00:00:00+00:00",
    "0001-01-01T02:00:00+02:00",
    "0001-01-01T00:00:00+14:00",
    "0001-01-01T00:00:00-05:00",
    "0000-12-31T19:03:58-04:56",
]


@pytest.mark.parametrize("text", NO_TIMES)
@pytest.mark.parametrize("unknown", [{}, {"unknown to all": 1}], ids=["fast path", "converter"])
def test_an_optional_time_that_is_zero_or_empty_is_missing(text: str, unknown: dict[str, Any]) -> None:
    condition = {"type": "Ready", "status": "True", "lastTransitionTime": text}
    fields = {"deletedAt": text, "phaseUpdatedAt": text, "conditions": [condition], **unknown}
    revision = from_json(raw(**fields), Revision)
    assert (revision.deleted_at, revision.phase_updated_at) == (None, None)
    assert revision.conditions == (Condition("Ready", "True"),)
    row = from_json(json.dumps({**ROWS[0], "updatedAt": text, **unknown}), Workload)
    assert row.updated_at is None
    assert converter.structure(decode.parse(raw(**fields)), Revision) == revision
    assert _codec.deletion_time(raw(deletedAt=text)) is None
    assert _codec.deletion_time(value(b"NaN").replace(b"}", f', "deletedAt": "{text}"}}'.encode())) is None


@pytest.mark.parametrize("text", ["", "0001-01-01T00:00:00+14:00", "0000-12-31T19:03:58-04:56"])
def test_a_required_time_cannot_be_missing(text: str) -> None:
    with pytest.raises(DecodeError, match=r"^\$\.createdAt: expected an RFC 3339 time"):
        from_json(raw(createdAt=text), Revision)


def test_a_required_time_may_be_in_the_year_1() -> None:
    assert from_json(raw(createdAt="0001-01-01T00:00:00Z"), Revision).created_at.year == 1


@given(st.datetimes(min_value=datetime(2, 1, 2), timezones=st.just(UTC)))
def test_any_other_time_is_itself(time: datetime) -> None:
    body = raw(deletedAt=time.isoformat())
    assert _codec.decode_revision(body).deleted_at == time == _codec.deletion_time(body)
    assert converter.structure(decode.parse(body), Revision).deleted_at == time


# --- lists that stand for empty ones -----------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"{}", b" { } ", b'{"revisions": null}', b'{"revisions": []}'])
def test_a_list_that_is_null_or_missing_in_an_empty_object_is_empty(body: bytes) -> None:
    assert _codec.decode_revisions(body) == []
    assert _codec.split_revisions(body) == []


@pytest.mark.parametrize(("key", "kind"), [("workloads", Workload), ("records", HistoryRecord)])
def test_a_page_that_is_null_or_missing_in_an_empty_object_is_empty(key: str, kind: type[Any]) -> None:
    for body in (b"{}", json.dumps({key: None}).encode()):
        assert _codec.decode_page(body, key, kind) == _codec.Page([], [], None)


@pytest.mark.parametrize("body", [b'{"items": []}', b'{"next": null}', b'{"status": "starting"}', b"null"])
def test_another_object_without_the_list_is_an_error(body: bytes) -> None:
    for read in (_codec.decode_revisions, _codec.split_revisions):
        with pytest.raises(DecodeError) as caught:
            read(body)
        assert caught.value.is_json
        assert caught.value.path == ("$" if body == b"null" else "$.revisions")


# --- the next page -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "offset"), [("2", 2), ('"2"', 2), ("2.0", 2), ("2e0", 2), ("0", 0), ("null", None)]
)
def test_the_next_offset_is_a_whole_number_in_any_form(text: str, offset: int | None) -> None:
    body = f'{{"workloads": [], "next": {text}}}'.encode()
    assert _codec.decode_page(body, "workloads", Workload).next_offset == offset


@pytest.mark.parametrize(
    "text",
    ['"x"', '""', '" 2"', '"-1"', '"2.5"', '"٣"', "-1", "-1.0", "1.5", "true", "{}", "[]", "1e300", "9" * 40],
)
def test_any_other_next_is_an_error_and_never_the_end(text: str) -> None:
    body = f'{{"workloads": [], "next": {text}}}'.encode()
    with pytest.raises(DecodeError, match="expected a whole number") as caught:
        _codec.decode_page(body, "workloads", Workload)
    assert (caught.value.path, caught.value.is_json) == ("$.next", True)


# --- ids ---------------------------------------------------------------------------------------------------

ID_FIELDS = ["id", "workloadId", "clusterId", "departmentId", "projectId"]
SPELLINGS = [
    ID,
    ID.upper(),
    ID.replace("-", ""),
    ID.replace("-", "").upper(),
    ID.replace("-", "", 2),
    ID.title(),
]


@pytest.mark.parametrize("text", SPELLINGS)
@pytest.mark.parametrize("unknown", [{}, {"unknown to all": 1}], ids=["fast path", "converter"])
def test_an_id_stands_in_its_canonical_spelling(text: str, unknown: dict[str, Any]) -> None:
    body = raw(**dict.fromkeys(ID_FIELDS, text), **unknown)
    revision = _codec.decode_revision(body)
    assert {revision.id, revision.workload_id, revision.cluster_id} == {ID}
    assert {revision.department_id, revision.project_id} == {ID}
    assert converter.structure(decode.parse(body), Revision) == revision
    assert _codec.identity(body) == _codec.identity(body.replace(b"}", b', "x": NaN}')) == ID


@pytest.mark.parametrize(
    "text",
    ["", "a", "Team-A", "0x" + "1" * 30, ID + "0", f"{{{ID}}}", ID.replace("-", "_"), "g" * 32, f"{ID}\n"],
)
def test_an_id_that_is_not_a_uuid_is_kept_as_it_came(text: str) -> None:
    assert _codec.decode_revision(raw(id=text)).id == text == _codec.identity(raw(id=text))
    assert converter.structure(decode.parse(raw(id=text)), Revision).id == text


@given(st.uuids(), st.lists(st.booleans(), min_size=36, max_size=36))
def test_the_spelling_of_a_uuid_makes_no_difference(uuid: UUID, choices: list[bool]) -> None:
    changed = zip(str(uuid), choices, strict=True)
    text = "".join(("" if char == "-" else char.upper()) if choice else char for char, choice in changed)
    assert _codec.decode_revision(raw(id=text)) == _codec.decode_revision(raw(id=str(uuid)))
    assert _codec.decode_revision(raw(id=text)).id == str(uuid)


def test_an_id_in_canonical_spelling_takes_the_fast_path() -> None:
    parse, build = fast.fast_path(Revision)
    assert build(parse(raw(id=ID))).id == ID


# --- what can be read of what cannot be decoded ------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "name", "created_at"),
    [
        ({"phase": 5}, "a-00002", datetime(2026, 1, 2, tzinfo=UTC)),
        ({"createdAt": None}, "a-00002", LATEST),
        ({"createdAt": "soon"}, "a-00002", LATEST),
        ({"createdAt": "0001-01-01T00:00:00Z"}, "a-00002", LATEST),
        ({"createdAt": "9999-12-31T23:59:59-10:00"}, "a-00002", LATEST),
        ({"name": None}, "", datetime(2026, 1, 2, tzinfo=UTC)),
        ({"name": 5, "createdAt": 5}, "", LATEST),
    ],
)
def test_an_outline_has_what_can_be_read(fields: dict[str, Any], name: str, created_at: datetime) -> None:
    body = raw(**{"id": ID.upper(), "name": "a-00002", "createdAt": "2026-01-02T01:00:00+01:00", **fields})
    assert _codec.outline(body) == _codec.Outline(ID, name, created_at)
    assert _codec.outline(body.replace(b'"tenantId"', b'"x": NaN, "tenantId"')) == _codec.outline(body)


@pytest.mark.parametrize("body", [b"null", b"{}", b'{"id": null}', b'{"id": 1.5, "name": "a"}', b'{"id": "'])
def test_an_outline_without_an_id_has_what_else_can_be_read(body: bytes) -> None:
    assert _codec.outline(body) == _codec.Outline("", "a" if b'"a"' in body else "", LATEST)
    assert _codec.identity(body) is None


def test_a_numeric_id_has_an_outline() -> None:
    assert _codec.outline(b'{"id": 7}') == _codec.Outline("7", "", LATEST)


def test_the_deletion_time_of_what_is_not_json_can_be_read() -> None:
    body = value(b"NaN").replace(b'"tenantId"', b'"deletedAt": "2026-01-02T00:00:00Z", "tenantId"')
    body = body.replace(json.dumps(PLAIN["deletedAt"]).encode(), b'"2026-01-02T00:00:00Z"')
    assert _codec.deletion_time(body) == datetime(2026, 1, 2, tzinfo=UTC)


# --- rows --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"clusterId": None}, "$.workloads[0].clusterId"),
        ({"phase": None}, "$.workloads[0].phase"),
        ({"createdAt": "0"}, "$.workloads[0].createdAt"),
    ],
)
def test_a_row_that_cannot_be_decoded_hides_no_other(change: dict[str, Any], path: str) -> None:
    body = json.dumps({"workloads": [{**ROWS[0], **change}, ROWS[1]], "next": 2}).encode()
    page = _codec.decode_page(body, "workloads", Workload)
    assert [item.name for item in page.items] == [ROWS[1]["name"]]
    assert [item.error.path for item in page.broken] == [path]
    assert page.next_offset == 2


def test_what_can_be_read_of_a_workload_is_read() -> None:
    row = {**ROWS[0], "id": ID.upper(), "phase": None, "clusterId": [], "createdAt": "", "updatedAt": 5}
    known = from_json(json.dumps({**ROWS[0], "id": ID}), Workload)
    outline = _codec.workload_outline(json.dumps(row).encode())
    assert outline is not None
    assert (outline.id, outline.type, outline.name) == (ID, known.type, known.name)
    assert (outline.project_id, outline.namespace) == (known.project_id, known.namespace)
    assert (outline.cluster_id, outline.phase, outline.created_at) == ("", "Unknown", LATEST)
    assert outline.updated_at is None


@pytest.mark.parametrize("change", [{"id": None}, {"type": None}, {"type": 5}])
def test_without_an_id_or_type_nothing_is_read_of_a_workload(change: dict[str, Any]) -> None:
    assert _codec.workload_outline(json.dumps({**ROWS[0], **change}).encode()) is None


@pytest.mark.parametrize(
    ("body", "label"),
    [
        (b'{"id": "a", "name": "b"}', "id a"),
        (b'{"name": "b"}', "name b"),
        (b"null", "neither its id nor its name can be read"),
    ],
)
def test_an_item_that_cannot_be_decoded_is_called_by_what_can_be_read(body: bytes, label: str) -> None:
    assert _codec.label(body) == label
