"""Every fault of `faults.py` against every operation of the client, over a real socket."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from attrs import frozen
from faults import FAULTS, MAX_BODY, REVISION_ID, SECRET, WORKLOAD_ID, Fault, SickServer

from runai_async import (
    ApiError,
    AttemptTimeoutError,
    AuthenticationError,
    ClientCredentials,
    DeadlineExceededError,
    DecodeError,
    FleetEvent,
    InternalServerError,
    NotFoundError,
    PermissionDeniedError,
    PhaseChanged,
    PhaseFailedError,
    PollPolicy,
    RateLimitError,
    RetryPolicy,
    RevisionAdded,
    RevisionDeleted,
    RolloutFailedError,
    RunaiClient,
    RunaiError,
    ServerError,
    ServiceUnavailableError,
    TransportError,
    WatchOutageError,
    WorkloadFailed,
)

DEADLINE = 1.0
"""Seconds for a call, and for a poll."""
TIMEOUT = 0.15
"""Seconds for an attempt at what hangs; other faults get more, so that a busy machine changes no cell."""
PATIENT = PollPolicy(interval=30, fast_interval=30, deadline=DEADLINE, max_outage=30, missing_grace=30)
POLLS = 3
"""The most polls that this patience has room for."""
PASSING = PollPolicy(interval=30, fast_interval=30, deadline=DEADLINE, max_outage=600, missing_grace=600)
AT_ONCE = {True: 32, False: 6}
"""Cells that run side by side: those that mostly wait, and the others."""


class HastyClock:
    """The machine's clock, but who sleeps jumps to the end of it: only the sockets take their time."""

    def __init__(self) -> None:
        self.slept = 0.0
        self.wrong = 0.0
        self.sleeps = 0
        self.wake: Callable[[], Awaitable[None]] | None = None

    def monotonic(self) -> float:
        return time.monotonic() + self.slept

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.slept + self.wrong)

    def jump(self, seconds: float) -> None:
        """Move the wall clock alone."""
        self.wrong += seconds

    async def sleep(self, seconds: float) -> None:
        if seconds == float("inf"):
            await asyncio.Event().wait()
        self.slept += max(0.0, seconds)
        self.sleeps -= 1
        if self.sleeps == 0 and self.wake is not None:
            await self.wake()
        await asyncio.sleep(0)


class Cell:
    """One fault on its way to one operation."""

    def __init__(
        self, fault: Fault, server: SickServer, runai: RunaiClient, clock: HastyClock, at: str
    ) -> None:
        self.server = server
        self.runai = runai
        self._fault = fault
        self._clock = clock
        self._at = at

    async def fails(self, times: int | None = None) -> None:
        """Let the fault begin, and be over after so many answers, or sleeps where there is no answer."""
        await self.server.begin(self._fault, self._at, times)
        if self._fault.play is None and times is not None:
            self._clock.sleeps, self._clock.wake = times, self.server.heal

    async def told(self, events: AsyncIterator[FleetEvent]) -> object:
        """Return the class of what is told next; of a trouble, that of its error."""
        event = await anext(events)
        if not isinstance(event, WorkloadFailed):
            return type(event)
        if isinstance(event.error, WatchOutageError):
            await anext(events)  # a whole fleet without an answer ends
        return Told(type(event.error))


@frozen
class Told:
    """What a `WorkloadFailed` holds."""

    error: type[RunaiError]


Outcome = object
"""What a cell holds: "value", or the class of an error or event, or what was told of a workload."""
Operation = Callable[[Cell], Awaitable[Outcome]]


# --- operations ---------------------------------------------------------------------------------------------


def good(actual: object, expected: object) -> str:
    return "value" if actual == expected else f"{actual!r} is not {expected!r}"


async def list_revisions(cell: Cell) -> Outcome:
    await cell.fails()
    return good([item.id for item in await cell.runai.list_revisions(WORKLOAD_ID)], [REVISION_ID])


async def list_passing(cell: Cell) -> Outcome:
    await cell.fails(1)
    return good([item.id for item in await cell.runai.list_revisions(WORKLOAD_ID)], [REVISION_ID])


async def count_revisions(cell: Cell) -> Outcome:
    await cell.fails()
    return good(await cell.runai.count_revisions(WORKLOAD_ID), 1)


async def get_revision(cell: Cell) -> Outcome:
    await cell.fails()
    return good((await cell.runai.get_revision(REVISION_ID)).id, REVISION_ID)


async def revision_history(cell: Cell) -> Outcome:
    await cell.fails()
    kinds = [record.meta.type async for record in cell.runai.revision_history(REVISION_ID)]
    return good(kinds, ["PhaseUpdate"])


