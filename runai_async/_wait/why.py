"""Asks why a revision does not serve."""

from __future__ import annotations

import math
from typing import TypeVar

from attrs import evolve

from runai_async import _codec
from runai_async._api.api import Api
from runai_async._api.endpoints import Call
from runai_async._api.paging import LeftOut, paged
from runai_async._api.retry import Retrying
from runai_async._observe.log import logger
from runai_async._watch.cluster_watch import ClusterWatch
from runai_async.errors import RunaiError
from runai_async.explanation import Explanation, explanation_of
from runai_async.models import Revision

T = TypeVar("T")
_EVENTS = 100
"""The newest events, which are enough to tell a cause."""
_CLUSTER_PATIENCE = 2.0
"""Seconds that the state of a cluster is waited for, at most."""


class Inquiry:
    """Reads what there is to say about a revision: its events, its pods, whether its cluster is connected.

    One request after the other, so that there is no task to be left behind.

    Args:
        api: the control plane.
        clusters: what is known of clusters.
        retrying: runs the calls.
        tolerates: what a request may raise so that its part is left out.
    """

    def __init__(
        self,
        api: Api,
        clusters: ClusterWatch,
        retrying: Retrying,
        *tolerates: type[RunaiError],
    ) -> None:
        self._api = api
        self._clusters = clusters
        self._retrying = retrying
        self._tolerates = tolerates

    async def explain(self, revision: Revision, seconds: float = math.inf) -> Explanation:
        """Return what there is to say about a revision.

        Args:
            revision: as last seen.
            seconds: how long it may take; half of that for the events, so that the rest has its turn.

        Raises:
            RunaiError: a request failed with what is not tolerated.
        """
        clock, endpoints, unread = self._api.clock, self._api.endpoints, list[str]()
        began = clock.monotonic()
        events = endpoints.revision_events(revision.id, 0, _EVENTS)
        known = await self._items("events", events, began + seconds / 2, unread)
        pods = await self._items("pods", endpoints.revision_pods(revision.id), began + seconds, unread)
        left = min(_CLUSTER_PATIENCE, began + seconds - clock.monotonic())
        note = await self._clusters.note(revision.cluster_id, left) if left > 0 else ""
        lost = note.removeprefix("; ") or None
        return explanation_of(revision, known, pods, lost_cluster=lost, unread=unread)

    async def _items(
        self, what: str, call: Call[_codec.Page[T]], deadline: float, unread: list[str]
    ) -> list[T]:
        """Return the items of one page; none, and a note in *unread*, where a failure is tolerated."""

        async def page(_: int) -> _codec.Page[T]:
            return evolve(await self._retrying.call(call, deadline=deadline), next_offset=None)

        try:
            return [item async for item in paged(page, LeftOut(call.operation))]
        except self._tolerates as error:
            unread.append(what)
            logger.debug("the %s of a revision cannot be read: %s", what, error)
            return []
