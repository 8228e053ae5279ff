"""The state of the fake control plane: workloads, revisions and their history. No HTTP."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
from attrs import frozen

from runai_async._codec.fields import camel
from runai_async._ids import canonical_id
from runai_async.testing._samples import sample_revision, sample_workload


@frozen
class Transition:
    """One change that was made to a revision.

    Attributes:
        at: when it was made, on the server's clock.
        kind: added, phase, updated, deleted, purged, hidden or shown.
        phase: the phase of the revision after the change.
        phase_updated_at: its `phaseUpdatedAt` after the change, as the API writes it.

    Example:
        >>> control_plane = FakeControlPlane()
        >>> revision_id = control_plane.add_revision(control_plane.add_workload(), "Pending")
        >>> control_plane.set_phase(revision_id, "Running")
        >>> [(change.kind, change.phase) for change in control_plane.transitions]
        [('added', 'Pending'), ('phase', 'Running')]
    """

    at: datetime
    workload_id: str
    revision_id: str
    kind: str
    phase: str
    phase_updated_at: str | None


class MissingError(LookupError):
    """There is no workload or revision with this id."""


_MAPPINGS = frozenset({"environmentVariables", "additionalFields"})
"""Fields whose keys are chosen by users, and stay as they are."""


def wire(value: Any) -> Any:
    """Turn a caller's values into the API's JSON, including times and the keys of nested objects."""
    if isinstance(value, dict):
        fields = {camel(key): item for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType,reportUnknownArgumentType]
        return {key: item if key in _MAPPINGS else wire(item) for key, item in fields.items()}  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, list | tuple):
        return [wire(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
    return stamp(value) if isinstance(value, datetime) else value


def stamp(time: datetime) -> str:
    """Write a time as the API does."""
    return time.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


class State:
    """The workloads and revisions of one control plane.

    Args:
        seed: makes ids repeatable, and shuffles lists in a repeatable way; without a seed, lists keep their
            order.
        clock: returns the server's time, aware.
        record_limit: how many transitions are kept.
    """

    def __init__(self, seed: int | None, clock: Callable[[], datetime], record_limit: int) -> None:
        self.random = random.Random(seed)
        self._shuffles = seed is not None
        self.clock = clock
        self.workloads: dict[str, dict[str, Any]] = {}
        self.revisions: dict[str, dict[str, Any]] = {}
        self.transitions: deque[Transition] = deque(maxlen=record_limit)
        self._of_workload: dict[str, list[str]] = {}
        self._hidden: set[str] = set()
        self._history: dict[str, list[dict[str, Any]]] = {}
        self._encoded: dict[str, bytes] = {}
        self._tenant = self._new_id()

    def _new_id(self) -> str:
        return str(UUID(int=self.random.getrandbits(128), version=4))

    # --- workloads ----------------------------------------------------------------------------------------

    def add_workload(self, name: str | None, kind: str, fields: dict[str, Any]) -> str:
        workload_id = canonical_id(str(fields.pop("id", None) or self._new_id()))
        now = stamp(self.clock())
        self.workloads[workload_id] = {
            **sample_workload(workload_id, kind, name or f"llm-{len(self.workloads) + 1}", self._tenant, now),
            **wire(fields),
        }
        self._of_workload[workload_id] = []
        return workload_id

    def delete_workload(self, workload_id: str) -> None:
        workload = self._workload(workload_id)
        for revision_id in list(self._of_workload[workload_id]):
            if self.revisions[revision_id].get("deletedAt") is None:
                self.delete_revision(revision_id)
        workload["deletedAt"] = stamp(self.clock())

    def _workload(self, workload_id: str) -> dict[str, Any]:
        if workload_id not in self.workloads:
            raise MissingError(f"there is no workload {workload_id}")
        return self.workloads[workload_id]

    def live_workloads(self, *, deleted: bool) -> list[dict[str, Any]]:
        """Return the live workloads, or the deleted ones."""
        return [item for item in self.workloads.values() if (item["deletedAt"] is not None) == deleted]

    # --- revisions ----------------------------------------------------------------------------------------

    def add_revision(self, workload_id: str, phase: str, fields: dict[str, Any]) -> str:
        workload = self._workload(workload_id)
        fields = wire(fields)
        revision_id = canonical_id(str(fields.pop("id", None) or self._new_id()))
        number = len(self._of_workload[workload_id]) + 1
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
        self._of_workload[workload_id].append(revision_id)
        self._history[revision_id] = []
        self._note(revision_id, "added")
        self._remember(revision_id, self.revisions[revision_id].get("phaseUpdatedAt") or now)
        return revision_id

    def _pods(self, revision_id: str) -> int:
        revision = self.revisions[revision_id]
        if revision["phase"] != "Running":
            return 0
        requested: dict[str, Any] = revision.get("requestedPods") or {}
        return max((requested[key] for key in ("number", "min") if requested.get(key) is not None), default=1)

    def revision(self, revision_id: str) -> dict[str, Any]:
        """Return a revision for a test to change. Raises `MissingError`."""
        if revision_id not in self.revisions:
            raise MissingError(f"there is no revision {revision_id}")
        return self.revisions[revision_id]

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
        self._of_workload[workload_id].remove(revision_id)
        del self.revisions[revision_id]

    def hide(self, revision_id: str, *, hidden: bool) -> None:
        """Leave a revision out of all responses, or include it again, without deleting it."""
        self.revision(revision_id)
        (self._hidden.add if hidden else self._hidden.discard)(revision_id)
        self._note(revision_id, "hidden" if hidden else "shown")

    def _note(self, revision_id: str, kind: str, at: datetime | None = None) -> None:
        """Record a change, by default as made now, and drop the encoded list that it outdates."""
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

    def _remember(self, revision_id: str, when: str) -> None:
        revision = self.revisions[revision_id]
        self._history[revision_id].append(
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

    # --- responses ----------------------------------------------------------------------------------------

    def listed(self, workload_id: str, *, deleted: bool) -> Iterator[dict[str, Any]]:
        """Return the revisions of a list response. Raises `MissingError`."""
        if self._workload(workload_id)["deletedAt"] is not None and not deleted:
            raise MissingError(f"workload {workload_id} was deleted")
        items = (self.revisions[item] for item in self._of_workload[workload_id] if item not in self._hidden)
        return (item for item in items if (item.get("deletedAt") is not None) == deleted)

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

    def visible(self, revision_id: str) -> dict[str, Any]:
        """Return a revision unless it is hidden. Raises `MissingError`."""
        if revision_id in self._hidden:
            raise MissingError(f"there is no revision {revision_id}")
        return self.revision(revision_id)

    def history(self, revision_id: str) -> list[dict[str, Any]]:
        """Return a revision's history, the oldest record first. Raises `MissingError`."""
        self.visible(revision_id)
        return self._history[revision_id]
