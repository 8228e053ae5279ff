"""Every fault of `faults.py` in every operation of the client, over a real socket."""

import asyncio
import gzip
import os
import subprocess
import sys
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from attrs import evolve
from prometheus_client import generate_latest
from support.fault_table import (
    CELLS,
    DOWN,
    EMPTY,
    EXPECTED,
    OPERATIONS,
    TOTALS,
    VALUE,
    Failed,
    Outage,
    Outcome,
    harmless,
    markdown,
)
from support.faults import FAULTS, MAX_BODY, REVISION_ID, SECRET, WORKLOAD_ID, Fault, FaultyServer
from support.loops import WorkTimeLoop
from support.metrics import series, values

import runai_async
from runai_async import (
    ClientCredentials,
    FleetEvent,
    FleetWatch,
    PollPolicy,
    RetryPolicy,
    RevisionAdded,
    RunaiClient,
    RunaiError,
    TransportError,
    WatchOutageError,
    WorkloadFailed,
)
from runai_async.exporter import Metrics
from runai_async.policy import stale_after

TESTS = Path(__file__).parents[1]
DEADLINE = 5.0
"""Seconds for a call, and for a poll."""
SOON = 1.0
"""The same where the deadline ends the fault."""
TIMEOUT = 2.0
"""Seconds for an attempt where the timeout ends the fault."""
ATTEMPTS = 2
BRIEF = PollPolicy(interval=31, fast_interval=31, max_outage=31, missing_grace=31)
BRIEF_POLLS = 3
"""The largest number of polls that this policy leaves room for."""
PATIENT = PollPolicy(interval=30, fast_interval=30, max_outage=1200, missing_grace=1200)
AIOHTTP = tuple(int(part) for part in aiohttp.__version__.split(".")[:2])
CONCURRENT = {True: 40, False: 20}
"""How many cells run at once: of those that mostly wait, and of the others."""


class HastyClock:
    """The clock of the event loop, except that a sleep jumps to its end at once.

    Attributes:
        sleeps_left: how many sleeps there are before *then* is called.
        after_sleep: called after each sleep.
    """

    def __init__(self) -> None:
        self.sleeps_left = 0
        self.then: Callable[[], Awaitable[None]] | None = None
        self.after_sleep: Callable[[], Awaitable[None]] | None = None
        self._slept = 0.0
        self._wall_offset = 0.0

    @staticmethod
    def loop_time() -> float:
        return asyncio.get_running_loop().time()

    def monotonic(self) -> float:
        return self.loop_time() + self._slept

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self._slept + self._wall_offset)

    def jump(self, seconds: float) -> None:
        """Move the wall clock alone."""
        self._wall_offset += seconds

    def skip(self, seconds: float) -> None:
        """Move both clocks."""
        self._slept += seconds

    async def sleep(self, seconds: float) -> None:
        if seconds == float("inf"):
            await asyncio.Event().wait()
        self._slept += max(0.0, seconds)
        self.sleeps_left -= 1
        if self.sleeps_left == 0 and self.then is not None:
            await self.then()
        if self.after_sleep is not None:
            await self.after_sleep()
        await asyncio.sleep(0)


class Cell:
    """One fault in one operation."""

    def __init__(
        self, fault: Fault, server: FaultyServer, runai: RunaiClient, clock: HastyClock, at: str
    ) -> None:
        self.server = server
        self.runai = runai
        self._fault = fault
        self.clock = clock
        self._at = at
        self.brief = evolve(BRIEF, deadline=deadline_of(fault))
        self.patient = evolve(PATIENT, deadline=deadline_of(fault))

    async def fails(self, times: int | None = None) -> None:
        """Begin the fault; it ends after so many requests, or sleeps if connections are refused."""
        await self.server.begin(self._fault, self._at, times)
        if self._fault.play is None and times is not None:
            self.clock.sleeps_left, self.clock.then = times, self.server.heal

    async def workloads(self) -> AsyncIterator[str]:
        """List the workloads, until the fault was played; then never again: a hasty clock would not wait."""
        if self.server.played:
            await asyncio.Event().wait()
        async for workload in self.runai.inference_workloads():
            yield workload.id

    async def changes_later(self) -> None:
        """Change the revision once the fault was played."""
        while not self.server.played:
            await asyncio.sleep(0.001)
        self.server.phase = "Running"

    async def outcome(self, events: AsyncIterator[FleetEvent]) -> Outcome:
        """Return the class of the next event, or for a `WorkloadFailed`, the class of its error."""
        try:
            event = await anext(events)
        except RunaiError as error:
            if error.checkpoint is None:
                raise AssertionError("the stream ended without a checkpoint") from error
            raise
        if not isinstance(event, WorkloadFailed):
            return type(event)
        if isinstance(event.error, WatchOutageError):
            return Failed(WatchOutageError, type(event.error.last_error))
        return Failed(type(event.error))


