"""The process of one client, `python -m benchmarks.worker CLIENT URL`: reads amounts, writes samples."""

from __future__ import annotations

import asyncio
import gc
import importlib
import sys

from benchmarks.measure import Client, encode


async def work(client: Client, url: str) -> None:
    """Run turns until stdin ends. Nothing else may run between turns, so reading may block the loop."""
    async with client(url) as run:
        for line in sys.stdin:
            gc.collect()
            print(encode(await run(int(line))), flush=True)


def main(name: str, url: str) -> None:
    """Find a client and run it in the event loop that its name asks for."""
    name, _, loop = name.partition("+")
    module, _, attribute = name.partition(":")
    client: Client = getattr(importlib.import_module(f"benchmarks.clients.{module}"), attribute)
    factory = importlib.import_module(loop).new_event_loop if loop else None
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(work(client, url))


if __name__ == "__main__":
    main(*sys.argv[1:])
