"""`runai-async timeline`."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from runai_async.cli.connection import Connection, connecting
from runai_async.cli.files import write_new
from runai_async.cli.ids import find_workload
from runai_async.cli.options import DURATION, NON_EMPTY, NonEmptyPath, examples
from runai_async.cli.spans import Lane, cut, lane_of
from runai_async.cli.text import timestamp
from runai_async.cli.views.bars import bars
from runai_async.cli.views.console import console
from runai_async.cli.views.output import Output, chosen, output_option
from runai_async.cli.views.svg import svg
from runai_async.cli.views.tables import newest_first
from runai_async.client import RunaiClient
from runai_async.errors import NotFoundError
from runai_async.models import HistoryRecord, Revision


@click.command(
    epilog=examples(
        "runai-async timeline $WORKLOAD --since 2h",
        "runai-async timeline $WORKLOAD --deleted --svg timeline.svg",
    )
)
@click.argument("workload", type=NON_EMPTY)
@click.option("--deleted", is_flag=True, help="Draw deleted revisions, too.")
@click.option("--since", type=DURATION, help="Draw only this last stretch of time.")
@click.option(
    "--last", type=click.IntRange(min=1), default=10, show_default=True, help="So many revisions, the newest."
)
@click.option(
    "--svg", "picture", type=NonEmptyPath(dir_okay=False, path_type=Path), help="Draw into this file."
)
@output_option("table", "json", "jsonl", of="json and jsonl give the spans as numbers.")
@connecting
def timeline(
    connection: Connection,
    workload: str,
    *,
    deleted: bool,
    since: float | None,
    last: int,
    picture: Path | None,
    output: Output | None,
) -> None:
    """Draw revisions as bars of their phases over time.

    The phases come from the revisions' history; where the control plane has none, from the list, which tells
    only the last change.
    """
    now = datetime.now(UTC)

    async def work(runai: RunaiClient) -> tuple[str, list[Lane]]:
        named = await find_workload(runai, workload)
        return named.name or named.id, await _lanes(runai, named.id, last, now, deleted=deleted)

    name, lanes = connection.run(work)
    if since is not None:
        start = datetime.min.replace(tzinfo=UTC)
        with contextlib.suppress(OverflowError):  # before there were years
            start = now - timedelta(seconds=since)
        lanes = cut(lanes, start)
    if not lanes:
        click.echo(f"{workload} has no revisions to draw", err=True)
    elif picture is not None:
        write_new("--svg", picture, svg(f"Revisions of {name}", lanes))
        click.echo(f"{picture} is written", err=True)
    else:
        _print(lanes, chosen(output))


async def _lanes(
    runai: RunaiClient, workload_id: str, last: int, now: datetime, *, deleted: bool
) -> list[Lane]:
    revisions = await runai.list_revisions(workload_id)
    if deleted:
        revisions += await runai.list_revisions(workload_id, deleted=True)
    newest = newest_first(revisions)[:last]
    histories = await asyncio.gather(*(_history(runai, revision) for revision in newest))
    return [
        lane_of(revision, history, now)
        for revision, history in reversed(list(zip(newest, histories, strict=True)))
    ]


async def _history(runai: RunaiClient, revision: Revision) -> list[HistoryRecord] | None:
    try:
        return [record async for record in runai.revision_history(revision.id)]
    except NotFoundError:
        return None  # an older control plane, or one that forgot


def _print(lanes: Sequence[Lane], output: Output) -> None:
    if output == "table":
        screen = console()
        colour = screen.color_system is not None and not screen.no_color
        screen.print(bars(lanes, screen.width, colour=colour))
    elif output == "json":
        click.echo(json.dumps([_plain(lane) for lane in lanes], indent=2))
    else:
        for lane in lanes:
            click.echo(json.dumps(_plain(lane)))


def _plain(lane: Lane) -> dict[str, Any]:
    spans = [
        {
            "phase": None if span.phase is None else str(span.phase),
            "start": timestamp(span.start),
            "end": timestamp(span.end),
            "seconds": span.seconds,
        }
        for span in lane.spans
    ]
    return {"revisionId": lane.revision.id, "name": lane.revision.name, "spans": spans}
