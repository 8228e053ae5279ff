"""A watch over a real socket, while everything changes, fails and is cancelled at random."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from random import Random

import pytest
from support.oracle import GRACE, Trouble, by_revision, check_phases, check_stream, without_repeats

from runai_async import Checkpoint, PollPolicy, RetryPolicy, RunaiClient, WatchEvent
from runai_async.testing import FakeControlPlane

POLICY = PollPolicy(interval=0.04, deadline=10, missing_grace=GRACE, max_outage=None)
STEPS = 60
IN_VAIN = 30
"""Waits that brought nothing, after which one is patient."""


def a_watch(
    runai: RunaiClient, workload_id: str, checkpoint: Checkpoint | None
) -> AsyncGenerator[WatchEvent, None]:
    return runai.watch_revisions(workload_id, poll=POLICY, resume_from=checkpoint)


class Consumer:
    """Takes events impatiently, is cancelled, and dies and comes back with its last checkpoint."""

    def __init__(self, control_plane: FakeControlPlane, trouble: Trouble, random: Random) -> None:
        self.control_plane = control_plane
        self.workload_id = trouble.workload_ids[0]
        self.sightings = trouble.sightings
        self.random = random
        self.events: list[WatchEvent] = []
        self.kept: list[WatchEvent] = []
        """The events as one would have them who stores each checkpoint together with the events before it."""
        self.watch = a_watch
        self.saved: Checkpoint | None = None
        self.saved_events = 0
        self.resumes = 0
        self.timeouts = 0
        self.in_vain = 0

    async def life(self, is_over: Callable[[], bool], *, may_die: bool) -> None:
        """Consume with one client until its end."""
        retry = RetryPolicy(attempts=2, wait_initial=0.001)
        hooks = [self.sightings]
        async with RunaiClient(
            self.control_plane.url, self.control_plane.token, timeout=5, retry=retry, hooks=hooks
        ) as runai:
            watch = self.watch(runai, self.workload_id, self.saved)
            while not is_over():
                await self.take_one(watch)
                if self.random.random() < 0.3:
                    self.saved = Checkpoint.from_json(watch.checkpoint().to_json())  # type: ignore[attr-defined]
                    self.saved_events = len(self.kept)
                if may_die and self.random.random() < 0.02:
                    self.resumes += 1
                    del self.kept[self.saved_events :]
                    return

    def note(self, event: WatchEvent) -> None:
        self.in_vain = 0
        self.events.append(event)
        self.kept.append(event)

    async def take_one(self, watch: AsyncGenerator[WatchEvent, None]) -> None:
        """Wait for one event, for a while that is mostly too short, or be cancelled meanwhile.

        Every now and then it is long enough: where a busy machine takes longer for a poll, nothing came else.
        """
        patience = 1.0 if self.in_vain == IN_VAIN else self.random.choice((0.0, 0.001, 0.005, 0.02, 0.05))
        self.in_vain = 0 if self.in_vain == IN_VAIN else self.in_vain + 1
        if self.random.random() < 0.5:
            try:
                async with asyncio.timeout(patience):
                    self.note(await anext(watch))
            except TimeoutError:
                self.timeouts += 1
            return

        async def take() -> None:
            self.note(await anext(watch))

        task = asyncio.create_task(take())
        await asyncio.wait({task}, timeout=patience)
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            task.result()
        else:
            self.timeouts += 1


async def run(seed: int) -> Consumer:
    """Run one seed and check what the consumer was told."""
    random = Random(seed)
    async with FakeControlPlane(seed=seed, record_responses=True) as control_plane:
        workload_id = control_plane.add_workload()
        trouble = Trouble(control_plane, [workload_id], random)
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
        # What was told after the last checkpoint and had gone before the resume stays without its deletion.
        known = by_revision(consumer.kept)
        # Nor was it told that one lives which was rightly told deleted, if that came after the checkpoint.
        rest = [event for event in everything if event.revision_id in known]
        assert trouble.is_told(rest, but=trouble.missed(rest))
    return consumer


@pytest.mark.parametrize(
    "seeds",
    [range(20), pytest.param(range(1000, 1200), marks=[pytest.mark.slow, pytest.mark.timeout(180)])],
    ids=["20 seeds", "200 seeds"],
)
async def test_a_watch_loses_and_repeats_nothing_whatever_is_cancelled_or_fails(
    seeds: range, caplog: pytest.LogCaptureFixture
) -> None:
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
