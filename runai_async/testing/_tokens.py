"""The tokens of the fake control plane: JWTs that expire and can be revoked."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import math
import random
import time
from collections.abc import Callable, Mapping
from typing import Any


def _base64(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def _part(value: Mapping[str, Any]) -> str:
    return _base64(json.dumps(value).encode())


class Tokens:
    """Issues and checks tokens.

    Args:
        lifetime: seconds that a token is valid.
        monotonic: returns the present time in seconds.
    """

    def __init__(
        self, rng: random.Random, lifetime: float, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.lifetime = lifetime
        self.client_id = f"app-{rng.getrandbits(32):08x}"
        self.client_secret = f"{rng.getrandbits(128):032x}"
        self.issued = 0
        self._key = rng.randbytes(32)
        self._monotonic = monotonic
        self._issued_at: dict[str, float] = {}

    def issue(self) -> str:
        """Return a new token."""
        self.issued += 1
        now = time.time()
        expires = int(now + max(1.0, self.lifetime))
        claims = {"sub": self.client_id, "iat": int(now), "exp": expires, "jti": str(self.issued)}
        head = f"{_part({'alg': 'HS256', 'typ': 'JWT'})}.{_part(claims)}"
        token = f"{head}.{_base64(hmac.digest(self._key, head.encode(), hashlib.sha256))}"
        self._issued_at[token] = self._monotonic()
        return token

    def is_valid(self, authorization: str | None) -> bool:
        """Return whether an Authorization header holds a valid token."""
        return self.age(authorization) < self.lifetime

    def age(self, authorization: str | None) -> float:
        """Return the seconds since the token in an Authorization header was issued; infinite for others."""
        kind, _, token = (authorization or "").partition(" ")
        if kind.lower() != "bearer" or token not in self._issued_at:
            return math.inf
        return self._monotonic() - self._issued_at[token]

    def revoke(self) -> None:
        """Revoke every token that was issued."""
        self._issued_at.clear()

    def knows(self, client_id: object, client_secret: object) -> bool:
        """Return whether these are the application's credentials."""
        return client_id == self.client_id and client_secret == self.client_secret
