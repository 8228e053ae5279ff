"""Revisions as tables that read well at 80 columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from runai_async.cli.text import clean, moment, phase_style, pods, short_ids, since
from runai_async.diff import FieldChange
from runai_async.models import Condition, Phase, Revision

WIDE = 120
"""Columns from which on ids are whole and images are shown."""
NARROW = 60
"""Columns below which there is no room for messages."""


def plain_table(*headings: str, cut: str = "") -> Table:
    """Return a table without frames, to which columns can be added.

    Args:
        headings: of the columns.
        cut: the one whose cells are cut first, where the terminal is too narrow.
    """
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for heading in headings:
        table.add_column(heading, no_wrap=heading != cut, overflow="ellipsis")
    return table


def one_line(text: str | None, style: str = "") -> Text:
    """Return a cell that is cut, not wrapped, where the terminal is too narrow."""
    return Text(clean(text), style=style, no_wrap=True, overflow="ellipsis")


def phase_text(phase: Phase) -> Text:
    """Return a phase in its colour."""
    return Text(clean(phase), style=phase_style(phase))


def newest_first(revisions: Iterable[Revision]) -> list[Revision]:
    """Return the revisions by age, the youngest first."""
    return sorted(revisions, key=lambda item: (item.created_at, item.id), reverse=True)


def revisions_table(revisions: Sequence[Revision], now: datetime, width: int) -> Table:
    """Return the table of `revisions list`, newest first. The message takes what room is left."""
    wide, narrow = width >= WIDE, width < NARROW
    deleted = any(item.deleted_at for item in revisions)
    ids = {item.id: item.id for item in revisions} if wide else short_ids([item.id for item in revisions])
    table = plain_table("ID", "NAME", "PHASE", "PODS", "AGE", "DELETED" if deleted else "SINCE", cut="NAME")
    if wide:
        table.add_column("IMAGE", no_wrap=True, overflow="ellipsis")
    if not narrow:
        table.add_column("MESSAGE")
    for item in newest_first(revisions):
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


def revision_sheet(revision: Revision) -> Iterable[RenderableType]:
    """Return what `revisions get` shows: facts, then conditions. Environment and arguments stay out."""
    facts = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column(overflow="fold")
    for name, value in _facts(revision):
        if value:
            facts.add_row(name, value if isinstance(value, Text) else clean(value))
    yield facts
    if revision.conditions:
        yield Text("\nConditions", style="bold")
        yield conditions_table(revision.conditions)


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


def conditions_table(conditions: Sequence[Condition]) -> Table:
    """Return the conditions; those that are not True stand out."""
    table = plain_table("TYPE", "STATUS", "REASON")
    table.add_column("MESSAGE", overflow="fold")
    for item in conditions:
        style = "" if item.status == "True" else "yellow"
        cells = (clean(text) for text in (item.status, item.reason, item.message))
        table.add_row(clean(item.type), Text(next(cells), style=style), *cells)
    return table


def changes_table(changes: Sequence[FieldChange], old: Revision, new: Revision) -> Table:
    """Return the table of `revisions diff`."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    table.add_column("FIELD", overflow="fold")
    table.add_column(clean(old.name), overflow="fold", style="red")
    table.add_column(clean(new.name), overflow="fold", style="green")
    for change in changes:
        table.add_row(clean(change.path), _value(change.old), _value(change.new))
    return table


def _value(value: object) -> str:
    return "" if value is None else clean(str(value))
