"""The output formats, and the option that chooses one.

A command does not know the formats: it hands over a `Result`, or asks for the `View` of a watch. A new format
is an entry in `RESULTS`, in `EVENTS`, or in both.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click
from attrs import frozen

from runai_async._codec import to_json
from runai_async.cli import views
from runai_async.cli.diagnostics import say
from runai_async.cli.options import Command
from runai_async.cli.views.watch import CloudEventView, JsonView, View, ViewOptions


@frozen
class Result:
    """What a command found.

    Attributes:
        items: values for `to_json`, one a line in `jsonl`.
        document: the value for `to_json` that `json` prints.
        draw: prints the result for people.
        empty: printed for people, on stderr, if there are no items.
    """

    items: Sequence[Any]
    document: Any
    draw: Callable[[], None]
    empty: str = ""


def _table(result: Result) -> None:
    if result.empty and not result.items:
        say(result.empty)
    else:
        result.draw()


def _json(result: Result) -> None:
    click.echo(json.dumps(json.loads(to_json(result.document)), indent=2, ensure_ascii=False))


def _json_lines(result: Result) -> None:
    for item in result.items:
        click.echo(to_json(item))


def _terminal(options: ViewOptions) -> View:
    return views.terminal.terminal_view(options.headline)


Print = Callable[[Result], None]
MakeView = Callable[[ViewOptions], View]

RESULTS: Mapping[str, Print] = {"table": _table, "json": _json, "jsonl": _json_lines}
"""How each format prints what a command found."""

EVENTS: Mapping[str, MakeView] = {
    "table": _terminal,
    "json": JsonView,
    "jsonl": JsonView,
    "cloudevents": CloudEventView,
}
"""How each format prints the events of a watch."""


def _default() -> str:
    return "table" if sys.stdout.isatty() else "jsonl"


def output_option(
    formats: Mapping[str, Print] | Mapping[str, MakeView],
    *,
    of: str,
    otherwise: str = "a table on a terminal, JSON lines in a pipe",
    default: str | Callable[[], str] = _default,
) -> Callable[[Command], Command]:
    """Add `--output`; the command gets the entry of *formats* as `output`.

    Args:
        formats: `RESULTS` or `EVENTS`.
        of: what the help says about the formats.
        otherwise: what the help says about the default.
        default: the format without the option.
    """

    def entry(_ctx: click.Context, _param: click.Parameter, name: str) -> Print | MakeView:
        return formats[name]

    return click.option(
        "-o",
        "--output",
        type=click.Choice(list(formats)),
        default=default,
        callback=entry,
        help=f"{of} Without it: {otherwise}.",
    )
