"""The live view: the revisions of each workload as rows, with the last events below."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import assert_never

from attrs import Factory, define
from rich.console import Group, RenderableType
from rich.text import Text

from runai_async._clock import EARLIEST
from runai_async._wait.pods import pods_text
from runai_async._watch.clusters import describe_loss
from runai_async.cli.spans import newest_first
from runai_async.cli.text import clean, counted, since
from runai_async.cli.views.lines import event_line, reason
from runai_async.cli.views.tables import NARROW, one_line, phase_text, plain_table
from runai_async.events import (
    ClusterConnected,
    ClusterDisconnected,
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
from runai_async.hooks import HookEvent, PollFinished
from runai_async.models import Phase, Revision

_DELETED_FOR = timedelta(seconds=30)
"""How long a deleted revision is still shown."""
_POLLED_WITHIN = timedelta(minutes=10)
"""A workload without revisions that was not polled for so long is no longer watched."""
_UNHEALTHY = {Phase.FAILED, Phase.DEGRADED}
_EVENTS_KEPT = 50
_FRAME = 5
"""Lines that are neither revisions nor events, and one to spare."""
_LEAST_ROWS = 3
"""A workload, a revision, and the number of hidden workloads."""

Row = tuple[RenderableType, RenderableType, str, str, RenderableType]


@define
class _Problem:
    """Why the polls of a workload fail, and since when."""

    kind: str
    reason: str
    since: datetime


@define
class _Section:
    """One workload's part of the board.

    Attributes:
        polled_at: when it was polled last.
        revisions: the last known state of each revision, by id.
        deleted: when a deletion was observed, by revision id.
        stalled: the revisions that were reported as stalled in their present phase.
        problem: why its polls fail; None while they succeed.
        changed_at: when something happened last.
        synced: whether a poll has succeeded.
        undecodable: how many revisions of the last response could not be decoded.
    """

    polled_at: datetime
    revisions: dict[str, Revision] = Factory(dict[str, Revision])
    deleted: dict[str, datetime] = Factory(dict[str, datetime])
    stalled: set[str] = Factory(set[str])
    problem: _Problem | None = None
    changed_at: datetime = EARLIEST
    synced: bool = False
    undecodable: int = 0

    def begin(self, revisions: Iterable[Revision]) -> None:
        """Take in what the first successful poll showed: not all of it need become an event."""
        self.synced = True
        for revision in revisions:
            if revision.id not in self.revisions:
                self.revisions[revision.id] = revision
                self.changed(revision.phase_updated_at or revision.created_at)

    @property
    def is_empty(self) -> bool:
        """Whether it is known that there are no revisions."""
        return self.synced and not self.revisions and not self.undecodable

    def update(self, event: RevisionEvent) -> None:
        self.revisions[event.revision_id] = event.revision
        self.changed(event.revision.phase_updated_at or event.revision.created_at)
        if isinstance(event, RevisionDeleted):
            self.deleted[event.revision_id] = event.observed_at
        if isinstance(event, RevisionStalled):
            self.stalled.add(event.revision_id)
        elif not isinstance(event, RevisionUpdated):
            self.stalled.discard(event.revision_id)

    def changed(self, at: datetime) -> None:
        self.changed_at = max(self.changed_at, at)

    def priority(self) -> tuple[bool, datetime]:
        """Return the sort key if there is no room for all: unhealthy workloads first, then recent changes."""
        newest = next(iter(newest_first(self.revisions.values())), None)
        is_bad = newest is not None and (newest.phase in _UNHEALTHY or newest.id in self.stalled)
        unhealthy = self.problem is not None or is_bad
        return unhealthy, self.changed_at

    def is_over(self, now: datetime) -> bool:
        """Return whether there is nothing to show because the workload is no longer polled."""
        return not self.revisions and now - self.polled_at > _POLLED_WITHIN

    def displayed(self, now: datetime) -> list[Revision]:
        """Return the revisions to show, newest first, after dropping those deleted long ago."""
        for key in [key for key, at in self.deleted.items() if now - at > _DELETED_FOR]:
            del self.deleted[key], self.revisions[key]
        return newest_first(self.revisions.values())


class Board:
    """Keeps the state that events and polls report, and draws it into any width and height.

    Attributes:
        headline: the first line.
    """

    def __init__(self, names: Mapping[str, str], headline: str) -> None:
        self.headline = headline
        self._names = names
        self._sections: dict[str, _Section] = {}
        self._lost: dict[str, ClusterDisconnected] = {}
        self._log: deque[Text] = deque(maxlen=_EVENTS_KEPT)
        self._events = 0
        self._last_success_at: datetime | None = None

    # --- state ----------------------------------------------------------------------------------------------

    def note(self, event: FleetEvent) -> None:
        """Update the state from an event."""
        self._events += 1
        if isinstance(event, ClusterDisconnected):
            self._lost[event.cluster_id] = event
        elif isinstance(event, ClusterConnected):
            self._lost.pop(event.cluster_id, None)
        elif event.workload_id:  # else it is about all of them
            self._note_workload(event, self._section(event.workload_id, event.observed_at))
        line = event_line(event, self._names)
        line.no_wrap, line.overflow = True, "ellipsis"
        self._log.append(line)

    def _note_workload(
        self,
        event: RevisionEvent | Synced | WatchDegraded | WatchRecovered | WorkloadFailed,
        section: _Section,
    ) -> None:
        """Update a workload's part from an event about it."""
        match event:
            case WatchDegraded() | WorkloadFailed():
                section.problem = _Problem("outage", reason(event.error), event.observed_at)
                section.changed(event.observed_at)
            case WatchRecovered():
                section.problem = None
                section.changed(event.observed_at)
            case Synced():
                section.changed(event.observed_at)
            case RevisionAdded() | PhaseChanged() | RevisionUpdated() | RevisionStalled() | RevisionDeleted():
                section.update(event)
            case _:
                assert_never(event)

    def note_poll(
        self, event: HookEvent, revisions_of: Callable[[str], Iterable[Revision]] = lambda _: ()
    ) -> None:
        """Update the state from the end of a poll: a success ends a problem, a failure is shown at once.

        Args:
            event: the end of a poll, or another event of the client, which changes nothing.
            revisions_of: returns the live revisions of a workload, for its first successful poll.
        """
        if not isinstance(event, PollFinished) or event.error == "CancelledError":
            return  # not the end of a poll, or one that was cut off by the end of the command
        now = datetime.now(UTC)
        section = self._section(event.workload_id, now)
        if event.error is None:
            self._last_success_at = now
            section.undecodable, section.problem = event.undecodable, None
            if not section.synced:
                section.begin(revisions_of(event.workload_id))
        elif section.problem is None:
            section.problem = _Problem("failing", f"{event.error}, retrying", now)

    def _section(self, workload_id: str, at: datetime) -> _Section:
        section = self._sections.setdefault(workload_id, _Section(at))
        section.polled_at = at
        return section

    # --- drawing --------------------------------------------------------------------------------------------

    def draw(self, now: datetime, width: int, height: int) -> RenderableType:
        """Return the view, cut to *height* lines."""
        self._sections = {key: item for key, item in self._sections.items() if not item.is_over(now)}
        events = min(max(3, height // 3), 10, max(1, len(self._log)))
        table = plain_table("REVISION", "PHASE", "SINCE", "PODS", cut="REVISION")
        if width >= NARROW:
            table.add_column("MESSAGE")
        lost = self._losses()
        for row in self._rows(now, max(_LEAST_ROWS, height - events - _FRAME - len(lost))):
            table.add_row(*row[: len(table.columns)])
        return Group(
            one_line(self.headline, style="bold"),
            *(one_line(_loss(event, now), style="yellow") for event in lost),
            table,
            Text(""),
            *list(self._log)[-events:],
            one_line(self._footer(now), style="bright_black"),
        )

    def _losses(self) -> list[ClusterDisconnected]:
        """Return the lost clusters of what is shown; those of workloads that have left do not matter."""
        shown = {
            item.cluster_id for section in self._sections.values() for item in section.revisions.values()
        }
        return [event for key, event in self._lost.items() if key in shown]

    def _footer(self, now: datetime) -> str:
        at = self._last_success_at
        polled = f"last successful poll {since(at, now)} ago" if at else "no successful poll yet"
        return f"{counted(len(self._sections), 'workload')}, {counted(self._events, 'event')}, {polled}"

    def _rows(self, now: datetime, room: int) -> Iterator[Row]:
        sections = sorted(self._sections.items(), key=lambda item: self._name(item[0]))
        hidden = 0
        if 2 * len(sections) > room:  # each needs two rows
            sections.sort(key=lambda item: item[1].priority(), reverse=True)
            fitting = max(1, (room - 1) // 2)
            hidden = max(0, len(sections) - fitting)
            sections = sections[:fitting]
        revisions = [section.displayed(now) for _, section in sections]
        shares = _shares([len(items) for items in revisions], room - len(sections) - (hidden > 0))
        for (workload_id, section), items, share in zip(sections, revisions, shares, strict=True):
            yield self._heading(workload_id, section, now, older=len(items) - share)
            for revision in _chosen(items, share):
                yield _revision_row(
                    revision,
                    now,
                    deleted=revision.id in section.deleted,
                    stalled=revision.id in section.stalled,
                )
        if hidden:
            yield one_line(f"... {counted(hidden, 'more workload')}", style="bright_black"), "", "", "", ""

    def _name(self, workload_id: str) -> str:
        return self._names.get(workload_id, workload_id)

    def _heading(self, workload_id: str, section: _Section, now: datetime, *, older: int) -> Row:
        name = one_line(self._name(workload_id), style="bold")
        if older:
            name.append(f" +{older} older", style="not bold bright_black")
        if section.problem is None:
            text = "no revisions" if section.is_empty else ""
            return name, "", "", "", one_line(text, style="bright_black")
        problem = section.problem
        text = f"{problem.kind} for {since(problem.since, now)}: {problem.reason}"
        return name, "", "", "", one_line(text, style="yellow")


def _loss(event: ClusterDisconnected, now: datetime) -> str:
    return f"cluster {clean(event.name)} {describe_loss(event.last_seen_at, now)}"


def _chosen(revisions: Sequence[Revision], share: int) -> list[Revision]:
    """Return as many as there is room for: the newest, the newest that runs, then by age."""
    serving = next((item for item in revisions if item.phase == Phase.RUNNING), None)
    ranked = [item for item in revisions if item is not serving]
    if serving is not None:
        ranked.insert(min(1, revisions.index(serving)), serving)
    chosen = {item.id for item in ranked[:share]}
    return [item for item in revisions if item.id in chosen]


def _shares(needed: Sequence[int], room: int) -> list[int]:
    """Share rows out: one to each in turn, until all have what they need or there is no more room."""
    shares = [0] * len(needed)
    while room > 0 and shares != list(needed):
        for index, most in enumerate(needed):
            if shares[index] < most and room > 0:
                shares[index] += 1
                room -= 1
    return shares


def _revision_row(revision: Revision, now: datetime, *, deleted: bool, stalled: bool) -> Row:
    name = Text("  ", no_wrap=True, overflow="ellipsis").append(clean(revision.name))
    if deleted:
        name.stylize("bright_black strike")
        return name, Text("deleted", style="bright_black"), since(revision.deleted_at, now), "", ""
    at, phase = since(revision.phase_updated_at, now), phase_text(revision.phase)
    if stalled:
        phase = Text("stalled: ", style="yellow").append(phase)
    return name, phase, at, pods_text(revision), one_line(revision.phase_message)