async def list_workloads(cell: Cell) -> Outcome:
    await cell.fails()
    return good([item.name async for item in cell.runai.list_workloads()], ["chat-00001"])


async def watch_first(cell: Cell) -> Outcome:
    await cell.fails()
    async with cell.runai.watch_revisions(WORKLOAD_ID, poll=PATIENT) as watch:
        return await cell.told(watch)


async def watch_later(cell: Cell, poll: PollPolicy = PATIENT, times: int | None = None) -> Outcome:
    async with cell.runai.watch_revisions(WORKLOAD_ID, poll=poll) as watch:
        assert await cell.told(watch) is RevisionAdded
        await cell.fails(times)
        cell.server.phase = "Running"
        return await cell.told(watch)


async def watch_passing(cell: Cell) -> Outcome:
    return await watch_later(cell, PASSING, 3)


async def fleet_first(cell: Cell) -> Outcome:
    await cell.fails()
    async with cell.runai.watch_fleet([WORKLOAD_ID], poll=PATIENT) as fleet:
        return await cell.told(fleet)


async def fleet_later(cell: Cell, poll: PollPolicy = PATIENT, times: int | None = None) -> Outcome:
    async with cell.runai.watch_fleet([WORKLOAD_ID], poll=poll) as fleet:
        assert await cell.told(fleet) is RevisionAdded
        await cell.fails(times)
        cell.server.phase = "Running"
        return await cell.told(fleet)


async def fleet_passing(cell: Cell) -> Outcome:
    return await fleet_later(cell, PASSING, 3)


async def phase_first(cell: Cell) -> Outcome:
    await cell.fails()
    cell.server.phase = "Running"
    return good((await cell.runai.wait_for_phase(REVISION_ID, "Running", poll=PATIENT)).id, REVISION_ID)


async def phase_later(cell: Cell) -> Outcome:
    wait = cell.runai.wait_for_phase(REVISION_ID, "Running", poll=PATIENT)
    return good(await seen_once(cell, wait), REVISION_ID)


async def rollout_first(cell: Cell) -> Outcome:
    await cell.fails()
    cell.server.phase = "Running"
    return good((await cell.runai.wait_for_rollout(WORKLOAD_ID, poll=PATIENT)).id, REVISION_ID)


async def rollout_later(cell: Cell) -> Outcome:
    return good(await seen_once(cell, cell.runai.wait_for_rollout(WORKLOAD_ID, poll=PATIENT)), REVISION_ID)


async def seen_once(cell: Cell, wait: Awaitable[Any]) -> str:
    """Let the fault begin when a wait has had its first answer."""

    async def begin() -> None:
        await cell.fails()
        cell.server.phase = "Running"

    cell.server.after_answer = begin
    revision_id: str = (await wait).id
    return revision_id


OPERATIONS: Mapping[str, Operation] = {
    "list_revisions": list_revisions,
    "list_revisions, fault passes": list_passing,
    "count_revisions": count_revisions,
    "get_revision": get_revision,
    "revision_history": revision_history,
    "list_workloads": list_workloads,
    "token v1": count_revisions,
    "token v2": count_revisions,
    "watch, first poll": watch_first,
    "watch, later poll": watch_later,
    "watch, fault passes": watch_passing,
    "fleet, first poll": fleet_first,
    "fleet, later poll": fleet_later,
    "fleet, fault passes": fleet_passing,
    "wait_for_phase, first look": phase_first,
    "wait_for_phase, later look": phase_later,
    "wait_for_rollout, first look": rollout_first,
    "wait_for_rollout, later look": rollout_later,
}

# --- what is expected ---------------------------------------------------------------------------------------

Row = Mapping[str, Outcome]


def row(
    call: Outcome,
    passing: Outcome,
    token: Outcome,
    watch: tuple[Outcome, Outcome, Outcome],
    fleet: tuple[Outcome, Outcome, Outcome],
    phase: tuple[Outcome, Outcome],
    rollout: tuple[Outcome, Outcome],
) -> Row:
    """Return a row of the table: the outcome by operation."""
    calls = (call, passing, call, call, call, call)
    outcomes = (*calls, token, token, *watch, *fleet, *phase, *rollout)
    return dict(zip(OPERATIONS, outcomes, strict=True))


def harmless() -> Row:
    """Return the row of what is no fault to this client."""
    events = (RevisionAdded, PhaseChanged, PhaseChanged)
    return row("value", "value", "value", events, events, ("value", "value"), ("value", "value"))


def outage(error: type[RunaiError], *, passing: Outcome = "value", calls: Outcome = None) -> Row:
    """Return the row of what may pass: a call is repeated, a watch goes on until its patience ends."""
    gone = WatchOutageError
    events = (gone, gone, PhaseChanged)
    return row(calls or error, passing, error, events, events, (gone, gone), (gone, gone))


