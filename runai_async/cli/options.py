"""The options that commands share, and the types of their values."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from runai_async.cli.text import duration, quoted
from runai_async.cli.wording import name_of

Command = Callable[..., Any]

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = r"(\d+(?:\.\d+)?)(ms|s|m|h|d)"


# The class is generic from click 8.4 on.
if TYPE_CHECKING:
    _Seconds = click.ParamType[float, Any]
    _Text = click.ParamType[str, Any]
else:
    _Seconds = _Text = click.ParamType


class Duration(_Seconds):
    """A duration such as `90s`, `10m`, `1h30m`; a plain number is seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the seconds."""
        text = str(value)
        if re.fullmatch(r"\d+(\.\d+)?", text):
            seconds = float(text)
        elif re.fullmatch(f"(?:{_PART})+", text):
            seconds = sum(float(number) * _UNITS[unit] for number, unit in re.findall(_PART, text))
        else:
            self.fail(f"{quoted(text)} is not a duration: write it like 90s, 10m or 1h30m", param, ctx)
        if seconds <= 0:
            self.fail("a duration must be more than 0", param, ctx)
        return seconds


DURATION = Duration()


class NonEmpty(_Text):
    """A text that is not empty: every id starts with the empty text, so it would match the only one."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text."""
        text = str(value)
        if not text.strip():
            raise click.UsageError(f"{name_of(param)} is empty (is a variable not set?)", ctx)
        return text

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the names that fit, for parameters whose own names say what they are."""
        from runai_async.cli.completing import names_for  # noqa: PLC0415  (of use for TAB only)

        params = {**(ctx.parent.params if ctx.parent else {}), **ctx.params}
        if ctx.args and "workloads" in params:  # left over, as an option without its value stops the parser
            params["workloads"] = ctx.args
        return [CompletionItem(name) for name in names_for(param.name, params, incomplete)]


NON_EMPTY = NonEmpty()


class NonEmptyPath(click.Path):
    """The path of a file; an empty one would be the current folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path."""
        return super().convert(NON_EMPTY.convert(value, param, ctx), param, ctx)


def examples(*lines: str) -> str:
    """Return the epilog of a command: how to use it."""
    return "\b\n" + "\n".join(["Examples:", *(f"  {line}" for line in lines)])


def all_option(text: str) -> Callable[[Command], Command]:
    """Add `--all`, which means all inference workloads; *text* is its help."""
    return click.option("-A", "--all", "everything", is_flag=True, help=text)


project_option: Callable[[Command], Command] = click.option(
    "-p",
    "--project",
    type=NON_EMPTY,
    metavar="PROJECT",
    help="Look in this project only, given by name or id.",
)

local_option: Callable[[Command], Command] = click.option(
    "--local", is_flag=True, help="Write times for people in this machine's zone, not in UTC."
)

max_outage_option: Callable[[Command], Command] = click.option(
    "--max-outage",
    type=DURATION,
    default="15m",
    show_default=True,
    help="Give up after this time without a response, also at the start.",
)


def stalled_after_option(text: str, default: str | None = None) -> Callable[[Command], Command]:
    """Return the option for `PollPolicy.stalled_after`.

    Args:
        text: what is done about a revision, up to its verb.
        default: the time after which it has.
    """
    return click.option(
        "--stalled-after",
        type=DURATION,
        default=default,
        show_default=True,
        help=f"{text} has been on its way in one phase, such as Pending, for this time.",
    )


watch_option: Callable[[Command], Command] = click.option(
    "-w", "--watch", is_flag=True, help="Print a further row for each change, until Ctrl-C."
)
interval_option: Callable[[Command], Command] = click.option(
    "--interval",
    type=DURATION,
    default="10s",
    show_default=True,
    help="With --watch: the time between polls while nothing changes.",
)


def check_interval(*, watch: bool) -> None:
    """Reject `--interval` of a list that is read once."""
    if not watch and is_given("interval"):
        raise click.UsageError("--interval requires --watch")


def is_given(name: str) -> bool:
    """Return whether an option of the present command was given, and is not its default."""
    return click.get_current_context().get_parameter_source(name) is ParameterSource.COMMANDLINE


discovery_interval_option: Callable[[Command], Command] = click.option(
    "--discovery-interval",
    type=DURATION,
    help="The time between two looks at the list of workloads.  [default: 10s, or 60s for more than 500]",
)

relaxed_interval_option: Callable[[Command], Command] = click.option(
    "--relaxed-interval",
    type=DURATION,
    help="With --all: the time between polls of workloads that do not change, if the list shows changes.",
)


def _shard(ctx: click.Context, param: click.Parameter, text: str | None) -> tuple[int, int] | None:
    """Return the index of a shard, and how many there are."""
    if text is None:
        return None
    found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
    if found is None or int(found[1]) >= int(found[2]):
        raise click.BadParameter(
            f"{quoted(text)} is not a shard: write 0/4 for the first of four", ctx, param
        )
    return int(found[1]), int(found[2])


shard_option: Callable[[Command], Command] = click.option(
    "--shard",
    callback=_shard,
    metavar="I/N",
    help="With --all: only the share I, from 0 on, of N; processes with the other shares do the rest.",
)


def check_shard(shard: tuple[int, int] | None, *, everything: bool) -> None:
    """Reject a share of workloads that are named."""
    if shard is not None and not everything:
        raise click.UsageError("--shard requires --all")


def check_relaxed_interval(relaxed: float | None, interval: float, *, everything: bool) -> None:
    """Reject a relaxed interval without `--all`, or below the usual one."""
    if relaxed is None:
        return
    if not everything:
        raise click.UsageError("--relaxed-interval requires --all")
    if relaxed < interval:
        raise click.UsageError(
            f"--relaxed-interval ({duration(relaxed)}) must be at least --interval ({duration(interval)})"
        )


def check_workloads(workloads: Collection[str], purpose: str, *, everything: bool) -> None:
    """Reject a command line with both workloads and `--all`, or with neither."""
    if workloads and everything:
        raise click.UsageError("give workloads or --all, not both")
    if not workloads and not everything:
        raise click.UsageError(f"name the workloads to {purpose}, or give --all")
