"""Asks which workloads there are: a query of the client's own list, or a function of the caller's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Iterable, Iterator
from contextlib import asynccontextmanager

from runai_async._api.api import Api
from runai_async._api.list_pace import Pace, Stopwatch, rest_ratio
from runai_async._api.paging import LeftOut
from runai_async._api.workload_query import WorkloadQuery, check_own
from runai_async._fleet.discovery import Ask, Ids, Item, Listed, id_of
from runai_async._fleet.query_reader import QueryReader, Reading
from runai_async._text import is_uuid
from runai_async.errors import AttemptTimeoutError
from runai_async.models import Workload


class _End:
    """What no caller's list can have in it."""


_END = _End()


class Lister:
    """Lists once and says how long to rest after it.

    A listing of ours goes one at a time with all else that its client lists by itself. A function of the
    caller's waits for nobody: it rests only after itself.

    Args:
        ask: the caller's function, which may return a query of ours.
        api: the control plane.
        deadline: seconds that a request of ours, or a step of the caller's function, may take.
        shards: how many fleets, in processes of their own, list the same.

    Attributes:
        began_at: monotonic time at which the last listing began, its wait for its turn excluded.
        seconds: what its requests took; all of it where the function is the caller's.
        rest: seconds until the next one may begin, counted from its end.
        reader: has the rows of the query, if one was listed.
    """

    def __init__(self, ask: Ask, api: Api, deadline: float, shards: int = 1) -> None:
        self.began_at: float = api.clock.monotonic()
        self.seconds: float = 0.0
        self.rest: float = 0.0
        self._ask = ask
        self._api = api
        self._clock = api.clock
        self._gate = api.list_gate
        self._pace = Pace()  # of the caller's function
        self._deadline = deadline
        self._ratio = rest_ratio(shards)
        self._left_out = LeftOut("watch_fleet")
        self._first: Reading | None = None
        self._iterator: object = None  # what the caller's function returned last, if it can be read only once
        self.reader: QueryReader | None = None

    def begin_with(self, reader: QueryReader, first: Reading) -> None:
        """Take a listing that was made already for the first one."""
        self.reader, self._first = reader, first

    async def list_ids(self) -> Listed:
        """List once.

        Raises:
            AttemptTimeoutError: a step of the caller's function took longer than the deadline.
            ValueError: an id is not a UUID, or a query is of another client.
            TypeError: what was listed is no workload, or can be read only once and was read before.
            Exception: whatever a request or the function raises.
        """
        watch = Stopwatch(self._clock, self._deadline)
        self.began_at = self._clock.monotonic()
        if self.reader is not None and self._first is not None:
            first, self._first = self._first, None
            return self._listed(self.reader, first)
        try:
            response = await self._asked(watch)
            if not isinstance(response, WorkloadQuery):
                listed = await self._of_caller(response, watch)
                self._count(watch, failed=False)
                return listed
        except Exception:
            self._count(watch, failed=True)
            raise
        return await self._of_query(response)

    def _count(self, watch: Stopwatch, *, failed: bool) -> None:
        """Rest after a function of the caller's."""
        self._pace.record(self._clock.monotonic(), watch.seconds, failed=failed, ratio=self._ratio)
        self.seconds, self.rest = watch.seconds, self._pace.rest

    async def _of_query(self, query: WorkloadQuery) -> Listed:
        if self.reader is None or self.reader.query != query:
            check_own(query, self._api)
            self.reader = QueryReader(query)
        reader, watch = self.reader, Stopwatch(self._clock, self._deadline)
        try:
            async with self._gate.turn(watch, self._ratio):
                self.began_at = self._clock.monotonic()
                return self._listed(reader, await reader.read(watch))
        finally:
            self.seconds, self.rest = watch.seconds, self._gate.rest

    def _listed(self, reader: QueryReader, reading: Reading) -> Listed:
        return Listed(
            reading.ids,
            self.began_at,
            is_sound=reading.is_sound,
            is_proof=reader.can_change,
            changed=reading.changed,
        )

    async def _of_caller(self, response: Ids, watch: Stopwatch) -> Listed:
        self._left_out.begin()
        self._check_new(response)
        if isinstance(response, AsyncIterable):
            return Listed(await self._drained(response, watch), self.began_at)
        with watch.step():
            return Listed(frozenset(key for item in response for key in self._named(item)), self.began_at)

    def _check_new(self, response: Ids) -> None:
        """Raise `TypeError` for what cannot be read, or not again: an iterator is empty once it was read."""
        is_iterable = isinstance(response, Iterable | AsyncIterable)  # pyright: ignore[reportUnnecessaryIsInstance]
        if isinstance(response, str) or not is_iterable:
            raise TypeError(
                "the function that lists workloads must return an (async) iterable of workloads or ids, "
                f"not {type(response).__name__}"
            )
        if response is self._iterator:
            raise TypeError(
                "the function that lists workloads returned the same iterator again: make a new one"
            )
        self._iterator = response if isinstance(response, Iterator | AsyncIterator) else None

    def _named(self, item: Item) -> list[str]:
        """Return the id of what was listed; a workload whose id is not a UUID is left out."""
        if isinstance(item, Workload) and not is_uuid(item.id):
            self._left_out.report(f"id {item.id}", "the id is not a UUID")
            return []
        return [id_of(item)]

    async def _asked(self, watch: Stopwatch) -> Ids:
        with watch.step():
            response = self._ask()
            if not isinstance(response, Awaitable):
                return response
            async with _limited(self._deadline):
                return await response

    async def _drained(self, response: AsyncIterable[Item], watch: Stopwatch) -> frozenset[str]:
        ids: set[str] = set()
        items = aiter(response)
        try:
            while True:
                with watch.step():
                    async with _limited(self._deadline):
                        item = await anext(items, _END)
                if isinstance(item, _End):
                    return frozenset(ids)
                ids.update(self._named(item))
        finally:
            if isinstance(items, AsyncGenerator):
                await items.aclose()


@asynccontextmanager
async def _limited(seconds: float) -> AsyncGenerator[None, None]:
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            yield
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise AttemptTimeoutError(f"the list of workloads had no next page within {seconds:g} s") from error
