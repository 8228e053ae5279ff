"""Endpoints that answer page by page."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

LONGEST_PAGE = 500
"""The most items that one page may be asked for, by the contract."""


async def paged(ask: Callable[[int], Awaitable[tuple[list[T], int | None]]]) -> AsyncGenerator[T, None]:
    """Yield the items of all pages, asking for the next one when those before it are used up.

    Args:
        ask: returns the page that begins at an offset, and the offset of the next one. Where that does not
            move on, or the page is empty, there is no next one: a server's mistake must not go on for ever.
    """
    offset: int | None = 0
    while offset is not None:
        page, after = await ask(offset)
        for item in page:
            yield item
        offset = after if page and after is not None and after > offset else None
