"""The state of a fleet, put together from its parts when somebody asks."""

from __future__ import annotations

from datetime import timedelta

from runai_async._clock import Clock
from runai_async._fleet.buffer import Buffer
from runai_async._fleet.capacity import Capacity
from runai_async._fleet.clusters import FleetClusters
from runai_async._fleet.discovery import Discovery
from runai_async._fleet.dispatch import Dispatcher
from runai_async._fleet.follower import Follower
from runai_async._fleet.health import Health
from runai_async._fleet.members import Members
from runai_async._fleet.membership import Membership
from runai_async._fleet.reading import Contact
from runai_async._fleet.status import FleetStatus
from runai_async._values import frozen
from runai_async.policy import PollPolicy, stale_after


@frozen
class Survey:
    """The parts of a fleet whose state is shown."""

    clock: Clock
    policy: PollPolicy
    discovery: Discovery
    membership: Membership
    members: Members
    dispatcher: Dispatcher
    buffer: Buffer
    capacity: Capacity
    health: Health
    clusters: FleetClusters
    follower: Follower

    def status(self, began: float) -> FleetStatus:
        """Return the state now of a fleet that began to watch at a monotonic time."""
        now, members = self.clock.monotonic(), self.members
        counts = members.counts()
        oldest_at = None
        if counts.oldest_success is not None:
            oldest_at = self.clock.now() - timedelta(seconds=now - counts.oldest_success)
        last = counts.latest_success
        if last is None:
            last = began if members else self.membership.succeeded_at
        is_late = now - last > self.stale_after(self.capacity.shortest)
        hinted, unhinted = self.follower.counts
        return FleetStatus(
            watched=len(members),
            due=self.dispatcher.due(now),
            in_flight=self.dispatcher.in_flight,
            buffered=len(self.buffer),
            lag=self.dispatcher.lag(now),
            oldest_success_at=oldest_at,
            failing=counts.failing,
            without_revisions=counts.without_revisions,
            refused=len(self.health.refusals),
            disconnected=self.clusters.disconnected,
            concurrency_needed=self.capacity.needed,
            discovery_interval=self.membership.interval,
            expected=len(members) + len(self.membership.unclaimed),
            hints=self.follower.state,
            changes_hinted=hinted,
            changes_unhinted=unhinted,
            stale=bool(members or self.discovery.failures) and is_late,
        )

    def contact(self, began: float) -> Contact | None:
        """Return whether the control plane responds to a fleet that began to watch at a monotonic time."""
        now, outage = self.clock.monotonic(), self.health.outage
        patience = self.stale_after(self.capacity.shortest)
        if not self.members:
            if self.membership.interval is None:  # there is nothing to ask for
                return None
            patience = max(patience, self.membership.interval + self.policy.deadline)
        last = outage.last_response_at
        age = now - (began if last is None else last)
        return Contact(age, last is not None, patience, outage.lasting(now))

    def stale_after(self, interval: float) -> float:
        """Return the seconds without a successful poll after which a workload at an interval is late.

        Relaxed ones are polled less often, and a rate limit may not allow the intervals.
        """
        return stale_after(self.policy, max(self.policy.interval, interval) * self.capacity.stretch)
