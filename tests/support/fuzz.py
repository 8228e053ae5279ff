"""Consumers that are impatient, cancelled and killed, while the control plane changes and fails at random."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from random import Random

from attrs import frozen

from runai_async import (
    Checkpoint,
    FleetCheckpoint,
    FleetEvent,
    FleetWatch,
    RetryPolicy,
    RevisionEvent,
    RevisionStalled,
    RevisionUpdated,
    RevisionWatch,
    RunaiClient,
)
from runai_async.testing import FakeControlPlane
from runai_async.testing._rows import RowsFollow
from support.oracle import Chaos, Interference, by_revision, check_phases, check_stream, without_repeats

Stream = RevisionWatch | FleetWatch
Saved = Checkpoint | FleetCheckpoint
Open = Callable[[RunaiClient, Sequence[str], Saved | None], AbstractAsyncContextManager[Stream]]
"""Opens a stream of some workloads, resumed from a checkpoint if there is one."""

PATIENCE = (0.0, 0.001, 0.005, 0.02, 0.05)
"""Seconds that a consumer waits for an event; mostly too short."""
LONG_PATIENCE = 1.0
IN_VAIN = 30
"""Waits without an event after which one is long: on a busy machine, a poll may never end otherwise."""
CONCURRENT = 25
"""How many seeds run at once."""


@frozen
class Scenario:
    """What is watched, and how often its consumer saves a checkpoint, or dies, after an event or a wait."""

    open: Open
    workloads: int
    steps: int
    retry: RetryPolicy
    saves: float
    dies: float


class Consumer:
    """Takes events impatiently, is cancelled, and dies and resumes from its last checkpoint.

    Attributes:
        events: all events that were delivered.
        kept: the events of a consumer that stores each checkpoint together with the events before it.
    """

    def __init__(self, scenario: Scenario, chaos: Chaos) -> None:
        self.scenario = scenario
        self.chaos = chaos
        self.random = chaos.random
        self.events: list[RevisionEvent] = []
        self.kept: list[RevisionEvent] = []
        self.resumes = 0
        self.timeouts = 0
        self._saved: Saved | None = None
        self._saved_events = 0
        self._in_vain = 0

    async def live(self, is_over: Callable[[], bool], *, may_die: bool) -> None:
        """Consume with one client, until the end or until it dies."""
        control_plane = self.chaos.control_plane
        async with (
            RunaiClient(
                control_plane.url,
                control_plane.token,
                timeout=5,
                retry=self.scenario.retry,
                hooks=[self.chaos.sightings],
                transport=Interference(self.chaos),
            ) as runai,
            self.scenario.open(runai, self.chaos.workload_ids, self._saved) as stream,
        ):
            while not is_over():
                await self._take_one(stream)
                if self.random.random() < self.scenario.saves:
                    self._save(stream.checkpoint())
                if may_die and self.random.random() < self.scenario.dies:
                    self.resumes += 1
                    del self.kept[self._saved_events :]
                    return

    def _save(self, checkpoint: Saved) -> None:
        self._saved = type(checkpoint).from_json(checkpoint.to_json())
        self._saved_events = len(self.kept)

    async def _take_one(self, stream: Stream) -> None:
        """Wait for one event; when the patience is over, the wait is cancelled, in one of two ways."""
        take = self._take_in_time if self.random.random() < 0.5 else self._take_in_a_task
        if await take(stream, self._patience()):
            self._in_vain = 0
        else:
            self._in_vain += 1
            self.timeouts += 1

    def _patience(self) -> float:
        is_long = self._in_vain > 0 and self._in_vain % IN_VAIN == 0
        return LONG_PATIENCE if is_long else self.random.choice(PATIENCE)

    async def _take_in_time(self, stream: Stream, patience: float) -> bool:
        try:
            async with asyncio.timeout(patience):
                self._add(await anext(stream))
        except TimeoutError:
            return False
        return True

    async def _take_in_a_task(self, stream: Stream, patience: float) -> bool:
        async def take() -> None:
            self._add(await anext(stream))

        task = asyncio.create_task(take())
        await asyncio.wait({task}, timeout=patience)
        task.cancel()
        await asyncio.wait({task})
        if task.cancelled():
            return False
        task.result()
        return True

    def _add(self, event: FleetEvent) -> None:
        assert isinstance(event, RevisionEvent), event
        if isinstance(event, RevisionUpdated):
            # Of what changed in writing alone, a replaced half of a character remains; and the second of a
            # change of phase where it may be one before, rounded.
            assert {change.path for change in event.changes} <= {"phase_message", "phase_updated_at"}, event
            return
        self.events.append(event)
        self.kept.append(event)


async def run(scenario: Scenario, seed: int) -> Consumer:
    """Run one seed and check what the consumer saw."""
    random = Random(seed)
    rows: RowsFollow = (True, False, "noisy")[seed % 3]
    async with FakeControlPlane(
        seed=seed, record_responses=True, sorts=seed % 2 == 0, rows_follow_revisions=rows
    ) as control_plane:
        control_plane.list_order = "random"
        workload_ids = [control_plane.add_workload() for _ in range(scenario.workloads)]
        chaos = Chaos(control_plane, workload_ids, random)
        consumer = Consumer(scenario, chaos)
        changing = asyncio.create_task(chaos.run(scenario.steps, pause=0.06))

        def is_over() -> bool:
            return changing.done() and is_at_rest(consumer)

        async with asyncio.timeout(120):
            while not is_over():
                await consumer.live(is_over, may_die=not changing.done())
        await changing
        check(consumer)
    return consumer


def is_at_rest(consumer: Consumer) -> bool:
    """Return whether both consumers have the last state: one that stores checkpoints, and one that cannot.

    The second one keeps what it received after the last checkpoint, and only sees later that it is outdated.
    """
    chaos = consumer.chaos
    if not chaos.agrees(consumer.kept) or chaos.lacks_stalls(consumer.kept):
        return False
    # A revision that was first reported after the last checkpoint, and was gone before the resume, has no
    # deletion here.
    known = by_revision(consumer.kept)
    rest = [event for event in without_repeats(consumer.events) if event.revision_id in known]
    # Nor is a revision reported as live again that was rightly reported as deleted after the checkpoint.
    # And a return to a phase that was only reported before an earlier death has the id of that report.
    return chaos.agrees(rest, except_for=chaos.missed(rest) | chaos.returned())


def check(consumer: Consumer) -> None:
    check_stream(consumer.kept, consumer.chaos)
    check_phases(without_repeats(consumer.events), consumer.chaos.control_plane)


async def run_all(scenario: Scenario, seeds: Sequence[int]) -> None:
    """Run many seeds, and check that they were as rough as they are meant to be."""
    asyncio.get_running_loop().set_debug(False)  # its tracebacks would take most of the time
    slots = asyncio.Semaphore(CONCURRENT)

    async def run_one(seed: int) -> Consumer:
        async with slots:
            try:
                return await run(scenario, seed)
            except BaseException as error:
                error.add_note(f"seed {seed}")
                raise

    consumers = await asyncio.gather(*map(run_one, seeds))

    assert sum(consumer.timeouts for consumer in consumers) > 3 * len(seeds)
    assert sum(consumer.resumes for consumer in consumers) > len(seeds) / 2
    assert sum(len(consumer.events) for consumer in consumers) > 3 * len(seeds)
    assert any(consumer.chaos.replica.shown for consumer in consumers)
    assert any(isinstance(event, RevisionStalled) for consumer in consumers for event in consumer.kept)
