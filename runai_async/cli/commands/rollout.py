"""`runai-async rollout status`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from runai_async._wait.rollout import RolloutWait
from runai_async._watch.revision_watch import RevisionWatch
from runai_async.cli import views
from runai_async.cli.connection import Connection, connecting
from runai_async.cli.diagnostics import Diagnostics
from runai_async.cli.ids import WorkloadRef, as_uuid, check_reachable, find_revisions, find_workload
from runai_async.cli.options import DURATION, NON_EMPTY, examples, max_outage_option
from runai_async.cli.run import within
from runai_async.client import RunaiClient
from runai_async.errors import NotFoundError, RolloutFailedError, WaitTimeoutError
from runai_async.events import ClusterEvent, WatchDegraded, WatchEvent, WatchRecovered
from runai_async.models import Revision
from runai_async.policy import LEAST_INTERVAL, PollPolicy

if TYPE_CHECKING:
    from runai_async.cli.views.progress import Progress


class _DisplayedWait(RolloutWait):
    """The wait of `RunaiClient.wait_for_rollout`, with its progress displayed."""

    def __init__(
        self, watch: RevisionWatch, after_id: str | None, after: Revision | None, progress: Progress
    ) -> None:
        super().__init__(watch, after_id=after_id, after=after)
        self._progress = progress

    def note(self, event: WatchEvent) -> None:
        """Display outages, and that the cluster has lost its connection."""
        if isinstance(event, WatchDegraded | WatchRecovered):
            self._progress.outage(event)
        elif isinstance(event, ClusterEvent):
            self._progress.cluster(event)
        super().note(event)

    def verdict(self) -> Revision | None:
        """Display the newest revision."""
        self._progress.revision(self.newest)
        return super().verdict()


@click.group(epilog=examples("runai-async rollout status $WORKLOAD --timeout 10m"))
def rollout() -> None:
    """Wait for the rollout of a workload."""


@rollout.command(
    epilog=examples(
        "runai-async rollout status $WORKLOAD --timeout 10m",
        "AFTER=$(runai-async revisions list $WORKLOAD | jq -rs '.[0].id // empty')",
        "# ... change the workload ...",
        "runai-async rollout status $WORKLOAD --timeout 10m ${AFTER:+--after=$AFTER}",
    )
)
@click.argument("workload", type=NON_EMPTY)
@click.option("--timeout", type=DURATION, help="Give up after this time, with exit status 3.")
@click.option(
    "--after",
    type=NON_EMPTY,
    metavar="REVISION",
    help="Wait for a newer revision than this: the newest one before the change.",
)
@click.option(
    "--interval",
    type=DURATION,
    default="5s",
    show_default=True,
    help="The time between polls while nothing changes.",
)
@max_outage_option
@connecting
@click.pass_obj
def status(
    diagnostics: Diagnostics,
    /,
    connection: Connection,
    workload: str,
    *,
    timeout: float | None,
    after: str | None,
    interval: float,
    max_outage: float,
) -> None:
    """Wait until the newest revision of a WORKLOAD serves: Running, with the pods that it requests.

    The exit status is 0 if it does, 1 if it failed, and 3 if it is not done in time, which cancels nothing.
    """
    diagnostics.outages_displayed = True
    poll = PollPolicy(
        interval=max(interval, LEAST_INTERVAL),
        max_outage=max_outage,
        missing_grace=min(60.0, max_outage),
        deadline=connection.deadline,
        emit=frozenset({"updated", "degraded", "recovered", "clusters"}),
    )
    progress = views.progress.Progress(timeout)
    try:
        done = connection.run(
            lambda runai: _wait(runai, workload, after=after, timeout=timeout, poll=poll, progress=progress)
        )
    except (RolloutFailedError, WaitTimeoutError) as error:
        if error.revision is not None:
            views.progress.print_state(error.revision)
        raise
    progress.done(done)


async def _wait(
    runai: RunaiClient,
    workload: str,
    *,
    after: str | None,
    timeout: float | None,
    poll: PollPolicy,
    progress: Progress,
) -> Revision:
    async with progress.live():
        began = asyncio.get_running_loop().time()
        async with within(timeout):
            found, after_id, since = await _find(runai, workload, after)
        progress.begin(found.name or found.id, since.name if since else after_id)
        async with runai.watch_revisions(found.id, poll=poll) as watch:
            wait = _DisplayedWait(watch, after_id, since, progress)
            spent = asyncio.get_running_loop().time() - began
            return await wait.run(float("inf") if timeout is None else timeout, spent=spent)


async def _find(
    runai: RunaiClient, workload: str, after: str | None
) -> tuple[WorkloadRef, str | None, Revision | None]:
    """Return the workload, and the id and the revision of *after*, which may no longer exist."""
    found = await find_workload(runai, workload)
    if after is None:
        await check_reachable(runai, found.id)
        return found, None, None
    if (after_id := as_uuid(after)) is None:
        since = (await find_revisions(runai, found, [after]))[0]
        return found, since.id, since
    try:
        return found, after_id, await runai.get_revision(after_id)
    except NotFoundError:
        return found, after_id, None
