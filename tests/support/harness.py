"""A control plane without sockets, on a clock that the test moves, for tests of what happens when."""

import asyncio
import json
import re
from collections import deque
from collections.abc import AsyncIterable, Awaitable, Callable, Mapping
from operator import itemgetter
from random import Random
from typing import Any, TypeVar

from runai_async import RetryPolicy, RunaiClient
from runai_async.errors import AttemptTimeoutError, DeadlineExceededError
from runai_async.testing import FakeClock, Request, Response
from runai_async.testing._state import MissingError, State
from support.clocks import SocketlessClock

T = TypeVar("T")
Reply = Response | Exception | None
"""What a request gets: a response, an error, or (None) silence until its attempt times out."""

WRONG_SHAPE = Response(body=b'{"items": []}')
HTML_502 = Response(502, body=b"<html>Bad Gateway</html>")
WORKLOAD_GONE = Response(404, body=b'{"code": 404, "message": "the workload was deleted"}')
HTML_404 = Response(404, {"Content-Type": "text/html"}, b"<html>no such route</html>")
REFUSED_401 = Response(401, body=b'{"code": 401, "message": "revoked"}')
REFUSED_403 = Response(403, body=b'{"code": 403, "message": "not yours"}')
REFUSED_404 = Response(404, body=b'{"code": 404, "message": "no such workload"}')
UNSORTED_400 = Response(400, body=b'{"code": 400, "message": "sortBy: not supported"}')
HTML_200 = Response(200, body=b"<html>maintenance</html>")


