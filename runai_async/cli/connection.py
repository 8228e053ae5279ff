"""How a command reaches a control plane: its options, and the client made of them."""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Callable, Coroutine, Iterable, Mapping
from getpass import GetPassWarning, getpass
from typing import Any, TypeVar

import click
from attrs import frozen

from runai_async.cli.options import DURATION, NON_EMPTY, Command, NonEmptyPath
from runai_async.cli.run import run
from runai_async.client import RunaiClient
from runai_async.hooks import Hook
from runai_async.policy import RetryPolicy

T = TypeVar("T")

_DEADLINE = 60.0
_LEAST_SECRET = 6
"""Characters of a secret that is masked in what is printed; a shorter one would mask half of the text."""


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
        "--base-url", type=NON_EMPTY, metavar="URL", help="The control plane, instead of RUNAI_BASE_URL."
    ),
    click.option(
        "--token-file",
        type=click.File("r"),
        help="Read the token from a file (- is stdin), instead of RUNAI_TOKEN.",
    ),
    click.option("--ask-token", is_flag=True, help="Ask for the token on the terminal."),
    click.option(
        "--ca-file",
        type=NonEmptyPath(exists=True, dir_okay=False),
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
