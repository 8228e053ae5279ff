"""Which services of the control plane are restarting. No HTTP."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

Service = Literal["identity", "authorization", "read_model"]


class Outages:
    """The services that are restarting, each until its own time.

    Args:
        monotonic: returns the present time in seconds.

    Attributes:
        least_token_age: seconds that a token must be old to be accepted; 0 accepts all.
        lacks_revisions: whether the read model, while it restarts, does not find what it lacks (a 404); else
            its lists are empty.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.least_token_age: float = 0.0
        self.lacks_revisions: bool = False
        self._monotonic = monotonic
        self._until: dict[Service, float] = {}

    def restart(self, service: Service, seconds: float) -> None:
        """Let a service be away for that long from now on; 0 ends its restart."""
        self._until[service] = self._monotonic() + _checked(seconds)

    def refuse_young_tokens(self, seconds: float) -> None:
        """Refuse tokens that are younger than that from now on; 0 accepts all again."""
        self.least_token_age = _checked(seconds)

    def is_away(self, service: Service) -> bool:
        """Return whether a service is restarting."""
        return self._until.get(service, float("-inf")) > self._monotonic()


def _checked(seconds: float) -> float:
    if not seconds >= 0:
        raise ValueError(f"seconds must be 0 or more, not {seconds!r}")
    return seconds
