"""The events of a fleet that wait for its consumer."""

from __future__ import annotations

import asyncio
from collections import deque

from runai_async._fleet.member import Member
from runai_async.events import FleetEvent, WorkloadFailed


class Buffer:
    """Keeps the order in which events came; they themselves stay with their tracker, which accounts for them.

    Args:
        size: events from which on it is full. What the polls in flight bring is taken all the same.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._places: deque[Member | tuple[Member, WorkloadFailed]] = deque()
        self._consumer: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        return len(self._places)

    def is_full(self) -> bool:
        """Whether polling has to wait for the consumer."""
        return len(self._places) >= self._size

    @property
    def is_awaited(self) -> bool:
        """Whether a consumer waits for an event."""
        return self._consumer is not None

    def collect(self, member: Member) -> None:
        """Give a place to each event that a workload's tracker has found since."""
        found = member.tracker.pending - member.buffered
        if found:
            member.buffered += found
            self._places.extend([member] * found)
            self.wake()

    def put(self, member: Member, event: WorkloadFailed) -> None:
        """Put an event that is no tracker's behind those that wait."""
        self.collect(member)
        self._places.append((member, event))
        self.wake()

    def take(self) -> FleetEvent | None:
        """Take the next event out, if there is one; those of workloads that were removed are forgotten."""
        while self._places:
            place = self._places.popleft()
            member, failure = place if isinstance(place, tuple) else (place, None)
            if failure is None:
                member.buffered -= 1
            if not member.removed:
                return failure or member.tracker.take()
        return None

    async def wait(self) -> None:
        """Wait until something is put in, or `wake` is called."""
        self._consumer = asyncio.get_running_loop().create_future()
        try:
            await self._consumer
        finally:
            self._consumer = None

    def wake(self) -> None:
        """Let the consumer look again."""
        if self._consumer is not None and not self._consumer.done():
            self._consumer.set_result(None)
