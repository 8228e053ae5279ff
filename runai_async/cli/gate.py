"""Waits for the rollout of a workload as a gate of a pipeline does."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, NoReturn, Protocol, TypeVar

from runai_async._values import frozen
from runai_async._wait.rollout import RolloutWait
from runai_async._watch.failures import is_outage
from runai_async._watch.revision_watch import RevisionWatch
from runai_async.cli.exits import InputError
from runai_async.cli.ids import WorkloadRef, as_uuid, find_revisions, newest_workload
from runai_async.cli.patience import OutageDisplay, Patience
from runai_async.cli.text import quoted
from runai_async.client import RunaiClient
from runai_async.errors import NotFoundError, RolloutFailedError, RunaiError
from runai_async.events import ClusterEvent, RevisionStalled, WatchDegraded, WatchEvent, WatchRecovered
from runai_async.models import Revision, Workload
from runai_async.policy import PollPolicy

T = TypeVar("T")

_SEARCH_SECONDS = 10.0
"""Seconds that listing the workloads may take."""
_PAUSE = 10.0
"""Seconds between two listings."""
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
        InputError: the workload was given by its id, and there is none.
        RunaiError: see `RunaiClient.wait_for_rollout`.
    """
    display.begin(found.name or found.id, after.name if after else after_id)
    async with waiting.runai.watch_revisions(found.id, poll=waiting.poll) as watch:
        wait = DisplayedWait(watch, after_id, after, display)
        seconds = float("inf") if waiting.timeout is None else waiting.timeout
        doubt = _doubted(waiting.runai, watch, found, display)
        return await _unless(doubt, wait.run(seconds, spent=waiting.spent))


async def _unless(doubted: Coroutine[Any, Any, NoReturn], waiting: Coroutine[Any, Any, T]) -> T:
    """Return what the wait does, unless the doubt whether the workload exists raises before."""
    wait, doubt = asyncio.create_task(waiting), asyncio.create_task(doubted)
    try:
        await asyncio.wait({wait, doubt}, return_when=asyncio.FIRST_COMPLETED)
        return wait.result() if wait.done() else doubt.result()
    finally:
        for task in (wait, doubt):
            task.cancel()
        await asyncio.gather(wait, doubt, return_exceptions=True)


async def _doubted(
    runai: RunaiClient, watch: RevisionWatch, found: WorkloadRef, display: RolloutDisplay
) -> NoReturn:
    """Raise once it is certain that the workload does not exist, although its polls wait on.

    That a workload the API does not know is deleted is doubted for minutes, as its service may be restarting;
    but not if another one has its name, or if it was given by its id and neither a poll nor the list ever
    knew it. Otherwise this never returns.

    Raises:
        RolloutFailedError: another workload has the name now.
        InputError: there is no workload of that id.
    """
    while True:
        await asyncio.sleep(_GLANCE)
        if not _is_unknown(watch):
            continue
        display.unknown()
        is_new_to_us = found.name is None and watch.status.last_success_at is None
        if found.project_id is None and not is_new_to_us:
            continue
        known = await _listed(runai)
        if known is not None and is_new_to_us and _is_unknown(watch):
            if found.id not in {item.id for item in known}:
                raise InputError(f"workload {quoted(found.id)} not found")
        elif known is not None and (new := _successor(known, found)) is not None:
            again = f"the workload {found.name} is {new} now: run the command again to wait for that"
            text = f"the rollout failed: workload {found.id} was deleted; {again}"
            raise RolloutFailedError(text, revision=None)
        await asyncio.sleep(_PAUSE)


def _is_unknown(watch: RevisionWatch) -> bool:
    """Return whether the API's own response to the last poll was that there is no such workload."""
    error = watch.status.last_error
    return isinstance(error, NotFoundError) and not is_outage(error)


async def _listed(runai: RunaiClient) -> list[Workload] | None:
    """Return all workloads; None if they cannot be listed now."""
    try:
        async with asyncio.timeout(_SEARCH_SECONDS):
            return [item async for item in runai.list_workloads()]
    except (RunaiError, TimeoutError):
        return None


def _successor(known: Sequence[Workload], gone: WorkloadRef) -> str | None:
    """Return the id of another workload that has the name now, if one has."""
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
