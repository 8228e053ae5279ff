"""A fleet against the model of the control plane: every workload has the guarantees of a watch."""

import asyncio
import json
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Literal
from uuid import UUID

import pytest
from support.clocks import SocketlessClock
from support.fleets import trusting
from support.guarantees import check, check_order, summary_of
from support.model import AHEAD, ConsumerModel, ControlPlaneModel, EventSummary, RawRevision, body_of

from runai_async import (
    Checkpoint,
    FleetCheckpoint,
    FleetWatch,
    HookEvent,
    PollFinished,
    PollPolicy,
    RetryPolicy,
    RevisionEvent,
    RunaiClient,
)
from runai_async.testing import Request, Response

RUNS = 6
GRACE = 30.0
INTERVAL = 10.0
STALLED_AFTER = 40.0
LATENCY = 2.0
RELAXED = 30.0
Rows = Literal["given", "follow", "silent", "noisy"]
"""What the rows of the list say of a workload's revisions, if there is a list."""
HTML_502 = Response(502, body=b"<html>Bad Gateway</html>")
NOT_FOUND = Response(404, body=b'{"code": 404, "message": "no such revision"}')


class Workload:
    """One workload: its revisions, the responses about it, and the events that are expected."""

    def __init__(
        self, workload_id: str, random: Random, *, emit_updates: bool, stalled_after: float | None
    ) -> None:
        self.id = workload_id
        self.control_plane = ControlPlaneModel(random, workload_id)
        self.consumer = ConsumerModel(
            emit_updates=emit_updates, stalled_after=stalled_after, longest_cut=INTERVAL
        )
        self.events: list[RevisionEvent] = []
        self.responded: dict[str, list[tuple[str, str]]] = defaultdict(list)
        self.listed: list[RawRevision] = []
        self.found: dict[str, RawRevision | None] = {}
        self.remembered = Checkpoint(workload_id)
        self.row = 0  # how often it has changed
        self.reads = 0

    def step(self, rows: Rows) -> None:
        """Change something, which the row of the list may show."""
        self.control_plane.step()
        self.row += rows == "follow"

    def row_now(self, rows: Rows) -> dict[str, object]:
        """Return the row of the list of workloads."""
        self.reads += 1
        return {
            "type": "Inference",
            "name": "llm",
            "id": self.id,
            "clusterId": "c",
            "projectId": "1",
            "phase": "Running",
            "createdAt": "2026-01-01T00:00:00Z",
            "runningPods": self.reads if rows == "noisy" else self.row,
        }

    def take_in(self, at: float, all_missing_grace: float) -> None:
        """Take in the responses to one successful poll."""
        for item in (*self.listed, *filter(None, self.found.values())):
            self.responded[item["id"]].append((item["phaseMessage"], item["phase"]))
        self.consumer.expect(self.listed, self.found, at=at, grace=GRACE, all_missing_grace=all_missing_grace)

    def deliver(self, event: RevisionEvent) -> tuple[int, EventSummary]:
        """Check an event that was delivered, and return the poll that it came from."""
        summary = summary_of(event)
        self.events.append(event)
        if event.kind == "deleted":
            assert event.revision_id not in self.control_plane.live()
        return self.consumer.deliver(summary), summary

    def checkpoint(self) -> Checkpoint:
        return self.remembered


