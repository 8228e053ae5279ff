"""What a token says about itself, if it is a JWT. Its signature is not verified: that is for the server."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

_BASE64 = re.compile(r"[A-Za-z0-9_-]+={0,2}")


def lifetime(token: str, now: float) -> float | None:
    """Return the seconds for which a token is valid from its issue on; None if it does not say.

    Args:
        token: a JWT, or an opaque token.
        now: seconds since 1970, for a token that does not say when it was issued.
    """
    # From `iat` if it exists: the difference does not depend on this machine's clock being right.
    expires, issued = _times(token, now)
    seconds = expires - issued
    return seconds if 0 < seconds < float("inf") else None


def has_expired(token: str, now: float) -> bool:
    """Return whether a token says that it is no longer valid.

    Args:
        token: a JWT, or an opaque token.
        now: seconds since 1970.
    """
    return _times(token, now)[0] <= now


def _times(token: str, now: float) -> tuple[float, float]:
    """Return when a token expires and when it was issued; for ever and now if it does not say."""
    try:
        part = token.split(".")[1]
        if not _BASE64.fullmatch(part):  # which a decoder may skip, with a warning
            return float("inf"), now
        claims: Any = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        return float(claims["exp"]), float(claims["iat"]) if "iat" in claims else now
    except (IndexError, KeyError, TypeError, ValueError, RecursionError, OverflowError):
        return float("inf"), now
