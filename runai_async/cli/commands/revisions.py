"""`runai-async revisions`: list, count, get, diff."""

from __future__ import annotations

from typing import Any, Literal

import click

from runai_async.cli import views
from runai_async.cli.connection import Connection, connecting
from runai_async.cli.ids import as_uuid, find_revisions, find_workload
from runai_async.cli.options import NON_EMPTY, examples
from runai_async.cli.spans import newest_first
from runai_async.cli.text import clean
from runai_async.cli.views.output import RESULTS, Print, Result, output_option
from runai_async.client import RunaiClient
from runai_async.diff import FieldChange, compare_revisions
from runai_async.models import Revision

_COMPLETE = (
    "json and jsonl are complete, in the API's own shape: they contain environment, command and arguments, "
    "which may be secrets."
)


@click.group(
    epilog=examples(
        "runai-async revisions list my-llm", "runai-async revisions diff my-llm my-llm-00001 3f2a"
    )
)
def revisions() -> None:
    """List, count, get or compare revisions.

    A WORKLOAD is a UUID, a name, or the beginning of an id that matches only one; so is a REVISION of it.
    """


@revisions.command(
    "list",
    epilog=examples(
        "runai-async revisions list $WORKLOAD",
        "runai-async revisions list $WORKLOAD --deleted",
        "runai-async revisions list $WORKLOAD -o jsonl | jq -r .phase",
    ),
)
@click.argument("workload", type=NON_EMPTY)
@click.option("--deleted", is_flag=True, help="List the deleted revisions instead of the live ones.")
@output_option(RESULTS, of=_COMPLETE)
@connecting
def list_(connection: Connection, workload: str, *, deleted: bool, output: Print) -> None:
    """List the revisions of a WORKLOAD, newest first."""

    async def work(runai: RunaiClient) -> list[Revision]:
        return await runai.list_revisions((await find_workload(runai, workload)).id, deleted=deleted)

    found = newest_first(connection.run(work))
    output(
        Result(
            found,
            document={"revisions": found},
            draw=lambda: views.tables.print_revisions(found),
            empty=f"{workload} has no {'deleted' if deleted else 'live'} revisions",
        )
    )


@revisions.command(epilog=examples("runai-async revisions count $WORKLOAD --deleted"))
@click.argument("workload", type=NON_EMPTY)
@click.option("--deleted", is_flag=True, help="Count the deleted revisions instead of the live ones.")
@output_option(RESULTS, of="json is an object.", default="table", otherwise="the bare number, as for table")
@connecting
def count(connection: Connection, workload: str, *, deleted: bool, output: Print) -> None:
    """Count the revisions of a WORKLOAD."""

    async def work(runai: RunaiClient) -> int:
        return await runai.count_revisions((await find_workload(runai, workload)).id, deleted=deleted)

    number = connection.run(work)
    document = {"count": number}
    output(Result([document], document=document, draw=lambda: click.echo(number)))


@revisions.command(
    epilog=examples(
        "runai-async revisions get $REVISION",
        "runai-async revisions get $PREFIX --workload $WORKLOAD",
        "runai-async revisions get $REVISION -o json | jq .conditions",
    )
)
@click.argument("revision", type=NON_EMPTY)
@click.option(
    "-w",
    "--workload",
    type=NON_EMPTY,
    help="Search this workload's revisions, by name or the beginning of an id.",
)
@output_option(RESULTS, of=_COMPLETE)
@connecting
def get(connection: Connection, revision: str, workload: str | None, output: Print) -> None:
    """Show one REVISION, live or deleted, with its conditions."""
    if workload is None and as_uuid(revision) is None:
        raise click.UsageError(f"{revision!r} is not a UUID: give the whole id, or the --workload to search")

    async def work(runai: RunaiClient) -> Revision:
        if workload is None:
            return await runai.get_revision(revision)
        found = await find_workload(runai, workload)
        return (await find_revisions(runai, found, [revision]))[0]

    found = connection.run(work)
    output(Result([found], document=found, draw=lambda: views.tables.print_revision(found)))


@revisions.command(
    epilog=examples(
        "runai-async revisions diff $WORKLOAD $OLD $NEW",
        "runai-async revisions diff $WORKLOAD $OLD $NEW --all -o json",
    )
)
@click.argument("workload", type=NON_EMPTY)
@click.argument("old", type=NON_EMPTY, metavar="A")
@click.argument("new", type=NON_EMPTY, metavar="B")
@click.option("--all", "everything", is_flag=True, help="Compare ids, times and state too.")
@click.option("--show-secrets", is_flag=True, help="Show values of environment, command and arguments.")
@output_option(RESULTS, of="json is an array of path, old, new.")
@connecting
def diff(
    connection: Connection,
    workload: str,
    old: str,
    new: str,
    *,
    everything: bool,
    show_secrets: bool,
    output: Print,
) -> None:
    """Show what changed from revision A to revision B of a WORKLOAD, deleted ones included."""

    async def work(runai: RunaiClient) -> list[Revision]:
        return await find_revisions(runai, await find_workload(runai, workload), [old, new])

    before, after = connection.run(work)
    scope: Literal["all", "configuration"] = "all" if everything else "configuration"
    changes = compare_revisions(before, after, scope=scope, show_secrets=show_secrets)
    items = [_plain(change) for change in changes]
    same = "do not differ" if everything else "have the same configuration"
    output(
        Result(
            items,
            document=items,
            draw=lambda: views.tables.print_changes(changes, before, after),
            empty=f"{clean(before.name)} and {clean(after.name)} {same}",
        )
    )


def _plain(change: FieldChange) -> dict[str, Any]:
    return {"path": change.path, "old": change.old, "new": change.new}
