"""The root command. It imports a subcommand only to run it, so that `--help` and `--version` start fast."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import click
from click.exceptions import NoArgsIsHelpError

from runai_async._version import __version__
from runai_async.cli.diagnostics import Diagnostics, silence
from runai_async.cli.exits import EXIT_STATUS, ReaderGoneError, leave
from runai_async.cli.groups import Group
from runai_async.cli.placeholder import COMPLETING, without_client
from runai_async.cli.stdout import whole

COMMANDS = {
    "demo": "See a watch at work; no account is needed.",
    "workloads": "List inference workloads and what serves.",
    "describe": "Say what serves of a workload, what comes, what failed and why.",
    "revisions": "List, count, get or compare revisions.",
    "clusters": "List clusters and whether they are connected.",
    "watch": "Watch revisions appear, change phase and disappear.",
    "rollout": "Wait for rollouts, or list those of a workload.",
    "timeline": "Draw revisions as bars of their phases over time.",
    "exporter": "Serve the state of revisions as Prometheus metrics.",
    "print": "Print a dashboard, alerts or a manifest for the exporter.",
    "fake": "Serve a fake control plane to try things on.",
    "completion": "Print the script for completion in a shell.",
}
"""The subcommands with their short help, the most useful first. Each is a module of its name."""

_COMPLETION = """\b
Completion in bash (replace bash with zsh or fish for those):
  eval "$(runai-async completion bash)"
"""


class Application(Group):
    """A group that imports a command when it is run, and turns errors into lines and exit statuses."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"runai_async.cli.commands.{cmd_name}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run the command line and end the process."""
        diagnostics = Diagnostics()
        if os.environ.get(COMPLETING):
            self._complete(diagnostics, extra)
        with diagnostics.logged():
            try:
                status = super().main(*args, **{**extra, "standalone_mode": False, "obj": diagnostics})
            except NoArgsIsHelpError as error:
                error.show()
                sys.exit(error.exit_code)
            except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  (every error ends the process here)
                leave(error, diagnostics)
        sys.exit(status if isinstance(status, int) else 0)

    def _complete(self, diagnostics: Diagnostics, extra: dict[str, Any]) -> NoReturn:
        """Print what a word may be completed to, and nothing else."""
        without_client()
        arguments: dict[str, Any] = {**extra, "prog_name": "runai-async", "obj": diagnostics}
        with silence(), contextlib.suppress(Exception):
            super().main(**arguments)
        sys.exit(0)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command. Raises `ReaderGoneError` if nobody reads its output any longer."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except (BrokenPipeError, ReaderGoneError) as error:
            # The interpreter flushes stdout once more when it exits, and would complain.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise ReaderGoneError from error
        return result


@click.group(
    cls=Application,
    epilog=f"{EXIT_STATUS}\n\n{_COMPLETION}",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="runai-async")
@click.option(
    "--debug",
    is_flag=True,
    help="Print tracebacks, each request, and everything that is logged; secrets are masked.",
)
@click.pass_obj
def app(diagnostics: Diagnostics, *, debug: bool) -> None:
    """List, watch and wait for the revisions of NVIDIA Run:ai inference workloads.

    RUNAI_BASE_URL is the address of the control plane; RUNAI_TOKEN, or RUNAI_CLIENT_ID and
    RUNAI_CLIENT_SECRET, are the credentials. Anything not set is taken from the login of the vendor's
    command line. `runai-async demo` needs none of it.
    """
    if debug:
        diagnostics.enable_debug()


def run() -> None:
    """Run the command line."""
    # If the caller closed stdout or stderr, nobody reads the output, but the exit status still counts.
    sys.stdout, sys.stderr = (
        stream or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115  (open as long as the process)
        for stream in (sys.stdout, sys.stderr)
    )
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without Unicode is no reason to fail
    sys.stdout = whole(sys.stdout)
    app()
