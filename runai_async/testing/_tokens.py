"""The tokens of the fake control plane: JWTs that expire and can be revoked."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import random
import time
from collections.abc import Mapping
from typing import Any


def _base64(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def _part(value: Mapping[str, Any]) -> str:
    return _base64(json.dumps(value).encode())


class Tokens:
    """Issues and checks tokens.

    Args:
        lifetime: seconds that a token is valid.
    """

    def __init__(self, rng: random.Random, lifetime: float) -> None:
        self.lifetime = lifetime
        self.client_id = f"app-{rng.getrandbits(32):08x}"
        self.client_secret = f"{rng.getrandbits(128):032x}"
        self.issued = 0
        self._key = rng.randbytes(32)
        self._valid_until: dict[str, float] = {}

    def issue(self) -> str:
        """Return a new token."""
        self.issued += 1
        now = time.time()
        expires = int(now + max(1.0, self.lifetime))
        claims = {"sub": self.client_id, "iat": int(now), "exp": expires, "jti": str(self.issued)}
        head = f"{_part({'alg': 'HS256', 'typ': 'JWT'})}.{_part(claims)}"
        token = f"{head}.{_base64(hmac.digest(self._key, head.encode(), hashlib.sha256))}"
        self._valid_until[token] = time.monotonic() + self.lifetime
        return token

    def is_valid(self, authorization: str | None) -> bool:
        """Return whether an Authorization header holds a valid token."""
        kind, _, token = (authorization or "").partition(" ")
        return kind.lower() == "bearer" and self._valid_until.get(token, 0.0) > time.monotonic()

    def revoke(self) -> None:
        """Revoke every token that was issued."""
        self._valid_until.clear()

    def knows(self, client_id: object, client_secret: object) -> bool:
        """Return whether these are the application's credentials."""
        return client_id == self.client_id and client_secret == self.client_secret