class Run:
    """Three workloads, a fleet that is killed and resumed, and a consumer that is often too slow."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.clock = SocketlessClock(now=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=AHEAD))
        emit_updates, stalled_after = seed % 3 == 0, STALLED_AFTER if seed % 2 else None
        ids = [str(UUID(int=self.random.getrandbits(128), version=4)) for _ in range(3)]
        self.workloads = {
            key: Workload(key, self.random, emit_updates=emit_updates, stalled_after=stalled_after)
            for key in ids
        }
        self.policy = PollPolicy(
            interval=INTERVAL,
            fast_interval=5,
            missing_grace=GRACE,
            max_outage=None,
            stalled_after=stalled_after,
            emit=frozenset({"updated"} if emit_updates else ()),
        )
        self.rows: Rows = ("given", "follow", "silent", "noisy")[seed % 4]
        # What the list still names is doubted for as long as an outage is waited out.
        self.all_missing_grace = 5 * GRACE if self.rows == "given" else 900.0
        self.counts: Counter[str] = Counter()
        self.is_sound = False

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    # --- the transport ------------------------------------------------------------------------------------

    async def send(self, request: Request, *, timeout: float, deadline: float) -> Response:
        assert (timeout, request.headers) == (30, {"Authorization": "Bearer token"})
        await self.clock.sleep(self.random.choice((0.0, 0.0, LATENCY / 4)))
        if not self.is_sound and self.chance(0.1):
            self.counts["failed request"] += 1
            return HTML_502
        *_, before, last = request.url.path.split("/")
        if last == "workloads":
            rows = [workload.row_now(self.rows) for workload in self.workloads.values()]
            return Response(body=json.dumps({"workloads": rows}).encode())
        if before == "revisions":
            return self.one(last)
        workload = self.workloads[before]
        if request.url.query.get("deleted") == "true":
            return self.deleted(workload)
        is_stale = not self.is_sound and self.chance(0.2)
        workload.listed, workload.found = workload.control_plane.listed_by_a_replica(stale=is_stale), {}
        for item in workload.listed:
            known = workload.consumer.latest.get(item["id"])
            self.counts["shown again"] += bool(known and known.deleted and "deletedAt" not in item)
        return Response(body=body_of(*workload.listed))

    def deleted(self, workload: Workload) -> Response:
        deleted, missing = workload.control_plane.deleted(), workload.consumer.missing_from(workload.listed)
        workload.found.update((item["id"], item) for item in deleted if item["id"] in missing)
        return Response(body=body_of(*deleted))

    def one(self, revision_id: str) -> Response:
        """Respond to a request by id; an early 404 may be wrong."""
        workload = self.workloads[revision_id[-36:]]
        item = workload.control_plane.get(revision_id)
        now = self.clock.monotonic()
        age = now - workload.consumer.missing_since(revision_id, now)
        if not self.is_sound and age + LATENCY < GRACE and self.chance(0.3):
            self.counts["wrong 404"] += item is not None
            item = None
        workload.found[revision_id] = item
        return NOT_FOUND if item is None else Response(body=json.dumps(item).encode())

    async def aclose(self) -> None:
        pass

    def hook(self, event: HookEvent) -> None:
        """Take in the responses to a successful poll at the moment when the fleet does."""
        if isinstance(event, PollFinished) and event.error is None:
            self.workloads[event.workload_id].take_in(self.clock.monotonic(), self.all_missing_grace)

    # --- the run ------------------------------------------------------------------------------------------

    async def play(self) -> "Run":
        runai = RunaiClient(
            "https://acme.example",
            "token",
            transport=self,
            clock=self.clock,
            hooks=[self.hook],
            retry=RetryPolicy(attempts=1),
        )
        saved: FleetCheckpoint | None = None
        for _ in range(self.random.randrange(1, 4)):
            async with self.watch(runai, saved) as fleet:
                await self.live(fleet, self.random.randrange(2, 25))
                saved = FleetCheckpoint.from_json(fleet.checkpoint().to_json())
            self.counts["resumed"] += 1
            self.counts["hinted"] += fleet.status.changes_hinted
            self.counts["dropped by a resume"] += fleet.status.buffered
            for workload in self.workloads.values():
                workload.consumer.resume()
        async with self.watch(runai, saved) as fleet:
            await self.rest(fleet)
            self.counts["relaxed"] += any(member.interval == RELAXED for member in fleet._members)
        await runai.aclose()
        for workload in self.workloads.values():
            workload.remembered = fleet.checkpoint(workload.id)
            check(workload)
        return self

    def watch(self, runai: RunaiClient, saved: FleetCheckpoint | None) -> FleetWatch:
        given = self.rows == "given"
        fleet = runai.watch_fleet(
            list(self.workloads) if given else runai.inference_workloads,
            poll=self.policy,
            buffer=4,
            max_concurrency=2,
            resume_from=saved,
            discovery_interval=3,
            relaxed_interval=None if given else RELAXED,
        )
        return fleet if given else trusting(fleet)

    async def live(self, fleet: FleetWatch, rounds: int) -> None:
        for _ in range(rounds):
            for workload in self.workloads.values():
                for _ in range(self.random.randrange(4)):
                    workload.step(self.rows)
            await self.clock.advance(self.random.choice((0.2, 2.0, 5.0, 12.0)))
            await self.deliver(fleet, hurried=self.chance(0.5))
        for workload in self.workloads.values():
            workload.step(self.rows)
        await self.clock.advance(self.random.choice((0.2, 12.0)))  # the kill comes before these events

    async def rest(self, fleet: FleetWatch) -> None:
        """Let nothing change or fail, for long enough to find out everything."""
        self.is_sound = True
        most = max(len(workload.consumer.latest) for workload in self.workloads.values())
        doubted = int(self.all_missing_grace / INTERVAL) + int(RELAXED / INTERVAL)
        for _ in range(2 * most + doubted + 10):  # losing all is doubted for long
            await self.clock.advance(10)
            await self.deliver(fleet)

    async def deliver(self, fleet: FleetWatch, *, hurried: bool = False) -> None:
        """Take events; a *hurried* consumer leaves some for later."""
        batches: dict[str, list[tuple[int, EventSummary]]] = defaultdict(list)
        while fleet.status.buffered and not (hurried and self.chance(0.3)):
            event = await anext(fleet)
            assert isinstance(event, RevisionEvent), event
            poll, summary = self.workloads[event.workload_id].deliver(event)
            batches[event.workload_id].append((poll, summary))
            self.counts["coalesced" if summary.coalesced else event.kind] += 1
        for batch in batches.values():
            check_order(batch)


LEAST = {
    "coalesced": 0.3,
    "deleted": 0.3,
    "resumed": 0.3,
    "dropped by a resume": 0.3,
    "failed request": 0.3,
    "hinted": 0.3,
    "relaxed": 0.5,
    "wrong 404": 0.1,
    "shown again": 0.1,
    "updated": 0.1,
    "stalled": 0.3,
}
"""The least part of the runs in which each case must occur."""


async def one(seed: int) -> Run:
    try:
        return await Run(seed).play()
    except AssertionError as error:
        error.add_note(f"seed {seed}")
        raise


@pytest.mark.parametrize(
    "runs", [RUNS, pytest.param(100, marks=[pytest.mark.slow, pytest.mark.timeout(180)])]
)
async def test_a_fleet_delivers_for_each_workload_what_the_model_expects(runs: int) -> None:
    asyncio.get_running_loop().set_debug(False)  # its tracebacks would take most of the time
    met: Counter[str] = Counter()
    for seed in range(runs):
        run = await one(seed)
        met.update(case for case, count in run.counts.items() if count)
    assert {case: met[case] for case, least in LEAST.items() if met[case] < least * runs} == {}
