"""The events of a fleet that wait for its consumer."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from runai_async._fleet.member import Member
from runai_async.events import ClusterEvent, FleetEvent, Synced, WorkloadFailed


class Buffer:
    """Keeps the order of events; the events themselves stay with their trackers, which account for them.

    Args:
        size: events with which it is full. What the polls in flight bring is still taken.
        delivered: takes the workload of each event that was taken out.
    """

    def __init__(self, size: int, delivered: Callable[[Member], None]) -> None:
        self._size = size
        self._delivered = delivered
        self._entries: deque[Member | tuple[Member, WorkloadFailed] | ClusterEvent | Synced] = deque()
        self._consumer: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        return len(self._entries)

    def is_full(self) -> bool:
        """Whether polling has to wait for the consumer."""
        return len(self._entries) >= self._size

    @property
    def is_awaited(self) -> bool:
        """Whether a consumer is waiting for an event."""
        return self._consumer is not None

    def collect(self, member: Member) -> None:
        """Add an entry for each event that a workload's tracker has found since."""
        found = member.tracker.pending - member.buffered
        if found:
            member.buffered += found
            self._entries.extend([member] * found)
            self.wake()

    def put(self, member: Member, event: WorkloadFailed) -> None:
        """Add an event that no tracker has behind those that wait."""
        self.collect(member)
        self._entries.append((member, event))
        self.wake()

    def report(self, event: ClusterEvent | Synced) -> None:
        """Add an event that concerns no single workload."""
        self._entries.append(event)
        self.wake()

    def take(self) -> FleetEvent | None:
        """Take the next event out, if there is one; those of removed workloads are skipped."""
        event = self.peek()
        if event is not None:
            member = self._drop()
            if member is not None:
                member.tracker.take()
                self._delivered(member)
        return event

    def peek(self) -> FleetEvent | None:
        """Return the next event, if there is one, and leave it where it is."""
        while self._entries:
            entry = self._entries[0]
            if isinstance(entry, ClusterEvent | Synced):
                return entry
            member, failure = entry if isinstance(entry, tuple) else (entry, None)
            if not member.removed:
                return failure or member.tracker.peek()
            self._drop()
        return None

    def _drop(self) -> Member | None:
        """Drop the first entry; return the workload whose tracker has its event, if one has it."""
        entry = self._entries.popleft()
        if not isinstance(entry, Member):
            return None
        entry.buffered -= 1
        return entry

    async def wait(self) -> None:
        """Wait until an event is added or `wake` is called."""
        self._consumer = asyncio.get_running_loop().create_future()
        try:
            await self._consumer
        finally:
            self._consumer = None

    def wake(self) -> None:
        """Wake the waiting consumer."""
        if self._consumer is not None and not self._consumer.done():
            self._consumer.set_result(None)
