"""`runai-async watch`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import get_args

import click

from runai_async._api.workload_query import WorkloadQuery
from runai_async._fleet.fleet_watch import FleetWatch, begin_with
from runai_async._values import frozen
from runai_async._watch.revision_watch import RevisionWatch
from runai_async.checkpoint import FleetCheckpoint
from runai_async.cli.connection import Connection, connecting
from runai_async.cli.diagnostics import Diagnostics
from runai_async.cli.exits import InputError, OutputError
from runai_async.cli.files import StateFile
from runai_async.cli.following import NAMES_EVERY, Following, check_discovery_interval, discovered
from runai_async.cli.ids import find_patiently, is_in_project
from runai_async.cli.options import (
    DURATION,
    NON_EMPTY,
    NonEmptyPath,
    all_option,
    check_relaxed_interval,
    check_shard,
    check_workloads,
    discovery_interval_option,
    examples,
    local_option,
    max_outage_option,
    project_option,
    relaxed_interval_option,
    shard_option,
    stalled_after_option,
)
from runai_async.cli.patience import Patience
from runai_async.cli.run import within
from runai_async.cli.state_lock import held
from runai_async.cli.views.output import EVENTS, MakeView, output_option
from runai_async.cli.views.watch import View, ViewOptions
from runai_async.cli.watched import watched
from runai_async.client import RunaiClient, is_inference_type, server_time, workload_query
from runai_async.models import Workload
from runai_async.policy import LEAST_INTERVAL, Emit, PollPolicy

Stream = RevisionWatch | FleetWatch


@frozen
class WatchOptions:
    """Which workloads to watch, and how.

    Attributes:
        workloads: ids or names; none for all inference workloads.
        filters: conditions of the API, if all are watched.
        kind: a part of the type of the workloads, in lower case, if all are watched; None for "inference".
        poll: how to poll.
        discovery_interval: seconds between two looks at the list of workloads; None for the default.
        relaxed_interval: seconds between polls of workloads that do not change; None for the usual ones.
        shard: which share of all to watch; None for the whole.
        timeout: seconds after which to end; None for never.
        count: the number of events after which to end; None for never.
        existing: whether to display the revisions that exist already.
        project: the project of the workloads; None for any.
    """

    workloads: tuple[str, ...]
    filters: tuple[str, ...]
    kind: str | None
    poll: PollPolicy
    discovery_interval: float | None
    relaxed_interval: float | None
    shard: tuple[int, int] | None
    timeout: float | None
    count: int | None
    existing: bool
    project: str | None = None

    @property
    def what(self) -> str:
        """What is watched with --all."""
        return "inference workload" if self.kind is None else f"workload of a type with {self.kind!r} in it"

    def includes(self, workload: Workload) -> bool:
        """Return whether --all includes a workload."""
        fits = is_inference_type(workload) if self.kind is None else self.kind in workload.type.lower()
        return fits and is_in_project(workload, self.project)


@click.command(
    epilog=examples(
        "runai-async watch $WORKLOAD",
        "runai-async watch --all --state fleet.json -o cloudevents",
        "runai-async watch $WORKLOAD | jq -r '.event, .revision.phase'",
    )
)
@click.argument("workloads", nargs=-1, type=NON_EMPTY, metavar="[WORKLOAD]...")
@all_option("Watch all inference workloads, new ones too.")
@project_option
@click.option(
    "--filter",
    "filters",
    type=NON_EMPTY,
    multiple=True,
    metavar="COND",
    help="With --all: a condition such as projectName==team-a.",
)
@click.option(
    "--type",
    "kind",
    type=NON_EMPTY,
    help="With --all: watch workloads whose type contains this, instead of inference.",
)
@click.option(
    "--interval",
    type=DURATION,
    default="10s",
    show_default=True,
    help="The time between polls while nothing changes.",
)
@discovery_interval_option
@relaxed_interval_option
@shard_option
@click.option(
    "--state",
    type=NonEmptyPath(dir_okay=False, path_type=Path),
    help="Resume from this file, and keep it up to date; one process at a time.",
)
@click.option(
    "--adopt-state",
    "adopt",
    is_flag=True,
    help="With --state: the file is of this control plane, although its URL has changed.",
)
@click.option("--timeout", type=DURATION, help="End after this time, with exit status 3.")
@click.option("-n", "--count", type=click.IntRange(min=1), help="End after this number of events.")
@max_outage_option
@stalled_after_option("Report a revision, once, that")
@click.option("--new-only", is_flag=True, help="Leave out the revisions that exist already.")
@click.option("--emit", multiple=True, type=click.Choice(get_args(Emit)), help="Print these events too.")
@local_option
@click.option("--show-secrets", is_flag=True, help="Print environment, command and arguments too.")
@output_option(EVENTS, of="json is the same as jsonl: one event a line.")
@connecting
@click.pass_obj
def watch(
    diagnostics: Diagnostics,
    /,
    connection: Connection,
    workloads: tuple[str, ...],
    *,
    everything: bool,
    project: str | None,
    filters: tuple[str, ...],
    kind: str | None,
    interval: float,
    discovery_interval: float | None,
    relaxed_interval: float | None,
    shard: tuple[int, int] | None,
    state: Path | None,
    adopt: bool,
    timeout: float | None,
    count: int | None,
    max_outage: float,
    stalled_after: float | None,
    new_only: bool,
    emit: tuple[Emit, ...],
    local: bool,
    show_secrets: bool,
    output: MakeView,
) -> None:
    """Watch revisions appear, change phase and disappear.

    Each WORKLOAD is a UUID, a name, or the beginning of an id that matches only one. A name is followed: when
    its workload is deleted and another one of that project takes the name, that one is watched. It ends when
    the only workload is deleted, if that was given by its id, with --timeout, or with Ctrl-C; the file of
    --state is then up to date.

    In a pipe this prints one JSON object a line. On a terminal it is a live view with a line for each
    workload: its newest revision and phase, and which revision serves, with its pods (those of the newest if
    none does). Keys: j, k, arrows and page keys scroll, / filters by name or phase until Escape, q ends.

    Lines for people, with --output table, stand in the order in which changes were seen. Their times are
    those of the changes, by the server's clock, with the date where that is not today.
    """
    check_workloads(workloads, "watch", everything=everything)
    check_discovery_interval(discovery_interval, workloads)
    for name, value in (("--filter", filters), ("--type", kind)):
        if value and not everything:
            raise click.UsageError(f"{name} requires --all")
    check_shard(shard, everything=everything)
    check_relaxed_interval(relaxed_interval, interval, everything=everything)
    if adopt and state is None:
        raise click.UsageError("--adopt-state requires --state")
    headline = f"Revisions of {', '.join(workloads) or 'all inference workloads'}"
    view = output(ViewOptions(headline, show_secrets, local))
    diagnostics.outages_displayed = view.displays_outages
    if ignored := sorted(view.leaves_out & {*emit}):
        diagnostics.say(f"runai-async: warning: --output cloudevents leaves out {', '.join(ignored)}")
    poll = PollPolicy(
        interval=max(interval, LEAST_INTERVAL),
        max_outage=max_outage,
        missing_grace=min(60.0, max_outage),
        stalled_after=stalled_after,
        emit={*emit, *view.emit},
        deadline=connection.deadline,
    )
    options = WatchOptions(
        workloads,
        filters=filters,
        kind=kind and kind.lower(),
        poll=poll,
        discovery_interval=discovery_interval,
        relaxed_interval=relaxed_interval,
        shard=shard,
        timeout=timeout,
        count=count,
        existing=not new_only,
        project=project,
    )
    file = None if state is None else StateFile(state, adopt=adopt)
    with contextlib.nullcontext() if state is None else held(state):
        connection.run(lambda runai: _watch(runai, options, view, file), hooks=[view.hook])


async def _watch(runai: RunaiClient, options: WatchOptions, view: View, file: StateFile | None) -> None:
    async with within(options.timeout):
        stream = await _open(runai, options, view, file)
        view.follow(watched(stream), server_time(runai))
        async with view.live(), stream, _saved(stream, file):
            await _display(stream, view, options.count)


async def _display(stream: Stream, view: View, count: int | None) -> None:
    """Display the events, and take each one once it is displayed.

    So an event counts as delivered when its line is written. Until then it is in no checkpoint, whenever the
    state is saved and whatever ends the write: the next run displays it again, and nothing has to be undone.
    """
    displayed = 0
    while displayed != count:
        try:
            event = await stream.peek()
        except StopAsyncIteration:
            return
        await view.display(event)
        await anext(stream)
        displayed += 1


async def _open(runai: RunaiClient, options: WatchOptions, view: View, file: StateFile | None) -> Stream:
    patience = Patience(options.poll)
    if not options.workloads:
        query = _query(runai, options, view)
        found = await discovered(query, options.what, patience, options.discovery_interval)
        saved = None if file is None else await asyncio.to_thread(file.load, None, runai.base_url)
        fleet = runai.watch_fleet(
            query,
            poll=options.poll,
            discovery_interval=found.seconds,
            include_existing=options.existing,
            resume_from=saved,
            relaxed_interval=options.relaxed_interval,
            shard=options.shard,
        )
        return begin_with(fleet, found.reader, found.first)
    named = await find_patiently(runai, options.workloads, patience, options.project)
    following = Following(
        runai, named, view.names, options.discovery_interval or NAMES_EVERY, projects=view.names.projects
    )
    saved = None if file is None else await asyncio.to_thread(_load, file, following, runai.base_url)
    if len(following.ids) > 1 or not following.is_fixed:
        return following.fleet(options.poll, include_existing=options.existing, resume_from=saved)
    return runai.watch_revisions(
        following.ids[0],
        poll=options.poll,
        include_existing=options.existing,
        resume_from=saved.workloads.get(following.ids[0]) if saved else None,
    )


def _load(file: StateFile, following: Following, base_url: str) -> FleetCheckpoint | None:
    """Read what was saved of the workloads, and of those that had their names before."""
    return file.load(following.ids, base_url, is_former=None if following.is_fixed else following.is_former)


def _query(runai: RunaiClient, options: WatchOptions, view: View) -> WorkloadQuery:
    def includes(workload: Workload) -> bool:
        is_included = options.includes(workload)
        if is_included and workload.name:
            view.names.projects[workload.id] = workload.project_name or ""
            view.names[workload.id] = workload.name
        return is_included

    return workload_query(runai, includes, filter_by=options.filters)


@contextlib.asynccontextmanager
async def _saved(stream: Stream, file: StateFile | None) -> AsyncGenerator[None, None]:
    """Keep the state file up to date, for as long as the context lasts."""
    if file is None:
        yield
        return

    def current() -> FleetCheckpoint:
        checkpoint = stream.checkpoint()
        if isinstance(checkpoint, FleetCheckpoint):
            return checkpoint
        return FleetCheckpoint({checkpoint.workload_id: checkpoint}, checkpoint.base_url)

    saving = asyncio.create_task(file.keep(current))
    await asyncio.sleep(0)  # a task that is cancelled before it has begun would not save at its end
    failed: OutputError | None = None
    try:
        yield
    except OutputError as error:
        failed = error
        raise
    finally:
        await _save_last(saving, failed)


async def _save_last(saving: asyncio.Task[None], failed: OutputError | None) -> None:
    """Have the state saved for the last time; a full disk is often that of both output and state."""
    saving.cancel()
    try:
        with contextlib.suppress(asyncio.CancelledError):
            await saving
    except InputError as error:
        if failed is None:
            raise
        raise OutputError(f"{failed.message}; {error.message}") from error
