"""The fake control plane in a process of its own: `python -m benchmarks.plane WORKLOADS CHANGES_PER_SECOND`.

It says where it is over stdout, as a line of JSON, and then obeys the words that come over stdin: `go` and
`rest` (begin and cease to change phases), `down` and `up`, `report`. It ends with its stdin.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys

from runai_async.testing import FakeControlPlane

PHASES = ("Running", "Degraded", "Stopped", "Pending", "Unknown")


class Changing:
    """A control plane whose revisions change their phase at a rate."""

    def __init__(self, plane: FakeControlPlane, workloads: int, rate: float) -> None:
        self.plane = plane
        self.rate = rate
        self.ids = [plane.add_workload() for _ in range(workloads)]
        self.revisions = [plane.add_revision(key, "Running") for key in self.ids]
        self.random = random.Random(7)

    async def change(self) -> None:
        """Change one after the other, at the rate, until cancelled."""
        now = asyncio.get_running_loop().time
        due = now()
        while True:
            due += 1 / self.rate
            await asyncio.sleep(max(0.0, due - now()))
            self.plane.set_phase(self.random.choice(self.revisions), self.random.choice(PHASES))

    def report(self) -> str:
        """Tell every change and when lists were asked for."""
        changes = [[item.revision_id, item.phase, item.phase_updated_at] for item in self.plane.transitions]
        asked = [request.at for request in self.plane.requests if request.path.endswith("/revisions")]
        return json.dumps({"changes": changes, "asked": asked})


async def serve(workloads: int, rate: float) -> None:
    """Serve until stdin ends."""
    async with FakeControlPlane(record_limit=2_000_000, token_lifetime=86_400) as plane:
        changing = Changing(plane, workloads, rate)
        print(json.dumps({"url": plane.url, "token": plane.token, "ids": changing.ids}), flush=True)
        changes: asyncio.Task[None] | None = None
        while word := (await asyncio.to_thread(sys.stdin.readline)).strip():
            if word == "go":
                changes = asyncio.create_task(changing.change())
            elif word == "rest" and changes is not None:
                changes.cancel()
            elif word == "down":
                await plane.stop()
            elif word == "up":
                await plane.start()
            elif word == "report":
                await asyncio.to_thread(print, changing.report(), flush=True)


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), float(sys.argv[2])))
