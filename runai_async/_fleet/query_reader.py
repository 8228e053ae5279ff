"""Reads the workloads of a query again and again, page by page, and keeps their rows."""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from typing import NamedTuple

from runai_async._api.endpoints import with_parse
from runai_async._api.list_pace import Stopwatch
from runai_async._api.workload_list import ListCall, WorkloadListing
from runai_async._api.workload_query import WorkloadQuery, source_of
from runai_async._fleet.row_pages import RowPage, RowPages
from runai_async._fleet.rows import Row, Rows
from runai_async._fleet.slices import give_way
from runai_async.models import Workload


class Reading(NamedTuple):
    """What a listing named.

    Attributes:
        ids: the workloads.
        is_sound: whether no row moved meanwhile.
        changed: the workloads of the query whose rows have changed, or are gone, since the listing before.
    """

    ids: frozenset[str]
    is_sound: bool
    changed: frozenset[str] = frozenset()


class QueryReader:
    """Reads one query.

    Args:
        query: which workloads.

    Attributes:
        query: the same.
        can_change: whether a workload may stop matching while it exists.
    """

    def __init__(self, query: WorkloadQuery) -> None:
        source = source_of(query)
        self.query = query
        self.can_change: bool = source.selection.can_change
        self._api = source.api
        self._selection = source.selection
        self._choose = source.choose
        self._rows = Rows(source.includes, source.left_out)
        self._pages = RowPages(self._rows.look_up)

    async def read(self, watch: Stopwatch) -> Reading:
        """Read all of it: one attempt a request, each within the watch's longest step.

        Raises:
            RunaiError: a request failed.
        """

        async def ask(call: ListCall) -> RowPage:
            cut = partial(self._pages.cut, offset=int(call.request.url.query["offset"]))
            with watch.step():
                deadline = watch.clock.monotonic() + watch.longest
                return await once.call(with_parse(call, cut), deadline=deadline)

        once = self._api.retrying.once()
        self._rows.begin()
        listing = WorkloadListing(self._api, self._selection, ask)
        named: defaultdict[int, list[Row]] = defaultdict(list)
        reading = listing.reading
        while (page := await listing.next_page()) is not None:
            named[reading] += page.rows
            reading = listing.reading
        self._pages.keep()
        rows = named[reading] if listing.is_sound else [row for part in named.values() for row in part]
        await give_way(len(rows))
        changed = self._rows.keep(rows, is_sound=listing.is_sound)
        await give_way(len(rows))
        ids = frozenset(row.id for row in rows if row.id is not None and row.is_included)
        return Reading(self._chosen(ids), listing.is_sound, changed)

    def _chosen(self, ids: frozenset[str]) -> frozenset[str]:
        if self._choose is None:
            return ids
        found = {key: self._rows.workload(key) for key in ids}
        return self._choose({key: workload for key, workload in found.items() if workload is not None})

    async def read_now(self, longest: float) -> Reading:
        """Read all of it at once, for someone who waits for it, and not when it is its turn.

        Args:
            longest: seconds that one request may take.

        Raises:
            RunaiError: a request failed.
        """
        return await self.read(Stopwatch(self._api.clock, longest))

    def workload(self, workload_id: str) -> Workload | None:
        """Return a workload of the query as the last listing had it; None for any other."""
        return self._rows.workload(workload_id)
