"""`runai-async clusters`: list."""

from __future__ import annotations

import click

from runai_async.cli import views
from runai_async.cli.connection import Connection, connecting
from runai_async.cli.options import examples
from runai_async.cli.views.output import RESULTS, Print, Result, output_option
from runai_async.client import RunaiClient
from runai_async.models import Cluster


@click.group(epilog=examples("runai-async clusters list"))
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
@output_option(RESULTS, of="json and jsonl have the API's own fields, and state.")
@connecting
def list_(connection: Connection, *, output: Print) -> None:
    """List the clusters and the states of their connections, by name."""

    async def work(runai: RunaiClient) -> list[Cluster]:
        return await runai.list_clusters()

    found = sorted(connection.run(work), key=lambda cluster: (cluster.name, cluster.id))
    output(
        Result(
            found,
            document=found,
            draw=lambda: views.tables.print_clusters(found),
            empty="there are no clusters",
        )
    )
