"""Who belongs to a fleet: what discovery names, and who leaves. No I/O of its own, no clock."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable, Collection, Iterable
from uuid import UUID

from runai_async._arguments import check_id

_Ids = Iterable[str | UUID] | AsyncIterable[str | UUID]
_Ask = Callable[[], _Ids | Awaitable[_Ids]]
WorkloadIds = Iterable[str | UUID] | _Ask
"""Workload ids, or a function that returns an (async) iterable of them, or an awaitable of one."""

_UNNAMED_ROUNDS = 2
"""Discoveries in a row that must not name a workload before it may leave: one may have been incomplete."""


class Discovery:
    """Keeps account of what discovery names.

    Attributes:
        fixed: the ids, where they were given as such.
        ask: the function to ask, where one was given.

    Raises:
        ValueError: an id is no UUID.
        TypeError: neither ids nor a function.
    """

    def __init__(self, workloads: WorkloadIds) -> None:
        if isinstance(workloads, str | UUID):
            raise TypeError("workloads must be an iterable of ids, not a single id: put it into a list")
        if not callable(workloads) and not isinstance(workloads, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(
                "workloads must be ids, or a function that returns them, like runai.inference_workloads "
                f"(without parentheses: it is asked again and again), not {type(workloads).__name__}"
            )
        self.fixed: list[str] | None = None
        if callable(workloads):
            self.ask: _Ask = workloads
        else:
            self.fixed = list(dict.fromkeys(check_id(item, "workload_id") for item in workloads))
        self._unnamed: dict[str, int] = {}

    def name(self, ids: Collection[str], watched: Iterable[str]) -> None:
        """Take in what a discovery named, of which there must be something."""
        self._unnamed = {key: self._unnamed.get(key, 0) + 1 for key in watched if key not in ids}

    def is_leaving(self, workload_id: str) -> bool:
        """Tell whether enough discoveries in a row did not name a workload."""
        return self._unnamed.get(workload_id, 0) >= _UNNAMED_ROUNDS

    def forget(self, workload_id: str) -> None:
        """Forget a workload that has left."""
        self._unnamed.pop(workload_id, None)


async def list_ids(ask: _Ask) -> frozenset[str]:
    """Ask which workloads there are.

    Raises:
        ValueError: an id is no UUID.
        Exception: whatever the function raises.
    """
    response = ask()
    ids = await response if isinstance(response, Awaitable) else response
    if isinstance(ids, AsyncIterable):
        return frozenset([check_id(item, "workload_id") async for item in ids])
    return frozenset(check_id(item, "workload_id") for item in ids)
