"""A timeline as a picture in SVG."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from html import escape

from runai_async.cli.spans import Lane, phases_in, range_of
from runai_async.cli.text import clean, cut_middle, duration, moment, phase_name
from runai_async.models import Phase

_COLOURS = {
    Phase.RUNNING: "#2e9e5b",
    Phase.COMPLETED: "#3b6fb6",
    Phase.FAILED: "#d13438",
    Phase.DEGRADED: "#e0a100",
    Phase.STOPPED: "#8a8f98",
    Phase.PENDING: "#a45bb8",
    Phase.CREATING: "#8fd3e8",
    Phase.INITIALIZING: "#45b0d0",
    Phase.UPDATING: "#1f87a8",
    Phase.RESUMING: "#66c2b5",
    Phase.STOPPING: "#a9adb5",
    Phase.TERMINATING: "#a9adb5",
    Phase.DELETING: "#c3c6cb",
}
_OTHER = "#d9d9d9"
_WIDTH, _MARGIN, _TOP, _LANE, _BAR, _LEGEND = 960, 220, 48, 34, 20, 130
_NAME = 26
"""The most characters of a name: those of a monospaced font fit the margin, 0.6 of its size each."""
_PHASES_A_ROW = (_WIDTH - 16) // _LEGEND


def svg(title: str, lanes: Sequence[Lane]) -> str:
    """Return the lanes as SVG, with a tooltip on each bar that shows its phase and duration."""
    legend_rows = -(-len(phases_in(lanes)) // _PHASES_A_ROW)
    height = _TOP + _LANE * len(lanes) + 46 + 24 * legend_rows
    size = f'viewBox="0 0 {_WIDTH} {height}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="13">',
            f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
            f'<text x="16" y="28" font-size="16" font-weight="bold">{escape(clean(title))}</text>',
            *_lanes(lanes),
            *_legend(lanes, height - 24 * legend_rows),
            "</svg>\n",
        ]
    )


def _lanes(lanes: Sequence[Lane]) -> Iterator[str]:
    start, end = range_of(lanes)
    room = _WIDTH - _MARGIN - 16
    seconds = (end - start).total_seconds() or 1.0

    def x(at: datetime) -> float:
        return _MARGIN + room * (at - start).total_seconds() / seconds

    for index, lane in enumerate(lanes):
        y = _TOP + _LANE * index
        yield _name(clean(lane.revision.name), y + 15)
        for span in lane.spans:
            width = max(0.5, x(span.end) - x(span.start))
            tooltip = f"{phase_name(span.phase)}, {duration(span.seconds)}, since {moment(span.start)}"
            yield (
                f'<rect x="{x(span.start):.2f}" y="{y}" width="{width:.2f}" height="{_BAR}" '
                f'fill="{_colour(span.phase)}"><title>{escape(tooltip)}</title></rect>'
            )
    bottom = _TOP + _LANE * len(lanes) + 12
    yield f'<text x="{_MARGIN}" y="{bottom}" fill="#555">{moment(start)}</text>'
    yield f'<text x="{_WIDTH - 16}" y="{bottom}" fill="#555" text-anchor="end">{moment(end)}</text>'


def _name(name: str, y: int) -> str:
    """Return a name that ends before the bars; one that is cut is whole in its tooltip."""
    short = cut_middle(name, _NAME)
    tooltip = "" if short == name else f"<title>{escape(name)}</title>"
    return f'<text x="16" y="{y}" font-family="monospace">{escape(short)}{tooltip}</text>'


def _legend(lanes: Sequence[Lane], y: int) -> Iterator[str]:
    for index, phase in enumerate(phases_in(lanes)):
        row, column = divmod(index, _PHASES_A_ROW)
        x, at = 16 + _LEGEND * column, y + 24 * row
        yield f'<rect x="{x}" y="{at - 11}" width="12" height="12" fill="{_colour(phase)}"/>'
        yield f'<text x="{x + 18}" y="{at}">{escape(phase_name(phase))}</text>'


def _colour(phase: Phase | None) -> str:
    return _OTHER if phase is None else _COLOURS.get(phase, _OTHER)