Operation = Callable[[Cell], Awaitable[Outcome]]


# --- operations ---------------------------------------------------------------------------------------------


def value(actual: object, expected: object) -> Outcome:
    if actual in ([], 0):
        return EMPTY
    return VALUE if actual == expected else f"{actual!r} is not {expected!r}"


async def list_revisions(cell: Cell) -> Outcome:
    await cell.fails()
    return value([item.id for item in await cell.runai.list_revisions(WORKLOAD_ID)], [REVISION_ID])


async def list_passing(cell: Cell) -> Outcome:
    await cell.fails(1)
    return value([item.id for item in await cell.runai.list_revisions(WORKLOAD_ID)], [REVISION_ID])


async def count_revisions(cell: Cell) -> Outcome:
    await cell.fails()
    return value(await cell.runai.count_revisions(WORKLOAD_ID), 1)


async def get_revision(cell: Cell) -> Outcome:
    await cell.fails()
    return value((await cell.runai.get_revision(REVISION_ID)).id, REVISION_ID)


async def revision_history(cell: Cell) -> Outcome:
    await cell.fails()
    kinds = [record.meta.type async for record in cell.runai.revision_history(REVISION_ID)]
    return value(kinds, ["PhaseUpdate"])


async def revision_events(cell: Cell) -> Outcome:
    await cell.fails()
    reasons = [event.reason async for event in cell.runai.revision_events(REVISION_ID)]
    return value(reasons, ["FailedScheduling"])


async def revision_pods(cell: Cell) -> Outcome:
    await cell.fails()
    return value([pod.name for pod in await cell.runai.revision_pods(REVISION_ID)], ["chat-00001-0"])


async def list_workloads(cell: Cell) -> Outcome:
    await cell.fails()
    return value([item.name async for item in cell.runai.list_workloads()], ["lab", "chat-00001"])


async def watch_first(cell: Cell) -> Outcome:
    await cell.fails()
    async with cell.runai.watch_revisions(WORKLOAD_ID, poll=cell.brief) as watch:
        return await cell.outcome(watch)


async def watch_later(cell: Cell) -> Outcome:
    return await watch_on(cell, cell.brief, None)


async def watch_on(cell: Cell, poll: PollPolicy, times: int | None) -> Outcome:
    async with cell.runai.watch_revisions(WORKLOAD_ID, poll=poll) as watch:
        assert await cell.outcome(watch) is RevisionAdded
        await cell.fails(times)
        cell.server.phase = "Running"
        return await cell.outcome(watch)


async def watch_passing(cell: Cell) -> Outcome:
    return await watch_on(cell, cell.patient, 3)


async def fleet_first(cell: Cell) -> Outcome:
    await cell.fails()
    async with cell.runai.watch_fleet([WORKLOAD_ID], poll=cell.brief) as fleet:
        return await cell.outcome(fleet)


async def fleet_later(cell: Cell) -> Outcome:
    return await fleet_on(cell, cell.brief, None)


async def fleet_on(cell: Cell, poll: PollPolicy, times: int | None) -> Outcome:
    async with cell.runai.watch_fleet([WORKLOAD_ID], poll=poll) as fleet:
        assert await cell.outcome(fleet) is RevisionAdded
        await cell.fails(times)
        cell.server.phase = "Running"
        return await cell.outcome(fleet)


