"""A control plane without sockets, on a clock that a test moves, for tests of what happens when."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterable, Callable
from typing import Any, TypeVar

from runai_async import RetryPolicy, RunaiClient
from runai_async.errors import AttemptTimeoutError, DeadlineExceededError
from runai_async.testing import FakeClock, Request, Response
from runai_async.testing._state import NotThereError, State

T = TypeVar("T")
Answer = Response | Exception | None
"""What a request meets: an answer, an error, or (None) silence for as long as its attempt may last."""

HTML_502 = Response(502, body=b"<html>Bad Gateway</html>")
WORKLOAD_GONE = Response(404, body=b'{"code": 404, "message": "the workload was deleted"}')
SICK_404 = Response(404, {"Content-Type": "text/html"}, b"<html>no such route</html>")
REFUSED_401 = Response(401, body=b'{"code": 401, "message": "revoked"}')
REFUSED_403 = Response(403, body=b'{"code": 403, "message": "not yours"}')
REFUSED_404 = Response(404, body=b'{"code": 404, "message": "no such workload"}')
NO_JSON = Response(200, body=b"<html>maintenance</html>")


class Stage:
    """Answers requests out of `State`; a test says when something changes and when something goes wrong.

    Attributes:
        state: what the control plane has.
        asked: the time, kind and id of every request.
        next_lists: what the next list requests meet instead of the list.
        lists: what every list request meets meanwhile, if set.
        by_id: what the list requests of one workload meet meanwhile, by its id.
        others: what every other request meets, if set.
    """

    def __init__(self) -> None:
        asyncio.get_running_loop().set_debug(False)  # hours of the clock are many turns: most of the time
        self.clock = FakeClock()
        self.state = State(None, self.clock.now, 10_000)
        self.workload_id = self.state.add_workload("llm", "Inference", {})
        self.asked: list[tuple[float, str, str]] = []
        self.next_lists: deque[Answer] = deque()
        self.lists: Answer | bool = True
        self.by_id: dict[str, Answer] = {}
        self.others: Answer | bool = True
        self.latency = 0.0
        self._plans: list[tuple[float, Callable[[], object]]] = []

    # --- what a test does ---------------------------------------------------------------------------------

    def client(self, **options: Any) -> RunaiClient:
        """Make a client of this control plane that does not retry, unless told to."""
        options.setdefault("retry", RetryPolicy(attempts=1))
        return RunaiClient("https://acme.example", "token", transport=self, clock=self.clock, **options)

    def add(self, phase: str = "Running", **fields: Any) -> str:
        return self.state.add_revision(fields.pop("workload_id", self.workload_id), phase, fields)

    def phase(self, revision_id: str, phase: str, *, message: str | None = None, **options: Any) -> None:
        pods, at = options.get("running_pods"), options.get("at")
        self.state.set_phase(revision_id, phase, message, pods, at)

    def at(self, time: float, action: Callable[[], object]) -> None:
        """Do something at a time of the clock, before the first request from then on."""
        self._plans.append((time, action))
        self._plans.sort(key=lambda plan: plan[0])

    def times(self, kind: str = "list") -> list[float]:
        return [round(at, 6) for at, what, _ in self.asked if what == kind]

    async def told(self, stream: AsyncIterable[T], seconds: float) -> list[T]:
        """Return what *stream* yields while *seconds* pass; an error that ends it is raised."""
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
            self._plans.pop(0)[1]()
        kind, key = self._what(request)
        self.asked.append((self.clock.monotonic(), kind, key))
        await self._pass(self.latency, timeout, deadline)
        meets: Answer | bool = self.others
        if kind == "list":
            meets = self.next_lists.popleft() if self.next_lists else self.by_id.get(key, self.lists)
        if meets is None:
            await self._pass(float("inf"), timeout, deadline)
        if isinstance(meets, Exception):
            raise meets
        return meets if isinstance(meets, Response) else self._answer(kind, key)

    async def _pass(self, seconds: float, timeout: float, deadline: float) -> None:
        """Let an attempt's time pass, as much as it has."""
        limit = min(timeout, deadline - self.clock.monotonic())
        if seconds:
            await self.clock.sleep(min(seconds, limit))
        if seconds > limit:
            raise AttemptTimeoutError("silence") if limit == timeout else DeadlineExceededError("silence")

    def _what(self, request: Request) -> tuple[str, str]:
        parts = request.url.path.removeprefix("/api/v1/workloads").strip("/").split("/")
        match parts:
            case [""]:
                return "workloads", ""
            case ["inferences", "revisions", revision_id]:
                return "get", revision_id
            case ["inferences", "revisions", revision_id, "history"]:
                return "history", revision_id
            case ["inferences", workload_id, "revisions"]:
                return "deleted" if request.url.query.get("deleted") == "true" else "list", workload_id
            case _:
                raise AssertionError(request.url.path)

    def _answer(self, kind: str, key: str) -> Response:
        state = self.state
        try:
            match kind:
                case "get":
                    return _json(state.visible(key))
                case "history":
                    return _json({"records": state.history(key)})
                case "workloads":
                    return _json({"workloads": state.live_workloads(deleted=False)})
                case _:
                    return Response(body=state.list_body(key, deleted=kind == "deleted"))
        except NotThereError as error:
            return _json({"code": 404, "message": str(error)}, 404)

    async def aclose(self) -> None:
        pass


def _json(value: object, status: int = 200) -> Response:
    return Response(status, body=json.dumps(value).encode())
