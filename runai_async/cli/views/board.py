"""The live view: what is true now of each workload, one line each, with the last events below."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from rich.console import Group
from rich.text import Text

from runai_async._wait.pods import pods_text
from runai_async._watch.clusters import describe_loss
from runai_async.cli.columns import Cell, Column, Table, fitted, padded, table_of, widths_of
from runai_async.cli.states import States, WorkloadState, hidden_totals
from runai_async.cli.text import clean, cut_end, phase_style, since, width_of
from runai_async.cli.times import Times
from runai_async.cli.views.lines import event_line
from runai_async.cli.views.tables import one_line
from runai_async.cli.views.window import KEYS, Window
from runai_async.events import ClusterConnected, ClusterDisconnected, FleetEvent
from runai_async.hooks import HookEvent

_EVENTS_KEPT = 50
_MOST_EVENTS = 10
_FRAME = 3
"""The headings, an empty line, and the footer."""
_LEAST_ROWS = 3
_TOTALS_PART = 3
"""The totals are not cut below this part of the width: a third."""

_COLUMNS = (
    Column("WORKLOAD", "name"),
    Column("NEWEST", "name"),
    Column("PHASE"),
    Column("SERVING", "name"),
    Column("PODS"),
    Column("SINCE"),
    Column("MESSAGE", "text"),
)
_FROM = {"MESSAGE": 60, "NEWEST": 60, "SERVING": 50}
"""The columns of a terminal from which on a column is shown."""


class Board:
    """Draws what is known of the workloads into any width and height.

    Args:
        names: of workloads, by id, as far as they are known.
        headline: the first line.
        times: by whose clock times are, and how they are written.

    Attributes:
        states: what is known of the workloads.
        headline: the first line.
        window: which part of the workloads is shown.
    """

    def __init__(self, names: Mapping[str, str], headline: str, times: Times) -> None:
        self.states: States = States(names, times.now)
        self.headline = headline
        self.window: Window = Window()
        self._names = names
        self._times = times
        self._lost: dict[str, ClusterDisconnected] = {}
        self._log: deque[tuple[FleetEvent, timedelta] | str] = deque(maxlen=_EVENTS_KEPT)

    def note(self, event: FleetEvent) -> None:
        """Take in an event."""
        if isinstance(event, ClusterDisconnected):
            self._lost[event.cluster_id] = event
        elif isinstance(event, ClusterConnected):
            self._lost.pop(event.cluster_id, None)
        self.states.note(event)
        self._log.append((event, self._times.ahead))

    def note_poll(self, event: HookEvent) -> None:
        """Take in how a poll ended."""
        self.states.note_poll(event)

    def notice(self, text: str) -> None:
        """Take in a message, which is shown among the events."""
        self._log.append(text)

    def draw(self, width: int, height: int, *, fills: bool = False, keys: bool = False) -> Group:
        """Return the view in at most *height* lines.

        Args:
            width: columns.
            height: lines.
            fills: whether the footer stands in the last of the lines.
            keys: whether there are keys to press, which the first line then names.
        """
        self.states.refresh()
        found = self.states.ordered(self.window.text)
        outage = self.states.outage(self._times.now())
        above = [
            self._head(width, keys=keys),
            *([one_line(outage, "yellow")] if outage else ()),
            *self._losses(),
        ]
        if self.window.text or self.window.is_typing:
            cursor = "_" if self.window.is_typing else ""
            what = f"/{self.window.text}{cursor} ({len(found)} of {len(self.states)})"
            above.append(one_line(what, style="yellow"))
        left = height - len(above) - _FRAME
        events = self._events(width, max(0, min(_events(height, len(found), left), left - _LEAST_ROWS)))
        rows = self._rows(found, width, max(1, left - len(events)), shared=bool(outage))
        lines = [*above, *rows]
        lines += [Text("")] * (max(1, height - 1 - len(lines) - len(events)) if fills else 1)
        lines = [*lines, *events][: max(0, height - 1)]
        return Group(*lines, one_line(self._footer(width), style="bright_black"))

    def _head(self, width: int, *, keys: bool) -> Text:
        line = one_line(self.headline, style="bold")
        rest = width - width_of(line.plain) - len(KEYS)
        if keys and rest > 1:
            line.append(" " * rest + KEYS, style="not bold bright_black")
        return line

    def _losses(self) -> list[Text]:
        """Return a line for each lost cluster of what is shown; others do not matter any longer."""
        shown, now = self.states.cluster_ids() if self._lost else set[str](), self._times.server_now()
        return [one_line(_loss(event, now), "yellow") for key, event in self._lost.items() if key in shown]

    def _events(self, width: int, number: int) -> list[Text]:
        """Return the last events, a line each."""
        last = list(self._log)[-number:] if number else []
        lines = [one_line(item) if isinstance(item, str) else self._event(*item, width) for item in last]
        for line in lines:
            line.no_wrap, line.overflow = True, "ellipsis"
        return lines

    def _event(self, event: FleetEvent, ahead: timedelta, width: int) -> Text:
        return event_line(event, self._names, self._times, width, ahead=ahead)

    def _rows(self, found: Sequence[WorkloadState], width: int, room: int, *, shared: bool) -> list[Text]:
        """Return the headings and a line for each workload that fits, and one that sums up the others."""
        fitting = room if len(found) <= room else max(1, room - 1)
        shown = self.window.visible(found, fitting)
        lines = _lines(_table(shown, self._times, width, shared=shared), width)
        above = self.window.offset
        below = len(found) - above - len(shown)
        if room > 1 and (above or below):
            totals = hidden_totals([*found[:above], *found[above + len(shown) :]])
            where = f"{above} above, {below} below" if above else f"{below} more"
            lines.append(one_line(f"… {where}: {totals}", style="bright_black"))
        return lines

    def _footer(self, width: int) -> str:
        """Write the totals, cut if need be, and how old all of this is."""
        at = self.states.last_success_at
        ago = since(at, self._times.now())
        polled = f"; last successful poll {ago} ago" if at else "; no successful poll yet"
        totals = self.states.totals()
        room = max(width - width_of(polled), width // _TOTALS_PART)
        return cut_end(totals, room) + polled


def _events(height: int, workloads: int, left: int) -> int:
    """Return how many events are shown: a third of the lines, or fewer if workloads need the room."""
    most = min(_MOST_EVENTS, height // 3)
    return max(min(most, 3), min(most, left - workloads))


def _loss(event: ClusterDisconnected, now: datetime) -> str:
    return f"cluster {clean(event.name)} {describe_loss(event.last_seen_at, now)}"


def _table(states: Sequence[WorkloadState], times: Times, width: int, *, shared: bool) -> Table:
    shown = [index for index, column in enumerate(_COLUMNS) if width >= _FROM.get(column.heading, 0)]
    rows = [_cells(item, times, shared=shared) for item in states]
    return table_of([_COLUMNS[index] for index in shown], [[row[index] for index in shown] for row in rows])


def _cells(state: WorkloadState, times: Times, *, shared: bool) -> list[str | Cell]:
    """Return a workload's cells: the pods are those of what serves, or of the newest if nothing does."""
    newest = state.newest
    pods_of = state.serving or newest
    is_problem = state.own_problem(shared=shared) is not None
    return [
        Cell(state.name, "bold"),
        state.short(newest),
        _phase(state),
        state.short(state.serving),
        "" if pods_of is None else pods_text(pods_of),
        "" if newest is None else since(newest.phase_updated_at, times.server_now()),
        Cell(state.message(times.now(), shared=shared), "yellow" if is_problem else ""),
    ]


def _phase(state: WorkloadState) -> Cell:
    if state.newest is None:
        return Cell(state.label, "bright_black")
    if state.is_stalled:
        return Cell(f"stalled: {state.label}", "yellow")
    return Cell(state.label, phase_style(state.newest.phase))


def _lines(table: Table, width: int) -> list[Text]:
    """Return a table as lines, headings included."""
    table = fitted(table, width)
    widths = widths_of(table)
    lines: list[Text] = []
    for row in (table.heading, *table.rows):
        line = Text(no_wrap=True, overflow="ellipsis")
        for cell in padded(row, widths):
            line.append(cell.text, cell.style)
        line.rstrip()
        lines.append(line)
    return lines
