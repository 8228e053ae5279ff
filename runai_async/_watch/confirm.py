"""Where a missing revision went: a list that lacks it is not evidence of a deletion."""

from __future__ import annotations

import logging
from typing import Protocol, TypeVar

from attrs import evolve

from runai_async import _codec
from runai_async._api.endpoints import Call, Endpoints, with_parse
from runai_async._api.statuses import is_from_api
from runai_async._watch.tracker import Lookup, Tracker
from runai_async.errors import DecodeError, NotFoundError, RunaiError

T = TypeVar("T")
logger = logging.getLogger("runai_async")


class Ask(Protocol):
    """Makes one of the further requests of a poll, by a monotonic time."""

    async def __call__(self, call: Call[T], deadline: float) -> T:
        """Return the value that the response holds."""
        ...


class Confirmer:
    """Looks for missing revisions, with at most two requests per poll."""

    def __init__(self, endpoints: Endpoints, ask: Ask) -> None:
        self._endpoints = endpoints
        self._ask = ask

    async def look_for(self, tracker: Tracker, missing: list[str], deadline: float) -> dict[str, Lookup]:
        """Return what the deleted list and one get by id say; a request that fails decides nothing."""
        found: dict[str, Lookup] = {}
        try:
            found = await self._among_deleted(tracker, set(missing), deadline)
        except RunaiError as error:
            logger.debug("workload %s: a confirmation failed: %s", tracker.workload_id, error)
        rest = [revision_id for revision_id in missing if revision_id not in found]
        if rest:
            try:
                found[rest[0]] = await self._by_id(rest[0], deadline)
            except RunaiError as error:
                found[rest[0]] = Lookup(failed=True)
                logger.debug("workload %s: a confirmation failed: %s", tracker.workload_id, error)
        return found

    async def _among_deleted(self, tracker: Tracker, missing: set[str], deadline: float) -> dict[str, Lookup]:
        """Look in the deleted list; of a revision that cannot be decoded, its id and `deletedAt` suffice."""
        call = with_parse(
            self._endpoints.list_revisions(tracker.workload_id, deleted=True), _codec.split_revisions
        )
        found: dict[str, Lookup] = {}
        for raw in await self._ask(call, deadline):
            key, at = _codec.identity(raw), _codec.deletion_time(raw)
            if key in missing and at is not None:
                try:
                    found[key] = Lookup(raw, _codec.decode_revision(raw))
                except DecodeError as error:
                    logger.warning(
                        "workload %s: a revision cannot be decoded: %s", tracker.workload_id, error
                    )
                    found[key] = Lookup(None, evolve(tracker.last_state(key), deleted_at=at))
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
