"""A list response that is kept, packed. No I/O, no clock.

A fleet keeps the last response of each of thousands of workloads, and nearly every poll finds it unchanged.
To find that out takes no unpacking: hashes are compared. And since the workloads of an organization resemble
each other, the beginning of the first response serves as the dictionary of all. Packed by itself, each would
take two to four times the memory, and longer.
"""

from __future__ import annotations

import zlib

_LEVEL = 1
"""The quickest; higher levels take twice as long, for a tenth less memory."""
_DICTIONARY_SIZES = range(1024, 4096)
"""Bytes: from one revision to a few. A longer one saves no more, and takes longer to prepare each time."""
_RAW = -zlib.MAX_WBITS
"""Without zlib's header and checksum."""
_dictionary = b""


class PackedBody:
    """The body of a response, packed."""

    __slots__ = ("_dictionary", "_hash", "_packed")

    def __init__(self, body: bytes) -> None:
        # Python's own hash is 64 bits of SipHash with a random key: one change in 10 to the 19th goes unseen.
        # A cryptographic digest would take three to ten times as long, in each poll.
        self._hash = hash(body)
        self._dictionary = _dictionary_for(body)
        packing = zlib.compressobj(_LEVEL, wbits=_RAW, zdict=self._dictionary)
        self._packed = packing.compress(body) + packing.flush()

    def equals(self, body: bytes) -> bool:
        """Return whether this is the same body."""
        return hash(body) == self._hash

    def unpacked(self) -> bytes:
        """Return the body."""
        return zlib.decompressobj(_RAW, self._dictionary).decompress(self._packed)


KeptBody = bytes | PackedBody


def unpacked(body: KeptBody) -> bytes:
    """Return a body that may be packed."""
    return body.unpacked() if isinstance(body, PackedBody) else body


def _dictionary_for(body: bytes) -> bytes:
    """Return what bodies are packed with; the first one that is long enough provides it."""
    global _dictionary  # noqa: PLW0603  (a body keeps the one that it was packed with)
    if not _dictionary and len(body) >= _DICTIONARY_SIZES.start:
        _dictionary = body[: _DICTIONARY_SIZES.stop]
    return _dictionary
