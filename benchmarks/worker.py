"""The process of one side, `python -m benchmarks.worker SIDE URL`: an amount in, a sample out."""

from __future__ import annotations

import asyncio
import gc
import importlib
import sys

from benchmarks.measure import Side, told


async def work(side: Side, url: str) -> None:
    """Run turns until stdin ends. Between them nothing else is to happen here, so reading may block."""
    async with side(url) as run:
        for line in sys.stdin:
            gc.collect()
            print(told(await run(int(line))), flush=True)


def main(name: str, url: str) -> None:
    """Find a side and run it in the event loop that its name asks for."""
    name, _, loop = name.partition("+")
    module, _, attribute = name.partition(":")
    side: Side = getattr(importlib.import_module(f"benchmarks.clients.{module}"), attribute)
    factory = importlib.import_module(loop).new_event_loop if loop else None
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(work(side, url))


if __name__ == "__main__":
    main(*sys.argv[1:])
