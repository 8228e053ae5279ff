"""`runai-async describe`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import click
from attrs import evolve

from runai_async._wait.order import newest
from runai_async.cli.connection import Connection, connecting
from runai_async.cli.description import Description, ran_last
from runai_async.cli.ids import find_workload
from runai_async.cli.options import NON_EMPTY, examples, project_option
from runai_async.cli.views.output import Output, Result, result_options
from runai_async.client import RunaiClient, server_time
from runai_async.errors import NotFoundError, PermissionDeniedError
from runai_async.explanation import Explanation
from runai_async.models import Revision, RevisionLogEvent

_READ = 500
"""The latest events, among which the different ones are found: one page."""
_KEYS = """\b
Keys of json and yaml, in which a revision is in the API's own shape, and null
stands for what does not exist or cannot be read:
  workload          its id, and its name and project if they were looked up
  serving, newest   the revision that serves, and the newest one
  before            the revision that ran before the newest one
  liveRevisions     how many there are
  cause             why the newest one does not serve
  exceededDeadline  whether Knative gave up on it
  lostCluster       which cluster lost its connection, and since when
  conditions        those of the newest one that are not True
  pods              how many of its pods are in each phase
  changes           what changed since the one before: path, old, new
  events            type, reason, message, count, lastAt; newest first"""


@click.command(
    epilog=f"{_KEYS}\n\n"
    + examples(
        "runai-async describe my-llm",
        "runai-async describe $WORKLOAD --events 20",
        "runai-async describe $WORKLOAD -o json | jq -r .cause",
    ),
)
@click.argument("workload", type=NON_EMPTY)
@click.option(
    "--events",
    type=click.IntRange(min=0),
    default=5,
    show_default=True,
    metavar="N",
    help="The number of different events to print.",
)
@project_option
@result_options(
    ("table", "json", "yaml"),
    of="json and yaml are one object.",
    otherwise="lines for people",
    headers=False,
    secrets=("table", "json", "yaml"),
)
@connecting
def describe(
    connection: Connection, workload: str, *, project: str | None, events: int, output: Output
) -> None:
    """Say what serves of a workload, what comes, what failed and why.

    It prints the revision of the WORKLOAD that serves, the newest one with its pods, its conditions that are
    not True and its latest events, and what changed since the revision that ran before.
    """

    def draw() -> None:
        for line in found.lines(now):
            click.echo(line)

    async def work(runai: RunaiClient) -> tuple[Description, datetime]:
        return await _read(runai, workload, project, events), server_time(runai).now()

    found, now = connection.run(work)
    found = evolve(found, show_secrets=output.show_secrets)
    document = found.to_dict()
    output(Result([document], document=document, draw=draw))


async def _read(runai: RunaiClient, workload: str, project: str | None, events: int) -> Description:
    found = await find_workload(runai, workload, project)
    live = await runai.list_revisions(found.id)
    if (latest := newest(live)) is None:
        return Description(found, live)
    before = ran_last(live, latest) or ran_last(await runai.list_revisions(found.id, deleted=True), latest)
    explanation = await _explanation(runai, latest)
    log = await _events(runai, latest) if events else ()
    return Description(found, live, before, explanation, log, events)


async def _explanation(runai: RunaiClient, revision: Revision) -> Explanation | None:
    """Return why a revision does not serve; None if it has been purged meanwhile."""
    try:
        return await runai.explain_revision(revision.id)
    except NotFoundError:
        return None


async def _events(runai: RunaiClient, revision: Revision) -> Sequence[RevisionLogEvent] | None:
    """Return the latest events; None where they are refused or missing."""
    found: list[RevisionLogEvent] = []
    log = runai.revision_events(revision.id)
    try:
        while len(found) < _READ and (event := await anext(log, None)) is not None:
            found.append(event)
    except (NotFoundError, PermissionDeniedError):
        return None
    return found
