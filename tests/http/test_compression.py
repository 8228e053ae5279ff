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


@pytest.mark.parametrize("encoding", ["identity", "klingon", "br"])
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


@given(st.binary(max_size=200), st.sampled_from(["gzip", "deflate"]))
def test_any_bytes_become_a_body_or_a_transport_error(body: bytes, encoding: str) -> None:
    with contextlib.suppress(TransportError):
        assert len(decompress(body, encoding, 1000)) <= 1000


def test_an_empty_body_stays_empty() -> None:
    assert decompress(b"", "gzip", 10) == b""