class Harness:
    """A transport that responds from `State`; a test decides when something changes and what fails.

    Attributes:
        state: the workloads and revisions of the control plane.
        requests: the time, kind and id of every request; for a page of the workloads, its offset.
        next_lists: what the next list requests get, one entry each.
        by_id: what the list requests of a workload get after that, by its id.
        lists: what all other list requests get; True for the real list.
        others: what every request gets that is not for a list; True for the real response.
        listings: what the requests for the workloads get, if not that.
        latency: seconds by which every response is delayed.
        listing_latency: seconds by which that of the workloads is delayed beyond that.
        sorts: whether the workloads can be sorted; if not, they are in another order for each request.
        most_rows: of a page of the workloads.
        before_page: called before each page of the workloads is made.
    """

    def __init__(self) -> None:
        asyncio.get_running_loop().set_debug(False)  # it would take most of the time
        self.clock: FakeClock = SocketlessClock()
        self.state = State(None, self.clock.now, 10_000)
        self.workload_id = self.state.add_workload("llm", "Inference", {})
        self.requests: list[tuple[float, str, str]] = []
        self.next_lists: deque[Reply] = deque()
        self.lists: Reply | bool = True
        self.by_id: dict[str, Reply] = {}
        self.others: Reply | bool = True
        self.listings: Reply | bool = True
        self.latency = self.listing_latency = 0.0
        self.sorts = True
        self.most_rows = 500
        self.before_page: Callable[[], object] = int
        self._random = Random(1)
        self._query: Mapping[str, str] = {}
        self._plans: list[tuple[float, Callable[..., object], tuple[Any, ...]]] = []

    # --- for the test -------------------------------------------------------------------------------------

    def client(self, **options: Any) -> RunaiClient:
        """Make a client of this control plane; without a *retry* policy, it does not retry."""
        options.setdefault("retry", RetryPolicy(attempts=1))
        return RunaiClient("https://acme.example", "token", transport=self, clock=self.clock, **options)

    def add(self, phase: str = "Running", **fields: Any) -> str:
        return self.state.add_revision(fields.pop("workload_id", self.workload_id), phase, fields)

    def set_phase(self, revision_id: str, phase: str, *, message: str | None = None, **options: Any) -> None:
        pods, at = options.get("running_pods"), options.get("at")
        self.state.set_phase(revision_id, phase, message, pods, at)

    def at(self, time: float, action: Callable[..., object], *args: Any) -> None:
        """Schedule an action for a time of the clock: it runs before the first request from then on."""
        self._plans.append((time, action, args))
        self._plans.sort(key=lambda plan: plan[0])

    def times(self, kind: str = "list") -> list[float]:
        """Return when the requests of a kind arrived."""
        return [round(at, 6) for at, what, _ in self.requests if what == kind]

    def times_of(self, key: str, kind: str = "list") -> list[float]:
        """Return when the requests of a kind for one workload or revision arrived."""
        return [round(at, 6) for at, what, own in self.requests if (what, own) == (kind, key)]

    async def collect(self, stream: AsyncIterable[T], seconds: float) -> list[T]:
        """Return what *stream* yields while *seconds* pass; raise the error that ends it, if any."""
        events: list[T] = []

        async def listen() -> None:
            async for event in stream:
                events.append(event)  # noqa: PERF401  (kept when this is cancelled)

        task = asyncio.create_task(listen())
        await self.clock.advance(seconds)
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
        if not task.cancelled():
            task.result()
        return events

    # --- the transport ------------------------------------------------------------------------------------

    async def send(self, request: Request, *, timeout: float, deadline: float) -> Response:
        assert request.headers == {"Authorization": "Bearer token"}
        while self._plans and self._plans[0][0] <= self.clock.monotonic():
            _, action, args = self._plans.pop(0)
            action(*args)
        kind, key = self._operation(request)
        self.requests.append((self.clock.monotonic(), kind, key))
        await self._wait(self.latency, timeout, deadline)
        if kind == "workloads":
            await self._wait(self.listing_latency, timeout, deadline)
        reply = self._reply(kind, key)
        if reply is None:
            await self._wait(float("inf"), timeout, deadline)
        if isinstance(reply, Exception):
            raise reply
        self._query = request.url.query
        return reply if isinstance(reply, Response) else self._respond(kind, key)

    def _reply(self, kind: str, key: str) -> Reply | bool:
        if kind != "list":
            return self.listings if kind == "workloads" and self.listings is not True else self.others
        return self.next_lists.popleft() if self.next_lists else self.by_id.get(key, self.lists)

    async def _wait(self, seconds: float, timeout: float, deadline: float) -> None:
        """Let time pass; if the attempt has less time than that, it times out."""
        limit = min(timeout, deadline - self.clock.monotonic())
        if seconds:
            await self.clock.sleep(min(seconds, limit))
        if seconds > limit:
            raise AttemptTimeoutError("silence") if limit == timeout else DeadlineExceededError("silence")

    def _operation(self, request: Request) -> tuple[str, str]:
        """Return what a request is for: a kind, and the id of a workload or revision."""
        parts = request.url.path.removeprefix("/api/v1/workloads").strip("/").split("/")
        match parts:
            case ["api", "v1", "clusters", *rest]:
                return "clusters" if not rest else "minimal" if rest[1:] else "cluster", "".join(rest[:1])
            case [""]:
                return "workloads", request.url.query["offset"]
            case ["inferences", "revisions", revision_id]:
                return "get", revision_id
            case ["inferences", "revisions", revision_id, "history" | "events" | "pods" as what]:
                return what, revision_id
            case ["inferences", workload_id, "revisions"]:
                return "deleted" if request.url.query.get("deleted") == "true" else "list", workload_id
            case _:
                raise AssertionError(request.url.path)

    def _respond(self, kind: str, key: str) -> Response:
        state = self.state
        try:
            match kind:
                case "get":
                    return _json(state.visible(key))
                case "history":
                    return _json({"records": state.history(key)})
                case "events":
                    assert self._query["sortOrder"] == "desc"
                    return _json({"events": state.events(key)[::-1]})
                case "pods":
                    return _json({"pods": state.pods(key)})
                case "clusters":
                    return _json([state.clusters.full(item) for item in state.clusters])
                case "cluster":
                    return _json(state.clusters.full(key))
                case "minimal":
                    return _json(state.clusters.minimal(key))
                case "workloads":
                    return self._page(self._query)
                case _:
                    return Response(body=state.list_body(key, deleted=kind == "deleted"))
        except MissingError as error:
            return _json({"code": 404, "message": str(error)}, 404)

    def _page(self, query: Mapping[str, str]) -> Response:
        if "sortBy" in query and not self.sorts:
            return UNSORTED_400
        self.before_page()
        rows = self.state.live_workloads(deleted=False)
        for name, operator, value in re.findall("([A-Za-z]+)([!=]=)([^,]+)", query.get("filterBy", "")):
            rows = [row for row in rows if (row[name] == value) == (operator == "==")]
        if self.sorts:
            assert (query["sortBy"], query["sortOrder"]) == ("createdAt", "asc")
            rows.sort(key=itemgetter("createdAt"))
        else:
            self._random.shuffle(rows)
        start = int(query["offset"])
        end = start + min(int(query["limit"]), self.most_rows)
        return _json({"workloads": rows[start:end]} | ({"next": end} if end < len(rows) else {}))

    async def aclose(self) -> None:
        pass


def _json(value: object, status: int = 200) -> Response:
    return Response(status, body=json.dumps(value).encode())


async def within(harness: Harness, seconds: float, wait: Awaitable[T]) -> T:
    """Return the result of *wait* while *seconds* pass on the clock of the harness."""
    task = asyncio.ensure_future(wait)
    await harness.clock.advance(seconds)
    try:
        assert task.done(), "still waiting"
        return task.result()
    finally:
        task.cancel()
        await asyncio.wait({task})
