"""Bodies that are packed: what comes out, and that it has a bound."""

import contextlib
import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runai_async import TransportError
from runai_async._http.compression import unpacked

TEXT = b'{"count": 2}' * 100
RAW = zlib.compressobj(wbits=-zlib.MAX_WBITS)
PACKED = {
    "gzip": gzip.compress(TEXT),
    "GZip ": gzip.compress(TEXT),
    "x-gzip": gzip.compress(TEXT[:50]) + gzip.compress(TEXT[50:]),
    "deflate": zlib.compress(TEXT),
    "DEFLATE": RAW.compress(TEXT) + RAW.flush(),
}


@pytest.mark.parametrize(("encoding", "body"), PACKED.items(), ids=PACKED)
def test_a_packed_body_comes_out_whole(encoding: str, body: bytes) -> None:
    assert unpacked(body, encoding, len(TEXT)) == TEXT


@pytest.mark.parametrize(("encoding", "body"), PACKED.items(), ids=PACKED)
def test_more_than_the_bound_is_refused_for_good(encoding: str, body: bytes) -> None:
    with pytest.raises(TransportError, match=rf"longer than {len(TEXT) - 1} bytes") as caught:
        unpacked(body, encoding, len(TEXT) - 1)
    assert not caught.value.transient


@pytest.mark.parametrize("encoding", ["identity", "klingon", "br"])
def test_what_was_not_asked_for_is_left_as_it_is(encoding: str) -> None:
    assert unpacked(TEXT, encoding, 5) == TEXT


@pytest.mark.parametrize(("encoding", "body"), PACKED.items(), ids=PACKED)
def test_a_body_that_is_cut_off_may_be_whole_the_next_time(encoding: str, body: bytes) -> None:
    with pytest.raises(TransportError, match="cut off") as caught:
        unpacked(body[:-5], encoding, 2 * len(TEXT))
    assert caught.value.transient


def test_a_body_in_more_parts_than_servers_make_is_not_unpacked() -> None:
    part = gzip.compress(b"")
    assert unpacked(part * 15 + PACKED["gzip"], "gzip", len(TEXT)) == TEXT
    with pytest.raises(TransportError, match="in more than 16 parts") as caught:
        unpacked(part * 16 + PACKED["gzip"], "gzip", len(TEXT))
    assert not caught.value.transient


@given(st.binary(max_size=200), st.sampled_from(["gzip", "deflate"]))
def test_any_bytes_come_to_a_body_or_a_transport_error(body: bytes, encoding: str) -> None:
    with contextlib.suppress(TransportError):
        assert len(unpacked(body, encoding, 1000)) <= 1000


def test_nothing_is_nothing_however_it_is_packed() -> None:
    assert unpacked(b"", "gzip", 10) == b""
