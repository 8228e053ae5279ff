"""The output formats and the option that chooses one."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Literal

import click

from runai_async.cli.options import Command

Output = Literal["table", "json", "jsonl", "cloudevents"]


_ELSE = "Without it: a table on a terminal, JSON lines in a pipe."


def output_option(*choices: Output, of: str, else_: str = _ELSE) -> Callable[[Command], Command]:
    """Add `--output`."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(choices),
        help=f"{of} {else_}",
    )


def chosen(output: Output | None) -> Output:
    """Return the output that was asked for, or the one that fits where it goes."""
    return output or ("table" if sys.stdout.isatty() else "jsonl")
