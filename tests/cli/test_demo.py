"""The demo prints what happened on its control plane, as a client received it."""

import asyncio
import io
import json
import re
from collections import defaultdict
from datetime import datetime

import pytest
from attrs import frozen
from rich.console import Console
from support.cli import Ran, ran
from support.oracle import is_subsequence

from runai_async import Phase, Revision, from_json
from runai_async.cli.commands.demo import Counts, run_demo, summary
from runai_async.cli.text import time_of_day
from runai_async.cli.views.terminal import LinesView
from runai_async.errors import TransportError
from runai_async.events import RevisionAdded, RevisionDeleted, WatchDegraded
from runai_async.testing import FakeControlPlane, Transition

PACE = 0.08
"""The whole takes about a second."""

_EVENT = re.compile(r"(?P<at>[\d:.]{12}Z)  (?P<who>all workloads|[a-z]+(?:-\d+)?)  (?P<what>.*)")
_REVISION = re.compile(r"[a-z]+-\d+")
_PHASE = re.compile(
    r"(?:exists: |created: |(?P<before>\w+) -> )(?P<phase>\w+)(?: for \w+)?  (?P<pods>\d/1-4) pods"
)


@frozen
class Show:
    """A demo that was played."""

    lines: list[str]
    summary: list[str]
    agrees: bool
    control_plane: FakeControlPlane

    @property
    def events(self) -> list[re.Match[str]]:
        """Return the lines about events, taken apart."""
        found = [_EVENT.fullmatch(line) for line in self.lines if not line.startswith("# ")]
        assert None not in found
        return [match for match in found if match]

    def name(self, revision_id: str) -> str:
        """Return a revision's name."""
        return str(self.control_plane.revision(revision_id)["name"])


@pytest.fixture(scope="module")
def show() -> Show:
    async def play() -> Show:
        control_plane = FakeControlPlane(record_responses=True)
        printed = io.StringIO()
        facts, agrees = await run_demo(PACE, LinesView(Console(file=printed)), control_plane)
        return Show(printed.getvalue().splitlines(), facts, agrees, control_plane)

    return asyncio.run(play())


async def test_printed_phases_are_in_the_order_of_the_responses(show: Show) -> None:
    printed: dict[str, list[str]] = defaultdict(list)
    for event in show.events:
        if match := _PHASE.match(event["what"]):
            printed[event["who"]].append(match["phase"])
    responded: dict[str, list[str]] = defaultdict(list)
    for response in show.control_plane.responses:
        for revision_id, (phase, _) in response.phases.items():
            responded[show.name(revision_id)].append(phase)
    assert printed.keys() == responded.keys()
    for name, phases in printed.items():
        assert is_subsequence(phases, responded[name])
        assert phases[-1] == responded[name][-1]


async def test_every_printed_time_is_the_time_of_a_change(show: Show) -> None:
    starts = {"added": "created: ", "phase": "", "deleted": "deleted"}
    changes = {
        (
            time_of_day(_time_of(change), timespec="milliseconds"),
            show.name(change.revision_id),
            starts[change.kind],
        )
        for change in show.control_plane.transitions
    }
    for event in show.events:
        if not _REVISION.fullmatch(event["who"]) or event["what"].startswith("exists: "):
            continue  # about a workload, or at the time of observation
        fitting = [start for at, who, start in changes if (at, who) == (event["at"], event["who"])]
        assert any(event["what"].startswith(start) for start in fitting), event


def _written(time: datetime) -> str:
    return time_of_day(time, timespec="milliseconds")


def _time_of(change: Transition) -> datetime:
    """Return the time of a change as the API reports it."""
    return change.at if change.kind == "deleted" else datetime.fromisoformat(change.phase_updated_at or "")


async def test_the_whole_story_is_printed(show: Show) -> None:
    assert [line for line in show.lines if line.startswith("# ")] == [
        "# A new revision of chat is rolled out and replaces the old one.",
        "# A new revision of embed is rolled out; its image does not exist.",
        "# The control plane responds with 503 only, while a better revision of embed is rolled out.",
        "# The control plane responds normally again.",
    ]
    last = {event["who"]: event["what"] for event in show.events}
    assert last["chat-00001"] == "deleted, was Running"
    assert last["chat-00002"].endswith("Running  2/1-4 pods")
    assert "Failed  0/1-4 pods  ImagePullBackOff" in last["embed-00002"]
    assert last["embed-00003"].endswith("Running  2/1-4 pods")
    assert re.search(r"  outage ended after \d+\.\d s\n", "\n".join(show.lines))


