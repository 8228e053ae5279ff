"""`runai-async timeline`."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import datetime, timedelta
from pathlib import Path

import click

from runai_async._clock import EARLIEST
from runai_async.cli import views
from runai_async.cli.connection import Connection, connecting
from runai_async.cli.diagnostics import say
from runai_async.cli.files import replace_file
from runai_async.cli.ids import find_workload
from runai_async.cli.options import (
    DURATION,
    NON_EMPTY,
    NonEmptyPath,
    examples,
    is_given,
    local_option,
    project_option,
)
from runai_async.cli.spans import Lane, cut, lane_of, newest_first
from runai_async.cli.views.output import VALUES, Output, Result, lines_in_a_pipe, result_options
from runai_async.cli.views.svg import svg
from runai_async.client import RunaiClient, server_time
from runai_async.errors import NotFoundError
from runai_async.models import HistoryRecord, Revision


@click.command(
    epilog=examples(
        "runai-async timeline $WORKLOAD --since 2h",
        "runai-async timeline $WORKLOAD --deleted --svg timeline.svg",
    )
)
@click.argument("workload", type=NON_EMPTY)
@project_option
@click.option("--deleted", is_flag=True, help="Draw deleted revisions too.")
@click.option("--since", type=DURATION, help="Draw only this long, up to now.")
@click.option(
    "--last",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="Draw the newest so many revisions.",
)
@click.option(
    "--svg", "picture", type=NonEmptyPath(dir_okay=False, path_type=Path), help="Draw into this file instead."
)
@local_option
@result_options(
    VALUES,
    of="json, jsonl and yaml give the spans as numbers.",
    default=lines_in_a_pipe,
    otherwise="bars on a terminal, JSON lines in a pipe",
    headers=False,
)
@connecting
def timeline(
    connection: Connection,
    workload: str,
    *,
    project: str | None,
    deleted: bool,
    since: float | None,
    last: int,
    picture: Path | None,
    local: bool,
    output: Output,
) -> None:
    """Draw revisions as bars of their phases over time.

    The phases come from the history of the revisions, or from the list where the control plane has no
    history; the list knows only the last change.
    """
    if picture is not None and is_given("output_format"):
        raise click.UsageError("give --svg or --output, not both")

    async def work(runai: RunaiClient) -> tuple[str, list[Lane], datetime]:
        found = await find_workload(runai, workload, project)
        lanes = await _lanes(runai, found.id, last, deleted=deleted)
        return found.name or found.id, lanes, server_time(runai).now()

    name, lanes, now = connection.run(work)
    if since is not None:
        start = EARLIEST
        with contextlib.suppress(OverflowError):  # longer ago than the year 1
            start = now - timedelta(seconds=since)
        lanes = cut(lanes, start)
    if not lanes:
        say(f"{workload} has no revisions to draw")
    elif picture is not None:
        replace_file("--svg", picture, svg(f"Revisions of {name}", lanes), mode=0o666)
        say(f"wrote {picture}")
    else:
        items = [lane.to_dict() for lane in lanes]
        output(Result(items, document=items, draw=lambda: views.bars.print_bars(lanes, local=local)))


async def _lanes(runai: RunaiClient, workload_id: str, last: int, *, deleted: bool) -> list[Lane]:
    revisions = await runai.list_revisions(workload_id)
    if deleted:
        revisions += await runai.list_revisions(workload_id, deleted=True)
    newest = newest_first(revisions)[:last]
    histories = await asyncio.gather(*(_history(runai, revision) for revision in newest))
    now = server_time(runai).now()
    lanes = [lane_of(revision, history, now) for revision, history in zip(newest, histories, strict=True)]
    return lanes[::-1]


async def _history(runai: RunaiClient, revision: Revision) -> list[HistoryRecord] | None:
    try:
        return [record async for record in runai.revision_history(revision.id)]
    except NotFoundError:
        return None  # the control plane is too old to keep a history, or has dropped it
