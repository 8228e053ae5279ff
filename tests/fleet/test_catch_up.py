"""How overdue polls are caught up: without a burst, and without falling behind."""

from collections import Counter
from collections.abc import Iterable, Iterator

import pytest

from runai_async._fleet.schedule import Schedule, next_slot

WORKLOADS, INTERVAL = 500, 10
RATE = WORKLOADS // INTERVAL


class Workload:
    def __init__(self, offset: float) -> None:
        self.offset = offset
        self.due: float | None = None


def plan(schedule: Schedule[Workload], workload: Workload, due: float) -> None:
    workload.due = due
    schedule.push(due, workload)


def every(seconds: float, start: float, end: float) -> Iterator[float]:
    """Yield the times at which an event loop runs whose turns take so many seconds."""
    return (start + n * seconds for n in range(round((end - start) / seconds)))


def polls(turns: Iterable[float]) -> Iterator[tuple[float, float]]:
    """Yield when each poll of evenly spread workloads begins, and how late it is."""
    schedule = Schedule[Workload]()
    for n in range(WORKLOADS):
        plan(schedule, Workload((n + 0.5) / WORKLOADS), (n + 0.5) / RATE)
    for now in turns:
        while schedule.peek(now) <= now:
            late = now - schedule.first
            workload = schedule.pop(now)
            plan(schedule, workload, next_slot(workload.offset, INTERVAL, now + INTERVAL / 2))
            yield now, late


@pytest.mark.parametrize("seconds", [0.001, 0.015, 0.03, 0.1, 0.3, 0.9])
def test_a_busy_event_loop_does_not_make_a_fleet_fall_behind(seconds: float) -> None:
    begun = list(polls(every(seconds, 0, 100)))

    assert len(begun) == pytest.approx(100 * RATE, rel=0.02)
    assert max(late for _, late in begun) < 2.5 * seconds + 0.02


@pytest.mark.parametrize("pause", [0.05, 0.3, 5, 8, 34, 39, 3600])
def test_after_a_pause_no_second_has_many_more_polls_than_usual(pause: float) -> None:
    end = 100 + pause
    begun = list(polls([*every(0.01, 0, 100), *every(0.01, end, end + 150)]))

    counts = Counter(int(at - end) for at, _ in begun if at >= end)
    assert max(counts.values()) <= 1.12 * RATE
    assert max(late for at, late in begun if at >= end + 140) < 0.02
    assert counts[148] == RATE


def test_repeated_pauses_cause_no_burst_of_polls() -> None:
    begun = list(polls(now for n in range(10) for now in every(0.01, 15 * n, 15 * n + 12)))

    assert max(Counter(int(at) for at, _ in begun).values()) <= 1.12 * RATE


def test_after_a_pause_the_polls_of_a_small_fleet_are_at_most_a_second_apart() -> None:
    schedule = Schedule[Workload]()
    plan(schedule, Workload(0.1), 10.0)
    plan(schedule, Workload(0.5), 40.0)
    assert schedule.peek(100.0) == 100.0
    schedule.pop(100.0)
    assert schedule.peek(100.0) == pytest.approx(100 + 1 / 1.1)


def test_an_entry_whose_due_time_has_changed_is_skipped() -> None:
    schedule, removed, other = Schedule[Workload](), Workload(0.1), Workload(0.2)
    plan(schedule, removed, 10.0)
    plan(schedule, other, 12.0)
    removed.due = None
    assert (schedule.items(), schedule.count_due(11.0), schedule.count_due(12.0)) == ([other], 0, 1)
    assert schedule.first == 12.0
    assert schedule.pop(12.0) is other
    other.due = None
    assert schedule.peek(12.0) == float("inf")


def test_lateness_caused_by_a_limit_is_not_a_pause() -> None:
    schedule = Schedule[Workload]()
    for n in range(30):
        plan(schedule, Workload(0), 10 + n / 100)
    for n in range(400):
        plan(schedule, Workload(0), 10.5 + n / 4)
    for now in every(1 / 6, 10, 40):  # one each: six a second, of which four are needed
        if schedule.peek(now) <= now:
            schedule.pop(now)

    assert 40 - schedule.first < 0.3