async def fleet_passing(cell: Cell) -> Outcome:
    return await fleet_on(cell, cell.patient, 3)


async def phase_first(cell: Cell) -> Outcome:
    await cell.fails()
    cell.server.phase = "Running"
    return value((await cell.runai.wait_for_phase(REVISION_ID, "Running", poll=cell.brief)).id, REVISION_ID)


async def phase_later(cell: Cell) -> Outcome:
    wait = cell.runai.wait_for_phase(REVISION_ID, "Running", poll=cell.brief)
    return value(await polled_once(cell, wait), REVISION_ID)


async def rollout_first(cell: Cell) -> Outcome:
    await cell.fails()
    cell.server.phase = "Running"
    return value((await cell.runai.wait_for_rollout(WORKLOAD_ID, poll=cell.brief)).id, REVISION_ID)


async def rollout_later(cell: Cell) -> Outcome:
    return value(
        await polled_once(cell, cell.runai.wait_for_rollout(WORKLOAD_ID, poll=cell.brief)), REVISION_ID
    )


async def polled_once(cell: Cell, wait: Awaitable[Any]) -> str:
    """Begin the fault after the first response to a wait."""

    async def begin() -> None:
        await cell.fails()
        cell.server.phase = "Running"

    cell.server.after_response = begin
    revision_id: str = (await wait).id
    return revision_id


async def discovery_first(cell: Cell) -> Outcome:
    await cell.fails()
    async with cell.runai.watch_fleet(cell.runai.inference_workloads, poll=cell.brief) as fleet:
        return await cell.outcome(fleet)


async def discovery_later(cell: Cell) -> Outcome:
    async with cell.runai.watch_fleet(cell.workloads, poll=cell.brief) as fleet:
        assert await cell.outcome(fleet) is RevisionAdded
        await cell.fails()
        changing = asyncio.create_task(cell.changes_later())
        try:
            return await cell.outcome(fleet)
        finally:
            changing.cancel()


async def exporter(cell: Cell) -> Outcome:
    """Scrape whenever time passes: while the fault lasts, until the workload is down, and afterwards."""
    poll = evolve(cell.patient, max_outage=None)
    scrapes = Scrapes(cell, stale_after(poll))
    async with cell.runai.watch_fleet([WORKLOAD_ID], poll=poll) as fleet:
        scrapes.metrics.attach(fleet)
        await scrapes.until(fleet, "Pending")
        cell.server.phase = "Creating"
        await scrapes.until(fleet, "Creating")  # the first poll came before its slot; this one was in its own
        await cell.fails()
        cell.server.phase = "Running"
        try:
            await scrapes.until(fleet, "Running")
        except RunaiError as error:
            cell.clock.skip(scrapes.bound)
            assert scrapes.check() == DOWN
            return type(error)
    return DOWN if scrapes.was_down else VALUE


class Scrapes:
    """What is scraped of one cell.

    Attributes:
        metrics: the metrics.
        bound: seconds without a successful poll after which the workload has to be down.
        was_down: whether a scrape has shown it as down; then the fault is over.
    """

    def __init__(self, cell: Cell, bound: float) -> None:
        self.metrics = Metrics()
        self.bound = bound
        self.was_down = False
        self._cell = cell

    async def until(self, fleet: FleetWatch, phase: str) -> None:
        """Pass events on until a scrape shows the phase."""
        async for event in fleet:
            self.metrics.observe(event)
            if self.check() == phase:
                break
        self._cell.clock.after_sleep = self._scrape

    async def _scrape(self) -> None:
        if self.check() == DOWN and not self.was_down:
            self.was_down = True
            await self._cell.server.heal()

    def check(self) -> str:
        """Scrape, check what must hold of every scrape, and return the phase shown, or DOWN."""
        found = series(generate_latest(self.metrics.registry).decode())
        (up,) = values(found, "runai_async_workload_up")
        (succeeded,) = values(found, "runai_async_workload_last_success_timestamp_seconds")
        age = self._cell.clock.now().timestamp() - succeeded
        assert up == (age <= self.bound) or abs(age - self.bound) < 1
        phases = [dict(labels)["phase"] for name, labels in found if name == "runai_revision_phase"]
        assert len(phases) == up
        return phases[0] if phases else DOWN


