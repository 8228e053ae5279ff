"""The output formats, and the options that choose one.

A command does not know the formats: it hands over a `Result`, or asks for the `View` of a watch. A new format
is an entry in `RESULTS`, in `EVENTS`, or in both. Secrets are masked here, for all formats of results.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import click
from attrs import evolve

from runai_async._codec import to_json
from runai_async._values import frozen
from runai_async.cli import views
from runai_async.cli.columns import Table
from runai_async.cli.diagnostics import say
from runai_async.cli.exits import InputError
from runai_async.cli.options import Command
from runai_async.cli.secrets import masked
from runai_async.cli.text import alternatives
from runai_async.cli.views.sheet import Sheet
from runai_async.cli.views.watch import CloudEventView, JsonView, View, ViewOptions


@frozen
class Result:
    """What a command found.

    Attributes:
        items: values for `to_json`, one a line in `jsonl`.
        document: the value for `to_json` that `json` and `yaml` print.
        table: returns the table, or the wide one.
        draw: prints what is no table, for people.
        names: what `name` prints, one a line, printable.
        empty: printed for people, on stderr, if there are no items.
        sheet: what the table is printed on, where further rows may follow.
    """

    items: Sequence[Any]
    document: Any
    table: Callable[[bool], Table] | None = None
    draw: Callable[[], None] | None = None
    names: Sequence[str] = ()
    empty: str = ""
    sheet: Sheet | None = None


@frozen
class Output:
    """How results are printed.

    Attributes:
        format: one of `RESULTS`.
        headers: whether tables have headings.
        show_secrets: whether secrets are printed as they are.
    """

    format: str
    headers: bool = True
    show_secrets: bool = False

    @property
    def is_table(self) -> bool:
        """Whether the output is for people."""
        return self.format in {"table", "wide"}

    @property
    def is_wide(self) -> bool:
        """Whether tables have further columns."""
        return self.format == "wide"

    def __call__(self, result: Result) -> None:
        """Print a result."""
        if not self.show_secrets:
            result = evolve(result, items=masked(result.items), document=masked(result.document))
        RESULTS[self.format](result, self)


def _table(result: Result, output: Output) -> None:
    if result.empty and not result.items:
        say(result.empty)
    elif result.draw is not None:
        result.draw()
    else:
        assert result.table is not None  # noqa: S101  (a result has one of the two)
        sheet = result.sheet or Sheet(headers=output.headers, whole=output.is_wide)
        sheet.print(result.table(output.is_wide))


def _names(result: Result, _: Output) -> None:
    for name in result.names:
        click.echo(name)


def _json(result: Result, _: Output) -> None:
    click.echo(json.dumps(_plain(result.document), indent=2, ensure_ascii=False))


def _json_lines(result: Result, _: Output) -> None:
    for item in result.items:
        click.echo(to_json(item))


def _yaml(result: Result, _: Output) -> None:
    try:
        yaml_text = views.yaml_text.yaml_text
    except ImportError:
        raise InputError("yaml requires PyYAML: pip install 'runai-async[cli]'") from None
    click.echo(yaml_text(_plain(result.document)), nl=False)


def _plain(document: Any) -> Any:
    """Return a document in JSON's types."""
    return json.loads(to_json(document))


def _terminal(options: ViewOptions) -> View:
    return views.terminal.terminal_view(options.headline, local=options.local)


MakeView = Callable[[ViewOptions], View]

RESULTS: Mapping[str, Callable[[Result, Output], None]] = {
    "table": _table,
    "wide": _table,
    "name": _names,
    "json": _json,
    "jsonl": _json_lines,
    "yaml": _yaml,
}
"""How each format prints what a command found."""
VALUES: Sequence[str] = ("table", "json", "jsonl", "yaml")
"""The formats of what is not a list of things that have names."""
DATA: Sequence[str] = ("json", "jsonl", "yaml")
"""The formats that print all that is known."""

EVENTS: Mapping[str, MakeView] = {
    "table": _terminal,
    "json": JsonView,
    "jsonl": JsonView,
    "cloudevents": CloudEventView,
}
"""How each format prints the events of a watch."""

no_headers_option: Callable[[Command], Command] = click.option(
    "--no-headers", is_flag=True, help="Leave out the headings of tables."
)
show_secrets_option: Callable[[Command], Command] = click.option(
    "--show-secrets",
    is_flag=True,
    help="Print environment values, command and arguments, which are masked otherwise.",
)


def result_options(
    formats: Iterable[str] = tuple(RESULTS),
    *,
    of: str = "",
    default: str | Callable[[], str] = "table",
    otherwise: str = "a table, in plain columns where it is not a terminal",
    headers: bool = True,
    secrets: Sequence[str] = (),
) -> Callable[[Command], Command]:
    """Add `--output` and its like; the command gets an `Output` as `output`.

    Args:
        formats: those of `RESULTS` that make sense.
        of: what the help says about the formats.
        default: the format without the option.
        otherwise: what the help says about the default.
        headers: whether to add `--no-headers`.
        secrets: the formats in which secrets may stand; if there are any, there is `--show-secrets`.
    """
    chosen = click.option(
        "-o",
        "--output",
        "output_format",
        type=click.Choice(list(formats)),
        default=default,
        help=f"{of} Without it: {otherwise}.".lstrip(),
    )
    flags: list[Callable[[Command], Command]] = [
        chosen,
        *([no_headers_option] if headers else []),
        *([show_secrets_option] if secrets else []),
    ]

    def add(command: Command) -> Command:
        def printing(
            *args: Any, output_format: str, no_headers: bool = False, show_secrets: bool = False, **rest: Any
        ) -> Any:
            if show_secrets and output_format not in secrets:
                formats = alternatives(secrets, "or")
                raise click.UsageError(
                    f"-o {output_format} shows no secrets: give --show-secrets with -o {formats}"
                )
            return command(
                *args,
                output=Output(output_format, headers=not no_headers, show_secrets=show_secrets),
                **rest,
            )

        wrapper: Command = functools.update_wrapper(printing, command)
        for flag in reversed(flags):
            wrapper = flag(wrapper)
        return wrapper

    return add


def check_watchable(output: Output, *others: tuple[str, object]) -> None:
    """Reject `--watch` with a format that has no rows, or with other options that make no sense then."""
    if not output.is_table:
        raise click.UsageError("--watch prints rows of a table: see runai-async watch for JSON lines")
    for flag, value in others:
        if value:
            raise click.UsageError(f"give --watch or {flag}, not both")


def lines_in_a_pipe() -> str:
    """Return the default format of what is drawn on a terminal and has no columns."""
    return "table" if sys.stdout.isatty() else "jsonl"


def output_option(formats: Mapping[str, MakeView], *, of: str) -> Callable[[Command], Command]:
    """Add `--output`; the command gets the entry of *formats* as `output`.

    Args:
        formats: `EVENTS`.
        of: what the help says about the formats.
    """

    def entry(_ctx: click.Context, _param: click.Parameter, name: str) -> MakeView:
        return formats[name]

    return click.option(
        "-o",
        "--output",
        type=click.Choice(list(formats)),
        default=lines_in_a_pipe,
        callback=entry,
        help=f"{of} Without it: a table on a terminal, JSON lines in a pipe.",
    )
