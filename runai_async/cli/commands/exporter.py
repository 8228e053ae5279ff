"""`runai-async exporter`: revisions as Prometheus metrics."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import click

from runai_async._api.workload_query import WorkloadQuery
from runai_async._fleet.fleet_watch import begin_with
from runai_async.cli.connection import Connection, connecting
from runai_async.cli.diagnostics import say
from runai_async.cli.exits import InputError
from runai_async.cli.following import ALL_EVERY, NAMES_EVERY, Following, check_discovery_interval, discovered
from runai_async.cli.ids import as_uuid, find_patiently, is_in_project
from runai_async.cli.options import (
    DURATION,
    NON_EMPTY,
    all_option,
    check_relaxed_interval,
    check_shard,
    check_workloads,
    discovery_interval_option,
    examples,
    project_option,
    relaxed_interval_option,
    shard_option,
    stalled_after_option,
)
from runai_async.cli.patience import Patience
from runai_async.cli.run import until_terminated
from runai_async.cli.text import quoted
from runai_async.client import RunaiClient, is_inference_type, workload_query
from runai_async.errors import ConfigurationError
from runai_async.models import Workload
from runai_async.policy import LEAST_INTERVAL, PollPolicy, stale_after

if TYPE_CHECKING:
    from runai_async._fleet.fleet_watch import FleetWatch
    from runai_async.exporter import Metrics


def _address(text: str) -> tuple[str, int]:
    found = re.fullmatch(r"(?:\[(?P<six>[^\]]+)\]|(?P<host>[^:]*)):(?P<port>\d{1,5})", text)
    if found is None or int(found["port"]) > 65535:  # noqa: PLR2004  (TCP's range)
        raise click.UsageError(f"{quoted(text)} is not an address: write it like 127.0.0.1:9464")
    return found["six"] or found["host"] or "127.0.0.1", int(found["port"])


@click.command(
    epilog=examples(
        "runai-async exporter --all", "runai-async exporter chat embed --listen 0.0.0.0:9464 --interval 60s"
    )
)
@click.argument("workloads", nargs=-1, type=NON_EMPTY, metavar="[WORKLOAD]...")
@all_option("Export all inference workloads, new ones too.")
@project_option
@click.option(
    "--listen",
    default="127.0.0.1:9464",
    show_default=True,
    metavar="HOST:PORT",
    help="The address to serve on.",
)
@click.option("--interval", type=DURATION, default="30s", show_default=True, help="The time between polls.")
@discovery_interval_option
@relaxed_interval_option
@shard_option
@stalled_after_option("Set runai_revision_stalled to 1 once a revision", "15m")
@click.option(
    "--max-outage",
    type=DURATION,
    help="Give up after this time without a response.  [default: wait for the end of any outage]",
)
@connecting
def exporter(
    connection: Connection,
    workloads: tuple[str, ...],
    *,
    everything: bool,
    project: str | None,
    listen: str,
    interval: float,
    discovery_interval: float | None,
    relaxed_interval: float | None,
    shard: tuple[int, int] | None,
    stalled_after: float,
    max_outage: float | None,
) -> None:
    """Serve the state of revisions as Prometheus metrics.

    /metrics has the metrics of the revisions and of this client; a workload without a successful poll for
    three intervals and a deadline has none of its revisions, and runai_async_workload_up is 0. /healthz
    responds with 503 if no poll has succeeded for three intervals (with --all at least a minute, with names
    10 seconds) and a deadline. For probes, /livez responds with 200 while the process works, and /readyz once
    each workload was polled. It waits for the end of an outage, however long that takes, unless --max-outage
    is given. A name is followed: when its workload is deleted and another one of that project takes the name,
    that one is exported. It runs until Ctrl-C, or SIGTERM (exit status 0).
    """
    check_workloads(workloads, "export", everything=everything)
    check_discovery_interval(discovery_interval, workloads)
    check_shard(shard, everything=everything)
    check_relaxed_interval(relaxed_interval, interval, everything=everything)
    address = _address(listen)
    try:
        from runai_async.exporter import Metrics  # noqa: PLC0415  (an extra of its own)
    except ImportError as error:
        raise ConfigurationError(str(error)) from error
    metrics = Metrics()
    poll = PollPolicy(
        interval=max(interval, LEAST_INTERVAL),
        deadline=connection.deadline,
        max_outage=max_outage,
        missing_grace=60.0 if max_outage is None else min(60.0, max_outage),
        stalled_after=stalled_after,
        emit=frozenset({"clusters"}),
    )
    exporting = partial(
        _export,
        metrics=metrics,
        workloads=workloads,
        poll=poll,
        address=address,
        every=discovery_interval,
        relaxed=relaxed_interval,
        shard=shard,
        project=project,
    )
    with until_terminated():
        connection.run(exporting, hooks=[metrics.hook])


async def _export(
    runai: RunaiClient,
    *,
    metrics: Metrics,
    workloads: tuple[str, ...],
    poll: PollPolicy,
    address: tuple[str, int],
    every: float | None,
    relaxed: float | None,
    shard: tuple[int, int] | None,
    project: str | None,
) -> None:
    limit = stale_after(poll, relaxed)
    if not workloads or not all(map(as_uuid, workloads)):
        # While there is nothing to poll, only discovery shows that the control plane responds.
        limit = max(limit, (every or (NAMES_EVERY if workloads else ALL_EVERY)) + poll.deadline)
    async with _served(metrics, limit, *address):  # first: probes have to work during an outage, too
        fleet = await _fleet(
            runai, metrics, workloads, poll, every=every, relaxed=relaxed, shard=shard, project=project
        )
        async with fleet:
            metrics.attach(fleet)
            async for event in fleet:
                metrics.observe(event)


async def _fleet(
    runai: RunaiClient,
    metrics: Metrics,
    workloads: tuple[str, ...],
    poll: PollPolicy,
    *,
    every: float | None,
    relaxed: float | None,
    shard: tuple[int, int] | None,
    project: str | None,
) -> FleetWatch:
    """Look up what to export, and return the fleet that polls it."""
    patience = Patience(poll)
    if not workloads:
        query = _query(runai, metrics, project)
        found = await discovered(query, "inference workload", patience, every)
        fleet = runai.watch_fleet(
            query, poll=poll, discovery_interval=found.seconds, relaxed_interval=relaxed, shard=shard
        )
        return begin_with(fleet, found.reader, found.first)
    named = await find_patiently(runai, workloads, patience, project)
    following = Following(runai, named, metrics.names, every or NAMES_EVERY, projects=metrics.projects)
    return following.fleet(poll)


def _query(runai: RunaiClient, metrics: Metrics, project: str | None) -> WorkloadQuery:
    def includes(workload: Workload) -> bool:
        is_included = is_inference_type(workload) and is_in_project(workload, project)
        if is_included:
            metrics.names[workload.id] = workload.name
            metrics.projects[workload.id] = workload.project_name or ""
        return is_included

    return workload_query(runai, includes)


@asynccontextmanager
async def _served(metrics: Metrics, patience: float, host: str, port: int) -> AsyncGenerator[None, None]:
    from runai_async.exporter import serving  # noqa: PLC0415

    async with AsyncExitStack() as stack:
        try:
            serve = serving(metrics, lambda: metrics.is_fresh(patience), host, port)
            bound = await stack.enter_async_context(serve)
        except OSError as error:
            raise InputError(
                f"cannot listen on {host}:{port}: {error.strerror}; try another --listen"
            ) from error
        name = f"[{host}]" if ":" in host else host
        limit = f"503 after {patience:g} s without a successful poll"
        say(f"serving http://{name}:{bound}/metrics, /healthz, /livez and /readyz ({limit})")
        yield
