"""Asks which workloads there are: the client's own list, or a function of the caller's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable
from contextlib import asynccontextmanager
from uuid import UUID

from runai_async._api.api import Api
from runai_async._api.list_pace import Pace, Stopwatch
from runai_async._api.workload_list import IdListing
from runai_async._arguments import check_id
from runai_async._fleet.discovery import Ask, Ids, Listed
from runai_async.errors import AttemptTimeoutError


class Lister:
    """Lists once and says how long to rest after it.

    A listing of ours goes one at a time with all else that its client lists by itself. A function of the
    caller's waits for nobody: it rests only after itself.

    Args:
        ask: the caller's function, which may return a listing of ours.
        api: the control plane.
        deadline: seconds that a request of ours, or a step of the caller's function, may take.

    Attributes:
        began_at: monotonic time at which the last listing began, its wait for its turn excluded.
        seconds: what its requests took; all of it where the function is the caller's.
        rest: seconds until the next one may begin, counted from its end.
    """

    def __init__(self, ask: Ask, api: Api, deadline: float) -> None:
        self.began_at: float = api.clock.monotonic()
        self.seconds: float = 0.0
        self.rest: float = 0.0
        self._ask = ask
        self._clock = api.clock
        self._gate = api.list_gate
        self._pace = Pace()  # of the caller's function
        self._deadline = deadline

    async def list_ids(self) -> Listed:
        """List once.

        Raises:
            AttemptTimeoutError: a step of the caller's function took longer than the deadline.
            ValueError: an id is not a UUID.
            Exception: whatever a request or the function raises.
        """
        watch = Stopwatch(self._clock, self._deadline)
        self.began_at = self._clock.monotonic()
        try:
            response = await self._asked(watch)
            if not isinstance(response, IdListing):
                listed = await self._of_caller(response, watch)
                self._count(watch, failed=False)
                return listed
        except Exception:
            self._count(watch, failed=True)
            raise
        return await self._of_ours(response)

    def _count(self, watch: Stopwatch, *, failed: bool) -> None:
        """Rest after a function of the caller's."""
        self._pace.record(self._clock.monotonic(), watch.seconds, failed=failed)
        self.seconds, self.rest = watch.seconds, self._pace.rest

    async def _of_ours(self, listing: IdListing) -> Listed:
        watch = Stopwatch(self._clock, self._deadline)
        try:
            async with self._gate.turn(watch):
                self.began_at = self._clock.monotonic()
                ids, is_sound = await listing.read(watch)
                return Listed(ids, self.began_at, is_sound=is_sound, is_proof=listing.can_change)
        finally:
            self.seconds, self.rest = watch.seconds, self._gate.rest

    async def _of_caller(self, response: Ids, watch: Stopwatch) -> Listed:
        if isinstance(response, AsyncIterable):
            return Listed(await self._drained(response, watch), self.began_at)
        with watch.step():
            return Listed(frozenset(check_id(item, "workload_id") for item in response), self.began_at)

    async def _asked(self, watch: Stopwatch) -> Ids:
        with watch.step():
            response = self._ask()
            if not isinstance(response, Awaitable):
                return response
            async with _limited(self._deadline):
                return await response

    async def _drained(self, response: AsyncIterable[str | UUID], watch: Stopwatch) -> frozenset[str]:
        ids: set[str] = set()
        items = aiter(response)
        try:
            while True:
                with watch.step():
                    async with _limited(self._deadline):
                        item = await anext(items, None)
                if item is None:
                    return frozenset(ids)
                ids.add(check_id(item, "workload_id"))
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
