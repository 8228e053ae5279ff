"""What a fleet counts and keeps as its polls end is what a look at each of its workloads would give."""

from random import Random

import pytest
from support.fleets import POLICY, UNKNOWN_ID, Bookkeeper, of_size
from support.harness import HTML_502, REFUSED_403, REFUSED_404, Harness, Reply

from runai_async import Checkpoint, FleetCheckpoint, FleetWatch, PollPolicy
from runai_async._fleet.schedule import Schedule
from runai_async.testing import Response

EMPTY = Response(body=b'{"revisions": []}')
PHASES = ("Running", "Pending", "Degraded")
REPLIES: tuple[Reply, ...] = (HTML_502, REFUSED_403, REFUSED_404, EMPTY)
IMPATIENT = PollPolicy(
    interval=10,
    fast_interval=5,
    missing_grace=20,
    max_outage=60,
    stalled_after=30,
    emit={"degraded", "recovered"},
)


class Story:
    """A fleet that follows a list, while workloads come, change, fail and go at random."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.harness = Harness()
        self.harness.state.random.seed(seed)
        self.ids = [self.harness.workload_id]
        self.revisions: list[str] = []

    def change(self) -> None:
        """Change one thing."""
        state, workload_id = self.harness.state, self.random.choice(self.ids)
        match self.random.randrange(8):
            case 0:
                self.ids.append(state.add_workload(None, "Inference", {}))
            case 1 if len(self.ids) > 2 and self.random.random() < 0.3:
                self.ids.remove(workload_id)
                state.delete_workload(workload_id)
                gone = {key for key in self.revisions if state.revision(key)["workloadId"] == workload_id}
                self.revisions = [key for key in self.revisions if key not in gone]
            case 2 | 3:
                phase = self.random.choice(["Running", "Pending"])
                self.revisions.append(self.harness.add(phase, workload_id=workload_id))
            case 4 if self.revisions:
                revision_id = self.random.choice(self.revisions)
                if self.random.random() < 0.3:
                    self.revisions.remove(revision_id)
                    state.delete_revision(revision_id)
                else:
                    self.harness.set_phase(revision_id, self.random.choice(PHASES))
            case 5:
                self.harness.by_id[workload_id] = self.random.choice(REPLIES)
            case _:
                self.harness.by_id.clear()

    async def live(self, fleet: FleetWatch, rounds: int) -> None:
        """Let time pass, take some of the events, and check after each step."""
        books = Bookkeeper(fleet)
        for _ in range(rounds):
            self.change()
            await self.harness.clock.advance(self.random.choice((0.5, 3.0, 10.0, 25.0)))
            books.check()
            for _ in range(self.random.randrange(4)):
                if fleet._buffer.peek() is not None:
                    await anext(fleet)
                    books.check()
            self.add_or_remove(fleet)
            books.check()
            if self.random.random() < 0.5:
                books.save()

    def add_or_remove(self, fleet: FleetWatch) -> None:
        if self.random.random() < 0.1:
            fleet.remove(self.random.choice(self.ids))
        if self.random.random() < 0.1:
            fleet.add(self.random.choice(self.ids))


@pytest.mark.parametrize("seed", range(6))
async def test_a_fleet_counts_and_keeps_what_it_would_reckon_anew(seed: int) -> None:
    story = Story(seed)
    saved: FleetCheckpoint | None = None
    async with story.harness.client() as runai:
        for _ in range(2):
            fleet = runai.watch_fleet(
                runai.inference_workloads, poll=IMPATIENT, discovery_interval=15, buffer=6, resume_from=saved
            )
            async with fleet:
                await story.live(fleet, 40)
                saved = fleet.checkpoint()


async def test_what_has_no_revisions_is_not_what_was_polled_longest_ago() -> None:
    harness, ids, _ = of_size(2)
    async with (
        harness.client() as runai,
        runai.watch_fleet(runai.inference_workloads, poll=IMPATIENT, discovery_interval=10) as fleet,
    ):
        await harness.collect(fleet, 15)
        bare = harness.workload_id  # polled successfully, but it has no revisions
        harness.by_id[bare] = REFUSED_404
        await harness.collect(fleet, 200)
        Bookkeeper(fleet).check()
        status = fleet.status
        assert (status.watched, status.without_revisions) == (3, 1)
        assert status.oldest_success_at is not None
        assert (harness.clock.now() - status.oldest_success_at).total_seconds() < 15
        for key in ids:
            fleet.remove(key)
        Bookkeeper(fleet).check()
        assert fleet.status.oldest_success_at is None


def test_what_is_due_is_counted_as_a_look_at_each_would() -> None:
    random = Random(1)

    class Item:
        def __init__(self) -> None:
            self.due: float | None = None

    for _ in range(50):
        schedule, items = Schedule[Item](), [Item() for _ in range(random.randrange(20))]
        for item in random.choices(items, k=40) if items else ():
            item.due = random.choice((None, float(random.randrange(10))))
            if item.due is not None:
                schedule.push(item.due, item)
        for now in range(-1, 11):
            expected = [item for due, _, item in schedule._heap if due <= now and item.due == due]
            assert schedule.count_due(now) == len(expected)


async def test_changes_since_the_last_save_include_what_is_gone() -> None:
    harness, ids, revisions = of_size(3, seed=1)
    saved = FleetCheckpoint({key: Checkpoint(key, synced=False) for key in (*ids, UNKNOWN_ID)})
    async with harness.client() as runai:
        fleet = runai.watch_fleet(ids, poll=POLICY, resume_from=saved)
        assert fleet.changed_checkpoints() == saved.workloads
        assert fleet.changed_checkpoints() == {}
        async with fleet:
            assert fleet.changed_checkpoints().keys() == {
                *ids,
                UNKNOWN_ID,
            }  # with its URL
            await harness.collect(fleet, 10)
            assert fleet.changed_checkpoints().keys() == {*ids}
            harness.set_phase(revisions[ids[1]], "Degraded")
            await harness.clock.advance(10)
            before = fleet.checkpoint(ids[1])
            assert fleet.changed_checkpoints() == {}  # nothing was delivered yet
            await anext(fleet)
            changed = fleet.changed_checkpoints()
            assert changed == {ids[1]: fleet.checkpoint(ids[1])} != {ids[1]: before}
            fleet.remove(ids[0])
            assert fleet.changed_checkpoints() == {ids[0]: None}
    assert fleet.changed_checkpoints() == {}


async def test_removing_a_workload_that_has_not_joined_is_a_change() -> None:
    harness = Harness()
    saved = FleetCheckpoint({UNKNOWN_ID: Checkpoint(UNKNOWN_ID)})
    async with harness.client() as runai:
        fleet = runai.watch_fleet(runai.inference_workloads, resume_from=saved)
        assert fleet.changed_checkpoints() == saved.workloads
        fleet.remove(UNKNOWN_ID)
        assert fleet.changed_checkpoints() == {UNKNOWN_ID: None}


async def test_the_checkpoint_of_a_workload_is_the_same_value_until_it_changes() -> None:
    harness, ids, _ = of_size(2)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        await harness.collect(fleet, 30)
        before = fleet.checkpoint()
        await harness.collect(fleet, 30)
        after = fleet.checkpoint()
    assert before == after
    assert all(after.workloads[key] is part for key, part in before.workloads.items())