WORK: Mapping[str, Operation] = {
    "list_revisions": list_revisions,
    "count_revisions": count_revisions,
    "get_revision": get_revision,
    "revision_history": revision_history,
    "revision_events": revision_events,
    "revision_pods": revision_pods,
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
    "wait_for_phase, first poll": phase_first,
    "wait_for_phase, later poll": phase_later,
    "wait_for_rollout, first poll": rollout_first,
    "wait_for_rollout, later poll": rollout_later,
    "discovery, first listing": discovery_first,
    "discovery, later listing": discovery_later,
    "exporter": exporter,
}

AT = {"token": "token", "discovery,": "workloads"}
"""Which requests a fault hits, by the first word of an operation; all of the API by default."""

# --- running a cell -----------------------------------------------------------------------------------------


async def run(name: str, operation: str) -> Outcome:
    """Return the outcome of one cell, and check that it left nothing behind."""
    fault, clock = FAULTS[name], HastyClock()
    at = AT.get(operation.partition(" ")[0], "api")
    async with FaultyServer() as server, client(server, fault, clock, operation) as runai:
        server.jump = clock.jump
        began = clock.loop_time()
        outcome = await outcome_of(WORK[operation](Cell(fault, server, runai, clock, at)))
        if (seconds := clock.loop_time() - began) > time_limit(fault, operation):
            outcome = f"{outcome} after {seconds:.1f} s"
        await check_nothing_left(server, runai, clock)
    assert not server.connections
    return outcome


def time_limit(fault: Fault, operation: str) -> float:
    """Return how many seconds an operation may take: its deadlines, and a second."""
    is_long = operation == "exporter" or "passes" in operation or "listing" in operation
    polls = 4 if is_long else BRIEF_POLLS if "poll" in operation else 1
    return polls * min(deadline_of(fault), ATTEMPTS * timeout_of(fault)) + 1


def deadline_of(fault: Fault) -> float:
    return SOON if fault.deadline_first else DEADLINE


def timeout_of(fault: Fault) -> float:
    return TIMEOUT if fault.slow and not fault.deadline_first else 2 * DEADLINE


def exchanges(fault: Fault, operation: str) -> bool:
    """Return whether a cell needs a token that can be renewed."""
    return fault.at is not None or operation.startswith("token")


def client(server: FaultyServer, fault: Fault, clock: HastyClock, operation: str) -> RunaiClient:
    credentials = ClientCredentials("id", "secret", api="v2" if operation == "token v2" else "v1")
    return RunaiClient(
        server.url,
        credentials if exchanges(fault, operation) else "t0.static.token",
        timeout=timeout_of(fault),
        retry=RetryPolicy(attempts=ATTEMPTS, wait_initial=0.1, wait_max=0.1, deadline=deadline_of(fault)),
        max_concurrency=1,  # a slot that is not released then blocks the next call
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


async def check_nothing_left(server: FaultyServer, runai: RunaiClient, clock: HastyClock) -> None:
    """Assert that the client works as before once the fault is over."""
    if server.hanging:
        await server.heal()
        while server.hanging:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.01)  # the request may belong to a task of the client, which ends now
    await server.heal()
    await clock.sleep(60)  # the client may leave the token endpoint alone for so long
    patient = runai.with_options(timeout=DEADLINE, retry=RetryPolicy(attempts=ATTEMPTS))
    assert await patient.count_revisions(WORKLOAD_ID) == 1
    assert server.redirected == 0
    assert runai._api.retrying._budget.tokens > 90


async def run_all(cells: list[tuple[str, str]]) -> dict[tuple[str, str], Outcome]:
    slots = {slow: asyncio.Semaphore(number) for slow, number in CONCURRENT.items()}

    async def run_one(name: str, operation: str) -> Outcome:
        async with slots[FAULTS[name].slow]:
            try:
                return await run(name, operation)
            except Exception as error:  # noqa: BLE001  (all that fail are shown, not only the first)
                return f"{type(error).__name__}: {error}"

    outcomes = await asyncio.gather(*(run_one(*cell) for cell in cells))
    assert asyncio.all_tasks() == {asyncio.current_task()}
    return dict(zip(cells, outcomes, strict=True))


