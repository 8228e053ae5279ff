"""What a fleet of a size costs: time, memory, and for how long it keeps the event loop from other tasks.

`python -m benchmarks.fleet.growth WORKLOADS` measures one fleet and prints the figures as a line of JSON. The
transport is a stub in the same process, so all time is the package's own and the stub's.
"""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import NamedTuple

from benchmarks.fleet.size import Size
from benchmarks.fleet.ticker import Ticker, seconds_of
from benchmarks.payloads import Template, encode, workload, workload_id
from benchmarks.processes import ROOT, megabytes
from runai_async import FleetWatch, PollPolicy, Request, Response, RunaiClient

WORKLOADS = 1000, 10_000, 50_000
REVISIONS = 3
"""Revisions of a workload, of 2 kB each."""
RATE = 1000.0
"""Polls a second."""
STEADY = 5.0
"""Seconds in which nothing changes."""
PAGE = 500
"""Rows in a page of the list."""
LIMIT = 0.05
"""Seconds for which the loop may be kept from other tasks."""
COLUMNS = (
    *("workloads", "CPU of a poll", "memory of a workload"),
    *("stall: beginning", "first polls", "steady", "closing", "list of rows, first", "the same rows"),
    *("status", "checkpoint, first", "later", "its JSON in a thread, stall"),
    *("full collection", "after gc.freeze()"),
)


class Figures(NamedTuple):
    """The figures of one fleet: seconds, and for `memory` bytes; stalls are the longest ones."""

    workloads: int
    events: int
    poll: float
    memory: float
    begin: float
    first: float
    steady: float
    close: float
    listed: float
    relisted: float
    status: float
    checkpoint: float
    again: float
    encode: float
    collection: float
    frozen: float

    @property
    def stalls(self) -> tuple[float, ...]:
        """What has a limit."""
        return (*self[4:13],)


class Stub:
    """A transport that responds at once: with the revisions of a workload, or with a page of the list."""

    def __init__(self, workloads: int) -> None:
        self.polls = 0
        self._template = Template(REVISIONS)
        self._rows = [encode(workload(number)) for number in range(workloads)]

    async def send(self, request: Request, *, timeout: float, deadline: float) -> Response:  # noqa: ARG002
        """Respond."""
        await asyncio.sleep(0)
        path, query = request.url.path, request.url.query
        if path.endswith("/revisions"):
            self.polls += 1
            return Response(body=self._template.body(path.split("/")[-2][-12:].encode()))
        offset = int(query["offset"])
        end = offset + min(PAGE, int(query["limit"]))
        following = b'"next":%d,' % end if end < len(self._rows) else b""
        return Response(body=b'{%b"workloads":[%b]}' % (following, b",".join(self._rows[offset:end])))

    async def aclose(self) -> None:
        """Do nothing."""


class _Consumer:
    """Takes the events of a fleet."""

    def __init__(self, fleet: FleetWatch) -> None:
        self.events = 0
        self._fleet = fleet

    async def run(self) -> None:
        async for _ in self._fleet:
            self.events += 1


@asynccontextmanager
async def _running(ticker: Ticker) -> AsyncIterator[None]:
    task = asyncio.create_task(ticker.run())
    await asyncio.sleep(0)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


async def _watched(stub: Stub, workloads: int) -> dict[str, float]:
    """Watch a fleet of given ids from its beginning to its end."""
    interval, ticker = max(workloads / RATE, 1.0), Ticker()
    ids = [workload_id(number) for number in range(workloads)]
    seen: dict[str, float] = {}
    async with _running(ticker), RunaiClient("https://acme.example", "token", transport=stub) as runai:
        gc.collect()
        before = megabytes()
        fleet = runai.watch_fleet(ids, poll=PollPolicy(interval=interval, fast_interval=interval))
        await ticker.longest()
        async with fleet:
            seen["begin"] = await ticker.longest()
            consumer = _Consumer(fleet)
            consuming = asyncio.create_task(consumer.run())
            while consumer.events < REVISIONS * workloads:  # noqa: ASYNC110  (there is no event to wait for)
                await asyncio.sleep(0.05)
            seen["first"] = await ticker.longest()
            seen["collection"] = seconds_of(gc.collect)
            seen["memory"] = (megabytes() - before) * 2**20 / workloads
            gc.freeze()
            seen["frozen"] = seconds_of(gc.collect)
            seen["checkpoint"], seen["again"] = seconds_of(fleet.checkpoint), seconds_of(fleet.checkpoint)
            await ticker.longest()
            polls, cpu = stub.polls, time.process_time()
            await asyncio.sleep(STEADY)
            seen["poll"] = (time.process_time() - cpu) / (stub.polls - polls)
            seen["steady"] = await ticker.longest()
            seen["status"] = seconds_of(lambda: fleet.status)
            seen["encode"] = await _stalled_by_json(fleet)
            await ticker.longest()
        seen["close"] = await ticker.longest()
        await consuming
    return seen | {"events": consumer.events}


async def _stalled_by_json(fleet: FleetWatch) -> float:
    """Return how long the loop had to wait for a thread that encodes a checkpoint."""
    encoding = asyncio.create_task(asyncio.to_thread(fleet.checkpoint().to_json))
    longest, before = 0.0, time.monotonic()
    while not encoding.done():
        await asyncio.sleep(0.001)
        now = time.monotonic()
        longest, before = max(longest, now - before), now
    return longest


async def _listed(stub: Stub) -> dict[str, float]:
    """Let a fleet follow the list for two listings."""
    ticker, policy = Ticker(), PollPolicy(interval=3600, fast_interval=3600)
    async with (
        _running(ticker),
        RunaiClient("https://acme.example", "token", transport=stub) as runai,
        runai.watch_fleet(
            runai.inference_workloads, poll=policy, rate_limit=1, discovery_interval=0.5
        ) as fleet,
    ):
        while not fleet.status.watched:  # noqa: ASYNC110  (there is no event to wait for)
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.2)
        listed = await ticker.longest()
        await asyncio.sleep((fleet.status.discovery_interval or 0.0) + 2)
        return {"listed": listed, "relisted": await ticker.longest()}


async def measure(workloads: int) -> Figures:
    """Measure a fleet."""
    stub = Stub(workloads)
    seen = await _watched(stub, workloads)
    return Figures(workloads=workloads, **seen, **await _listed(stub))  # type: ignore[arg-type]


def _row(cells: Iterable[object]) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.1f} ms"


def story(size: Size) -> list[str]:
    """Run the story, print its table row by row, and return what is wrong."""
    found, longest = list[str](), 0.0
    print(_row(COLUMNS), _row(["---"] * len(COLUMNS)), sep="\n", flush=True)
    for full_size in WORKLOADS:
        workloads = max(1, int(full_size / size.scale))
        command = [sys.executable, "-m", "benchmarks.fleet.growth", str(workloads)]
        printed = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
        figures = Figures(*json.loads(printed))
        times = map(_ms, (*figures.stalls, *figures[-3:]))
        shown = f"{1e6 * figures.poll:.0f} µs", f"{figures.memory / 1000:.1f} kB", *times
        print(_row((f"{workloads:,}", *shown)), flush=True)
        if figures.events != REVISIONS * workloads:
            found.append(f"{workloads} workloads: {figures.events} events")
        longest = max(longest, *figures.stalls)
    is_within = "yes" if longest <= LIMIT else "no"
    print(f"\nthe longest stall: {_ms(longest)} (goal ≤ {_ms(LIMIT)}: {is_within})")
    return found


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure(int(sys.argv[1])))))
