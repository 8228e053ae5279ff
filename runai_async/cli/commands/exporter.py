"""`runai-async exporter`: revisions as Prometheus metrics."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import click

from runai_async._api.workload_list import IdListing
from runai_async.cli.connection import Connection, connecting
from runai_async.cli.diagnostics import say
from runai_async.cli.exits import InputError
from runai_async.cli.following import ALL_EVERY, NAMES_EVERY, Following, discovered
from runai_async.cli.ids import as_uuid, find_patiently, is_in_project
from runai_async.cli.options import (
    DURATION,
    NON_EMPTY,
    all_option,
    check_workloads,
    discovery_interval_option,
    examples,
    project_option,
)
from runai_async.cli.patience import Patience
from runai_async.cli.text import quoted
from runai_async.client import RunaiClient, is_inference_type, workload_ids
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
    max_outage: float | None,
) -> None:
    """Serve the state of revisions as Prometheus metrics.

    /metrics has the metrics of the revisions and of this client; a workload without a successful poll for
    three intervals and a deadline has none of its revisions, and runai_async_workload_up is 0. /healthz
    responds with 503 if no poll has succeeded for three intervals (with --all at least a minute, with names
    10 seconds) and a deadline. For probes, /livez responds with 200 while the process works, and /readyz once
    each workload was polled. It waits for the end of an outage, however long that takes, unless --max-outage
    is given. A name is followed: when its workload is deleted and another one of that project takes the name,
    that one is exported. It runs until Ctrl-C or SIGTERM.
    """
    check_workloads(workloads, "export", everything=everything)
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
        emit=frozenset({"updated", "clusters"}),
    )
    every = discovery_interval or (ALL_EVERY if everything else NAMES_EVERY)
    connection.run(
        lambda runai: _export(runai, metrics, workloads, poll, address, every=every, project=project),
        hooks=[metrics.hook],
    )


async def _export(
    runai: RunaiClient,
    metrics: Metrics,
    workloads: tuple[str, ...],
    poll: PollPolicy,
    address: tuple[str, int],
    *,
    every: float,
    project: str | None,
) -> None:
    limit = stale_after(poll)
    if not workloads or not all(map(as_uuid, workloads)):
        # While there is nothing to poll, only discovery shows that the control plane responds.
        limit = max(limit, every + poll.deadline)
    async with _served(metrics, limit, *address):  # first: probes have to work during an outage, too
        fleet = await _fleet(runai, metrics, workloads, poll, every=every, project=project)
        async with fleet:
            metrics.of_fleet(fleet)
            async for event in fleet:
                metrics.observe(event)


async def _fleet(
    runai: RunaiClient,
    metrics: Metrics,
    workloads: tuple[str, ...],
    poll: PollPolicy,
    *,
    every: float,
    project: str | None,
) -> FleetWatch:
    """Look up what to export, and return the fleet that polls it."""
    patience = Patience(poll)
    if not workloads:
        ask = await discovered(
            lambda: _listing(runai, metrics, project), "inference workload", patience, every
        )
        return runai.watch_fleet(ask, poll=poll, discovery_interval=every)
    found = await find_patiently(runai, workloads, patience, project)
    following = Following(runai, found, metrics.names, every, projects=metrics.projects)
    return following.fleet(poll)


def _listing(runai: RunaiClient, metrics: Metrics, project: str | None) -> IdListing:
    def includes(workload: Workload) -> bool:
        is_included = is_inference_type(workload) and is_in_project(workload, project)
        if is_included:
            metrics.names[workload.id] = workload.name
            metrics.projects[workload.id] = workload.project_name or ""
        return is_included

    return workload_ids(runai, includes)


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
