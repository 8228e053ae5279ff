"""The tables of lists: revisions and clusters as rows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from runai_async._wait.pods import pods_text
from runai_async.cli.columns import Cell, Column, Table, table_of
from runai_async.cli.history import Step
from runai_async.cli.overview import Overview
from runai_async.cli.text import phase_style, since
from runai_async.models import Cluster, ClusterState, Phase, Revision

_STATE_STYLES = {ClusterState.CONNECTED: "green", ClusterState.DISCONNECTED: "bold red"}
_DELETED = Cell("deleted", "bright_black")


def phase_cell(phase: Phase) -> Cell:
    """Return a phase in its colour."""
    return Cell(phase, phase_style(phase))


def revisions_table(revisions: Sequence[Revision], now: datetime, *, deleted: bool, wide: bool) -> Table:
    """Return a table of revisions in their order.

    Args:
        revisions: live ones or deleted ones.
        now: the present time, by the server's clock.
        deleted: which of the two they are. Of what is deleted the last phase and pods say nothing.
        wide: whether ids and images are shown.
    """
    columns = [
        Column("NAME", "name"),
        *map(Column, ("PHASE", "PODS", "AGE", "DELETED" if deleted else "SINCE")),
        *([Column("ID"), Column("IMAGE", "image")] if wide else []),
        Column("MESSAGE", "text"),
    ]
    return table_of(columns, [revision_row(item, now, deleted=deleted, wide=wide) for item in revisions])


def revision_row(revision: Revision, now: datetime, *, deleted: bool, wide: bool) -> list[str | Cell]:
    """Return the cells of one revision."""
    return [
        revision.name,
        _DELETED if deleted else phase_cell(revision.phase),
        "" if deleted else pods_text(revision),
        since(revision.created_at, now),
        since(revision.deleted_at if deleted else revision.phase_updated_at, now),
        *([revision.id, ", ".join(revision.images or ())] if wide else []),
        revision.phase_message or "",
    ]


def history_table(steps: Sequence[Step], now: datetime, *, wide: bool) -> Table:
    """Return a table of the steps of a workload in their order.

    Args:
        steps: what each revision changed.
        now: the present time, by the server's clock.
        wide: whether ids and images are shown.
    """
    columns = [
        Column("REVISION", "name"),
        *map(Column, ("PHASE", "AGE", "SERVES")),
        *([Column("ID"), Column("IMAGE", "image")] if wide else []),
        Column("CHANGED", "text"),
    ]
    return table_of(columns, [_step_row(item, now, wide=wide) for item in steps])


def _step_row(step: Step, now: datetime, *, wide: bool) -> list[str | Cell]:
    revision = step.revision
    return [
        revision.name,
        _DELETED if revision.deleted_at is not None else phase_cell(revision.phase),
        since(revision.created_at, now),
        "yes" if step.serves else "",
        *([revision.id, ", ".join(revision.images or ())] if wide else []),
        step.changes_text,
    ]


def workloads_table(overviews: Sequence[Overview], now: datetime, *, revisions: bool, wide: bool) -> Table:
    """Return a table of workloads in their order.

    Args:
        overviews: the workloads.
        now: the present time, by the server's clock.
        revisions: whether their revisions were read; else phases and pods are those of the workloads.
        wide: whether ids, images and messages are shown.
    """
    columns = [
        Column("NAME", "name"),
        Column("PROJECT", "name"),
        *map(
            Column, ("PHASE", "SERVING", "PODS", "NEWEST", "AGE") if revisions else ("PHASE", "PODS", "AGE")
        ),
        *([Column("ID"), Column("IMAGE", "image"), Column("MESSAGE", "text")] if wide else []),
    ]
    return table_of(columns, [workload_row(item, now, revisions=revisions, wide=wide) for item in overviews])


def workload_row(overview: Overview, now: datetime, *, revisions: bool, wide: bool) -> list[str | Cell]:
    """Return the cells of one workload."""
    workload, newest, serving = overview.workload, overview.newest, overview.serving
    last = newest or workload
    state = [
        overview.short(serving),
        "" if serving is None else pods_text(serving),
        "" if newest is serving else overview.short(newest),
    ]
    return [
        workload.name,
        workload.project_name or workload.project_id,
        _DELETED if overview.is_deleted else phase_cell(overview.phase),
        *(state if revisions else [pods_text(workload)]),
        since(workload.created_at, now),
        *([workload.id, ", ".join(last.images or ()), last.phase_message or ""] if wide else []),
    ]


def clusters_table(clusters: Sequence[Cluster], now: datetime, *, wide: bool) -> Table:
    """Return a table of clusters in their order.

    Args:
        clusters: as they were listed.
        now: the present time, by the server's clock.
        wide: whether ids are shown.
    """
    columns = [
        Column("NAME", "name"),
        *map(Column, ("STATE", "SEEN", "VERSION", *(["ID"] if wide else []))),
    ]
    return table_of(
        columns,
        [
            [
                item.name,
                Cell(item.state, _STATE_STYLES.get(item.state, "yellow")),
                since(item.last_seen_at, now),
                item.version or "-",
                *([item.id] if wide else []),
            ]
            for item in clusters
        ],
    )
