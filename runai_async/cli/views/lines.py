"""One event, one line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import assert_never

from rich.text import Text

from runai_async.cli.text import clean, clock, phase_style, pods, since
from runai_async.errors import ApiError, RunaiError
from runai_async.events import (
    FleetEvent,
    PhaseChanged,
    RevisionAdded,
    RevisionDeleted,
    RevisionEvent,
    RevisionUpdated,
    Synced,
    WatchDegraded,
    WatchRecovered,
    WorkloadFailed,
)
from runai_async.models import Phase

_REQUEST = re.compile(r"^[A-Z]+ https?://\S+: ")
_CHANGES = 3
"""Changed fields that a line names; of more it tells the number."""


def event_line(event: FleetEvent, names: Mapping[str, str]) -> Text:
    """Write an event as a line: the server's time where it is known, who, what happened.

    Args:
        event: what a watch yielded.
        names: of workloads, by id, as far as they are known.
    """
    if isinstance(event, RevisionEvent):
        at, who, news = _when(event), event.revision.name, _news(event)
    else:
        who = names.get(event.workload_id, event.workload_id)
        at, news = event.observed_at, _workload_news(event)
    line = Text.assemble((clock(at), "bright_black"), "  ", (clean(who), "bold"), "  ")
    return line.append(news)


def _when(event: RevisionEvent) -> datetime:
    """Return when it happened; of what was there already, when it was seen."""
    if isinstance(event, RevisionAdded) and event.initial:
        return event.observed_at
    return event.server_time or event.observed_at


def _phase(phase: Phase) -> Text:
    return Text(clean(phase), style=phase_style(phase))


def _news(event: RevisionEvent) -> Text:
    match event:
        case RevisionAdded(initial=True):
            age = since(event.revision.phase_updated_at, event.observed_at)
            return Text("is there: ").append(_state(event, f" for {age}" if age else ""))
        case RevisionAdded():
            return Text("is new: ").append(_state(event))
        case PhaseChanged(coalesced=True):
            return (
                Text("left ")
                .append(_phase(event.previous_phase))
                .append(" and is back: ")
                .append(_state(event))
            )
        case PhaseChanged():
            return Text().append(_phase(event.previous_phase)).append(" -> ").append(_state(event))
        case RevisionUpdated():
            return Text(_changes(event))
        case RevisionDeleted():
            return Text("is deleted, was ").append(_phase(event.revision.phase))
        case _:
            assert_never(event)


def _state(event: RevisionEvent, age: str = "") -> Text:
    revision = event.revision
    text = _phase(revision.phase).append(f"{age}  {pods(revision)} pods", style="default not bold")
    message = clean(revision.phase_message)
    return text.append(f"  {message}", style="default") if message else text


def _changes(event: RevisionUpdated) -> str:
    if len(event.changes) > _CHANGES:
        return f"{len(event.changes)} fields changed"
    return clean(", ".join(f"{change.path} {change.old} -> {change.new}" for change in event.changes))


def _workload_news(event: Synced | WatchDegraded | WatchRecovered | WorkloadFailed) -> Text:
    match event:
        case Synced():
            return Text("is read")
        case WatchDegraded():
            return Text(f"outage begins: {reason(event.error)}", style="yellow")
        case WatchRecovered():
            return Text(f"outage is over after {event.seconds:.1f} s", style="green")
        case WorkloadFailed():
            return Text(f"fails: {reason(event.error)}", style="red")
        case _:
            assert_never(event)


def reason(error: RunaiError) -> str:
    """Write an error without the request that it was met with, which says little beside a workload's name."""
    if isinstance(error, ApiError):
        return clean(f"{error.status} {error.message} {error.details or ''}")
    return _REQUEST.sub("", clean(str(error)))
