"""The clock that a test moves."""

import asyncio
from datetime import UTC, datetime, timedelta

from runai_async.testing import FakeClock


async def test_the_clock_stands_still_until_it_is_moved() -> None:
    clock = FakeClock(start=5.0, now=datetime(2026, 3, 1, tzinfo=UTC))
    await asyncio.sleep(0.01)
    assert (clock.monotonic(), clock.now()) == (5.0, datetime(2026, 3, 1, tzinfo=UTC))

    await clock.advance(2.5)

    assert (clock.monotonic(), clock.now()) == (
        7.5,
        datetime(2026, 3, 1, tzinfo=UTC) + timedelta(seconds=2.5),
    )


async def test_advancing_wakes_each_sleeper_at_its_time_and_in_order() -> None:
    clock = FakeClock()
    log: list[tuple[str, float]] = []

    async def ticks(name: str, period: float) -> None:
        while True:
            await clock.sleep(period)
            log.append((name, clock.monotonic()))

    tasks = [asyncio.create_task(ticks("a", 2)), asyncio.create_task(ticks("b", 3))]
    await clock.advance(6)
    for task in tasks:
        task.cancel()

    assert log == [("a", 2), ("b", 3), ("a", 4), ("b", 6), ("a", 6)]
    assert clock.sleeps == [2, 3, 2, 3, 2, 3, 2]


async def test_the_clock_jumps_when_all_tasks_wait() -> None:
    clock = FakeClock(auto=True)
    woken: list[float] = []

    async def sleeper(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(clock.monotonic())

    await asyncio.gather(*(sleeper(seconds) for seconds in (3600, 60, 86400)))

    assert woken == [60, 3600, 86400]


async def test_a_cancelled_sleeper_is_not_waited_for() -> None:
    clock = FakeClock()
    task = asyncio.create_task(clock.sleep(10))
    await asyncio.sleep(0)
    task.cancel()
    await clock.advance(20)

    assert task.cancelled()
    assert clock.monotonic() == 20


async def test_the_clock_does_not_jump_for_a_cancelled_sleeper() -> None:
    clock = FakeClock(auto=True)
    task = asyncio.create_task(clock.sleep(10))
    for _ in range(3):  # it sleeps, and the clock waits for all other tasks
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})
    for _ in range(50):
        await asyncio.sleep(0)

    assert clock.monotonic() == 0


async def test_a_sleep_of_zero_lets_others_run() -> None:
    clock = FakeClock()
    await clock.sleep(0)
    await clock.sleep(-1)

    assert clock.monotonic() == 0


def test_the_wall_clock_can_jump_alone() -> None:
    clock = FakeClock(now=datetime(2026, 1, 1, tzinfo=UTC))
    clock.shift_now(-3600)

    assert (clock.now(), clock.monotonic()) == (datetime(2025, 12, 31, 23, tzinfo=UTC), 0)
