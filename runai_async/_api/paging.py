"""Endpoints that return their items page by page."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TypeVar

from runai_async import _codec
from runai_async._observe.log import logger

T = TypeVar("T")

LONGEST_PAGE = 500
"""The maximum number of items in one page, by the API's contract."""
_ROWS_MAX = 10_000
"""Rows of which a `LeftOut` remembers that it reported them."""


class LeftOut:
    """Reports what a listing leaves out: one warning for a row, however often it is listed.

    Args:
        operation: the name that messages use.
    """

    def __init__(self, operation: str) -> None:
        self.operation: str = operation
        self._rows: set[str] = set()
        self._has_warned = False

    def begin(self) -> None:
        """Begin another listing, which may warn once."""
        self._has_warned = False

    def report(self, row: str, problem: str) -> None:
        """Report a row, by its id, that is left out; the second one in a listing is no warning any more."""
        is_new = row not in self._rows and not self._has_warned
        self._has_warned |= is_new
        if len(self._rows) < _ROWS_MAX:
            self._rows.add(row)
        logger.log(
            logging.WARNING if is_new else logging.DEBUG,
            "%s: left out what cannot be read: %s (%s)", self.operation, problem, row,
        )  # fmt: skip


async def paged(
    fetch: Callable[[int], Awaitable[_codec.Page[T]]],
    left_out: LeftOut,
) -> AsyncGenerator[T, None]:
    """Yield the items of all pages, fetching the next page when the items before it are used up.

    Args:
        fetch: returns the page that starts at an offset. An empty page, or an offset that does not increase,
            ends the iteration: a server's mistake must not make it endless.
        left_out: reports the items that cannot be decoded, which are left out.
    """
    left_out.begin()
    offset: int | None = 0
    while offset is not None:
        page = await fetch(offset)
        for item in page.items:
            yield item
        for broken in page.broken:
            left_out.report(_codec.label(broken.raw), str(broken.error))
        after = page.next_offset
        is_further = bool(page.items or page.broken) and after is not None and after > offset
        offset = after if is_further else None
