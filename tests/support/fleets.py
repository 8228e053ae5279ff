"""Fleets of a given size, and how often they poll."""

from collections import Counter
from collections.abc import Iterable

from runai_async import Checkpoint, FleetWatch, PollPolicy
from runai_async._fleet.controls import Controls
from runai_async._fleet.fleet_watch import read_fleet
from runai_async._fleet.reading import FleetReading
from runai_async._fleet.tally import Counts
from support.harness import Harness

POLICY = PollPolicy(interval=10, fast_interval=10, max_outage=60)
UNKNOWN_ID = "00000000-0000-4000-8000-000000000000"


def of_size(
    count: int, phase: str = "Running", *, seed: int | None = None
) -> tuple[Harness, list[str], dict[str, str]]:
    """Return a harness with so many workloads, their ids, and the one revision of each.

    With a *seed* the ids, and so the slots, are the same each time.
    """
    harness = Harness()
    if seed is not None:
        harness.state.random.seed(seed)
    ids = [harness.state.add_workload(f"llm-{n}", "Inference", {}) for n in range(count)]
    return harness, ids, {key: harness.add(phase, workload_id=key) for key in ids}


def per_second(times: list[float], start: float, end: float) -> list[int]:
    """Return how many of *times* are in each second from *start* to *end*."""
    counts = Counter(int(at) for at in times if start <= at < end)
    return [counts[second] for second in range(int(start), int(end))]


def reading_of(fleet: FleetWatch) -> FleetReading:
    """Return what the exporter reads of a fleet, without revisions."""
    reading = read_fleet(fleet, lambda _workload_id, _version: True)
    while True:
        try:
            next(reading)
        except StopIteration as end:
            read: FleetReading = end.value
            return read


def controls_of(ids: Iterable[str]) -> frozenset[str]:
    """Return those of some workloads that are never relaxed."""
    controls = Controls()
    controls.choose(frozenset(ids))
    return controls.ids


def trusting(fleet: FleetWatch) -> FleetWatch:
    """Have a fleet of a query trust the rows of its list from the start, whatever they are worth.

    Nobody is a control, so all may be relaxed.
    """
    hints = fleet._follower._hints
    assert hints is not None
    hints.state = "trusted"
    hints._judge = int  # type: ignore[method-assign,assignment]
    hints._controls.may_relax = bool  # type: ignore[method-assign,assignment]
    return fleet


def counted_in_full(fleet: FleetWatch) -> Counts:
    """Return what a fleet counts as its polls end, counted by looking at each workload."""
    members = [*fleet._members]
    bare = [member for member in members if member.without_revisions]
    others = [member for member in members if not member.without_revisions]
    succeeded = [member.last_success_at for member in others]
    ever = [at for at in (*succeeded, *(member.last_success_at for member in bare)) if at is not None]
    return Counts(
        failing=sum(member.is_failing for member in others),
        without_revisions=len(bare),
        oldest_success=min((at for at in succeeded if at is not None), default=None)
        if None not in succeeded
        else None,
        latest_success=max(ever, default=None),
    )


def made_now(fleet: FleetWatch) -> dict[str, Checkpoint]:
    """Return the checkpoints of a fleet's workloads, none of which was made before."""
    members, left = [*fleet._members], fleet._members.undelivered()
    return fleet._membership.unclaimed | {
        member.tracker.workload_id: member.checkpoint() for member in (*members, *left)
    }


class Bookkeeper:
    """Checks that what a fleet keeps ready is what it would reckon now.

    Args:
        fleet: the fleet.

    Attributes:
        saved: what was saved in pieces.
    """

    def __init__(self, fleet: FleetWatch) -> None:
        self.saved: dict[str, Checkpoint] = {}
        self._fleet = fleet

    def check(self) -> None:
        """Check it."""
        fleet, now = self._fleet, self._fleet._clock.monotonic()
        assert fleet._members.counts() == counted_in_full(fleet)
        due = [item for item in fleet._members if item.due is not None and item.due <= now]
        assert fleet.status.due == len(due)
        expected = made_now(fleet)
        assert fleet.checkpoint().workloads == expected

    def save(self) -> None:
        """Save what has changed since, and check that no more is needed."""
        for key, checkpoint in self._fleet.changed_checkpoints().items():
            if checkpoint is None:
                self.saved.pop(key, None)
            else:
                self.saved[key] = checkpoint
        assert self.saved == made_now(self._fleet)
