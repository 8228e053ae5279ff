"""`runai-async exporter`: revisions as Prometheus metrics."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import click

from runai_async.cli.connection import Connection, connecting
from runai_async.cli.diagnostics import say
from runai_async.cli.exits import InputError
from runai_async.cli.ids import check_discovery, check_reachable, find_workloads
from runai_async.cli.options import DURATION, NON_EMPTY, check_workloads, examples
from runai_async.client import RunaiClient, is_inference_type
from runai_async.errors import ConfigurationError
from runai_async.models import Workload
from runai_async.policy import LEAST_INTERVAL, PollPolicy, stale_after

if TYPE_CHECKING:
    from runai_async._fleet.fleet_watch import FleetWatch
    from runai_async.exporter import Metrics

_DISCOVERY_INTERVAL = 60.0


def _address(text: str) -> tuple[str, int]:
    found = re.fullmatch(r"(?:\[(?P<six>[^\]]+)\]|(?P<host>[^:]*)):(?P<port>\d{1,5})", text)
    if found is None or int(found["port"]) > 65535:  # noqa: PLR2004  (TCP's range)
        raise click.UsageError(f"{text!r} is not an address: write it like 127.0.0.1:9464")
    return found["six"] or found["host"] or "127.0.0.1", int(found["port"])


@click.command(
    epilog=examples(
        "runai-async exporter --all", "runai-async exporter chat embed --listen 0.0.0.0:9464 --interval 60s"
    )
)
@click.argument("workloads", nargs=-1, type=NON_EMPTY, metavar="[WORKLOAD]...")
@click.option("--all", "everything", is_flag=True, help="Export all inference workloads, new ones too.")
@click.option(
    "--listen",
    default="127.0.0.1:9464",
    show_default=True,
    metavar="HOST:PORT",
    help="The address to serve on.",
)
@click.option("--interval", type=DURATION, default="30s", show_default=True, help="The time between polls.")
@connecting
def exporter(
    connection: Connection, workloads: tuple[str, ...], *, everything: bool, listen: str, interval: float
) -> None:
    """Serve the state of revisions as Prometheus metrics.

    /metrics has the metrics of the revisions and of this client; a workload without a successful poll for
    three intervals and a deadline has none of its revisions, and runai_async_workload_up is 0. /healthz
    responds with 503 if no poll has succeeded for three intervals (with --all, at least a minute) and a
    deadline. For probes, /livez responds with 200 while the process works, and /readyz once each workload was
    polled. Once the first look-up has succeeded, it waits for the end of an outage, however long that takes.
    It runs until Ctrl-C or SIGTERM.
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
        max_outage=None,
        emit=frozenset({"updated", "clusters"}),
    )
    connection.run(lambda runai: _export(runai, metrics, workloads, poll, address), hooks=[metrics.hook])


async def _export(
    runai: RunaiClient,
    metrics: Metrics,
    workloads: tuple[str, ...],
    poll: PollPolicy,
    address: tuple[str, int],
) -> None:
    patience = stale_after(poll)
    if not workloads:
        # While there is nothing to poll, only discovery shows that the control plane responds.
        patience = max(patience, _DISCOVERY_INTERVAL + poll.deadline)
    async with _served(metrics, patience, *address):  # first: probes have to work during an outage, too
        fleet = await _fleet(runai, metrics, workloads, poll)
        async with fleet:
            metrics.of_fleet(fleet)
            async for event in fleet:
                metrics.observe(event)


async def _fleet(
    runai: RunaiClient, metrics: Metrics, workloads: tuple[str, ...], poll: PollPolicy
) -> FleetWatch:
    """Look up what to export, and return the fleet that polls it."""
    if workloads:
        found = await find_workloads(runai, workloads)
        metrics.names.update({item.id: item.name for item in found if item.name})
        metrics.projects.update({item.id: item.project for item in found if item.project})
        await check_reachable(runai, found[0].id)
        return runai.watch_fleet([item.id for item in found], poll=poll)
    await check_discovery(_discovered(runai, metrics), "inference workload")
    return runai.watch_fleet(
        lambda: _discovered(runai, metrics), poll=poll, discovery_interval=_DISCOVERY_INTERVAL
    )


def _discovered(runai: RunaiClient, metrics: Metrics) -> AsyncIterator[str]:
    def includes(workload: Workload) -> bool:
        is_included = is_inference_type(workload)
        if is_included:
            metrics.names[workload.id] = workload.name
            metrics.projects[workload.id] = workload.project_name or ""
        return is_included

    return runai.inference_workloads(is_inference=includes)


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
        say(f"serving http://{name}:{bound}/metrics and /healthz ({limit})")
        yield
