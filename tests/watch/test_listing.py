"""Reading list responses with the help of known revisions gives the same as reading each afresh."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.model import body_of, revision

from runai_async import DecodeError, _codec
from runai_async._watch.listing import Listing, Snapshot
from runai_async._watch.packed import PackedBody

KEYS = "abcdef"


def keep(listing: Listing, body: bytes) -> Snapshot:
    snapshot = listing.read(body)
    listing.keep(snapshot, snapshot.spans)
    return snapshot


def texts(snapshot: Snapshot) -> dict[str, bytes]:
    return {key: snapshot.body[start:end] for key, (start, end) in snapshot.spans.items()}


def compact(*revisions: Any) -> bytes:
    """Make the body of a list response as servers write it."""
    return json.dumps({"revisions": revisions}, separators=(",", ":")).encode()


@st.composite
def responses(draw: st.DrawFn) -> list[bytes]:
    """Draw list responses in which revisions come, go, change, break, occur twice, or are nested."""
    bodies: list[bytes] = []
    state: dict[str, Any] = {}
    for _ in range(draw(st.integers(2, 5))):
        for key in draw(st.lists(st.sampled_from(KEYS), max_size=3)):
            kind = draw(st.sampled_from(["pods", "broken", "nested", "long", "gone"]))
            changed: dict[str, Any] = {"runningPods": draw(st.integers(0, 3))}
            if kind == "broken":
                changed = {"phase": draw(st.sampled_from([1, 2]))}
            elif kind == "nested":
                changed = {"additionalFields": {"n": [1, draw(st.sampled_from([*state.values(), {}])), {}]}}
            elif kind == "long":
                changed = {"name": "n" * 300}
            state[key] = revision(key, **changed)
            if kind == "gone":
                del state[key]
        listed: list[Any] = draw(st.permutations(list(state.values())))
        twice = draw(st.booleans())
        if listed and twice:
            listed = [*listed, draw(st.sampled_from(listed)) | {"phase": "Failed"}]
        body = compact(*listed)
        bodies.append(draw(st.sampled_from([body, body + b"\n", body_of(*listed), body[:-1] + b',"a":[]}'])))
    return bodies


@given(responses())
def test_reading_with_known_revisions_gives_the_same_as_reading_afresh(bodies: Sequence[bytes]) -> None:
    listing = Listing()
    before: dict[str, bytes] = {}
    for body in bodies:
        afresh, snapshot = Listing().read(body), keep(listing, body)
        assert texts(snapshot) == texts(afresh)
        assert snapshot.undecodable == afresh.undecodable
        decoded = {key: _codec.decode_revision(text) for key, text in texts(snapshot).items()}
        assert {**decoded, **snapshot.changed} == decoded
        new = {key for key, text in texts(snapshot).items() if before.get(key) != text}
        assert new <= snapshot.changed.keys()
        before = texts(snapshot)


@pytest.mark.parametrize("write", [compact, body_of])
def test_only_changed_revisions_are_decoded_in_any_order(write: Any) -> None:
    listing = Listing()
    all_of_them = [revision(key) for key in KEYS]
    assert keep(listing, write(*all_of_them)).changed.keys() == set(KEYS)
    first, second, third = all_of_them[:3]
    new = [third, second | {"phase": "Failed"}, revision("new"), first]
    assert keep(listing, write(*new)).changed.keys() == {"b", "new"}
    assert keep(listing, write(*reversed(new))).changed == {}


def test_a_known_revision_nested_in_another_one_does_not_count_as_listed() -> None:
    listing = Listing()
    keep(listing, compact(revision("a"), revision("b")))
    within = revision("c", additionalFields={"copies": [{}, revision("a")]})
    assert keep(listing, compact(revision("b"), within)).spans.keys() == {"b", "c"}


def test_a_known_revision_that_is_listed_twice_counts_once() -> None:
    listing = Listing()
    keep(listing, compact(revision("a"), revision("b")))
    snapshot = keep(listing, compact(revision("a"), revision("b"), revision("a")))
    assert snapshot.spans.keys() == {"a", "b"}
    assert snapshot.changed == {}


@pytest.mark.parametrize(
    "body",
    [
        b'{"revisions":[%s{}]}',
        b'{"revisions":[%s %s]}',
        b'{"revisions":[%s]},"x":1',
        b'{"revisions":[%s',
        b'{"revisions":[%s,]}',
        b'{"revisions":[,%s]}',
    ],
)
def test_known_bytes_do_not_make_a_broken_response_valid(body: bytes) -> None:
    listing = Listing()
    raw = json.dumps(revision("a"), separators=(",", ":")).encode()
    keep(listing, compact(revision("a")))
    with pytest.raises(DecodeError):
        listing.read(body.replace(b"%s", raw))


def test_the_bytes_of_an_unlisted_revision_are_kept_as_long_as_it_is_known() -> None:
    listing = Listing()
    keep(listing, compact(revision("a"), revision("b")))
    raw = listing.raw("b")
    for _ in range(2):
        listing.keep(listing.read(compact(revision("a"))), {"a": None, "b": None})
        assert listing.raw("b") == raw
    listing.keep(listing.read(compact(revision("a"))), {"a": None})
    assert listing.raw("b") is None


@pytest.mark.parametrize("write", [compact, body_of])
def test_a_known_revision_that_is_listed_twice_is_listed_once(write: Any) -> None:
    listing = Listing()
    first = keep(listing, write(revision("a"), revision("b")))
    twice = listing.read(write(revision("a"), revision("b"), revision("a")))
    assert (texts(twice), twice.changed) == (texts(first), {})


# --- packing ------------------------------------------------------------------------------------------------


def is_packed(listing: Listing) -> bool:
    return isinstance(listing.body, PackedBody)


def step(number: int) -> bytes:
    return compact(revision("a", runningPods=number), revision("b"))


def test_the_last_response_is_packed_when_it_is_the_first_or_a_single_change() -> None:
    listing = Listing()
    keep(listing, step(0))
    assert is_packed(listing)
    assert listing.is_repeated(step(0))
    assert not listing.is_repeated(step(1))
    assert keep(listing, step(1)).changed.keys() == {"a"}
    assert is_packed(listing)


def test_after_two_changes_in_a_row_the_last_response_is_packed_when_it_is_repeated() -> None:
    listing = Listing()
    for number in range(4):
        keep(listing, step(number))
        assert is_packed(listing) == (number == 0)
    assert not listing.is_repeated(step(4))
    assert not is_packed(listing)
    assert listing.is_repeated(step(3))
    assert is_packed(listing)
    keep(listing, step(4))
    assert is_packed(listing)


def test_reading_a_response_that_is_not_kept_leaves_the_last_one_packed() -> None:
    listing = Listing()
    keep(listing, step(0))
    listing.read(step(1))
    with pytest.raises(DecodeError):
        listing.read(b"<html>")
    assert is_packed(listing)
    assert listing.is_repeated(step(0))


def test_the_bytes_of_each_revision_are_those_of_the_last_response_packed_or_not() -> None:
    listing = Listing()
    for number in (0, 1, 2):
        snapshot = keep(listing, step(number))
        for _ in range(2):
            assert {key: listing.raw(key) for key in listing.ids} == texts(snapshot)
            assert listing.is_repeated(step(number))
        assert is_packed(listing)
