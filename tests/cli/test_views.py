"""The live view, in any width and height."""

import asyncio
import errno
import io
import json
import re
from datetime import datetime, timedelta
from typing import Any

import pytest
from attrs import evolve
from rich.console import Console
from rich.text import Text
from support.fleets import UNKNOWN_ID
from support.harness import Harness
from support.samples import CONTROL_PLANE, NOW, WORKLOAD, revision

from runai_async import (
    ClusterConnected,
    ClusterDisconnected,
    FleetCheckpoint,
    Phase,
    PhaseChanged,
    PollPolicy,
    RevisionAdded,
    RevisionDeleted,
    RevisionStalled,
    RevisionUpdated,
    Synced,
    TransportError,
    WatchDegraded,
    WatchRecovered,
)
from runai_async.cli.commands.watch import Stream, _revisions_of
from runai_async.cli.views.board import Board
from runai_async.cli.views.console import live
from runai_async.cli.views.terminal import LiveView
from runai_async.cli.views.watch import CloudEventView, ViewOptions
from runai_async.hooks import PollFinished, PollStarted


def drawn(board: Board, width: int = 80, height: int = 24, *, now: datetime = NOW) -> list[str]:
    screen = Console(width=width, height=height, color_system=None)
    with screen.capture() as capture:
        screen.print(board.draw(now, width, height))
    return [line.rstrip() for line in capture.get().splitlines()]


def test_a_board_shows_revisions_and_the_last_events() -> None:
    board = Board({WORKLOAD: "llm"}, "Revisions of llm")
    board.note(RevisionAdded(revision=revision(1), observed_at=NOW, initial=True))
    board.note(RevisionAdded(revision=revision(2, "Pending", phase_message="no GPUs"), observed_at=NOW))
    board.note_poll(PollFinished(WORKLOAD, None, 2, 0, 0.1))
    lines = drawn(board, now=NOW + timedelta(seconds=125))
    assert lines[:-1] == [
        "Revisions of llm",
        "REVISION     PHASE    SINCE  PODS   MESSAGE",
        "llm",
        "  llm-00002  Pending  2m05s  0/1-4  no GPUs",
        "  llm-00001  Running  2m05s  2/1-4",
        "",
        "12:00:00.000  llm-00001  exists: Running for 0s  2/1-4 pods",
        "10:00:00.000  llm-00002  created: Pending  0/1-4 pods  no GPUs",
    ]
    assert lines[-1].startswith("1 workload, 2 events, last successful poll ")


def test_a_board_shows_which_revisions_have_stalled_until_their_phase_is_left() -> None:
    board = Board({WORKLOAD: "llm"}, "")
    item = revision(2, "Pending")
    board.note(RevisionAdded(revision=item, observed_at=NOW))
    board.note(RevisionStalled(revision=item, observed_at=NOW, since=NOW, seconds=720.0))
    board.note(RevisionUpdated(revision=item, observed_at=NOW))
    assert drawn(board, now=NOW + timedelta(minutes=12))[3] == "  llm-00002  stalled: Pending  12m    0/1-4"
    board.note(PhaseChanged(revision=item, observed_at=NOW, previous_phase=item.phase, coalesced=True))
    assert drawn(board, now=NOW + timedelta(minutes=12))[3] == "  llm-00002  Pending  12m    0/1-4"


def test_without_room_the_newest_and_the_serving_revision_are_shown() -> None:
    board = Board({WORKLOAD: "llm"}, "")
    for number in range(1, 20):
        phase = "Running" if number == 3 else "Failed"
        board.note(RevisionAdded(revision=revision(number, phase), observed_at=NOW))
    assert [line.split()[0] for line in drawn(board, height=12)[2:5]] == ["llm", "llm-00019", "llm-00003"]
    assert drawn(board, height=12)[2] == "llm +17 older"


def test_a_deleted_revision_stays_on_the_board_for_a_while() -> None:
    board = Board({WORKLOAD: "llm"}, "")
    gone = revision(1, deleted_at=NOW)
    board.note(RevisionAdded(revision=gone, observed_at=NOW))
    board.note(RevisionDeleted(revision=gone, observed_at=NOW))
    assert "  llm-00001  deleted  5s" in drawn(board, now=NOW + timedelta(seconds=5))
    assert not [line for line in drawn(board, now=NOW + timedelta(seconds=31)) if "  deleted  " in line]


