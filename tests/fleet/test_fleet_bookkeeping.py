"""What a fleet counts and keeps as its polls end is what a look at each of its workloads would give."""

from random import Random

import pytest
from support.fleets import Bookkeeper
from support.harness import HTML_502, REFUSED_403, REFUSED_404, Harness, Reply

from runai_async import FleetCheckpoint, FleetWatch, PollPolicy
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
