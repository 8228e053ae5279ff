"""The progress of a rollout in a log: never silent for long."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from attrs import evolve
from support.samples import NOW, revision

from runai_async._api.server_time import ServerTime
from runai_async.cli.exits import ReaderGoneError
from runai_async.cli.line_writer import LineWriter
from runai_async.cli.views.progress import Progress
from runai_async.errors import TransportError
from runai_async.events import ClusterDisconnected, RevisionStalled
from runai_async.models import Phase
from runai_async.testing import FakeClock


class Log:
    """What a gate printed, without the times."""

    def __init__(self, captured: pytest.CaptureFixture[str]) -> None:
        self._captured = captured

    async def read(self) -> list[str]:
        for _ in range(5):  # a task of its own writes the lines
            await asyncio.sleep(0)
        text = self._captured.readouterr().out
        return [re.sub(r"^ *[0-9hms]+  ", "", line) for line in text.splitlines()]


@pytest.fixture
def log(capsys: pytest.CaptureFixture[str]) -> Log:
    return Log(capsys)


@asynccontextmanager
async def waiting(clock: FakeClock) -> AsyncIterator[Progress]:
    progress = Progress(600.0, clock)
    async with progress.live():
        await asyncio.sleep(0)
        yield progress


async def test_a_log_gets_a_line_every_thirty_seconds(log: Log) -> None:
    clock = FakeClock()
    async with waiting(clock) as progress:
        progress.revision(evolve(revision(), phase=Phase.PENDING, phase_updated_at=clock.now()))
        (changed,) = await log.read()
        await clock.advance(29)
        assert await log.read() == []
        await clock.advance(2)
        await clock.advance(30)
        first, second = await log.read()
    name = revision().name
    assert changed.startswith(f"{name}  Pending")
    assert re.fullmatch(rf"still waiting for the rollout: {name} is Pending for 3\ds, \d/1-4 pods", first)
    assert re.fullmatch(rf"still waiting for the rollout: {name} is Pending for 1m00s, \d/1-4 pods", second)


async def test_what_is_still_waited_for_is_as_old_as_it_is_by_the_server_s_clock(log: Log) -> None:
    clock = FakeClock(now=NOW)
    async with waiting(clock) as progress:
        progress.times.server = ServerTime(clock)
        progress.times.server.note({"Date": "Thu, 01 Jan 2026 10:00:00 GMT"})
        begun = NOW - timedelta(hours=2, minutes=10)
        progress.revision(evolve(revision(), phase=Phase.PENDING, phase_updated_at=begun))
        await clock.advance(31)
        assert "is Pending for 10m," in (await log.read())[-1]


async def test_a_revision_that_has_stalled_is_a_line(log: Log) -> None:
    clock = FakeClock()
    item = evolve(revision(), phase=Phase.PENDING)
    async with waiting(clock) as progress:
        progress.stalled(
            RevisionStalled(revision=item, observed_at=clock.now(), since=clock.now(), seconds=720.0)
        )
        assert await log.read() == [f"stalled: {item.name} has been Pending for 12m"]


async def test_a_cluster_that_is_lost_is_a_line(log: Log) -> None:
    async with waiting(FakeClock(now=NOW)) as progress:
        seen = NOW - timedelta(minutes=12)
        progress.cluster(ClusterDisconnected(cluster_id="c", name="eu-1", last_seen_at=seen, observed_at=NOW))
        assert await log.read() == ["cluster eu-1 lost its connection 12m ago: states may be out of date"]


async def test_a_change_makes_the_next_line_thirty_seconds_later(log: Log) -> None:
    clock = FakeClock()
    async with waiting(clock) as progress:
        await clock.advance(20)
        progress.revision(None)
        await clock.advance(20)
        assert await log.read() == ["waiting for the new revision"]
        await clock.advance(11)
        assert await log.read() == ["still waiting for the new revision"]


async def test_in_an_outage_the_line_says_since_when_and_why(log: Log) -> None:
    clock = FakeClock()
    async with waiting(clock) as progress:
        progress.revision(evolve(revision(), phase_updated_at=clock.now() - timedelta(hours=1)))
        progress.outage_began(TransportError("connection refused"))
        await log.read()
        await clock.advance(31)
        assert await log.read() == [
            "still waiting: the control plane has not responded for 30s: connection refused"
        ]
        progress.outage_ended(31.0)
        await clock.advance(31)
        assert (await log.read())[-1].startswith(f"still waiting for the rollout: {revision().name}")


async def test_before_the_first_response_it_says_so(log: Log) -> None:
    clock = FakeClock()
    async with waiting(clock):
        await clock.advance(31)
    assert await log.read() == ["still waiting for the first response"]
    await clock.advance(100)
    assert await log.read() == []


class Gone(LineWriter):
    """A stream whose reader has gone."""

    async def write(self, line: str | bytes) -> None:
        raise ReaderGoneError


async def test_once_the_reader_has_gone_lines_are_printed_where_that_ends_the_command(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runai_async.cli.views.log.LineWriter", Gone)
    monkeypatch.setattr("runai_async.cli.views.log._PATIENCE", 0.05)
    async with waiting(FakeClock()) as progress:
        progress.revision(None)
        assert await log.read() == []
        progress.outage_began(TransportError("connection refused"))
        assert await log.read() == ["outage began: connection refused"]