def test_a_lost_cluster_is_named_as_long_as_revisions_of_it_are_shown() -> None:
    board, item = Board({WORKLOAD: "llm"}, ""), revision(1)
    lost = ClusterDisconnected(
        cluster_id=item.cluster_id, name="eu-1", last_seen_at=NOW, observed_at=NOW + timedelta(seconds=1)
    )
    board.note(RevisionAdded(revision=item, observed_at=NOW))
    board.note(lost)
    line = "cluster eu-1 lost its connection 5s ago: states may be out of date"
    assert line in drawn(board, now=NOW + timedelta(seconds=5))
    board.note(ClusterConnected(cluster_id=item.cluster_id, name="eu-1", observed_at=NOW))
    assert line not in drawn(board, now=NOW + timedelta(seconds=5))
    board.note(lost)
    board.note(RevisionDeleted(revision=item, observed_at=NOW))
    drawn(board, now=NOW + timedelta(seconds=300))  # drops the revision
    assert "cluster eu-1" not in drawn(board, now=NOW + timedelta(seconds=301))[1]


LOST = ClusterDisconnected(cluster_id="c", name="eu-1", last_seen_at=None, observed_at=NOW)


def test_an_event_about_a_cluster_is_a_line_and_no_workload() -> None:
    board = Board({WORKLOAD: "llm"}, "")
    board.note(LOST)
    lines = drawn(board)
    assert "12:00:00.000  cluster eu-1  lost its connection: states may be out of date" in lines
    assert lines[-1].startswith("0 workloads, 1 event, ")


async def test_an_event_about_a_cluster_is_a_cloudevent(capsys: pytest.CaptureFixture[str]) -> None:
    view = CloudEventView(ViewOptions("Revisions of llm"))
    await view.display(LOST)
    await view.display(Synced(workload_id=WORKLOAD, observed_at=NOW))
    assert json.loads(capsys.readouterr().out)["type"] == "runai_async.cluster.disconnected"


def test_an_outage_is_shown_until_it_is_over() -> None:
    board = Board({WORKLOAD: "llm"}, "")
    board.note(RevisionAdded(revision=revision(1), observed_at=NOW))
    board.note(WatchDegraded(workload_id=WORKLOAD, observed_at=NOW, error=TransportError("no route")))
    assert any("outage for 7s: no route" in line for line in drawn(board, now=NOW + timedelta(seconds=7)))
    board.note(WatchRecovered(workload_id=WORKLOAD, observed_at=NOW, seconds=7))
    assert not any("outage for" in line for line in drawn(board))


def test_a_failed_poll_is_shown_at_once() -> None:
    board = Board({}, "")
    board.note_poll(PollStarted(WORKLOAD))
    board.note_poll(PollFinished(WORKLOAD, "NotFoundError", 0, 0, 0.1))
    assert any("NotFoundError, retrying" in line for line in drawn(board, width=120))
    board.note_poll(PollFinished(WORKLOAD, None, 0, 0, 0.1))
    assert not any("NotFoundError" in line for line in drawn(board, width=120))


def test_a_problem_is_described_by_its_first_failed_poll() -> None:
    board = Board({}, "")
    for error in ("TransportError", "ServerError"):
        board.note_poll(PollFinished(WORKLOAD, error, 0, 0, 0.1))
    assert any("TransportError, retrying" in line for line in drawn(board, width=120))
    assert not any("ServerError" in line for line in drawn(board, width=120))


def test_what_the_first_successful_poll_shows_is_on_the_board_without_an_event() -> None:
    board = Board({WORKLOAD: "llm"}, "")
    board.note_poll(PollFinished(WORKLOAD, "TransportError", 0, 0, 0.1), lambda _: [revision(1)])
    assert not any(line.startswith("  llm-") for line in drawn(board))
    board.note_poll(PollFinished(WORKLOAD, None, 0, 0, 0.1), lambda _: [revision(1), revision(2)])
    board.note_poll(PollFinished(WORKLOAD, None, 0, 0, 0.1), lambda _: [revision(3)])
    found = [line.split()[0] for line in drawn(board) if line.startswith("  llm-")]
    assert found == ["llm-00002", "llm-00001"]


