"""`runai-async revisions`: list, count, get, diff."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Literal

import click
from rich.console import Group

from runai_async._codec import to_json
from runai_async.cli.connection import Connection, connecting
from runai_async.cli.ids import as_uuid, find_revisions, find_workload
from runai_async.cli.options import NON_EMPTY, examples
from runai_async.cli.text import clean
from runai_async.cli.views.console import console
from runai_async.cli.views.output import Output, chosen, output_option
from runai_async.cli.views.tables import changes_table, newest_first, revision_sheet, revisions_table
from runai_async.client import RunaiClient
from runai_async.diff import MASK, FieldChange, compare_revisions
from runai_async.models import Revision

_COMPLETE = (
    "json and jsonl are the API's own shape and complete: they hold environment, command and arguments, "
    "which may be secrets."
)


@click.group(
    epilog=examples(
        "runai-async revisions list my-llm", "runai-async revisions diff my-llm my-llm-00001 3f2a"
    )
)
def revisions() -> None:
    """List, count, get or diff revisions.

    A WORKLOAD is a UUID, a name, or the beginning of an id that fits only one; so is a REVISION of it.
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
@output_option("table", "json", "jsonl", of=_COMPLETE)
@connecting
def list_(connection: Connection, workload: str, *, deleted: bool, output: Output | None) -> None:
    """List the revisions of a WORKLOAD, newest first."""

    async def work(runai: RunaiClient) -> list[Revision]:
        return await runai.list_revisions((await find_workload(runai, workload)).id, deleted=deleted)

    found = newest_first(connection.run(work))
    match chosen(output):
        case "table" if not found:
            click.echo(f"{workload} has no {'deleted' if deleted else 'live'} revisions", err=True)
        case "table":
            screen = console()
            screen.print(revisions_table(found, datetime.now(UTC), screen.width))
        case "json":
            _print_json({"revisions": _plain(found)})
        case _:
            for revision in found:
                click.echo(to_json(revision))


@revisions.command(epilog=examples("runai-async revisions count $WORKLOAD --deleted"))
@click.argument("workload", type=NON_EMPTY)
@click.option("--deleted", is_flag=True, help="Count the deleted revisions instead of the live ones.")
@output_option(
    "table", "json", "jsonl", of="json is an object.", else_="Without it, or as a table: the bare number."
)
@connecting
def count(connection: Connection, workload: str, *, deleted: bool, output: Output | None) -> None:
    """Count the revisions of a WORKLOAD."""

    async def work(runai: RunaiClient) -> int:
        return await runai.count_revisions((await find_workload(runai, workload)).id, deleted=deleted)

    number = connection.run(work)
    click.echo(json.dumps({"count": number}) if output in {"json", "jsonl"} else number)


@revisions.command(
    epilog=examples(
        "runai-async revisions get $REVISION",
        "runai-async revisions get $PREFIX --workload $WORKLOAD",
        "runai-async revisions get $REVISION -o json | jq .conditions",
    )
)
@click.argument("revision", type=NON_EMPTY)
@click.option(
    "-w", "--workload", type=NON_EMPTY, help="Look among this workload's, by name or the beginning of an id."
)
@output_option("table", "json", "jsonl", of=_COMPLETE)
@connecting
def get(connection: Connection, revision: str, workload: str | None, output: Output | None) -> None:
    """Show one REVISION, live or deleted, with its conditions."""
    if workload is None and as_uuid(revision) is None:
        raise click.UsageError(f"{revision!r} is no UUID: give the whole id, or the --workload to look in")

    async def work(runai: RunaiClient) -> Revision:
        if workload is None:
            return await runai.get_revision(revision)
        named = await find_workload(runai, workload)
        return (await find_revisions(runai, named, [revision]))[0]

    found = connection.run(work)
    match chosen(output):
        case "table":
            console().print(Group(*revision_sheet(found)))
        case "json":
            _print_json(_plain(found))
        case _:
            click.echo(to_json(found))


@revisions.command(
    epilog=examples(
        "runai-async revisions diff $WORKLOAD $OLD $NEW",
        "runai-async revisions diff $WORKLOAD $OLD $NEW --all -o json",
    )
)
@click.argument("workload", type=NON_EMPTY)
@click.argument("old", type=NON_EMPTY, metavar="A")
@click.argument("new", type=NON_EMPTY, metavar="B")
@click.option("--all", "everything", is_flag=True, help="Compare ids, times and state, too.")
@click.option("--show-secrets", is_flag=True, help="Show values of environment, command and arguments.")
@output_option("table", "json", "jsonl", of="json is an array of path, old, new.")
@connecting
def diff(
    connection: Connection,
    workload: str,
    old: str,
    new: str,
    *,
    everything: bool,
    show_secrets: bool,
    output: Output | None,
) -> None:
    """Tell what changed from revision A to revision B of a WORKLOAD, deleted ones included."""

    async def work(runai: RunaiClient) -> list[Revision]:
        return await find_revisions(runai, await find_workload(runai, workload), [old, new])

    before, after = connection.run(work)
    scope: Literal["all", "configuration"] = "all" if everything else "configuration"
    changes = compare_revisions(before, after, scope=scope, show_secrets=show_secrets)
    match chosen(output):
        case "table" if not changes:
            click.echo(f"{clean(before.name)} and {clean(after.name)} have the same {scope}", err=True)
        case "table":
            console().print(changes_table(changes, before, after))
            if any(MASK in (item.old, item.new) for item in changes):
                click.echo(f"{MASK} may hold a secret: --show-secrets shows what differs", err=True)
        case "json":
            _print_json([_change(item) for item in changes])
        case _:
            for item in changes:
                click.echo(json.dumps(_change(item)))


def _change(change: FieldChange) -> dict[str, Any]:
    parts = {"old": change.old, "new": change.new}
    return {"path": change.path, **{name: _plain(value) for name, value in parts.items()}}


def _plain(value: Any) -> Any:
    """Turn models into JSON's types."""
    return json.loads(to_json(value))


def _print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))
