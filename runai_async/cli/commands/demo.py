"""`runai-async demo`: a watch at work, against a control plane in the same process."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import click
from attrs import Factory, define
from click.exceptions import Exit

from runai_async._auth.credentials import ClientCredentials
from runai_async._wait.pods import pods_text
from runai_async._watch.revision_watch import RevisionWatch
from runai_async.cli import views
from runai_async.cli.diagnostics import Diagnostics
from runai_async.cli.exits import FAILED
from runai_async.cli.options import examples, local_option
from runai_async.cli.run import run
from runai_async.cli.story import furnish, play
from runai_async.cli.text import counted
from runai_async.cli.watched import SeparatelyWatched
from runai_async.client import RunaiClient, server_time
from runai_async.events import RevisionDeleted, RevisionEvent, WatchDegraded, WatchEvent, WatchRecovered
from runai_async.models import Revision
from runai_async.policy import LEAST_INTERVAL, PollPolicy, RetryPolicy
from runai_async.testing import FakeControlPlane

if TYPE_CHECKING:
    from runai_async.cli.views.terminal import TerminalView

_HEADLINE = "Two workloads, watched through RunaiClient over a socket."
_PATIENCE = 10.0
"""Seconds after the story within which the watches must have reported its end."""


@define
class Counts:
    """What the watches have reported so far.

    Attributes:
        revisions: the last state of each revision, by id.
        deleted: the ids of those reported as deleted.
        events: the number of events.
        outages: the workloads whose polls fail now.
        recovered: the seconds of each outage that has ended.
    """

    revisions: dict[str, Revision] = Factory(dict[str, Revision])
    deleted: set[str] = Factory(set[str])
    events: int = 0
    outages: set[str] = Factory(set[str])
    recovered: list[float] = Factory(list[float])

    def note(self, event: WatchEvent) -> None:
        """Count an event."""
        self.events += 1
        if isinstance(event, RevisionEvent):
            self.revisions[event.revision_id] = event.revision
        if isinstance(event, RevisionDeleted):
            self.deleted.add(event.revision_id)
        elif isinstance(event, WatchDegraded):
            self.outages.add(event.workload_id)
        elif isinstance(event, WatchRecovered):
            self.outages.discard(event.workload_id)
            self.recovered.append(event.seconds)

    def agrees_with(self, control_plane: FakeControlPlane) -> bool:
        """Return whether the reported revisions are those of the control plane, and no outage lasts."""
        actual = {
            item.revision_id: (item.phase, item.kind == "deleted") for item in control_plane.transitions
        }
        reported = {key: (item.phase, key in self.deleted) for key, item in self.revisions.items()}
        return actual == reported and not self.outages


async def run_demo(
    pace: float, view: TerminalView, control_plane: FakeControlPlane | None = None
) -> tuple[list[str], bool]:
    """Play the story and watch it through `RunaiClient`, over a real socket.

    Args:
        pace: the factor of all pauses of the story and all intervals of the watches.
        view: displays the story and the events.
        control_plane: a control plane to use instead of a new one; it is started and stopped here.

    Returns:
        The summary, and whether the events agree with what happened on the control plane.
    """
    counts, changed = Counts(), asyncio.Event()

    async def on_event(event: WatchEvent) -> None:
        counts.note(event)
        await view.display(event)
        changed.set()

    async with control_plane or FakeControlPlane() as plane:
        names = furnish(plane)
        view.names.update(names)
        async with view.live(), _client(plane, pace, view) as runai:
            watches = [_watch(runai, key, pace) for key in names]
            view.follow(SeparatelyWatched(watches), server_time(runai))
            tasks = [asyncio.create_task(_iterate(watch, on_event)) for watch in watches]
            try:
                await play(plane, names, pace, view.narrate)
                await _agreement(counts, plane, changed)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        return list(summary(counts, plane, names)), counts.agrees_with(plane)


def _client(control_plane: FakeControlPlane, pace: float, view: TerminalView) -> RunaiClient:
    return RunaiClient(
        control_plane.url,
        ClientCredentials(control_plane.client_id, control_plane.client_secret),
        retry=RetryPolicy(attempts=2, wait_initial=0.2 * pace),
        hooks=[view.hook],
    )


def _watch(runai: RunaiClient, workload_id: str, pace: float) -> RevisionWatch:
    policy = PollPolicy(
        interval=max(LEAST_INTERVAL, 0.8 * pace),
        fast_interval=max(LEAST_INTERVAL, 0.4 * pace),
        emit=frozenset({"degraded", "recovered"}),
    )
    return runai.watch_revisions(workload_id, poll=policy)


async def _iterate(watch: RevisionWatch, on_event: Callable[[WatchEvent], Awaitable[None]]) -> None:
    async with watch:
        async for event in watch:
            await on_event(event)


async def _agreement(counts: Counts, control_plane: FakeControlPlane, changed: asyncio.Event) -> None:
    """Wait until everything that happened has been reported, but not forever."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_PATIENCE):
            while not counts.agrees_with(control_plane):
                changed.clear()
                await changed.wait()


def summary(counts: Counts, control_plane: FakeControlPlane, names: Mapping[str, str]) -> Iterator[str]:
    """Write how each revision ended, and what it took to observe that."""
    for workload_id in names:
        revisions = [item for item in counts.revisions.values() if item.workload_id == workload_id]
        yield ", ".join(_state(item, counts) for item in revisions)
    changes = counted(len(control_plane.transitions), "change")
    requests = counted(len(control_plane.requests), "request")
    yield f"{changes} on the control plane, {requests} to it, {counted(counts.events, 'event')}"
    if counts.recovered:
        yield f"the longest outage lasted {max(counts.recovered):.1f} s, and the watches continued after it"


def _state(revision: Revision, counts: Counts) -> str:
    state = "deleted" if revision.id in counts.deleted else f"{revision.phase} {pods_text(revision)}"
    return f"{revision.name} {state}"


@click.command(epilog=examples("runai-async demo", "runai-async demo --plain > demo.log"))
@click.option("--plain", is_flag=True, help="Print a line for each event, as in a pipe.")
@click.option(
    "--pace",
    type=click.FloatRange(min=0, max=60, min_open=True),
    default=1.0,
    show_default=True,
    help="Multiply all pauses by this factor.",
)
@local_option
@click.pass_obj
def demo(diagnostics: Diagnostics, /, *, plain: bool, pace: float, local: bool) -> None:
    """See a watch at work; no account is needed.

    It really watches a control plane, which runs in this process and has two workloads: one rollout
    succeeds, one fails, and there is an outage. It takes about 16 seconds. Lines stand in the order in which
    changes were seen, with the control plane's times: after an outage, those of changes that it hid are
    earlier than the line above them. On a terminal q ends it.
    """
    diagnostics.outages_displayed = True
    view = views.terminal.terminal_view(_HEADLINE, plain=plain, local=local)
    facts, agrees = run(run_demo(pace, view))
    if view.has_quit:  # before the end of the story
        return
    views.terminal.print_summary(facts, agrees=agrees)
    if not agrees:
        raise Exit(FAILED)
