"""The live view, in any width and height."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

import pytest
from attrs import evolve
from rich.console import Console
from support.samples import NOW, WORKLOAD, revision
from support.watched import Given, failed, succeeded

from runai_async import (
    ClusterConnected,
    ClusterDisconnected,
    PhaseChanged,
    RevisionAdded,
    Synced,
    TransportError,
    WatchDegraded,
    WorkloadFailed,
)
from runai_async._api.server_time import ServerTime
from runai_async.cli.labels import Labels
from runai_async.cli.times import Times
from runai_async.cli.views.board import Board
from runai_async.models import Revision
from runai_async.testing import FakeClock

CLOCK = FakeClock(now=NOW)
TIMES = Times(clock=CLOCK)


def set_clock(now: datetime) -> None:
    CLOCK.shift_now((now - CLOCK.now()).total_seconds())


@pytest.fixture(autouse=True)
def _clock() -> None:
    set_clock(NOW)


def drawn(
    board: Board,
    width: int = 80,
    height: int = 24,
    *,
    now: datetime = NOW,
    fills: bool = False,
    keys: bool = False,
) -> list[str]:
    set_clock(now)
    screen = Console(width=width, height=height, color_system=None)
    with screen.capture() as capture:
        screen.print(board.draw(width, height, fills=fills, keys=keys))
    return [line.rstrip() for line in capture.get().splitlines()]


def board_of(
    revisions: Mapping[str, Iterable[Revision]],
    names: Mapping[str, str] | None = None,
    expected: int | None = None,
) -> Board:
    """Return a board of workloads that were all polled; without *names*, their ids are their names."""
    board = Board({key: key for key in revisions} if names is None else names, "Revisions of llm", TIMES)
    board.states.watched = Given(revisions, expected)
    for key in revisions:
        board.note_poll(succeeded(key))
    return board


def fleet(count: int, failing: Iterable[int] = ()) -> Board:
    """Return a board of so many workloads, which run, except some."""
    failed_ones, runs, fails = {*failing}, revision(1), revision(1, "Failed")
    items = {f"llm-{index:03d}": [fails if index in failed_ones else runs] for index in range(count)}
    board = board_of(items)
    while " of " in board.states.totals():
        board.states.refresh()
    return board


def names_on(lines: Iterable[str]) -> list[str]:
    return [line.split()[0] for line in lines if line.startswith("llm-")]


def test_a_line_says_what_is_newest_and_what_serves_and_the_last_events_follow() -> None:
    board = board_of(
        {WORKLOAD: [revision(1), revision(2, "Pending", phase_message="no GPUs")]}, {WORKLOAD: "llm"}
    )
    board.note(RevisionAdded(revision=revision(1), observed_at=NOW, initial=True))
    board.note(RevisionAdded(revision=revision(2, "Pending", phase_message="no GPUs"), observed_at=NOW))
    lines = drawn(board, now=NOW + timedelta(seconds=125))
    assert lines[:-1] == [
        "Revisions of llm",
        "WORKLOAD  NEWEST  PHASE    SERVING  PODS   SINCE  MESSAGE",
        "llm       00002   Pending  00001    2/1-4  2m05s  no GPUs",
        "",
        "12:00:00.000Z  llm-00001  exists: Running for 0s  2/1-4 pods",
        "2025-12-28 10:00:00.000Z  llm-00002  created: Pending  0/1-4 pods  no GPUs",
    ]
    assert lines[-1].startswith("1 workload: 1 Pending; last successful poll ")


def test_ages_are_by_the_server_s_clock_and_those_of_polls_by_ours() -> None:
    times = Times(clock=CLOCK)
    times.server = ServerTime(CLOCK)
    times.server.note({"Date": "Thu, 01 Jan 2026 10:00:00 GMT"})
    board = Board({}, "", times)
    board.states.watched = Given({"llm": [revision(phase_updated_at=NOW - timedelta(hours=2, minutes=10))]})
    board.note_poll(succeeded("llm"))
    board.note(Synced(workload_id="", observed_at=NOW))
    lines = drawn(board, now=NOW + timedelta(seconds=3))
    assert lines[2].endswith("  10m")
    assert lines[-1].endswith("last successful poll 3s ago")
    assert "10:00:00.500Z  all workloads  synced" in lines


def test_pods_are_those_of_the_newest_revision_if_nothing_serves() -> None:
    board = board_of({"llm": [revision(1, "Failed"), revision(2, running_pods=0)]})
    assert drawn(board)[2].split() == ["llm", "00002", "Running", "-", "0/1-4", "0s"]


def test_a_stalled_revision_is_called_so() -> None:
    board, item = board_of({}), revision(2, "Pending")
    given = Given({})
    given.show("llm", item, stalled=[item.id])
    board.states.watched = given
    board.note_poll(succeeded("llm"))
    assert "stalled: Pending" in drawn(board)[2]


def test_workloads_that_do_not_fit_are_summed_up() -> None:
    board = fleet(300, failing=[7, 299])
    lines = drawn(board)
    assert names_on(lines)[:4] == ["llm-007", "llm-299", "llm-000", "llm-001"]
    assert len(lines) == 24
    assert [line for line in lines if line.startswith("…")] == ["… 281 more: 281 Running"]
    assert lines[-1].startswith("300 workloads: 298 Running, 2 Failed; last successful poll 0s ago")


def test_every_workload_can_be_reached() -> None:
    board, seen = fleet(100), set[str]()
    for _ in range(12):
        seen |= {*names_on(drawn(board))}
        board.window.press("pagedown")
    assert len(seen) == 100
    lines = drawn(board)
    assert names_on(lines)[-1] == "llm-099"
    assert any(line.startswith("… 81 above, 0 below: 81 Running") for line in lines)


def test_the_footer_counts_until_all_are_known() -> None:
    board = board_of({"llm": [revision()]}, expected=300)
    assert drawn(board)[-1].startswith("1 of 300 workloads: 1 Running; ")
    empty = Board({}, "", TIMES)
    assert drawn(empty)[-1] == "0 workloads; no successful poll yet"


def test_a_filter_is_shown_with_what_it_finds() -> None:
    board = fleet(30, failing=[7])
    for key in "/fail":
        board.window.press(key)
    lines = drawn(board)
    assert lines[1] == "/fail_ (1 of 30)"
    assert names_on(lines) == ["llm-007"]
    board.window.press("enter")
    assert drawn(board)[1] == "/fail (1 of 30)"
    board.window.press("escape")
    assert len(names_on(drawn(board))) > 10


def test_names_that_differ_at_their_end_can_be_told_apart() -> None:
    name = "team-a-llama-3-70b-instruct-experiment-with-a-long-name-{:03d}"
    board = board_of({name.format(index): [revision(phase_message="x" * 80)] for index in range(3)})
    lines = drawn(board)[2:5]
    assert [line.split()[0][-4:] for line in lines] == ["-000", "-001", "-002"]
    event = RevisionAdded(revision=revision(name=name.format(7), created_at=NOW), observed_at=NOW)
    board.note(event)
    assert any("…" in line and "-007  created: Running  2/1-4 pods" in line for line in drawn(board))


def test_an_event_that_fits_is_written_whole() -> None:
    board = board_of({})
    name = "team-a-llama-3-70b-instruct-00007"
    item = revision(name=name)
    board.note(PhaseChanged(revision=item, observed_at=NOW, previous_phase=item.phase))
    assert name in "".join(drawn(board))
    assert name not in "".join(drawn(board, width=50))


def test_escape_sequences_in_names_are_neutralised() -> None:
    board = board_of(
        {"llm": [revision(name="\x1b[2Jx", phase_message="\x1b]0;title\x07")]}, {"llm": "\x1b[31mred"}
    )
    board.notice("\x1b[2J")
    assert "\x1b" not in "".join(drawn(board))
    assert "\x07" not in "".join(drawn(board))


def test_a_message_is_a_line_among_the_events() -> None:
    board = board_of({"llm": [revision()]})
    board.notice("runai-async: llm is listed again")
    assert "runai-async: llm is listed again" in drawn(board)


def test_a_lost_cluster_is_named_as_long_as_workloads_of_it_are_shown() -> None:
    item = revision(1)
    board = board_of({"llm": [item]})
    lost = ClusterDisconnected(
        cluster_id=item.cluster_id, name="eu-1", last_seen_at=NOW, observed_at=NOW + timedelta(seconds=1)
    )
    line = "cluster eu-1 lost its connection 5s ago: states may be out of date"
    later = NOW + timedelta(seconds=5)
    board.note(lost)
    assert line in drawn(board, now=later)
    board.note(ClusterConnected(cluster_id=item.cluster_id, name="eu-1", observed_at=NOW))
    assert line not in drawn(board, now=later)
    board.note(evolve(lost, cluster_id="another"))
    assert line not in drawn(board, now=later)


def test_events_about_no_workload_are_lines() -> None:
    board = board_of({})
    board.note(ClusterDisconnected(cluster_id="c", name="eu-1", last_seen_at=None, observed_at=NOW))
    board.note(Synced(workload_id="", observed_at=NOW))
    lines = drawn(board)
    assert "12:00:00.000Z  cluster eu-1  lost its connection: states may be out of date" in lines
    assert "12:00:00.000Z  all workloads  synced" in lines
    assert lines[-1].startswith("0 workloads; ")


def test_where_a_name_is_in_two_projects_they_are_shown() -> None:
    item = revision(name="dup-00001")
    board = board_of({"a": [item], "b": [item]}, labels("dup", "dup"))
    board.note(RevisionAdded(revision=evolve(item, workload_id="b"), observed_at=NOW, initial=True))
    lines = drawn(board)
    assert [line.split()[:2] for line in lines[2:4]] == [["team-a/dup", "00001"], ["team-b/dup", "00001"]]
    assert any("  team-b/dup-00001  exists: " in line for line in lines)


def test_a_workload_that_was_created_again_has_no_other_name_than_before() -> None:
    names = labels("dup", "other")
    names.projects["new"] = "team-a"
    names["new"] = "dup"
    assert (names["a"], names["new"], names["b"], len(names)) == ("dup", "dup", "other", 3)
    del names["a"]
    assert list(names) == ["b", "new"]


def labels(*names: str) -> Labels:
    """Return the labels of workloads a, b and so on, of the projects team-a, team-b and so on."""
    found = Labels()
    for key, name in zip("ab", names, strict=True):
        found.projects[key] = f"team-{key}"
        found[key] = name
    return found


def test_why_polls_fail_stands_in_the_line_of_the_workload() -> None:
    board = board_of({"llm": [revision()], "other": [revision()]})
    board.note(WatchDegraded(workload_id="llm", observed_at=NOW, error=TransportError("no route")))
    line = drawn(board, now=NOW + timedelta(seconds=7))[2]
    assert line.split(maxsplit=6)[-1] == "outage for 7s: no route"
    board.note_poll(succeeded("llm"))
    assert "outage" not in drawn(board)[2]


def test_an_outage_of_all_is_said_once_with_how_old_the_picture_is() -> None:
    phases = ["Pending", "Creating", "Failed", "Stopped", "Degraded", "Updating", "Terminating"]
    revisions = {
        f"llm-{index:03d}": [revision(1, phase, phase_message=f"was {phase}")]
        for index, phase in enumerate(phases)
    }
    board = board_of(revisions)
    for key in revisions:
        set_clock(NOW + timedelta(seconds=2))
        board.note_poll(failed(key))
        board.note(WatchDegraded(workload_id=key, observed_at=CLOCK.now(), error=TransportError("no route")))
    lines = drawn(board, now=NOW + timedelta(seconds=9))
    assert lines[1] == "outage for 7s, states may be out of date: no route"
    assert "".join(lines[2:11]).count("outage") == 0
    assert lines[3].startswith("llm-002  ")  # Failed ones still come first
    assert lines[3].endswith("was Failed")
    assert lines[-1].startswith("7 workloads: 1 ")
    assert lines[-1].endswith("…; last successful poll 9s ago")
    board.note(WorkloadFailed(workload_id="llm-003", observed_at=NOW, error=TransportError("no route")))
    assert any(line.endswith("failed for 9s: no route") for line in drawn(board, 120, now=CLOCK.now()))
    board.note_poll(succeeded("llm-000"))
    lines = drawn(board, 120, now=CLOCK.now())
    assert "states may be out of date" not in lines[1]
    assert any("outage for 7s: no route" in line for line in lines)


def test_a_failed_first_poll_is_shown_at_once() -> None:
    board = Board({"llm": "llm"}, "", TIMES)
    board.states.watched = Given({"llm": []})
    board.note_poll(failed("llm", "NotFoundError"))
    assert "failing for 0s: not found, retrying" in drawn(board, 120)[2]


@pytest.mark.parametrize("height", [1, 3, 6, 10, 24, 60])
@pytest.mark.parametrize("width", [20, 40, 80, 200])
@pytest.mark.parametrize("workloads", [1, 3, 50])
def test_a_board_fits_the_terminal(width: int, height: int, workloads: int) -> None:
    message = "no such image " * 20
    revisions = [revision(1), revision(2, "Failed", phase_message=message)]
    board = board_of({f"llm-{index}": revisions for index in range(workloads)})
    board.headline = "Revisions of " + "all workloads " * 20
    for _ in range(20):
        board.note(RevisionAdded(revision=revisions[1], observed_at=NOW))
    lines = drawn(board, width, height)
    assert len(lines) <= height
    assert max(map(len, lines)) <= width
    assert len(drawn(board, width, height, fills=True)) == height
    if height >= 6:
        assert names_on(lines)  # workloads, not only headings and events
        assert lines[-1].startswith(str(workloads))


def test_events_give_way_to_workloads_but_not_all_of_them() -> None:
    few, many = fleet(5), fleet(50)
    for board in (few, many):
        for number in range(1, 20):
            board.note(RevisionAdded(revision=revision(number), observed_at=NOW))
    counts = [sum("created:" in line for line in drawn(board)) for board in (few, many)]
    assert counts == [8, 3]


def test_a_narrow_terminal_keeps_phase_pods_and_age() -> None:
    board = board_of({"a-very-long-name-of-a-workload": [revision()]})
    later = NOW + timedelta(days=3)
    lines = drawn(board, width=40, now=later)
    assert lines[1].split() == ["WORKLOAD", "PHASE", "PODS", "SINCE"]
    assert lines[2].endswith("Running  2/1-4  3d00h")
    assert "…" in lines[2]
    assert drawn(board, width=50, now=later)[1].split() == ["WORKLOAD", "PHASE", "SERVING", "PODS", "SINCE"]


def test_the_keys_are_named_where_there_are_any_and_there_is_room() -> None:
    board = fleet(3)
    assert drawn(board, keys=True)[0].endswith("  j/k scroll  / filter  q quit")
    assert drawn(board)[0] == drawn(board, width=40, keys=True)[0] == "Revisions of llm"


def test_the_footer_is_at_the_bottom_of_a_whole_screen() -> None:
    lines = drawn(fleet(3), fills=True)
    assert (len(lines), lines[-1][:12]) == (24, "3 workloads:")
