"""The event loop whose time does not depend on the machine."""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

import pytest
from support.loops import WorkTimeLoop


def seconds_of(work: Coroutine[Any, Any, object]) -> float:
    """Return how much of the loop's time some work takes."""

    async def measured() -> float:
        loop = asyncio.get_running_loop()
        began = loop.time()
        await work
        return loop.time() - began

    with asyncio.Runner(debug=False, loop_factory=WorkTimeLoop) as runner:
        return runner.run(measured())


def test_a_long_sleep_is_short_and_takes_its_time_all_the_same() -> None:
    began = time.monotonic()

    assert seconds_of(asyncio.sleep(60)) == pytest.approx(60, abs=0.1)
    assert time.monotonic() - began < 30  # 600 steps


def test_timers_keep_their_order() -> None:
    ended: list[float] = []

    async def sleep(seconds: float) -> None:
        await asyncio.sleep(seconds)
        ended.append(seconds)

    async def sleep_all() -> None:
        await asyncio.gather(*map(sleep, (3.0, 0.05, 1.0)))

    assert seconds_of(sleep_all()) == pytest.approx(3, abs=0.1)
    assert ended == [0.05, 1.0, 3.0]


def test_work_takes_time_and_being_kept_from_it_does_not() -> None:
    async def work() -> None:
        until = time.thread_time() + 0.05
        while time.thread_time() < until:
            pass

    async def wait_for_the_machine() -> None:
        time.sleep(0.2)

    assert seconds_of(work()) >= 0.05
    assert seconds_of(wait_for_the_machine()) < 0.1


def test_a_response_that_is_on_its_way_arrives_before_a_timeout() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        time.sleep(0.2)  # the machine is busy
        writer.write(b"pong\n")
        writer.close()

    async def exchange() -> None:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"ping\n")
            async with asyncio.timeout(0.15):
                assert await reader.readline() == b"pong\n"
            writer.close()

    assert seconds_of(exchange()) < 0.15
