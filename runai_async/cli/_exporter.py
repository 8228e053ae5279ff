"""`exporter`: revisions as Prometheus metrics."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import click

from runai_async.cli._ids import find_workloads
from runai_async.cli._options import DURATION, Connection, connecting, examples
from runai_async.client import RunaiClient, is_inference_type
from runai_async.errors import ConfigurationError
from runai_async.policy import PollPolicy

if TYPE_CHECKING:
    from runai_async.exporter import Metrics

_STALE_INTERVALS = 3


def _address(text: str) -> tuple[str, int]:
    found = re.fullmatch(r"(?:\[(?P<six>[^\]]+)\]|(?P<host>[^:]*)):(?P<port>\d{1,5})", text)
    if found is None or int(found["port"]) > 65535:  # noqa: PLR2004  (TCP's range)
        raise click.UsageError(f"{text!r} is no address: write it like 127.0.0.1:9464")
    return found["six"] or found["host"] or "127.0.0.1", int(found["port"])


@click.command(
    epilog=examples(
        "runai-async exporter --all", "runai-async exporter chat embed --listen 0.0.0.0:9464 --interval 60s"
    )
)
@click.argument("workloads", nargs=-1, metavar="[WORKLOAD]...")
@click.option("--all", "everything", is_flag=True, help="Export all inference workloads, new ones too.")
@click.option(
    "--listen", default="127.0.0.1:9464", show_default=True, metavar="HOST:PORT", help="Where to serve."
)
@click.option("--interval", type=DURATION, default="30s", show_default=True, help="Between polls.")
@connecting
def exporter(
    connection: Connection, workloads: tuple[str, ...], *, everything: bool, listen: str, interval: float
) -> None:
    """Serve the state of revisions, and of this client, as Prometheus metrics.

    /metrics has the metrics; /healthz is 503 when no poll was good for three intervals and a deadline.
    It runs until Ctrl-C or SIGTERM.
    """
    if bool(workloads) == everything:
        raise click.UsageError("name the workloads to export, or give --all")
    host, port = _address(listen)
    try:
        from runai_async.exporter import Metrics  # noqa: PLC0415  (an extra of its own)
    except ImportError as error:
        raise ConfigurationError(f"{error}: pip install 'runai-async[exporter]'") from error
    metrics = Metrics()
    poll = PollPolicy(interval=interval, deadline=connection.deadline)
    connection.run(lambda runai: _export(runai, metrics, workloads, poll, (host, port)), hooks=[metrics.hook])


async def _export(
    runai: RunaiClient,
    metrics: Metrics,
    workloads: tuple[str, ...],
    poll: PollPolicy,
    address: tuple[str, int],
) -> None:
    from runai_async.exporter import serving  # noqa: PLC0415

    async def discovered() -> AsyncIterator[str]:
        async for workload in runai.list_workloads():
            if is_inference_type(workload):
                metrics.names[workload.id] = workload.name
                yield workload.id

    found = await find_workloads(runai, workloads) if workloads else []
    metrics.names.update({item.id: item.name for item in found if item.name})
    fleet = runai.watch_fleet([item.id for item in found] if workloads else discovered, poll=poll)
    patience = _STALE_INTERVALS * poll.interval + poll.deadline
    async with fleet:
        metrics.of_fleet(fleet)
        async with serving(metrics, lambda: metrics.is_fresh(patience), *address) as port:
            click.echo(f"serving http://{address[0]}:{port}/metrics and /healthz", err=True)
            async for event in fleet:
                metrics.tell(event)
