"""Memory: per watched workload, and after many polls."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.clients.ours import CREDENTIALS
from benchmarks.measure import Client, Run, Sample
from benchmarks.payloads import Template, with_random_values, workload_id
from runai_async import PollPolicy, Revision, RevisionDeleted, RevisionWatch, RunaiClient, WatchEvent
from runai_async._codec import decode_revisions

_WARM = 500
"""Workloads before the counted ones: they pay for pools and buffers."""
_POLICY = PollPolicy(interval=3600, jitter=0)


def resident() -> float:
    """Return the resident memory of this process in bytes."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * float(os.sysconf("SC_PAGE_SIZE"))


async def _until(reached: Callable[[], bool]) -> None:
    while not reached():  # noqa: ASYNC110  (there is no event to wait for)
        await asyncio.sleep(0.1)


async def _grown(more: int, grow: Callable[[range], Awaitable[None]]) -> Sample:
    """Return the bytes that each further workload takes, after the first ones."""
    await grow(range(_WARM))
    before = resident()
    await grow(range(_WARM, _WARM + more))
    return Sample(more, 0.0, 0.0, (resident() - before) / more)


@asynccontextmanager
async def watches(url: str) -> AsyncIterator[Run]:
    """Watch each workload by itself, with a task that waits for its next event."""
    async with RunaiClient(f"{url}/fixed", CREDENTIALS) as runai:
        kept: list[tuple[RevisionWatch, asyncio.Task[WatchEvent]]] = []

        async def grow(numbers: range) -> None:
            new = [
                runai.watch_revisions(workload_id(n), poll=_POLICY, include_existing=False) for n in numbers
            ]
            kept.extend((watch, asyncio.create_task(watch.__anext__())) for watch in new)
            await _until(lambda: all(watch.status.synced for watch in new))

        async def run(amount: int) -> Sample:
            sample = await _grown(amount, grow)
            for watch, _ in kept:
                await watch.aclose()
            await asyncio.gather(*(task for _, task in kept), return_exceptions=True)
            return sample

        yield run


def _fleet(mode: str) -> Client:
    """Make a client that watches all workloads as one fleet."""

    @asynccontextmanager
    async def client(url: str) -> AsyncIterator[Run]:
        async with RunaiClient(f"{url}/{mode}", CREDENTIALS) as runai:

            async def run(amount: int) -> Sample:
                async with runai.watch_fleet((), interval=2, poll=_POLICY, include_existing=False) as watched:

                    async def grow(numbers: range) -> None:
                        for number in numbers:
                            watched.add(workload_id(number))
                        await _until(lambda: watched.status.oldest_success_at is not None)

                    return await _grown(amount, grow)

            yield run

    return client


fleet = _fleet("fixed")
fleet_random = _fleet("random")


def _typed_and_raw(make: Callable[[str], bytes]) -> Client:
    """Make a client that keeps the decoded revisions and the body, as a simple watch would."""

    @asynccontextmanager
    async def client(_: str) -> AsyncIterator[Run]:
        kept: list[tuple[bytes, list[Revision]]] = []

        async def grow(numbers: range) -> None:
            bodies = (make(f"{number:012x}") for number in numbers)
            kept.extend((body, decode_revisions(body)) for body in bodies)

        async def run(amount: int) -> Sample:
            return await _grown(amount, grow)

        yield run

    return client


typed_and_raw = _typed_and_raw(lambda tail: Template().body(tail.encode()))
typed_and_raw_random = _typed_and_raw(with_random_values)


class SkippingClock:
    """A clock that skips every sleep, so that a watch polls as fast as the server responds."""

    def __init__(self) -> None:
        self._skipped = 0.0

    def monotonic(self) -> float:
        """Return the seconds of the machine's clock plus the skipped ones."""
        return time.monotonic() + self._skipped

    def now(self) -> datetime:
        """Return the time of the wall clock."""
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        """Skip the time and give way to other tasks."""
        self._skipped += seconds
        await asyncio.sleep(0)


@asynccontextmanager
async def churn(url: str) -> AsyncIterator[Run]:
    """Watch a workload that differs in every response and whose revisions are deleted one by one."""
    async with RunaiClient(f"{url}/churn", CREDENTIALS, clock=SkippingClock()) as runai:
        # As at 10 s, with all else: a deleted revision is remembered for six polls.
        policy = PollPolicy(interval=0.01, jitter=0, missing_grace=0.06)
        watch = runai.watch_revisions(workload_id(1), poll=policy)

        async def run(amount: int) -> Sample:
            before = await runai.count_revisions(workload_id(1))
            deleted = 0
            async for event in watch:
                deleted += isinstance(event, RevisionDeleted)
                # Every response has a change, so there are at least as many events as polls.
                if not watch.checkpoint().revisions:
                    raise RuntimeError("the watch forgot the revisions that it reported")
                if deleted * 10 >= amount:
                    break
            return Sample(await runai.count_revisions(workload_id(1)) - before, 0.0, 0.0, resident())

        yield run
