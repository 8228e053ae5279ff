"""Says that this machine's clock differs from the control plane's, by whose clock ages are written."""

from __future__ import annotations

from runai_async._api.server_time import ServerTime
from runai_async.cli.diagnostics import say
from runai_async.cli.text import duration
from runai_async.hooks import CallFinished, HookEvent

_NOTABLE = 5.0
"""Seconds of difference from which on it is said; a header has whole seconds, and responses take time."""


class SkewWarning:
    """A hook of a client that prints one warning.

    Attributes:
        time: the server's clock, as the client knows it.
    """

    def __init__(self) -> None:
        self.time: ServerTime | None = None
        self._is_said = False

    def __call__(self, event: HookEvent) -> None:
        """Compare the clocks after a call."""
        if self._is_said or self.time is None or not isinstance(event, CallFinished):
            return
        offset = self.time.offset
        if abs(offset) - event.seconds > _NOTABLE:
            self._is_said = True
            side = "ahead of" if offset > 0 else "behind"
            skew = f"{duration(abs(offset))} {side} this machine's"
            say(f"runai-async: warning: the control plane's clock is {skew}; ages are by its clock")
