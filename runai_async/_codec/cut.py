"""Cuts JSON at its commas in spite of parts that no parser accepts, so that one part hides no other.

Only strings and brackets are looked at. `NaN`, raw control characters, invalid escapes and nesting of any
depth pass; a bracket or quote without its counterpart, as in a truncated body, does not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

import msgspec

_STRING = rb'"(?:[^"\\]++|\\.)*+"'
_TOKEN = re.compile(_STRING + rb'|["\[\]{},]', re.DOTALL)
_MEMBER = re.compile(rb"\s*(" + _STRING + rb")\s*:(.*)", re.DOTALL)
_ESCAPE = re.compile(
    rb"(\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})"  # a pair of surrogates
    rb"|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})"  # half of one
    rb"|\\.",
    re.DOTALL,
)
_END_OF_PART = re.compile(rb"[ \t\r\n]*[,\]}]")
_BLANK = b" \t\r\n"
_CLOSING = {ord("{"): ord("}"), ord("["): ord("]")}


def members(text: bytes) -> dict[str, bytes]:
    """Return the members of an object, their values as they stand there.

    Raises:
        ValueError: *text* is not an object.
    """
    found: dict[str, bytes] = {}
    for part in _parts(text, b"{"):
        member = _MEMBER.fullmatch(part)
        if member is None:
            raise ValueError("not a member of an object")
        found[msgspec.json.decode(member[1], type=str)] = member[2].strip(_BLANK)
    return found


def elements(text: bytes) -> list[bytes]:
    """Return the elements of an array as they stand there.

    Raises:
        ValueError: *text* is not an array.
    """
    return [part.strip(_BLANK) for part in _parts(text, b"[")]


def _parts(text: bytes, opening: bytes) -> list[bytes]:
    """Return what is between the outermost brackets, cut at the commas of that level."""
    text = text.strip(_BLANK)
    cuts = [0, *_own_commas(text), len(text) - 1]
    if text[:1] != opening:
        raise ValueError("another type")
    parts = [text[before + 1 : after] for before, after in pairwise(cuts)]
    if len(parts) == 1 and not parts[0].strip(_BLANK):
        return []
    if not all(part.strip(_BLANK) for part in parts):
        raise ValueError("nothing between two commas")
    return parts


def _own_commas(text: bytes) -> Iterator[int]:
    """Yield the offsets of the commas inside the outermost brackets only."""
    expected = bytearray()
    for token in _TOKEN.finditer(text):
        at = token.start()
        byte = text[at]
        if byte in _CLOSING:
            expected.append(_CLOSING[byte])
        elif byte == ord(","):
            if len(expected) == 1:
                yield at
        elif byte != ord('"'):
            if not expected or byte != expected.pop():
                raise ValueError("a bracket that closes nothing")
            if not expected and at == len(text) - 1:
                return
            if len(expected) == 1 and not _END_OF_PART.match(text, at + 1):
                raise ValueError("no comma between two parts")
        elif token.end() == at + 1:
            raise ValueError("a string without an end")
    raise ValueError("a bracket that is not closed, or text behind it")


def without_lone_surrogates(text: bytes) -> bytes:
    r"""Replace each half of a surrogate pair (`\ud83d` alone), which no UTF-8 text can hold, with U+FFFD."""
    if b"\\u" not in text:
        return text
    return _ESCAPE.sub(lambda escape: rb"\ufffd" if escape[2] else escape[0], text)
