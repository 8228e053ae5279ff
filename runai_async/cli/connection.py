"""How a command reaches a control plane: its options, and the client made from them."""

from __future__ import annotations

import functools
import os
import sys
import warnings
from collections.abc import Callable, Coroutine, Iterable, Mapping
from getpass import GetPassWarning, getpass
from pathlib import Path
from typing import Any, TypeVar

import click

from runai_async._auth.credentials import FileToken
from runai_async._values import frozen
from runai_async.cli.diagnostics import Diagnostics
from runai_async.cli.options import DURATION, NON_EMPTY, Command, NonEmptyPath
from runai_async.cli.run import run
from runai_async.cli.signals import raising
from runai_async.cli.skew import SkewWarning
from runai_async.client import RunaiClient, server_time
from runai_async.hooks import Hook
from runai_async.policy import RetryPolicy

T = TypeVar("T")

_LONGEST_ATTEMPT = 30.0
_IN_FLIGHT = 100
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

    def run(
        self,
        work: Callable[[RunaiClient], Coroutine[Any, Any, T]],
        *,
        hooks: Iterable[Hook] = (),
        max_concurrency: int = _IN_FLIGHT,
    ) -> T:
        """Run *work* with a client that has so many requests in flight at most, and close the client."""
        skew = SkewWarning()
        runai = RunaiClient.from_env(
            environ=self.environ,
            allow_http=self.allow_http,
            retry=RetryPolicy(deadline=self.deadline),
            timeout=min(_LONGEST_ATTEMPT, self.deadline),
            hooks=[*hooks, skew],
            max_concurrency=max_concurrency,
        )
        skew.time = server_time(runai)

        async def closing() -> T:
            async with runai:
                return await work(runai)

        return run(closing())


def _debug(ctx: click.Context, _: click.Parameter, value: bool) -> None:  # noqa: FBT001  (click's signature)
    """Accept `--debug` after the command's name too, which is where people type it."""
    if value:
        ctx.obj.enable_debug()


_OPTIONS = (
    click.option(
        "--base-url",
        type=NON_EMPTY,
        metavar="URL",
        help="The address of the control plane, instead of RUNAI_BASE_URL.",
    ),
    click.option(
        "--token-file",
        type=NonEmptyPath(exists=True, dir_okay=False, allow_dash=True),
        help="Read the token from a file (- is stdin), instead of RUNAI_TOKEN. A file that changes is read "
        "again.",
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
        help="Print tracebacks, each request, and everything that is logged.",
    ),
)


def connecting(command: Command) -> Command:
    """Add the options of a command that talks to a control plane, which gets a `connection`."""

    def connected(
        diagnostics: Diagnostics,
        /,
        *,
        base_url: str | None,
        token_file: str | None,
        ask_token: bool,
        ca_file: str | None,
        allow_http: bool,
        deadline: float,
        **options: Any,
    ) -> Any:
        given = {"RUNAI_BASE_URL": base_url, "RUNAI_CA_FILE": ca_file, **_token(token_file, ask=ask_token)}
        environ = {**os.environ, **{name: value for name, value in given.items() if value is not None}}
        diagnostics.secrets |= {secret for secret in _secrets(environ) if len(secret) >= _LEAST_SECRET}
        return command(connection=Connection(environ, deadline, allow_http), **options)

    wrapper: Command = functools.update_wrapper(click.pass_obj(connected), command)
    for option in reversed(_OPTIONS):
        wrapper = option(wrapper)
    return wrapper


def _token(file: str | None, *, ask: bool) -> Mapping[str, str]:
    """Return the variables that an environment would have with the token that the options name."""
    if file is not None and ask:
        raise click.UsageError("give --token-file or --ask-token, not both")
    if ask or file == "-":
        token, problem = (_ask(), "no token was typed") if ask else (_read_stdin(), "stdin contains no token")
        if not token:
            raise click.UsageError(problem)
        return {"RUNAI_TOKEN": token}
    return {} if file is None else {"RUNAI_TOKEN_FILE": file, "RUNAI_TOKEN": ""}


def _secrets(environ: Mapping[str, str]) -> Iterable[str]:
    """Yield what must not be printed.

    Raises:
        ConfigurationError: there is no token in the file that should have one.
    """
    yield environ.get("RUNAI_TOKEN", "")
    yield environ.get("RUNAI_CLIENT_SECRET", "")
    path = "" if environ.get("RUNAI_TOKEN") else environ.get("RUNAI_TOKEN_FILE")
    if path and not Path(path).is_fifo():  # what is read from a pipe is gone
        yield FileToken(path).read_token()


def _read_stdin() -> str:
    if sys.stdin is None:  # pyright: ignore[reportUnnecessaryComparison]  (so it is where it was closed)
        raise click.UsageError("--token-file - reads stdin, which is closed")
    try:
        return sys.stdin.buffer.read().decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise click.UsageError("stdin is not text") from None


def _ask() -> str:
    """Ask for the token on the terminal, but not where it would be visible or nobody can type."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", GetPassWarning)
            with raising():  # getpass has turned the terminal's echo off, and turns it on again
                return getpass("Token: ").strip()
    except GetPassWarning:
        raise click.UsageError("there is no terminal to ask on: --token-file - reads stdin") from None
    except EOFError:
        click.echo(err=True)
        return ""
