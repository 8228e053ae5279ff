"""The state of a fleet, put together from its parts when somebody asks."""

from __future__ import annotations

from datetime import timedelta

from attrs import frozen

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
from runai_async._fleet.status import FleetStatus
from runai_async._watch.status import PollState
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
        successes = [member.last_success_at for member in members if member.last_success_at is not None]
        oldest_at = None
        if successes and len(successes) == sum(not member.without_revisions for member in members):
            oldest_at = self.clock.now() - timedelta(seconds=now - min(successes))
        last = max(successes, default=began if members else self.membership.succeeded_at)
        is_late = now - last > self._patience(max((member.interval for member in members), default=0.0))
        hinted, unhinted = self.follower.counts
        return FleetStatus(
            watched=len(members),
            due=self.dispatcher.due(now),
            in_flight=self.dispatcher.in_flight,
            buffered=len(self.buffer),
            lag=self.dispatcher.lag(now),
            oldest_success_at=oldest_at,
            failing=sum(member.is_failing and not member.without_revisions for member in members),
            without_revisions=sum(member.without_revisions for member in members),
            refused=len(self.health.refusals),
            disconnected=self.clusters.disconnected,
            concurrency_needed=self.capacity.needed,
            discovery_interval=self.membership.interval,
            expected=len(members.ids | self.membership.unclaimed.keys()),
            hints=self.follower.state,
            changes_hinted=hinted,
            changes_unhinted=unhinted,
            stale=bool(members or self.discovery.failures) and is_late,
        )

    def polls(self) -> list[PollState]:
        """Return how the polls of each workload go."""
        now, wall = self.clock.monotonic(), self.clock.now()
        return [member.polls(now, wall, self._patience(member.interval)) for member in self.members]

    def _patience(self, interval: float) -> float:
        """Return the seconds without a successful poll after which a workload at an interval is stale."""
        return stale_after(self.policy, max(self.policy.interval, interval))
