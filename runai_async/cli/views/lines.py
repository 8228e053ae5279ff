"""One line for each event."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import assert_never

from rich.text import Text

from runai_async._wait.pods import pods_text
from runai_async._watch.clusters import describe_loss
from runai_async.cli.labels import project_in
from runai_async.cli.text import clean, cut_middle, duration, phase_name, shortened, since
from runai_async.cli.times import Times
from runai_async.cli.views.tables import phase_text
from runai_async.cli.wording import reason
from runai_async.errors import RunaiError
from runai_async.events import (
    ClusterConnected,
    ClusterDisconnected,
    ClusterEvent,
    FleetEvent,
    PhaseChanged,
    RevisionAdded,
    RevisionDeleted,
    RevisionEvent,
    RevisionStalled,
    RevisionUpdated,
    Synced,
    WatchDegraded,
    WatchRecovered,
    WorkloadFailed,
)
from runai_async.models import Revision

_GAPS = 4
"""Columns of a line before and behind the name: twice two blanks."""
_NAME_PART = 3
"""A name is not cut below this part of the width: a third."""
_CHANGES = 3
"""The most changed fields that a line names; if there are more, it counts them."""


def event_line(
    event: FleetEvent,
    names: Mapping[str, str],
    times: Times,
    width: int | None = None,
    *,
    ahead: timedelta | None = None,
) -> Text:
    """Write an event as a line: when it happened by the server's clock, who, and what happened.

    Args:
        event: an event of a watch or fleet.
        names: of workloads, by id, as far as they are known; see `Labels`.
        times: writes times.
        width: columns; a name is cut in the middle if the line is wider. None for a whole line.
        ahead: by how much the server's clock was ahead when the event came; None where that is now.
    """
    seen_at = event.observed_at + (times.ahead if ahead is None else ahead)
    if isinstance(event, RevisionEvent):
        at, what = _time(event, seen_at), _revision_text(event, seen_at)
        who = project_in(names.get(event.workload_id, "")) + event.revision.name
    elif isinstance(event, ClusterEvent):
        at, who, what = seen_at, f"cluster {event.name}", cluster_text(event, seen_at)
    else:
        who = names.get(event.workload_id, event.workload_id) or "all workloads"
        at, what = seen_at, workload_text(event)
    name, written = clean(who), times.written(at)
    if width is not None:
        name = cut_middle(name, max(width // _NAME_PART, width - len(written) - _GAPS - what.cell_len))
    line = Text.assemble((written, "bright_black"), "  ", (name, "bold"), "  ")
    return line.append(what)


def _time(event: RevisionEvent, seen_at: datetime) -> datetime:
    """Return when the event happened; of a state that may be as old as the revision, when it was seen."""
    if isinstance(event, RevisionAdded) and event.initial:
        return seen_at
    if isinstance(event, RevisionStalled):
        return event.since + timedelta(seconds=event.seconds)
    return event.server_time or seen_at


def _revision_text(event: RevisionEvent, seen_at: datetime) -> Text:
    match event:
        case RevisionAdded(initial=True) | RevisionStalled():
            return _lasting(event, seen_at)
        case RevisionAdded():
            return Text("created: ").append(_state(event))
        case PhaseChanged(coalesced=True):
            return Text("restarted: ").append(_state(event))
        case PhaseChanged():
            return Text().append(phase_text(event.previous_phase)).append(" -> ").append(_state(event))
        case RevisionUpdated():
            return Text(_changes(event))
        case RevisionDeleted():
            return Text("deleted, was ").append(phase_text(event.revision.phase))
        case _:
            assert_never(event)


def _lasting(event: RevisionAdded | RevisionStalled, seen_at: datetime) -> Text:
    """Write for how long a revision has been in its phase."""
    if isinstance(event, RevisionStalled):
        return Text("stalled: ", style="yellow").append(_state(event, f" for {duration(event.seconds)}"))
    age = since(event.revision.phase_updated_at, seen_at)
    return Text("exists: ").append(_state(event, f" for {age}" if age else ""))


def _state(event: RevisionEvent, age: str = "") -> Text:
    revision = event.revision
    text = phase_text(revision.phase).append(f"{age}  {pods_text(revision)} pods", style="default not bold")
    message = clean(revision.phase_message)
    return text.append(f"  {message}", style="default") if message else text


def _changes(event: RevisionUpdated) -> str:
    if len(event.changes) > _CHANGES:
        return f"{len(event.changes)} fields changed"
    return clean(", ".join(f"{change.path} {change.old} -> {change.new}" for change in event.changes))


def workload_text(event: Synced | WatchDegraded | WatchRecovered | WorkloadFailed) -> Text:
    """Write what happened to the watch of a workload."""
    match event:
        case Synced():
            return Text("synced")
        case WatchDegraded():
            return outage_line(event.error)
        case WatchRecovered():
            return recovery_line(event.seconds)
        case WorkloadFailed():
            return Text(f"failed: {reason(event.error)}", style="red")
        case _:
            assert_never(event)


def cluster_text(event: ClusterEvent, seen_at: datetime) -> Text:
    """Return what an event about a cluster says, without its name.

    Args:
        event: the event.
        seen_at: when it came, by the server's clock.
    """
    match event:
        case ClusterDisconnected():
            return Text(describe_loss(event.last_seen_at, seen_at), style="yellow")
        case ClusterConnected():
            return Text("connected again", style="green")
        case _:
            assert_never(event)


def revision_line(revision: Revision) -> Text:
    """Write the state of a revision: its name, phase, pods and the beginning of its message."""
    line = Text.assemble((clean(revision.name), "bold"), "  ").append(phase_text(revision.phase))
    line.append(f"  {pods_text(revision)} pods")
    if revision.phase_message:
        line.append(f"  {shortened(revision.phase_message)}")
    return line


def cluster_line(event: ClusterEvent, times: Times) -> Text:
    """Write that a cluster has lost its connection, or is back."""
    return Text(f"cluster {clean(event.name)} ").append(cluster_text(event, event.observed_at + times.ahead))


def stalled_line(event: RevisionStalled, label: str = "") -> Text:
    """Write that a revision, of a workload that a label names, has been in its phase for long."""
    name = project_in(label) + event.revision.name
    line = Text("stalled: ", style="yellow").append(clean(name)).append(" has been ")
    return line.append(phase_name(event.revision.phase)).append(f" for {duration(event.seconds)}")


def outage_line(error: RunaiError) -> Text:
    """Write that an outage began."""
    return Text(f"outage began: {reason(error)}", style="yellow")


def recovery_line(seconds: float) -> Text:
    """Write that an outage ended."""
    return Text(f"outage ended after {seconds:.1f} s", style="green")
