"""`runai-async rollout status`."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator
from datetime import datetime

import click
from rich.console import Console
from rich.spinner import Spinner
from rich.text import Text

from runai_async._clock import SystemClock
from runai_async._wait.rollout import RolloutWait, creation_order
from runai_async._watch.revision_watch import RevisionWatch
from runai_async.cli.connection import Connection, connecting
from runai_async.cli.ids import WorkloadRef, as_uuid, check_reachable, find_revisions, find_workload
from runai_async.cli.options import DURATION, NON_EMPTY, examples, max_outage_option
from runai_async.cli.run import within
from runai_async.cli.text import clean, duration, pods, shortened
from runai_async.cli.views.console import can_show, console, shown
from runai_async.cli.views.lines import reason
from runai_async.cli.views.tables import conditions_table, phase_text
from runai_async.client import RunaiClient
from runai_async.errors import RolloutFailedError, WaitError, WaitTimeoutError
from runai_async.events import WatchDegraded, WatchEvent, WatchRecovered
from runai_async.models import Revision
from runai_async.policy import LEAST_INTERVAL, PollPolicy


class Progress:
    """Prints a line whenever the rollout came further; on a terminal a last line tells the present state."""

    def __init__(self, screen: Console, timeout: float | None) -> None:
        self._screen = screen
        self._timeout = timeout
        self._began = time.monotonic()
        self._state = Text("waiting for the first answer")
        self._spinner = Spinner("dots")

    def say(self, text: Text | str) -> None:
        """Print a line, with the time since the start."""
        at = Text(f"{duration(self._elapsed):>6}  ", style="bright_black")
        self._screen.print(at.append(text), soft_wrap=True)

    def follow(self, revision: Revision | None) -> None:
        """Print where the revision stands, if that is not what was printed last."""
        if revision is None:
            state = Text("waiting for the new revision")
        else:
            state = Text.assemble((clean(revision.name), "bold"), "  ").append(phase_text(revision.phase))
            state.append(f"  {pods(revision)} pods")
            if revision.phase_message:
                state.append(f"  {shortened(revision.phase_message)}")
        if state != self._state:
            self._state = state
            self.say(state)

    @contextlib.asynccontextmanager
    async def shown(self) -> AsyncGenerator[None, None]:
        """Show the present state below the lines, on a terminal."""
        if not can_show(self._screen):
            yield
            return
        async with shown(self._screen, lambda width, _: self._draw(width), transient=True):
            yield

    def _draw(self, width: int) -> Spinner:
        limit = f" of {duration(self._timeout)}" if self._timeout else ""
        line = Text.assemble(self._state, (f"  {duration(self._elapsed)}{limit}", "bright_black"))
        line.truncate(max(10, width - 3), overflow="ellipsis")
        self._spinner.update(text=line)
        return self._spinner

    @property
    def _elapsed(self) -> float:
        return time.monotonic() - self._began


class _ReportedWait(RolloutWait):
    """The wait of `RunaiClient.wait_for_rollout`, which tells how it goes."""

    def __init__(self, watch: RevisionWatch, after: tuple[datetime, str] | None, progress: Progress) -> None:
        super().__init__(watch, SystemClock(), after)
        self._progress = progress

    def note(self, event: WatchEvent) -> None:
        """Tell of outages."""
        if isinstance(event, WatchDegraded):
            self._progress.say(Text(f"outage begins: {reason(event.error)}", style="yellow"))
        elif isinstance(event, WatchRecovered):
            self._progress.say(Text(f"outage is over after {event.seconds:.1f} s", style="green"))
        super().note(event)

    def verdict(self) -> Revision | None:
        """Tell where the newest revision stands."""
        self._progress.follow(self.newest)
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
    help="Only a newer revision counts: give the newest before the change. Without it, the newest.",
)
@click.option(
    "--interval", type=DURATION, default="5s", show_default=True, help="Between polls while all is quiet."
)
@max_outage_option
@connecting
@click.pass_context
def status(
    ctx: click.Context,
    connection: Connection,
    workload: str,
    *,
    timeout: float | None,
    after: str | None,
    interval: float,
    max_outage: float,
) -> None:
    """Wait until the newest revision of a WORKLOAD serves: Running, with the pods that it asks for.

    Exit status 0 says that it does, 1 that it failed, 3 that it is not done yet; then nothing was cancelled.
    """
    ctx.obj.quiet = True
    poll = PollPolicy(
        interval=max(interval, LEAST_INTERVAL),
        max_outage=max_outage,
        missing_grace=min(60.0, max_outage),
        deadline=connection.deadline,
        emit=frozenset({"updated", "degraded", "recovered"}),
    )
    screen = console()
    progress = Progress(screen, timeout)

    async def work(runai: RunaiClient) -> Revision:
        async with progress.shown():
            began = asyncio.get_running_loop().time()
            async with within(timeout):
                named, since = await _asked(runai, workload, after)
            what = f"{named.name or named.id}{f', after {since.name}' if since else ''}"
            progress.say(f"rollout of {clean(what)}")
            async with runai.watch_revisions(named.id, poll=poll) as watch:
                wait = _ReportedWait(watch, None if since is None else creation_order(since), progress)
                spent = asyncio.get_running_loop().time() - began
                return await wait.run(float("inf") if timeout is None else timeout, spent=spent)

    try:
        done = connection.run(work)
    except (RolloutFailedError, WaitTimeoutError) as error:
        _explain(error)
        raise
    progress.say(Text(f"the rollout is done: {clean(done.name)} serves", style="green"))


async def _asked(runai: RunaiClient, workload: str, after: str | None) -> tuple[WorkloadRef, Revision | None]:
    named = await find_workload(runai, workload)
    if after is None:
        await check_reachable(runai, named.id)
        return named, None
    if as_uuid(after) is not None:
        return named, await runai.get_revision(after)
    return named, (await find_revisions(runai, named, [after]))[0]


def _explain(error: WaitError) -> None:
    """Print what the revision says of itself."""
    revision = error.revision
    if revision is None:
        return
    screen = Console(stderr=True, highlight=False, markup=False, emoji=False)
    screen.print(Text.assemble((clean(revision.name), "bold"), " is ").append(phase_text(revision.phase)))
    if revision.phase_message:
        screen.print(Text(clean(revision.phase_message)), soft_wrap=True)
    if revision.conditions:
        screen.print(conditions_table(revision.conditions))