def lasting(error: type[RunaiError]) -> Row:
    """Return the row of an outage which no call is repeated for."""
    return outage(error, passing=error)


def another_shape() -> Row:
    """Return the row of JSON that is not the API's: waiting does not mend it if it is the very first."""
    error, gone = DecodeError, WatchOutageError
    return row(
        *(error, error, error),
        watch=(error, gone, PhaseChanged),
        fleet=(Told(error), gone, PhaseChanged),
        phase=(error, gone),
        rollout=(error, gone),
    )


def denied(error: type[RunaiError] = AuthenticationError) -> Row:
    """Return the row of what ends everything at once."""
    return row(*[error] * 3, *[(error,) * 3] * 2, *[(error,) * 2] * 2)  # type: ignore[arg-type]


def forbidden() -> Row:
    error = PermissionDeniedError
    return row(
        *(error, error, error),
        watch=(error, error, PhaseChanged),
        fleet=(Told(error), Told(error), PhaseChanged),
        phase=(error, error),
        rollout=(error, error),
    )


def not_found() -> Row:
    error = NotFoundError
    return row(
        *(error, error, error),
        watch=(error, RevisionDeleted, PhaseChanged),
        fleet=(Told(error), RevisionDeleted, PhaseChanged),
        phase=(error, PhaseFailedError),
        rollout=(error, RolloutFailedError),
    )


def status_rows(status: int, error: type[RunaiError], *, retried: bool) -> dict[str, Row]:
    plain = outage(error) if retried else lasting(error)
    bodies = ("the API's error", "HTML", "nothing", "other JSON")
    return {f"{status} with {body}": plain for body in bodies}


EXPECTED: dict[str, Row] = {
    "connection refused": outage(TransportError),
    "reset before the headers": outage(TransportError),
    "reset in the headers": outage(TransportError),
    "reset in the body": outage(TransportError),
    "closed before the headers": outage(TransportError),
    "closed in the headers": outage(TransportError),
    "body cut off": outage(TransportError),
    "chunked body cut off": outage(TransportError),
    "over-long body, its length told": lasting(TransportError),
    "over-long body, its length not told": lasting(TransportError),
    "over-long body, chunked": lasting(TransportError),
    "gzip bomb": lasting(TransportError),
    "body without end": lasting(TransportError),
    "a byte a second, headers too": outage(AttemptTimeoutError),
    "a byte a second in the body": outage(AttemptTimeoutError),
    "hang before the headers": outage(AttemptTimeoutError),
    "hang in the headers": outage(AttemptTimeoutError),
    "hang in the body": outage(AttemptTimeoutError),
    "hang, and the deadline comes first": lasting(DeadlineExceededError),
    "interim answers without end": outage(AttemptTimeoutError),
    "good JSON called text/html": harmless(),
    "good JSON of no type": harmless(),
    "a charset that there is not": harmless(),
    "an encoding that there is not": harmless(),
    "called gzip, but is not": outage(TransportError),
    "gzip cut off": outage(DecodeError),
    "bytes that are no UTF-8": outage(DecodeError),
    "UTF-16": outage(DecodeError),
    "good JSON with 203": harmless(),
    "a header line of 16 KiB": outage(TransportError),
    "a thousand headers": outage(TransportError),
    "headers without end": outage(AttemptTimeoutError),
    "no HTTP at all": outage(TransportError),
    "two lengths that differ": outage(TransportError),
    "a length that is no number": outage(TransportError),
    "a chunk size that is no number": outage(TransportError),
    "an interim answer first": harmless(),
    "a second answer that nobody asked for": harmless(),
    "301 to another origin": lasting(ApiError),
    "302 to another origin": lasting(ApiError),
    "307 to another origin": lasting(ApiError),
    **status_rows(400, ApiError, retried=False),
    **status_rows(401, AuthenticationError, retried=False),
    **status_rows(403, PermissionDeniedError, retried=False),
    **status_rows(404, NotFoundError, retried=False),
    **status_rows(409, ApiError, retried=False),
    **status_rows(418, ApiError, retried=False),
    **status_rows(429, RateLimitError, retried=True),
    **status_rows(500, InternalServerError, retried=True),
    **status_rows(502, ServerError, retried=True),
    **status_rows(503, ServiceUnavailableError, retried=True),
    **status_rows(504, ServerError, retried=True),
    "401 with the API's error": denied(),
    "401 with HTML": denied(),
    "401 with nothing": denied(),
    "401 with other JSON": denied(),
    "403 with the API's error": forbidden(),
    "404 with the API's error": not_found(),
    "200 with HTML": outage(DecodeError),
    "200 with nothing": outage(DecodeError),
    "200 with half of the JSON": outage(DecodeError),
    "200 with other JSON": another_shape(),
    "200 with null": another_shape(),
    "200 with an array": another_shape(),
    "204": outage(DecodeError),
    "token refused, 400": denied(),
    "token refused, 401": denied(),
    "token answer without a token": another_shape(),
    "token of characters that no header takes": another_shape(),
    "token answer that is no JSON": outage(DecodeError, passing=DecodeError),
    "token endpoint down, 503": outage(ServiceUnavailableError, passing=ServiceUnavailableError),
    "token endpoint resets": outage(TransportError, passing=TransportError),
    "token endpoint hangs": outage(AttemptTimeoutError, passing=AttemptTimeoutError),
    "token expired, the next is good": harmless(),
    "the wall clock jumps a day ahead": harmless(),
    "the wall clock jumps a day back": harmless(),
}
CELLS = {(name, operation): out for name, outcomes in EXPECTED.items() for operation, out in outcomes.items()}

