"""The live view: what a watch has told, as rows, with the last events below."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from attrs import Factory, define
from rich.console import Group, RenderableType
from rich.text import Text

from runai_async.cli.text import clean, counted, pods, since
from runai_async.cli.views.lines import event_line, reason
from runai_async.cli.views.tables import NARROW, newest_first, one_line, phase_text, plain_table
from runai_async.events import (
    FleetEvent,
    RevisionDeleted,
    RevisionEvent,
    Synced,
    WatchDegraded,
    WatchRecovered,
    WorkloadFailed,
)
from runai_async.hooks import HookEvent, PollFinished
from runai_async.models import Phase, Revision

_GONE_FOR = 30.0
"""Seconds for which a deleted revision is still shown."""
_POLLED_WITHIN = timedelta(minutes=10)
"""A workload without revisions that was not polled for so long is watched no more."""
_AILING = {Phase.FAILED, Phase.DEGRADED}
_EVENTS_KEPT = 50
_FRAME = 5
"""Lines that are neither revisions nor events, and one to spare."""
_LEAST_ROWS = 3
"""A workload, a revision, and how much is left out."""

Row = tuple[RenderableType, RenderableType, str, str, RenderableType]


@define
class _Lane:
    """One workload's part of the board."""

    revisions: dict[str, Revision] = Factory(dict[str, Revision])
    gone: dict[str, datetime] = Factory(dict[str, datetime])
    trouble: tuple[str, str] | None = None
    trouble_since: datetime | None = None
    touched: datetime | None = None
    heard: datetime | None = None
    answered: bool = False

    def take(self, event: RevisionEvent) -> None:
        self.revisions[event.revision_id] = event.revision
        self.touch(event.revision.phase_updated_at or event.revision.created_at)
        if isinstance(event, RevisionDeleted):
            self.gone[event.revision_id] = event.observed_at

    def touch(self, at: datetime) -> None:
        self.touched = at if self.touched is None else max(self.touched, at)

    def rank(self) -> tuple[bool, datetime]:
        """Return what to sort by where there is no room for all: what ails, then where something happened."""
        newest = next(iter(newest_first(self.revisions.values())), None)
        ails = self.trouble is not None or (newest is not None and newest.phase in _AILING)
        return ails, self.touched or datetime.min.replace(tzinfo=UTC)

    def is_over(self, now: datetime) -> bool:
        """Tell whether there is nothing to show of a workload that is polled no more."""
        return not self.revisions and self.heard is not None and now - self.heard > _POLLED_WITHIN

    def shown(self, now: datetime) -> list[Revision]:
        """Return the revisions to show; what is long gone is forgotten."""
        for key in [key for key, at in self.gone.items() if (now - at).total_seconds() > _GONE_FOR]:
            del self.gone[key], self.revisions[key]
        return newest_first(self.revisions.values())


