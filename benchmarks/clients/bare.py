"""aiohttp and nothing else: the least that a client built on it can cost."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import platform
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson
from yarl import URL

from benchmarks.clients.turns import AUTHORIZATION, CONCURRENCY, calls, polls
from benchmarks.measure import Client, Run, Sample
from benchmarks.payloads import workload_id

_AGENT = f"benchmarks/0.1.0 aiohttp/{aiohttp.__version__} Python/{platform.python_version()}"
HEADERS = {"User-Agent": _AGENT, "Accept": "application/json", "Authorization": AUTHORIZATION}


def _tuned() -> dict[str, Any]:
    """Return the options of a session that does as little as it can."""
    return {
        "connector": aiohttp.TCPConnector(limit=0),
        "cookie_jar": aiohttp.DummyCookieJar(),
        "timeout": aiohttp.ClientTimeout(),
    }


def _path(mode: str, number: int) -> str:
    return f"/{mode}/api/v1/workloads/inferences/{workload_id(number)}/revisions"


def _get(read: Callable[[bytes], Any]) -> Client:
    @asynccontextmanager
    async def client(url: str) -> AsyncIterator[Run]:
        address = url + _path("fresh", 1)

        async def call() -> None:
            async with session.get(address, headers=HEADERS) as response:
                read(await response.read())

        async with aiohttp.ClientSession() as session:
            yield calls(call)

    return client


get_read = _get(len)
get_orjson = _get(orjson.loads)


def _watch(workloads: int, *, tuned: bool = False) -> Client:
    """Make a client that polls on a watch's schedule: a grid of 10 ms in which missed slots are skipped."""

    @asynccontextmanager
    async def client(url: str) -> AsyncIterator[Run]:
        slots = asyncio.Semaphore(CONCURRENCY)
        counted = url + _path("fixed", 1) + "/count"
        # Built once: aiohttp does not cache so many different URLs, and would parse each one every time.
        addresses = [URL(url + _path("fixed", number)) for number in range(workloads)]

        async def watch(address: URL) -> None:
            slot = time.monotonic()
            while True:
                if (wait := slot - time.monotonic()) > 0:
                    await asyncio.sleep(wait)
                async with slots, session.get(address, headers=HEADERS) as response:
                    await response.read()
                slot += 0.01 * max(1, math.ceil((time.monotonic() - slot) / 0.01))

        async def count() -> int:
            async with session.get(counted) as response:
                return int(json.loads(await response.read())["count"])

        async def run(amount: int) -> Sample:
            tasks = [asyncio.ensure_future(watch(address)) for address in addresses]
            await asyncio.sleep(0.5)
            sample = await polls(amount / 1000, count)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            return sample

        options: dict[str, Any] = _tuned() if tuned else {"connector": aiohttp.TCPConnector(limit=0)}
        async with aiohttp.ClientSession(**options) as session:
            yield run

    return client


def _poll(*, tuned: bool = False) -> Client:
    """Make a client that asks for 512 lists in turn, in the simplest loop there is."""

    @asynccontextmanager
    async def client(url: str) -> AsyncIterator[Run]:
        # The tuned one has its URLs built once, as in `_watch`.
        texts = [url + _path("fixed", number) for number in range(512)]
        addresses: Iterator[str | URL] = itertools.cycle([URL(text) for text in texts] if tuned else texts)

        async def one() -> None:
            async with session.get(next(addresses), headers=HEADERS) as response:
                await response.read()

        async with aiohttp.ClientSession(**(_tuned() if tuned else {})) as session:
            yield calls(one)

    return client


poll = _poll()
poll_tuned = _poll(tuned=True)
watch_many = _watch(512)
watch_many_tuned = _watch(512, tuned=True)
watch_few = _watch(32)
