"""Who belongs to a fleet by discovery: what is listed joins, and what a checkpoint has beyond that, too."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

from runai_async._api.api import Api
from runai_async._fleet.discovery import Discovery, Listed
from runai_async._fleet.lister import Lister
from runai_async._fleet.query_reader import QueryReader, Reading
from runai_async._fleet.slices import give_way
from runai_async._fleet.spread import WHOLE, Shard
from runai_async._observe.log import logger
from runai_async._values import frozen
from runai_async._watch.failures import ROUNDING
from runai_async.checkpoint import Checkpoint
from runai_async.errors import AuthenticationError, RunaiError
from runai_async.models import Workload
from runai_async.policy import PollPolicy


@frozen
class Fleet:
    """What discovery sees of a fleet.

    Attributes:
        watched: the workloads that it watches, kept up to date.
        is_running: returns whether it has not ended.
        join: lets workloads join by their ids; takes whether they existed when the fleet began.
        begin: takes the ids of the first listing, once those have joined.
        listed: takes a successful listing, once those that join have joined, and the seconds until the next.
        listing_failed: is called after a listing that failed.
        responded: takes the monotonic time of a response, where no poll can show that there are any.
        end: takes the error that ends the fleet.
    """

    watched: Collection[str]
    is_running: Callable[[], bool]
    join: Callable[[Sequence[str], bool], Awaitable[None]]
    begin: Callable[[Collection[str]], None]
    listed: Callable[[Listed, float], Awaitable[None]]
    listing_failed: Callable[[], None]
    responded: Callable[[float], None]
    end: Callable[[RunaiError], None]


class Membership:
    """Lists the workloads again and again, and lets new ones join.

    Args:
        discovery: what is listed.
        api: the control plane.
        policy: how patient the fleet is.
        resume_from: what the workloads that join resume from.
        shard: the share of the workloads that join. Which of them leave is decided by the whole list.

    Attributes:
        unclaimed: the part of *resume_from* whose workloads have not joined yet.
        succeeded_at: monotonic time of the last successful listing, or of the start.
    """

    def __init__(
        self,
        discovery: Discovery,
        api: Api,
        policy: PollPolicy,
        resume_from: Mapping[str, Checkpoint],
        shard: Shard = WHOLE,
    ) -> None:
        self.unclaimed: dict[str, Checkpoint] = {
            key: part for key, part in resume_from.items() if shard.owns(key)
        }
        self._shard = shard
        self.succeeded_at: float = api.clock.monotonic()
        self._discovery = discovery
        self._clock = api.clock
        self._policy = policy
        self._lister = (
            None if discovery.ask is None else Lister(discovery.ask, api, policy.deadline, shard.count)
        )
        self._is_stretched = False
        self._begins = True

    def begin_with(self, reader: QueryReader, first: Reading) -> None:
        """Take a listing that was made already for the first one."""
        if self._lister is not None:
            self._lister.begin_with(reader, first)

    def workload(self, workload_id: str) -> Workload | None:
        """Return a workload as the last listing of a query had it; None where no query names it."""
        reader = None if self._lister is None else self._lister.reader
        return None if reader is None else reader.workload(workload_id)

    @property
    def interval(self) -> float | None:
        """Seconds between listings at present; None where nothing is listed."""
        return None if self._lister is None else max(self._discovery.interval, self._lister.rest)

    async def run(self, fleet: Fleet) -> None:
        """List again and again, as long as the fleet runs. Where ids were given there is nothing to do."""
        lister = self._lister
        while lister is not None and fleet.is_running() and await self._list(fleet, lister):
            self._note_interval(lister)
            watches, rest = bool(fleet.watched), lister.rest
            await self._clock.sleep(self._discovery.pause(self._policy, watches=watches, rest=rest))

    async def _list(self, fleet: Fleet, lister: Lister) -> bool:
        """List once; return whether to go on."""
        try:
            listed = await lister.list_ids()
        except Exception as error:
            if self._discovery.is_new and not isinstance(error, RunaiError):
                raise  # a caller's function that has never worked
            now = self._clock.monotonic()
            fleet.listing_failed()
            ending = self._discovery.failed(error, lister.began_at, now, self._policy)
            is_rejected = isinstance(error, AuthenticationError) and error.is_final
            if ending is not None and (is_rejected or not fleet.watched):
                fleet.end(ending)  # nothing else would notice
                return False
        else:
            await self._listed(listed, fleet, max(self._discovery.interval, lister.rest))
        return True

    async def _listed(self, listed: Listed, fleet: Fleet, interval: float) -> None:
        """Let new workloads join. The revisions of one that joins later are new, too."""
        first = not self._discovery.rounds
        now = self.succeeded_at = self._clock.monotonic()
        self._discovery.succeeded(listed, fleet.watched, now, self._policy)
        if not fleet.watched:
            fleet.responded(now)
        new = sorted(key for key in listed.ids - set(fleet.watched) if self._shard.owns(key))
        await give_way(len(new))
        await fleet.join(new, first)
        if self._begins:
            self._begins = False
            fleet.begin(listed.ids)
        if self._discovery.is_settled:
            # Not listed any more, so their deletions are still to be reported; then they leave.
            await fleet.join(sorted(self.unclaimed), first)
        await fleet.listed(listed, interval)

    def _note_interval(self, lister: Lister) -> None:
        """Log that listings are further apart than was asked for, and that they no longer are."""
        asked = self._discovery.interval
        was_stretched, is_stretched = self._is_stretched, lister.rest > asked + ROUNDING
        self._is_stretched = is_stretched
        if is_stretched and not was_stretched:
            logger.info(
                "the workloads are listed every %.0f s or more, not every %.0f s: the list %s",
                lister.rest,
                asked,
                "fails" if self._discovery.failures else f"takes {lister.seconds:.1f} s",
            )
        elif was_stretched and not is_stretched:
            logger.info("the workloads are listed every %.0f s again", asked)
