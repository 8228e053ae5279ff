"""Every fault of `faults.py` against every operation of the client, over a real socket."""

import asyncio
import gzip
import time
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from attrs import evolve
from support.fault_table import (
    CELLS,
    EXPECTED,
    OPERATIONS,
    SUMS,
    VALUE,
    Outage,
    Outcome,
    Told,
    harmless,
    markdown,
)
from support.faults import FAULTS, MAX_BODY, REVISION_ID, SECRET, WORKLOAD_ID, Fault, SickServer

from runai_async import (
    ClientCredentials,
    FleetEvent,
    PollPolicy,
    RetryPolicy,
    RevisionAdded,
    RunaiClient,
    RunaiError,
    TransportError,
    WatchOutageError,
    WorkloadFailed,
)

TESTS = Path(__file__).parents[1]
DEADLINE = 5.0
"""Seconds for a call, and for a poll."""
SOON = 0.5
"""The same where it is the deadline that ends what hangs."""
TIMEOUT = 0.15
"""Seconds for an attempt at what hangs. Other faults get more, so that a busy machine changes no cell."""
ATTEMPTS = 2
PATIENT = PollPolicy(interval=30, fast_interval=30, max_outage=30, missing_grace=30)
POLLS = 3
"""The most polls that this patience has room for."""
PASSING = PollPolicy(interval=30, fast_interval=30, max_outage=600, missing_grace=600)
AIOHTTP = tuple(int(part) for part in aiohttp.__version__.split(".")[:2])
AT_ONCE = {True: 40, False: 6}
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
        self.poll = evolve(PATIENT, deadline=deadline_of(fault))
        self.passing = evolve(PASSING, deadline=deadline_of(fault))

    async def fails(self, times: int | None = None) -> None:
        """Let the fault begin, and be over after so many answers, or sleeps where there is no answer."""
        await self.server.begin(self._fault, self._at, times)
        if self._fault.play is None and times is not None:
            self._clock.sleeps, self._clock.wake = times, self.server.heal

    async def told(self, events: AsyncIterator[FleetEvent]) -> Outcome:
        """Return the class of what is told next; of a trouble, that of its error."""
        try:
            event = await anext(events)
        except RunaiError as error:
            if error.checkpoint is None:
                raise AssertionError("it ended without a checkpoint") from error
            raise
        if not isinstance(event, WorkloadFailed):
            return type(event)
        if isinstance(event.error, WatchOutageError):
            await anext(events)  # a whole fleet without an answer ends
        return Told(type(event.error))


Operation = Callable[[Cell], Awaitable[Outcome]]


# --- operations ---------------------------------------------------------------------------------------------


def good(actual: object, expected: object) -> Outcome:
    return VALUE if actual == expected else f"{actual!r} is not {expected!r}"


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
    async with cell.runai.watch_revisions(WORKLOAD_ID, poll=cell.poll) as watch:
        return await cell.told(watch)


async def watch_later(cell: Cell) -> Outcome:
    return await watch_on(cell, cell.poll, None)


async def watch_on(cell: Cell, poll: PollPolicy, times: int | None) -> Outcome:
    async with cell.runai.watch_revisions(WORKLOAD_ID, poll=poll) as watch:
        assert await cell.told(watch) is RevisionAdded
        await cell.fails(times)
        cell.server.phase = "Running"
        return await cell.told(watch)


async def watch_passing(cell: Cell) -> Outcome:
    return await watch_on(cell, cell.passing, 3)


async def fleet_first(cell: Cell) -> Outcome:
    await cell.fails()
    async with cell.runai.watch_fleet([WORKLOAD_ID], poll=cell.poll) as fleet:
        return await cell.told(fleet)


async def fleet_later(cell: Cell) -> Outcome:
    return await fleet_on(cell, cell.poll, None)


async def fleet_on(cell: Cell, poll: PollPolicy, times: int | None) -> Outcome:
    async with cell.runai.watch_fleet([WORKLOAD_ID], poll=poll) as fleet:
        assert await cell.told(fleet) is RevisionAdded
        await cell.fails(times)
        cell.server.phase = "Running"
        return await cell.told(fleet)


async def fleet_passing(cell: Cell) -> Outcome:
    return await fleet_on(cell, cell.passing, 3)


async def phase_first(cell: Cell) -> Outcome:
    await cell.fails()
    cell.server.phase = "Running"
    return good((await cell.runai.wait_for_phase(REVISION_ID, "Running", poll=cell.poll)).id, REVISION_ID)


async def phase_later(cell: Cell) -> Outcome:
    wait = cell.runai.wait_for_phase(REVISION_ID, "Running", poll=cell.poll)
    return good(await seen_once(cell, wait), REVISION_ID)


async def rollout_first(cell: Cell) -> Outcome:
    await cell.fails()
    cell.server.phase = "Running"
    return good((await cell.runai.wait_for_rollout(WORKLOAD_ID, poll=cell.poll)).id, REVISION_ID)


async def rollout_later(cell: Cell) -> Outcome:
    return good(await seen_once(cell, cell.runai.wait_for_rollout(WORKLOAD_ID, poll=cell.poll)), REVISION_ID)


async def seen_once(cell: Cell, wait: Awaitable[Any]) -> str:
    """Let the fault begin when a wait has had its first answer."""

    async def begin() -> None:
        await cell.fails()
        cell.server.phase = "Running"

    cell.server.after_answer = begin
    revision_id: str = (await wait).id
    return revision_id


