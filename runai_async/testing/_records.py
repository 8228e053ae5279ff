"""What a control plane has recorded: workloads, revisions and their history, in the API's JSON."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from attrs import define, field

Row = dict[str, Any]


class MissingError(LookupError):
    """There is no workload, revision or cluster with this id."""


@define
class Records:
    """The records of all clusters, or of one.

    Attributes:
        workloads: by id, in the order of their creation.
        revisions: by id.
        of_workload: the ids of each workload's revisions.
        hidden: the ids of the revisions that are left out of responses.
        history: of each revision.
        events: of each revision, the oldest first.
        pods: of the revisions whose pods a test has set.
    """

    workloads: dict[str, Row] = field(factory=dict[str, Row])
    revisions: dict[str, Row] = field(factory=dict[str, Row])
    of_workload: dict[str, list[str]] = field(factory=dict[str, list[str]])
    hidden: set[str] = field(factory=set[str])
    history: dict[str, list[Row]] = field(factory=dict[str, list[Row]])
    events: dict[str, list[Row]] = field(factory=dict[str, list[Row]])
    pods: dict[str, list[Row]] = field(factory=dict[str, list[Row]])

    def workload(self, workload_id: str) -> Row:
        """Return a workload. Raises `MissingError`."""
        if workload_id not in self.workloads:
            raise MissingError(f"there is no workload {workload_id}")
        return self.workloads[workload_id]

    def revision(self, revision_id: str) -> Row:
        """Return a revision. Raises `MissingError`."""
        if revision_id not in self.revisions:
            raise MissingError(f"there is no revision {revision_id}")
        return self.revisions[revision_id]

    def visible(self, revision_id: str) -> Row:
        """Return a revision unless it is hidden. Raises `MissingError`."""
        if revision_id in self.hidden:
            raise MissingError(f"there is no revision {revision_id}")
        return self.revision(revision_id)

    def listed(self, workload_id: str, *, deleted: bool) -> Iterator[Row]:
        """Return the revisions of a list response. Raises `MissingError`."""
        if self.workload(workload_id)["deletedAt"] is not None and not deleted:
            raise MissingError(f"workload {workload_id} was deleted")
        items = (self.revisions[item] for item in self.of_workload[workload_id] if item not in self.hidden)
        return (item for item in items if (item.get("deletedAt") is not None) == deleted)

    def of_cluster(self, cluster_id: str) -> Records:
        """Return a copy of a cluster's records as they are now."""
        workloads = {key: row for key, row in self.workloads.items() if row["clusterId"] == cluster_id}
        of_workload = {key: self.of_workload[key] for key in workloads}
        ids = {item for items in of_workload.values() for item in items}
        return deepcopy(
            Records(
                workloads,
                {key: self.revisions[key] for key in ids},
                of_workload,
                self.hidden & ids,
                {key: self.history[key] for key in ids},
                {key: self.events[key] for key in ids},
                {key: self.pods[key] for key in ids & self.pods.keys()},
            )
        )
