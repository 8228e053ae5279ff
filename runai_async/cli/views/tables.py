"""Revisions and clusters as tables that are readable at 80 columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from runai_async.cli.diagnostics import say
from runai_async.cli.text import clean, moment, phase_style, pods, short_ids, since
from runai_async.cli.views.console import console
from runai_async.diff import MASK, FieldChange
from runai_async.models import Cluster, ClusterState, Condition, Phase, Revision

_WIDE = 120
"""The columns from which on ids are whole and images are shown."""
NARROW = 60
"""The columns below which there is no room for messages."""


def plain_table(*headings: str, cut: str = "") -> Table:
    """Return a table without frames, to which columns can be added.

    Args:
        headings: the headings of the columns.
        cut: the heading of the column whose cells are cut first on a narrow terminal.
    """
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for heading in headings:
        table.add_column(heading, no_wrap=heading != cut, overflow="ellipsis")
    return table


def one_line(text: str | None, style: str = "") -> Text:
    """Return a cell that is cut, not wrapped, on a narrow terminal."""
    return Text(clean(text), style=style, no_wrap=True, overflow="ellipsis")


def phase_text(phase: Phase) -> Text:
    """Return a phase in its colour."""
    return Text(clean(phase), style=phase_style(phase))


def print_revisions(revisions: Sequence[Revision]) -> None:
    """Print the table of `revisions list`."""
    screen = console()
    screen.print(revisions_table(revisions, datetime.now(UTC), screen.width))


def revisions_table(revisions: Sequence[Revision], now: datetime, width: int) -> Table:
    """Return a table of revisions in their order. The message takes the room that is left."""
    wide, narrow = width >= _WIDE, width < NARROW
    deleted = any(item.deleted_at for item in revisions)
    ids = {item.id: item.id for item in revisions} if wide else short_ids([item.id for item in revisions])
    table = plain_table("ID", "NAME", "PHASE", "PODS", "AGE", "DELETED" if deleted else "SINCE", cut="NAME")
    if wide:
        table.add_column("IMAGE", no_wrap=True, overflow="ellipsis")
    if not narrow:
        table.add_column("MESSAGE")
    for item in revisions:
        last = item.deleted_at if deleted else item.phase_updated_at
        table.add_row(
            ids[item.id],
            one_line(item.name),
            phase_text(item.phase),
            pods(item),
            since(item.created_at, now),
            since(last, now),
            *([one_line(", ".join(item.images or ()))] if wide else []),
            *([] if narrow else [one_line(item.phase_message)]),
        )
    return table


_STATE_STYLES = {ClusterState.CONNECTED: "green", ClusterState.DISCONNECTED: "bold red"}


def print_clusters(clusters: Sequence[Cluster]) -> None:
    """Print the table of `clusters list`."""
    screen = console()
    screen.print(clusters_table(clusters, datetime.now(UTC), screen.width))


def clusters_table(clusters: Sequence[Cluster], now: datetime, width: int) -> Table:
    """Return a table of clusters in their order; ids are whole where there is room."""
    keys = [item.id for item in clusters]
    ids = {key: key for key in keys} if width >= _WIDE else short_ids(keys)
    table = plain_table("ID", "NAME", "STATE", "SEEN", "VERSION", cut="NAME")
    for item in clusters:
        state = Text(clean(item.state), style=_STATE_STYLES.get(item.state, "yellow"))
        seen = since(item.last_seen_at, now)
        table.add_row(ids[item.id], one_line(item.name), state, seen, clean(item.version))
    return table


def print_revision(revision: Revision) -> None:
    """Print what `revisions get` shows: facts, then conditions, but no environment and no arguments."""
    screen = console()
    facts = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column(overflow="fold")
    for name, value in _facts(revision):
        if value:
            facts.add_row(name, value if isinstance(value, Text) else clean(value))
    screen.print(facts)
    if revision.conditions:
        screen.print(Text("\nConditions", style="bold"))
        screen.print(conditions_table(revision.conditions))


def _facts(revision: Revision) -> Iterable[tuple[str, str | Text]]:
    yield "Name", revision.name
    yield "Id", revision.id
    yield "Workload", revision.workload_id
    yield "Phase", phase_text(revision.phase)
    yield "Message", revision.phase_message or ""
    yield "Phase since", moment(revision.phase_updated_at)
    yield "Created", moment(revision.created_at)
    yield "Deleted", moment(revision.deleted_at)
    yield "Pods", f"{pods(revision)} running"
    yield "Images", ", ".join(revision.images or ())
    yield "Node pools", ", ".join(revision.current_node_pools or revision.requested_node_pools or ())
    yield "Project", revision.project_id
    yield "Cluster", revision.cluster_id


def conditions_table(conditions: Sequence[Condition]) -> RenderableType:
    """Return the conditions; those that are not True stand out."""
    table = plain_table("TYPE", "STATUS", "REASON")
    table.add_column("MESSAGE", overflow="fold")
    for item in conditions:
        style = "" if item.status == "True" else "yellow"
        status, *rest = (clean(text) for text in (item.status, item.reason, item.message))
        table.add_row(clean(item.type), Text(status, style=style), *rest)
    return table


def print_changes(changes: Sequence[FieldChange], old: Revision, new: Revision) -> None:
    """Print the table of `revisions diff`; on stderr, say so if values are masked."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    table.add_column("FIELD", overflow="fold")
    table.add_column(clean(old.name), overflow="fold", style="red")
    table.add_column(clean(new.name), overflow="fold", style="green")
    for change in changes:
        table.add_row(clean(change.path), _value(change.old), _value(change.new))
    console().print(table)
    if any(MASK in (change.old, change.new) for change in changes):
        say(f"{MASK} may hide a secret: --show-secrets shows the values")


def _value(value: object) -> str:
    return "" if value is None else clean(str(value))