class Board:
    """Takes events and the results of polls; draws itself into any width and height.

    Attributes:
        headline: the first line.
    """

    def __init__(self, names: Mapping[str, str], headline: str) -> None:
        self.headline = headline
        self._names = names
        self._lanes: dict[str, _Lane] = {}
        self._log: deque[Text] = deque(maxlen=_EVENTS_KEPT)
        self._events = 0
        self._last_answer: datetime | None = None

    # --- what happens -------------------------------------------------------------------------------------

    def note(self, event: FleetEvent) -> None:
        """Take an event in."""
        self._events += 1
        lane = self._lanes.setdefault(event.workload_id, _Lane())
        lane.heard = event.observed_at
        match event:
            case WatchDegraded() | WorkloadFailed():
                lane.trouble, lane.trouble_since = ("outage", reason(event.error)), event.observed_at
                lane.touch(event.observed_at)
            case WatchRecovered():
                lane.trouble = None
                lane.touch(event.observed_at)
            case Synced():
                lane.touch(event.observed_at)
            case _:
                lane.take(event)
        self.say(event_line(event, self._names))

    def say(self, line: Text) -> None:
        """Put a line below the last event."""
        self._log.append(line)

    def hook(self, event: HookEvent) -> None:
        """Take in how a poll ended: a good one ends a trouble, a refused one is shown at once."""
        if not isinstance(event, PollFinished) or event.error == "CancelledError":
            return  # no poll, or one that the end of the command cut off
        now = datetime.now(UTC)
        lane = self._lanes.setdefault(event.workload_id, _Lane())
        lane.heard = now
        if event.error is None:
            self._last_answer = now
            lane.answered, lane.trouble = True, None
        elif lane.trouble is None:
            lane.trouble, lane.trouble_since = ("failing", f"{event.error}, asking again"), now

    # --- how it looks -------------------------------------------------------------------------------------

    def draw(self, now: datetime, width: int, height: int) -> RenderableType:
        """Return the view, cut to *height* lines."""
        self._lanes = {key: lane for key, lane in self._lanes.items() if not lane.is_over(now)}
        events = min(max(3, height // 3), 10, max(1, len(self._log)))
        table = plain_table("REVISION", "PHASE", "SINCE", "PODS", cut="REVISION")
        if width >= NARROW:
            table.add_column("MESSAGE")
        for row in self._rows(now, max(_LEAST_ROWS, height - events - _FRAME)):
            table.add_row(*row[: len(table.columns)])
        return Group(
            one_line(self.headline, style="bold"),
            table,
            Text(""),
            *(_cut(line) for line in list(self._log)[-events:]),
            one_line(self._footer(now), style="bright_black"),
        )

    def _footer(self, now: datetime) -> str:
        answer = f"last answer {since(self._last_answer, now)} ago" if self._last_answer else "no answer yet"
        return f"{counted(len(self._lanes), 'workload')}, {counted(self._events, 'event')}, {answer}"

    def _rows(self, now: datetime, room: int) -> Iterator[Row]:
        lanes = sorted(self._lanes.items(), key=lambda item: self._name(item[0]))
        hidden = 0
        if 2 * len(lanes) > room:  # each needs two rows
            lanes.sort(key=lambda item: item[1].rank(), reverse=True)
            fitting = max(1, (room - 1) // 2)
            hidden = max(0, len(lanes) - fitting)
            lanes = lanes[:fitting]
        revisions = [lane.shown(now) for _, lane in lanes]
        shares = _shares([len(items) for items in revisions], room - len(lanes) - (hidden > 0))
        for (workload_id, lane), items, share in zip(lanes, revisions, shares, strict=True):
            yield self._heading(workload_id, lane, now, older=len(items) - share)
            for revision in _chosen(items, share):
                yield _revision_row(revision, now, gone=revision.id in lane.gone)
        if hidden:
            yield one_line(f"... {counted(hidden, 'more workload')}", style="bright_black"), "", "", "", ""

    def _name(self, workload_id: str) -> str:
        return self._names.get(workload_id, workload_id)

    def _heading(self, workload_id: str, lane: _Lane, now: datetime, *, older: int) -> Row:
        name = one_line(self._name(workload_id), style="bold")
        if older:
            name.append(f" +{older} older", style="not bold bright_black")
        if lane.trouble is None:
            empty = lane.answered and not lane.revisions
            return name, "", "", "", one_line("it has no revisions" if empty else "", style="bright_black")
        kind, why = lane.trouble
        trouble = one_line(f"{kind} for {since(lane.trouble_since, now)}: {why}", style="yellow")
        return name, "", "", "", trouble


def _chosen(revisions: Sequence[Revision], share: int) -> list[Revision]:
    """Return as many as there is room for: the newest, the newest that runs, then by age."""
    serving = next((item for item in revisions if item.phase == Phase.RUNNING), None)
    wanted = [item for item in revisions if item is not serving]
    if serving is not None:
        wanted.insert(min(1, revisions.index(serving)), serving)
    kept = {item.id for item in wanted[:share]}
    return [item for item in revisions if item.id in kept]


def _shares(wanted: Sequence[int], room: int) -> list[int]:
    """Share rows out: one to each in turn, until none wants more or there is no more room."""
    shares = [0] * len(wanted)
    while room > 0 and shares != list(wanted):
        for index, most in enumerate(wanted):
            if shares[index] < most and room > 0:
                shares[index] += 1
                room -= 1
    return shares


def _revision_row(revision: Revision, now: datetime, *, gone: bool) -> Row:
    name = Text("  ", no_wrap=True, overflow="ellipsis").append(clean(revision.name))
    if gone:
        name.stylize("bright_black strike")
        return name, Text("deleted", style="bright_black"), since(revision.deleted_at, now), "", ""
    at = since(revision.phase_updated_at, now)
    return name, phase_text(revision.phase), at, pods(revision), one_line(revision.phase_message)


def _cut(line: Text) -> Text:
    line = line.copy()
    line.no_wrap, line.overflow = True, "ellipsis"
    return line
