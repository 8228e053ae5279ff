"""The clusters of a fleet's workloads: asked for between its polls, in a task of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping

from runai_async._clock import Clock
from runai_async._watch.cluster_watch import ClusterFeed
from runai_async._watch.clusters import Link
from runai_async.events import ClusterEvent

_FIRST, _EVERY = 1.0, 5.0
"""Seconds before the first look at which clusters there are, and between two. Each is asked once a minute."""


class FleetClusters:
    """Reports the clusters of a fleet that lose their connection, and those that are back.

    Args:
        feed: what is known of them.
        clock: the client's clock.
        patience: seconds for one request.
        pace: awaited before requests; waits for their turn if the rate is limited.
    """

    def __init__(
        self, feed: ClusterFeed, clock: Clock, patience: float, pace: Callable[[], Awaitable[None]]
    ) -> None:
        self._feed = feed
        self._pace = pace
        self._clock = clock
        self._patience = patience

    @property
    def disconnected(self) -> int:
        """How many clusters were reported as disconnected and are not back."""
        return len(self._feed.disconnected)

    @property
    def links(self) -> Mapping[str, Link]:
        """What is known of each cluster, by its id."""
        return self._feed.links

    async def run(
        self, cluster_ids: Callable[[], Iterable[str]], report: Callable[[ClusterEvent], None]
    ) -> None:
        """Ask and report until this is cancelled.

        Args:
            cluster_ids: returns the clusters of the workloads that are watched now.
            report: called with each event.
        """
        pause = _FIRST
        while True:
            await self._clock.sleep(pause)
            self._report(cluster_ids, report)
            if self._feed.is_due:
                await self._pace()
                await self._feed.ask(until=self._clock.monotonic() + self._patience)
                self._report(cluster_ids, report)
            pause = _EVERY

    def _report(
        self, cluster_ids: Callable[[], Iterable[str]], report: Callable[[ClusterEvent], None]
    ) -> None:
        for event in self._feed.changes(cluster_ids(), self._clock.now()):
            report(event)
