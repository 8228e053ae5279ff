"""When a whole fleet pauses: several workloads were asked to come back later. No I/O, no clock."""

from __future__ import annotations

_WORKLOADS = 3
"""Different workloads, without a success in between: fewer may have a reason of their own."""


class Pauses:
    """The workloads for which the control plane was too busy (429) since the last successful poll."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}
        self.is_reported: bool = False

    def record(self, workload_id: str, until: float) -> float | None:
        """Record when a workload may be polled again; return when the whole fleet may, if it pauses."""
        self._until[workload_id] = until
        return max(self._until.values()) if len(self._until) >= _WORKLOADS else None

    def forget(self, workload_id: str) -> None:
        """Forget a workload that is no longer watched."""
        self._until.pop(workload_id, None)

    def clear(self) -> None:
        """Record a successful poll."""
        if self._until:
            self._until.clear()
            self.is_reported = False
