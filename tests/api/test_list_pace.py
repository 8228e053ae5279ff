"""How often the library lists workloads by itself: a tenth of the time at most, and one listing at a time."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runai_async._api.list_pace import ListGate, Pace, Stopwatch, rest_after, rest_ratio
from runai_async.testing import FakeClock

LISTINGS = st.lists(
    st.tuples(st.floats(0, 100), st.sampled_from([True, False, None]), st.floats(0, 500)), max_size=30
)
"""What each listing took, whether it failed, and how long the fleet itself would have waited after it."""


@given(LISTINGS, st.integers(1, 8))
def test_listing_takes_a_tenth_of_the_time_at_most_also_where_several_processes_share_it(
    listings: list[tuple[float, bool | None, float]], shards: int
) -> None:
    pace, now, busy = Pace(), 0.0, 0.0
    for seconds, failed, wanted in listings:
        begins = max(now, pace.not_before)
        busy += seconds
        now = begins + seconds
        pace.record(now, seconds, failed=failed, ratio=rest_ratio(shards))
        assert busy * shards <= 0.1 * pace.not_before + 1e-6
        now += wanted


def test_each_failure_in_a_row_doubles_the_rest_up_to_five_minutes_or_nine_times_the_listing() -> None:
    assert [rest_after(2, failures) for failures in range(8)] == [18, 18, 36, 72, 144, 288, 300, 300]
    assert [rest_after(60, failures) for failures in range(3)] == [540, 540, 540]
    assert rest_after(30, 10**6) == 300


def test_a_cancelled_listing_neither_begins_nor_ends_a_row_of_failures() -> None:
    pace, rests = Pace(), list[float]()
    for failed in (True, None, True, False, None, True):
        pace.record(0, 1, failed=failed)
        rests.append(pace.rest)
    assert rests == [9, 9, 18, 9, 9, 9]


async def test_a_process_that_stood_still_kept_no_server_busy() -> None:
    clock = FakeClock()
    watch = Stopwatch(clock, longest=60)
    for seconds in (5, 8 * 3600):
        with watch.step():
            await clock.advance(seconds)
    assert watch.seconds == 65


async def test_listings_go_one_by_one_in_the_order_in_which_they_were_wanted() -> None:
    clock, gate = FakeClock(), ListGate()
    spans: list[tuple[str, float, float]] = []

    async def lists(name: str, seconds: float) -> None:
        watch = Stopwatch(clock, 60)
        async with gate.turn(watch):
            began = clock.monotonic()
            with watch.step():
                await clock.sleep(seconds)
            spans.append((name, began, clock.monotonic()))

    tasks = [asyncio.create_task(lists(name, seconds)) for name, seconds in (("a", 2), ("b", 4), ("c", 1))]
    await clock.advance(100)
    assert all(task.done() for task in tasks)
    assert spans == [("a", 0, 2), ("b", 20, 24), ("c", 60, 61)]
    assert gate.rest == 9


@pytest.mark.parametrize("ends", ["fails", "is cancelled"])
async def test_a_listing_that_does_not_succeed_is_rested_from_too(ends: str) -> None:
    clock, gate = FakeClock(), ListGate()
    watch = Stopwatch(clock, 60)

    async def lists() -> None:
        async with gate.turn(watch):
            with watch.step():
                await clock.sleep(10)
                raise OSError("no route")

    task = asyncio.create_task(lists())
    await clock.advance(5 if ends == "is cancelled" else 10)
    task.cancel()
    await asyncio.wait({task})
    assert gate.rest == (45 if ends == "is cancelled" else 90)

    async with asyncio.timeout(5):
        waiting = asyncio.create_task(_turn(gate, clock))
        await clock.advance(gate.rest - 1)
        assert not waiting.done()
        await clock.advance(1)
        await waiting


async def _turn(gate: ListGate, clock: FakeClock) -> None:
    async with gate.turn(Stopwatch(clock, 60)):
        pass
