"""Unpacks the bodies of answers, within a bound: a few kilobytes can stand for gigabytes."""

from __future__ import annotations

import zlib

from runai_async.errors import TransportError

ACCEPTED = "gzip, deflate"
"""What is said to servers in Accept-Encoding."""
_MOST_PARTS = 16
"""Servers make one. What follows a part is copied for the next: thousands would block the event loop."""
_GZIP, _RAW = 16 + zlib.MAX_WBITS, -zlib.MAX_WBITS


def unpacked(body: bytes, encoding: str, limit: int) -> bytes:
    """Return a body as it was before it was packed; with an *encoding* not asked for, as it is.

    Args:
        body: what came.
        encoding: the answer's Content-Encoding.
        limit: bytes; the most that it may unpack to.

    Raises:
        TransportError: it is cut off, not packed in that way, packed in very many parts, or unpacks to more.
    """
    kind = encoding.strip().lower()
    if kind not in {"gzip", "x-gzip", "deflate"}:
        return body
    try:
        return _inflated(body, _window(kind, body), limit)
    except zlib.error as error:
        raise TransportError(f"the answer's body is said to be {kind}, and is not or is broken") from error


def _window(kind: str, body: bytes) -> int:
    if kind != "deflate":
        return _GZIP
    # By RFC 9110 it has zlib's two bytes in front; some servers leave them out.
    is_zlib = body[:1] == b"\x78" and int.from_bytes(body[:2]) % 31 == 0
    return zlib.MAX_WBITS if is_zlib else _RAW


def _inflated(body: bytes, window: int, limit: int) -> bytes:
    parts, room = list[bytes](), limit
    while body:  # gzip may consist of several members
        if len(parts) == _MOST_PARTS:
            raise TransportError(
                f"the answer's body is packed in more than {_MOST_PARTS} parts", transient=False
            )
        unpacker = zlib.decompressobj(window)
        parts.append(unpacker.decompress(body, room + 1))
        room -= len(parts[-1])
        if room < 0:
            raise TransportError(
                f"the answer's body is longer than {limit} bytes (max_body) when unpacked", transient=False
            )
        if not unpacker.eof:
            raise TransportError("the answer's body is packed, and cut off")
        body = unpacker.unused_data
    return b"".join(parts)
