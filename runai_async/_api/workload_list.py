"""The list of workloads, page by page, each workload once.

What a caller lists is retried by the client's policy. What discovery lists is not, because its schedule is
its retry, and a list that timed out is still running on the server.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from typing import NamedTuple, Self

from runai_async import _codec
from runai_async._api.api import Api
from runai_async._api.endpoints import Call
from runai_async._api.list_pace import Stopwatch
from runai_async._api.moving_pages import MovingPages
from runai_async._api.paging import LONGEST_PAGE, LeftOut
from runai_async._api.statuses import is_from_api
from runai_async._ids import is_uuid
from runai_async._observe.log import logger
from runai_async.errors import ApiError
from runai_async.models import Workload

_Page = _codec.Page[Workload]
_Ask = Callable[[Call[_Page]], Awaitable[_Page]]
_LASTING = frozenset(
    {
        "id", "name", "type", "clusterId", "projectId", "projectName", "departmentId", "departmentName",
        "createdAt", "submittedBy", "distributedFramework",
    }
)  # fmt: skip
"""The fields that a workload keeps for its life, of those that a filter may name."""
_BAD_REQUEST = 400


class WorkloadQuery(NamedTuple):
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


class WorkloadListing:
    """One listing: the pages, in the order in which they are read.

    Args:
        api: the control plane.
        query: which workloads.
        ask: runs a call.
        left_out: reports the rows that cannot be decoded.
        rescue: returns what stands for such a row, if anything does.
    """

    def __init__(
        self,
        api: Api,
        query: WorkloadQuery,
        ask: _Ask,
        left_out: LeftOut,
        rescue: Callable[[bytes], Workload | None] | None = None,
    ) -> None:
        self._api = api
        self._query = query
        self._ask = ask
        self._left_out = left_out
        self._rescue = rescue
        self._pages = MovingPages(query.page_size)
        self._offset: int | None = 0
        left_out.begin()

    @property
    def is_sound(self) -> bool:
        """Whether no row moved while the last reading took place."""
        return self._pages.is_sound

    @property
    def reading(self) -> int:
        """The number of the reading to which the next page belongs."""
        return self._pages.reading

    async def next_page(self) -> list[Workload] | None:
        """Return the workloads of the next page, maybe named before; None at the end."""
        if self._offset is None:
            return None
        page = await self._fetch(self._offset)
        self._offset = self._pages.take(_row_ids(page), page.next_offset)
        return [*page.items, *self._rescued(page)]

    async def _fetch(self, offset: int) -> _Page:
        gate, is_sorted = self._api.list_gate, self._api.list_gate.sorts
        try:
            return await self._ask(self._call(offset, is_sorted=is_sorted))
        except ApiError as error:
            if not (is_sorted and error.status == _BAD_REQUEST and is_from_api(error)):
                raise
        page = await self._ask(self._call(offset, is_sorted=False))
        gate.sorts = False  # it was the order that was wrong, and nothing else
        return page

    def _call(self, offset: int, *, is_sorted: bool) -> Call[_Page]:
        query = self._query
        return self._api.endpoints.list_workloads(
            query.filters, offset, self._pages.limit, deleted=query.deleted, is_sorted=is_sorted
        )

    def _rescued(self, page: _Page) -> list[Workload]:
        found: list[Workload] = []
        for broken in page.broken:
            self._left_out.report(_codec.label(broken.raw), str(broken.error))
            rescued = None if self._rescue is None else self._rescue(broken.raw)
            found += [] if rescued is None else [rescued]
        return found


def _row_ids(page: _Page) -> list[str | None]:
    """Return the ids of a page's rows in their order; None for one whose id cannot be read."""
    ids: list[str | None] = [workload.id for workload in page.items]
    for broken in page.broken:
        ids.insert(broken.index, _codec.identity(broken.raw))
    return ids


async def each_once(
    api: Api,
    query: WorkloadQuery,
    left_out: LeftOut,
    rescue: Callable[[bytes], Workload | None] | None = None,
) -> AsyncGenerator[Workload, None]:
    """Yield each workload once, page by page; a list whose rows do not keep still is warned of."""
    listing = WorkloadListing(api, query, api.retrying.call, left_out, rescue)
    yielded: set[str] = set()
    while (page := await listing.next_page()) is not None:
        for workload in page:
            if workload.id not in yielded:
                yielded.add(workload.id)
                yield workload
    if not listing.is_sound:
        logger.warning(
            "%s: workloads moved from page to page while these were read; some may be missing, and some gone",
            left_out.operation,
        )


class Reading(NamedTuple):
    """What a listing named.

    Attributes:
        ids: the workloads.
        is_sound: whether no row moved meanwhile.
    """

    ids: frozenset[str]
    is_sound: bool


class IdListing(AsyncIterator[str]):
    """The ids of the inference workloads: an async iterator, which a fleet reads in its own way.

    Args:
        api: the control plane.
        query: which workloads.
        is_inference: returns whether a workload is one of inference.
        left_out: reports what cannot be read.
        choose: returns which of the ids of a whole reading count; all by default.
    """

    def __init__(
        self,
        api: Api,
        query: WorkloadQuery,
        is_inference: Callable[[Workload], bool],
        left_out: LeftOut,
        choose: Callable[[frozenset[str]], frozenset[str]] = frozenset,
    ) -> None:
        self._api = api
        self._query = query
        self._is_inference = is_inference
        self._left_out = left_out
        self._choose = choose
        self._ids: AsyncGenerator[str, None] | None = None

    @property
    def can_change(self) -> bool:
        """Whether a workload may stop matching while it exists."""
        return self._query.can_change

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        if self._ids is None:
            self._ids = self._each_once()
        return await anext(self._ids)

    async def aclose(self) -> None:
        """End the iteration. Closing twice is harmless."""
        if self._ids is None:
            self._ids = self._each_once()
        await self._ids.aclose()

    async def _each_once(self) -> AsyncGenerator[str, None]:
        async for workload in each_once(self._api, self._query, self._left_out, _codec.workload_outline):
            if self._includes(workload):
                yield workload.id

    def _includes(self, workload: Workload) -> bool:
        if not self._is_inference(workload):
            return False
        if not is_uuid(workload.id):
            self._left_out.report(f"id {workload.id}", "the id is not a UUID")
            return False
        return True

    async def read(self, watch: Stopwatch) -> Reading:
        """Read all of it, whatever was iterated: one attempt a request, each within the watch's longest step.

        Raises:
            RunaiError: a request failed.
        """

        async def ask(call: Call[_Page]) -> _Page:
            with watch.step():
                return await once.call(call, deadline=watch.clock.monotonic() + watch.longest)

        once = self._api.retrying.once()
        listing = WorkloadListing(self._api, self._query, ask, self._left_out, _codec.workload_outline)
        named: defaultdict[int, set[str]] = defaultdict(set)
        reading = listing.reading
        while (page := await listing.next_page()) is not None:
            named[reading].update(workload.id for workload in page if self._includes(workload))
            reading = listing.reading
        ids = named[reading] if listing.is_sound else set[str]().union(*named.values())
        return Reading(self._choose(frozenset(ids)), listing.is_sound)

    async def read_now(self, longest: float) -> Reading:
        """Read all of it at once, for someone who waits for it, and not when it is its turn.

        Args:
            longest: seconds that one request may take.

        Raises:
            RunaiError: a request failed.
        """
        return await self.read(Stopwatch(self._api.clock, longest))
