"""Whether an outage is one of all workloads, or of single ones."""

import asyncio
import io

import pytest
from attrs import evolve
from rich.console import Console
from support.samples import NOW
from support.watched import Given, failed, succeeded

from runai_async import Synced, TransportError, WatchDegraded, WatchRecovered
from runai_async._api.server_time import ServerTime
from runai_async.cli.exits import OutputError
from runai_async.cli.shared_outage import OutageEvents
from runai_async.cli.views.terminal import LinesView
from runai_async.testing import FakeClock


def test_outages_of_single_workloads_are_events_of_their_own() -> None:
    events, error = OutageEvents(), TransportError("gone")
    lost = [WatchDegraded(workload_id=key, observed_at=NOW, error=error) for key in "ab"]
    back = [WatchRecovered(workload_id=key, observed_at=NOW, seconds=1.0) for key in "ab"]
    assert events.note_poll(failed("a"), 3) == []
    assert events.note(lost[0], 3) == []
    assert events.note_poll(succeeded("b"), 3) == [lost[0]]
    assert events.note_poll(succeeded("a"), 3) == []
    assert events.note(back[0], 3) == [back[0]]
    events.note_poll(failed("b"), 3)
    events.note(lost[1], 3)
    assert events.note(back[1], 3) == [lost[1], back[1]]
    assert events.note(lost[0], 1) == [lost[0]]  # all that is watched
    for key in "ab":
        events.note_poll(failed(key), 2)
    assert events.note(lost[0], 2) == [evolve(lost[0], workload_id="")]
    assert events.note(lost[1], 2) == []
    assert events.note(back[1], 2) == [evolve(back[1], workload_id="")]
    assert events.note(back[0], 2) == []


class Full(io.StringIO):
    """A stream on a full disk."""

    def write(self, text: str) -> int:
        if text:
            raise OSError(28, "No space left on device")
        return 0


async def test_an_outage_that_cannot_be_written_ends_the_command_with_the_next_event() -> None:
    view = LinesView(Console(file=Full()))
    view.follow(Given({"a": [], "b": []}), ServerTime(FakeClock()))
    async with view.live():
        view.hook(failed("a"))
        await view.display(WatchDegraded(workload_id="a", observed_at=NOW, error=TransportError("gone")))
        view.hook(succeeded("b"))
        while view._writing is None or not view._writing.done():
            await asyncio.sleep(0)
        with pytest.raises(OutputError):
            await view.display(Synced(workload_id="a", observed_at=NOW))
