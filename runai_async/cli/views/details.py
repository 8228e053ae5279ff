"""What is known of one revision, and what differs between two."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

import click

from runai_async._wait.pods import pods_text
from runai_async.cli.columns import Cell, Column, Table, table_of, total_width
from runai_async.cli.diagnostics import say
from runai_async.cli.text import clean, moment
from runai_async.cli.views.listings import phase_cell
from runai_async.cli.views.sheet import print_table, width_of_terminal
from runai_async.diff import MASK, FieldChange
from runai_async.models import Condition, Revision


def print_revision(revision: Revision, *, wide: bool, local: bool) -> None:
    """Print what `revisions get` shows: facts, then conditions.

    Args:
        revision: the revision.
        wide: whether its environment, command and arguments are printed, too.
        local: whether times are in this machine's zone, and not in UTC.
    """
    every = [*_facts(revision, local=local), *(_secrets(revision) if wide else ())]
    facts = [(name, cell._replace(text=clean(cell.text))) for name, cell in every if cell.text]
    conditions = revision.conditions or ()
    if sys.stdout.isatty():
        from runai_async.cli.views.tables import print_facts  # noqa: PLC0415  (rich)

        print_facts(facts, conditions)
        return
    print_table(table_of([Column("NAME"), Column("VALUE")], facts), headers=False)
    if conditions:
        click.echo("\nConditions")
        print_table(_conditions(conditions))


def _facts(revision: Revision, *, local: bool) -> Iterator[tuple[str, Cell]]:
    yield "Name", Cell(revision.name)
    yield "Id", Cell(revision.id)
    yield "Workload", Cell(revision.workload_id)
    yield "Phase", phase_cell(revision.phase)
    yield "Message", Cell(revision.phase_message or "")
    yield "Phase since", Cell(moment(revision.phase_updated_at, local=local))
    yield "Created", Cell(moment(revision.created_at, local=local))
    yield "Deleted", Cell(moment(revision.deleted_at, local=local))
    yield "Pods", Cell(f"{pods_text(revision)} running")
    yield "Images", Cell(", ".join(revision.images or ()))
    node_pools = revision.current_node_pools or revision.requested_node_pools or ()
    yield "Node pools", Cell(", ".join(node_pools))
    yield "Project", Cell(revision.project_id)
    yield "Cluster", Cell(revision.cluster_id)


def _secrets(revision: Revision) -> Iterator[tuple[str, Cell]]:
    """Yield what may be secret; it is masked already unless it is to be shown."""
    yield "Command", Cell(revision.command or "")
    yield "Arguments", Cell(revision.arguments or "")
    for name, value in (revision.environment_variables or {}).items():
        yield clean(name), Cell(value)


def _conditions(conditions: Sequence[Condition]) -> Table:
    columns = [Column(heading) for heading in ("TYPE", "STATUS", "REASON", "MESSAGE")]
    rows = [[item.type, item.status, item.reason or "", item.message or ""] for item in conditions]
    return table_of(columns, rows)


def print_changes(
    changes: Sequence[FieldChange], old: Revision, new: Revision, *, headers: bool = True
) -> None:
    """Print what `revisions diff` shows; on stderr, say so if values are masked.

    That is a table, or, where the terminal is too narrow for it, both values of each field below each other.
    """
    columns = [Column("FIELD"), Column(clean(old.name)), Column(clean(new.name))]
    rows: list[list[str | Cell]] = [
        [item.path, Cell(_value(item.old), "red"), Cell(_value(item.new), "green")] for item in changes
    ]
    table = table_of(columns, rows)
    if sys.stdout.isatty() and total_width(table) > width_of_terminal():
        from runai_async.cli.views.tables import print_wrapped  # noqa: PLC0415  (rich)

        heading = [Cell(f"--- {columns[1].heading}", "bold"), Cell(f"+++ {columns[2].heading}", "bold")]
        print_wrapped([*(heading if headers else ()), *_stacked(changes)])
    else:
        print_table(table, headers=headers)
    if any(MASK in (change.old, change.new) for change in changes):
        say(f"{MASK} may hide a secret: --show-secrets shows the values")


def _stacked(changes: Sequence[FieldChange]) -> Iterator[Cell]:
    """Yield lines with the values of each field, as `diff -u` writes them."""
    for change in changes:
        yield Cell(clean(change.path), "bold")
        if change.old is not None:
            yield Cell(f"- {clean(_value(change.old))}", "red")
        if change.new is not None:
            yield Cell(f"+ {clean(_value(change.new))}", "green")


def _value(value: object) -> str:
    return "" if value is None else str(value)