def test_what_an_event_has_shown_is_not_replaced_by_what_the_first_poll_shows() -> None:
    board, item = Board({WORKLOAD: "llm"}, ""), revision(1, "Failed")
    board.note(RevisionAdded(revision=item, observed_at=NOW))
    board.note_poll(PollFinished(WORKLOAD, None, 0, 0, 0.1), lambda _: [evolve(item, phase=Phase.RUNNING)])
    assert any("llm-00001  Failed" in line for line in drawn(board))


def test_a_list_of_what_cannot_be_decoded_is_not_an_empty_one() -> None:
    board = Board({WORKLOAD: "llm"}, "")
    board.note_poll(PollFinished(WORKLOAD, None, 0, 1, 0.1))
    assert "no revisions" not in "".join(drawn(board))
    board.note_poll(PollFinished(WORKLOAD, None, 0, 0, 0.1))
    assert "no revisions" in "".join(drawn(board))


@pytest.mark.parametrize("many", [False, True], ids=["watch", "fleet"])
@pytest.mark.parametrize("resumes", [False, True], ids=["new only", "resumed"])
async def test_the_live_view_shows_the_state_that_no_event_reports(*, many: bool, resumes: bool) -> None:
    harness, view = Harness(), LiveView(Console(file=io.StringIO()), "")
    key, policy = harness.workload_id, PollPolicy(interval=10)
    harness.add("Running", running_pods=2)
    async with harness.client(hooks=[view.hook]) as runai:
        saved = None
        if resumes:
            async with runai.watch_revisions(key) as earlier:
                await harness.collect(earlier, 1)
                saved = earlier.checkpoint()
        options: dict[str, Any] = {"poll": policy, "include_existing": resumes}
        if many:
            fleet = None if saved is None else FleetCheckpoint({key: saved})
            stream: Stream = runai.watch_fleet([key], **options, resume_from=fleet)
        else:
            stream = runai.watch_revisions(key, **options, resume_from=saved)
        view._board = Board({key: "llm"}, "")
        view.revisions_of = lambda workload_id: _revisions_of(stream, workload_id)
        async with stream:
            assert await harness.collect(stream, 1) == []
        assert not many or _revisions_of(stream, UNKNOWN_ID) == ()
    assert any("llm-00001  Running" in line and "2/1-4" in line for line in drawn(view._board))


def test_that_all_workloads_are_synced_is_a_line_and_no_workload() -> None:
    board = Board({WORKLOAD: "llm"}, "")
    board.note(Synced(workload_id="", observed_at=NOW))
    lines = drawn(board)
    assert "12:00:00.000  all workloads  synced" in lines
    assert lines[-1].startswith("0 workloads, 1 event, ")


@pytest.mark.parametrize("height", [10, 24, 60])
@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize(("workloads", "revisions"), [(1, 30), (3, 4), (50, 2)])
def test_a_board_fits_the_terminal(width: int, height: int, workloads: int, revisions: int) -> None:
    board = Board({}, "Revisions of " + "all workloads " * 20)
    for index in range(workloads):
        workload_id = CONTROL_PLANE.add_workload(f"w-{index}")
        for number in range(revisions):
            item = revision(number, "Failed", workload_id=workload_id, phase_message="no such image " * 20)
            board.note(RevisionAdded(revision=item, observed_at=NOW))
    lines = drawn(board, width, height)
    assert len(lines) <= height
    assert max(map(len, lines)) <= width
    assert any(line.startswith("  llm") for line in lines)  # revisions, not only headings and events


def test_without_room_a_workload_whose_newest_revision_has_stalled_comes_first() -> None:
    board = Board({}, "")
    for number in range(50):
        old = NOW - timedelta(days=9 if number == 31 else 0)
        item = evolve(revision(1, "Pending", phase_updated_at=old), workload_id=f"w-{number}")
        board.note(RevisionAdded(revision=item, observed_at=NOW))
        if number == 31:
            board.note(RevisionStalled(revision=item, observed_at=NOW, since=old, seconds=777600.0))
    assert [line.split() for line in drawn(board)[2:4]] == [
        ["w-31"],
        ["llm-00001", "stalled:", "Pending", "9d00h", "0/1-4"],
    ]


