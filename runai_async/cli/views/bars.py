"""A timeline in the terminal: each revision as a bar of its phases."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from rich.console import Group, RenderableType
from rich.text import Text

from runai_async.cli.spans import Lane, Span, phases_in, range_of
from runai_async.cli.text import clean, duration, moment, phase_style
from runai_async.models import Phase

LETTERS = {
    Phase.CREATING: "c",
    Phase.INITIALIZING: "i",
    Phase.RESUMING: "r",
    Phase.PENDING: "p",
    Phase.DELETING: "d",
    Phase.RUNNING: "R",
    Phase.UPDATING: "u",
    Phase.STOPPED: "S",
    Phase.STOPPING: "s",
    Phase.DEGRADED: "D",
    Phase.FAILED: "F",
    Phase.COMPLETED: "C",
    Phase.TERMINATING: "t",
    Phase.UNKNOWN: "?",
}
"""What a bar is made of where there are no colours: a capital for a phase that can stay."""

_LEAST_BAR = 20
_NAME_PART = 3
"""A name takes this part of the width at most: a third."""


def letter(phase: Phase | None) -> str:
    """Return the letter of a phase; one that is not listed has its first letter."""
    return "." if phase is None else LETTERS.get(phase, clean(phase)[:1] or "?")


def bars(lanes: Sequence[Lane], width: int, *, colour: bool) -> RenderableType:
    """Draw the lanes: a bar each, how long each phase lasted below it, the time axis, the legend."""
    start, end = range_of(lanes)
    margin = min(max(len(lane.revision.name) for lane in lanes), max(8, width // _NAME_PART))
    room = max(_LEAST_BAR, width - margin - 2)
    lines: list[RenderableType] = []
    for lane in lanes:
        name = Text(clean(lane.revision.name), style="bold", no_wrap=True)
        name.truncate(margin, overflow="ellipsis", pad=True)
        lines.append(Text.assemble(name, "  ", _bar(lane, start, end, room, colour=colour)))
        spent = Text(" " * (margin + 2) + _spent(lane.spans), style="bright_black", no_wrap=True)
        spent.truncate(max(width, margin + 2 + _LEAST_BAR), overflow="ellipsis")
        lines.append(spent)
    axis = Text(" " * (margin + 2) + _axis(start, end, room), no_wrap=True)
    return Group(*lines, axis, _legend(lanes, colour=colour))


def _axis(start: datetime, end: datetime, room: int) -> str:
    """Write both ends of the time axis, shorter where there is not enough room."""
    left, right = moment(start), moment(end)
    if len(left) + len(right) >= room:
        left, right = left[5:16], right[5:16]  # month to minute
    return f"{left}{right:>{room - len(left)}}"


def _bar(lane: Lane, start: datetime, end: datetime, room: int, *, colour: bool) -> Text:
    step = (end - start) / room or timedelta(microseconds=1)
    bar = Text()
    for cell in range(room):
        span = _longest(lane.spans, start + cell * step, start + (cell + 1) * step)
        if span is None:
            bar.append(" ")
        else:
            bar.append(_mark(span.phase, colour=colour), style=_style(span.phase))
    return bar


def _longest(spans: Sequence[Span], left: datetime, right: datetime) -> Span | None:
    """Return the span that fills most of a cell; of equal ones the later."""
    inside = [span for span in spans if span.start < right and span.end > left]
    return max(reversed(inside), key=lambda span: min(span.end, right) - max(span.start, left), default=None)


def _mark(phase: Phase | None, *, colour: bool) -> str:
    return "█" if colour and phase is not None else letter(phase)


def _style(phase: Phase | None) -> str:
    return "bright_black" if phase is None else phase_style(phase)


def _spent(spans: Sequence[Span]) -> str:
    return ", ".join(f"{clean(span.phase) or 'not known'} {duration(span.seconds)}" for span in spans)


def _legend(lanes: Sequence[Lane], *, colour: bool) -> Text:
    legend = Text()
    for phase in phases_in(lanes):
        legend.append(_mark(phase, colour=colour), style=_style(phase)).append(
            f" {clean(phase) or 'not known'}   "
        )
    legend.rstrip()
    return legend
