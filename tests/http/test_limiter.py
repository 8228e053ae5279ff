"""The limiter: slots in the order of the requests, deadlines, and no slot lost to a cancellation."""

import asyncio
import time

import pytest

from runai_async._clock import SystemClock
from runai_async._http.limiter import Limiter


def limiter(slots: int = 1) -> Limiter:
    return Limiter(slots, SystemClock())


def after(seconds: float) -> float:
    return time.monotonic() + seconds


async def waiting(limit: Limiter, count: int, deadline: float) -> list[asyncio.Task[None]]:
    """Return that many waiting tasks, in the order in which they wait."""
    tasks = [asyncio.create_task(limit.wait(deadline)) for _ in range(count)]
    await asyncio.sleep(0)
    return tasks


async def test_slots_are_taken_until_none_is_left() -> None:
    limit = limiter(2)
    assert [limit.take(), limit.take(), limit.take()] == [True, True, False]
    limit.give()
    assert limit.free == 1


async def test_a_slot_goes_to_whoever_has_waited_longest() -> None:
    limit = limiter()
    limit.take()
    tasks = await waiting(limit, 3, after(60))
    for number in range(3):
        limit.give()
        await asyncio.sleep(0)
        assert [task.done() for task in tasks] == [index <= number for index in range(3)]
        assert not limit.take()
    limit.give()
    assert limit.free == 1


async def test_a_wait_ends_at_its_deadline_and_the_others_continue() -> None:
    limit = limiter()
    limit.take()
    late, early = *(await waiting(limit, 1, after(60))), *(await waiting(limit, 1, after(0.01)))
    with pytest.raises(TimeoutError):
        await early
    assert not late.done()
    limit.give()
    await late
    assert limit.free == 0


async def test_each_wait_ends_at_its_own_deadline() -> None:
    limit = limiter()
    limit.take()
    tasks = [asyncio.create_task(limit.wait(after(0.01 * n))) for n in (2, 1, 3, 0)]
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [TimeoutError] * 4
    limit.give()
    assert limit.free == 1


async def test_a_deadline_skips_a_wait_that_was_cancelled() -> None:
    limit = limiter()
    limit.take()
    cancelled, *others = await waiting(limit, 3, after(0.01))
    cancelled.cancel()
    results = await asyncio.gather(*others, return_exceptions=True)
    assert [type(result) for result in results] == [TimeoutError] * 2
    assert cancelled.cancelled()


@pytest.mark.parametrize("turn_has_come", [False, True])
async def test_a_cancelled_wait_keeps_no_slot(turn_has_come: bool) -> None:
    limit = limiter()
    limit.take()
    (task,) = await waiting(limit, 1, after(60))
    if turn_has_come:
        limit.give()
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
    if not turn_has_come:
        limit.give()
    assert limit.free == 1


async def test_a_wait_that_is_cancelled_at_its_deadline_is_cancelled() -> None:
    limit = limiter()
    limit.take()
    (task,) = await waiting(limit, 1, after(0))
    limit._expire()
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
    limit.give()
    assert limit.free == 1