WORK: Mapping[str, Operation] = {
    "list_revisions": list_revisions,
    "count_revisions": count_revisions,
    "get_revision": get_revision,
    "revision_history": revision_history,
    "list_workloads": list_workloads,
    "token v1": count_revisions,
    "token v2": count_revisions,
    "list_revisions, fault passes": list_passing,
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
        outcome = await outcome_of(WORK[operation](cell))
        patience = min(deadline_of(fault), ATTEMPTS * timeout_of(fault, operation))
        if (seconds := time.monotonic() - began) > polls(operation) * patience + 1:
            outcome = f"{outcome} after {seconds:.1f} s"
        await check_nothing_left(server, runai, clock)
    assert not server.connections
    return outcome


def polls(operation: str) -> int:
    """Return for how many deadlines an operation may go on."""
    if "passes" in operation:
        return 4
    return POLLS if "poll" in operation or "look" in operation else 1


def deadline_of(fault: Fault) -> float:
    return SOON if fault.deadline_first else DEADLINE


def timeout_of(fault: Fault, operation: str) -> float:
    if fault.deadline_first or not fault.slow:
        return 2 * DEADLINE
    # Longer where a good answer has to come within it, too.
    return 4 * TIMEOUT if "passes" in operation or exchanges(fault, operation) else TIMEOUT


def exchanges(fault: Fault, operation: str) -> bool:
    """Tell whether a cell needs a token that can be renewed."""
    return fault.at is not None or operation.startswith("token")


def client(server: SickServer, fault: Fault, clock: HastyClock, operation: str) -> RunaiClient:
    credentials = ClientCredentials("id", "secret", api="v2" if operation == "token v2" else "v1")
    return RunaiClient(
        server.url,
        credentials if exchanges(fault, operation) else "t0.static.token",
        timeout=timeout_of(fault, operation),
        retry=RetryPolicy(attempts=ATTEMPTS, wait_initial=0.1, wait_max=0.1, deadline=deadline_of(fault)),
        max_concurrency=1,  # so that a slot that is not given back stops the next call
        max_body=MAX_BODY,
        trust_env=False,
        clock=clock,
    )


async def outcome_of(work: Awaitable[Outcome]) -> Outcome:
    try:
        return await work
    except RunaiError as error:
        ended = error
    assert SECRET not in f"{ended} {ended!r}"
    return Outage(type(ended.last_error)) if isinstance(ended, WatchOutageError) else type(ended)


async def check_nothing_left(server: SickServer, runai: RunaiClient, clock: HastyClock) -> None:
    """Assert that the client is as good as new once the fault is over."""
    await server.heal()
    while server.hanging:
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.01)  # what hung may belong to a task of the client's, which learns of it now
    await clock.sleep(60)  # as long as the token endpoint may be left alone
    patient = runai.with_options(timeout=DEADLINE, retry=RetryPolicy(attempts=ATTEMPTS))
    assert await patient.count_revisions(WORKLOAD_ID) == 1
    assert server.landed == 0
    assert runai._api.retrying._budget.tokens > 90


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
    descriptors = Path("/proc/self/fd")
    return len(list(descriptors.iterdir())) if descriptors.is_dir() else 0


ALIKE = ("get_revision", "revision_history", "list_workloads", "token v2")
"""Operations that are left to the slow run: their way through the client is that of another one."""
RARER = ("302", "307", "409", "418", "502", "504")
"""Statuses that are left to the slow run: others of their class are met anyway."""
RARER_BODIES = ("with nothing", "with other JSON")
"""The same of the bodies of errors."""


def cells(*, slow: bool) -> list[tuple[str, str]]:
    """Return the cells of the usual run, or those of the slow one."""
    return [cell for cell in CELLS if _is_left_out(*cell) == slow]


def _is_left_out(name: str, operation: str) -> bool:
    return operation in ALIKE or name.startswith(RARER) or (name[0] in "45" and name.endswith(RARER_BODIES))


@pytest.mark.parametrize("slow", [False, pytest.param(True, marks=pytest.mark.slow)])
async def test_every_fault_ends_as_the_table_says(slow: bool) -> None:
    before = open_files()
    asyncio.get_running_loop().set_debug(False)  # it would take most of the time, and other tests have it

    actual = await run_all(cells(slow=slow))

    expected = expected_here()
    assert {cell: outcome for cell, outcome in actual.items() if outcome != expected[cell]} == {}
    assert open_files() == before


def expected_here() -> Mapping[tuple[str, str], Outcome]:
    """Return the table as it is with the aiohttp at hand: before 3.14 it took any number of headers."""
    if AIOHTTP >= (3, 14):
        return CELLS
    return CELLS | {("a thousand headers", operation): out for operation, out in harmless().items()}


def test_the_table_is_complete() -> None:
    assert list(EXPECTED) == list(FAULTS)
    assert list(WORK) == list(OPERATIONS)
    assert len(CELLS) == len(FAULTS) * len(OPERATIONS)
    assert sorted(cells(slow=False) + cells(slow=True)) == sorted(CELLS)
    print(SUMS)  # noqa: T201  (for -s)


def test_the_readme_of_the_tests_contains_the_table() -> None:
    text = (TESTS / "README.md").read_text(encoding="utf-8")
    assert markdown() in text, "print it anew: python tests/fault_table.py"


def test_the_readme_contains_its_totals() -> None:
    assert SUMS in (TESTS.parent / "README.md").read_text(encoding="utf-8").replace("\n", " ")


async def test_a_gzip_bomb_takes_little_memory() -> None:
    bomb = gzip.compress(b" " * 2**25)
    fault = Fault("bomb", lambda wire: wire.response(200, bomb, {"Content-Encoding": "gzip"}))
    async with SickServer() as server, RunaiClient(server.url, "t0.static.token", max_body=2**20) as runai:
        await server.begin(fault, "api")
        tracemalloc.start()
        try:
            with pytest.raises(TransportError, match="max_body"):
                await runai.list_revisions(WORKLOAD_ID)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert peak < 2**23
