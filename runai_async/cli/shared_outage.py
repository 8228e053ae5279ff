"""Whether the polls of all workloads fail, one after another: then that is said once, not of each. No I/O."""

from __future__ import annotations

from datetime import datetime

from runai_async.cli.wording import REFUSALS
from runai_async.hooks import PollFinished

_MANY = 10
"""Workloads whose polls fail in a row, without a response in between, that stand for all."""


class SharedOutage:
    """The workloads whose polls have failed since the last response.

    Attributes:
        since: when the first of these polls failed; None while there is none.
    """

    def __init__(self) -> None:
        self.since: datetime | None = None
        self._silent: set[str] = set()

    def note(self, event: PollFinished, now: datetime) -> None:
        """Take in how a poll ended; a refusal is a response."""
        if event.error is None or event.error in REFUSALS:
            self.since = None
            self._silent.clear()
            return
        if not self._silent:
            self.since = now
        self._silent.add(event.workload_id)

    def is_silent(self, workload_id: str) -> bool:
        """Return whether polls of a workload have failed since the last response to any."""
        return workload_id in self._silent

    def lasts(self, watched: int) -> bool:
        """Return whether these are all workloads that are watched, or enough to stand for them."""
        return len(self._silent) >= max(1, min(watched, _MANY))
