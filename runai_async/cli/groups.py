"""Groups of commands that suggest what a mistyped command may have meant."""

from __future__ import annotations

import click

from runai_async.cli.text import quoted, suggestion


class Group(click.Group):
    """A group of commands."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the arguments name.

        Raises:
            UsageError: there is none of this name.
        """
        name = args[0]
        is_missing = not ctx.resilient_parsing and not name.startswith("-")
        if is_missing and self.get_command(ctx, name) is None:
            hint = suggestion(name, self.list_commands(ctx))
            raise click.UsageError(f"no such command {quoted(name)}{hint and f' ({hint})'}", ctx)
        return super().resolve_command(ctx, args)
