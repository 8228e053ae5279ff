"""`runai-async revisions`: list, count, get, diff."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Literal

import click

from runai_async._watch.revision_watch import RevisionWatch
from runai_async.cli.changes import RevisionChanges
from runai_async.cli.connection import Connection, connecting
from runai_async.cli.differences import change_to_dict
from runai_async.cli.groups import Group
from runai_async.cli.ids import (
    WorkloadRef,
    as_uuid,
    find_revisions,
    find_workload,
    names_or_ids,
    workload_of,
)
from runai_async.cli.options import (
    NON_EMPTY,
    check_interval,
    examples,
    interval_option,
    local_option,
    project_option,
    watch_option,
)
from runai_async.cli.secrets import masked
from runai_async.cli.spans import newest_first
from runai_async.cli.text import clean, quoted
from runai_async.cli.views.details import print_changes, print_revision
from runai_async.cli.views.listings import revisions_table
from runai_async.cli.views.output import DATA, VALUES, Output, Result, check_watchable, result_options
from runai_async.cli.views.sheet import Sheet
from runai_async.client import RunaiClient, server_time
from runai_async.diff import compare_revisions
from runai_async.events import RevisionDeleted
from runai_async.models import Revision
from runai_async.policy import LEAST_INTERVAL, PollPolicy

_SHAPE = "json, jsonl and yaml have the API's own shape; name prints names, which are usable as arguments."


@click.group(
    cls=Group,
    epilog=examples(
        "runai-async revisions list my-llm", "runai-async revisions diff my-llm my-llm-00001 3f2a"
    ),
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
        "runai-async revisions list $WORKLOAD -o name | head -n 1",
        "runai-async revisions list $WORKLOAD -o jsonl | jq -r .phase",
    ),
)
@click.argument("workload", type=NON_EMPTY)
@project_option
@click.option("--deleted", is_flag=True, help="List the deleted revisions instead of the live ones.")
@watch_option
@interval_option
@result_options(of=_SHAPE, secrets=DATA)
@connecting
def list_(
    connection: Connection,
    workload: str,
    *,
    project: str | None,
    deleted: bool,
    watch: bool,
    interval: float,
    output: Output,
) -> None:
    """List the revisions of a WORKLOAD, newest first."""
    check_interval(watch=watch)
    if watch:
        check_watchable(output, ("--deleted", deleted))
    sheet = Sheet(headers=output.headers, whole=output.is_wide)

    async def work(runai: RunaiClient) -> None:
        found = await find_workload(runai, workload, project)
        known = newest_first(await runai.list_revisions(found.id, deleted=deleted))
        now = server_time(runai).now()
        result = Result(
            known,
            document={"revisions": known},
            table=lambda wide: revisions_table(known, now, deleted=deleted, wide=wide),
            names=names_or_ids(known),
            empty=f"{workload} has no {'deleted' if deleted else 'live'} revisions",
            sheet=sheet,
        )
        output(result)
        if watch:
            poll = PollPolicy(
                interval=max(interval, LEAST_INTERVAL),
                deadline=connection.deadline,
                emit=frozenset({"updated"}),
            )
            await _watch(runai, runai.watch_revisions(found.id, poll=poll), known, output, sheet)

    connection.run(work)


async def _watch(
    runai: RunaiClient, watch: RevisionWatch, listed: Sequence[Revision], output: Output, sheet: Sheet
) -> None:
    """Print the row of a revision whenever it changes."""
    changes = RevisionChanges(listed)
    async with watch:
        async for event in watch:
            if (changed := changes.note(event)) is not None:
                deleted, now = isinstance(event, RevisionDeleted), server_time(runai).now()
                sheet.print(revisions_table([changed], now, deleted=deleted, wide=output.is_wide))


@revisions.command(epilog=examples("runai-async revisions count $WORKLOAD --deleted"))
@click.argument("workload", type=NON_EMPTY)
@project_option
@click.option("--deleted", is_flag=True, help="Count the deleted revisions instead of the live ones.")
@result_options(VALUES, of="json and yaml are an object.", otherwise="the bare number", headers=False)
@connecting
def count(
    connection: Connection, workload: str, *, project: str | None, deleted: bool, output: Output
) -> None:
    """Count the revisions of a WORKLOAD."""

    async def work(runai: RunaiClient) -> int:
        found = await find_workload(runai, workload, project)
        return await runai.count_revisions(found.id, deleted=deleted)

    number = connection.run(work)
    document = {"count": number}
    output(Result([document], document=document, draw=lambda: click.echo(number)))


@revisions.command(
    epilog=examples(
        "runai-async revisions get $REVISION",
        "runai-async revisions get my-llm-00001 -p team-a",
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
@project_option
@local_option
@result_options(
    of=f"{_SHAPE} wide adds environment, command and arguments.",
    otherwise="facts and conditions",
    headers=False,
    secrets=("wide", *DATA),
)
@connecting
def get(
    connection: Connection,
    revision: str,
    workload: str | None,
    *,
    project: str | None,
    local: bool,
    output: Output,
) -> None:
    """Show one REVISION, live or deleted, with its conditions.

    NAME-00012 is a revision of the workload NAME, which need not be given then.
    """
    workload = workload or (None if as_uuid(revision) else workload_of(revision))
    if workload is None and as_uuid(revision) is None:
        raise click.UsageError(
            f"{quoted(revision)} is neither a UUID nor a name like llm-00012: give the --workload to search"
        )

    async def work(runai: RunaiClient) -> Revision:
        if workload is None:
            return await runai.get_revision(revision)
        found = await find_workload(runai, workload, project)
        return (await find_revisions(runai, found, [revision]))[0]

    found = connection.run(work)
    shown = found if output.show_secrets else masked(found)
    draw = functools.partial(print_revision, shown, wide=output.is_wide, local=local)
    output(Result([found], document=found, draw=draw, names=names_or_ids([found])))


@revisions.command(
    epilog=examples(
        "runai-async revisions diff $WORKLOAD $OLD $NEW",
        "runai-async revisions diff $WORKLOAD $OLD $NEW --all -o json",
    )
)
@click.argument("workload", type=NON_EMPTY)
@click.argument("old", type=NON_EMPTY, metavar="A")
@click.argument("new", type=NON_EMPTY, metavar="B")
@project_option
@click.option("--all", "everything", is_flag=True, help="Compare ids, times and state too.")
@result_options(VALUES, of="json and yaml are an array of path, old, new.", secrets=VALUES)
@connecting
def diff(
    connection: Connection,
    workload: str,
    old: str,
    new: str,
    *,
    project: str | None,
    everything: bool,
    output: Output,
) -> None:
    """Show what changed from revision A to revision B of a WORKLOAD, deleted ones included."""

    async def work(runai: RunaiClient) -> list[Revision]:
        found: WorkloadRef = await find_workload(runai, workload, project)
        return await find_revisions(runai, found, [old, new])

    before, after = connection.run(work)
    scope: Literal["all", "configuration"] = "all" if everything else "configuration"
    changes = compare_revisions(before, after, scope=scope, show_secrets=output.show_secrets)
    items = [change_to_dict(change) for change in changes]
    same = "do not differ" if everything else "have the same configuration"
    output(
        Result(
            items,
            document=items,
            draw=lambda: print_changes(changes, before, after, headers=output.headers),
            empty=f"{clean(before.name)} and {clean(after.name)} {same}",
        )
    )
