"""Tables as values: their columns, and how these are fitted into the width of a terminal. There is no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

from attrs import evolve

from runai_async._values import frozen
from runai_async.cli.text import clean, cut_end, cut_middle, width_of

_GAP = 2
"""Blanks between two columns."""
_LEAST = {"text": 16, "image": 16, "name": 12}
"""Characters to which the cells of a kind of column are cut at most; the first kind is cut first."""
_EMPTY = "-"
"""Stands for an empty cell, so that every line has the same number of words before the last column."""


@frozen
class Column:
    """A column.

    Attributes:
        heading: its heading.
        kind: whether its cells are cut on a narrow terminal, and how. A text loses its end, and the column is
            left out where there is too little room; names and images lose their middle.
    """

    heading: str
    kind: Literal["whole", "name", "image", "text"] = "whole"


class Cell(NamedTuple):
    """A text in one line, and its style."""

    text: str
    style: str = ""


@frozen
class Table:
    """Rows of cells below headings."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]

    @property
    def heading(self) -> tuple[Cell, ...]:
        """The row of headings."""
        return tuple(Cell(column.heading, "bold") for column in self.columns)


def table_of(columns: Sequence[Column], rows: Iterable[Sequence[str] | Sequence[str | Cell]]) -> Table:
    """Return a table of cells, or of texts, that a server sent."""
    last = len(columns) - 1
    return Table(
        tuple(columns),
        tuple(tuple(_cell(item, is_last=index == last) for index, item in enumerate(row)) for row in rows),
    )


def _cell(item: str | Cell, *, is_last: bool) -> Cell:
    cell = Cell(item) if isinstance(item, str) else item
    return cell._replace(text=clean(cell.text) or ("" if is_last else _EMPTY))


def widths_of(table: Table) -> list[int]:
    """Return the width of the widest cell of each column, headings included."""
    lines = (table.heading, *table.rows)
    return [max(width_of(line[index].text) for line in lines) for index in range(len(table.columns))]


def padded(cells: Sequence[Cell], widths: Sequence[int]) -> Iterator[Cell]:
    """Yield the cells of a line with the blanks between them; the last one has none behind it."""
    rest = [width - width_of(cell.text) + _GAP for cell, width in zip(cells, widths, strict=True)]
    rest[-1] = 0
    for cell, blanks in zip(cells, rest, strict=True):
        yield cell
        yield Cell(" " * blanks)


def total_width(table: Table) -> int:
    """Return the width of a whole table."""
    return _total(widths_of(table))


def fitted(table: Table, width: int) -> Table:
    """Return a table that fits the width, if it can: first messages are cut, then names, then columns."""
    widths = _shrunk(table, widths_of(table), width)
    is_droppable = table.columns[-1].kind == "text" and len(table.columns) > 1
    if is_droppable and _total(widths) > width:
        return fitted(_without_last(table), width)
    return evolve(table, rows=tuple(_cut(table, row, widths) for row in table.rows))


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + _GAP * (len(widths) - 1)


def _shrunk(table: Table, widths: list[int], width: int) -> list[int]:
    """Return the widths after cutting one kind after the other; of one kind the widest first."""
    for kind, least in _LEAST.items():
        while (excess := _total(widths) - width) > 0:
            cuttable = [
                index
                for index, column in enumerate(table.columns)
                if column.kind == kind and widths[index] > max(least, width_of(column.heading))
            ]
            if not cuttable:
                break
            widest = max(cuttable, key=lambda index: widths[index])
            step = excess if len(cuttable) == 1 else 1
            widths[widest] = max(least, width_of(table.columns[widest].heading), widths[widest] - step)
    return widths


def _cut(table: Table, row: Sequence[Cell], widths: Sequence[int]) -> tuple[Cell, ...]:
    return tuple(
        cell._replace(text=(cut_end if column.kind == "text" else cut_middle)(cell.text, width))
        for column, cell, width in zip(table.columns, row, widths, strict=True)
    )


def _without_last(table: Table) -> Table:
    return Table(table.columns[:-1], tuple(row[:-1] for row in table.rows))
