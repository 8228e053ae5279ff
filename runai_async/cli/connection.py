"""How a command reaches a control plane: its options, and the client made from them."""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Callable, Coroutine, Iterable, Mapping
from getpass import GetPassWarning, getpass
from typing import Any, TextIO, TypeVar

import click
from attrs import frozen

from runai_async.cli.diagnostics import Diagnostics
from runai_async.cli.options import DURATION, NON_EMPTY, Command, NonEmptyPath
from runai_async.cli.run import run
from runai_async.client import RunaiClient
from runai_async.hooks import Hook
from runai_async.policy import RetryPolicy

T = TypeVar("T")

_LONGEST_ATTEMPT = 30.0
_LEAST_SECRET = 6
"""Shorter secrets are not masked: they would occur by chance in what is printed."""


@frozen
class Connection:
    """Which control plane a command talks to, and how.

    Attributes:
        environ: the environment, overridden by the options.
        deadline: seconds for one call with all its attempts.
        allow_http: whether plain http may go to any host.
    """

    environ: Mapping[str, str]
    deadline: float
    allow_http: bool

    def run(self, work: Callable[[RunaiClient], Coroutine[Any, Any, T]], *, hooks: Iterable[Hook] = ()) -> T:
        """Run *work* with a client, and close the client."""
        runai = RunaiClient.from_env(
            environ=self.environ,
            allow_http=self.allow_http,
            retry=RetryPolicy(deadline=self.deadline),
            timeout=min(_LONGEST_ATTEMPT, self.deadline),
            hooks=hooks,
        )

        async def closing() -> T:
            async with runai:
                return await work(runai)

        return run(closing())


def _debug(ctx: click.Context, _: click.Parameter, value: bool) -> None:  # noqa: FBT001  (click's signature)
    """Accept `--debug` after the command's name too, which is where people type it."""
    ctx.obj.debug = ctx.obj.debug or value


_OPTIONS = (
    click.option(
        "--base-url",
        type=NON_EMPTY,
        metavar="URL",
        help="The address of the control plane, instead of RUNAI_BASE_URL.",
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
    click.option("--allow-http", is_flag=True, help="Allow plain http to any host, not only to loopback."),
    click.option(
        "--deadline",
        type=DURATION,
        default="60s",
        show_default=True,
        help="The longest time for one call, with all its attempts.",
    ),
    click.option(
        "--debug",
        is_flag=True,
        expose_value=False,
        callback=_debug,
        help="Print tracebacks and everything that is logged.",
    ),
)


def connecting(command: Command) -> Command:
    """Add the options of a command that talks to a control plane, which gets a `connection`."""

    def connected(
        diagnostics: Diagnostics,
        /,
        *,
        base_url: str | None,
        token_file: TextIO | None,
        ask_token: bool,
        ca_file: str | None,
        allow_http: bool,
        deadline: float,
        **options: Any,
    ) -> Any:
        token = _token(token_file, ask=ask_token)
        given = {"RUNAI_BASE_URL": base_url, "RUNAI_TOKEN": token, "RUNAI_CA_FILE": ca_file}
        environ = {**os.environ, **{name: value for name, value in given.items() if value}}
        secrets = {environ.get(name, "") for name in ("RUNAI_TOKEN", "RUNAI_CLIENT_SECRET")}
        diagnostics.secrets |= {secret for secret in secrets if len(secret) >= _LEAST_SECRET}
        return command(connection=Connection(environ, deadline, allow_http), **options)

    wrapper: Command = functools.update_wrapper(click.pass_obj(connected), command)
    for option in reversed(_OPTIONS):
        wrapper = option(wrapper)
    return wrapper


def _token(file: TextIO | None, *, ask: bool) -> str | None:
    if file is not None and ask:
        raise click.UsageError("give --token-file or --ask-token, not both")
    if ask:
        token, problem = _ask(), "no token was typed"
    elif file is not None:
        token, problem = _read(file), f"{file.name} contains no token"
    else:
        return None
    if not token:
        raise click.UsageError(problem)
    return token


def _read(file: TextIO) -> str:
    try:
        return file.read().strip()
    except UnicodeDecodeError:
        raise click.UsageError(f"{file.name} is not a text file") from None


def _ask() -> str:
    """Ask for the token on the terminal, but not where it would be visible or nobody can type."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", GetPassWarning)
            return getpass("Token: ").strip()
    except GetPassWarning:
        raise click.UsageError("there is no terminal to ask on: --token-file - reads stdin") from None
    except EOFError:
        click.echo(err=True)
        return ""