def open_files() -> int:
    descriptors = Path("/proc/self/fd")
    return len(list(descriptors.iterdir())) if descriptors.is_dir() else 0


ALIKE = ("get_revision", "revision_history", "list_workloads", "token v2")
"""Operations that are left to the slow run: they take the same path through the client as another one."""
RARER = ("302", "307", "409", "418", "502", "504")
"""Statuses that are left to the slow run: another one of the same class is not."""
RARER_BODIES = ("with nothing", "with other JSON")
"""Bodies of errors that are left to the slow run."""
THOROUGH = ("list_revisions", "watch, later poll")
"""Operations that the usual run tries with all other faults; of those that end alike, the rest get one."""
FIRST = {tuple(row.items()): name for name, row in reversed(EXPECTED.items())}.values()
"""The first fault of each row of the table."""


def cells(*, slow: bool) -> list[tuple[str, str]]:
    """Return the cells of the usual run, or those of the slow one."""
    return [cell for cell in CELLS if _is_left_out(*cell) == slow]


def _is_left_out(name: str, operation: str) -> bool:
    if operation in ALIKE or name.startswith(RARER) or (name[0] in "45" and name.endswith(RARER_BODIES)):
        return True
    return operation not in THOROUGH and name not in FIRST


@pytest.mark.parametrize("slow", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_every_fault_ends_as_the_table_says(slow: bool) -> None:
    before = open_files()

    # Without asyncio's debug mode, which would take most of the time; other tests have it.
    with asyncio.Runner(debug=False, loop_factory=WorkTimeLoop) as runner:
        actual = runner.run(run_all(cells(slow=slow)))

    expected = expected_here()
    assert {cell: outcome for cell, outcome in actual.items() if outcome != expected[cell]} == {}
    assert open_files() == before


def expected_here() -> Mapping[tuple[str, str], Outcome]:
    """Return the table for the installed aiohttp: before 3.14 it accepted any number of headers."""
    if AIOHTTP >= (3, 14):
        return CELLS
    return CELLS | {("a thousand headers", operation): out for operation, out in harmless().items()}


def test_the_table_is_complete() -> None:
    assert list(EXPECTED) == list(FAULTS)
    assert list(WORK) == list(OPERATIONS)
    assert len(CELLS) == len(FAULTS) * len(OPERATIONS)
    assert sorted(cells(slow=False) + cells(slow=True)) == sorted(CELLS)
    print(TOTALS)  # noqa: T201  (for -s)


def test_the_readme_of_the_tests_contains_the_table() -> None:
    text = (TESTS / "README.md").read_text(encoding="utf-8")
    assert markdown() in text, "print it again: python tests/support/fault_table.py"


def test_the_command_in_the_readme_of_the_tests_prints_the_table() -> None:
    # As a process of its own, because a script does not find the modules that tests share.
    ran = subprocess.run(
        [sys.executable, TESTS / "support" / "fault_table.py"],
        env=os.environ | {"PYTHONPATH": str(Path(runai_async.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.stdout, ran.stderr) == (f"{markdown()}\n", "")


def test_the_readme_contains_its_totals() -> None:
    assert TOTALS in (TESTS.parent / "README.md").read_text(encoding="utf-8").replace("\n", " ")


async def test_a_gzip_bomb_takes_little_memory() -> None:
    bomb = gzip.compress(b" " * 2**25)
    fault = Fault("bomb", lambda wire: wire.response(200, bomb, {"Content-Encoding": "gzip"}))
    async with FaultyServer() as server, RunaiClient(server.url, "t0.static.token", max_body=2**20) as runai:
        await server.begin(fault, "api")
        tracemalloc.start()
        try:
            with pytest.raises(TransportError, match="max_body"):
                await runai.list_revisions(WORKLOAD_ID)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert peak < 2**23
