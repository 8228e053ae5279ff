"""Waits for the rollouts of many workloads at once, each as a gate of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from runai_async._values import frozen
from runai_async.cli.exits import InputError
from runai_async.cli.gate import RolloutDisplay, Waiting, find_after, wait_for_one
from runai_async.cli.ids import WorkloadRef, as_uuid, find_all, find_listed, workload_of
from runai_async.cli.patience import Patience
from runai_async.cli.rollouts import Rollout, State, of_state, rollouts_of
from runai_async.cli.text import quoted
from runai_async.client import RunaiClient
from runai_async.errors import RunaiError
from runai_async.events import ClusterEvent, RevisionStalled
from runai_async.models import Revision


@frozen
class Selection:
    """Whose rollouts are waited for.

    Attributes:
        workloads: ids or names; none for all inference workloads.
        filters: conditions of the API, if all are waited for.
        project: the project of the workloads; None for any.
        after: the newest revisions before the change, as they were given.
    """

    workloads: tuple[str, ...]
    filters: tuple[str, ...]
    project: str | None
    after: tuple[str, ...]

    def unknown(self) -> list[Rollout]:
        """Return the rollouts as long as the workloads have not been found."""
        texts = self.workloads or ("all inference workloads",)
        return [Rollout(WorkloadRef("", text, self.project), text) for text in texts]


async def find_rollouts(runai: RunaiClient, selection: Selection, patience: Patience) -> list[Rollout]:
    """Find the workloads, and the revisions before the change.

    Raises:
        InputError: a name is unknown, no workload matches, or a revision is of none of them.
    """
    if selection.workloads:
        found = rollouts_of(await find_listed(runai, selection.workloads, patience, selection.project))
    else:
        every = await find_all(runai, selection.filters, patience, selection.project)
        found = rollouts_of(every, may_be_empty=True)
    for text in selection.after:
        await _set_after(runai, found, text, patience)
    return found


async def _set_after(runai: RunaiClient, rollouts: list[Rollout], text: str, patience: Patience) -> None:
    """Note the revision before the change with the workload that it is of.

    Raises:
        InputError: it is of none of them.
    """
    name = None if as_uuid(text) else workload_of(text)
    meant = [item for item in rollouts if name is not None and item.workload.name == name]
    if as_uuid(text):
        _, known = await find_after(runai, WorkloadRef(""), text, patience)
        meant = [item for item in rollouts if known is not None and item.workload.id == known.workload_id]
    if len(meant) != 1:
        problem = "is of more than one" if meant else "is of none"
        raise InputError(f"--after {quoted(text)} {problem} of these workloads; give NAME-00012 or an id")
    meant[0].may_be_empty = False  # a revision is expected
    meant[0].after_id, meant[0].after = await find_after(runai, meant[0].workload, text, patience)


# --- waiting ----------------------------------------------------------------------------------------------


class RolloutsDisplay(Protocol):
    """Displays how the wait for many rollouts goes. What concerns all of them comes once from each."""

    def outage_began(self, error: RunaiError, rollout: Rollout) -> None:
        """Display that the control plane does not respond."""

    def outage_ended(self, seconds: float, rollout: Rollout) -> None:
        """Display that it responds again."""

    def cluster(self, event: ClusterEvent) -> None:
        """Display that a cluster has lost its connection, or is back."""

    def stalled(self, event: RevisionStalled, rollout: Rollout) -> None:
        """Display that a newest revision has been in its phase for long."""

    def changed(self, rollout: Rollout) -> None:
        """Display the newest revision of a workload, or that it has none."""

    def ended(self, rollout: Rollout) -> None:
        """Display that a rollout is no longer waited for."""


class _Entry(RolloutDisplay):
    """Keeps one of many rollouts up to date."""

    def __init__(self, rollout: Rollout, display: RolloutsDisplay, peek: asyncio.Event) -> None:
        self._rollout = rollout
        self._display = display
        self._peek = peek

    def begin(self, workload: str, after: str | None) -> None:
        """Display nothing: all of them begin together."""

    def outage_began(self, error: RunaiError) -> None:
        self._display.outage_began(error, self._rollout)

    def outage_ended(self, seconds: float) -> None:
        self._display.outage_ended(seconds, self._rollout)

    def cluster(self, event: ClusterEvent) -> None:
        self._display.cluster(event)

    def stalled(self, event: RevisionStalled) -> None:
        self._display.stalled(event, self._rollout)

    def revision(self, revision: Revision | None, *, is_empty: bool) -> None:
        self._note(revision, is_empty=is_empty)

    def unknown(self) -> None:
        if self._rollout.may_be_empty and self._rollout.revision is None:
            self._note(None, is_empty=True)

    def _note(self, revision: Revision | None, *, is_empty: bool) -> None:
        self._rollout.revision, self._rollout.is_empty = revision, is_empty
        self._display.changed(self._rollout)
        self._peek.set()


async def wait_for_all(waiting: Waiting, rollouts: Sequence[Rollout], display: RolloutsDisplay) -> None:
    """Wait for many rollouts at once, until each has ended; their errors are noted, not raised.

    A workload that has no revisions, and need not have any, is looked at for as long as another one is waited
    for: its revisions may be missing only because a service has just restarted.

    Raises:
        InputError: a workload was given by its id, and there is none; the others are no longer waited for.
    """
    peek = asyncio.Event()
    tasks = [asyncio.create_task(_wait(waiting, item, display, peek)) for item in rollouts]
    for task in tasks:
        task.add_done_callback(lambda _: peek.set())
    try:
        while of_state(rollouts, State.WAITING):
            await peek.wait()
            peek.clear()
            for task in tasks:
                if task.done():
                    task.result()  # raises what is a defect, or wrong usage
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _wait(waiting: Waiting, rollout: Rollout, display: RolloutsDisplay, peek: asyncio.Event) -> None:
    error: RunaiError | None = None
    try:
        rollout.revision = await wait_for_one(
            waiting,
            rollout.workload,
            _Entry(rollout, display, peek),
            after_id=rollout.after_id,
            after=rollout.after,
        )
    except RunaiError as raised:
        error = raised
    rollout.end(waiting.spent, error)
    display.ended(rollout)
