"""What was delivered of each workload, ready to be saved. No I/O, no clock.

To make the checkpoints of thousands of workloads when somebody asks would stop the event loop. So that of a
workload is made when it has changed, as soon as no event of it waits for the consumer. While some wait it
changes with each, so it is made when somebody asks; that is no more than the buffer has room for.
"""

from __future__ import annotations

from runai_async._fleet.member import Member
from runai_async.checkpoint import Checkpoint


class Delivered:
    """Keeps the checkpoints of the workloads that are watched, and knows which have changed."""

    def __init__(self) -> None:
        self._kept: dict[str, Checkpoint] = {}
        self._outdated: dict[str, Member] = {}
        self._changed: set[str] | None = None  # since `take_changed`; None before its first call

    def note(self, member: Member) -> None:
        """Note that the checkpoint of a workload may have changed: it joined, was polled, or yielded."""
        workload_id = member.tracker.workload_id
        if not member.is_watched:
            self.touch(workload_id)
        elif member.tracker.pending:
            self._outdated[workload_id] = member
        else:
            self._outdated.pop(workload_id, None)
            self._renew(workload_id, member)

    def forget(self, workload_id: str) -> None:
        """Note that a workload is no longer watched."""
        self._kept.pop(workload_id, None)
        self._outdated.pop(workload_id, None)
        self.touch(workload_id)

    def touch(self, workload_id: str) -> None:
        """Note that what is to be saved of a workload has changed, though its checkpoint is not kept here."""
        if self._changed is not None:
            self._changed.add(workload_id)

    def of(self, member: Member) -> Checkpoint:
        """Return the checkpoint of a workload that is watched."""
        workload_id = member.tracker.workload_id
        if self._outdated.pop(workload_id, None) is not None:
            self._renew(workload_id, member)
        return self._kept[workload_id]

    def all(self) -> dict[str, Checkpoint]:
        """Return the checkpoints of all workloads that are watched."""
        self._renew_outdated()
        return self._kept.copy()

    def take_changed(self) -> set[str] | None:
        """Return the workloads whose checkpoints have changed since the last call; None at the first one."""
        self._renew_outdated()
        changed, self._changed = self._changed, set()
        return changed

    def _renew_outdated(self) -> None:
        for workload_id, member in self._outdated.items():
            self._renew(workload_id, member)
        self._outdated.clear()

    def _renew(self, workload_id: str, member: Member) -> None:
        checkpoint = member.checkpoint()
        if self._kept.get(workload_id) != checkpoint:
            self._kept[workload_id] = checkpoint
            self.touch(workload_id)
