"""Cuts a page of the list of workloads into rows by the bytes of the page before. No I/O, no clock.

Parsing a page, if only to find where its rows begin and end, is most of what a page of known rows costs. But
the page that was there one listing ago has nearly always the same rows in the same order. So the new page is
walked from its front: known rows are stepped over by a comparison of bytes, and only what is between them is
parsed. Where that is not possible the page is parsed as a whole.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from runai_async import _codec
from runai_async._fleet.rows import Row
from runai_async.errors import DecodeError

_MOST_SEARCHES = 8
"""Rows to search for in one page: each search reads the rest of it, so many would cost more than parsing."""
_BLOCK = 32
"""Rows to compare at once: making a copy of a whole page, which is large, would take most of the time."""


class RowPage(NamedTuple):
    """One page.

    Attributes:
        rows: its rows in their order.
        next_offset: the offset of the next page, if there is one.
    """

    rows: list[Row]
    next_offset: int | None

    @property
    def ids(self) -> list[str | None]:
        """The ids of the rows; None for one whose id cannot be read."""
        return [row.id for row in self.rows]


class _Layout(NamedTuple):
    """A page that was cut before: what stands in front of its rows, between and behind them."""

    page: RowPage
    head: bytes
    gap: bytes
    tail: bytes

    def is_of(self, body: bytes) -> bool:
        """Return whether a body is that of the page itself."""
        at, before = 0, self.head
        raws = [row.raw for row in self.page.rows]
        for first in range(0, len(raws), _BLOCK):
            block = before + self.gap.join(raws[first : first + _BLOCK])
            if not body.startswith(block, at):
                return False
            at, before = at + len(block), self.gap
        return body[at:] == self.tail


class RowPages:
    """The pages of the last listing by their offsets.

    Args:
        look_up: returns the row that has some bytes.
    """

    def __init__(self, look_up: Callable[[bytes], Row]) -> None:
        self._look_up = look_up
        self._layouts: dict[int, _Layout] = {}
        self._cut: set[int] = set()

    def __len__(self) -> int:
        return len(self._layouts)

    def keep(self) -> None:
        """Keep the pages that were cut since the last call, and forget the others."""
        self._layouts = {offset: page for offset, page in self._layouts.items() if offset in self._cut}
        self._cut = set()

    def cut(self, body: bytes, offset: int) -> RowPage:
        """Cut the page at an offset into its rows. Call `keep` when the listing is whole.

        Raises:
            DecodeError: *body* is not a page of a list of workloads.
        """
        self._cut.add(offset)
        before = self._layouts.get(offset)
        if before is not None and before.is_of(body):
            return before.page
        rows = None if before is None else self._walked(body, before)
        if before is not None and rows is not None:
            page = RowPage(rows, before.page.next_offset)
            self._layouts[offset] = before._replace(page=page)
            return page
        raw = _codec.split_page(body, "workloads")
        page = RowPage([*map(self._look_up, raw.items)], raw.next_offset)
        self._keep(offset, body, page)
        return page

    def _keep(self, offset: int, body: bytes, page: RowPage) -> None:
        layout = _layout(body, page) if page.rows else None
        if layout is None:
            self._layouts.pop(offset, None)
        else:
            self._layouts[offset] = layout

    def _walked(self, body: bytes, before: _Layout) -> list[Row] | None:
        """Return the rows of a page much like the one *before*; None where it has to be parsed as a whole."""
        if not (body.startswith(before.head) and body.endswith(before.tail)):
            return None
        rows: list[Row] = []
        gap, end = before.gap, len(body) - len(before.tail)
        at, searches = len(before.head), 0  # where the next row begins
        for row in before.page.rows:
            begin = at
            if not body.startswith(row.raw, at):
                searches += 1
                begin = body.find(row.raw, at, end) if searches <= _MOST_SEARCHES else -2
            if begin == -1:
                continue  # its row has changed, or is gone: what stands there is between two known ones
            new = self._between(body, at, begin - len(gap), gap) if begin > at else []
            behind = begin + len(row.raw)
            if begin < 0 or new is None or not (behind == end or body.startswith(gap, behind)):
                return None
            rows += [*new, row]
            if behind == end:
                return rows
            at = behind + len(gap)
        rest = self._between(body, at, end, b"")
        return None if rest is None else rows + rest

    def _between(self, body: bytes, start: int, end: int, gap: bytes) -> list[Row] | None:
        """Return the rows between two known ones, or behind the last one; None if they are none."""
        if end <= start or not body.startswith(gap, end):
            return None
        try:
            raws = _codec.split_array(b"[%b]" % body[start:end])
        except DecodeError:
            return None
        return [*map(self._look_up, raws)]


def _layout(body: bytes, page: RowPage) -> _Layout | None:
    """Return how a page is laid out; None if it is not the same between all its rows."""
    raws = [row.raw for row in page.rows]
    start = body.find(raws[0])
    behind = start + len(raws[0])
    gap = body[behind : body.find(raws[1], behind)] if len(raws) > 1 else b","
    rows = gap.join(raws)
    is_regular = gap.strip() == b"," and body.startswith(rows, start)
    return _Layout(page, body[:start], gap, body[start + len(rows) :]) if is_regular else None
