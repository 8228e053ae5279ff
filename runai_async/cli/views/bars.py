"""A timeline on the terminal: each revision as a bar of its phases."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from rich.console import Group, RenderableType
from rich.text import Text

from runai_async.cli.spans import Lane, Span, phases_in, range_of
from runai_async.cli.text import clean, cut_middle, duration, moment, phase_name, phase_style
from runai_async.cli.views.console import console
from runai_async.models import Phase

_LETTERS = {
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
"""What a bar is made of without colours: a capital for a phase that can last."""

_LEAST_BAR = 20
_NAME_PART = 3
"""A name takes at most this part of the width: a third."""


def print_bars(lanes: Sequence[Lane], *, local: bool = False) -> None:
    """Print the lanes, in colours if stdout has them; times are in UTC, or in this machine's zone."""
    screen = console()
    colour = screen.color_system is not None and not screen.no_color
    screen.print(bars(lanes, screen.width, colour=colour, local=local))


def bars(lanes: Sequence[Lane], width: int, *, colour: bool, local: bool = False) -> RenderableType:
    """Draw each lane as a bar with the length of its phases below; then the time axis and a legend."""
    start, end = range_of(lanes)
    margin = min(max(len(lane.revision.name) for lane in lanes), max(8, width // _NAME_PART))
    room = max(_LEAST_BAR, width - margin - 2)
    lines: list[RenderableType] = []
    for lane in lanes:
        name = Text(cut_middle(clean(lane.revision.name), margin), style="bold", no_wrap=True)
        name.truncate(margin, pad=True)
        lines.append(Text.assemble(name, "  ", _bar(lane, start, end, room, colour=colour)))
        lengths = Text(" " * (margin + 2) + _lengths(lane.spans), style="bright_black", no_wrap=True)
        lengths.truncate(max(width, margin + 2 + _LEAST_BAR), overflow="ellipsis")
        lines.append(lengths)
    axis = Text(" " * (margin + 2) + _axis(start, end, room, local=local), no_wrap=True)
    return Group(*lines, axis, _legend(lanes, colour=colour))


def _axis(start: datetime, end: datetime, room: int, *, local: bool) -> str:
    """Write both ends of the time axis, shortened if there is no room for them."""
    left, right = moment(start, local=local), moment(end, local=local)
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
            bar.append(_symbol(span.phase, colour=colour), style=phase_style(span.phase))
    return bar


def _longest(spans: Sequence[Span], left: datetime, right: datetime) -> Span | None:
    """Return the span that fills most of a cell; of equal ones the later."""
    inside = [span for span in spans if span.start < right and span.end > left]
    return max(reversed(inside), key=lambda span: min(span.end, right) - max(span.start, left), default=None)


def _symbol(phase: Phase | None, *, colour: bool) -> str:
    if phase is None:
        return "."
    return "█" if colour else _LETTERS.get(phase, clean(phase)[:1] or "?")


def _lengths(spans: Sequence[Span]) -> str:
    return ", ".join(f"{phase_name(span.phase)} {duration(span.seconds)}" for span in spans)


def _legend(lanes: Sequence[Lane], *, colour: bool) -> Text:
    legend = Text()
    for phase in phases_in(lanes):
        symbol = _symbol(phase, colour=colour)
        legend.append(symbol, style=phase_style(phase)).append(f" {phase_name(phase)}   ")
    legend.rstrip()
    return legend
