"""`runai-async clusters`: list."""

from __future__ import annotations

import click

from runai_async.cli.connection import Connection, connecting
from runai_async.cli.groups import Group
from runai_async.cli.ids import names_or_ids
from runai_async.cli.options import examples
from runai_async.cli.views.listings import clusters_table
from runai_async.cli.views.output import Output, Result, result_options
from runai_async.client import RunaiClient, server_time


@click.group(cls=Group, epilog=examples("runai-async clusters list"))
def clusters() -> None:
    """List clusters and whether they are connected.

    What a cluster without a connection last reported stays as it was: its revisions may say Running for ever.
    """


@clusters.command(
    "list",
    epilog=examples(
        "runai-async clusters list",
        "runai-async clusters list -o json | jq -r '.[] | .name, .state'",
    ),
)
@result_options(of="json, jsonl and yaml have the API's own fields, and state.")
@connecting
def list_(connection: Connection, *, output: Output) -> None:
    """List the clusters and the states of their connections, by name."""

    async def work(runai: RunaiClient) -> Result:
        found = sorted(await runai.list_clusters(), key=lambda cluster: (cluster.name, cluster.id))
        now = server_time(runai).now()
        return Result(
            found,
            document=found,
            table=lambda wide: clusters_table(found, now, wide=wide),
            names=names_or_ids(found),
            empty="there are no clusters",
        )

    output(connection.run(work))
