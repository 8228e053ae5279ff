"""The normal form of texts: ids in one spelling, whatever their case or dashes, and texts in one line."""

from __future__ import annotations

import re
import textwrap

_SHORTEST, _LONGEST = 32, 36
_UUID = re.compile(r"[0-9a-fA-F]{8}(-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}")


def is_uuid(text: str) -> bool:
    """Return whether an id is a UUID, in any case, with or without dashes."""
    return _SHORTEST <= len(text) <= _LONGEST and _UUID.fullmatch(text) is not None


def canonical_id(text: str) -> str:
    """Return an id in lower case and with dashes if it is a UUID, and as it came if it is not."""
    if not is_uuid(text):
        return text
    digits = text.replace("-", "").lower()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def one_line(text: str | None) -> str:
    """Return a text in one line, without characters that a terminal would take for commands."""
    printable = (character if character.isprintable() else " " for character in text or "")
    return " ".join("".join(printable).split())


def beginning(text: str | None, limit: int) -> str:
    """Return the beginning of a text, in one line of at most *limit* characters."""
    line = one_line(text)
    return line if len(line) <= limit else textwrap.shorten(line, limit, placeholder=" ...")
