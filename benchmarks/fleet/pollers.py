"""Two clients that poll what a list names, each in a process of its own.

`python -m benchmarks.fleet.pollers` reads a `Job` from stdin, polls until that ends, and prints how it
went as a line of JSON.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import sys
from typing import Any, NamedTuple

import aiohttp
from attrs import evolve

from benchmarks.fleet.size import Size
from benchmarks.record import Log, written
from runai_async import RunaiClient

DISCOVERY_INTERVAL = 2.0
"""Seconds from the end of a listing to the next one, for those who do not mind how long it took."""
LOOP_AT_ONCE = 100
"""Polls that the loop has in flight at most. A fleet has its default."""
POLL_DEADLINE = 30.0
"""Seconds; not scaled, because what a poll takes is not either."""
FLEET, LOOP = "fleet", "loop"


class Job(NamedTuple):
    """What to do.

    Attributes:
        client: `fleet` or `loop`.
        path: the file to which the fleet writes its events.
    """

    client: str
    url: str
    token: str
    path: str
    size: Size


class Ended(NamedTuple):
    """How it went.

    Attributes:
        failed: workloads whose polls fail, at the end; of the loop, requests that failed at any time.
        needed: polls in flight that the intervals ask for, by the fleet's own account.
        warnings: what the fleet logged.
    """

    failed: int
    needed: float = 0.0
    warnings: int = 0


async def stdin_ends() -> None:
    """Wait until the parent process closes stdin."""
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


async def fleet(job: Job) -> Ended:
    """Poll with `watch_fleet`, and write its events."""
    log = Log().listen()
    policy = evolve(job.size.policy(), deadline=POLL_DEADLINE)
    with open(job.path, "w", encoding="utf-8", buffering=1) as file:  # noqa: ASYNC230, PTH123
        async with (
            RunaiClient(job.url, job.token) as runai,
            runai.watch_fleet(
                runai.inference_workloads,
                poll=policy,
                discovery_interval=job.size.seconds(DISCOVERY_INTERVAL),
            ) as watch,
            written(watch, file),
        ):
            await stdin_ends()
            status = watch.status
    return Ended(status.failing, status.concurrency_needed, log.levels.count("WARNING"))


class Loop:
    """Polls with aiohttp and nothing else: a task for each workload, spread evenly over the interval."""

    def __init__(self, session: aiohttp.ClientSession, job: Job) -> None:
        self.failed = 0
        self._session = session
        self._api = f"{job.url}/api/v1/workloads"
        self._size = job.size
        self._semaphore = asyncio.Semaphore(LOOP_AT_ONCE)
        self._places = itertools.count()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._now = asyncio.get_running_loop().time

    async def run(self) -> None:
        """List again and again, and poll what is listed, until cancelled."""
        try:
            while True:
                self._follow(await self._listed())
                await asyncio.sleep(self._size.seconds(DISCOVERY_INTERVAL))
        finally:
            self._follow(set())

    async def _listed(self) -> set[str]:
        ids: set[str] = set()
        offset: int | None = 0
        while offset is not None:
            page = json.loads(await self._get(f"{self._api}?offset={offset}&limit=500"))
            ids.update(row["id"] for row in page["workloads"])
            offset = page.get("next")
        return ids

    def _follow(self, ids: set[str]) -> None:
        for gone in self._tasks.keys() - ids:
            self._tasks.pop(gone).cancel()
        for new in sorted(ids - self._tasks.keys()):
            self._tasks[new] = asyncio.create_task(self._keep_polling(new, next(self._places)))

    async def _keep_polling(self, workload_id: str, place: int) -> None:
        """Poll at regular times; those that come while a poll waits or runs are skipped."""
        interval = self._size.interval
        due = self._now() + place % self._size.workloads / self._size.workloads * interval
        while True:
            await asyncio.sleep(due - self._now())
            async with self._semaphore:
                await self._poll(workload_id)
            due += interval * max(1, math.ceil((self._now() - due) / interval))

    async def _poll(self, workload_id: str) -> None:
        try:
            await self._get(f"{self._api}/inferences/{workload_id}/revisions")
        except aiohttp.ClientError:
            self.failed += 1

    async def _get(self, url: str) -> bytes:
        async with self._session.get(url) as response:
            return await response.read()


async def loop(job: Job) -> Ended:
    """Poll with a plain loop."""
    async with aiohttp.ClientSession(
        headers={"Authorization": f"Bearer {job.token}"},
        connector=aiohttp.TCPConnector(limit=0),  # the semaphore is the limit, and a listing is beside it
        raise_for_status=True,
    ) as session:
        polling = Loop(session, job)
        task = asyncio.create_task(polling.run())
        await stdin_ends()
        task.cancel()
        await asyncio.wait({task})
    return Ended(polling.failed + (not task.cancelled()))


def job(values: list[Any]) -> Job:
    """Return a job that was sent as JSON."""
    *texts, size = values
    client, url, token, path = map(str, texts)
    return Job(client, url, token, path, Size(*size))


def main() -> None:
    """Read what to do, do it, and print how it went."""
    todo = job(json.loads(sys.stdin.readline()))
    print(json.dumps(asyncio.run((fleet if todo.client == FLEET else loop)(todo))))


if __name__ == "__main__":
    main()
