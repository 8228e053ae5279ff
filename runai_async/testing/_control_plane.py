"""A control plane to try and test against: a real HTTP server on loopback."""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from aiohttp import web
from attrs import field, frozen

from runai_async.testing._faults import FAULT_KINDS, FaultKind, Faults, answer_of, distort, pause
from runai_async.testing._routes import Handler, Routes
from runai_async.testing._server import Server
from runai_async.testing._state import State, Transition
from runai_async.testing._tokens import Tokens


@frozen
class RecordedRequest:
    """A request that arrived.

    Attributes:
        path: without the query.
        at: `time.monotonic()` of its arrival.

    Example:
        >>> async with FakeControlPlane() as control_plane:
        ...     async with RunaiClient(control_plane.url, control_plane.token) as runai:
        ...         count = await runai.count_revisions(control_plane.add_workload())
        ...     print(control_plane.requests[-1].method, control_plane.requests[-1].path)
        GET /api/v1/workloads/inferences/.../revisions/count
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str] = field(repr=False)
    at: float


@frozen
class Answered:
    """An answer with revisions.

    Attributes:
        at: `time.monotonic()` when it was made.
        phases: the phase and `phaseUpdatedAt` of each revision, by its id.

    Example:
        >>> control_plane = FakeControlPlane(record_answers=True)
        >>> revision_id = control_plane.add_revision(control_plane.add_workload(), "Running")
        >>> async with control_plane, RunaiClient(control_plane.url, control_plane.token) as runai:
        ...     revision = await runai.get_revision(revision_id)
        >>> control_plane.answers[-1].phases[revision_id]
        ('Running', '...Z')
    """

    at: float
    workload_id: str
    phases: Mapping[str, tuple[str, str | None]]


class FakeControlPlane:
    """A control plane in miniature: revisions, tokens of both versions, workloads, history.

    It serves real HTTP on loopback and is meant for tests and trials: what it holds is in memory, and a test
    changes it by calling its methods. `/openapi.json` describes what it speaks.

    Args:
        port: 0 for any free one.
        ssl_context: serve https, as `localhost`, with this certificate.
        seed: make ids, faults and the order of lists repeatable (and shuffled).
        token_lifetime: seconds that a token is good for.
        clock: returns the server's time, aware; by default the real one.
        record_limit: how many requests and changes are remembered.
        record_answers: remember what each answer said of revisions, in `answers`.

    Attributes:
        requests: what arrived, oldest first.
        transitions: every change that was made, oldest first.
        answers: what answers said of revisions, if *record_answers*.
        latency: seconds that every answer takes.
        in_flight: requests that are being answered.
        max_in_flight: the most there were at once.
        token_requests: how many requests for a token arrived.

    Example:
        >>> async with FakeControlPlane() as control_plane:
        ...     workload_id = control_plane.add_workload(name="chat")
        ...     revision_id = control_plane.add_revision(workload_id, phase="Pending")
        ...     async with RunaiClient(control_plane.url, control_plane.token) as runai:
        ...         control_plane.set_phase(revision_id, "Running")
        ...         revision = await runai.get_revision(revision_id)
        ...         print(revision.name, revision.phase)
        chat-00001 Running
    """

    def __init__(
        self,
        port: int = 0,
        *,
        ssl_context: ssl.SSLContext | None = None,
        seed: int | None = None,
        token_lifetime: float = 3600.0,
        clock: Callable[[], datetime] | None = None,
        record_limit: int = 100_000,
        record_answers: bool = False,
    ) -> None:
        rng = random.Random(seed)
        self.port: int = port
        self.requests: deque[RecordedRequest] = deque(maxlen=record_limit)
        self.answers: deque[Answered] = deque(maxlen=record_limit)
        self.latency: float = 0.0
        self.in_flight: int = 0
        self.max_in_flight: int = 0
        self.token_requests: int = 0
        self._ssl = ssl_context
        self._record_answers = record_answers
        self._state = State(seed, clock or (lambda: datetime.now(UTC)), record_limit)
        self._tokens = Tokens(rng, token_lifetime)
        self._routes = Routes(self._state, self._tokens, self._note_answer)
        self._faults = Faults(rng)
        self._token: str | None = None
        self._server = Server(ssl_context)
        self._stopping = asyncio.Event()
        self._gate = asyncio.Event()
        self._gate.set()

    # --- life ---------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to serve; after a `stop`, on the same port and with what was there."""
        self._stopping = asyncio.Event()
        app = web.Application(middlewares=[self._serve])
        app.add_routes(self._routes.table())
        self.port = await self._server.start(app, self.port)

    async def stop(self) -> None:
        """Stop serving; requests that hang or are held end."""
        self._stopping.set()
        self._gate.set()
        await self._server.stop()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        """The base URL for a client."""
        return f"http://127.0.0.1:{self.port}" if self._ssl is None else f"https://localhost:{self.port}"

    @property
    def token(self) -> str:
        """A token that is good now."""
        if self._token is None or not self._tokens.is_good(f"Bearer {self._token}"):
            self._token = self._tokens.issue()
        return self._token

    @property
    def client_id(self) -> str:
        """The id of the application that may ask for tokens."""
        return self._tokens.client_id

    @property
    def client_secret(self) -> str:
        """Its secret."""
        return self._tokens.client_secret

    @property
    def transitions(self) -> Sequence[Transition]:
        """Every change that was made, oldest first."""
        return self._state.transitions

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.url}, {len(self._state.workloads)} workloads>"

    # --- what a test changes ------------------------------------------------------------------------------

    def add_workload(self, name: str | None = None, *, type: str = "Inference", **fields: Any) -> str:  # noqa: A002
        """Add an inference workload, or one of another *type*; fields in snake_case. Return its id."""
        return self._state.add_workload(name, type, fields)

    def add_revision(self, workload_id: str, phase: str = "Pending", **fields: Any) -> str:
        """Add a revision and return its id; any field may be given, in snake_case, of the schema or not."""
        return self._state.add_revision(workload_id, phase, fields)

    def set_phase(
        self,
        revision_id: str,
        phase: str,
        message: str | None = None,
        *,
        running_pods: int | None = None,
        at: datetime | None = None,
    ) -> None:
        """Bring a revision to a phase: at the server's present time, or *at* another.

        Pods run in Running, as many as are asked for, and in no other phase; unless *running_pods* says so.
        """
        self._state.set_phase(revision_id, phase, message, running_pods, at)

    def update_revision(self, revision_id: str, **fields: Any) -> None:
        """Change fields of a revision, in snake_case."""
        self._state.update_revision(revision_id, fields)

    def delete_revision(self, revision_id: str) -> None:
        """Delete a revision: it moves to the deleted list, and by id it is still found."""
        self._state.delete_revision(revision_id)

    def purge_revision(self, revision_id: str) -> None:
        """Remove a revision without a trace: it is in no list, and by id it is not found."""
        self._state.purge_revision(revision_id)

    def hide_revision(self, revision_id: str) -> None:
        """Let a revision be missing from all answers, though it lives."""
        self._state.hide(revision_id, hidden=True)

    def show_revision(self, revision_id: str) -> None:
        """Bring a hidden revision back."""
        self._state.hide(revision_id, hidden=False)

    def delete_workload(self, workload_id: str) -> None:
        """Delete a workload and its revisions: its list is a 404."""
        self._state.delete_workload(workload_id)

    def revision(self, revision_id: str) -> dict[str, Any]:
        """Return a revision as the API has it now: a copy, which later changes leave as it is."""
        return deepcopy(self._state.revision(revision_id))

    async def roll_out(
        self,
        workload_id: str,
        *,
        phases: Sequence[str] = ("Creating", "Initializing", "Pending", "Running"),
        step: float = 0.5,
        message: str | None = None,
        retire_old: bool = False,
        **fields: Any,
    ) -> str:
        """Add a revision and bring it through *phases*, *step* seconds apart. Return its id.

        Args:
            workload_id: whose revision.
            phases: where it comes, one after the other.
            step: seconds between two phases.
            message: the message of the last phase.
            retire_old: delete the other live revisions at the end.
            fields: fields of the revision, in snake_case.
        """
        first, *others = phases
        revision_id = self.add_revision(workload_id, first, **fields)
        for index, phase in enumerate(others):
            await asyncio.sleep(step)
            self.set_phase(revision_id, phase, message if index == len(others) - 1 else None)
        if retire_old:
            for item in list(self._state.listed(workload_id, deleted=False)):
                if item["id"] != revision_id:
                    self.delete_revision(item["id"])
        return revision_id

    def revoke_tokens(self) -> None:
        """Make every token that was issued worthless; `token` is a new one then."""
        self._tokens.revoke()

    def fault(
        self,
        kind: FaultKind,
        *,
        path: str | None = None,
        times: int | None = 1,
        seconds: float = 0.0,
        rate: float = 1.0,
    ) -> None:
        """Let the next matching requests go wrong.

        Args:
            kind: latency (answer after *seconds*), hang (no answer, for *seconds* if given), reset (of the
                connection), truncate (half of the body), drip (a byte every *seconds*, or every second),
                bad_json (a 200 whose body is no JSON).
            path: a regular expression to be found in the path; without one, all but the token endpoints.
            times: how many requests; None for all from now on.
            seconds: see *kind*.
            rate: the probability with which a matching request is hit.

        Raises:
            ValueError: another *kind*.

        Example:
            >>> control_plane.fault("reset", path="/revisions$", times=2)
        """
        if kind not in FAULT_KINDS:
            raise ValueError(f"kind must be one of {', '.join(FAULT_KINDS)}, not {kind!r}")
        self._faults.add(kind, path, times, seconds=seconds, rate=rate)

    def fail_next(
        self,
        n: int | None = 1,
        status: int = 503,
        *,
        headers: Mapping[str, str] | None = None,
        body: object = None,
        path: str | None = None,
        rate: float = 1.0,
    ) -> None:
        """Answer the next *n* matching requests (None: all) with a status and body of yours.

        Args:
            n: how many requests.
            status: the HTTP status.
            headers: further headers.
            body: text or bytes are sent as HTML, anything else as JSON; by default the API's error body.
            path: a regular expression to be found in the path; without one, all but the token endpoints.
            rate: the probability with which a matching request is hit.

        Example:
            >>> control_plane.fail_next(2, 429, headers={"Retry-After": "1"})
        """
        answer = answer_of(status, headers or {}, body)
        self._faults.add(None, path, n, rate=rate, answer=answer)

    def clear_faults(self) -> None:
        """Let everything go right again."""
        self._faults.clear()

    def hold(self) -> None:
        """Let every request wait from now on, before its token is looked at, until `release`."""
        self._gate.clear()

    def release(self) -> None:
        """Let the requests that wait go on."""
        self._gate.set()

    def reset_record(self) -> None:
        """Forget the requests and answers up to now, and the counts of them."""
        self.requests.clear()
        self.answers.clear()
        self.token_requests = self.max_in_flight = 0

    # --- HTTP ---------------------------------------------------------------------------------------------

    @property
    def _serve(self) -> Callable[..., Awaitable[web.StreamResponse]]:
        """The middleware around every request: record, authenticate, answer, and go wrong where asked to."""

        @web.middleware
        async def serve(request: web.Request, handler: Handler) -> web.StreamResponse:
            self._record(request)
            try:
                await self._gate.wait()
                if self.latency:
                    await pause(self.latency, self._stopping)
                fault = self._faults.draw(request.path)
                answer = await self._routes.answer(request, handler)
                if fault is None:
                    return answer
                assert isinstance(answer, web.Response)  # noqa: S101  (no handler streams)
                return await distort(fault, request, answer, self._stopping)
            finally:
                self.in_flight -= 1

        return serve

    def _record(self, request: web.Request) -> None:
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        self.token_requests += request.path.endswith("/token")
        self.requests.append(
            RecordedRequest(
                request.method, request.path, dict(request.query), request.headers, time.monotonic()
            )
        )

    def _note_answer(self, workload_id: str, revisions: Iterable[Mapping[str, Any]]) -> None:
        if self._record_answers:
            phases = {item["id"]: (item["phase"], item.get("phaseUpdatedAt")) for item in revisions}
            self.answers.append(Answered(time.monotonic(), workload_id, phases))
