"""The list of workloads, page by page, each workload once.

What a caller lists is retried by the client's policy. What discovery lists is not, because its schedule is
its retry, and a list that timed out is still running on the server.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Generic, NamedTuple, Protocol, TypeVar

from runai_async import _codec
from runai_async._api.api import Api
from runai_async._api.endpoints import Call
from runai_async._api.moving_pages import MovingPages
from runai_async._api.paging import LONGEST_PAGE, LeftOut
from runai_async._api.statuses import is_from_api
from runai_async._observe.log import logger
from runai_async.errors import ApiError
from runai_async.models import Workload


class ListedPage(Protocol):
    """One page, however it was read."""

    @property
    def ids(self) -> Sequence[str | None]:
        """The ids of its rows in their order; None for one whose id cannot be read."""
        ...

    @property
    def next_offset(self) -> int | None:
        """The offset of the next page, if there is one."""
        ...


P = TypeVar("P", bound=ListedPage)
ListCall = Call[_codec.Page[Workload]]
_LASTING = frozenset(
    {
        "id", "name", "type", "clusterId", "projectId", "projectName", "departmentId", "departmentName",
        "createdAt", "submittedBy", "distributedFramework",
    }
)  # fmt: skip
"""The fields that a workload keeps for its life, of those that a filter may name."""
_BAD_REQUEST = 400


class Selection(NamedTuple):
    """Which workloads to list.

    Attributes:
        filters: conditions, all of which must hold.
        page_size: rows to ask for at once.
        deleted: whether the deleted ones are listed instead of the live ones.
    """

    filters: tuple[str, ...]
    page_size: int = LONGEST_PAGE
    deleted: bool | None = None

    @property
    def can_change(self) -> bool:
        """Whether a workload may stop matching while it exists."""
        names = [re.match("[A-Za-z0-9]*", item) for text in self.filters for item in text.split(",")]
        return any(name is None or name[0] not in _LASTING for name in names)


def conditions(filter_by: Sequence[str]) -> tuple[str, ...]:
    """Return the conditions that a caller passes: several, or a single one."""
    return (filter_by,) if isinstance(filter_by, str) else tuple(filter_by)


class WorkloadListing(Generic[P]):
    """One listing: the pages, in the order in which they are read.

    Args:
        api: the control plane.
        selection: which workloads.
        ask: runs a call and returns its page, read as is or in a way of its own.
    """

    def __init__(self, api: Api, selection: Selection, ask: Callable[[ListCall], Awaitable[P]]) -> None:
        self._api = api
        self._selection = selection
        self._ask = ask
        self._pages = MovingPages(selection.page_size)
        self._offset: int | None = 0

    @property
    def is_sound(self) -> bool:
        """Whether no row moved while the last reading took place."""
        return self._pages.is_sound

    @property
    def reading(self) -> int:
        """The number of the reading to which the next page belongs."""
        return self._pages.reading

    async def next_page(self) -> P | None:
        """Return the next page, whose rows may have been named before; None at the end."""
        if self._offset is None:
            return None
        page = await self._fetch(self._offset)
        self._offset = self._pages.take(page.ids, page.next_offset)
        return page

    async def _fetch(self, offset: int) -> P:
        gate, is_sorted = self._api.list_gate, self._api.list_gate.sorts
        try:
            return await self._ask(self._call(offset, is_sorted=is_sorted))
        except ApiError as error:
            if not (is_sorted and error.status == _BAD_REQUEST and is_from_api(error)):
                raise
        page = await self._ask(self._call(offset, is_sorted=False))
        gate.sorts = False  # it was the order that was wrong, and nothing else
        return page

    def _call(self, offset: int, *, is_sorted: bool) -> ListCall:
        selection = self._selection
        return self._api.endpoints.list_workloads(
            selection.filters, offset, self._pages.limit, deleted=selection.deleted, is_sorted=is_sorted
        )


class _WorkloadPage(NamedTuple):
    items: list[Workload]
    broken: list[_codec.BrokenItem]
    next_offset: int | None

    @property
    def ids(self) -> list[str | None]:
        ids: list[str | None] = [workload.id for workload in self.items]
        for broken in self.broken:
            ids.insert(broken.index, _codec.identity(broken.raw))
        return ids


async def each_once(
    api: Api, selection: Selection, left_out: LeftOut, *, rescue: bool = False
) -> AsyncGenerator[Workload, None]:
    """Yield each workload once, page by page; a list whose rows do not keep still is warned of.

    Args:
        api: the control plane.
        selection: which workloads.
        left_out: reports the rows that cannot be decoded.
        rescue: whether to yield what can be read of such a row, if its id and type can be.
    """

    async def ask(call: ListCall) -> _WorkloadPage:
        page = await api.retrying.call(call)
        return _WorkloadPage(page.items, page.broken, page.next_offset)

    left_out.begin()
    listing = WorkloadListing(api, selection, ask)
    yielded: set[str] = set()
    while (page := await listing.next_page()) is not None:
        for workload in [*page.items, *_rescued(page, left_out, rescue=rescue)]:
            if workload.id not in yielded:
                yielded.add(workload.id)
                yield workload
    if not listing.is_sound:
        logger.warning(
            "%s: workloads moved from page to page while these were read; some may be missing, and some gone",
            left_out.operation,
        )


def _rescued(page: _WorkloadPage, left_out: LeftOut, *, rescue: bool) -> list[Workload]:
    """Report the rows that cannot be decoded, and return what can be read of them."""
    for broken in page.broken:
        left_out.report(_codec.label(broken.raw), str(broken.error))
    outlines = [_codec.workload_outline(broken.raw) for broken in page.broken if rescue]
    return [item for item in outlines if item is not None]