async def test_the_summary_counts_what_happened(show: Show) -> None:
    changes, requests = len(show.control_plane.transitions), len(show.control_plane.requests)
    assert show.agrees
    outages = [float(event["what"].split()[3]) for event in show.events if "outage ended" in event["what"]]
    first, second, counts, longest = show.summary
    assert (first, second) == (
        "chat-00001 deleted, chat-00002 Running 2/1-4",
        "embed-00001 Running 2/1-4, embed-00002 Failed 0/1-4, embed-00003 Running 2/1-4",
    )
    found = re.fullmatch(
        rf"{changes} changes on the control plane, {requests} requests to it, (\d+) events", counts
    )
    assert found
    assert 0 <= int(found[1]) - len(show.events) <= 2  # an outage of both is one line, and so is its end
    found = re.fullmatch(
        r"the longest outage lasted (\d+\.\d) s, and the watches continued after it", longest
    )
    assert found
    assert float(found[1]) >= max(outages)


def test_an_unreported_change_is_noticed() -> None:
    control_plane, counts = FakeControlPlane(), Counts()
    workload_id = control_plane.add_workload()
    revision_id = control_plane.add_revision(workload_id, "Pending")
    now = datetime.fromisoformat("2026-01-01T00:00:00Z")

    def state() -> Revision:
        return from_json(json.dumps(control_plane.revision(revision_id)).encode(), Revision)

    assert not counts.agrees_with(control_plane)
    counts.note(RevisionAdded(revision=state(), observed_at=now))
    assert counts.agrees_with(control_plane)
    control_plane.set_phase(revision_id, "Running")
    assert not counts.agrees_with(control_plane)
    counts.note(RevisionAdded(revision=state(), observed_at=now))
    assert counts.agrees_with(control_plane)
    assert counts.revisions[revision_id].phase == Phase.RUNNING
    control_plane.delete_revision(revision_id)
    assert not counts.agrees_with(control_plane)
    counts.note(RevisionDeleted(revision=state(), observed_at=now))
    assert counts.agrees_with(control_plane)
    counts.note(WatchDegraded(workload_id=workload_id, observed_at=now, error=TransportError("gone")))
    assert not counts.agrees_with(control_plane)


def test_a_summary_without_an_outage_mentions_none() -> None:
    control_plane, counts = FakeControlPlane(), Counts()
    workload_id = control_plane.add_workload("chat")
    control_plane.add_revision(workload_id)
    assert list(summary(counts, control_plane, {workload_id: "chat"})) == [
        "",
        "1 change on the control plane, 0 requests to it, 0 events",
    ]


async def test_the_command_fails_if_the_watches_disagree_with_the_control_plane(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def disagreeing(*_: object) -> tuple[list[str], bool]:
        return ["a fact"], False

    monkeypatch.setattr("runai_async.cli.commands.demo.run_demo", disagreeing)
    assert await ran(None, "demo") == Ran(
        1, "Summary\n  a fact\n  what the watches reported DOES NOT AGREE with the control plane\n", ""
    )


async def test_the_command_prints_lines_without_colour_in_a_pipe() -> None:
    result = await ran(None, "demo", "--pace", "0.03")
    assert result == Ran(0, result.out, "")
    assert "\x1b" not in result.out
    lines = result.out.splitlines()
    assert _EVENT.fullmatch(lines[0])
    assert lines[-1] == "  what the watches reported agrees with the control plane"


async def test_a_demo_that_was_ended_by_a_key_has_no_summary(monkeypatch: pytest.MonkeyPatch) -> None:
    async def quits(pace: float, view: LinesView) -> tuple[list[str], bool]:
        view.has_quit = True
        return [], False

    monkeypatch.setattr("runai_async.cli.commands.demo.run_demo", quits)
    assert await ran(None, "demo") == Ran(0, "", "")
