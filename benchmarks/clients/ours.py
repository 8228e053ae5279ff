"""This package."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from itertools import cycle, islice
from typing import Any

from benchmarks.clients.turns import CONCURRENCY, calls, decodes, polls
from benchmarks.measure import Client, Run, Sample, Stopwatch
from benchmarks.payloads import changing, encode, workload, workload_id
from runai_async import ClientCredentials, PollPolicy, RunaiClient, Workload
from runai_async._api.paging import LeftOut
from runai_async._codec import decode_page, decode_revisions
from runai_async._fleet.row_pages import RowPages
from runai_async._fleet.rows import Rows
from runai_async._watch.poll import Poller
from runai_async._watch.tracker import Tracker
from runai_async.client import is_inference_type

CREDENTIALS = ClientCredentials("benchmarks", "secret")
_WORKLOAD = workload_id(1)


@asynccontextmanager
async def list_revisions(url: str) -> AsyncIterator[Run]:
    """List revisions as a user would: with a token, retries and limits, every type checked."""
    async with RunaiClient(f"{url}/fresh", CREDENTIALS) as runai:
        yield calls(lambda: runai.list_revisions(_WORKLOAD))


decode = decodes(decode_revisions)
decode_unknown = decodes(decode_revisions, unknown=True)


def _pages(make: Callable[[bytes], Callable[[bytes], Any]]) -> Client:
    """Make a client that reads the same page of the list of workloads again and again."""

    @asynccontextmanager
    async def client(_: str) -> AsyncIterator[Run]:
        body = encode({"workloads": [workload(number) for number in range(500)]})
        read = make(body)

        async def run(amount: int) -> Sample:
            copies = [
                bytes(bytearray(body)) for _ in range(amount)
            ]  # none is the object that was read before
            watch = Stopwatch()
            for copy in copies:
                read(copy)
            return watch.sample(amount)

        yield run

    return client


def _by_bytes(first: bytes) -> Callable[[bytes], None]:
    rows = Rows(is_inference_type, LeftOut("benchmark"))
    pages = RowPages(rows.look_up)

    def read(body: bytes) -> None:
        rows.begin()
        rows.keep(pages.cut(body, 0).rows)

    read(first)
    return read


page_of_known_rows = _pages(_by_bytes)
page_typed = _pages(lambda _: partial(decode_page, key="workloads", kind=Workload))


def _watch(workloads: int, mode: str = "fixed") -> Client:
    """Make a client that watches. Between turns nothing polls, because a cancelled `anext` loses nothing."""

    @asynccontextmanager
    async def client(url: str) -> AsyncIterator[Run]:
        async with RunaiClient(f"{url}/{mode}", CREDENTIALS, max_concurrency=CONCURRENCY) as runai:
            watches = [
                runai.watch_revisions(
                    workload_id(number), interval=0.01, poll=PollPolicy(jitter=0), include_existing=False
                )
                for number in range(workloads)
            ]

            async def run(amount: int) -> Sample:
                tasks = [asyncio.ensure_future(anext(watch)) for watch in watches]
                await asyncio.sleep(0.5)
                sample = await polls(amount / 1000, lambda: runai.count_revisions(_WORKLOAD))
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)
                return sample

            yield run

    return client


@asynccontextmanager
async def poll(url: str) -> AsyncIterator[Run]:
    """Poll 512 workloads in turn, as a watch and a fleet do, but without a schedule."""
    async with RunaiClient(f"{url}/fixed", CREDENTIALS, max_concurrency=CONCURRENCY) as runai:
        poller = Poller(runai._api, PollPolicy())  # noqa: SLF001  (polls are no part of the interface)
        trackers = [Tracker(workload_id(number), include_existing=False) for number in range(512)]
        pairs = [(tracker, poller.list_call(tracker)) for tracker in trackers]
        for first in pairs:
            await poller.poll(*first)
        turns = cycle(pairs)

        async def one() -> None:
            await poller.poll(*next(turns))

        yield calls(one)


watch_many = _watch(512)
watch_few = _watch(32)
watch_many_gzip = _watch(512, "gzip")


def _changing(make: Callable[[bytes], Callable[[bytes], Any]]) -> Client:
    """Make a client that reads lists in each of which one revision of twenty has changed."""

    @asynccontextmanager
    async def client(_: str) -> AsyncIterator[Run]:
        lists = changing(20)
        read = make(next(lists))

        async def run(amount: int) -> Sample:
            bodies = list(islice(lists, amount))
            watch = Stopwatch()
            for body in bodies:
                read(body)
            return watch.sample(amount)

        yield run

    return client


def _tracked(first: bytes) -> Callable[[bytes], None]:
    tracker, now = Tracker(_WORKLOAD, include_existing=False), datetime.now(UTC)

    def read(body: bytes) -> None:
        snapshot = tracker.read(body)
        assert snapshot is not None
        tracker.apply(snapshot, at=0.0, now=now)
        while tracker.pending:
            tracker.take()

    read(first)
    return read


changed_poll = _changing(_tracked)
changed_decode = _changing(lambda _: decode_revisions)
