"""Work on thousands of workloads in slices, so that other tasks have their turns in between. No clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")
_SLICE = 200
"""Workloads in one turn of the event loop."""


def in_slices(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield a sequence in parts, each for one turn of the event loop."""
    return (items[start : start + _SLICE] for start in range(0, len(items), _SLICE))


async def give_way(count: int) -> None:
    """Let other tasks run, if work on so many workloads takes more than one turn of the event loop."""
    if count > _SLICE:
        await asyncio.sleep(0)


async def in_turns(items: Sequence[T]) -> AsyncIterator[T]:
    """Yield the items of a sequence, and let other tasks run between two slices of it."""
    for number, some in enumerate(in_slices(items)):
        if number:
            await asyncio.sleep(0)
        for item in some:
            yield item
