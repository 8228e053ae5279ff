"""What the fake control plane keeps of requests, responses and changes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from attrs import field

from runai_async._values import frozen


@frozen
class RecordedRequest:
    """A request that arrived.

    Attributes:
        path: the path without the query.
        at: when it arrived, by `time.monotonic()`.

    Example:
        >>> async with FakeControlPlane() as control_plane:
        ...     async with RunaiClient(control_plane.url, control_plane.token) as runai:
        ...         count = await runai.count_revisions(control_plane.add_workload())
        ...     print(control_plane.requests[-1].method, control_plane.requests[-1].path)
        GET /api/v1/workloads/inferences/.../revisions/count
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str] = field(repr=False)
    at: float


@frozen
class RecordedResponse:
    """A response that contained revisions.

    Attributes:
        at: when it was made, by `time.monotonic()`.
        workload_id: the workload of the revisions.
        phases: the phase and `phaseUpdatedAt` of each revision, by its id.

    Example:
        >>> control_plane = FakeControlPlane(record_responses=True)
        >>> revision_id = control_plane.add_revision(control_plane.add_workload(), "Running")
        >>> async with control_plane, RunaiClient(control_plane.url, control_plane.token) as runai:
        ...     revision = await runai.get_revision(revision_id)
        >>> control_plane.responses[-1].phases[revision_id]
        ('Running', '...Z')
    """

    at: float
    workload_id: str
    phases: Mapping[str, tuple[str, str | None]]


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