def test_without_room_the_workloads_that_changed_last_are_shown() -> None:
    board = Board({f"{index}": f"w-{index}" for index in range(50)}, "")
    for index in range(50):
        at = NOW + timedelta(seconds=100 if index == 7 else 0)
        board.note(Synced(workload_id=str(index), observed_at=at))
    lines = drawn(board)
    assert lines[2] == "w-7"
    assert any(re.fullmatch(r"\.\.\. \d+ more workloads", line) for line in lines)


def unhealthy(index: int) -> Board:
    """Return a board of 50 workloads that run, except one."""
    board = Board({f"{number}": f"w-{number}" for number in range(50)}, "")
    for number in range(50):
        phase = "Failed" if number == index else "Running"
        updated = NOW - timedelta(days=3 if number == index else 0, minutes=number)
        item = revision(1, phase, phase_updated_at=updated)
        board.note(
            RevisionAdded(revision=evolve(item, workload_id=str(number)), observed_at=NOW, initial=True)
        )
    return board


def test_without_room_unhealthy_workloads_come_first_then_recent_changes() -> None:
    headings = [line for line in drawn(unhealthy(7), height=40)[2:] if line.startswith("w-")]
    assert headings[:4] == ["w-7", "w-0", "w-1", "w-2"]
    board = unhealthy(7)
    board.note_poll(PollFinished("30", "TransportError", 0, 0, 0.1))
    headings = [line.split()[0] for line in drawn(board, height=40)[2:] if line.startswith("w-")]
    assert headings[:4] == ["w-30", "w-7", "w-0", "w-1"]


def test_workloads_are_sorted_by_name() -> None:
    board = Board({"1": "b", "2": "a"}, "")
    for key in ("1", "2"):
        board.note(Synced(workload_id=key, observed_at=NOW))
    assert drawn(board)[2:4] == ["a", "b"]


def test_a_workload_without_revisions_says_so_once_that_is_known() -> None:
    board = Board({WORKLOAD: "llm"}, "")
    board.note_poll(PollFinished(WORKLOAD, "TransportError", 0, 0, 0.1))
    assert "no revisions" not in "".join(drawn(board))
    board.note_poll(PollFinished(WORKLOAD, None, 0, 0, 0.1))
    assert [line for line in drawn(board) if line.startswith("llm ") and line.endswith("no revisions")]
    board.note(RevisionAdded(revision=revision(1), observed_at=NOW))
    assert "no revisions" not in "".join(drawn(board))


def test_a_workload_that_is_no_longer_polled_goes_with_its_last_revision() -> None:
    board = Board({WORKLOAD: "llm"}, "")
    gone = revision(1, deleted_at=NOW)
    board.note(RevisionDeleted(revision=gone, observed_at=NOW))
    assert "llm" in drawn(board, now=NOW + timedelta(minutes=9))
    assert "llm" not in drawn(board, now=NOW + timedelta(minutes=11))


def test_a_narrow_terminal_keeps_phase_age_and_pods() -> None:
    board = Board({WORKLOAD: "llm"}, "")
    board.note(
        RevisionAdded(revision=revision(1, name="a-very-long-name-of-a-revision-00001"), observed_at=NOW)
    )
    lines = drawn(board, width=40, now=NOW + timedelta(days=3))
    assert lines[1].split() == ["REVISION", "PHASE", "SINCE", "PODS"]
    assert lines[3].endswith("Running  3d00h  2/1-4")
    assert "…" in lines[3]


def test_an_outage_is_shown_without_its_request() -> None:
    board = Board({WORKLOAD: "llm"}, "")
    error = TransportError("GET https://acme.run.ai/api/v1/x/y: no route to host")
    board.note(WatchDegraded(workload_id=WORKLOAD, observed_at=NOW, error=error))
    assert [line for line in drawn(board) if line.endswith("outage for 0s: no route to host")]


async def test_the_last_drawing_is_the_last_state() -> None:
    screen, states = Console(file=io.StringIO(), force_terminal=True, width=80), ["first"]
    async with live(screen, lambda _width, _height: Text(states[-1])):
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        states.append("last")
    assert isinstance(screen.file, io.StringIO)
    assert [word for word in ("first", "last") if word in screen.file.getvalue()] == ["first", "last"]


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
