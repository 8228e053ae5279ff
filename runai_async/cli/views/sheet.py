"""Prints tables: in colours and fitted on a terminal; in a pipe plain, whole and without rich."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import zip_longest

import click

from runai_async.cli.columns import Cell, Table, fitted, padded, widths_of
from runai_async.cli.diagnostics import say


def print_table(table: Table, *, headers: bool = True, indent: bool = False) -> None:
    """Print a table.

    Args:
        table: what is printed.
        headers: whether its headings are.
        indent: whether it stands two columns to the right.
    """
    Sheet(headers=headers, indent=indent).print(table)


class Sheet:
    """Prints a table, and later perhaps further rows of it in the same columns.

    Args:
        headers: whether headings are printed.
        indent: whether all stands two columns to the right.
        whole: whether nothing is cut where a terminal is too narrow.
    """

    def __init__(self, *, headers: bool = True, indent: bool = False, whole: bool = False) -> None:
        self._headers = headers
        self._whole = whole
        self._before = "  " if indent else ""
        self._widths: list[int] = []

    def print(self, table: Table) -> None:
        """Print a table, or, after the first one, its rows only."""
        is_first, is_terminal = not self._widths, sys.stdout.isatty()
        if is_terminal and not self._whole:
            table = fitted(table, width_of_terminal() - len(self._before))
        self._widths = _wider(self._widths, widths_of(table))
        lines = (table.heading, *table.rows) if is_first and self._headers else table.rows
        for cells in lines:
            self._line(list(padded(cells, self._widths)), is_terminal=is_terminal)

    def _line(self, cells: Sequence[Cell], *, is_terminal: bool) -> None:
        if is_terminal:
            _print_styled([Cell(self._before), *cells])
        else:
            click.echo(self._before + "".join(cell.text for cell in cells).rstrip())


def print_aside(text: str, style: str) -> None:
    """Print a line above or below a table: on a terminal with the table, otherwise on stderr."""
    if sys.stdout.isatty():
        _print_styled([Cell(text, style)])
    else:
        say(text)


def _wider(before: Sequence[int], widths: Sequence[int]) -> list[int]:
    """Return widths that are not below those of the lines printed before."""
    return [max(pair) for pair in zip_longest(before, widths, fillvalue=0)][: len(widths)]


def width_of_terminal() -> int:
    """Return the columns of the terminal."""
    from runai_async.cli.views.console import console  # noqa: PLC0415  (rich, which a pipe does without)

    return console().width


def _print_styled(cells: Sequence[Cell]) -> None:
    from rich.text import Text  # noqa: PLC0415

    from runai_async.cli.views.console import console  # noqa: PLC0415

    line = Text.assemble(*((cell.text, cell.style) for cell in cells))
    line.rstrip()
    console().print(line, soft_wrap=True)
