"""Compressed bodies: what they decompress to, and how large that may be."""

import contextlib
import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runai_async import TransportError
from runai_async._http.compression import decompress

TEXT = b'{"count": 2}' * 100
RAW = zlib.compressobj(wbits=-zlib.MAX_WBITS)
COMPRESSED = {
    "gzip": gzip.compress(TEXT),
    "GZip ": gzip.compress(TEXT),
    "x-gzip": gzip.compress(TEXT[:50]) + gzip.compress(TEXT[50:]),
    "deflate": zlib.compress(TEXT),
    "DEFLATE": RAW.compress(TEXT) + RAW.flush(),
}


@pytest.mark.parametrize(("encoding", "body"), COMPRESSED.items(), ids=COMPRESSED)
def test_a_compressed_body_is_decompressed_completely(encoding: str, body: bytes) -> None:
    assert decompress(body, encoding, len(TEXT)) == TEXT


@pytest.mark.parametrize(("encoding", "body"), COMPRESSED.items(), ids=COMPRESSED)
def test_a_body_that_is_too_long_is_a_permanent_error(encoding: str, body: bytes) -> None:
    with pytest.raises(TransportError, match=rf"longer than {len(TEXT) - 1} bytes") as caught:
        decompress(body, encoding, len(TEXT) - 1)
    assert not caught.value.transient


@pytest.mark.parametrize(
    "encoding", ["gzip, identity", "identity,gzip", " , x-gzip", "IDENTITY , GZIP,", "gzip"]
)
@pytest.mark.parametrize("zeros", [0, 1, 5000])
def test_identity_and_padding_change_nothing(encoding: str, zeros: int) -> None:
    assert decompress(COMPRESSED["gzip"] + bytes(zeros), encoding, len(TEXT)) == TEXT
    assert decompress(COMPRESSED["x-gzip"] + bytes(zeros), encoding, len(TEXT)) == TEXT


def test_padding_between_parts_is_skipped_and_what_follows_it_must_be_a_part() -> None:
    part = COMPRESSED["gzip"]
    assert decompress(part + bytes(9) + part, "gzip", 2 * len(TEXT)) == 2 * TEXT
    with pytest.raises(TransportError, match="not valid gzip"):
        decompress(part + bytes(9) + b"other", "gzip", len(TEXT))
    with pytest.raises(TransportError, match="not valid gzip"):
        decompress(bytes(9), "gzip", len(TEXT))


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("deflate, gzip", gzip.compress(zlib.compress(TEXT))),
        ("gzip, identity, gzip", gzip.compress(gzip.compress(TEXT))),
    ],
    ids=["deflate, gzip", "gzip, identity, gzip"],
)
def test_encodings_are_undone_in_the_reverse_of_their_order(encoding: str, body: bytes) -> None:
    assert decompress(body, encoding, len(TEXT)) == TEXT


def test_the_bound_holds_for_each_encoding() -> None:
    inner = gzip.compress(bytes(2**22))
    with pytest.raises(TransportError, match="longer than 1000 bytes"):
        decompress(gzip.compress(bytes(2**20) + inner), "gzip, gzip", 1000)
    with pytest.raises(TransportError, match="longer than 100000 bytes"):
        decompress(gzip.compress(inner), "gzip, gzip", 100_000)


def test_a_body_compressed_very_many_times_is_not_decompressed() -> None:
    body = gzip.compress(gzip.compress(gzip.compress(TEXT)))
    with pytest.raises(TransportError, match="compressed more than 2 times over") as caught:
        decompress(body, "gzip, gzip, gzip", len(TEXT))
    assert not caught.value.transient


@pytest.mark.parametrize("encoding", ["identity", "klingon", "br", "gzip, br", "br, gzip", ""])
def test_an_encoding_that_was_not_asked_for_is_left_as_it_is(encoding: str) -> None:
    assert decompress(TEXT, encoding, 5) == TEXT


@pytest.mark.parametrize(("encoding", "body"), COMPRESSED.items(), ids=COMPRESSED)
def test_a_truncated_body_is_a_transient_error(encoding: str, body: bytes) -> None:
    with pytest.raises(TransportError, match="is truncated") as caught:
        decompress(body[:-5], encoding, 2 * len(TEXT))
    assert caught.value.transient


def test_a_body_in_more_parts_than_servers_send_is_not_decompressed() -> None:
    part = gzip.compress(b"")
    assert decompress(part * 15 + COMPRESSED["gzip"], "gzip", len(TEXT)) == TEXT
    with pytest.raises(TransportError, match="more than 16 compressed parts") as caught:
        decompress(part * 16 + COMPRESSED["gzip"], "gzip", len(TEXT))
    assert not caught.value.transient


@given(st.binary(max_size=200), st.sampled_from(["gzip", "deflate", "gzip, identity", "deflate, gzip"]))
def test_any_bytes_become_a_body_or_a_transport_error(body: bytes, encoding: str) -> None:
    with contextlib.suppress(TransportError):
        assert len(decompress(body, encoding, 1000)) <= 1000


def test_an_empty_body_stays_empty() -> None:
    assert decompress(b"", "gzip", 10) == b""
