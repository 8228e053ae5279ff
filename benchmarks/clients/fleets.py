"""Many workloads on one schedule: a fleet of this package, and a bare loop over `get().read()`."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from benchmarks.clients.turns import AUTHORIZATION, polls
from benchmarks.measure import Client, Run, Sample
from benchmarks.payloads import workload_id
from runai_async import ClientCredentials, PollPolicy, RunaiClient

RATE = 500
"""Polls per second, as of 5,000 workloads at 10 s."""
_UNCOUNTED = 1.5


def _fleet(workloads: int) -> Client:
    """Make a client that watches a fleet; its interval gives the same rate for any number of workloads."""

    @asynccontextmanager
    async def client(url: str) -> AsyncIterator[Run]:
        policy = PollPolicy(interval=workloads / RATE, fast_interval=workloads / RATE)
        ids = [workload_id(number) for number in range(workloads)]
        async with RunaiClient(f"{url}/fixed", ClientCredentials("benchmarks", "secret")) as runai:

            async def run(amount: int) -> Sample:
                fleet = runai.watch_fleet(ids, poll=policy, include_existing=False)
                async with fleet:
                    # Wait for one whole round: the first poll of each workload finds something new.
                    await asyncio.sleep(policy.interval + _UNCOUNTED)
                    return await polls(amount / 1000, lambda: runai.count_revisions(ids[0]))

            yield run

    return client


def _bare(workloads: int) -> Client:
    """Make the client that does the least: sleep until a workload is due, get it, read it."""

    @asynccontextmanager
    async def client(url: str) -> AsyncIterator[Run]:
        interval = workloads / RATE
        base = f"{url}/fixed/api/v1/workloads/inferences"
        headers = {"Authorization": AUTHORIZATION}
        async with aiohttp.ClientSession() as session:
            running: set[asyncio.Task[None]] = set()

            async def poll(workload: str) -> None:
                async with session.get(f"{base}/{workload}/revisions", headers=headers) as response:
                    await response.read()

            async def schedule() -> None:
                now = asyncio.get_running_loop().time
                start = now()
                due = [(start + n / RATE, workload_id(n)) for n in range(workloads)]
                heapq.heapify(due)
                while True:
                    at, workload = due[0]
                    if at > now():
                        await asyncio.sleep(at - now())
                    heapq.heapreplace(due, (at + interval, workload))
                    task = asyncio.create_task(poll(workload))
                    running.add(task)
                    task.add_done_callback(running.discard)

            async def count() -> int:
                async with session.get(
                    f"{base}/{workload_id(0)}/revisions/count", headers=headers
                ) as response:
                    return int((await response.json())["count"])

            async def run(amount: int) -> Sample:
                scheduler = asyncio.create_task(schedule())
                await asyncio.sleep(_UNCOUNTED)
                sample = await polls(amount / 1000, count)
                scheduler.cancel()
                await asyncio.wait({scheduler, *running})
                return sample

            yield run

    return client


fleet_100, fleet_1000, fleet_5000, fleet_10000 = map(_fleet, (100, 1000, 5000, 10_000))
bare_5000 = _bare(5000)
