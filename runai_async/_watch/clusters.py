"""Whether clusters are connected, and who was informed of it. No I/O, no clock.

A cluster that has lost its control plane leaves every phase as it last was, and polls still succeed. So its
own state is asked for. `judged` turns responses into a `Link`; `ClusterReports` turns the links of one watch
or fleet into its events; `Turn` says when a cluster may be asked for, and in which form.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from runai_async.events import ClusterConnected, ClusterDisconnected, ClusterEvent
from runai_async.models import Cluster, ClusterState

_SILENCE = timedelta(minutes=5)
"""If a cluster was last heard longer ago, one response that calls it disconnected suffices."""
_ENOUGH = 2
"""Responses in a row that call a cluster disconnected. One alone may be a restart of its agent."""
_CONNECTED = frozenset(
    {ClusterState.CONNECTED, ClusterState.SERVICE_ISSUES, ClusterState.MISSING_PREREQUISITES}
)

# --- what responses say -----------------------------------------------------------------------------------


class Link(NamedTuple):
    """What is known of a cluster's connection.

    Attributes:
        is_connected: None until that is known.
        name: of the cluster.
        last_seen_at: when it was last heard: by the last response, or by the one that found it disconnected.
        doubts: responses in a row that call it disconnected, while that is not believed yet.
    """

    is_connected: bool | None = None
    name: str = ""
    last_seen_at: datetime | None = None
    doubts: int = 0


UNKNOWN = Link()


def judged(link: Link, cluster: Cluster, now: datetime) -> Link:
    """Return what is known after a response.

    Args:
        link: what was known before.
        cluster: the response.
        now: the present time by the server's clock.
    """
    if cluster.state in _CONNECTED:
        return Link(is_connected=True, name=cluster.name, last_seen_at=cluster.last_seen_at)
    if cluster.state != ClusterState.DISCONNECTED or link.is_connected is False:
        return link
    seen, doubts = cluster.last_seen_at, link.doubts + 1
    if doubts >= _ENOUGH or (seen is not None and now - seen > _SILENCE):
        return Link(is_connected=False, name=cluster.name, last_seen_at=seen)
    return link._replace(name=cluster.name, last_seen_at=seen, doubts=doubts)


def describe_loss(last_seen_at: datetime | None, now: datetime) -> str:
    """Describe, behind a cluster's name, that it is disconnected, and what that means.

    Args:
        last_seen_at: when it was last heard; None if that is not known.
        now: the present time by the server's clock.
    """
    ago = "" if last_seen_at is None else f" {_length(now - last_seen_at)} ago"
    return f"lost its connection{ago}: states may be out of date"


def _length(time: timedelta) -> str:
    seconds = max(0.0, time.total_seconds())
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size:.0f}{unit}"
    return f"{seconds:.0f}s"


# --- who was informed of it -------------------------------------------------------------------------------


class ClusterReports:
    """The clusters that one watch or fleet has reported as disconnected."""

    def __init__(self) -> None:
        self._reported: dict[str, Link] = {}
        self._present: frozenset[str] = frozenset()

    @property
    def disconnected(self) -> frozenset[str]:
        """The ids of those that are reported as disconnected, and have revisions that are watched."""
        return self._present & self._reported.keys()

    def changes(self, links: Mapping[str, Link], now: datetime, *, ahead: float = 0.0) -> list[ClusterEvent]:
        """Return the events that were not reported yet, by cluster id, and count them as reported.

        A lost cluster that is no longer among them is remembered: should it come back as lost, that is known.

        Args:
            links: what is known of the clusters of all revisions that are watched now.
            now: the present time by the client's clock.
            ahead: seconds by which the server's clock is ahead of that.
        """
        self._present = frozenset(links)
        changes = (self._change(key, links[key], now, ahead) for key in sorted(links))
        events = [event for event in changes if event is not None]
        for key, link in links.items():
            if link.is_connected is False:
                self._reported.setdefault(key, link)
            elif link.is_connected:
                self._reported.pop(key, None)
        return events

    def _change(self, cluster_id: str, link: Link, now: datetime, ahead: float) -> ClusterEvent | None:
        before = self._reported.get(cluster_id)
        common: dict[str, Any] = {
            "cluster_id": cluster_id,
            "name": link.name,
            "observed_at": now,
            "ahead": ahead,
        }
        if link.is_connected is False and before is None:
            return ClusterDisconnected(**common, last_seen_at=link.last_seen_at)
        if link.is_connected and before is not None:
            return ClusterConnected(**common, last_seen_at=before.last_seen_at)
        return None


# --- when a cluster is asked for --------------------------------------------------------------------------

_INTERVAL = 60.0
"""Seconds between two requests for one cluster."""
_LONGEST_WAIT = 300.0
"""Seconds that a `Retry-After` may ask for."""
_PAUSE = 3600.0
"""Seconds until a cluster is asked for again of which no form may be seen."""
_FORMS = 2
_DOUBTED = 15
"""Refusals in a row that are believed where a form was returned before: authorization services restart."""


class Turn(NamedTuple):
    """When a cluster is asked for next, and how.

    Attributes:
        due: monotonic time.
        minimal: whether the minimal form is asked for, and not the full one.
        has_worked: whether a form was ever returned.
        refusals: in a row, of both forms in turn.
    """

    due: float = float("-inf")
    minimal: bool = False
    has_worked: bool = False
    refusals: int = 0

    def begun(self, now: float) -> Turn:
        """Return the turn after a request has begun, whatever comes of it."""
        return self._replace(due=now + _INTERVAL)

    def succeeded(self) -> Turn:
        """Return the turn after a response."""
        return self._replace(has_worked=True, refusals=0)

    def postponed(self, now: float, seconds: float) -> Turn:
        """Return the turn after a failure that asks to wait, which is done for five minutes at most."""
        return self._replace(due=max(self.due, now + min(seconds, _LONGEST_WAIT)))

    def refused(self, now: float, *, by_api: bool) -> Turn:
        """Return the turn after a 403 or 404: the other form is next, or a pause.

        One that is not the API's own counts only where nothing was ever returned: the gateways of early
        versions do not know the minimal form.
        """
        if not by_api and self.has_worked:
            return self
        if self.refusals + 1 >= (_DOUBTED if self.has_worked else _FORMS):
            return Turn(now + _PAUSE)
        return self._replace(minimal=not self.minimal, refusals=self.refusals + 1)


FIRST_TURN = Turn()


def due_first(turns: Mapping[str, Turn], cluster_ids: Iterable[str], now: float) -> list[str]:
    """Return the clusters whose turn it is, those that wait longest first."""
    waiting = {key: turns.get(key, FIRST_TURN).due for key in cluster_ids}
    return sorted((key for key, due in waiting.items() if due <= now), key=lambda key: (waiting[key], key))
