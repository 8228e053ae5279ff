"""The drawings that are kept up to date, and the view of events for programs."""

import asyncio
import errno
import io
import json
import re

import pytest
from rich.console import Console, ConsoleDimensions
from rich.text import Text
from support.samples import NOW, WORKLOAD

from runai_async import ClusterDisconnected, Synced
from runai_async.cli.views.foreground import live
from runai_async.cli.views.watch import CloudEventView, ViewOptions

LOST = ClusterDisconnected(cluster_id="c", name="eu-1", last_seen_at=None, observed_at=NOW)


async def test_an_event_about_a_cluster_is_a_cloudevent(capsys: pytest.CaptureFixture[str]) -> None:
    view = CloudEventView(ViewOptions("Revisions of llm"))
    await view.display(LOST)
    await view.display(Synced(workload_id=WORKLOAD, observed_at=NOW))
    assert json.loads(capsys.readouterr().out)["type"] == "runai_async.cluster.disconnected"


async def test_a_line_is_drawn_again_and_removed_at_the_end() -> None:
    screen, states = Console(file=io.StringIO(), force_terminal=True, width=80), ["first"]
    assert isinstance(screen.file, io.StringIO)
    async with live(screen, lambda _width, _height: Text(states[-1])):
        while "first" not in screen.file.getvalue():
            await asyncio.sleep(0.001)
        states.append("last")
        while "last" not in screen.file.getvalue():
            await asyncio.sleep(0.001)
    assert screen.file.getvalue().endswith("\x1b[1A\x1b[2K")


async def test_a_line_that_a_narrower_terminal_breaks_is_erased_as_a_whole() -> None:
    file = io.StringIO()
    screen = Console(file=file, force_terminal=True, width=80, height=24)
    async with live(screen, lambda width, _: Text(f"{width} columns")):
        while "80 columns" not in file.getvalue():
            await asyncio.sleep(0.001)
        screen.print("above")
        screen.size = ConsoleDimensions(40, 24)
        while "40 columns" not in file.getvalue():
            await asyncio.sleep(0.001)
    # The cursor waits at its beginning, where all that follows begins with erasing the rest of the screen.
    *followed, _ = re.findall(r"columns(.*?)(?=\d0 columns|above\n|$)", file.getvalue(), re.DOTALL)
    assert len(followed) > 2
    assert all(text.startswith("\r\x1b[J") for text in followed[:-1]), followed


class Broken(io.StringIO):
    """A terminal that fails."""

    def isatty(self) -> bool:
        return True

    def write(self, _: str) -> int:
        raise OSError(errno.EIO, "Input/output error")


async def test_a_terminal_that_fails_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def draw(width: int, height: int) -> Text:
        sizes.append((width, height))
        return Text("the view")

    sizes: list[tuple[int, int]] = []
    async with live(Console(file=Broken(), force_terminal=True, width=80, height=24), draw):
        while len(sizes) < 3:
            await asyncio.sleep(0.01)
    assert caplog.messages == ["the view cannot be drawn: OSError: [Errno 5] Input/output error"]


async def test_a_terminal_that_stands_still_is_not_drawn_on(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def no_room(stream: object) -> bool:
        asked.append(stream)
        return False

    monkeypatch.setattr("runai_async.cli.views.console.has_room", no_room)
    file = io.StringIO()
    screen = Console(file=file, force_terminal=True, width=80, height=24)
    async with live(screen, lambda width, height: Text(f"{width} {height}")):
        while len(asked) < 2:
            await asyncio.sleep(0.01)
    assert "80 24" not in file.getvalue()


async def test_a_drawing_with_a_defect_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def draw(width: int, height: int) -> Text:
        tried.append(width)
        raise ZeroDivisionError(height)

    tried: list[int] = []
    screen = Console(file=io.StringIO(), force_terminal=True, width=80, height=24)
    async with live(screen, draw):
        while len(tried) < 3:
            await asyncio.sleep(0.01)
    assert caplog.messages == ["the view cannot be drawn: ZeroDivisionError: 24"]
