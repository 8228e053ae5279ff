"""Clusters are decoded from both of their forms, on the fast path and by the converter alike."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from runai_async import Cluster, ClusterState, DecodeError, _codec, from_json, to_json
from runai_async._codec import converter, fast

ID = "c2a1b9d4-70de-4c39-8a5f-91f1d5a0e7b2"
FULL: dict[str, Any] = {
    "uuid": ID,
    "name": "eu-1",
    "tenantId": 1007,
    "createdAt": "2025-01-01T00:00:00Z",
    "status": {"state": "ServiceIssues", "conditions": []},
    "lastLiveness": "2025-09-14T12:00:00+02:00",
    "version": "2.24.17",
    "domain": "https://eu-1.example",
}
MINIMAL: dict[str, Any] = {"uuid": ID, "name": "eu-1", "tenantId": 1007, "state": "Connected"}


@pytest.fixture(autouse=True)
def _nothing_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast, "_learned", {})
    fast.clear_decoders()


def decoded(value: Any) -> Cluster:
    """Decode a cluster twice, with and without keys learned, and by the converter alone."""
    body = json.dumps(value)
    first: Cluster = converter.structure(json.loads(body), Cluster)
    assert [from_json(body, Cluster) for _ in range(2)] == [first] * 2
    assert from_json(to_json(first), Cluster) == first
    return first


def test_the_full_form_is_read_with_the_state_in_its_status() -> None:
    cluster = decoded(FULL)
    last_seen_at = datetime(2025, 9, 14, 10, tzinfo=UTC)
    assert cluster == Cluster(
        ID, "eu-1", ClusterState.SERVICE_ISSUES, last_seen_at, "2.24.17", extra=cluster.extra
    )
    assert cluster.extra == {key: FULL[key] for key in ("tenantId", "createdAt", "status", "domain")}


def test_the_minimal_form_does_not_say_when_a_cluster_was_seen() -> None:
    cluster = decoded(MINIMAL)
    assert cluster == Cluster(ID, "eu-1", ClusterState.CONNECTED, None, None, extra={"tenantId": 1007})


def test_the_normal_form_has_the_api_s_own_keys_and_the_state() -> None:
    written = json.loads(to_json(decoded(FULL)))
    assert written == FULL | {"state": "ServiceIssues", "lastLiveness": "2025-09-14T10:00:00Z"}


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({"state": "Upgrading"}, "Upgrading"),
        ({"state": ""}, ""),
        ({"state": None}, "Unknown"),
        ({"state": None, "status": {"state": "Disconnected"}}, "Disconnected"),
        ({"state": "Connected", "status": {"state": "Disconnected"}}, "Connected"),
        ({"state": None, "status": {"state": None}}, "Unknown"),
        ({"state": None, "status": {}}, "Unknown"),
        ({"state": None, "status": None}, "Unknown"),
        ({"state": None, "status": "Connected"}, "Unknown"),
    ],
)
def test_a_state_is_any_text_and_unknown_where_there_is_none(fields: dict[str, Any], state: str) -> None:
    found = decoded(MINIMAL | fields).state
    assert (type(found), found) == (ClusterState, state)


@pytest.mark.parametrize("time", [None, "", "0001-01-01T00:00:00Z", "0000-12-31T19:03:58-04:56"])
def test_a_time_that_stands_for_none_is_missing(time: str | None) -> None:
    assert decoded(FULL | {"lastLiveness": time}).last_seen_at is None


@pytest.mark.parametrize("uuid", [ID.upper(), ID.replace("-", "")])
def test_an_id_is_in_its_canonical_spelling(uuid: str) -> None:
    assert decoded(MINIMAL | {"uuid": uuid}).id == ID


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"uuid": None}, "$.uuid"),
        ({"name": 5}, "$.name"),
        ({"state": 5}, "$.state"),
        ({"state": None, "status": {"state": 5}}, "$.status.state"),
        ({"lastLiveness": "yesterday"}, "$.lastLiveness"),
    ],
)
def test_a_mismatch_is_named_by_its_path(fields: dict[str, Any], path: str) -> None:
    with pytest.raises(DecodeError) as caught:
        from_json(json.dumps(MINIMAL | fields), Cluster)
    assert caught.value.path == path


def test_what_is_not_an_object_is_no_cluster() -> None:
    with pytest.raises(DecodeError, match="expected an object, got an array"):
        from_json("[]", Cluster)


# --- lists -------------------------------------------------------------------------------------------------


def test_an_array_is_decoded_item_by_item() -> None:
    page = _codec.decode_array(json.dumps([FULL, {"uuid": ID}, MINIMAL]).encode(), Cluster)
    assert page.items == [decoded(FULL), decoded(MINIMAL)]
    assert [(item.error.path, page.next_offset) for item in page.broken] == [("$[1].name", None)]


@pytest.mark.parametrize("part", [b"NaN", b'"a\tb"', b"[" * 2000 + b"]" * 2000])
def test_an_item_that_is_not_json_hides_no_other(part: bytes) -> None:
    good = json.dumps(MINIMAL).encode()
    page = _codec.decode_array(b"[" + good + b', {"uuid": ' + part + b"}, " + good + b"]", Cluster)
    assert (len(page.items), [item.error.is_json for item in page.broken]) == (2, [True])


@pytest.mark.parametrize("body", [b"null", b"{}", b"[]", b" [ ] "])
def test_null_and_an_empty_object_are_an_empty_list(body: bytes) -> None:
    assert _codec.decode_array(body, Cluster).items == []


@pytest.mark.parametrize(
    ("body", "is_json"), [(b"5", True), (b'{"clusters": []}', True), (b"[{", False), (b"<html>", False)]
)
def test_what_is_not_an_array_is_an_error(body: bytes, is_json: bool) -> None:
    with pytest.raises(DecodeError) as caught:
        _codec.decode_array(body, Cluster)
    assert caught.value.is_json is is_json
