"""The fake control plane in a process of its own.

`python -m benchmarks.control_plane WORKLOADS CHANGES_PER_SECOND [TURNOVER]`, where TURNOVER is the share of
changes that replace a revision with a new one. It prints its address as a line of JSON and then reads
commands from stdin, until that ends:

- `go`, `rest`: start and stop the changes
- `down`, `up`: stop and start the server
- `slow`, `err`, `healthy`: for all workloads
- `hang ID`, `garbage ID`, `refuse ID STATUS`: for one workload, until `healthy`
- `phases PHASE…`: the phases that revisions change to
- `rows follow|silent|noisy`: what the rows of the list of workloads say of revisions
- `revoke`: revoke all tokens
- `identity SECONDS`, `authorization SECONDS`: restart a service
- `report`: print the record of what happened
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from typing import Literal

from runai_async.testing import FakeControlPlane

SLOW = 0.3
"""Seconds that each response takes when the server is slow."""
ROWS: dict[str, bool | Literal["noisy"]] = {"follow": True, "silent": False, "noisy": "noisy"}
PHASES = ("Running", "Degraded", "Stopped", "Pending", "Unknown")


class Changing:
    """A control plane whose revisions change at a given rate."""

    def __init__(
        self, control_plane: FakeControlPlane, workloads: int, rate: float, turnover: float = 0.0
    ) -> None:
        self.control_plane = control_plane
        self.rate = rate
        self.turnover = turnover
        self.phases: tuple[str, ...] = PHASES
        self.ids = [control_plane.add_workload() for _ in range(workloads)]
        self.revisions = [control_plane.add_revision(key, "Running") for key in self.ids]
        self.random = random.Random(7)

    async def change(self) -> None:
        """Change one revision after another until cancelled."""
        now = asyncio.get_running_loop().time
        due = now()
        while True:
            due += 1 / self.rate
            await asyncio.sleep(max(0.0, due - now()))
            if self.random.random() < self.turnover:
                self._replace(self.random.randrange(len(self.ids)))
            else:
                self.control_plane.set_phase(
                    self.random.choice(self.revisions), self.random.choice(self.phases)
                )

    def _replace(self, index: int) -> None:
        old, self.revisions[index] = (
            self.revisions[index],
            self.control_plane.add_revision(self.ids[index], "Running"),
        )
        self.control_plane.delete_revision(old)

    def behave(self, *words: str) -> None:
        """Be slow, fail in many ways, or be healthy again; or fail for one workload alone."""
        match words:
            case ["hang", workload_id]:
                self.control_plane.fault("hang", path=workload_id, times=None)
            case ["garbage", workload_id]:
                self.control_plane.fault("bad_json", path=workload_id, times=None)
            case ["refuse", workload_id, status]:
                self.control_plane.fail_next(None, int(status), path=workload_id)
            case ["identity", seconds]:
                self.control_plane.restart_identity(float(seconds))
            case ["authorization", seconds]:
                self.control_plane.restart_authorization(float(seconds))
            case ["phases", *phases]:
                self.phases = tuple(phases)
            case ["rows", rows]:
                self.control_plane.rows_follow_revisions = ROWS[rows]
            case ["slow" | "err" | "healthy" as mode]:
                self._behave_for_all(mode)
            case _:
                raise ValueError(f"unknown command: {words!r}")

    def _behave_for_all(self, mode: str) -> None:
        self.control_plane.clear_faults()
        self.control_plane.latency = SLOW if mode == "slow" else 0.0
        if mode == "err":
            for kind in ("reset", "truncate", "bad_json"):
                self.control_plane.fault(kind, times=None, rate=0.05)
            for status in (429, 500, 502, 503):
                self.control_plane.fail_next(None, status, body="<html>no</html>", rate=0.05)

    def report(self) -> str:
        """Return every change, the deleted revisions, and the times of the requests.

        `requested` are those for lists of revisions, `asked` are all.
        """
        deleted = [item.revision_id for item in self.control_plane.transitions if item.kind == "deleted"]
        changes = [
            [item.revision_id, item.phase, item.phase_updated_at]
            for item in self.control_plane.transitions
            if item.kind != "deleted"
        ]
        requested = [
            request.at for request in self.control_plane.requests if request.path.endswith("/revisions")
        ]
        asked = [request.at for request in self.control_plane.requests]
        return json.dumps({"changes": changes, "deleted": deleted, "requested": requested, "asked": asked})


async def serve(workloads: int, rate: float, turnover: float = 0.0) -> None:
    """Serve until stdin ends."""
    async with FakeControlPlane(record_limit=2_000_000, token_lifetime=86_400) as control_plane:
        changing = Changing(control_plane, workloads, rate, turnover)
        address = {"url": control_plane.url, "token": control_plane.token, "ids": changing.ids}
        credentials = {"client_id": control_plane.client_id, "client_secret": control_plane.client_secret}
        print(json.dumps(address | credentials), flush=True)
        changes: asyncio.Task[None] | None = None
        while words := (await asyncio.to_thread(sys.stdin.readline)).split():
            match words:
                case ["go"]:
                    changes = asyncio.create_task(changing.change())
                case ["rest"] if changes is not None:
                    changes.cancel()
                case ["down"]:
                    await control_plane.stop()
                case ["up"]:
                    await control_plane.start()
                case ["revoke"]:
                    control_plane.revoke_tokens()
                case ["report"]:
                    await asyncio.to_thread(print, changing.report(), flush=True)
                case _:
                    changing.behave(*words)


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), *map(float, sys.argv[2:])))
