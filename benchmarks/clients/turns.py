"""The turns that sides share: so many calls at once, so many decodes, so many seconds of watching."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from benchmarks.measure import Run, Sample, Side, Stopwatch
from benchmarks.payloads import Template
from benchmarks.server import token

CONCURRENCY = 32
AUTHORIZATION = f"Bearer {token()}"
"""For clients that fetch no token: one like those that the others are given."""
_BATCH = 20


def calls(call: Callable[[], Awaitable[Any]]) -> Run:
    """Return a turn of that many calls, 32 at a time."""

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
) -> Side:
    """Return a side that decodes list answers, no two of them alike; what *prepare* does is not measured."""

    @asynccontextmanager
    async def side(_: str) -> AsyncIterator[Run]:
        template, starts = Template(unknown=unknown), itertools.count(1, _BATCH)

        async def run(amount: int) -> Sample:
            cpu = wall = 0.0
            for _ in range(amount // _BATCH):
                # Few at a time: what waits here to be decoded is the garbage collector's work, too.
                inputs = [prepare(body) for body in template.bodies(next(starts), _BATCH)]
                watch = Stopwatch()
                for value in inputs:
                    decode(value)
                sample = watch.sample(_BATCH)
                cpu, wall = cpu + sample.cpu, wall + sample.wall
            return Sample(amount // _BATCH * _BATCH, cpu, wall)

        yield run

    return side


async def polls(seconds: float, count: Callable[[], Awaitable[int]]) -> Sample:
    """Measure what polls in other tasks; *count* asks the server how many there were up to now."""
    # The watch is read after each answer: asking may take its turn among the polls, at both ends alike.
    before, watch = await count(), Stopwatch()
    await asyncio.sleep(seconds)
    return watch.sample(await count() - before)
