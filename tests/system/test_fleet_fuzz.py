"""A fleet over a real socket, while everything changes, fails, is cancelled and dies at random."""

import asyncio
from collections.abc import Callable
from random import Random

import pytest
from support.oracle import GRACE, Trouble, by_revision, check_phases, check_stream, without_repeats

from runai_async import FleetCheckpoint, FleetWatch, PollPolicy, RetryPolicy, RevisionEvent, RunaiClient
from runai_async.testing import FakeControlPlane

POLICY = PollPolicy(interval=0.2, fast_interval=0.1, deadline=10, missing_grace=GRACE, max_outage=None)
STEPS = 80
WORKLOADS = 6


class Consumer:
    """Takes events impatiently, is cancelled, and dies and comes back with its last checkpoint."""

    def __init__(self, control_plane: FakeControlPlane, trouble: Trouble, random: Random) -> None:
        self.control_plane = control_plane
        self.workload_ids = trouble.workload_ids
        self.sightings = trouble.sightings
        self.random = random
        self.events: list[RevisionEvent] = []
        self.kept: list[RevisionEvent] = []
        self.saved: FleetCheckpoint | None = None
        self.saved_events = 0
        self.resumes = 0
        self.timeouts = 0

    async def life(self, is_over: Callable[[], bool], *, may_die: bool) -> None:
        """Consume with one client until its end."""
        retry = RetryPolicy(attempts=1)
        hooks = [self.sightings]
        async with RunaiClient(
            self.control_plane.url, self.control_plane.token, timeout=5, retry=retry, hooks=hooks
        ) as runai:
            fleet = runai.watch_fleet(
                self.workload_ids, poll=POLICY, resume_from=self.saved, buffer=5, max_concurrency=4
            )
            async with fleet:
                while not is_over():
                    await self.take_one(fleet)
                    if self.random.random() < 0.2:
                        self.saved = FleetCheckpoint.from_json(fleet.checkpoint().to_json())
                        self.saved_events = len(self.kept)
                    if may_die and self.random.random() < 0.03:
                        self.resumes += 1
                        del self.kept[self.saved_events :]
                        return

    async def take_one(self, fleet: FleetWatch) -> None:
        """Wait for one event, for a while that is mostly too short."""
        try:
            async with asyncio.timeout(self.random.choice((0.0, 0.001, 0.01, 0.05))):
                event = await anext(fleet)
        except TimeoutError:
            self.timeouts += 1
            return
        assert isinstance(event, RevisionEvent), event
        self.events.append(event)
        self.kept.append(event)


async def run(seed: int) -> Consumer:
    """Run one seed and check what the consumer was told."""
    random = Random(seed)
    async with FakeControlPlane(seed=seed, record_responses=True) as control_plane:
        workload_ids = [control_plane.add_workload() for _ in range(WORKLOADS)]
        trouble = Trouble(control_plane, workload_ids, random)
        consumer = Consumer(control_plane, trouble, random)
        stirring = asyncio.create_task(trouble.stir(STEPS, pause=0.06))

        def is_over() -> bool:
            return stirring.done() and trouble.is_told(consumer.kept)

        async with asyncio.timeout(120):
            while not is_over():
                await consumer.life(is_over, may_die=not stirring.done())
        await stirring
        check_stream(consumer.kept, trouble)
        everything = without_repeats(consumer.events)
        check_phases(everything, control_plane)
        known = by_revision(consumer.kept)
        # Nor was it told that one lives which was rightly told deleted, if that came after the checkpoint.
        rest = [event for event in everything if event.revision_id in known]
        assert trouble.is_told(rest, but=trouble.missed(rest))
    return consumer


@pytest.mark.parametrize(
    "seeds",
    [range(6), pytest.param(range(1000, 1050), marks=[pytest.mark.slow, pytest.mark.timeout(180)])],
    ids=["6 seeds", "50 seeds"],
)
async def test_a_fleet_loses_and_repeats_nothing(seeds: range, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("ERROR", "runai_async")
    asyncio.get_running_loop().set_debug(False)  # its tracebacks would take most of the time
    beside = asyncio.Semaphore(25)

    async def one(seed: int) -> Consumer:
        async with beside:
            try:
                return await run(seed)
            except BaseException as error:
                error.add_note(f"seed {seed}")
                raise

    consumers = await asyncio.gather(*map(one, seeds))

    assert sum(consumer.timeouts for consumer in consumers) > 3 * len(seeds)
    assert sum(consumer.resumes for consumer in consumers) > len(seeds) / 2
    assert sum(len(consumer.events) for consumer in consumers) > 3 * len(seeds)
