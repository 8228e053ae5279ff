"""Fleets of a given size, and how often they poll."""

from collections import Counter

from runai_async import FleetWatch, PollPolicy
from runai_async._fleet.fleet_watch import read_fleet
from runai_async._fleet.reading import FleetReading
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


def trusting(fleet: FleetWatch) -> FleetWatch:
    """Have a fleet of a query trust the rows of its list from the start, whatever they are worth.

    Nobody is a control, so all may be relaxed.
    """
    hints = fleet._follower._hints
    assert hints is not None
    hints.state = "trusted"
    hints._judge = int  # type: ignore[method-assign,assignment]
    hints._controls, hints.choose_controls = frozenset(), id  # type: ignore[method-assign,assignment]
    return fleet
