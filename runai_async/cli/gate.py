"""Waits for the rollout of a workload as a gate of a pipeline does."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Protocol, TypeVar

from runai_async._values import frozen
from runai_async._wait.rollout import RolloutWait
from runai_async._watch.failures import is_outage
from runai_async._watch.revision_watch import RevisionWatch
from runai_async.cli.ids import WorkloadRef, as_uuid, find_revisions, newest_workload
from runai_async.cli.patience import OutageDisplay, Patience
from runai_async.client import RunaiClient
from runai_async.errors import NotFoundError, RolloutFailedError, RunaiError
from runai_async.events import ClusterEvent, RevisionStalled, WatchDegraded, WatchEvent, WatchRecovered
from runai_async.models import Revision
from runai_async.policy import PollPolicy

T = TypeVar("T")

_SEARCH_SECONDS = 10.0
"""Seconds that a search for the new workload of a name may take."""
_PAUSE = 10.0
"""Seconds between two searches."""
_GLANCE = 0.5
"""Seconds between two looks at whether the workload is refused as unknown."""


class RolloutDisplay(OutageDisplay, Protocol):
    """Displays how the wait for one rollout goes."""

    def begin(self, workload: str, after: str | None) -> None:
        """Display which rollout is waited for, once it is found."""

    def cluster(self, event: ClusterEvent) -> None:
        """Display that the workload's cluster has lost its connection, or is back."""

    def stalled(self, event: RevisionStalled) -> None:
        """Display that the newest revision has been in its phase for long."""

    def revision(self, revision: Revision | None, *, is_empty: bool) -> None:
        """Display the newest revision that counts after each successful poll; None while there is none.

        Args:
            revision: that revision.
            is_empty: whether the workload has no revisions at all.
        """

    def unknown(self) -> None:
        """Display that the API knows no such workload: it may be one whose service restarts."""


class DisplayedWait(RolloutWait):
    """The wait of `RunaiClient.wait_for_rollout`, with its progress displayed."""

    def __init__(
        self, watch: RevisionWatch, after_id: str | None, after: Revision | None, display: RolloutDisplay
    ) -> None:
        super().__init__(watch, after_id=after_id, after=after)
        self._display = display

    def note(self, event: WatchEvent) -> None:
        """Display outages, and that the cluster has lost its connection."""
        if isinstance(event, WatchDegraded):
            self._display.outage_began(event.error)
        elif isinstance(event, WatchRecovered):
            self._display.outage_ended(event.seconds)
        elif isinstance(event, ClusterEvent):
            self._display.cluster(event)
        super().note(event)

    def stalled(self, event: RevisionStalled) -> None:
        """Display that the newest revision has stalled."""
        self._display.stalled(event)

    def verdict(self) -> Revision | None:
        """Display the newest revision."""
        self._display.revision(self.newest, is_empty=self.is_empty)
        return super().verdict()


@frozen
class Waiting:
    """How rollouts are waited for.

    Attributes:
        runai: the client.
        poll: how to poll; it emits "updated", "degraded", "recovered" and "clusters".
        timeout: seconds, from `began_at` on; None for ever.
        began_at: the loop's time when the command began.
    """

    runai: RunaiClient
    poll: PollPolicy
    timeout: float | None
    began_at: float

    @property
    def spent(self) -> float:
        """The seconds since the beginning."""
        return asyncio.get_running_loop().time() - self.began_at


async def wait_for_one(
    waiting: Waiting,
    found: WorkloadRef,
    display: RolloutDisplay,
    *,
    after_id: str | None = None,
    after: Revision | None = None,
) -> Revision:
    """Wait for the rollout of a workload; see `RunaiClient.wait_for_rollout`.

    Args:
        waiting: how to wait.
        found: the workload.
        display: displays how it goes.
        after_id: the newest revision before the change.
        after: the same revision, if it exists.

    Raises:
        RolloutFailedError: the rollout failed, or another workload has the name now.
        WaitTimeoutError: the time is up.
        RunaiError: see `RunaiClient.wait_for_rollout`.
    """
    display.begin(found.name or found.id, after.name if after else after_id)
    async with waiting.runai.watch_revisions(found.id, poll=waiting.poll) as watch:
        wait = DisplayedWait(watch, after_id, after, display)
        seconds = float("inf") if waiting.timeout is None else waiting.timeout
        search = _replaced(waiting.runai, watch, found, display)
        return await _unless_replaced(wait.run(seconds, spent=waiting.spent), search)


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


async def _replaced(
    runai: RunaiClient, watch: RevisionWatch, found: WorkloadRef, display: RolloutDisplay
) -> str:
    """Return an error's text once another workload has the name, and the API no longer knows the one found.

    That an unknown workload is deleted is doubted for minutes, as its service may be restarting; but not if
    it was created again. Where it was not found by its name, or nobody has that, this never returns.
    """
    while True:
        await asyncio.sleep(_GLANCE)
        error = watch.status.last_error
        if not isinstance(error, NotFoundError) or is_outage(error):
            continue
        display.unknown()
        if found.project_id is None:
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


async def find_after(
    runai: RunaiClient, found: WorkloadRef, after: str | None, patience: Patience
) -> tuple[str | None, Revision | None]:
    """Return the id and the revision of *after*, which may no longer exist.

    Raises:
        InputError: the workload has no revision of that name, or more than one id begins like that.
    """
    if after is None:
        return None, None
    if (after_id := as_uuid(after)) is None:
        since = (await patience.look_up("the revisions", lambda: find_revisions(runai, found, [after])))[0]
        return since.id, since
    return after_id, await patience.look_up("the revision", lambda: _revision(runai, after_id))


async def _revision(runai: RunaiClient, revision_id: str) -> Revision | None:
    """Return a revision; None if the API has none of this id: then the wait looks for it again."""
    try:
        return await runai.get_revision(revision_id)
    except NotFoundError as error:
        if is_outage(error):
            raise
        return None
