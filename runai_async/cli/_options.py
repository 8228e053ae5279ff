"""The options that commands share, and the types of their values."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import sys
import warnings
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from getpass import GetPassWarning, getpass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click
from attrs import frozen
from rich.console import Console

from runai_async.cli._failures import InputError, ReaderGoneError
from runai_async.cli._run import run
from runai_async.client import RunaiClient
from runai_async.hooks import Hook
from runai_async.policy import RetryPolicy

T = TypeVar("T")
Command = Callable[..., Any]
Output = Literal["table", "json", "jsonl", "cloudevents"]

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = r"(\d+(?:\.\d+)?)(ms|s|m|h|d)"
_DEADLINE = 60.0
_LEAST_SECRET = 6
"""Characters of a secret that is masked in what is printed; a shorter one would mask half of the text."""


# click's class takes parameters from 8.4 on, and none before.
if TYPE_CHECKING:
    _Seconds = click.ParamType[float, Any]
    _Text = click.ParamType[str, Any]
else:
    _Seconds = _Text = click.ParamType


class Duration(_Seconds):
    """A span of time such as `90s`, `10m`, `1h30m`; a plain number is seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the seconds."""
        text = str(value)
        if re.fullmatch(r"\d+(\.\d+)?", text):
            seconds = float(text)
        elif re.fullmatch(f"(?:{_PART})+", text):
            seconds = sum(float(number) * _UNITS[unit] for number, unit in re.findall(_PART, text))
        else:
            self.fail(f"{text!r} is no duration: write it like 90s, 10m or 1h30m", param, ctx)
        if seconds <= 0:
            self.fail("a duration must be more than 0", param, ctx)
        return seconds


DURATION = Duration()


class Given(_Text):
    """A text that is not empty: an empty one begins every id, and would fit whatever is the only one."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text."""
        text = str(value)
        if not text.strip():
            raise click.UsageError(f"{_called(param)} is empty (is a variable not set?)", ctx)
        return text


GIVEN = Given()


class GivenPath(click.Path):
    """The path of a file; an empty one would be that of the folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path."""
        return super().convert(GIVEN.convert(value, param, ctx), param, ctx)


def _called(param: click.Parameter | None) -> str:
    """Return how an argument or option is called in the help."""
    if isinstance(param, click.Option):
        return max(param.opts, key=len)
    return param.human_readable_name.strip("[].") if param is not None else "a value"


def examples(*lines: str) -> str:
    """Return a command's epilog: how it is used."""
    return "\b\n" + "\n".join(["Examples:", *(f"  {line}" for line in lines)])


_ELSE = "Without it: a table on a terminal, JSON lines in a pipe."


def output_option(*choices: Output, of: str, else_: str = _ELSE) -> Callable[[Command], Command]:
    """Add `--output`."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(choices),
        help=f"{of} {else_}",
    )


def max_outage_option(command: Command) -> Command:
    """Add `--max-outage`."""
    return click.option(
        "--max-outage",
        type=DURATION,
        default="15m",
        show_default=True,
        help="Give up after so long without an answer; at the start, after --deadline.",
    )(command)


def check_workloads(workloads: Collection[str], purpose: str, *, everything: bool) -> None:
    """Refuse a command line with both workloads and `--all`, or with neither."""
    if workloads and everything:
        raise click.UsageError("give workloads or --all, not both")
    if not workloads and not everything:
        raise click.UsageError(f"name the workloads to {purpose}, or give --all")


def chosen(output: Output | None) -> Output:
    """Return the output that was asked for, or the one that fits where it goes."""
    return output or ("table" if sys.stdout.isatty() else "jsonl")


def console() -> Console:
    """Return a console on stdout: colours only on a terminal, and not where NO_COLOR is set."""
    return _Console(highlight=False, emoji=False, markup=False)


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Say that the reader is gone, instead of ending the process with the status of a failed phase."""
        raise ReaderGoneError


