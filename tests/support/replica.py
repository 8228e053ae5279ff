"""A replica of the control plane that is behind: now and then it serves an older list of live revisions."""

import json
import time
from collections import defaultdict, deque
from collections.abc import Mapping
from random import Random
from uuid import UUID

from attrs import frozen

Phases = Mapping[str, tuple[str, str | None]]
"""The phase and `phaseUpdatedAt` of each revision, by its id."""
_WHERE_GONE = 0.5
"""The part of the lists that it serves while it could show what is gone: that is rare, and what it is for."""


@frozen
class Listed:
    """A list of live revisions, and when it was received."""

    at: float
    body: bytes
    phases: Phases


class StaleReplica:
    """Keeps the lists of some workloads, and serves one of them again: rather one that shows what is gone.

    Attributes:
        shown: how often it showed a revision that the present list lacks.
    """

    def __init__(self, random: Random, *, seconds: float, rate: float) -> None:
        self.shown = 0
        self._random = random
        self._seconds = seconds
        self._rate = rate
        self._lists: dict[str, deque[Listed]] = defaultdict(deque)

    def respond(self, workload_id: str, body: bytes) -> Listed | None:
        """Return the list to be served instead of the present one, if it is the replica that responds."""
        now = time.monotonic()
        phases = phases_in(body)
        if phases is None:
            return None
        lists = self._lists[workload_id]
        while lists and lists[0].at < now - self._seconds:
            lists.popleft()
        gone = [listed for listed in lists if listed.phases.keys() - phases.keys()]
        rate = max(_WHERE_GONE, self._rate) if gone else self._rate
        older = self._random.choice(gone or lists) if lists and self._random.random() < rate else None
        lists.append(Listed(now, body, phases))
        self.shown += bool(gone and older)
        return older


def phases_in(body: bytes) -> Phases | None:
    """Return the phases in a list of revisions; None if it is not one, or not all of it can be read."""
    try:
        items = json.loads(body)["revisions"]
        phases = {str(UUID(item["id"])): (item["phase"], item.get("phaseUpdatedAt")) for item in items}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    return phases if all(isinstance(phase, str) for phase, _ in phases.values()) else None