# --- running a cell -----------------------------------------------------------------------------------------


async def run(name: str, operation: str) -> Outcome:
    """Return the outcome of one cell, after a look at what it left behind."""
    fault, clock = FAULTS[name], HastyClock()
    at = "token" if operation.startswith("token") else "api"
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(SickServer())
        server.jump = clock.jump
        runai = await stack.enter_async_context(client(server, fault, clock, operation))
        cell = Cell(fault, server, runai, clock, at)
        began = time.monotonic()
        outcome = await outcome_of(OPERATIONS[operation](cell))
        polls = POLLS if "poll" in operation or "look" in operation else 4 if "passes" in operation else 1
        if time.monotonic() - began > polls * DEADLINE + 1:
            outcome = f"{outcome} after {time.monotonic() - began:.1f} s"
        await check_nothing_left(server, runai, clock)
    assert not server.connections
    return outcome


def client(server: SickServer, fault: Fault, clock: HastyClock, operation: str) -> RunaiClient:
    api = "v2" if operation == "token v2" else "v1"
    exchanged = fault.at is not None or operation.startswith("token")
    timeout = 10 * DEADLINE if fault.deadline_first or not fault.slow else TIMEOUT
    deadline = DEADLINE if fault.slow else 10 * DEADLINE
    return RunaiClient(
        server.url,
        ClientCredentials("id", "secret", api=api) if exchanged else "t0.static.token",
        timeout=timeout,
        retry=RetryPolicy(attempts=2, wait_initial=0.1, wait_max=0.1, deadline=deadline),
        max_body=MAX_BODY,
        clock=clock,
    )


async def outcome_of(work: Awaitable[Outcome]) -> Outcome:
    try:
        return await work
    except RunaiError as error:
        assert SECRET not in f"{error} {error!r}"
        return type(error)


async def check_nothing_left(server: SickServer, runai: RunaiClient, clock: HastyClock) -> None:
    """Assert that the client is as good as new once the fault is over."""
    await server.heal()
    while server.hanging:
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.01)  # what hung may belong to a task of the client's, which learns of it now
    await clock.sleep(60)  # as long as the token endpoint may be left alone
    assert await runai.count_revisions(WORKLOAD_ID) == 1
    assert server.landed == 0
    retrying: Any = runai._retrying
    assert retrying._transport._transport._slots._value == 100
    assert retrying._budget.tokens > 90


async def run_all(cells: list[tuple[str, str]]) -> dict[tuple[str, str], Outcome]:
    room = {slow: asyncio.Semaphore(number) for slow, number in AT_ONCE.items()}

    async def run_one(name: str, operation: str) -> Outcome:
        async with room[FAULTS[name].slow]:
            try:
                return await run(name, operation)
            except Exception as error:  # noqa: BLE001  (the whole table tells more than the first failure)
                return f"{type(error).__name__}: {error}"

    outcomes = await asyncio.gather(*(run_one(*cell) for cell in cells))
    return dict(zip(cells, outcomes, strict=True))


def open_files() -> int:
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


async def test_every_fault_ends_as_the_table_says() -> None:
    before = open_files()
    asyncio.get_running_loop().set_debug(False)  # it would take most of the time, and other tests have it

    actual = await run_all(list(CELLS))

    assert {cell: outcome for cell, outcome in actual.items() if outcome != CELLS[cell]} == {}
    assert open_files() == before


def test_the_table_is_complete() -> None:
    assert list(EXPECTED) == list(FAULTS)
    print(f"{len(FAULTS)} faults, {len(OPERATIONS)} operations, {len(CELLS)} cells")
    assert len(CELLS) == len(FAULTS) * len(OPERATIONS)