@frozen
class Connection:
    """Which control plane a command talks to, and how.

    Attributes:
        environ: the environment, with what the options say instead.
        deadline: seconds for one call with all its attempts.
        allow_http: whether plain http may go to any host.
    """

    environ: Mapping[str, str]
    deadline: float
    allow_http: bool

    def run(self, work: Callable[[RunaiClient], Coroutine[Any, Any, T]], *, hooks: Iterable[Hook] = ()) -> T:
        """Run *work* with a client, and close that."""
        runai = RunaiClient.from_env(
            environ=self.environ,
            allow_http=self.allow_http,
            retry=RetryPolicy(deadline=self.deadline),
            timeout=min(30.0, self.deadline),
            hooks=hooks,
        )
        return run(_closing(runai, work))


async def _closing(runai: RunaiClient, work: Callable[[RunaiClient], Coroutine[Any, Any, T]]) -> T:
    async with runai:
        return await work(runai)


def _debug(ctx: click.Context, _: click.Parameter, value: bool) -> None:  # noqa: FBT001
    """Take `--debug` behind the command's name, too, which is where it is typed."""
    ctx.obj.debug = ctx.obj.debug or value


_OPTIONS = (
    click.option(
        "--base-url", type=GIVEN, metavar="URL", help="The control plane, instead of RUNAI_BASE_URL."
    ),
    click.option(
        "--token-file",
        type=click.File("r"),
        help="Read the token from a file (- is stdin), instead of RUNAI_TOKEN.",
    ),
    click.option("--ask-token", is_flag=True, help="Ask for the token on the terminal."),
    click.option(
        "--ca-file",
        type=GivenPath(exists=True, dir_okay=False),
        help="A PEM file of the authorities to trust, instead of RUNAI_CA_FILE.",
    ),
    click.option("--allow-http", is_flag=True, help="Allow plain http to any host, not to loopback alone."),
    click.option(
        "--deadline",
        type=DURATION,
        default=f"{_DEADLINE:.0f}s",
        show_default=True,
        help="The longest that one call may take, with all its attempts.",
    ),
    click.option(
        "--debug",
        is_flag=True,
        expose_value=False,
        callback=_debug,
        help="Print tracebacks, and all that is logged.",
    ),
)


def connecting(command: Command) -> Command:
    """Add the options of a command that talks to a control plane; it gets a `connection`."""

    @functools.wraps(command)
    def connected(
        *args: Any,
        base_url: str | None,
        token_file: Any,
        ask_token: bool,
        ca_file: str | None,
        allow_http: bool,
        deadline: float,
        **options: Any,
    ) -> Any:
        token = _token(token_file, ask=ask_token)
        said = {"RUNAI_BASE_URL": base_url, "RUNAI_TOKEN": token, "RUNAI_CA_FILE": ca_file}
        environ = {**os.environ, **{key: value for key, value in said.items() if value}}
        secrets = {environ.get(name, "") for name in ("RUNAI_TOKEN", "RUNAI_CLIENT_SECRET")}
        click.get_current_context().obj.secrets |= {item for item in secrets if len(item) >= _LEAST_SECRET}
        return command(*args, connection=Connection(environ, deadline, allow_http), **options)

    for option in reversed(_OPTIONS):
        connected = option(connected)
    return connected


def _token(file: Any, *, ask: bool) -> str | None:
    if file is not None and ask:
        raise click.UsageError("give --token-file or --ask-token, not both")
    if ask:
        token, source = _typed().strip(), "what was typed"
    elif file is not None:
        try:
            token, source = str(file.read()).strip(), file.name
        except UnicodeDecodeError:
            raise click.UsageError(f"{file.name} is no text") from None
    else:
        return None
    if not token:
        raise click.UsageError(f"{source} holds no token")
    return token


def _typed() -> str:
    """Ask on the terminal. Nothing is asked where what is typed would show, or nobody can type."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", GetPassWarning)
            return getpass("Token: ")
    except GetPassWarning:
        raise click.UsageError("there is no terminal to ask on: --token-file - reads stdin") from None
    except EOFError:
        click.echo(err=True)
        return ""


def write_new(option: str, path: Path, text: str) -> None:
    """Write a file whole or not at all: beside its place first, then into it. Only the owner may read it.

    Args:
        option: what names the file on the command line.
        path: the file.
        text: what to write.

    Raises:
        InputError: the file cannot be written.
    """
    path = Path(os.path.realpath(path))  # a link stays one
    beside = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        raise InputError(f"{option} {path} cannot be written: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):
            beside.unlink()
