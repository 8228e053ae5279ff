"""Responses that are decompressed late."""

import pytest

from runai_async import Response, TransportError
from runai_async._http.messages import CompressedResponse


def test_a_compressed_response_is_decompressed_once_and_only_when_its_body_is_read() -> None:
    calls: list[bytes] = []

    def decompress() -> bytes:
        calls.append(b"body")
        return calls[-1]

    response = CompressedResponse({"Date": "today"}, b"packed", decompress)
    assert (response.status, response.headers, response.compressed) == (200, {"Date": "today"}, b"packed")
    assert isinstance(response, Response)
    assert calls == []
    assert (response.body, response.body, calls) == (b"body", b"body", [b"body"])


def test_an_error_of_decompressing_is_raised_each_time() -> None:
    def decompress() -> bytes:
        raise TransportError("the compressed response body is truncated")

    response = CompressedResponse({}, b"packed", decompress)
    for _ in range(2):
        with pytest.raises(TransportError, match="truncated"):
            _ = response.body


def test_a_compressed_response_has_no_other_attributes() -> None:
    response = CompressedResponse({}, b"packed", bytes)
    assert not hasattr(response, "text")
    assert "packed" not in repr(response)
