"""A fleet in real time over sockets: 5,000 workloads, 10 s and three minutes, each divided by fifty."""

import asyncio
import logging
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import pytest

from runai_async import (
    FleetCheckpoint,
    FleetEvent,
    FleetWatch,
    PhaseChanged,
    PollPolicy,
    RevisionAdded,
    RevisionEvent,
    RunaiClient,
    WorkloadFailed,
)
from runai_async.testing import FakeControlPlane

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]
PHASES = ("Running", "Degraded", "Stopped", "Pending", "Unknown")
INTERVAL = 0.2
POLICY = PollPolicy(interval=INTERVAL, fast_interval=INTERVAL, max_outage=None)


class BusyControlPlane(FakeControlPlane):
    """A control plane with 100 workloads of one revision each, of which 50 change each second."""

    def __init__(self) -> None:
        super().__init__(seed=3)
        self.ids = [self.add_workload() for _ in range(100)]
        self.revisions = {key: self.add_revision(key, "Running") for key in self.ids}
        self.random = Random(3)

    async def change(self, seconds: float) -> None:
        for _ in range(int(50 * seconds)):
            self.set_phase(self.revisions[self.random.choice(self.ids)], self.random.choice(PHASES))
            await asyncio.sleep(1 / 50)

    def agrees(self, events: list[FleetEvent]) -> bool:
        """Return whether each revision was reported in order, at most once per change, up to the last one."""
        happened: dict[str, list[str | None]] = defaultdict(list)
        for change in self.transitions:
            happened[change.revision_id].append(change.phase_updated_at)
        reported: dict[str, list[str]] = defaultdict(list)
        for event in events:
            assert isinstance(event, RevisionAdded | PhaseChanged), event
            at = event.revision.phase_updated_at
            assert at is not None
            reported[event.revision_id].append(at.isoformat(timespec="microseconds").replace("+00:00", "Z"))
        rests = {key: iter(times) for key, times in happened.items()}
        return all(reported[key][-1:] == times[-1:] for key, times in happened.items()) and all(
            all(at in rests[key] for at in times) for key, times in reported.items()
        )


@pytest.fixture
async def runai_control_plane() -> AsyncIterator[BusyControlPlane]:
    asyncio.get_running_loop().set_debug(False)
    async with BusyControlPlane() as control_plane:
        yield control_plane


async def collect(fleet: FleetWatch, seconds: float, events: list[FleetEvent]) -> None:
    """Add to *events* those that arrive within *seconds*."""
    try:
        async with asyncio.timeout(seconds):
            async for event in fleet:
                events.append(event)  # noqa: PERF401  (they are kept after the timeout)
    except TimeoutError:
        pass


async def until_complete(
    control_plane: BusyControlPlane, fleet: FleetWatch, events: list[FleetEvent]
) -> None:
    async with asyncio.timeout(20):
        while not control_plane.agrees(events):
            await collect(fleet, INTERVAL, events)


async def test_the_stream_matches_the_record_of_the_server(
    control_plane: BusyControlPlane, runai: RunaiClient
) -> None:
    events: list[FleetEvent] = []
    async with runai.watch_fleet(control_plane.ids, poll=POLICY) as fleet:
        await asyncio.gather(control_plane.change(3.6), collect(fleet, 3.6, events))
        await until_complete(control_plane, fleet, events)

    ids = [event.id for event in events if isinstance(event, RevisionEvent)]
    assert len(ids) == len(set(ids)) > 150


async def test_an_outage_loses_nothing_and_logs_one_warning_and_one_recovery(
    control_plane: BusyControlPlane, runai: RunaiClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "runai_async")
    events: list[FleetEvent] = []
    async with runai.watch_fleet(control_plane.ids, poll=POLICY) as fleet:
        await collect(fleet, 0.6, events)
        await control_plane.stop()
        await asyncio.gather(control_plane.change(1.2), collect(fleet, 1.2, events))
        await control_plane.start()
        await until_complete(control_plane, fleet, events)

    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


