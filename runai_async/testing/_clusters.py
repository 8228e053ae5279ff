"""The clusters of the fake control plane: their states, and what those without a connection last reported."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from attrs import define

from runai_async.testing._records import MissingError, Records
from runai_async.testing._samples import sample_cluster


@define
class Cluster:
    """One cluster.

    Attributes:
        row: as the API returns it, but for what the state decides.
        state: such as Connected.
        last_seen_at: when it was last heard, where that is no longer now.
        reported: what it had reported when it lost its connection; None while it has one.
    """

    row: dict[str, Any]
    state: str = "Connected"
    last_seen_at: str | None = None
    reported: Records | None = None


class Clusters:
    """The clusters of one control plane, the oldest first.

    Args:
        now: returns the server's time as the API writes it.
    """

    def __init__(self, now: Callable[[], str]) -> None:
        self._now = now
        self._clusters: dict[str, Cluster] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(self._clusters)

    def add(self, cluster_id: str) -> None:
        """Add a cluster, unless it exists."""
        if cluster_id not in self._clusters:
            name = f"cluster-{len(self._clusters) + 1}"
            self._clusters[cluster_id] = Cluster(sample_cluster(cluster_id, name, self._now()))

    def _get(self, cluster_id: str) -> Cluster:
        if cluster_id not in self._clusters:
            raise MissingError(f"there is no cluster {cluster_id}")
        return self._clusters[cluster_id]

    def set_state(self, cluster_id: str, state: str, last_seen_at: str | None = None) -> None:
        """Set a cluster's state; one that is disconnected was last seen at that time, by default now."""
        cluster = self._get(cluster_id)
        if state == "Disconnected":
            cluster.last_seen_at = last_seen_at or cluster.last_seen_at or self._now()
        else:
            cluster.last_seen_at = None
        cluster.state = state

    def freeze(self, cluster_id: str, records: Records) -> None:
        """Let a cluster's records in responses stay as they are."""
        cluster = self._get(cluster_id)
        cluster.reported = cluster.reported or records.of_cluster(cluster_id)

    def thaw(self, cluster_id: str) -> None:
        """Let responses show a cluster's present records."""
        self._get(cluster_id).reported = None

    def reported(self, cluster_id: str) -> Records | None:
        """Return what a cluster without a connection last reported; None for any other."""
        cluster = self._clusters.get(cluster_id)
        return None if cluster is None else cluster.reported

    def full(self, cluster_id: str) -> dict[str, Any]:
        """Return a cluster as the list and the get have it. Raises `MissingError`."""
        cluster = self._get(cluster_id)
        seen = {} if cluster.state == "WaitingToConnect" else {"lastLiveness": self._seen(cluster)}
        return {**cluster.row, "status": {"state": cluster.state}, "updatedAt": self._seen(cluster), **seen}

    def minimal(self, cluster_id: str) -> dict[str, Any]:
        """Return a cluster as the minimal endpoint has it. Raises `MissingError`."""
        cluster = self._get(cluster_id)
        kept = {key: cluster.row[key] for key in ("uuid", "name", "tenantId", "version", "domain")}
        return {**kept, "state": cluster.state, "platform": "Kubernetes"}

    def _seen(self, cluster: Cluster) -> str:
        return cluster.last_seen_at or self._now()
