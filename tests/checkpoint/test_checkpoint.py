"""A checkpoint outlives the process; anything else raises a ValueError."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runai_async import (
    Checkpoint,
    FleetCheckpoint,
    Phase,
    PollStreak,
    Revision,
    RevisionMark,
    StallMark,
)

TIME = datetime(2025, 9, 14, 7, 31, 12, 481000, UTC)
MARK = RevisionMark(
    type="inference",
    name="chat-7b-00004",
    id="0f6d7c52-5a0e-4a53-9a39-6f1f0e9b7a11",
    workload_id="5b0f6f0c-8f3e-4f52-bb0e-2d8f4f6a9c01",
    tenant_id=1007,
    cluster_id="c2a1b9d4-70de-4c39-8a5f-91f1d5a0e7b2",
    department_id="12",
    project_id="4500017",
    created_at=TIME,
    phase=Phase.RUNNING,
)
WHOLE = attrs.evolve(
    MARK,
    phase=Phase("Suspending"),
    phase_updated_at=TIME + timedelta(seconds=1),
    deleted_at=TIME + timedelta(seconds=2),
    told_until=TIME + timedelta(seconds=3),
    count=7,
)
CHECKPOINT = Checkpoint(MARK.workload_id, (MARK, WHOLE), synced=True)
FLEET = FleetCheckpoint({CHECKPOINT.workload_id: CHECKPOINT, "w": Checkpoint("w", synced=False)})
READERS: list[Any] = [Checkpoint.from_json, FleetCheckpoint.from_json]
PLAIN: dict[str, Any] = json.loads(CHECKPOINT.to_json())

TEXTS = st.text(max_size=8)
ZONES = st.builds(timezone, st.integers(-14 * 60, 14 * 60).map(lambda minutes: timedelta(minutes=minutes)))
TIMES = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=ZONES)


def streaks(*found: str) -> st.SearchStrategy[PollStreak]:
    """Return streaks of polls that found one of these."""
    seconds = st.integers(0, 10**6) | st.floats(0, 1e9)
    return st.builds(PollStreak, st.sampled_from(found), st.integers(), seconds, TIMES)


MARKS = st.builds(
    RevisionMark,
    **dict.fromkeys(
        ("type", "name", "id", "workload_id", "cluster_id", "department_id", "project_id"), TEXTS
    ),
    **{name: st.integers() for name in ("tenant_id", "count", "returns", "updates")},
    **{name: st.none() | TIMES for name in ("phase_updated_at", "deleted_at", "told_until")},
    created_at=TIMES,
    phase=st.sampled_from(Phase) | TEXTS.map(Phase),
    streak=st.none() | streaks("missing", "live"),
    stall=st.none() | st.builds(StallMark, st.none() | TIMES, st.none() | st.integers(), st.none() | TIMES),
)
URLS = st.none() | st.sampled_from(["https://acme.run.ai", "http://[::1]:8080/prefix"])
CHECKPOINTS = st.builds(
    Checkpoint,
    TEXTS,
    st.lists(MARKS, max_size=3).map(tuple),
    synced=st.booleans(),
    base_url=URLS,
    refusal=st.none() | streaks("forbidden", "not_found"),
)


@given(CHECKPOINTS)
def test_a_checkpoint_is_the_same_after_a_round_trip(checkpoint: Checkpoint) -> None:
    again = Checkpoint.from_json(checkpoint.to_json())
    assert again == checkpoint == Checkpoint.from_json(checkpoint.to_json().encode())
    assert {type(mark.phase) for mark in again.revisions} <= {Phase}
    assert {mark.created_at.tzinfo for mark in again.revisions} <= {UTC}


@given(st.lists(CHECKPOINTS, max_size=3), URLS)
def test_a_fleet_s_checkpoint_is_the_same_after_a_round_trip(
    checkpoints: list[Checkpoint], base_url: str | None
) -> None:
    fleet = FleetCheckpoint({checkpoint.workload_id: checkpoint for checkpoint in checkpoints}, base_url)
    assert FleetCheckpoint.from_json(fleet.to_json()) == fleet


def test_a_checkpoint_is_plain_json_with_a_version() -> None:
    mark = {
        "type": "inference",
        "name": "chat-7b-00004",
        "id": MARK.id,
        "workload_id": MARK.workload_id,
        "tenant_id": 1007,
        "cluster_id": MARK.cluster_id,
        "department_id": "12",
        "project_id": "4500017",
        "created_at": "2025-09-14T07:31:12.481000+00:00",
        "phase": "Running",
        "count": 0,
        "returns": 0,
        "updates": 0,
    }
    later = {
        "phase": "Suspending",
        "count": 7,
        "phase_updated_at": "2025-09-14T07:31:13.481000+00:00",
        "deleted_at": "2025-09-14T07:31:14.481000+00:00",
        "told_until": "2025-09-14T07:31:15.481000+00:00",
    }
    one = {"workload_id": MARK.workload_id, "synced": True, "revisions": [mark, mark | later]}
    assert json.loads(CHECKPOINT.to_json()) == {"version": 1, **one}
    assert json.loads(FLEET.to_json()) == {
        "version": 1,
        "workloads": [one, {"workload_id": "w", "synced": False, "revisions": []}],
    }


def test_a_fleet_s_checkpoint_names_the_control_plane_once() -> None:
    url = "https://acme.run.ai"
    parts = {key: Checkpoint(key, base_url=url) for key in ("a", "b")}
    fleet = FleetCheckpoint(parts, url)
    assert fleet.to_json().count(url) == 1
    again = FleetCheckpoint.from_json(fleet.to_json())
    assert again == fleet
    assert [part.base_url for part in again.workloads.values() if part.base_url is not again.base_url] == []


@pytest.mark.parametrize(
    ("url", "normal"),
    [
        ("https://acme.run.ai", "https://acme.run.ai"),
        ("HTTPS://user:pass@ACME.Run.ai:443/?q=1#f", "https://acme.run.ai"),
        ("http://acme.run.ai:80/Prefix//", "http://acme.run.ai/Prefix"),
        ("http://acme.run.ai:443/a b", "http://acme.run.ai:443/a%20b"),
        ("https://[::1]:8443/", "https://[::1]:8443"),
        ("https://b\u00fccher.example", "https://xn--bcher-kva.example"),
    ],
)
def test_a_checkpoint_can_be_moved_to_another_name(url: str, normal: str) -> None:
    moved = CHECKPOINT.moved_to(url)
    assert moved == attrs.evolve(CHECKPOINT, base_url=normal) != CHECKPOINT
    assert moved.moved_to(normal) == moved
    fleet = FLEET.moved_to(url)
    assert {fleet.base_url, *(part.base_url for part in fleet.workloads.values())} == {normal}
    assert attrs.evolve(fleet.workloads["w"], base_url=None) == FLEET.workloads["w"]


@pytest.mark.parametrize("url", ["", "acme.run.ai", "ftp://s3cret@a", "https://", "https://a:s3cret/", 5])
def test_what_is_not_a_url_cannot_be_moved_to(url: Any) -> None:
    for checkpoint in (CHECKPOINT, FLEET):
        with pytest.raises(ValueError, match=r"^base_url must be a URL like https://acme\.run\.ai$"):
            checkpoint.moved_to(url)


def test_a_mark_has_the_required_fields_of_a_revision_and_none_that_may_be_secret() -> None:
    required = {field.name for field in attrs.fields(Revision) if field.default is attrs.NOTHING}
    beside = {
        "phase_updated_at",
        "deleted_at",
        "count",
        "told_until",
        "returns",
        "updates",
        "streak",
        "stall",
    }
    assert set(attrs.fields_dict(RevisionMark)) == required | beside


def test_a_stall_is_kept_in_a_few_bytes() -> None:
    stalled = attrs.evolve(MARK, stall=StallMark(count=1, until=TIME))
    (plain,) = json.loads(attrs.evolve(CHECKPOINT, revisions=(stalled,)).to_json())["revisions"]
    assert plain["stall"] == {"count": 1, "until": "2025-09-14T07:31:12.481000+00:00"}


@pytest.mark.parametrize(
    ("stall", "named"),
    [
        ([], "stall must be an object"),
        ({"count": "1"}, "stall.count must be a whole number"),
        ({"until": "yesterday"}, "stall.until is not a time"),
        ({"seen_at": 5}, "stall.seen_at must be a time"),
    ],
)
def test_a_stall_that_is_none_is_a_value_error(stall: Any, named: str) -> None:
    plain = PLAIN | {"revisions": [PLAIN["revisions"][0] | {"stall": stall}]}
    with pytest.raises(ValueError, match=f"^checkpoint: {named}"):
        Checkpoint.from_json(json.dumps(plain))


def test_polls_that_count_are_kept_in_a_few_bytes() -> None:
    missing = attrs.evolve(MARK, streak=PollStreak("missing", 2, 10.5, TIME))
    refused = attrs.evolve(CHECKPOINT, revisions=(missing,), refusal=PollStreak("forbidden", 3, 20.0, TIME))
    plain = json.loads(refused.to_json())
    assert plain["revisions"][0]["streak"] == {
        "found": "missing",
        "polls": 2,
        "seconds": 10.5,
        "at": "2025-09-14T07:31:12.481000+00:00",
    }
    assert plain["refusal"]["found"] == "forbidden"
    assert len(json.dumps(plain["refusal"])) < 100
    assert Checkpoint.from_json(refused.to_json()) == refused


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ([], "streak must be an object, not list"),
        ({"found": "forbidden"}, "streak.found must be missing or live"),
        ({"found": []}, "streak.found must be missing or live"),
        ({"polls": 1.5}, "streak.polls must be a whole number, not float"),
        ({"seconds": -1}, "streak.seconds must be seconds, not -1"),
        ({"seconds": float("nan")}, "streak.seconds must be seconds, not nan"),
        ({"seconds": 10**400}, "streak.seconds must be seconds, not 1000"),
        ({"seconds": True}, "streak.seconds must be seconds, not True"),
        ({"at": "2025-09-14T07:31:12"}, "streak.at has no time zone"),
    ],
)
def test_a_wrong_part_of_a_streak_is_named(change: Any, problem: str) -> None:
    streak = {"found": "missing", "polls": 2, "seconds": 10.5, "at": "2025-09-14T07:31:12Z"}
    given = streak | change if isinstance(change, dict) else change
    with pytest.raises(ValueError, match=f"^checkpoint: {problem}"):
        Checkpoint.from_json(edited(streak=given))
    if isinstance(change, dict):
        (mark,) = Checkpoint.from_json(edited(streak=streak)).revisions
        assert mark.streak == PollStreak("missing", 2, 10.5, TIME.replace(microsecond=0))


def test_a_refusal_is_one_of_a_workload() -> None:
    streak = {"found": "missing", "polls": 2, "seconds": 10.5, "at": "2025-09-14T07:31:12Z"}
    with pytest.raises(ValueError, match=r"^checkpoint: refusal\.found must be forbidden or not_found"):
        Checkpoint.from_json(json.dumps(PLAIN | {"refusal": streak}))
    assert Checkpoint.from_json(json.dumps(PLAIN | {"refusal": None})) == CHECKPOINT


def test_a_mark_of_an_earlier_release_has_no_updates() -> None:
    (mark,) = Checkpoint.from_json(edited(updates=None)).revisions
    assert mark == MARK
    (mark,) = Checkpoint.from_json(edited(updates=3)).revisions
    assert mark == attrs.evolve(MARK, updates=3)


def test_ids_of_an_earlier_release_are_read_in_their_canonical_spelling() -> None:
    written = edited(id=MARK.id.upper(), workload_id=MARK.workload_id.replace("-", ""), project_id="4500017")
    whole = written.replace(
        f'"workload_id": "{MARK.workload_id}"', f'"workload_id": "{MARK.workload_id.upper()}"'
    )
    assert Checkpoint.from_json(whole) == attrs.evolve(CHECKPOINT, revisions=(MARK,))


def test_a_zero_time_of_an_earlier_release_is_missing() -> None:
    (mark,) = Checkpoint.from_json(edited(phase_updated_at="0001-01-01T00:00:00+00:00")).revisions
    assert mark == MARK


def test_a_time_is_read_as_utc() -> None:
    (mark,) = Checkpoint.from_json(edited(created_at="2025-09-14T09:31:12.481+02:00")).revisions
    assert (mark.created_at, mark.created_at.tzinfo) == (TIME, UTC)


def test_a_time_that_is_null_reads_as_missing() -> None:
    (mark,) = Checkpoint.from_json(edited(phase_updated_at=None, deleted_at=None, told_until=None)).revisions
    assert mark == MARK


def edited(**fields: Any) -> str:
    """Return a checkpoint of one revision with some of its fields replaced."""
    return json.dumps(PLAIN | {"revisions": [PLAIN["revisions"][0] | fields]})


@pytest.mark.parametrize("version", [0, 2, "1", None, [], {"a": 1}])
@pytest.mark.parametrize(
    ("read", "value"), [(READERS[0], CHECKPOINT), (READERS[1], FLEET)], ids=["one", "fleet"]
)
def test_an_unknown_version_is_named(read: Any, value: Any, version: Any) -> None:
    data = json.dumps(json.loads(value.to_json()) | {"version": version})
    with pytest.raises(ValueError, match=r"version .* is unknown here; this release reads 1") as caught:
        read(data)
    assert f"version {version!r} " in str(caught.value)


@pytest.mark.parametrize("read", READERS, ids=["one", "fleet"])
@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        (b"\xff", "not JSON"),
        ("[" * 100_000, "nested too deeply"),
        ('{"version": ' + "9" * 5000 + "}", "not JSON"),
        ("[]", "the top level must be an object, not list"),
        ("null", "the top level must be an object, not NoneType"),
        ("NaN", "the top level must be an object, not float"),
        ("{}", "version None is unknown here"),
    ],
    ids=["empty", "cut", "binary", "deep", "long", "array", "null", "nan", "unversioned"],
)
def test_what_is_not_a_checkpoint_is_refused_with_the_reason(
    read: Any, data: str | bytes, problem: str
) -> None:
    with pytest.raises(ValueError, match=f"^checkpoint: {problem}"):
        read(data)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"workload_id": 5}, "workload_id must be a string, not int"),
        ({"workload_id": None}, "workload_id must be a string, not NoneType"),
        ({"revisions": {}}, "revisions must be an array"),
        ({"revisions": None}, "revisions must be an array"),
        ({"revisions": [5]}, "a revision must be an object, not int"),
        ({"revisions": [{"id": "a"}]}, "a revision lacks cluster_id, count, created_at, department_id, name"),
        ({"synced": 1}, "synced must be true or false"),
        ({"synced": None}, "synced must be true or false"),
        ({"base_url": 5}, "base_url must be a string, not int"),
    ],
)
def test_a_wrong_part_is_named(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=f"^checkpoint: {problem}"):
        Checkpoint.from_json(json.dumps(PLAIN | fields))
    with pytest.raises(ValueError, match=f"^checkpoint: {problem}"):
        FleetCheckpoint.from_json(json.dumps({"version": 1, "workloads": [PLAIN | fields]}))


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"phase": 5}, "phase must be a string, not int"),
        ({"tenant_id": "7"}, "tenant_id must be a whole number, not str"),
        ({"tenant_id": True}, "tenant_id must be a whole number, not bool"),
        ({"count": 1.0}, "count must be a whole number, not float"),
        ({"created_at": None}, "created_at must be a time as a string, not NoneType"),
        ({"created_at": 5}, "created_at must be a time as a string, not int"),
        ({"created_at": "soon"}, "created_at is not a time"),
        ({"created_at": "0001-01-01T00:00:00+14:00"}, "created_at is not a time"),
        ({"created_at": "2025-09-14T07:31:12"}, "created_at has no time zone"),
        ({"deleted_at": "2025-09-14"}, "deleted_at has no time zone"),
        ({"told_until": "9999-12-31T23:59:59"}, "told_until"),
    ],
)
def test_a_wrong_field_of_a_revision_is_named(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=f"^checkpoint: {problem}"):
        Checkpoint.from_json(edited(**fields))


def test_a_checkpoint_of_the_other_kind_is_refused_with_a_hint() -> None:
    with pytest.raises(ValueError, match="is this the checkpoint of a single watch"):
        FleetCheckpoint.from_json(CHECKPOINT.to_json())
    with pytest.raises(ValueError, match=r"revisions must be an array \(is this a fleet's"):
        Checkpoint.from_json(FLEET.to_json())
    with pytest.raises(ValueError, match="a workload must be an object, not int"):
        FleetCheckpoint.from_json('{"version": 1, "workloads": [5]}')


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
MARK_JSON = st.builds(
    lambda base, change: json.loads(base.to_json())["revisions"] + [change],
    st.just(Checkpoint("w", (WHOLE,))),
    JSON | st.dictionaries(st.sampled_from(sorted(attrs.fields_dict(RevisionMark))), JSON, max_size=3),
)
DATES = st.from_regex(
    r"-?\d{1,5}-?(W?\d{1,3})?-?\d{0,2}[T ]?[\d:.,]{0,12}([Zz]|[+-][\d:.]{0,9})?", fullmatch=True
)
HOSTILE = st.one_of(
    st.binary(),
    st.text(),
    JSON.map(json.dumps),
    st.fixed_dictionaries(
        {"version": st.just(1)},
        optional={
            "workload_id": st.just("w") | JSON,
            "synced": st.booleans() | JSON,
            "base_url": st.just("https://acme.run.ai") | JSON,
            "refusal": st.just({"found": "forbidden", "polls": 2, "seconds": 1, "at": "2025-09-14T07:31Z"})
            | JSON,
            "revisions": MARK_JSON | JSON,
            "workloads": st.lists(st.just(PLAIN) | JSON, max_size=2) | JSON,
        },
    ).map(json.dumps),
    st.builds(
        lambda name, value: edited(**{name: value}),
        st.sampled_from(sorted(attrs.fields_dict(RevisionMark))),
        DATES | st.text() | JSON,
    ),
)


def outcome(read: Callable[[str | bytes], Checkpoint | FleetCheckpoint], data: str | bytes) -> Any:
    """Return the value, or the text of the ValueError."""
    try:
        return read(data)
    except ValueError as error:
        return str(error)


@given(HOSTILE)
@example(edited(created_at="0001-01-01T00:00:00"))
@example(edited(created_at="\ud800025-09-14T07:31:12Z"))
@example(edited(created_at=None))
@example(b"\xef\xbb\xbf{}")
def test_hostile_data_raises_a_value_error_and_nothing_else(data: str | bytes) -> None:
    for read in READERS:
        value = outcome(read, data)
        assert value.startswith("checkpoint: ") if isinstance(value, str) else read(value.to_json()) == value
