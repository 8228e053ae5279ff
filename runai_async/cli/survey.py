"""Reads the revisions of many workloads, and which of their clusters have lost the control plane."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from attrs import Factory, define

from runai_async._watch.clusters import describe_loss
from runai_async._watch.failures import is_refusal
from runai_async.cli.overview import Overview
from runai_async.cli.text import clean
from runai_async.client import RunaiClient, server_time
from runai_async.errors import AuthenticationError, NotFoundError, RunaiError
from runai_async.models import ClusterState, Revision, Workload
from runai_async.policy import RetryPolicy

_AT_ONCE = 16
"""Workloads whose revisions are read at the same time."""
_HOPELESS = 5
"""Workloads whose revisions cannot be read, before any could, after which no others are tried."""
_CLUSTER_SECONDS = 3.0
"""Seconds that the state of a cluster is waited for."""


@define
class Survey:
    """What was read.

    Attributes:
        overviews: the workloads whose revisions could be read.
        failures: why those of others could not.
    """

    overviews: list[Overview] = Factory(list[Overview])
    failures: list[RunaiError] = Factory(list[RunaiError])


async def survey(runai: RunaiClient, known: Sequence[Workload]) -> Survey:
    """Read the revisions of each workload.

    Raises:
        RunaiError: none could be read, or the token is refused.
    """
    found, slots = Survey(), asyncio.Semaphore(_AT_ONCE)

    async def read(workload: Workload) -> None:
        async with slots:
            try:
                found.overviews.append(Overview(workload, tuple(await _revisions(runai, workload))))
            except RunaiError as error:
                found.failures.append(error)
                found_none = not found.overviews and len(found.failures) >= min(_HOPELESS, len(known))
                if found_none or isinstance(error, AuthenticationError):
                    raise

    try:
        async with asyncio.TaskGroup() as group:
            for workload in known:
                group.create_task(read(workload))
    except* RunaiError:
        is_hopeless = True
    else:
        is_hopeless = False
    if is_hopeless:
        raise found.failures[-1]
    return found


async def _revisions(runai: RunaiClient, workload: Workload) -> list[Revision]:
    """Return the revisions of a workload; none where the API knows none, as for distributed inference."""
    try:
        return await runai.list_revisions(workload.id)
    except NotFoundError as error:
        if is_refusal(error):
            return []
        raise


async def lost_clusters(runai: RunaiClient, cluster_ids: set[str]) -> list[str]:
    """Return a line for each cluster that has lost its control plane, as far as that can be read soon."""
    once = runai.with_options(retry=RetryPolicy(attempts=1, deadline=_CLUSTER_SECONDS))
    lines = await asyncio.gather(*(_loss(once, cluster_id) for cluster_id in sorted(cluster_ids)))
    return [line for line in lines if line]


async def _loss(runai: RunaiClient, cluster_id: str) -> str:
    try:
        cluster = await runai.get_cluster(cluster_id)
    except (RunaiError, ValueError):
        return ""
    if cluster.state != ClusterState.DISCONNECTED:
        return ""
    return f"cluster {clean(cluster.name)} {describe_loss(cluster.last_seen_at, server_time(runai).now())}"
