"""`runai-async rollout`: status, history."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from runai_async._values import frozen
from runai_async.cli import views
from runai_async.cli.connection import Connection, connecting
from runai_async.cli.diagnostics import Diagnostics, say
from runai_async.cli.exits import InputError, NotDoneError, SignalledError, TimeIsUpError, exit_status
from runai_async.cli.gate import Waiting, find_after, wait_for_one
from runai_async.cli.groups import Group
from runai_async.cli.history import steps_of
from runai_async.cli.ids import (
    find_patiently,
    find_workload,
    names_or_ids,
)
from runai_async.cli.joint_gate import Selection, find_rollouts, wait_for_all
from runai_async.cli.options import (
    DURATION,
    NON_EMPTY,
    NonEmptyPath,
    all_option,
    check_workloads,
    examples,
    project_option,
    stalled_after_option,
)
from runai_async.cli.patience import Patience
from runai_async.cli.report import reporting
from runai_async.cli.rollouts import (
    Rollout,
    State,
    of_state,
    rollouts_of,
    shortfall,
    status_of,
)
from runai_async.cli.run import within
from runai_async.cli.text import counted, limit
from runai_async.cli.verdicts import verdict_line
from runai_async.cli.views.listings import history_table
from runai_async.cli.views.output import RESULTS, Output, Result, result_options
from runai_async.client import RunaiClient, server_time
from runai_async.errors import RolloutFailedError, WaitTimeoutError
from runai_async.models import Revision
from runai_async.policy import LEAST_INTERVAL, PollPolicy

_MAX_OUTAGE = 900.0
"""Seconds without a response after which a wait without a timeout ends, by default."""
_IN_FLIGHT = 32
"""The most requests at once, however many rollouts are waited for."""


@click.group(
    cls=Group,
    epilog=examples(
        "runai-async rollout status $WORKLOAD --timeout 10m", "runai-async rollout history my-llm"
    ),
)
def rollout() -> None:
    """Wait for rollouts, or list those of a workload."""


@frozen
class _Gate(Selection):
    """What is waited for, and how.

    Attributes:
        timeout: seconds; None for ever.
        poll: how to poll.
    """

    timeout: float | None
    poll: PollPolicy

    def waiting(self, runai: RunaiClient) -> Waiting:
        """Return how to wait, from now on."""
        return Waiting(runai, self.poll, self.timeout, asyncio.get_running_loop().time())


@rollout.command(
    epilog=examples(
        "runai-async rollout status $WORKLOAD --timeout 10m",
        "runai-async rollout status --all -p team-a --junit rollouts.xml",
        "AFTER=$(runai-async revisions list $WORKLOAD -o name | sed -n 1p)",
        "# ... change the workload ...",
        "runai-async rollout status $WORKLOAD --timeout 10m ${AFTER:+--after=$AFTER}",
    )
)
@click.argument("workloads", nargs=-1, type=NON_EMPTY, metavar="[WORKLOAD]...")
@all_option("Wait for all inference workloads, of the --project if that is given.")
@project_option
@click.option(
    "--filter",
    "filters",
    type=NON_EMPTY,
    multiple=True,
    metavar="COND",
    help="Wait for the inference workloads that fit a condition such as phase!=Stopped.",
)
@click.option("--timeout", type=DURATION, help="Give up after this time, with exit status 3.")
@click.option(
    "--after",
    type=NON_EMPTY,
    multiple=True,
    metavar="REVISION",
    help="Wait for a newer revision than this: the newest one before the change. Of several workloads, once "
    "for each, as NAME-00012 or an id.",
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
@click.option(
    "--junit",
    type=NonEmptyPath(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write a report in JUnit XML into this file, however the wait ends.",
)
@connecting
@click.pass_obj
def status(
    diagnostics: Diagnostics,
    /,
    connection: Connection,
    workloads: tuple[str, ...],
    *,
    everything: bool,
    project: str | None,
    filters: tuple[str, ...],
    timeout: float | None,
    after: tuple[str, ...],
    interval: float,
    max_outage: float | None,
    stalled_after: float,
    junit: Path | None,
) -> None:
    """Wait until the newest revision of each WORKLOAD serves: Running, with the pods that it requests.

    The exit status is 0 if all do, 1 if one failed, else 3 if one is not done in time, which cancels nothing,
    else that of an error which ended a wait. What events and pods say about a failure, or a timeout, is
    printed on stderr: of one workload in full, of several a line for each.

    An outage is waited out until the --timeout, from the first request on. In a log there is a line for each
    change, and one every 30 seconds. A name means the workload that has it at the start: if that is deleted,
    the rollout has failed. An id that neither the control plane nor its list knows is an error.

    With --all or --filter a workload without revisions is counted as such and not waited for; it is an error
    if none has any. At most 32 requests are in flight at once.
    """
    if workloads and filters:
        raise click.UsageError("give workloads or --filter, not both")
    check_workloads(workloads, "wait for", everything=everything or bool(filters))
    if len(workloads) == 1 and len(after) > 1:
        raise click.UsageError("give --after once for each workload")
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
    gate = _Gate(workloads, filters, project, after, timeout, poll)
    rollouts = gate.unknown()
    with reporting(junit, rollouts, diagnostics):
        (_one if len(workloads) == 1 else _many)(connection, gate, rollouts)


# --- one --------------------------------------------------------------------------------------------------


def _one(connection: Connection, gate: _Gate, rollouts: list[Rollout]) -> None:
    """Wait for the rollout of a single workload, and print in full why it is not done."""
    progress, timeout = views.progress.Progress(gate.timeout), gate.timeout

    async def work(runai: RunaiClient) -> Revision:
        progress.times.server = server_time(runai)
        async with progress.live():
            waiting = gate.waiting(runai)
            async with within(timeout):
                patience = Patience(gate.poll, progress)
                found = await find_patiently(runai, gate.workloads, patience, gate.project)
                rollouts[:] = rollouts_of(found)
                after_id, after = await find_after(runai, found[0], next(iter(gate.after), None), patience)
            try:
                done = await wait_for_one(waiting, found[0], progress, after_id=after_id, after=after)
            except (RolloutFailedError, WaitTimeoutError) as error:
                rollouts[0].end(waiting.spent, error)
                raise
            rollouts[0].revision = done
            rollouts[0].end(waiting.spent)
            return done

    try:
        done = connection.run(work)
    except SignalledError:
        say(f"runai-async: cancelled after {progress.elapsed}; the rollout goes on")
        raise
    except TimeIsUpError as error:
        raise TimeIsUpError(f"{error}: {progress.silence()}") from error
    except (RolloutFailedError, WaitTimeoutError) as error:
        if error.revision is not None:
            rollouts[0].revision = error.revision
            views.progress.print_state(error.revision)
        if error.explanation is not None:
            views.progress.print_why(error.explanation)
        if timeout is not None and isinstance(error, WaitTimeoutError) and (silence := progress.silence()):
            raise TimeIsUpError(f"timed out after {limit(timeout)}: {silence}") from error
        raise NotDoneError(verdict_line(error, timeout), exit_status(error)) from error
    progress.done(done)


# --- many -------------------------------------------------------------------------------------------------


def _many(connection: Connection, gate: _Gate, rollouts: list[Rollout]) -> None:
    """Wait for the rollouts of several workloads, and print a line for each that is not done."""
    tally = views.tally.Tally(gate.timeout)

    async def work(runai: RunaiClient) -> None:
        tally.times.server = server_time(runai)
        async with tally.live():
            waiting = gate.waiting(runai)
            async with within(gate.timeout):
                rollouts[:] = await find_rollouts(runai, gate, Patience(gate.poll, tally))
            tally.begin(rollouts)
            await wait_for_all(waiting, rollouts, tally)

    try:
        connection.run(work, max_concurrency=_IN_FLIGHT)
    except SignalledError:
        going_on = of_state(rollouts, State.WAITING)
        views.tally.print_ended(rollouts)
        verb = "goes" if len(going_on) == 1 else "go"
        say(f"runai-async: cancelled after {tally.elapsed}; {counted(len(going_on), 'rollout')} {verb} on")
        raise
    except TimeIsUpError as error:
        raise TimeIsUpError(f"{error}: {tally.silence()}") from error
    views.tally.print_ended(rollouts)
    if status := status_of(rollouts):
        raise NotDoneError(shortfall(rollouts), status)
    if len(of_state(rollouts, State.EMPTY)) == len(rollouts):
        raise InputError("no workload has a revision, so there is no rollout to wait for")
    tally.done()


# --- history ----------------------------------------------------------------------------------------------


@rollout.command(
    epilog=examples(
        "runai-async rollout history $WORKLOAD",
        "runai-async rollout history my-llm -p team-a -o wide",
        "runai-async rollout history $WORKLOAD -o jsonl | jq -c .changes",
    )
)
@click.argument("workload", type=NON_EMPTY)
@project_option
@result_options(
    of="json and yaml are {history: [{revision, serves, changes}]}, in the API's own shape; changes are null "
    "for the first one.",
    secrets=tuple(RESULTS),
)
@connecting
def history(connection: Connection, workload: str, *, project: str | None, output: Output) -> None:
    """List what each revision of a WORKLOAD changed, newest first, deleted ones included.

    SERVES marks the newest revision that runs with the pods it needs. CHANGED compares what a user requested
    with the revision before: images, resources, environment, command and arguments.
    """

    async def work(runai: RunaiClient) -> None:
        found = await find_workload(runai, workload, project)
        known = await runai.list_revisions(found.id)
        known += await runai.list_revisions(found.id, deleted=True)
        steps = steps_of(known, show_secrets=output.show_secrets)
        items, now = [item.to_dict() for item in steps], server_time(runai).now()
        output(
            Result(
                items,
                document={"history": items},
                table=lambda wide: history_table(steps, now, wide=wide),
                names=names_or_ids([item.revision for item in steps]),
                empty=f"{workload} has no revisions",
            )
        )

    connection.run(work)
