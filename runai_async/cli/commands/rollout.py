"""`runai-async rollout status`."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

import click

from runai_async._wait.rollout import RolloutWait
from runai_async._watch.failures import is_outage
from runai_async._watch.revision_watch import RevisionWatch
from runai_async.cli import views
from runai_async.cli.connection import Connection, connecting
from runai_async.cli.diagnostics import Diagnostics, say
from runai_async.cli.exits import SignalledError, TimeIsUpError
from runai_async.cli.groups import Group
from runai_async.cli.ids import (
    WorkloadRef,
    as_uuid,
    find_patiently,
    find_revisions,
    newest_workload,
)
from runai_async.cli.options import DURATION, NON_EMPTY, examples, project_option, stalled_after_option
from runai_async.cli.patience import Patience
from runai_async.cli.run import within
from runai_async.cli.text import limit
from runai_async.client import RunaiClient
from runai_async.errors import (
    NotFoundError,
    RolloutFailedError,
    RunaiError,
    WaitError,
    WaitTimeoutError,
)
from runai_async.events import ClusterEvent, RevisionStalled, WatchDegraded, WatchEvent, WatchRecovered
from runai_async.models import Revision
from runai_async.policy import LEAST_INTERVAL, PollPolicy

if TYPE_CHECKING:
    from runai_async.cli.views.progress import Progress

T = TypeVar("T")

_MAX_OUTAGE = 900.0
"""Seconds without a response after which a wait without a timeout ends, by default."""
_SEARCH_SECONDS = 10.0
"""Seconds that a search for the new workload of a name may take."""
_PAUSE = 10.0
"""Seconds between two searches."""
_GLANCE = 0.5
"""Seconds between two looks at whether the workload is refused as unknown."""
_LATE = (WaitTimeoutError, TimeIsUpError)


class _DisplayedWait(RolloutWait):
    """The wait of `RunaiClient.wait_for_rollout`, with its progress displayed."""

    def __init__(
        self, watch: RevisionWatch, after_id: str | None, after: Revision | None, progress: Progress
    ) -> None:
        super().__init__(watch, after_id=after_id, after=after)
        self._progress = progress

    def note(self, event: WatchEvent) -> None:
        """Display outages, and that the cluster has lost its connection."""
        if isinstance(event, WatchDegraded):
            self._progress.outage_began(event.error)
        elif isinstance(event, WatchRecovered):
            self._progress.outage_ended(event.seconds)
        elif isinstance(event, ClusterEvent):
            self._progress.cluster(event)
        super().note(event)

    def stalled(self, event: RevisionStalled) -> None:
        """Display that the newest revision has stalled."""
        self._progress.stalled(event)

    def verdict(self) -> Revision | None:
        """Display the newest revision."""
        self._progress.revision(self.newest)
        return super().verdict()


@click.group(cls=Group, epilog=examples("runai-async rollout status $WORKLOAD --timeout 10m"))
def rollout() -> None:
    """Wait for the rollout of a workload."""


@rollout.command(
    epilog=examples(
        "runai-async rollout status $WORKLOAD --timeout 10m",
        "AFTER=$(runai-async revisions list $WORKLOAD -o name | sed -n 1p)",
        "# ... change the workload ...",
        "runai-async rollout status $WORKLOAD --timeout 10m ${AFTER:+--after=$AFTER}",
    )
)
@click.argument("workload", type=NON_EMPTY)
@project_option
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
@click.option(
    "--max-outage",
    type=DURATION,
    help="Give up after this time without a response, also at the start.  "
    "[default: 15m; with --timeout until then]",
)
@stalled_after_option("Print a line once the newest revision", "10m")
@connecting
@click.pass_obj
def status(
    diagnostics: Diagnostics,
    /,
    connection: Connection,
    workload: str,
    *,
    project: str | None,
    timeout: float | None,
    after: str | None,
    interval: float,
    max_outage: float | None,
    stalled_after: float,
) -> None:
    """Wait until the newest revision of a WORKLOAD serves: Running, with the pods that it requests.

    The exit status is 0 if it does, 1 if it failed, and 3 if it is not done in time, which cancels nothing.
    What events and pods say about a failure, or a timeout, is printed on stderr.
    An outage is waited out until the --timeout, from the first request on. In a log there is a line for each
    change, and one every 30 seconds. A name means the workload that has it at the start: if that is deleted,
    the rollout has failed.
    """
    diagnostics.outages_displayed = True
    if max_outage is None and timeout is None:
        max_outage = _MAX_OUTAGE
    poll = PollPolicy(
        interval=max(interval, LEAST_INTERVAL),
        max_outage=max_outage,
        missing_grace=60.0 if max_outage is None else min(60.0, max_outage),
        deadline=connection.deadline,
        stalled_after=stalled_after,
        emit=frozenset({"updated", "degraded", "recovered", "clusters"}),
    )
    progress = views.progress.Progress(timeout)
    try:
        done = connection.run(
            lambda runai: _wait(
                runai, workload, project, after=after, timeout=timeout, poll=poll, progress=progress
            )
        )
    except SignalledError:
        say(f"runai-async: cancelled after {progress.elapsed}; the rollout goes on")
        raise
    except (RolloutFailedError, WaitTimeoutError, TimeIsUpError) as error:
        if isinstance(error, WaitError) and error.revision is not None:
            views.progress.print_state(error.revision)
        if isinstance(error, RolloutFailedError | WaitTimeoutError) and error.explanation is not None:
            views.progress.print_why(error.explanation)
        if timeout is not None and isinstance(error, _LATE) and (silence := progress.silence()):
            raise TimeIsUpError(f"timed out after {limit(timeout)}: {silence}") from error
        raise
    progress.done(done)


async def _wait(
    runai: RunaiClient,
    workload: str,
    project: str | None,
    *,
    after: str | None,
    timeout: float | None,
    poll: PollPolicy,
    progress: Progress,
) -> Revision:
    async with progress.live():
        began = asyncio.get_running_loop().time()
        async with within(timeout):
            found, after_id, since = await _find(runai, workload, project, after, Patience(poll, progress))
        progress.begin(found.name or found.id, since.name if since else after_id)
        async with runai.watch_revisions(found.id, poll=poll) as watch:
            wait = _DisplayedWait(watch, after_id, since, progress)
            spent = asyncio.get_running_loop().time() - began
            waiting = wait.run(float("inf") if timeout is None else timeout, spent=spent)
            return await _unless_replaced(waiting, _replaced(runai, watch, found))


async def _unless_replaced(waiting: Coroutine[Any, Any, T], replaced: Coroutine[Any, Any, str]) -> T:
    """Return what the wait does, unless the workload is replaced before: that fails the rollout."""
    wait, search = asyncio.create_task(waiting), asyncio.create_task(replaced)
    try:
        await asyncio.wait({wait, search}, return_when=asyncio.FIRST_COMPLETED)
        if not wait.done():
            raise RolloutFailedError(search.result(), revision=None)
        return wait.result()
    finally:
        for task in (wait, search):
            task.cancel()
        await asyncio.gather(wait, search, return_exceptions=True)


async def _replaced(runai: RunaiClient, watch: RevisionWatch, found: WorkloadRef) -> str:
    """Return an error's text once another workload has the name, and the API no longer knows the one found.

    That an unknown workload is deleted is doubted for minutes, as its service may be restarting; but not if
    it was created again. Where no name was given, or nobody has it, this never returns.
    """
    while True:
        await asyncio.sleep(_GLANCE)
        error = watch.status.last_error
        if found.name is None or not isinstance(error, NotFoundError) or is_outage(error):
            continue
        new = await _successor(runai, found)
        if new is not None:
            again = f"the workload {found.name} is {new} now: run the command again to wait for that"
            return f"the rollout failed: workload {found.id} was deleted; {again}"
        await asyncio.sleep(_PAUSE)


async def _successor(runai: RunaiClient, gone: WorkloadRef) -> str | None:
    """Return the id of another workload that has the name now, if one has."""
    try:
        async with asyncio.timeout(_SEARCH_SECONDS):
            known = [item async for item in runai.list_workloads()]
    except (RunaiError, TimeoutError):
        return None
    named = [item for item in known if (item.name, item.project_id) == (gone.name, gone.project_id)]
    newest = newest_workload(named) if named else None
    return newest.id if newest is not None and newest.id != gone.id else None


async def _find(
    runai: RunaiClient, workload: str, project: str | None, after: str | None, patience: Patience
) -> tuple[WorkloadRef, str | None, Revision | None]:
    """Return the workload, and the id and the revision of *after*, which may no longer exist."""
    (found,) = await find_patiently(runai, [workload], patience, project)
    if after is None:
        return found, None, None
    if (after_id := as_uuid(after)) is None:
        since = (await patience.look_up("the revisions", lambda: find_revisions(runai, found, [after])))[0]
        return found, since.id, since
    return found, after_id, await patience.look_up("the revision", lambda: _revision(runai, after_id))


async def _revision(runai: RunaiClient, revision_id: str) -> Revision | None:
    """Return a revision; None if the API has none of this id: then the wait looks for it again."""
    try:
        return await runai.get_revision(revision_id)
    except NotFoundError as error:
        if is_outage(error):
            raise
        return None
