"""Bodies that are kept packed: what comes out is what went in, and an equal body is told from any other."""

import os
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.model import body_of, revision

from runai_async._watch import packed
from runai_async._watch.packed import PackedBody, unpacked

BODY = body_of(*(revision(key) for key in "abcde"))


@pytest.fixture(autouse=True)
def no_dictionary(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each test choose the dictionary, whatever ran before it."""
    monkeypatch.setattr(packed, "_dictionary", b"")


def size(body: PackedBody) -> int:
    return len(body._packed)


@pytest.mark.parametrize(
    "body",
    [b"", b'{"revisions":[]}', BODY, os.urandom(1023), os.urandom(20_000), b" " * 100_000],
    ids=["empty", "no revisions", "a list", "short random bytes", "random bytes", "spaces"],
)
def test_a_body_is_unpacked_as_it_was(body: bytes) -> None:
    for _ in range(2):  # the second time, there may be a dictionary
        kept = PackedBody(body)
        assert unpacked(kept) == kept.unpacked() == body == unpacked(body)
        assert kept.equals(bytes(bytearray(body)))
        PackedBody(BODY)


@given(st.lists(st.binary(max_size=50).map(lambda end: BODY + end), min_size=1, max_size=5))
def test_any_bodies_are_unpacked_as_they_were_and_equal_only_themselves(bodies: list[bytes]) -> None:
    kept = [PackedBody(body) for body in bodies]
    for body, item in zip(bodies, kept, strict=True):
        assert item.unpacked() == body
        assert [other.equals(body) for other in kept] == [other == body for other in bodies]


def test_an_equal_length_does_not_make_a_body_equal() -> None:
    kept = PackedBody(BODY)
    for at in range(len(BODY)):
        assert not kept.equals(BODY[:at] + bytes([BODY[at] ^ 1]) + BODY[at + 1 :])
    assert not kept.equals(BODY[::-1])


def test_a_body_that_cannot_be_compressed_takes_hardly_more_than_itself() -> None:
    assert size(PackedBody(os.urandom(20_000))) < 20_100


def test_a_body_like_the_first_one_takes_less_than_by_itself() -> None:
    PackedBody(BODY)
    other = BODY.replace(b"Running", b"Pending")
    like_the_first = PackedBody(other)
    assert size(like_the_first) < len(zlib.compress(other)) / 2
    assert like_the_first.unpacked() == other


def test_a_short_first_body_does_not_become_the_dictionary() -> None:
    PackedBody(b'{"revisions":[]}')
    assert packed._dictionary == b""
    PackedBody(BODY)
    assert packed._dictionary == BODY[:4096]
    PackedBody(BODY * 2)
    assert packed._dictionary == BODY[:4096]


def test_a_body_keeps_the_dictionary_with_which_it_was_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    early = PackedBody(b'{"revisions":[]}')
    kept = PackedBody(BODY)
    monkeypatch.setattr(packed, "_dictionary", os.urandom(4096))  # as when two threads have begun together
    assert early.unpacked() == b'{"revisions":[]}'
    assert kept.unpacked() == BODY
