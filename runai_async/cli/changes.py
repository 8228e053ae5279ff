"""What a list that is watched prints after its table: a row for each change that can be seen in it."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping

from attrs import evolve

from runai_async._wait.pods import pods_text
from runai_async.cli.overview import Overview
from runai_async.events import FleetEvent, RevisionDeleted, RevisionEvent, Synced
from runai_async.models import Revision, Workload


class RevisionChanges:
    """Which events about one workload change a row of its revisions.

    Args:
        listed: the revisions in the table.
    """

    def __init__(self, listed: Iterable[Revision]) -> None:
        self._rows: dict[str, Hashable] = {item.id: _revision_row(item) for item in listed}

    def note(self, event: FleetEvent) -> Revision | None:
        """Return the revision whose row an event changes; None if it changes nothing that is shown."""
        if not isinstance(event, RevisionEvent):
            return None
        if isinstance(event, RevisionDeleted):
            self._rows.pop(event.revision_id, None)
            return event.revision
        row = _revision_row(event.revision)
        if self._rows.get(event.revision_id) == row:
            return None
        self._rows[event.revision_id] = row
        return event.revision


def _revision_row(item: Revision) -> Hashable:
    return item.name, item.phase, pods_text(item), item.phase_message


class WorkloadChanges:
    """Which events of a fleet change the row of a workload.

    Args:
        listed: the workloads in the table.
        workloads: all workloads by id, which is kept up to date.
    """

    def __init__(self, listed: Iterable[Overview], workloads: Mapping[str, Workload]) -> None:
        self._workloads = workloads
        self._rows: dict[str, Hashable] = {item.workload.id: _workload_row(item) for item in listed}
        self._revisions: dict[str, dict[str, Revision]] = {}
        self._synced: set[str] = set()

    def note(self, event: FleetEvent) -> Overview | None:
        """Return the workload whose row an event changes; None if it changes nothing that is shown."""
        if isinstance(event, Synced):
            self._synced.add(event.workload_id)
        elif isinstance(event, RevisionEvent):
            self._take(event)
        else:
            return None
        return self._changed(event.workload_id) if event.workload_id in self._synced else None

    def _take(self, event: RevisionEvent) -> None:
        known = self._revisions.setdefault(event.workload_id, {})
        if isinstance(event, RevisionDeleted):
            known.pop(event.revision_id, None)
        else:
            known[event.revision_id] = event.revision

    def _changed(self, workload_id: str) -> Overview | None:
        workload = self._workloads.get(workload_id)
        if workload is None:  # it has left the list
            return None
        revisions = tuple(self._revisions.get(workload_id, {}).values())
        overview = Overview(workload, revisions)
        had = workload_id in self._revisions
        overview = evolve(overview, is_deleted=had and not revisions)
        row = _workload_row(overview)
        if self._rows.get(workload_id) == row:
            return None
        self._rows[workload_id] = row
        return overview


def _workload_row(item: Overview) -> Hashable:
    serving = item.serving
    return (
        item.is_deleted or item.phase,
        serving and (serving.id, pods_text(serving)),
        item.newest and item.newest.id,
    )
