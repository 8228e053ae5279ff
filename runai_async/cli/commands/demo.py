"""`runai-async demo`: a watch at work, against a control plane in the same process."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping

import click
from attrs import Factory, define
from rich.text import Text

from runai_async._auth.credentials import ClientCredentials
from runai_async.cli.exits import FAILED
from runai_async.cli.options import examples
from runai_async.cli.run import run
from runai_async.cli.story import play, set_stage
from runai_async.cli.text import pods
from runai_async.cli.views.console import can_show, console
from runai_async.cli.views.watch import Audience, Lines, Picture
from runai_async.client import RunaiClient
from runai_async.events import RevisionDeleted, RevisionEvent, WatchDegraded, WatchEvent, WatchRecovered
from runai_async.models import Revision
from runai_async.policy import LEAST_INTERVAL, PollPolicy, RetryPolicy
from runai_async.testing import FakeControlPlane

_PATIENCE = 10.0
"""Seconds in which the watches must have told the end of the story."""


@define
class Counts:
    """What the watches told up to now.

    Attributes:
        revisions: the last state of each revision, by id.
        deleted: the ids of those that were told deleted.
        events: how many events there were.
        outages: workloads whose polls fail now.
        healed: the seconds of each outage that is over.
    """

    revisions: dict[str, Revision] = Factory(dict[str, Revision])
    deleted: set[str] = Factory(set[str])
    events: int = 0
    outages: set[str] = Factory(set[str])
    healed: list[float] = Factory(list[float])

    def note(self, event: WatchEvent) -> None:
        """Take an event in."""
        self.events += 1
        if isinstance(event, RevisionEvent):
            self.revisions[event.revision_id] = event.revision
        if isinstance(event, RevisionDeleted):
            self.deleted.add(event.revision_id)
        elif isinstance(event, WatchDegraded):
            self.outages.add(event.workload_id)
        elif isinstance(event, WatchRecovered):
            self.outages.discard(event.workload_id)
            self.healed.append(event.seconds)

    def agrees_with(self, control_plane: FakeControlPlane) -> bool:
        """Tell whether the control plane's revisions are, as they were told, and no outage lasts."""
        truth = {item.revision_id: (item.phase, item.kind == "deleted") for item in control_plane.transitions}
        told = {key: (item.phase, key in self.deleted) for key, item in self.revisions.items()}
        return truth == told and not self.outages


async def run_demo(
    pace: float, audience: Audience, control_plane: FakeControlPlane | None = None
) -> tuple[list[Text], bool]:
    """Play the story and watch it through `RunaiClient`, over a real socket.

    Args:
        pace: what the pauses of the story, and the intervals of the watches, are multiplied with.
        audience: what it is shown to.
        control_plane: a control plane to use instead of an own one; it is started and stopped here.

    Returns:
        The summary, and whether the watches told the truth.
    """
    seen, news = Counts(), asyncio.Event()

    def hear(event: WatchEvent) -> None:
        seen.note(event)
        audience.tell(event)
        news.set()

    async with control_plane or FakeControlPlane() as stage:
        names = set_stage(stage)
        async with audience.shown(names), _client(stage, pace, audience) as runai:
            watches = [asyncio.create_task(_watch(runai, key, pace, hear)) for key in names]
            try:
                await play(stage, names, pace, audience.narrate)
                await _agreement(seen, stage, news)
            finally:
                for watch in watches:
                    watch.cancel()
                await asyncio.gather(*watches, return_exceptions=True)
        return list(summary(seen, stage, names)), seen.agrees_with(stage)


def _client(control_plane: FakeControlPlane, pace: float, audience: Audience) -> RunaiClient:
    return RunaiClient(
        control_plane.url,
        ClientCredentials(control_plane.client_id, control_plane.client_secret),
        retry=RetryPolicy(attempts=2, wait_initial=0.2 * pace),
        hooks=[audience.hook],
    )


async def _watch(
    runai: RunaiClient, workload_id: str, pace: float, hear: Callable[[WatchEvent], None]
) -> None:
    policy = PollPolicy(
        interval=max(LEAST_INTERVAL, 0.8 * pace),
        fast_interval=max(LEAST_INTERVAL, 0.4 * pace),
        emit=frozenset({"degraded", "recovered"}),
    )
    async with runai.watch_revisions(workload_id, poll=policy) as watch:
        async for event in watch:
            hear(event)


async def _agreement(seen: Counts, control_plane: FakeControlPlane, news: asyncio.Event) -> None:
    """Wait until all that happened was told, but not for ever."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_PATIENCE):
            while not seen.agrees_with(control_plane):
                news.clear()
                await news.wait()


def summary(seen: Counts, control_plane: FakeControlPlane, names: Mapping[str, str]) -> Iterable[Text]:
    """Write what became of each revision, what it took, and whether the watches told the truth."""
    yield Text("Summary", style="bold")
    for workload_id in names:
        fates = [_fate(item, seen) for item in seen.revisions.values() if item.workload_id == workload_id]
        yield Text(f"  {', '.join(fates)}")
    changes, requests = len(control_plane.transitions), len(control_plane.requests)
    yield Text(f"  {changes} changes on the control plane, {requests} requests to it, {seen.events} events")
    if seen.healed:
        yield Text(f"  an outage of {max(seen.healed):.1f} s at the longest, and the watches went on")
    agrees = seen.agrees_with(control_plane)
    yield Text(
        f"  at the end, what was told {'agrees' if agrees else 'DOES NOT AGREE'} with the control plane",
        style="green" if agrees else "red",
    )


def _fate(revision: Revision, seen: Counts) -> str:
    state = "deleted" if revision.id in seen.deleted else f"{revision.phase} {pods(revision)}"
    return f"{revision.name} {state}"


@click.command(epilog=examples("runai-async demo", "runai-async demo --plain > demo.log"))
@click.option("--plain", is_flag=True, help="Print a line for each event, for logs; so it does in a pipe.")
@click.option(
    "--pace",
    type=click.FloatRange(min=0, max=60, min_open=True),
    default=1.0,
    show_default=True,
    help="Multiply all pauses with this.",
)
@click.pass_context
def demo(ctx: click.Context, *, plain: bool, pace: float) -> None:
    """See a watch at work; no account is needed.

    It is a real watch of a control plane in this process. Two workloads; a rollout that succeeds, one that
    fails, an outage that heals. It takes about 16 seconds. Times of changes are the control plane's, so that
    lines can be out of order after an outage.
    """
    ctx.obj.quiet = True
    screen = console()
    audience: Audience = Lines(lambda line: screen.print(line, soft_wrap=True))
    if can_show(screen) and not plain:
        audience = Picture(screen)
    lines, agrees = run(run_demo(pace, audience))
    for line in lines:
        screen.print(line, soft_wrap=True)
    if not agrees:
        ctx.exit(FAILED)
