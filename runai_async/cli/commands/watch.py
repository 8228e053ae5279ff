"""`runai-async watch`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import click
from attrs import evolve, frozen

from runai_async._fleet.fleet_watch import FleetWatch
from runai_async._watch.revision_watch import RevisionWatch
from runai_async.checkpoint import FleetCheckpoint
from runai_async.cli.connection import Connection, connecting
from runai_async.cli.files import StateFile
from runai_async.cli.ids import check_discovery, check_reachable, find_workloads
from runai_async.cli.options import (
    DURATION,
    NON_EMPTY,
    NonEmptyPath,
    check_workloads,
    examples,
    max_outage_option,
)
from runai_async.cli.run import within
from runai_async.cli.views.output import Output, chosen, output_option
from runai_async.cli.views.watch import View, view_for
from runai_async.client import RunaiClient, is_inference_type
from runai_async.models import Workload
from runai_async.policy import LEAST_INTERVAL, PollPolicy

_EMIT = ("updated", "synced", "degraded", "recovered")
Stream = RevisionWatch | FleetWatch


@frozen
class WatchOptions:
    """Which workloads to watch, and how.

    Attributes:
        workloads: ids or names; none for all inference workloads.
        filters: of the API, for all.
        kind: a part of the type of the workloads, for all; None for "inference".
        timeout: seconds after which to end; None for never.
        count: events after which to end; None for never.
        existing: whether the revisions of the first answer are told.
    """

    workloads: tuple[str, ...]
    filters: tuple[str, ...]
    kind: str | None
    poll: PollPolicy
    timeout: float | None
    count: int | None
    existing: bool

    @property
    def what(self) -> str:
        """What is watched with --all."""
        return "inference workload" if self.kind is None else f"workload of a type with {self.kind!r} in it"

    def takes(self, workload: Workload) -> bool:
        """Tell whether a workload is one of those to watch."""
        return is_inference_type(workload) if self.kind is None else self.kind in workload.type.lower()


@click.command(
    epilog=examples(
        "runai-async watch $WORKLOAD",
        "runai-async watch --all --state fleet.json -o cloudevents",
        "runai-async watch $WORKLOAD | jq -r '.event, .revision.phase'",
    )
)
@click.argument("workloads", nargs=-1, type=NON_EMPTY, metavar="[WORKLOAD]...")
@click.option("--all", "everything", is_flag=True, help="Watch all inference workloads, new ones too.")
@click.option(
    "--filter",
    "filters",
    type=NON_EMPTY,
    multiple=True,
    metavar="COND",
    help="With --all: like projectName==team-a.",
)
@click.option(
    "--type", "kind", type=NON_EMPTY, help="With --all: watch types that contain this, instead of inference."
)
@click.option(
    "--interval", type=DURATION, default="10s", show_default=True, help="Between polls while all is quiet."
)
@click.option(
    "--state", type=NonEmptyPath(dir_okay=False, path_type=Path), help="Go on where this file says."
)
@click.option("--timeout", type=DURATION, help="End after this time, with exit status 3.")
@click.option("-n", "--count", type=click.IntRange(min=1), help="End after so many events.")
@max_outage_option
@click.option("--new-only", is_flag=True, help="Do not tell the revisions that are there already.")
@click.option("--emit", multiple=True, type=click.Choice(_EMIT), help="Further events to print.")
@click.option("--show-secrets", is_flag=True, help="Print environment, command and arguments, too.")
@output_option("table", "json", "jsonl", "cloudevents", of="json is the same as jsonl: an event, a line.")
@connecting
@click.pass_context
def watch(
    ctx: click.Context,
    /,
    connection: Connection,
    workloads: tuple[str, ...],
    *,
    everything: bool,
    interval: float,
    max_outage: float,
    emit: tuple[Any, ...],
    output: Output | None,
    show_secrets: bool,
    state: Path | None,
    **options: Any,
) -> None:
    """Watch revisions come, change their phase, and go.

    Each WORKLOAD is a UUID, a name, or the beginning of an id that fits only one. On a terminal it is a
    live view, in a pipe one JSON object a line. Times of changes are the server's. It ends when the only
    workload is deleted, with --timeout, or with Ctrl-C; --state is then up to date.
    """
    check_workloads(workloads, "watch", everything=everything)
    for name, value in (("--filter", options["filters"]), ("--type", options["kind"])):
        if value and not everything:
            raise click.UsageError(f"{name} wants --all")
    headline = f"Revisions of {', '.join(workloads) or 'all inference workloads'}"
    view = view_for(chosen(output), headline=headline, show_secrets=show_secrets)
    ctx.obj.quiet = view.tells_trouble
    poll = PollPolicy(
        interval=max(interval, LEAST_INTERVAL),
        max_outage=max_outage,
        emit={*emit, *view.emit},
        deadline=connection.deadline,
    )
    wanted = WatchOptions(
        workloads,
        filters=options["filters"],
        kind=options["kind"] and options["kind"].lower(),
        poll=evolve(poll, missing_grace=min(poll.missing_grace, max_outage)),
        timeout=options["timeout"],
        count=options["count"],
        existing=not options["new_only"],
    )
    file = None if state is None else StateFile(state)
    connection.run(lambda runai: _watch(runai, wanted, view, file), hooks=[view.hook])


async def _watch(runai: RunaiClient, wanted: WatchOptions, view: View, file: StateFile | None) -> None:
    async with within(wanted.timeout):
        stream = await _opened(runai, wanted, view, file)
        async with view.shown(), stream, _kept(stream, file):
            await _tell(stream, view, wanted.count)


async def _tell(stream: Stream, view: View, count: int | None) -> None:
    told = 0
    async for event in stream:
        view.tell(event)
        told += 1
        if told == count:
            return


async def _opened(runai: RunaiClient, wanted: WatchOptions, view: View, file: StateFile | None) -> Stream:
    if not wanted.workloads:
        await check_discovery(_discovered(runai, wanted, view), wanted.what)
        saved = None if file is None else await asyncio.to_thread(file.load, None)
        return runai.watch_fleet(
            lambda: _discovered(runai, wanted, view),
            poll=wanted.poll,
            include_existing=wanted.existing,
            resume_from=saved,
        )
    found = await find_workloads(runai, wanted.workloads)
    view.names.update({item.id: item.name for item in found if item.name})
    ids = list(dict.fromkeys(item.id for item in found))
    saved = None if file is None else await asyncio.to_thread(file.load, ids)
    await check_reachable(runai, ids[0])
    return _of_ids(runai, ids, wanted, saved)


def _of_ids(
    runai: RunaiClient, ids: Sequence[str], wanted: WatchOptions, saved: FleetCheckpoint | None
) -> Stream:
    if len(ids) > 1:
        return runai.watch_fleet(ids, poll=wanted.poll, include_existing=wanted.existing, resume_from=saved)
    return runai.watch_revisions(
        ids[0],
        poll=wanted.poll,
        include_existing=wanted.existing,
        resume_from=saved.workloads.get(ids[0]) if saved else None,
    )


async def _discovered(runai: RunaiClient, wanted: WatchOptions, view: View) -> AsyncIterator[str]:
    async for workload in runai.list_workloads(filter_by=wanted.filters):
        if wanted.takes(workload):
            view.names[workload.id] = workload.name
            yield workload.id


@contextlib.asynccontextmanager
async def _kept(stream: Stream, file: StateFile | None) -> AsyncGenerator[None, None]:
    """Keep the state file up to date."""
    if file is None:
        yield
        return

    def current() -> FleetCheckpoint:
        checkpoint = stream.checkpoint()
        if isinstance(checkpoint, FleetCheckpoint):
            return checkpoint
        return FleetCheckpoint({checkpoint.workload_id: checkpoint})

    keeping = asyncio.create_task(file.keep(current))
    try:
        yield
    finally:
        keeping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await keeping
