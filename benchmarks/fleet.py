"""A fleet at full size, against a control plane that changes: `python -m benchmarks.fleet [--scale 50]`.

5,000 workloads at 10 s for three minutes with 50 changes a second; then the control plane is gone for a
minute and back. What the consumer was told is compared with the server's own record.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import statistics
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from benchmarks.processes import ROOT, ended
from runai_async import (
    ClientCredentials,
    FleetWatch,
    PhaseChanged,
    PollPolicy,
    RevisionAdded,
    RevisionEvent,
    RunaiClient,
)

WORKLOADS, INTERVAL, CHANGES = 5000, 10.0, 50.0
STEADY, OUTAGE, AFTER = 180.0, 60.0, 90.0


class Plane:
    """The control plane's process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        place = self._answer()
        self.url, self.token, self.ids = place["url"], place["token"], place["ids"]
        self.credentials = ClientCredentials(place["client_id"], place["client_secret"])

    def say(self, word: str) -> None:
        """Tell it to do something."""
        assert self._process.stdin is not None
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()

    def report(self) -> dict[str, Any]:
        """Ask for its record."""
        self.say("report")
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


class Told:
    """What the consumer was told, and how long after it happened."""

    def __init__(self) -> None:
        self.phases: dict[str, list[tuple[str, datetime | None]]] = defaultdict(list)
        self.ids: Counter[str] = Counter()
        self.delays: list[float] = []

    async def listen(self, fleet: FleetWatch) -> None:
        """Take events until the fleet is closed."""
        async for event in fleet:
            assert isinstance(event, RevisionEvent), event
            revision = event.revision
            self.ids[event.id] += 1
            if isinstance(event, RevisionAdded | PhaseChanged):
                self.phases[revision.id].append((revision.phase, revision.phase_updated_at))
            if isinstance(event, PhaseChanged) and revision.phase_updated_at is not None:
                self.delays.append((datetime.now(UTC) - revision.phase_updated_at).total_seconds())

    def untrue(self, changes: Iterable[list[str]]) -> int:
        """Count the revisions whose phases were told wrongly, or not to the last."""
        happened: dict[str, list[tuple[str, datetime]]] = defaultdict(list)
        for revision_id, phase, at in changes:
            happened[revision_id].append((phase, datetime.fromisoformat(at)))
        return sum(
            not is_subsequence(self.phases[key], all_of_it) or self.phases[key][-1:] != all_of_it[-1:]
            for key, all_of_it in happened.items()
        )


def is_subsequence(part: Iterable[object], whole: Iterable[object]) -> bool:
    """Tell whether all of *part* is in *whole*, in this order."""
    rest = iter(whole)
    return all(item in rest for item in part)


def _per_second(times: Iterable[float], start: float, seconds: float, width: float) -> list[int]:
    counts = Counter(int((at - start) / width) for at in times if start <= at < start + seconds)
    return [counts[n] for n in range(int(seconds / width))]


async def story(plane: Plane, scale: float) -> None:
    """Run it and print what was seen."""
    interval = INTERVAL / scale
    policy = PollPolicy(interval=interval, fast_interval=interval, max_outage=None)
    told = Told()
    async with (
        RunaiClient(plane.url, plane.token) as runai,
        runai.watch_fleet(plane.ids, poll=policy) as fleet,
    ):
        listener = asyncio.create_task(told.listen(fleet))
        await asyncio.sleep(1.5 * interval)
        plane.say("go")
        began, cpu = time.monotonic(), time.process_time()
        await asyncio.sleep(STEADY / scale)
        share = (time.process_time() - cpu) / (time.monotonic() - began)
        delays = sorted(told.delays)
        plane.say("down")
        down = time.monotonic()
        await asyncio.sleep(OUTAGE / scale)
        plane.say("up")
        up = time.monotonic()
        await asyncio.sleep(AFTER / scale)
        plane.say("rest")
        await asyncio.sleep(2 * interval)
        record = plane.report()
        await fleet.aclose()
        await listener

    steady = STEADY / scale - interval
    polls = _per_second(record["asked"], began + interval / 2, steady, 1 / scale)
    healthy = len(plane.ids) / interval
    back = _per_second(record["asked"], up, AFTER / scale, 1 / scale)
    tens = _per_second(record["asked"], up, AFTER / scale, interval)
    around = _per_second(record["asked"], down - interval, (OUTAGE + AFTER) / scale + interval, interval / 2)
    cuts = statistics.quantiles(delays, n=100)
    lines = {
        "workloads, interval": f"{len(plane.ids):,}, {interval:g} s; {CHANGES:g} changes a second",
        "told": f"{sum(told.ids.values()):,} events, {sum(n > 1 for n in told.ids.values())} of them twice",
        "revisions told untruly or not to the last": f"{told.untrue(record['changes'])}",
        "delay ÷ interval, p50 p99 max": " ".join(
            f"{value / interval:.2f}" for value in (cuts[49], cuts[98], delays[-1])
        ),
        "most polls in a second ÷ mean": f"{max(polls) / statistics.mean(polls):.2f}",
        "CPU share": f"{share:.3f} of a core",
        "resident, at most": f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB",
        f"after {up - down:.3g} s of outage": (
            f"most in a second {max(back) * scale / healthy:.2f} of the healthy rate, "
            f"in an interval {max(tens) / interval / healthy:.2f}"
        ),
        "of the healthy rate, each half interval": "from one before the outage on: "
        + " ".join(f"{2 * number / interval / healthy:.2f}" for number in around),
    }
    for name, value in lines.items():
        print(f"| {name:<42} | {value} |")


def main() -> None:
    """Read the command line and run it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet", description=__doc__)
    parser.add_argument("--scale", type=float, default=1, help="so many times smaller and quicker")
    scale = parser.parse_args().scale
    command = [sys.executable, "-m", "benchmarks.plane", str(int(WORKLOADS / scale)), str(CHANGES)]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with ended(process):
        asyncio.run(story(Plane(process), scale))


if __name__ == "__main__":
    main()
