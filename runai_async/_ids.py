"""The canonical spelling of ids: UUIDs are equal whatever their case or dashes."""

from __future__ import annotations

import re

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
