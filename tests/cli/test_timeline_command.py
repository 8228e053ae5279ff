"""`runai-async timeline`: spans from history, bars, the picture."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console
from support.cli import Ran, ran

from runai_async import HistoryRecord, Revision, from_json
from runai_async.cli.spans import Lane, Span, cut, lane_of, range_of
from runai_async.cli.text import width_of
from runai_async.cli.views.bars import bars
from runai_async.cli.views.svg import svg
from runai_async.testing import FakeControlPlane

T0 = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


def at(minutes: float) -> datetime:
    return T0 + timedelta(minutes=minutes)


def revision(name: str = "llm-00001", **fields: object) -> Revision:
    control_plane = FakeControlPlane()
    workload_id = control_plane.add_workload("llm")
    revision_id = control_plane.add_revision(workload_id, **{"name": name, "created_at": T0, **fields})  # type: ignore[arg-type]
    return from_json(json.dumps(control_plane.revision(revision_id)).encode(), Revision)


def record(minutes: float, phase: str | None) -> HistoryRecord:
    spec = {"event": {"type": "Normal"}} if phase is None else {"phaseUpdate": {"phase": phase}}
    kind = "Event" if phase is None else "PhaseUpdate"
    meta = {"creationTimestamp": at(minutes).isoformat(), "type": kind}
    return from_json(json.dumps({"meta": meta, "spec": spec}).encode(), HistoryRecord)


def spans(lane: Lane) -> list[tuple[str | None, float, float]]:
    return [
        (
            span.phase,
            (span.start - T0) / timedelta(minutes=1),
            (span.end - T0) / timedelta(minutes=1),
        )
        for span in lane.spans
    ]


def test_spans_come_from_the_history_in_any_order() -> None:
    history = [record(4, "Running"), record(0, "Creating"), record(1, "Pending"), record(2, None)]
    lane = lane_of(revision(), history, at(10))
    assert spans(lane) == [("Creating", 0, 1), ("Pending", 1, 4), ("Running", 4, 10)]


@pytest.mark.parametrize("history", [None, [], [record(1, None)]])
def test_without_a_history_only_the_last_change_is_known(history: list[HistoryRecord] | None) -> None:
    lane = lane_of(revision(phase="Failed", phase_updated_at=at(3)), history, at(10))
    assert spans(lane) == [(None, 0, 3), ("Failed", 3, 10)]
    unchanged = lane_of(revision(phase="Pending", phase_updated_at=T0), history, at(10))
    assert spans(unchanged) == [("Pending", 0, 10)]


def test_a_deleted_revision_ends_when_it_was_deleted() -> None:
    gone = revision(phase="Running", phase_updated_at=T0, deleted_at=at(5))
    late = [record(0, "Creating"), record(4, "Running"), record(6, "Terminating")]
    assert spans(lane_of(gone, None, at(10))) == [("Running", 0, 5)]
    assert spans(lane_of(gone, late, at(10)))[:2] == [("Creating", 0, 4), ("Running", 4, 5)]


def test_spans_that_ended_before_are_left_out() -> None:
    lane = lane_of(revision(), [record(0, "Creating"), record(4, "Running")], at(10))
    gone = lane_of(revision(deleted_at=at(2)), [record(0, "Running")], at(10))
    (left,) = cut([gone, lane], at(6))
    assert spans(left) == [("Running", 6, 10)]
    assert range_of([left]) == (at(6), at(10))


def drawn(lanes: list[Lane], width: int, *, colour: bool = False) -> list[str]:
    screen = Console(width=width, color_system="standard" if colour else None, force_terminal=colour)
    with screen.capture() as capture:
        screen.print(bars(lanes, width, colour=colour))
    return [line.rstrip() for line in capture.get().splitlines()]


def test_without_colours_a_bar_is_made_of_letters() -> None:
    history = [record(0, "Creating"), record(2, "Pending"), record(5, "Running")]
    other = lane_of(revision("llm-00002", created_at=at(5)), [record(5, "Failed")], at(10))
    odd = lane_of(revision("llm-00003", created_at=at(8)), [record(8, "Zombie")], at(10))
    assert drawn([lane_of(revision(), history, at(10)), other, odd], 61) == [
        "llm-00001  ccccccccccpppppppppppppppRRRRRRRRRRRRRRRRRRRRRRRRR",
        "           Creating 2m00s, Pending 3m00s, Running 5m00s",
        "llm-00002                           FFFFFFFFFFFFFFFFFFFFFFFFF",
        "           Failed 5m00s",
        "llm-00003                                          ZZZZZZZZZZ",
        "           Zombie 2m00s",
        "           2026-01-01 12:00:00Z          2026-01-01 12:10:00Z",
        "c Creating   p Pending   R Running   F Failed   Z Zombie",
    ]


def test_an_unknown_phase_is_drawn_as_dots() -> None:
    lane = lane_of(revision(phase="Running", phase_updated_at=at(9)), None, at(10))
    bar, spent, _, legend = drawn([lane], 61)
    assert bar == f"llm-00001  {'.' * 45}RRRRR"
    assert (spent.strip(), legend) == ("not known 9m00s, Running 1m00s", ". not known   R Running")


def test_colours_stand_for_phases() -> None:
    bar = drawn([lane_of(revision(), [record(0, "Failed"), record(5, "Running")], at(10))], 60, colour=True)[
        0
    ]
    assert bar.count("█") == 49
    assert bar.index("\x1b[1;31m") < bar.index("\x1b[32m")


@pytest.mark.parametrize("width", [40, 80, 200])
def test_bars_fit_the_width(width: int) -> None:
    lane = lane_of(revision("a-very-long-name-of-a-revision-00001"), [record(0, "Running")], at(10))
    assert max(map(len, drawn([lane], width))) <= width


@pytest.mark.parametrize(
    ("width", "axis"),
    [
        (60, "2026-01-01 12:00:00Z      2026-01-01 12:10:00Z"),
        (45, "01-01 12:00                01-01 12:10"),
        (34, "01-01 12:00 01-01 12:10"),
    ],
)
def test_the_axis_is_shorter_on_a_narrow_terminal(width: int, axis: str) -> None:
    lane = lane_of(revision(), [record(0, "Running")], at(10))
    assert drawn([lane], width)[-2].split() == axis.split()
    assert len(drawn([lane], width)[-2]) <= width


def test_a_timeline_of_zero_length_can_be_drawn() -> None:
    lane = Lane(revision(), (Span(None, T0, T0),))
    assert drawn([lane], 80)[1].strip() == "not known 0s"
    assert ET.fromstring(svg("x", [lane])).tag.endswith("svg")


def test_the_picture_is_well_formed_for_any_name() -> None:
    lane = lane_of(revision("<script>&"), [record(0, "<b>"), record(5, "Running")], at(10))
    picture = ET.fromstring(svg("Revisions of <llm> & more", [lane]))
    texts = [element.text for element in picture.iter("{http://www.w3.org/2000/svg}text")]
    titles = [element.text for element in picture.iter("{http://www.w3.org/2000/svg}title")]
    assert texts[:2] == ["Revisions of <llm> & more", "<script>&"]
    assert titles == [
        "<b>, 5m00s, since 2026-01-01 12:00:00Z",
        "Running, 5m00s, since 2026-01-01 12:05:00Z",
    ]
    bars_drawn = [element for element in picture.iter() if len(element)]
    assert [float(bar.attrib["width"]) for bar in bars_drawn[1:]] == [362.0, 362.0]


def test_names_in_the_picture_end_before_the_bars_and_are_whole_in_a_tooltip() -> None:
    names = [
        "x" * 26,
        "team-a-llama-3-70b-instruct-00001",
        "team-a-llama-3-70b-instruct-00002",
        "\u6a21" * 20,
    ]
    lanes = [lane_of(revision(name), [record(0, "Running")], at(10)) for name in names]
    picture = ET.fromstring(svg("x", lanes))
    texts = [
        item for item in picture.iter("{http://www.w3.org/2000/svg}text") if "font-family" in item.attrib
    ]
    shown = [item.text or "" for item in texts]
    assert shown[:3] == [names[0], "team-a-llama…nstruct-00001", "team-a-llama…nstruct-00002"]
    assert max(16 + 13 * 0.6 * width_of(text) for text in shown) <= 220  # where the bars begin
    assert [item[0].text for item in texts if len(item)] == names[1:]


# --- the command --------------------------------------------------------------------------------------------


@pytest.fixture
async def control_plane() -> AsyncIterator[FakeControlPlane]:
    now = datetime.now(UTC)
    times = [now]
    async with FakeControlPlane(clock=lambda: times[-1]) as control_plane:
        workload_id = control_plane.add_workload("llm")
        for start, more in ((60, ("Running",)), (30, ("Pending", "Failed")), (10, ("Running",))):
            times.append(now - timedelta(minutes=start))
            revision_id = control_plane.add_revision(workload_id, "Creating")
            for phase in more:
                times.append(times[-1] + timedelta(minutes=1))
                control_plane.set_phase(revision_id, phase)
        times.append(now)
        control_plane.delete_revision(control_plane.transitions[0].revision_id)
        yield control_plane


async def test_a_revision_added_in_the_past_has_a_history_since_then() -> None:
    began = datetime.now(UTC) - timedelta(hours=1)
    async with FakeControlPlane() as control_plane:
        workload_id = control_plane.add_workload("llm")
        control_plane.add_revision(workload_id, "Running", created_at=began, phase_updated_at=began)
        printed = json.loads((await ran(control_plane, "timeline", "llm")).out)
    (span,) = printed["spans"]
    assert span["phase"] == "Running"
    assert 3600 <= round(span["seconds"]) < 3660


async def test_a_table_is_bars_in_the_width_of_the_terminal(control_plane: FakeControlPlane) -> None:
    result = await ran(control_plane, "timeline", "llm", "-o", "table")
    lines = result.out.splitlines()
    assert (result.status, result.err) == (0, "")
    assert [line.split()[0] for line in lines[0:4:2]] == ["llm-00002", "llm-00003"]
    assert lines[1].strip().startswith("Creating 1m00s, Pending 1m00s, Failed 2")
    assert max(map(len, lines)) <= 80


async def test_a_pipe_gets_the_spans(control_plane: FakeControlPlane) -> None:
    result = await ran(control_plane, "timeline", "llm", "--deleted")
    printed = [json.loads(line) for line in result.out.splitlines()]
    assert [item["name"] for item in printed] == ["llm-00001", "llm-00002", "llm-00003"]
    assert [(span["phase"], round(span["seconds"])) for span in printed[2]["spans"]] == [
        ("Creating", 60),
        ("Running", 540),
    ]
    assert (
        json.loads((await ran(control_plane, "timeline", "llm", "--deleted", "-o", "json")).out)[0]["name"]
        == "llm-00001"
    )


@pytest.mark.parametrize(
    ("args", "names"),
    [
        (["--last", "1"], ["llm-00003"]),
        (["--since", "5m"], ["llm-00002", "llm-00003"]),
        (["--deleted", "--last", "3"], ["llm-00001", "llm-00002", "llm-00003"]),
    ],
)
async def test_the_drawn_revisions_can_be_limited(
    control_plane: FakeControlPlane, args: list[str], names: list[str]
) -> None:
    result = await ran(control_plane, "timeline", "llm", *args)
    assert [json.loads(line)["name"] for line in result.out.splitlines()] == names


async def test_a_control_plane_without_history_has_a_timeline_too(control_plane: FakeControlPlane) -> None:
    control_plane.fail_next(None, 404, path="/history$")
    result = await ran(control_plane, "timeline", "llm", "--last", "1")
    assert [span["phase"] for span in json.loads(result.out)["spans"]] == [None, "Running"]


async def test_the_picture_is_written_to_a_file(control_plane: FakeControlPlane, tmp_path: Path) -> None:
    file = tmp_path / "timeline.svg"
    result = await ran(control_plane, "timeline", "llm", "--svg", str(file))
    assert (result.status, result.out, result.err) == (0, "", f"wrote {file}\n")
    (other := tmp_path / "other").touch()
    assert file.stat().st_mode == other.stat().st_mode  # as the umask has it
    assert ET.parse(file).getroot().tag == "{http://www.w3.org/2000/svg}svg"


@pytest.mark.parametrize(
    ("folder", "problem"), [("nope", "No such file or directory"), ("file", "Not a directory")]
)
async def test_a_picture_that_cannot_be_written_is_an_error(
    control_plane: FakeControlPlane, tmp_path: Path, folder: str, problem: str
) -> None:
    (tmp_path / "file").touch()
    picture = tmp_path / folder / "x.svg"
    result = await ran(control_plane, "timeline", "llm", "--svg", str(picture))
    assert result == Ran(2, "", f"Error: --svg {picture} cannot be written: {problem}\n")


async def test_nothing_to_draw_is_a_message_on_stderr(control_plane: FakeControlPlane) -> None:
    control_plane.add_workload("empty")
    result = await ran(control_plane, "timeline", "empty")
    assert (result.status, result.out, result.err) == (0, "", "empty has no revisions to draw\n")
