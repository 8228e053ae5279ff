"""What the demo prints is what happened on its control plane, and what a client was answered."""

import asyncio
import json
import re
from collections import defaultdict
from datetime import datetime

import pytest
from attrs import frozen
from rich.text import Text
from support.cli import Ran, ran
from support.oracle import is_subsequence

from runai_async import Phase, Revision, from_json
from runai_async.cli.commands.demo import Counts, run_demo, summary
from runai_async.cli.text import clock
from runai_async.cli.views.watch import Lines
from runai_async.errors import TransportError
from runai_async.events import RevisionAdded, RevisionDeleted, WatchDegraded
from runai_async.testing import FakeControlPlane, Transition

PACE = 0.08
"""The whole takes about a second."""

_EVENT = re.compile(r"(?P<at>[\d:.]{12})  (?P<who>[a-z]+(?:-\d+)?)  (?P<news>.*)")
_REVISION = re.compile(r"[a-z]+-\d+")
_PHASE = re.compile(
    r"(?:is there: |is new: |(?P<before>\w+) -> )(?P<phase>\w+)(?: for \w+)?  (?P<pods>\d/\d) pods"
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
        lines: list[Text] = []
        summary, agrees = await run_demo(PACE, Lines(lines.append), control_plane)
        return Show([line.plain for line in lines], [line.plain for line in summary], agrees, control_plane)

    return asyncio.run(play())


async def test_every_phase_that_is_printed_was_answered_in_that_order(show: Show) -> None:
    told: dict[str, list[str]] = defaultdict(list)
    for event in show.events:
        if match := _PHASE.match(event["news"]):
            told[event["who"]].append(match["phase"])
    responded: dict[str, list[str]] = defaultdict(list)
    for response in show.control_plane.responses:
        for revision_id, (phase, _) in response.phases.items():
            responded[show.name(revision_id)].append(phase)
    assert told.keys() == responded.keys()
    for name, phases in told.items():
        assert is_subsequence(phases, responded[name])
        assert phases[-1] == responded[name][-1]


async def test_every_time_that_is_printed_is_that_of_a_change(show: Show) -> None:
    starts = {"added": "is new: ", "phase": "", "deleted": "is deleted"}
    changes = {
        (clock(_time_of(change)), show.name(change.revision_id), starts[change.kind])
        for change in show.control_plane.transitions
    }
    for event in show.events:
        if not _REVISION.fullmatch(event["who"]) or event["news"].startswith("is there: "):
            continue  # about a workload; or seen, and not changed then
        fitting = [start for at, who, start in changes if (at, who) == (event["at"], event["who"])]
        assert any(event["news"].startswith(start) for start in fitting), event


def _time_of(change: Transition) -> datetime:
    """Return the time that an answer tells of a change."""
    return change.at if change.kind == "deleted" else datetime.fromisoformat(change.phase_updated_at or "")


async def test_the_story_is_told_whole(show: Show) -> None:
    assert [line for line in show.lines if line.startswith("# ")] == [
        "# A new revision of chat is rolled out; it takes over from the old one.",
        "# A new revision of embed is rolled out; its image does not exist.",
        "# The control plane answers nothing but 503, while a better revision of embed begins.",
        "# The control plane answers again.",
    ]
    last = {event["who"]: event["news"] for event in show.events}
    assert last["chat-00001"] == "is deleted, was Running"
    assert last["chat-00002"].endswith("Running  2/2 pods")
    assert "Failed  0/2 pods  ImagePullBackOff" in last["embed-00002"]
    assert last["embed-00003"].endswith("Running  2/2 pods")
    assert re.fullmatch(r"outage is over after \d+\.\d s", last["embed"])
    assert re.fullmatch(r"outage is over after \d+\.\d s", last["chat"])


async def test_what_the_summary_counts_is_what_arrived(show: Show) -> None:
    changes, requests = len(show.control_plane.transitions), len(show.control_plane.requests)
    assert show.agrees
    assert show.summary == [
        "Summary",
        "  chat-00001 deleted, chat-00002 Running 2/2",
        "  embed-00001 Running 2/2, embed-00002 Failed 0/2, embed-00003 Running 2/2",
        f"  {changes} changes on the control plane, {requests} requests to it, {len(show.events)} events",
        show.summary[4],
        "  at the end, what was told agrees with the control plane",
    ]
    spells = [float(event["news"].split()[4]) for event in show.events if "is over" in event["news"]]
    assert show.summary[4] == f"  an outage of {max(spells):.1f} s at the longest, and the watches went on"


def test_what_was_not_told_is_noticed() -> None:
    control_plane, seen = FakeControlPlane(), Counts()
    workload_id = control_plane.add_workload()
    revision_id = control_plane.add_revision(workload_id, "Pending")
    now = datetime.fromisoformat("2026-01-01T00:00:00Z")

    def state() -> Revision:
        return from_json(json.dumps(control_plane.revision(revision_id)).encode(), Revision)

    assert not seen.agrees_with(control_plane)
    seen.note(RevisionAdded(revision=state(), observed_at=now))
    assert seen.agrees_with(control_plane)
    control_plane.set_phase(revision_id, "Running")
    assert not seen.agrees_with(control_plane)
    seen.note(RevisionAdded(revision=state(), observed_at=now))
    assert seen.agrees_with(control_plane)
    assert seen.revisions[revision_id].phase == Phase.RUNNING
    control_plane.delete_revision(revision_id)
    assert not seen.agrees_with(control_plane)
    seen.note(RevisionDeleted(revision=state(), observed_at=now))
    assert seen.agrees_with(control_plane)
    seen.note(WatchDegraded(workload_id=workload_id, observed_at=now, error=TransportError("gone")))
    assert not seen.agrees_with(control_plane)


def test_a_summary_tells_of_what_disagrees_and_of_no_outage_where_there_was_none() -> None:
    control_plane, seen = FakeControlPlane(), Counts()
    workload_id = control_plane.add_workload("chat")
    control_plane.add_revision(workload_id)
    assert [line.plain for line in summary(seen, control_plane, {workload_id: "chat"})] == [
        "Summary",
        "  ",
        "  1 changes on the control plane, 0 requests to it, 0 events",
        "  at the end, what was told DOES NOT AGREE with the control plane",
    ]


async def test_the_command_fails_where_what_was_told_disagrees(monkeypatch: pytest.MonkeyPatch) -> None:
    async def disagreeing(*_: object) -> tuple[list[Text], bool]:
        return [Text("the summary")], False

    monkeypatch.setattr("runai_async.cli.commands.demo.run_demo", disagreeing)
    assert await ran(None, "demo") == Ran(1, "the summary\n", "")


async def test_the_command_prints_lines_without_colour_in_a_pipe() -> None:
    result = await ran(None, "demo", "--pace", "0.03")
    assert result == Ran(0, result.out, "")
    assert "\x1b" not in result.out
    lines = result.out.splitlines()
    assert _EVENT.fullmatch(lines[0])
    assert lines[-1] == "  at the end, what was told agrees with the control plane"
