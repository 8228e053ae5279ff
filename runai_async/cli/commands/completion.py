"""`runai-async completion`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from runai_async.cli.options import examples
from runai_async.cli.placeholder import COMPLETING


@click.command(
    epilog=examples(
        "runai-async completion bash > ~/.runai-async.bash  # sourced by ~/.bashrc",
        'eval "$(runai-async completion zsh)"',
        "runai-async completion fish > ~/.config/fish/completions/runai-async.fish",
    )
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script for completion in a shell.

    It completes commands, options, and the names of workloads, revisions and projects, which are read from
    the control plane that the environment names: within a second and a half, or not at all.
    """
    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101  (the choices are the shells that click knows)
    root = click.get_current_context().find_root().command
    click.echo(kind(root, {}, "runai-async", COMPLETING).source())
