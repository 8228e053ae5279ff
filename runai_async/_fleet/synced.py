"""When all that a fleet begins with is known. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Callable, Iterable


class FirstSync:
    """Waits until each of the workloads that were there in the beginning is settled, and says so once.

    Args:
        report: called once, when the last of them is settled.
    """

    def __init__(self, report: Callable[[], None]) -> None:
        self._report = report
        self._waiting: set[str] | None = None

    def begin(self, workload_ids: Iterable[str]) -> None:
        """Wait for these workloads."""
        self._waiting = {*workload_ids}
        self._end_if_settled()

    def settle(self, workload_id: str) -> None:
        """Note that nothing is to be waited for where this workload is concerned."""
        if self._waiting is not None and workload_id in self._waiting:
            self._waiting.discard(workload_id)
            self._end_if_settled()

    def _end_if_settled(self) -> None:
        if not self._waiting:
            self._waiting = None
            self._report()
