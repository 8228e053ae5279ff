"""Asks for the clusters of what is watched, on behalf of all watches and fleets of one client.

Asking is never in the way of a poll: `ClusterWatch.ask` runs between two polls, in the task of whoever awaits
it, and ends when the next poll is due. So there is no task to be left behind. A cancelled request counts as
made, since the server may have had it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from runai_async._api.api import Api
from runai_async._api.statuses import is_from_api
from runai_async._observe.log import logger
from runai_async._text import canonical_id
from runai_async._watch.clusters import (
    FIRST_TURN,
    UNKNOWN,
    ClusterReports,
    Link,
    Turn,
    describe_loss,
    due_first,
    judged,
)
from runai_async.errors import ApiError, NotFoundError, PermissionDeniedError, RunaiError
from runai_async.events import ClusterEvent


class ClusterWatch:
    """What one client knows of clusters: each is asked for once a minute, however many watches need it."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._turns: dict[str, Turn] = {}
        self._links: dict[str, Link] = {}

    @property
    def ahead(self) -> float:
        """Seconds by which the server's clock is ahead of the client's."""
        return self._api.server_time.offset

    def link(self, cluster_id: str) -> Link:
        """Return what is known of a cluster."""
        return self._links.get(canonical_id(cluster_id), UNKNOWN)

    async def note(self, cluster_id: str, seconds: float) -> str:
        """Return the end of a message: that the cluster is disconnected, if it is.

        Args:
            cluster_id: the cluster.
            seconds: how long to wait for its state, if it is time to ask.
        """
        key, until = canonical_id(cluster_id), self._api.clock.monotonic() + seconds
        await self.ask([key], until=until)
        if self.link(key) is UNKNOWN and self._turns[key].refusals == 1:
            await self._ask(key, until)  # in the other form at once: there is no later
        link = self.link(key)
        if link.is_connected is not False and not link.doubts:
            return ""
        loss = describe_loss(link.last_seen_at, self._api.server_time.now())
        return f"; cluster {link.name} {loss}"

    def is_due(self, cluster_ids: Iterable[str]) -> bool:
        """Return whether `ask` would send a request."""
        return bool(self._due(cluster_ids))

    def _due(self, cluster_ids: Iterable[str]) -> list[str]:
        ids = {canonical_id(cluster_id) for cluster_id in cluster_ids}
        return due_first(self._turns, ids, self._api.clock.monotonic())

    async def ask(self, cluster_ids: Iterable[str], *, until: float) -> None:
        """Ask for those clusters whose turn it is, one after the other. No failure is raised.

        Args:
            cluster_ids: the clusters of the revisions that are watched.
            until: monotonic time at which the next poll is due; it cuts the request in flight.
        """
        for cluster_id in self._due(cluster_ids):
            now, turn = self._api.clock.monotonic(), self._turns.get(cluster_id, FIRST_TURN)
            if now >= until:
                return
            if turn.due <= now:  # no other watch has begun to ask meanwhile
                self._turns[cluster_id] = turn.begun(now)
                await self._ask(cluster_id, until)

    async def _ask(self, cluster_id: str, until: float) -> None:
        turn = self._turns[cluster_id]
        call = self._api.endpoints.get_cluster(cluster_id, minimal=turn.minimal)
        try:
            cluster = await self._api.retrying.once().call(call, deadline=until)
        except RunaiError as error:
            self._turns[cluster_id] = _after(turn, error, self._api.clock.monotonic())
            logger.debug("cluster %s: its state is not known: %s", cluster_id, error)
        else:
            self._turns[cluster_id] = turn.succeeded()
            now = self._api.server_time.now()
            self._links[cluster_id] = judged(self.link(cluster_id), cluster, now)


def _after(turn: Turn, error: RunaiError, now: float) -> Turn:
    """Return the turn after a failure."""
    match error:
        case NotFoundError() | PermissionDeniedError():
            return turn.refused(now, by_api=is_from_api(error))
        case ApiError(retry_after=float(seconds)):
            return turn.postponed(now, seconds)
        case _:
            return turn


class ClusterFeed:
    """The events about clusters of one watch or fleet.

    Call `changes` after each successful poll, and await `ask` while nothing else is to do.

    Args:
        clusters: the client's.
    """

    def __init__(self, clusters: ClusterWatch) -> None:
        self._clusters = clusters
        self._reports = ClusterReports()
        self._ids: frozenset[str] = frozenset()

    @property
    def disconnected(self) -> frozenset[str]:
        """The ids of the clusters that were reported as disconnected."""
        return self._reports.disconnected

    @property
    def links(self) -> dict[str, Link]:
        """What is known of each cluster of the revisions that are watched."""
        return {key: self._clusters.link(key) for key in self._ids}

    @property
    def is_due(self) -> bool:
        """Whether `ask` would send a request."""
        return self._clusters.is_due(self._ids)

    def changes(self, cluster_ids: Iterable[str], now: datetime) -> list[ClusterEvent]:
        """Return what is new about the clusters of the revisions that are watched now. Never waits.

        Args:
            cluster_ids: of all these revisions.
            now: the present time by the client's clock.
        """
        self._ids = frozenset(canonical_id(cluster_id) for cluster_id in cluster_ids if cluster_id)
        return self._reports.changes(self.links, now, ahead=self._clusters.ahead)

    async def ask(self, *, until: float) -> None:
        """Ask for those of the clusters whose turn it is; see `ClusterWatch.ask`."""
        await self._clusters.ask(self._ids, until=until)
