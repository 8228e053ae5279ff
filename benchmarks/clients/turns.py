"""Turns that clients share: a number of calls, a number of decodes, or some seconds of polling."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from benchmarks.measure import Client, Run, Sample, Stopwatch
from benchmarks.payloads import Template
from benchmarks.server import token

CONCURRENCY = 32
AUTHORIZATION = f"Bearer {token()}"
"""For clients that do not fetch a token: one like those that the server issues."""
_BATCH = 20


def calls(call: Callable[[], Awaitable[Any]]) -> Run:
    """Return a turn that makes a number of calls, 32 at a time."""

    async def run(amount: int) -> Sample:
        each = amount // CONCURRENCY

        async def some() -> None:
            for _ in range(each):
                await call()

        watch = Stopwatch()
        await asyncio.gather(*(some() for _ in range(CONCURRENCY)))
        return watch.sample(each * CONCURRENCY)

    return run


def decodes(
    decode: Callable[[Any], Any], *, unknown: bool = False, prepare: Callable[[bytes], Any] = bytes
) -> Client:
    """Return a client that decodes lists, all of them different; *prepare* is not measured."""

    @asynccontextmanager
    async def client(_: str) -> AsyncIterator[Run]:
        template, starts = Template(unknown=unknown), itertools.count(1, _BATCH)

        async def run(amount: int) -> Sample:
            cpu = wall = 0.0
            for _ in range(amount // _BATCH):
                # Few at a time, because the garbage collector also visits what waits here to be decoded.
                inputs = [prepare(body) for body in template.bodies(next(starts), _BATCH)]
                watch = Stopwatch()
                for value in inputs:
                    decode(value)
                sample = watch.sample(_BATCH)
                cpu, wall = cpu + sample.cpu, wall + sample.wall
            return Sample(amount // _BATCH * _BATCH, cpu, wall)

        yield run

    return client


async def polls(seconds: float, count: Callable[[], Awaitable[int]]) -> Sample:
    """Measure the polls of other tasks; *count* asks the server how many there have been."""
    # Read the stopwatch after each count, which takes its turn among the polls at both ends alike.
    before, watch = await count(), Stopwatch()
    await asyncio.sleep(seconds)
    return watch.sample(await count() - before)
