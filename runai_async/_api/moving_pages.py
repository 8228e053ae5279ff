"""Which page of a moving list to read next. No I/O, no clock: pages in, the next offset out.

The rows of a list move between two requests for its pages, as items are created and deleted. Read one page
behind the other, such a list names some rows twice and others never, and nobody notices: after a deletion on
a page that was read, the row that opens the next page has slipped onto the one before.

So each page after the first begins with the row that ended the one before. As long as that row is there,
and rows keep their order, none between them was passed over, whatever moved elsewhere. Another row there, or
one that comes twice, means that rows moved, and the list is read again from its start. The last reading goes
on regardless: where a page has no row in common with those before, it goes back until one has.
"""

from __future__ import annotations

from collections.abc import Sequence

_READINGS = 3
"""How often a list is begun; the last reading goes on when rows move."""
_IDLE_PAGES = 10
"""Pages, beyond as many as named something new, of which the last reading may learn nothing."""


class MovingPages:
    """Decides which page to ask for, and whether the rows kept still.

    Args:
        limit: rows of a page, by the caller's wish. A page of one row could not overlap with the next.

    Attributes:
        limit: how many rows to ask for.
        reading: the number of the present reading, from 1 on.
        is_sound: the last reading saw no row move, so it named all that was there throughout, and nothing
            that was gone before it began.
    """

    def __init__(self, limit: int) -> None:
        self.limit: int = max(2, limit)
        self.reading: int = 0
        self.is_sound: bool = True
        self._begin()

    def _begin(self) -> int:
        self.reading += 1
        self._offset = 0
        self._named: set[str] = set()
        self._overlaps = False
        self._is_unchecked = False
        self._last: str | None = None
        self._fruitful = self._idle = 0
        return 0

    def take(self, rows: Sequence[str | None], following: int | None) -> int | None:
        """Take in the page that was asked for.

        Args:
            rows: the ids of its rows, in order; None for one whose id cannot be read.
            following: what the server calls the offset of the next page; None where there is none.

        Returns:
            The offset to ask for next: 0 to begin again, None at the end.
        """
        if self._is_unchecked and rows:
            self.is_sound = False
        if self.is_sound and self._has_moved(rows):
            if self.reading < _READINGS:
                return self._begin()
            self.is_sound = False
        if not self.is_sound and self._is_apart(rows) and self._may_idle():
            self._offset //= 2
            self._overlaps = False
            return self._offset
        new = {row for row in rows if row is not None} - self._named
        self._named |= new
        self._fruitful += bool(new)
        if not self.is_sound and not new and not self._may_idle():
            return None  # the server returns the same rows again and again
        return self._forward(rows, following)

    def _has_moved(self, rows: Sequence[str | None]) -> bool:
        if self._overlaps and (not rows or rows[0] != self._last):
            return True
        fresh = [row for row in (rows[1:] if self._overlaps else rows) if row is not None]
        return len(set(fresh)) < len(fresh) or not self._named.isdisjoint(fresh)

    def _is_apart(self, rows: Sequence[str | None]) -> bool:
        """Return whether rows may lie between a page and those before it."""
        return self._offset > 0 and not self._is_unchecked and self._named.isdisjoint(rows)

    def _may_idle(self) -> bool:
        self._idle += 1
        return self._idle <= _IDLE_PAGES + self._fruitful

    def _forward(self, rows: Sequence[str | None], following: int | None) -> int | None:
        """Return the offset of the last row; the server's own where the page has no other.

        It is counted and not taken from *following*, because servers return fewer rows than were asked for.
        An empty page, or a *following* that does not lead on, is the end: a mistake must not make it endless.
        """
        if following is None or not rows or following <= self._offset:
            return None
        self._overlaps, self._last = len(rows) > 1, rows[-1]
        self._is_unchecked = not self._overlaps
        self._offset = self._offset + len(rows) - 1 if self._overlaps else following
        return self._offset
