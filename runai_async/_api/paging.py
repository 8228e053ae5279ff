"""Endpoints that return their items page by page."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

LONGEST_PAGE = 500
"""The maximum number of items in one page, by the API's contract."""


async def paged(fetch: Callable[[int], Awaitable[tuple[list[T], int | None]]]) -> AsyncGenerator[T, None]:
    """Yield the items of all pages, fetching the next page when the items before it are used up.

    Args:
        fetch: returns the page that starts at an offset, and the offset of the next page. An empty page, or
            an offset that does not increase, ends the iteration: a server's mistake must not make it endless.
    """
    offset: int | None = 0
    while offset is not None:
        page, after = await fetch(offset)
        for item in page:
            yield item
        offset = after if page and after is not None and after > offset else None