@asynccontextmanager
async def life(control_plane: BusyControlPlane, saved: FleetCheckpoint | None) -> AsyncIterator[FleetWatch]:
    """Watch with a client of its own, as another process does."""
    async with RunaiClient(control_plane.url, control_plane.token) as runai:
        fleet = runai.watch_fleet(control_plane.ids, poll=POLICY, resume_from=saved)
        async with fleet:
            yield fleet


async def test_a_fleet_that_is_killed_and_resumed_reports_the_rest(
    control_plane: BusyControlPlane,
) -> None:
    random = Random(5)
    kept: list[FleetEvent] = []
    saved: FleetCheckpoint | None = None
    changing = asyncio.create_task(control_plane.change(3.6))
    repeated: Counter[str] = Counter()
    for _ in range(6):
        async with life(control_plane, saved) as fleet:
            await collect(fleet, random.uniform(0.1, 0.7), kept)
            saved = FleetCheckpoint.from_json(fleet.checkpoint().to_json())
            lost: list[FleetEvent] = []
            await collect(fleet, random.uniform(0.0, 0.3), lost)
            repeated.update(event.id for event in lost if isinstance(event, RevisionEvent))
    async with life(control_plane, saved) as fleet:
        await asyncio.gather(changing, collect(fleet, 0.5, kept))
        await until_complete(control_plane, fleet, kept)

    ids = [event.id for event in kept if isinstance(event, RevisionEvent)]
    assert len(ids) == len(set(ids))
    assert repeated.keys() & set(ids)  # events after the checkpoint are repeated with the same id


async def test_four_kinds_of_failure_are_reported_once_per_streak(
    control_plane: BusyControlPlane, runai: RunaiClient
) -> None:
    hangs, forbidden, missing, garbage = control_plane.ids[:4]
    policy = PollPolicy(
        interval=INTERVAL, fast_interval=INTERVAL, max_outage=1.2, missing_grace=1.2, deadline=0.3
    )

    def inject_faults() -> None:
        control_plane.fault("hang", path=hangs, times=None)
        control_plane.fail_next(None, 403, path=forbidden)
        control_plane.fail_next(None, 404, path=missing)
        control_plane.fault("bad_json", path=garbage, times=None)

    async def failures(fleet: FleetWatch) -> dict[str, str]:
        """Return which workloads fail, and with what, when all four are reported and some time has passed."""
        events: list[FleetEvent] = []
        async with asyncio.timeout(15):
            while len(found := [e for e in events if isinstance(e, WorkloadFailed)]) < 4:
                await collect(fleet, 0.2, events)
        await collect(fleet, 1.0, events)
        assert len(found) == len([e for e in events if isinstance(e, WorkloadFailed)])
        return {event.workload_id: type(event.error).__name__ for event in found}

    expected = {
        hangs: "WatchOutageError",
        forbidden: "PermissionDeniedError",
        missing: "NotFoundError",
        garbage: "WatchOutageError",
    }
    inject_faults()
    async with runai.watch_fleet(control_plane.ids, poll=policy) as fleet:
        assert await failures(fleet) == expected
        control_plane.clear_faults()
        healthy: list[FleetEvent] = []
        async with asyncio.timeout(30):
            while not set(control_plane.ids[:4]) <= {event.workload_id for event in healthy}:
                await collect(fleet, 0.5, healthy)
        inject_faults()
        assert await failures(fleet) == expected


async def test_a_sleeping_consumer_loses_nothing_and_the_buffer_stays_bounded(
    control_plane: BusyControlPlane, runai: RunaiClient
) -> None:
    events: list[FleetEvent] = []
    async with runai.watch_fleet(control_plane.ids, poll=POLICY, buffer=20, max_concurrency=10) as fleet:
        await asyncio.gather(control_plane.change(0.6), asyncio.sleep(0.6))
        assert 20 <= fleet.status.buffered <= 30
        await until_complete(control_plane, fleet, events)
