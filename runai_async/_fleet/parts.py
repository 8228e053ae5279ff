"""The parts of a fleet, put together: who is watched, when each is polled, and what comes of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from runai_async._api.api import Api
from runai_async._fleet.buffer import Buffer
from runai_async._fleet.capacity import Capacity
from runai_async._fleet.clusters import FleetClusters
from runai_async._fleet.delivered import Delivered
from runai_async._fleet.discovery import Discovery
from runai_async._fleet.dispatch import Dispatcher
from runai_async._fleet.follower import Follower
from runai_async._fleet.health import Health
from runai_async._fleet.hinted import HintedPolls
from runai_async._fleet.hints import Hints
from runai_async._fleet.member import Member
from runai_async._fleet.members import Members
from runai_async._fleet.membership import Membership
from runai_async._fleet.polling import Polling
from runai_async._fleet.survey import Survey
from runai_async._fleet.tasks import Tasks
from runai_async._watch.cluster_watch import ClusterFeed, ClusterWatch
from runai_async._watch.poll import Poller
from runai_async.errors import RunaiError
from runai_async.policy import PollPolicy


class Limits(NamedTuple):
    """What a fleet may ask for at most.

    Attributes:
        max_concurrency: polls in flight.
        rate_limit: requests a second; None for no limit.
        buffer: events that wait for the consumer.
        relaxed_interval: seconds between the polls of a workload for which no hint asks; None for the usual
            ones.
    """

    max_concurrency: int
    rate_limit: float | None
    buffer: int
    relaxed_interval: float | None


class Parts:
    """What a fleet consists of.

    Args:
        api: the control plane.
        policy: how often to poll, and how patient to be.
        limits: what it may ask for.
        discovery: what is listed.
        membership: lists it.
        tasks: what all of it runs in.
        clusters: knows the clusters of the client.
        fill_gaps: read histories for the phases between two polls.
        settled: takes the id of a workload whose poll succeeded, or is no reason to wait for one that does.
        end: takes the error that ends the fleet.
    """

    def __init__(
        self,
        api: Api,
        policy: PollPolicy,
        limits: Limits,
        *,
        discovery: Discovery,
        membership: Membership,
        tasks: Tasks,
        clusters: ClusterWatch,
        fill_gaps: bool,
        settled: Callable[[str], None],
        end: Callable[[RunaiError], None],
    ) -> None:
        relaxed = None if limits.relaxed_interval == policy.interval else limits.relaxed_interval
        hints = None if discovery.query is None else Hints(relaxes=relaxed is not None)
        self._usual, self._relaxed = policy.interval, relaxed or policy.interval
        self.delivered = Delivered()
        self.buffer = Buffer(limits.buffer, self.delivered.note)
        self.capacity = Capacity(limits.max_concurrency, limits.rate_limit)
        self.dispatcher = Dispatcher(
            self._poll,
            self.buffer.is_full,
            tasks,
            api.clock,
            max_concurrency=limits.max_concurrency,
            rate_limit=limits.rate_limit,
            hinted=None if hints is None else HintedPolls(self._healthy_rate),
        )
        self.health = Health(self.dispatcher, self.capacity, policy, api.clock)
        self.members = Members(discovery, self.health, self.capacity, self.delivered, hints)
        self.poller = Poller(api, policy, fill_gaps=fill_gaps, pace=self.dispatcher.pace)
        self.follower = Follower(
            policy,
            relaxed,
            hints,
            discovery=discovery,
            members=self.members,
            dispatcher=self.dispatcher,
            clock=api.clock,
        )
        self.polling = Polling(
            self.poller,
            policy,
            api.clock,
            members=self.members,
            discovery=discovery,
            health=self.health,
            dispatcher=self.dispatcher,
            buffer=self.buffer,
            follower=self.follower,
            delivered=self.delivered,
            settled=settled,
            end=end,
        )
        self.clusters = FleetClusters(ClusterFeed(clusters), api.clock, policy.deadline, self.dispatcher.pace)
        self.survey = Survey(
            api.clock,
            policy,
            discovery,
            membership,
            self.members,
            self.dispatcher,
            self.buffer,
            self.capacity,
            self.health,
            self.clusters,
            self.follower,
        )

    def _poll(self, member: Member) -> Awaitable[None]:
        return self.polling.poll(member)

    def _healthy_rate(self) -> float:
        """Return the polls a second that there would be if nobody were relaxed."""
        return self.capacity.rate_without(self._relaxed, self._usual)
