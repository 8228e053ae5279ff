"""Decompresses response bodies, within a bound: a few kilobytes can stand for gigabytes."""

from __future__ import annotations

import zlib

from runai_async.errors import TransportError

ACCEPTED = "gzip, deflate"
"""The value of the Accept-Encoding header."""
_MAX_PARTS = 16
"""Servers send one. The data after each part is copied for the next: thousands would block the event loop."""
_MAX_KINDS = 2
"""Servers apply one. Each more multiplies the work that a small body can cause."""
_KNOWN = frozenset({"gzip", "x-gzip", "deflate"})
_GZIP, _RAW = 16 + zlib.MAX_WBITS, -zlib.MAX_WBITS


def decompress(body: bytes, encoding: str, limit: int) -> bytes:
    """Return a body without its compression; one with an encoding that was not asked for stays as it is.

    Args:
        body: what was received.
        encoding: the response's Content-Encoding: one or several, comma-separated, in the order in which they
            were applied.
        limit: bytes; the maximum size after each decompression.

    Raises:
        TransportError: the body is truncated, not compressed that way, compressed many times, split into very
            many parts, or too long.
    """
    kinds = [kind.strip().lower() for kind in encoding.split(",")]
    kinds = [kind for kind in kinds if kind not in {"", "identity"}]
    if not _KNOWN.issuperset(kinds):
        return body
    if len(kinds) > _MAX_KINDS:
        raise TransportError(
            f"the response body is compressed more than {_MAX_KINDS} times over", transient=False
        )
    for kind in reversed(kinds):
        body = _decompress(body, kind, limit)
    return body


def _decompress(body: bytes, kind: str, limit: int) -> bytes:
    try:
        return _inflate(body, _window(kind, body), limit)
    except zlib.error as error:
        raise TransportError(
            f"the response body is not valid {kind}, which its Content-Encoding says it is"
        ) from error


def _window(kind: str, body: bytes) -> int:
    if kind != "deflate":
        return _GZIP
    # RFC 9110 puts zlib's two header bytes in front; some servers leave them out.
    is_zlib = body[:1] == b"\x78" and int.from_bytes(body[:2]) % 31 == 0
    return zlib.MAX_WBITS if is_zlib else _RAW


def _inflate(body: bytes, window: int, limit: int) -> bytes:
    parts, room = list[bytes](), limit
    while body:  # gzip may consist of several members
        if len(parts) == _MAX_PARTS:
            raise TransportError(
                f"the response body has more than {_MAX_PARTS} compressed parts", transient=False
            )
        inflating = zlib.decompressobj(window)
        parts.append(inflating.decompress(body, room + 1))
        room -= len(parts[-1])
        if room < 0:
            raise TransportError(
                f"the response body is longer than {limit} bytes (max_body) when decompressed",
                transient=False,
            )
        if not inflating.eof:
            raise TransportError("the compressed response body is truncated")
        body = inflating.unused_data
        if window == _GZIP:
            body = body.lstrip(b"\0")  # padding, as `gzip` itself accepts it
    return b"".join(parts)
