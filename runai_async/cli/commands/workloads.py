"""`runai-async workloads`: list."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import click
from click.exceptions import Exit

from runai_async._values import frozen
from runai_async.cli.changes import WorkloadChanges
from runai_async.cli.connection import Connection, connecting
from runai_async.cli.diagnostics import say
from runai_async.cli.exits import FAILED, exit_status
from runai_async.cli.groups import Group
from runai_async.cli.ids import check_project, is_in_project, names_or_ids
from runai_async.cli.options import check_interval, examples, interval_option, project_option, watch_option
from runai_async.cli.overview import Overview, in_order, totals
from runai_async.cli.survey import Survey, lost_clusters, survey
from runai_async.cli.text import clean, counted
from runai_async.cli.views.listings import workloads_table
from runai_async.cli.views.output import DATA, Output, Result, check_watchable, result_options
from runai_async.cli.views.sheet import Sheet, print_aside
from runai_async.client import RunaiClient, is_inference_type, server_time
from runai_async.errors import RunaiError
from runai_async.models import Phase, Workload
from runai_async.policy import LEAST_INTERVAL, PollPolicy

_LISTED = 6
"""Intervals between two looks at the list of workloads, while it is watched: a minute by default."""
_PHASE = click.Choice(list(Phase), case_sensitive=False)


@frozen
class _Selection:
    """Which workloads are listed.

    Attributes:
        project: the name or id of their project; None for all.
        phases: the phases that count; none for all.
        revisions: whether their revisions are read.
    """

    project: str | None
    phases: frozenset[Phase]
    revisions: bool

    def includes(self, workload: Workload) -> bool:
        """Return whether a workload is one of them, whatever its phase."""
        return is_inference_type(workload) and is_in_project(workload, self.project)

    def fits(self, overview: Overview) -> bool:
        """Return whether its phase counts."""
        return not self.phases or overview.phase in self.phases


@click.group(cls=Group, epilog=examples("runai-async workloads list -p team-a"))
def workloads() -> None:
    """List inference workloads and what serves."""


@workloads.command(
    "list",
    epilog=examples(
        "runai-async workloads list",
        "runai-async workloads list -p team-a --phase Failed -o wide",
        "runai-async workloads list --no-headers | awk '$4 == \"-\" { print $1 }'",
        "runai-async workloads list --fail-on Failed > /dev/null",
    ),
)
@project_option
@click.option(
    "--phase",
    "phases",
    type=_PHASE,
    metavar="PHASE",
    multiple=True,
    help="List only workloads in this phase.",
)
@click.option(
    "--no-revisions",
    is_flag=True,
    help="Read the list alone: phases and pods are the workloads' own, and nothing says what serves.",
)
@click.option(
    "--fail-on",
    type=_PHASE,
    metavar="PHASE",
    multiple=True,
    help="End with exit status 1 if a listed workload is in this phase.",
)
@watch_option
@interval_option
@result_options(
    of="json and yaml are {workloads: [{workload, newest, serving}]}, in the API's own shape.", secrets=DATA
)
@connecting
def list_(
    connection: Connection,
    *,
    project: str | None,
    phases: tuple[Phase, ...],
    no_revisions: bool,
    fail_on: tuple[Phase, ...],
    watch: bool,
    interval: float,
    output: Output,
) -> None:
    """List the inference workloads by project and name, with what serves.

    PHASE is that of the newest revision, as a workload's own phase stays Running during a rollout; SERVING
    is the newest revision that runs with the pods it needs, PODS are its running pods and what it needs, and
    NEWEST is the newest revision if that is another one. Revisions are called by the number in their names.

    That takes a request for the list, one for each workload (16 at a time), and one for each cluster;
    --no-revisions leaves out those for the workloads.
    """
    check_interval(watch=watch)
    if watch:
        check_watchable(output, ("--fail-on", fail_on), ("--no-revisions", no_revisions))
    selection = _Selection(project, frozenset(phases), revisions=not no_revisions)
    status = connection.run(
        lambda runai: _list(runai, selection, frozenset(fail_on), output, _poll(connection, interval, watch))
    )
    if status:
        raise Exit(status)


def _poll(connection: Connection, interval: float, watch: bool) -> PollPolicy | None:  # noqa: FBT001
    if not watch:
        return None
    return PollPolicy(
        interval=max(interval, LEAST_INTERVAL),
        deadline=connection.deadline,
        emit=frozenset({"updated", "synced"}),
    )


async def _list(
    runai: RunaiClient,
    selection: _Selection,
    fail_on: frozenset[Phase],
    output: Output,
    poll: PollPolicy | None,
) -> int:
    """Print the list, and with *poll* what changes; return the exit status."""
    everything = [item async for item in runai.list_workloads()]
    check_project(selection.project, everything)
    known = {item.id: item for item in everything if selection.includes(item)}
    lost = asyncio.create_task(lost_clusters(runai, {item.cluster_id for item in known.values()}))
    try:
        found = (
            await survey(runai, list(known.values()))
            if selection.revisions
            else Survey([Overview(item) for item in known.values()])
        )
        for line in await lost:
            print_aside(line, "yellow")
    finally:
        lost.cancel()
    shown = in_order(item for item in found.overviews if selection.fits(item))
    sheet = Sheet(headers=output.headers, whole=output.is_wide)
    output(_result(runai, shown, selection, sheet))
    _conclude(shown, found.failures, output)
    if poll is not None:
        async with aclosing(_changes(runai, selection, known, found.overviews, poll)) as changes:
            async for changed in changes:
                now = server_time(runai).now()
                sheet.print(workloads_table([changed], now, revisions=True, wide=output.is_wide))
    if any(item.phase in fail_on for item in shown):
        return FAILED
    return exit_status(found.failures[0]) if found.failures else 0


def _result(runai: RunaiClient, shown: Sequence[Overview], selection: _Selection, sheet: Sheet) -> Result:
    items = [item.to_dict() for item in shown]
    now = server_time(runai).now()
    return Result(
        items,
        document={"workloads": items},
        table=lambda wide: workloads_table(shown, now, revisions=selection.revisions, wide=wide),
        names=names_or_ids([item.workload for item in shown]),
        empty="no inference workload matches" if selection.phases else "there are no inference workloads",
        sheet=sheet,
    )


def _conclude(shown: Sequence[Overview], failures: Sequence[RunaiError], output: Output) -> None:
    """Print the totals, and what could not be read."""
    if output.is_table and shown and sys.stdout.isatty():
        print_aside(totals(shown), "bright_black")
    if failures:
        what = counted(len(failures), "workload")
        say(f"runai-async: warning: the revisions of {what} could not be read: {clean(str(failures[0]))}")


# --- watching ---------------------------------------------------------------------------------------------


async def _changes(
    runai: RunaiClient,
    selection: _Selection,
    known: dict[str, Workload],
    listed: Sequence[Overview],
    poll: PollPolicy,
) -> AsyncGenerator[Overview, None]:
    """Yield a workload whenever its row changes, while it is selected or has just ceased to be.

    Args:
        runai: the client.
        selection: which workloads are listed.
        known: the workloads by id, which is kept up to date.
        listed: those that were read.
        poll: how to poll.
    """
    listed_just_now = [list(known)]

    async def ids() -> list[str]:
        if listed_just_now:
            return listed_just_now.pop()
        rows = [item async for item in runai.list_workloads() if selection.includes(item)]
        known.update({item.id: item for item in rows})
        return [item.id for item in rows]

    changes = WorkloadChanges(listed, known)
    visible = {item.workload.id for item in listed if selection.fits(item)}
    async with runai.watch_fleet(ids, poll=poll, discovery_interval=_LISTED * poll.interval) as fleet:
        async for event in fleet:
            changed = changes.note(event)
            if changed is None:
                continue
            was_visible, is_visible = changed.workload.id in visible, selection.fits(changed)
            visible = visible | {changed.workload.id} if is_visible else visible - {changed.workload.id}
            if was_visible or is_visible:
                yield changed
