"""The phases that were missed between two polls, read from a revision's history."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

from attrs import evolve

from runai_async import _codec
from runai_async._api.endpoints import Endpoints
from runai_async._api.paging import LeftOut, paged
from runai_async._clock import is_same_moment
from runai_async._observe.log import logger
from runai_async._watch.confirm import Ask
from runai_async._watch.listing import Snapshot
from runai_async._watch.tracker import Tracker
from runai_async.checkpoint import RevisionMark
from runai_async.errors import RunaiError
from runai_async.models import HistoryRecord, Revision


class _Allowance:
    """How many requests a poll may still make for histories."""

    def __init__(self, left: float) -> None:
        self._left = left

    def take(self) -> None:
        """Take one of them. Raises `RunaiError` where none is left."""
        if self._left < 1:
            raise RunaiError("too many phases have changed at once to read the history of each")
        self._left -= 1


class GapFiller:
    """Reads from histories which phases a watch has missed; says once why a gap stays open.

    Args:
        endpoints: of the control plane.
        ask: makes a request.
        most: how many of them one poll may make.
    """

    def __init__(self, endpoints: Endpoints, ask: Ask, most: float = math.inf) -> None:
        self._endpoints = endpoints
        self._ask = ask
        self._most = most
        self._explained = False

    async def fill(self, tracker: Tracker, snapshot: Snapshot, deadline: float) -> dict[str, list[Revision]]:
        """Return, by revision id, the states between the known one and that of the snapshot."""
        between: dict[str, list[Revision]] = {}
        allowance = _Allowance(self._most)
        for mark, revision in tracker.gaps(snapshot):
            try:
                history = await self._history(revision.id, deadline, allowance)
                states = missed_phases(mark, revision, history)
            except RunaiError as error:
                self._explain(tracker.workload_id, str(error))
                continue
            if states is None:
                self._explain(tracker.workload_id, "the history does not fit what was seen")
            else:
                between[revision.id] = states
        return between

    async def _history(self, revision_id: str, deadline: float, allowance: _Allowance) -> list[HistoryRecord]:
        async def ask(offset: int) -> _codec.Page[HistoryRecord]:
            allowance.take()
            return await self._ask(self._endpoints.revision_history(revision_id, offset), deadline)

        return [record async for record in paged(ask, LeftOut("revision_history"))]

    def _explain(self, workload_id: str, reason: str) -> None:
        level = logging.DEBUG if self._explained else logging.WARNING
        self._explained = True
        logger.log(
            level, "workload %s: phases between two polls cannot be filled in: %s", workload_id, reason
        )


def missed_phases(
    mark: RevisionMark, revision: Revision, history: Sequence[HistoryRecord]
) -> list[Revision] | None:
    """Return the states between the reported one and the present one; None if the history does not fit."""
    since, until = mark.phase_updated_at, revision.phase_updated_at
    if since is None or until is None or until <= since:
        return None
    updates = sorted(
        (record.meta.creation_timestamp, index, update)
        for index, record in enumerate(history)
        if (update := record.spec.phase_update) is not None
    )
    # The history may write its times in another precision.
    started = [row for row in updates if row[0] <= since or is_same_moment(row[0], since)]
    rest = updates[len(started) :]
    inside = [(time, update) for time, _, update in rest if time <= until or is_same_moment(time, until)]
    fits = (
        inside
        and inside[-1][1].phase == revision.phase
        and (not started or started[-1][2].phase == mark.phase)
    )
    if not fits:
        return None
    phases = [mark.phase, *(update.phase for _, update in inside)]
    return [
        evolve(revision, phase=update.phase, phase_updated_at=time, phase_message=update.phase_message)
        for previous, (time, update) in zip(phases, inside[:-1], strict=False)
        if update.phase != previous
    ]
