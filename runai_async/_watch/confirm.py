"""Where a missing revision went: a list that lacks it is not evidence of a deletion.

Two requests can say: the list of deleted revisions, for all of them, and a get by id, for one. Both together
have little time, since events that are known wait for them. So that one that hangs does not keep the other
from its turn for ever, they take turns in going first once that happens.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from attrs import evolve

from runai_async import _codec
from runai_async._api.endpoints import Call, Endpoints, with_parse
from runai_async._api.statuses import is_from_api
from runai_async._clock import Clock
from runai_async._observe.log import logger
from runai_async._watch.failures import ROUNDING
from runai_async._watch.tracker import Lookup, Tracker
from runai_async.errors import DecodeError, NotFoundError, RunaiError

T = TypeVar("T")


class Ask(Protocol):
    """Makes one of the further requests of a poll, by a monotonic time."""

    async def __call__(self, call: Call[T], deadline: float) -> T:
        """Return the value that the response holds."""
        ...


Found = dict[str, Lookup]
Turn = Callable[[Tracker, list[str], float, Found], Awaitable[None]]


class Confirmer:
    """Looks for missing revisions, with at most two requests per poll."""

    def __init__(self, endpoints: Endpoints, ask: Ask, clock: Clock) -> None:
        self._endpoints = endpoints
        self._ask = ask
        self._clock = clock

    async def look_for(self, tracker: Tracker, missing: list[str], deadline: float) -> Found:
        """Return what the deleted list and one get by id say; a request that fails decides nothing.

        What got no time goes first at the next poll, and so does the get after a deleted list that failed.
        """
        found: Found = {}
        turns: tuple[Turn, Turn] = (self._look_among_deleted, self._look_by_id)
        for turn in reversed(turns) if tracker.get_first else turns:
            if deadline - self._clock.monotonic() <= ROUNDING:
                tracker.get_first = turn == self._look_by_id
                break
            await turn(tracker, missing, deadline, found)
        return found

    async def _look_among_deleted(
        self, tracker: Tracker, missing: list[str], deadline: float, found: Found
    ) -> None:
        """Look for all of them at once, also for one whose get was a 404 or failed."""
        rest = {item for item in missing if item not in found or found[item].revision is None}
        try:
            found.update(await self._among_deleted(tracker, rest, deadline) if rest else {})
        except RunaiError as error:
            tracker.get_first = True
            logger.debug("workload %s: a confirmation failed: %s", tracker.workload_id, error)
        else:
            tracker.get_first = False

    async def _look_by_id(self, tracker: Tracker, missing: list[str], deadline: float, found: Found) -> None:
        """Look for the one of them that was looked for longest ago."""
        revision_id = next((item for item in missing if item not in found), None)
        if revision_id is None:
            return
        try:
            found[revision_id] = await self._by_id(revision_id, deadline)
        except RunaiError as error:
            found[revision_id] = Lookup(failed=True)
            logger.debug("workload %s: a confirmation failed: %s", tracker.workload_id, error)

    async def _among_deleted(self, tracker: Tracker, missing: set[str], deadline: float) -> Found:
        """Look in the deleted list; of a revision that cannot be decoded, its id and `deletedAt` suffice."""
        call = with_parse(
            self._endpoints.list_revisions(tracker.workload_id, deleted=True), _codec.split_revisions
        )
        found: Found = {}
        for raw in await self._ask(call, deadline):
            key, at = _codec.identity(raw), _codec.deletion_time(raw)
            if key in missing and at is not None:
                try:
                    found[key] = Lookup(raw, _codec.decode_revision(raw))
                except DecodeError as error:
                    found[key] = Lookup(None, evolve(tracker.last_state(key), deleted_at=at))
                    logger.warning(
                        "workload %s: a revision cannot be decoded: %s", tracker.workload_id, error
                    )
        return found

    async def _by_id(self, revision_id: str, deadline: float) -> Lookup:
        call = self._endpoints.get_revision(revision_id)
        looking = with_parse(call, lambda body: Lookup(body, call.parse(body)))
        try:
            return await self._ask(looking, deadline)
        except NotFoundError as error:
            if not is_from_api(error):
                raise  # a gateway's 404 says nothing about the revision
            return Lookup()
