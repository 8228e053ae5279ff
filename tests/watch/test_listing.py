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
