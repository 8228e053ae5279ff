"""What is drawn with rich, on a terminal: parts of tables, facts, conditions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from runai_async.cli.columns import Cell
from runai_async.cli.text import clean, phase_style
from runai_async.cli.views.console import console
from runai_async.models import Condition, Phase


def plain_table(*headings: str) -> RichTable:
    """Return a table without frames, to which columns can be added.

    Args:
        headings: the headings of the columns.
    """
    table = RichTable(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for heading in headings:
        table.add_column(heading, no_wrap=True, overflow="ellipsis")
    return table


def one_line(text: str | None, style: str = "") -> Text:
    """Return a cell that is cut, not wrapped, on a narrow terminal."""
    return Text(clean(text), style=style, no_wrap=True, overflow="ellipsis")


def phase_text(phase: Phase) -> Text:
    """Return a phase in its colour."""
    return Text(clean(phase), style=phase_style(phase))


def print_facts(facts: Iterable[tuple[str, Cell]], conditions: Sequence[Condition]) -> None:
    """Print facts below each other, whole, then conditions."""
    screen = console()
    table = RichTable(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, cell in facts:
        table.add_row(name, Text(cell.text, style=cell.style))
    screen.print(table)
    if conditions:
        screen.print(Text("\nConditions", style="bold"))
        screen.print(conditions_table(conditions))


def conditions_table(conditions: Sequence[Condition]) -> RenderableType:
    """Return the conditions; those that are not True stand out."""
    table = plain_table("TYPE", "STATUS", "REASON")
    table.add_column("MESSAGE", overflow="fold")
    for item in conditions:
        style = "" if item.status == "True" else "yellow"
        status, *rest = (clean(text) for text in (item.status, item.reason, item.message))
        table.add_row(clean(item.type), Text(status, style=style), *rest)
    return table


def print_wrapped(lines: Iterable[Cell]) -> None:
    """Print lines that are wrapped between words."""
    screen = console()
    for line in lines:
        screen.print(Text(line.text, style=line.style, overflow="fold"))
