"""A control plane that takes its time and measures what it is asked for, in a process of its own.

`python -m benchmarks.fleet.slow_server WORKLOADS PAGE CYCLES PAGE_SECONDS POLL_SECONDS CHANGES SECONDS`:

- pages of the list of workloads have at most PAGE rows and take PAGE_SECONDS each
- the revisions of one workload take POLL_SECONDS
- CHANGES revisions change per second
- once every workload has been polled, what is asked for is measured during at least CYCLES cycles of listings
  and SECONDS

It prints its address as a line of JSON and then reads commands from stdin, until that ends:

- `go`, `rest`: start and stop the changes
- `figures`: print what was measured; nothing in it until then
- `report`: print the record of what happened
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from benchmarks.fleet.meter import PAGE, POLL, Meter, Period
from benchmarks.payloads import encode, join, revision, workload, workload_id
from benchmarks.server import Connection, Write, response, token

_OTHER = "other"
_LIST = re.compile(rb"GET /api/v1/workloads\?(\S*)")
_REVISIONS = re.compile(rb"GET /api/v1/workloads/inferences/[0-9a-f-]{24}([0-9a-f]{12})/revisions(\S*)")
_PHASES = ("Running", "Degraded", "Stopped")
_MARKS = (b"~" * 12, b"~phase~", b"~moved~")
Reply = Callable[[], bytes]


class Options(NamedTuple):
    """The arguments of the command line."""

    workloads: int
    page: int
    cycles: int
    page_seconds: float
    poll_seconds: float
    changes: float
    seconds: float


class Workloads:
    """Workloads with one revision each, as the bytes that are sent, and the record of their changes."""

    def __init__(self, number: int, page: int) -> None:
        self.ids = [workload_id(n) for n in range(number)]
        self.changes: list[tuple[str, str, str]] = []
        self._page = page
        self._rows = [encode(workload(n)) for n in range(number)]
        tail, phase, moved_at = (mark.decode() for mark in _MARKS)
        self._template = encode(revision(0, tail) | {"phase": phase, "phaseUpdatedAt": moved_at})
        self._steps = [-1] * number
        self._revisions = [b""] * number
        for n in range(number):
            self.change(n)

    def change(self, number: int) -> None:
        """Put the revision of a workload into its next phase."""
        self._steps[number] += 1
        tail, phase = f"{number:012x}", _PHASES[self._steps[number] % len(_PHASES)]
        moved_at = datetime.now(UTC).isoformat()
        body = self._template
        for mark, value in zip(_MARKS, (tail, phase, moved_at), strict=True):
            body = body.replace(mark, value.encode())
        self._revisions[number] = body
        self.changes.append((f"00000000-0000-4000-8000-{tail}", phase, moved_at))

    def revisions(self, number: int) -> bytes:
        """Return the list of revisions of a workload."""
        return response(join([self._revisions[number]]))

    def page(self, offset: int, limit: int) -> bytes:
        """Return a page of the list of workloads."""
        end = offset + min(limit, self._page)
        following = b'"next":%d,' % end if end < len(self._rows) else b""
        return response(b'{%b"workloads":[%b]}' % (following, b",".join(self._rows[offset:end])))

    async def keep_changing(self, rate: float) -> None:
        """Change one workload after another until cancelled."""
        rng, now = random.Random(7), asyncio.get_running_loop().time
        due = now()
        while True:
            due += 1 / rate
            await asyncio.sleep(max(0.0, due - now()))
            self.change(rng.randrange(len(self.ids)))

    def report(self) -> dict[str, Any]:
        """Return the record of what happened."""
        return {"changes": self.changes, "deleted": []}


class SlowResponses:
    """Responds when the time that a request takes is over, and measures what is asked for."""

    def __init__(self, options: Options) -> None:
        self.workloads = Workloads(options.workloads, options.page)
        self.period = Period(options.seconds, options.cycles)
        self._options = options
        self._loop = asyncio.get_running_loop()
        self._meter = Meter(self._loop.time())
        self._unpolled = set(range(options.workloads))

    def send(self, request: bytes, write: Write) -> None:
        """Respond to a request in its time."""
        if polled := _REVISIONS.match(request):
            self._poll(int(polled[1], 16), polled[2], write)
        elif listed := _LIST.match(request):
            self._list(listed[1], write)
        else:
            self._later(_OTHER, 0.0, _not_found, write)

    def _poll(self, number: int, rest: bytes, write: Write) -> None:
        if rest:
            self._later(_OTHER, 0.0, lambda: response(join([])), write)
            return
        self._unpolled.discard(number)
        self._later(POLL, self._options.poll_seconds, lambda: self.workloads.revisions(number), write)

    def _list(self, query: bytes, write: Write) -> None:
        offset, limit = _number(b"offset", query, 0), _number(b"limit", query, 50)
        if offset == 0 and not self._unpolled:
            self.period.listing_begins(self._meter.totals(self._loop.time()))
        self._later(PAGE, self._options.page_seconds, lambda: self.workloads.page(offset, limit), write)

    def _later(self, kind: str, seconds: float, reply: Reply, write: Write) -> None:
        """Respond later. A request that is given up on is in progress until then as well, as elsewhere."""
        self._meter.begin(kind, self._loop.time())
        self._loop.call_later(seconds, self._end, kind, reply, write)

    def _end(self, kind: str, reply: Reply, write: Write) -> None:
        self._meter.end(kind, self._loop.time())
        write(reply())


def _number(name: bytes, query: bytes, default: int) -> int:
    found = re.search(rb"\b%b=(\d+)" % name, query)
    return int(found[1]) if found else default


def _not_found() -> bytes:
    return response(b'{"code":404,"message":"no such path"}', b"404 Not Found")


async def serve(options: Options) -> None:
    """Serve until stdin ends."""
    responses, loop = SlowResponses(options), asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(responses.send), "127.0.0.1", 0, backlog=4096)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    started = {"url": url, "token": token(), "ids": responses.workloads.ids}
    print(json.dumps(started | {"client_id": "benchmarks", "client_secret": "secret"}), flush=True)
    changes: asyncio.Task[None] | None = None
    while words := (await asyncio.to_thread(sys.stdin.readline)).split():
        match words:
            case ["go"]:
                changes = asyncio.create_task(responses.workloads.keep_changing(options.changes))
            case ["rest"] if changes is not None:
                changes.cancel()
            case ["figures"]:
                figures = responses.period.figures
                print(json.dumps(figures._asdict() if figures else {}), flush=True)
            case ["report"]:
                await asyncio.to_thread(print, json.dumps(responses.workloads.report()), flush=True)
            case _:
                raise ValueError(f"unknown command: {words!r}")
    server.close()


def main() -> None:
    """Read the command line and serve."""
    numbers = [float(text) for text in sys.argv[1:]]
    workloads, page, cycles = map(int, numbers[:3])
    asyncio.run(serve(Options(workloads, page, cycles, *numbers[3:])))


if __name__ == "__main__":
    main()
