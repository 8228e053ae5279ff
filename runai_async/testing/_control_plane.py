"""A control plane to test against: a real HTTP server on loopback."""

from __future__ import annotations

import asyncio
import random
import ssl
import time
import warnings
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from datetime import UTC, datetime
from email.utils import format_datetime
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from runai_async._text import canonical_id
from runai_async.testing._access import Access
from runai_async.testing._faults import FAULT_KINDS, FaultKind, Faults, canned_response, distort, pause
from runai_async.testing._outages import Outages
from runai_async.testing._record import RecordedRequest, RecordedResponse, Transition
from runai_async.testing._routes import WORKLOADS, Handler, Routes
from runai_async.testing._rows import RowsFollow
from runai_async.testing._server import Server
from runai_async.testing._state import State
from runai_async.testing._tokens import Tokens
from runai_async.testing._versions import VERSIONS, Version
from runai_async.testing._workload_list import ListOrder, WorkloadList


class FakeControlPlane:
    """A control plane in miniature: revisions with history, events and pods, tokens, workloads, clusters.

    It serves real HTTP on loopback and is meant for tests and experiments: its state is in memory, and a test
    changes it by calling the methods. Those that take an id raise a `LookupError` if it is unknown. The API
    that it serves is described at `/openapi.json`.

    Args:
        port: the port to serve on; 0 for any free one.
        ssl_context: serve https, as `localhost`, with this certificate.
        seed: make ids and random faults repeatable, and shuffle lists in a repeatable way.
        token_lifetime: seconds that a token is valid.
        clock: returns the server's time, aware; by default the real time.
        record_limit: how many requests, responses and transitions are kept.
        record_responses: keep the phases in each response, in `responses`.
        version: the control plane's version, which decides which endpoints exist: "2.22" has tokens of v1
            alone (and does not say how long one lives) and no `/clusters/{id}/minimal`, "2.24" has tokens of
            both versions, "3.0" of v2 alone.
        sorts: whether the list of workloads knows `sortBy` and `sortOrder`; if not, they are a 400.
        rows_follow_revisions: whether a workload's row in the list changes with its revisions: its
            `updatedAt`, `runningPods` and `conditions`, and its `phase` unless a revision is Running, as in a
            rollout. What `add_workload` was given stays. If False, rows say nothing of revisions; if "noisy",
            all of them change in each list as well, for no reason.
        view_seconds: seconds between the refreshes of what the list of workloads is read from, so that it
            shows how things were up to so long ago; 0 for the present.
        record_answers: deprecated, the old name of *record_responses*.

    Raises:
        ValueError: *version* or *rows_follow_revisions* is not one of these, or *view_seconds* is negative.

    Attributes:
        requests: the requests that arrived, oldest first.
        responses: the responses that contained revisions, oldest first, if *record_responses*.
        latency: seconds by which every response is delayed.
        list_seconds: seconds that each successful listing of workloads takes, beside that.
        in_flight: how many requests are being served.
        max_in_flight: the largest value of `in_flight` so far.
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
        record_responses: bool = False,
        version: Version = "2.24",
        sorts: bool = True,
        rows_follow_revisions: RowsFollow = True,
        view_seconds: float = 0.0,
        record_answers: bool | None = None,
    ) -> None:
        if record_answers is not None:
            _warn_renamed("record_answers", "record_responses")
            record_responses = record_answers
        if version not in VERSIONS:
            raise ValueError(f"version must be one of {', '.join(VERSIONS)}, not {version!r}")
        rng = random.Random(seed)
        self.port: int = port
        self.requests: deque[RecordedRequest] = deque(maxlen=record_limit)
        self.responses: deque[RecordedResponse] = deque(maxlen=record_limit)
        self.latency: float = 0.0
        self.list_seconds: float = 0.0
        self.in_flight: int = 0
        self.max_in_flight: int = 0
        self.token_requests: int = 0
        self._ssl = ssl_context
        self._record_responses = record_responses
        self._state = State(
            seed,
            clock or (lambda: datetime.now(UTC)),
            record_limit,
            rows_follow=rows_follow_revisions,
            view_seconds=view_seconds,
        )
        self._tokens = Tokens(rng, token_lifetime)
        self._outages = Outages()
        self._listing = WorkloadList(random.Random(seed), sorts=sorts)
        access = Access(self._tokens, self._outages, version)
        self._routes = Routes(
            self._state, access, self._outages, self._listing, note=self._record_response, version=version
        )
        self._faults = Faults(rng)
        self._token: str | None = None
        self._server = Server(ssl_context)
        self._stopping = asyncio.Event()
        self._gate = asyncio.Event()
        self._gate.set()

    # --- starting and stopping ----------------------------------------------------------------------------

    async def start(self) -> None:
        """Start serving; after a `stop`, on the same port and with the same state."""
        self._stopping = asyncio.Event()
        app = web.Application(middlewares=[self._serve])
        app.add_routes(self._routes.table())
        self.port = await self._server.start(app, self.port)

    async def stop(self) -> None:
        """Stop serving, and end the requests that hang or are held."""
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
        """A valid token."""
        if self._token is None or not self._tokens.is_valid(f"Bearer {self._token}"):
            self._token = self._tokens.issue()
        return self._token

    @property
    def client_id(self) -> str:
        """The client id that may request tokens."""
        return self._tokens.client_id

    @property
    def client_secret(self) -> str:
        """The secret of `client_id`."""
        return self._tokens.client_secret

    @property
    def transitions(self) -> Sequence[Transition]:
        """Every change that was made, oldest first."""
        return self._state.transitions

    @property
    def cluster_ids(self) -> tuple[str, ...]:
        """The ids of the clusters, the oldest first: workloads are in the first one unless a test says so."""
        return tuple(self._state.clusters)

    @property
    def list_order(self) -> ListOrder:
        """The order of workloads in a list without `sortBy`: "created", or "random" in every response.

        Example:
            >>> control_plane.list_order = "random"
        """
        return self._listing.order

    @list_order.setter
    def list_order(self, order: ListOrder) -> None:
        self._listing.order = order

    @property
    def rows_follow_revisions(self) -> RowsFollow:
        """Whether a workload's row in the list changes with its revisions: True, False or "noisy".

        Example:
            >>> control_plane.rows_follow_revisions = False  # from now on, rows stay as they are
        """
        return self._state.rows.follow

    @rows_follow_revisions.setter
    def rows_follow_revisions(self, follow: RowsFollow) -> None:
        self._state.rows.follow = follow

    @property
    def view_seconds(self) -> float:
        """Seconds between the refreshes of what the list of workloads is read from; 0 for the present.

        Example:
            >>> control_plane.view_seconds = 30
            >>> workload_id = control_plane.add_workload()  # listed from the next refresh on
        """
        return self._state.rows.view_seconds

    @view_seconds.setter
    def view_seconds(self, seconds: float) -> None:
        self._state.rows.view_seconds = seconds

    @property
    def answers(self) -> deque[RecordedResponse]:
        """Deprecated: the old name of `responses`."""
        _warn_renamed("answers", "responses")
        return self.responses

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.url}, {len(self._state.workloads)} workloads>"

    # --- workloads and revisions --------------------------------------------------------------------------

    def add_workload(
        self,
        name: str | None = None,
        *,
        type: str = "Inference",  # noqa: A002
        cluster_id: str | None = None,
        **fields: Any,
    ) -> str:
        """Add a workload and return its id; any other field may be given in snake_case.

        Args:
            name: its name.
            type: its kind.
            cluster_id: the cluster that it is in, which need not exist before; by default the first one.
            fields: other fields of the workload.
        """
        return self._state.add_workload(name, type, {"cluster_id": cluster_id, **fields})

    def add_revision(self, workload_id: str, phase: str = "Pending", **fields: Any) -> str:
        """Add a revision and return its id; any other field, known or not, may be given in snake_case."""
        return self._state.add_revision(canonical_id(str(workload_id)), phase, fields)

    def set_phase(
        self,
        revision_id: str,
        phase: str,
        message: str | None = None,
        *,
        running_pods: int | None = None,
        at: datetime | None = None,
    ) -> None:
        """Set the phase of a revision.

        Args:
            revision_id: the revision.
            phase: the new phase.
            message: the new `phaseMessage`.
            running_pods: the new `runningPods`; by default as many as are requested in Running, 0 in other
                phases.
            at: the new `phaseUpdatedAt`; by default the server's time.
        """
        self._state.set_phase(canonical_id(str(revision_id)), phase, message, running_pods, at)

    def update_revision(self, revision_id: str, **fields: Any) -> None:
        """Change fields of a revision, given in snake_case."""
        self._state.update_revision(canonical_id(str(revision_id)), fields)

    def delete_revision(self, revision_id: str) -> None:
        """Delete a revision: it moves to the list of deleted ones and can still be fetched by id."""
        self._state.delete_revision(canonical_id(str(revision_id)))

    def purge_revision(self, revision_id: str) -> None:
        """Remove a revision without a trace: no list contains it, and fetching it by id is a 404."""
        self._state.purge_revision(canonical_id(str(revision_id)))

    def hide_revision(self, revision_id: str) -> None:
        """Leave a live revision out of all responses."""
        self._state.hide(canonical_id(str(revision_id)), hidden=True)

    def show_revision(self, revision_id: str) -> None:
        """Include a hidden revision in responses again."""
        self._state.hide(canonical_id(str(revision_id)), hidden=False)

    def delete_workload(self, workload_id: str) -> None:
        """Delete a workload and its revisions; listing its revisions is a 404 from then on."""
        self._state.delete_workload(canonical_id(str(workload_id)))

    def revision(self, revision_id: str) -> dict[str, Any]:
        """Return a copy of a revision as the API would return it now."""
        return deepcopy(self._state.revision(canonical_id(str(revision_id))))

    def add_event(
        self,
        revision_id: str,
        *,
        reason: str,
        message: str,
        type: str = "Warning",  # noqa: A002
        count: int = 1,
        **fields: Any,
    ) -> None:
        """Add an event of Kubernetes about the first pod of a revision.

        Args:
            revision_id: the revision.
            reason: what happened, in one word.
            message: the same in a sentence.
            type: `Normal` or `Warning`.
            count: how often it happened, each time an event of its own.
            fields: other fields of the event, in snake_case.

        Example:
            >>> revision_id = control_plane.add_revision(control_plane.add_workload())
            >>> nodes = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
            >>> control_plane.add_event(revision_id, reason="FailedScheduling", message=nodes, count=2)
        """
        event = {"type": type, "reason": reason, "message": message, **fields}
        for _ in range(count):
            self._state.add_event(canonical_id(str(revision_id)), event)

    def set_pods(self, revision_id: str, *k8s_phases: str, **fields: Any) -> None:
        """Let a revision have pods of these phases.

        Before that it has as many Running pods as its `runningPods` says, and Pending ones up to what it
        requests, while it is on its way or runs.

        Args:
            revision_id: the revision.
            k8s_phases: the phase of each pod; without any, the pods are as before.
            fields: other fields of each pod, in snake_case.

        Example:
            >>> revision_id = control_plane.add_revision(control_plane.add_workload())
            >>> control_plane.set_pods(revision_id, "Running", "Failed", node_name="node-7")
        """
        self._state.set_pods(canonical_id(str(revision_id)), k8s_phases, fields)

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
        """Add a revision, take it through *phases* and return its id.

        Args:
            workload_id: the workload that the revision belongs to.
            phases: its phases in order.
            step: seconds between two phases.
            message: the `phaseMessage` of the last phase.
            retire_old: delete the other live revisions at the end.
            fields: other fields of the revision, in snake_case.
        """
        first, *others = phases
        revision_id = self.add_revision(workload_id, first, **fields)
        for index, phase in enumerate(others):
            await asyncio.sleep(step)
            self.set_phase(revision_id, phase, message if index == len(others) - 1 else None)
        if retire_old:
            for item in list(self._state.listed(canonical_id(str(workload_id)), deleted=False)):
                if item["id"] != revision_id:
                    self.delete_revision(item["id"])
        return revision_id

    # --- clusters -----------------------------------------------------------------------------------------

    def disconnect_cluster(self, cluster_id: str, *, at: datetime | None = None) -> None:
        """Disconnect a cluster: responses show its workloads and revisions as they are now until it is back.

        Args:
            cluster_id: the cluster.
            at: when it was last heard, its `lastLiveness` from now on; by default the server's time.

        Example:
            >>> revision_id = control_plane.add_revision(control_plane.add_workload(), "Pending")
            >>> control_plane.disconnect_cluster(control_plane.cluster_ids[0])
            >>> control_plane.set_phase(revision_id, "Running")  # responses still say Pending
        """
        self._state.disconnect_cluster(canonical_id(str(cluster_id)), at)

    def connect_cluster(self, cluster_id: str) -> None:
        """Connect a cluster: responses show its workloads and revisions as they have become meanwhile."""
        self._state.connect_cluster(canonical_id(str(cluster_id)))

    def set_cluster_state(self, cluster_id: str, state: str) -> None:
        """Set the state of a cluster, such as `ServiceIssues`, and leave what responses show as it is."""
        self._state.clusters.set_state(canonical_id(str(cluster_id)), state)

    # --- restarts of services -----------------------------------------------------------------------------

    def restart_identity(self, seconds: float) -> None:
        """Let the identity service be away for a while.

        Every request of the API is a 401 with the API's error body ("token used before issued"), whatever its
        token. Every request for a token fails: alternately with 503 and HTML, as of a gateway, and with 401
        and the API's error body, but without the words of OAuth. Afterwards, tokens are valid as before.

        Args:
            seconds: how long it lasts from now on; 0 ends it.

        Example:
            >>> control_plane.restart_identity(30)
        """
        self._outages.restart("identity", seconds)

    def restart_authorization(self, seconds: float) -> None:
        """Let the authorization service be away for a while: what has a valid token is a 403 of the API.

        Args:
            seconds: how long it lasts from now on; 0 ends it.

        Example:
            >>> control_plane.restart_authorization(120)
        """
        self._outages.restart("authorization", seconds)

    def refuse_young_tokens(self, seconds: float) -> None:
        """Refuse young tokens with 401, as servers do whose clock is behind that of the identity service.

        Args:
            seconds: the age from which on a token is accepted; 0 accepts all again.

        Example:
            >>> control_plane.refuse_young_tokens(2)
        """
        self._outages.refuse_young_tokens(seconds)

    def restart_read_model(self, seconds: float, *, missing: bool = False) -> None:
        """Let what serves the revisions be without them for a while; workloads are still listed.

        The lists of live and of deleted revisions are empty, their count is 0, and getting a revision, its
        history, events or pods is a 404.

        Args:
            seconds: how long it lasts from now on; 0 ends it.
            missing: whether the lists, too, are a 404 of the API.

        Example:
            >>> control_plane.restart_read_model(60, missing=True)
        """
        self._outages.restart("read_model", seconds)
        self._outages.lacks_revisions = missing

    # --- faults -------------------------------------------------------------------------------------------

    def revoke_tokens(self) -> None:
        """Revoke every token that was issued; `token` is a new one from then on."""
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
        """Inject a fault into the next matching requests.

        Args:
            kind: latency (respond after *seconds*), hang (do not respond, for *seconds* if given), reset (of
                the connection), truncate (send half of the body), drip (send a byte every *seconds*, by
                default every second), bad_json (a 200 whose body is not JSON); or one of the faults inside a
                body that are listed below.
            path: a regular expression to search for in the path; by default any path but those of the token
                endpoints.
            times: how many requests are hit; None for all from now on.
            seconds: see *kind*.
            rate: the probability that a matching request is hit.

        Real servers, and what stands before them, were seen to send each of these inside a body; other
        values can be given as fields (`add_revision(..., deleted_at="0001-01-01T00:00:00Z")`):

        - zero_time, empty_time: `deletedAt` and `phaseUpdatedAt` that are missing are Go's zero time, or "".
        - coarse_times: all times are cut to whole seconds.
        - surrogate, nan, control_character, deep_nesting: the first item has half a surrogate pair in its
          `phaseMessage`, `NaN`, a raw tab, or 1,100 levels of objects.
        - null_list, empty_object: the list is `null`, or the whole body is `{}`.
        - broken_row: the first item lacks a required field.
        - undecodable_newest: the newest revision has no phase.
        - string_next: the offset of the next page is a string.
        - uppercase_ids, dashless_ids: all ids are in capitals, or without dashes.
        - other_revision: a revision has another id than the one asked for.
        - shuffled_conditions: conditions, images and node pools are in random order.

        Raises:
            ValueError: if *kind* is unknown.

        Example:
            >>> control_plane.fault("reset", path="/revisions$", times=2)
            >>> control_plane.fault("shuffled_conditions", times=None)
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
        """Respond to the next *n* matching requests with a given status and body.

        Args:
            n: how many requests are hit; None for all from now on.
            status: the HTTP status.
            headers: additional headers.
            body: text or bytes are sent as HTML, anything else as JSON; by default the API's error body.
            path: a regular expression to search for in the path; by default any path but those of the token
                endpoints.
            rate: the probability that a matching request is hit.

        Example:
            >>> control_plane.fail_next(2, 429, headers={"Retry-After": "1"})
        """
        response = canned_response(status, headers or {}, body)
        self._faults.add(None, path, n, rate=rate, response=response)

    def clear_faults(self) -> None:
        """Remove all faults."""
        self._faults.clear()

    def hold(self) -> None:
        """Hold every request from now on, before its token is checked, until `release`."""
        self._gate.clear()

    def release(self) -> None:
        """Let the held requests proceed."""
        self._gate.set()

    def reset_record(self) -> None:
        """Clear the recorded requests and responses, and reset the counts."""
        self.requests.clear()
        self.responses.clear()
        self.token_requests = self.max_in_flight = 0

    # --- HTTP ---------------------------------------------------------------------------------------------

    @property
    def _serve(self) -> Callable[..., Awaitable[web.StreamResponse]]:
        """The middleware around every request: record it, delay it, serve it, and inject its fault."""

        @web.middleware
        async def serve(request: web.Request, handler: Handler) -> web.StreamResponse:
            self._record_request(request)
            try:
                await self._gate.wait()
                if self.latency:
                    await pause(self.latency, self._stopping)
                fault = self._faults.draw(request.path)
                response = await self._routes.respond(request, handler)
                if self.list_seconds and request.path == WORKLOADS and response.status == HTTPStatus.OK:
                    await pause(self.list_seconds, self._stopping)
                if fault is None:
                    return self._dated(response)
                assert isinstance(response, web.Response)  # noqa: S101  (no handler streams)
                return self._dated(
                    await distort(fault, request, response, self._stopping, self._faults.random)
                )
            finally:
                self.in_flight -= 1

        return serve

    def _dated(self, response: web.StreamResponse) -> web.StreamResponse:
        """Return a response that has the server's time, unless it is being sent or has a time of its own."""
        if not response.prepared:
            response.headers.setdefault(
                "Date", format_datetime(self._state.clock().astimezone(UTC), usegmt=True)
            )
        return response

    def _record_request(self, request: web.Request) -> None:
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        self.token_requests += request.path.endswith("/token")
        self.requests.append(
            RecordedRequest(
                request.method, request.path, dict(request.query), request.headers, time.monotonic()
            )
        )

    def _record_response(self, workload_id: str, revisions: Iterable[Mapping[str, Any]]) -> None:
        if self._record_responses:
            phases = {item["id"]: (item["phase"], item.get("phaseUpdatedAt")) for item in revisions}
            self.responses.append(RecordedResponse(time.monotonic(), workload_id, phases))


def _warn_renamed(old: str, new: str) -> None:
    """Warn of an old name of a parameter or attribute, at the line that uses it."""
    warnings.warn(f"FakeControlPlane: {old} is deprecated, use {new}", DeprecationWarning, stacklevel=3)
