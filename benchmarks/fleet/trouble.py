"""Four workloads are in trouble, each in its own way; then they are well for a while; then once more."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

from benchmarks.fleet.size import Counts, Size
from benchmarks.record import PATIENCE, Line, Plane, delays, judged, read, settled, told, written, wrong
from runai_async import HookEvent, PollFinished, RunaiClient, WorkloadFailed

MAX_OUTAGE = 60.0
"""Seconds."""
BEFORE, SPELL, WELL = 6, 12, 2
"""Intervals: before the first spell, of each, and between them when all are well again."""
TROUBLES = {
    "hang": "WatchOutageError",
    "refuse 403": "PermissionDeniedError",
    "refuse 404": "NotFoundError",
    "garbage": "WatchOutageError",
}
"""What the control plane does to a workload, and as what it is to be told."""
DELAY = "delay of the others ÷ interval, p50 p99 max"


class Recovery:
    """Waits for good polls."""

    def __init__(self) -> None:
        self._waiting: set[str] = set()

    def hook(self, event: HookEvent) -> None:
        """Note a good poll."""
        if isinstance(event, PollFinished) and event.error is None:
            self._waiting.discard(event.workload_id)

    async def of(self, ids: Iterable[str], interval: float) -> bool:
        """Wait until each was polled well, or patience ends; return whether they were."""
        self._waiting = set(ids)
        for _ in range(PATIENCE):
            await asyncio.sleep(interval)
            if not self._waiting:
                return True
        return False


class Spell(NamedTuple):
    """A time of trouble, by `time.time()`."""

    start: float
    end: float

    def of(self, lines: Iterable[Line]) -> list[Line]:
        """Return what was heard in it."""
        return [line for line in lines if self.start <= line.heard < self.end]


async def _spell(control_plane: Plane, troubled: dict[str, str], size: Size) -> Spell:
    """Let some be in trouble for a while, and all be well again."""
    start = time.time()
    for workload_id, trouble in troubled.items():
        word, *how = trouble.split()
        control_plane.say(word, workload_id, *how)
    await asyncio.sleep(SPELL * size.interval)
    control_plane.say("well")
    return Spell(start, time.time())


def _failures(lines: Iterable[Line]) -> list[Line]:
    return [line for line in lines if line.kind == WorkloadFailed.kind]


def _others(
    lines: Collection[Line], record: dict[str, Any], troubled: Collection[str]
) -> tuple[list[Line], dict[str, Any]]:
    """Return what was told, and what happened, without the workloads in trouble."""
    theirs = {line.revision_id for line in lines if line.workload_id in troubled}
    changes = [change for change in record["changes"] if change[0] not in theirs]
    return [line for line in lines if line.workload_id not in troubled], record | {"changes": changes}


async def story(control_plane: Plane, size: Size) -> Counts:
    """Run it and return what was seen."""
    interval, recovery = size.interval, Recovery()
    troubled = dict(zip(control_plane.ids, TROUBLES, strict=False))
    expected = sorted((workload_id, TROUBLES[trouble]) for workload_id, trouble in troubled.items())
    with tempfile.TemporaryFile("w+", encoding="utf-8") as file:
        async with (
            RunaiClient(control_plane.url, control_plane.token, hooks=[recovery.hook]) as runai,
            runai.watch_fleet(control_plane.ids, poll=size.policy(MAX_OUTAGE)) as fleet,
            written(fleet, file),
        ):
            await asyncio.sleep(1.5 * interval)
            control_plane.say("go")
            began = time.time()
            await asyncio.sleep(BEFORE * interval)
            first = await _spell(control_plane, troubled, size)
            well = await recovery.of(troubled, interval)
            await asyncio.sleep(WELL * interval)
            again = await _spell(control_plane, troubled, size)
            control_plane.say("rest")
            figures = await settled(
                lambda: judged(*_others(read(file), control_plane.report(), troubled)), interval
            )
        lines = read(file)

    spells = {"first": first, "second": again}
    others = [line for line in lines if line.workload_id not in troubled]
    seen = {f"{DELAY}: before": delays(Spell(began, first.start).of(others), interval)}
    found = wrong(figures)
    for name, spell in spells.items():
        failures = _failures(spell.of(lines))
        seen[f"{DELAY}: {name} spell"] = delays(spell.of(others), interval)
        seen[f"seconds until told, {name} spell"] = ", ".join(
            f"{troubled.get(line.workload_id)}: {line.heard - spell.start:.3g}" for line in failures
        )
        if sorted((line.workload_id, line.phase) for line in failures) != expected:
            found.append(f"troubles of the {name} spell")
    if len(_failures(lines)) != len(spells) * len(TROUBLES):
        found.append("troubles told between the spells")
    if not well:
        found.append("workloads not well again")
    return seen | told(figures), found
