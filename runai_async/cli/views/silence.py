"""How long the control plane has not responded, in words."""

from __future__ import annotations

from runai_async._clock import Clock
from runai_async.cli.text import duration
from runai_async.cli.wording import reason
from runai_async.errors import RunaiError


class Silence:
    """The outage that lasts, if one does.

    Args:
        clock: tells how long it lasts.

    Attributes:
        has_begun: whether the wait has begun, so that the control plane has responded once.
    """

    def __init__(self, clock: Clock) -> None:
        self.has_begun: bool = False
        self._clock = clock
        self._error: RunaiError | None = None
        self._began_at = 0.0

    def began(self, error: RunaiError) -> None:
        """Note what the first request of an outage failed with."""
        self._error, self._began_at = error, self._clock.monotonic()

    def ended(self) -> None:
        """Note that the control plane responds again."""
        self._error = None

    @property
    def lasts(self) -> bool:
        """Whether an outage lasts."""
        return self._error is not None

    def text(self) -> str:
        """Describe the outage that lasts; empty if none does."""
        if self._error is None:
            return "" if self.has_begun else "the control plane has not responded to the first request"
        seconds = self._clock.monotonic() - self._began_at
        return f"the control plane has not responded for {duration(seconds)}: {reason(self._error)}"
