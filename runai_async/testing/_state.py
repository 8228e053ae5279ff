"""The state of the fake control plane: workloads, revisions and their history. No HTTP."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from runai_async._text import canonical_id
from runai_async.testing._clusters import Clusters
from runai_async.testing._record import Transition
from runai_async.testing._records import MissingError, Records, Row
from runai_async.testing._rows import Rows, RowsFollow
from runai_async.testing._samples import pods_of, sample_pod, sample_revision, sample_workload, wanted_pods
from runai_async.testing._wire import stamp, wire

__all__ = ["MissingError", "State", "stamp"]

_UNNOTICED = ("hidden", "shown", "purged")
"""Changes that are none to a workload's row, or not yet when they are noted."""


class State:
    """The workloads and revisions of one control plane.

    Args:
        seed: makes ids repeatable, and shuffles lists in a repeatable way; without a seed, lists keep their
            order.
        clock: returns the server's time, aware.
        record_limit: how many transitions are kept.
        rows_follow: whether the rows of workloads change with their revisions; see `Rows.follow`.
        view_seconds: seconds between the refreshes of what lists of workloads are read from.
    """

    def __init__(
        self,
        seed: int | None,
        clock: Callable[[], datetime],
        record_limit: int,
        *,
        rows_follow: RowsFollow = True,
        view_seconds: float = 0.0,
    ) -> None:
        self.random = random.Random(seed)
        self._shuffles = seed is not None
        self.clock = clock
        self.transitions: deque[Transition] = deque(maxlen=record_limit)
        self.clusters = Clusters(lambda: stamp(self.clock()))
        self._records = Records()
        self.rows = Rows(clock, self._shown_workloads, follow=rows_follow, view_seconds=view_seconds)
        self._encoded: dict[str, bytes] = {}
        self._first_cluster = self._new_id()
        self.clusters.add(self._first_cluster)

    @property
    def workloads(self) -> dict[str, Row]:
        """The workloads as they are, by id."""
        return self._records.workloads

    @property
    def revisions(self) -> dict[str, Row]:
        """The revisions as they are, by id."""
        return self._records.revisions

    def _new_id(self) -> str:
        return str(UUID(int=self.random.getrandbits(128), version=4))

    # --- workloads ----------------------------------------------------------------------------------------

    def add_workload(self, name: str | None, kind: str, fields: dict[str, Any]) -> str:
        workload_id = canonical_id(str(fields.pop("id", None) or self._new_id()))
        fields = wire(fields)
        cluster_id = canonical_id(str(fields.pop("clusterId", None) or self._first_cluster))
        self.clusters.add(cluster_id)
        self.rows.refresh()
        self.rows.keep(workload_id, list(fields))
        name, now = name or f"llm-{len(self.workloads) + 1}", stamp(self.clock())
        self.workloads[workload_id] = sample_workload(workload_id, kind, name, cluster_id, now) | fields
        self._records.of_workload[workload_id] = []
        return workload_id

    def delete_workload(self, workload_id: str) -> None:
        workload = self._records.workload(workload_id)
        for revision_id in list(self._records.of_workload[workload_id]):
            if self.revisions[revision_id].get("deletedAt") is None:
                self.delete_revision(revision_id)
        self.rows.refresh()
        workload["deletedAt"] = stamp(self.clock())

    # --- revisions ----------------------------------------------------------------------------------------

    def add_revision(self, workload_id: str, phase: str, fields: dict[str, Any]) -> str:
        workload = self._records.workload(workload_id)
        fields = wire(fields)
        revision_id = canonical_id(str(fields.pop("id", None) or self._new_id()))
        number = len(self._records.of_workload[workload_id]) + 1
        now = stamp(self.clock())
        self.revisions[revision_id] = {
            **sample_revision(workload, number, self.random),
            "id": revision_id,
            "createdAt": now,
            "phase": str(phase),
            "phaseUpdatedAt": now,
            **fields,
        }
        if "runningPods" not in fields:
            self.revisions[revision_id]["runningPods"] = self._pods(revision_id)
        self._records.of_workload[workload_id].append(revision_id)
        self._records.history[revision_id] = []
        self._records.events[revision_id] = []
        self._note(revision_id, "added")
        self._remember(revision_id, self.revisions[revision_id].get("phaseUpdatedAt") or now)
        return revision_id

    def _pods(self, revision_id: str) -> int:
        revision = self.revisions[revision_id]
        return wanted_pods(revision) if revision["phase"] == "Running" else 0

    def revision(self, revision_id: str) -> dict[str, Any]:
        """Return a revision for a test to change. Raises `MissingError`."""
        return self._records.revision(revision_id)

    def set_phase(
        self, revision_id: str, phase: str, message: str | None, running_pods: int | None, at: datetime | None
    ) -> None:
        revision = self.revision(revision_id)
        when = stamp(at or self.clock())
        revision |= {"phase": str(phase), "phaseUpdatedAt": when, "phaseMessage": message or ""}
        revision["runningPods"] = self._pods(revision_id) if running_pods is None else running_pods
        self._note(revision_id, "phase")
        self._remember(revision_id, when)

    def update_revision(self, revision_id: str, fields: dict[str, Any]) -> None:
        self.revision(revision_id).update(wire(fields))
        self._note(revision_id, "updated")

    def delete_revision(self, revision_id: str) -> None:
        at = self.clock()
        self.revision(revision_id)["deletedAt"] = stamp(at)
        self._note(revision_id, "deleted", at)

    def purge_revision(self, revision_id: str) -> None:
        workload_id = self.revision(revision_id)["workloadId"]
        self._note(revision_id, "purged")
        self._records.of_workload[workload_id].remove(revision_id)
        del self.revisions[revision_id]
        self.rows.reflect(workload_id, self._records)

    def hide(self, revision_id: str, *, hidden: bool) -> None:
        """Leave a revision out of all responses, or include it again, without deleting it."""
        self.revision(revision_id)
        concealed = self._records.hidden
        (concealed.add if hidden else concealed.discard)(revision_id)
        self._note(revision_id, "hidden" if hidden else "shown")

    def add_event(self, revision_id: str, fields: dict[str, Any]) -> None:
        """Add an event of Kubernetes about the first pod of a revision."""
        revision = self.revision(revision_id)
        pod, workload = sample_pod(revision, 0, ""), self._records.workload(revision["workloadId"])
        event = {
            "createdAt": stamp(self.clock()),
            "id": self._new_id(),
            "clusterId": revision["clusterId"],
            "source": "kubelet",
            "involvedObject": {
                "uid": pod["id"],
                "kind": "Pod",
                "name": pod["name"],
                "namespace": workload["namespace"],
            },
        }
        self._records.events[revision_id].append(event | wire(fields))

    def set_pods(self, revision_id: str, k8s_phases: Sequence[str], fields: dict[str, Any]) -> None:
        """Let a revision have pods of these phases, whatever its own fields say."""
        revision = self.revision(revision_id)
        self._records.pods[revision_id] = [
            sample_pod(revision, number, phase) | wire(fields) for number, phase in enumerate(k8s_phases)
        ]

    def _note(self, revision_id: str, kind: str, at: datetime | None = None) -> None:
        """Record a change, by default as made now, with what follows from it for lists."""
        revision = self.revisions[revision_id]
        workload_id = revision["workloadId"]
        self._encoded.pop(workload_id, None)
        self.transitions.append(
            Transition(
                at or self.clock(),
                workload_id,
                revision_id,
                kind,
                revision["phase"],
                revision.get("phaseUpdatedAt"),
            )
        )
        if kind not in _UNNOTICED:
            self.rows.reflect(workload_id, self._records)

    def _remember(self, revision_id: str, when: str) -> None:
        revision = self.revisions[revision_id]
        self._records.history[revision_id].append(
            {
                "meta": {"creationTimestamp": when, "type": "PhaseUpdate"},
                "spec": {
                    "phaseUpdate": {
                        "phase": revision["phase"],
                        "phaseMessage": revision.get("phaseMessage") or "",
                    }
                },
            }
        )

    # --- clusters -----------------------------------------------------------------------------------------

    def disconnect_cluster(self, cluster_id: str, at: datetime | None) -> None:
        """Let responses show what a cluster has reported by now, whatever happens to it."""
        self.clusters.set_state(cluster_id, "Disconnected", None if at is None else stamp(at))
        self.clusters.freeze(cluster_id, self._records)
        self._encoded.clear()

    def connect_cluster(self, cluster_id: str) -> None:
        """Let responses show a cluster's present records again."""
        self.rows.refresh()
        self.clusters.set_state(cluster_id, "Connected")
        self.clusters.thaw(cluster_id)
        self._encoded.clear()

    # --- responses: a cluster without a connection shows what it last reported ----------------------------

    def _reported(self, workload_id: str) -> Records:
        """Return the records that responses about a workload are made from. Raises `MissingError`."""
        cluster_id = self._records.workload(workload_id)["clusterId"]
        return self.clusters.reported(cluster_id) or self._records

    def _reported_revision(self, revision_id: str) -> Records:
        """Return the records that responses about a revision are made from. Raises `MissingError`."""
        for cluster_id in self.clusters:
            reported = self.clusters.reported(cluster_id)
            if reported is not None and revision_id in reported.revisions:
                return reported  # even if it is purged
        return self.clusters.reported(self.revision(revision_id)["clusterId"]) or self._records

    def live_workloads(self, *, deleted: bool) -> list[Row]:
        """Return the live workloads, or the deleted ones, in the order of their creation."""
        return [item for item in self.rows.listed() if (item["deletedAt"] is not None) == deleted]

    def _shown_workloads(self) -> list[Row]:
        """Return all workloads as responses show them."""
        shown = (self._reported(workload_id).workloads.get(workload_id) for workload_id in self.workloads)
        return [item for item in shown if item is not None]

    def listed(self, workload_id: str, *, deleted: bool) -> Iterator[Row]:
        """Return the revisions of a list response. Raises `MissingError`."""
        return self._reported(workload_id).listed(workload_id, deleted=deleted)

    def list_body(self, workload_id: str, *, deleted: bool) -> bytes:
        """Return the body of a list response; that of the live revisions is cached until one changes."""
        if not deleted and not self._shuffles and workload_id in self._encoded:
            return self._encoded[workload_id]
        items = list(self.listed(workload_id, deleted=deleted))
        if self._shuffles:
            self.random.shuffle(items)
        body = msgspec.json.encode({"revisions": items})
        if not deleted and not self._shuffles:
            self._encoded[workload_id] = body
        return body

    def visible(self, revision_id: str) -> Row:
        """Return a revision unless it is hidden. Raises `MissingError`."""
        return self._reported_revision(revision_id).visible(revision_id)

    def history(self, revision_id: str) -> list[Row]:
        """Return a revision's history, the oldest record first. Raises `MissingError`."""
        records = self._reported_revision(revision_id)
        records.visible(revision_id)
        return records.history[revision_id]

    def events(self, revision_id: str) -> list[Row]:
        """Return a revision's events, the oldest first. Raises `MissingError`."""
        records = self._reported_revision(revision_id)
        records.visible(revision_id)
        return records.events[revision_id]

    def pods(self, revision_id: str) -> list[Row]:
        """Return a revision's pods. Raises `MissingError`."""
        records = self._reported_revision(revision_id)
        revision = records.visible(revision_id)
        return records.pods.get(revision_id) or pods_of(revision)
