"""`FleetWatch`: a schedule around many polls.

A dispatcher polls each workload when it is due, and what the polls find goes into one buffer. When that is
full the dispatcher waits, so a slow consumer slows the polling and nothing is dropped. Here is what is done
about a poll's outcome, and how the fleet begins, is iterated, and ends.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Generator, Iterable, Sequence
from types import TracebackType
from typing import Self, overload
from uuid import UUID

from runai_async._api.api import Api
from runai_async._arguments import check_control_plane, check_id, check_resume
from runai_async._fleet.discovery import Discovery, WorkloadIds
from runai_async._fleet.member import Member
from runai_async._fleet.membership import Fleet, Membership
from runai_async._fleet.parts import Limits, Parts
from runai_async._fleet.query_reader import QueryReader, Reading
from runai_async._fleet.reading import FleetReading, IsKnown, read_members
from runai_async._fleet.slices import in_turns
from runai_async._fleet.spread import WHOLE, Shard
from runai_async._fleet.status import FleetStatus
from runai_async._fleet.synced import FirstSync
from runai_async._fleet.tasks import Tasks
from runai_async._observe.log import logger
from runai_async._watch.cluster_watch import ClusterWatch
from runai_async._watch.failures import resumed_streak
from runai_async._watch.live import LiveRevisions
from runai_async._watch.tracker import Tracker
from runai_async.checkpoint import Checkpoint, FleetCheckpoint
from runai_async.errors import RunaiError
from runai_async.events import FleetEvent, Synced
from runai_async.models import Revision, Workload
from runai_async.policy import PollPolicy


class FleetWatch(AsyncIterator[FleetEvent]):
    """The changes of many workloads' revisions as one stream; what `RunaiClient.watch_fleet` returns.

    It polls in tasks of its own, which live as long as its `async with`. The events of one workload come in
    order; the failure of one workload is a `WorkloadFailed`, reported once, and does not end the stream.

    Raises:
        AuthenticationError: the credentials were rejected; or the token was refused and no poll had succeeded
            yet, or for `PollPolicy.max_outage` seconds.
        WatchOutageError: no response from the control plane for `PollPolicy.max_outage` seconds; or nothing
            is watched, because discovery has failed for so long.
        PermissionDeniedError, NotFoundError: nothing is watched, because discovery has been refused for so
        long. ConfigurationError: the login's files cannot be read, and there was no response yet.

    Example:
        >>> async with runai.watch_fleet(workload_ids, interval=10) as fleet:
        ...     async for event in fleet:
        ...         if isinstance(event, PhaseChanged):
        ...             print(event.revision.name, event.revision.phase)
        chat-00002 Running
    """

    def __init__(
        self,
        api: Api,
        policy: PollPolicy,
        workloads: WorkloadIds,
        *,
        max_concurrency: int = 32,
        rate_limit: float | None = None,
        buffer: int = 1000,
        discovery_interval: float = 60.0,
        include_existing: bool = True,
        resume_from: FleetCheckpoint | None = None,
        fill_gaps: bool = False,
        relaxed_interval: float | None = None,
        shard: Shard = WHOLE,
        clusters: ClusterWatch,
    ) -> None:
        self._clock = api.clock
        self._base_url = api.endpoints.normal_url
        self._policy = policy
        self._discovery = Discovery(workloads, discovery_interval)
        self._include_existing = include_existing
        self._membership = Membership(
            self._discovery, api, policy, resume_from.workloads if resume_from else {}, shard
        )
        self._shard = shard
        self._error: RunaiError | None = None
        self._began = api.clock.monotonic()
        self._entered = False
        self._open = False
        self._peeks = False
        self._tasks = Tasks(self._fail)
        self._first_sync = FirstSync(self._synced)
        parts = Parts(
            api,
            policy,
            Limits(max_concurrency, rate_limit, buffer, relaxed_interval),
            fill_gaps=fill_gaps,
            discovery=self._discovery,
            membership=self._membership,
            tasks=self._tasks,
            clusters=clusters,
            settled=self._first_sync.settle,
            end=self._end,
        )
        self._buffer, self._dispatcher, self._health = parts.buffer, parts.dispatcher, parts.health
        self._members, self._poller, self._polling = parts.members, parts.poller, parts.polling
        self._delivered = parts.delivered
        self._follower, self._clusters, self._survey = parts.follower, parts.clusters, parts.survey

    # --- an async context manager and iterator ------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if self._entered:
            raise RuntimeError("a fleet watch can be entered only once; create another one")
        self._entered = self._open = True
        if self._discovery.fixed is not None:
            await self._begin_with([key for key in self._discovery.fixed if self._shard.owns(key)])
            if not self._open:  # it was closed meanwhile
                return self
        else:
            self._tasks.start(self._membership.run, self._as_discovery_sees_it())
        self._dispatcher.start()
        if "clusters" in self._policy.emit:
            self._tasks.start(self._clusters.run, self._cluster_ids, self._buffer.report)
        return self

    async def _begin_with(self, workload_ids: Sequence[str]) -> None:
        """Watch the workloads that were given, and nothing else of what was resumed from."""
        try:
            await self._join_all(workload_ids)
        except asyncio.CancelledError:
            self._open = False  # nothing has started yet
            raise
        for workload_id in self._membership.unclaimed:
            self._delivered.touch(workload_id)
        self._membership.unclaimed.clear()
        self._begin_sync(workload_ids)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop polling, and end the iteration behind what is buffered. Closing twice is harmless."""
        self._open = False
        self._dispatcher.stop()
        try:
            await self._tasks.aclose()
        finally:
            self._buffer.wake()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> FleetEvent:
        """Return the next event.

        Raises:
            StopAsyncIteration: the fleet was closed.
            RunaiError: the fleet has ended with one of the errors that the class names; see its
                `.checkpoint`.
            RuntimeError: another task is already waiting for an event, or the fleet was not entered.
        """
        if self._buffer.is_awaited:
            raise RuntimeError("another task is iterating this fleet; use one consumer")
        while True:
            event = self._buffer.peek() if self._peeks else self._buffer.take()
            self._dispatcher.wake()
            if event is not None:
                return event
            if self._error is not None:
                error, self._error = self._error, None
                self._open = False
                error.checkpoint = self.checkpoint()
                raise error
            if not self._open:
                if self._entered:
                    raise StopAsyncIteration
                raise RuntimeError("enter the fleet first: async with runai.watch_fleet(...) as fleet")
            await self._buffer.wait()

    async def peek(self) -> FleetEvent:
        """Return the event that the next `anext` will return, waiting for it in the same way.

        It is not delivered, so no checkpoint has it, until `anext` has returned it: call that, which then
        does not wait, once the event is where it must not be lost. If its workload is removed meanwhile,
        `anext` returns another one.

        Raises:
            StopAsyncIteration, RunaiError, RuntimeError: as `anext` does.

        Example:
            >>> async with runai.watch_fleet(workload_ids) as fleet:
            ...     event = await fleet.peek()
            ...     delivered = await anext(fleet)
            >>> delivered is event
            True
        """
        if self._buffer.is_awaited:
            raise RuntimeError("another task is iterating this fleet; use one consumer")
        self._peeks = True
        try:
            return await self.__anext__()
        finally:
            self._peeks = False

    def _cluster_ids(self) -> set[str]:
        """Return the clusters of what is watched; a workload is in one, whichever revision names it."""
        found = (member.tracker.cluster_id for member in self._members)
        return {cluster_id for cluster_id in found if cluster_id is not None}

    # --- members ------------------------------------------------------------------------------------------

    @property
    def workload_ids(self) -> frozenset[str]:
        """The ids of the workloads that are watched."""
        return frozenset(self._members.ids)

    def workload(self, workload_id: str | UUID) -> Workload | None:
        """Return a workload as the last listing had it, where the fleet is one of a query.

        Its phase is not that of its revisions. Where rows moved while that listing was read, it may be as the
        one before had it. It is decoded for each call, from the bytes that are kept.

        Returns:
            The workload; None if the last listing did not name it as one of the query, or there was none.

        Raises:
            ValueError: not a UUID.

        Example:
            >>> async with runai.watch_fleet(runai.inference_workloads) as fleet:
            ...     event = await anext(fleet)
            ...     workload = fleet.workload(event.workload_id)
            >>> workload.name, workload.project_name
            ('chat', 'team-a')
        """
        return self._membership.workload(check_id(workload_id, "workload_id"))

    def add(self, workload_id: str | UUID, *, resume_from: Checkpoint | None = None) -> None:
        """Watch one more workload. Adding one twice is harmless.

        Its first poll comes within a second, or behind the first polls that others wait for, of which 200 a
        second are made; but, as the limits permit, no later than its usual time in an interval. Where half of
        the polls fail, it comes at that time.

        Args:
            workload_id: the workload.
            resume_from: the checkpoint of another fleet or watch, to resume from what it delivered; it has no
                effect on a workload that is watched already.

        Raises:
            ValueError: not a UUID, of another shard than this fleet's, or the checkpoint is of another
                workload or control plane.
            TypeError: *resume_from* is not a `Checkpoint`.

        Example:
            >>> async with runai.watch_fleet([]) as fleet:
            ...     fleet.add(workload_id)
            ...     event = await anext(fleet)
        """
        key = check_id(workload_id, "workload_id")
        self._shard.check(key)
        check_resume(resume_from, Checkpoint)
        check_control_plane(resume_from, self._base_url)
        if key not in self._members.ids:
            self._dispatcher.join([self._new_member(key, resume_from=resume_from)])

    def _as_discovery_sees_it(self) -> Fleet:
        return Fleet(
            watched=self._members.ids,
            is_running=lambda: self._is_running,
            join=self._join_all,
            begin=self._begin_sync,
            listed=self._follower.listed,
            listing_failed=self._follower.check_list,
            responded=self._polling.responded,
            end=self._end,
        )

    async def _join_all(self, workload_ids: Sequence[str], existed: bool = True) -> None:  # noqa: FBT001, FBT002  (as `Fleet` has it)
        """Let workloads join that are not watched yet; their first polls are planned when all have."""
        joined = [
            self._new_member(key, existed=existed)
            async for key in in_turns(workload_ids)
            if key not in self._members.ids
        ]
        self._dispatcher.join(joined)

    def _new_member(
        self, workload_id: str, *, existed: bool = True, resume_from: Checkpoint | None = None
    ) -> Member:
        """Let a workload join, and return it."""
        saved = resume_from or self._membership.unclaimed.get(workload_id)
        tracker = Tracker(
            workload_id,
            include_existing=self._include_existing or not existed,
            emit_updates="updated" in self._policy.emit,
            stalled_after=self._policy.stalled_after,
            resume_from=saved,
            base_url=self._base_url,
        )
        # From here on it joins: a checkpoint of another workload has been refused.
        now = self._clock.monotonic()
        if not self._members:
            self._health.begin()
            self._began = now
        self._membership.unclaimed.pop(workload_id, None)
        streak = resumed_streak(saved.refusal if saved else None)
        member = Member(tracker, self._poller.list_call(tracker), self._policy.interval, streak)
        self._members.add(member, now)
        return member

    def remove(self, workload_id: str | UUID) -> None:
        """Stop watching a workload and forget it, including its events that were not delivered yet.

        Raises:
            ValueError: not a UUID.
        """
        key = check_id(workload_id, "workload_id")
        if self._membership.unclaimed.pop(key, None) is not None:
            self._delivered.touch(key)
        self._members.remove(key)
        self._first_sync.settle(key)

    def _begin_sync(self, workload_ids: Iterable[str]) -> None:
        """Say when each of these workloads is known, if that was asked for."""
        if "synced" in self._policy.emit:
            watched = [self._members[key] for key in workload_ids if key in self._members.ids]
            self._first_sync.begin(item.tracker.workload_id for item in watched if not item.is_settled)

    def _synced(self) -> None:
        self._buffer.report(Synced(workload_id="", observed_at=self._clock.now()))

    # --- ending --------------------------------------------------------------------------------------------

    def _fail(self, error: BaseException) -> None:
        """End the fleet with an unexpected error of a task; it is raised to the consumer."""
        was_running = self._is_running
        self._end(_defect(error))
        if was_running and not isinstance(error, asyncio.CancelledError):
            logger.error("the fleet watch failed", exc_info=error)

    def _end(self, error: RunaiError) -> None:
        """End the fleet; the error is raised to the consumer behind what is buffered."""
        if self._is_running:
            self._error = error
            self._dispatcher.stop()
            self._buffer.wake()

    @property
    def _is_running(self) -> bool:
        return self._open and self._error is None

    # --- state --------------------------------------------------------------------------------------------

    @property
    def status(self) -> FleetStatus:
        """The state of the fleet now."""
        return self._survey.status(self._began)

    def revisions(self, workload_id: str | UUID | None = None) -> tuple[Revision, ...]:
        """Return the live revisions of one workload, or of all, as of its last successful poll.

        None before the first successful poll of a workload, also after a resume. A revision that a response
        lacked is among them until its deletion is confirmed; one that cannot be decoded is not. They may be
        ahead of the events that were yielded so far.

        They are decoded at each call: of one workload that takes some 100 microseconds, of thousands it stops
        the event loop for as many times that, so ask for one at a time there.

        Args:
            workload_id: the workload; None for all of them, one after another.

        Returns:
            The revisions, those of a workload the newest first by `created_at`.

        Raises:
            ValueError: not a UUID.
            KeyError: the workload is not watched.

        Example:
            >>> async with runai.watch_fleet(workload_ids) as fleet:
            ...     event = await anext(fleet)
            ...     for revision in fleet.revisions(event.workload_id):
            ...         print(revision.name, revision.phase, revision.running_pods)
            chat-00001 Running 2
        """
        if workload_id is not None:
            return self._members[check_id(workload_id, "workload_id")].tracker.live().decoded()
        return tuple(item for member in self._members for item in member.tracker.live().decoded())

    def _read(self, is_known: IsKnown) -> Generator[None, None, FleetReading]:
        patience = self._survey.stale_after
        polls, changed = yield from read_members([*self._members], self._clock, patience, is_known)
        is_listed = self._discovery.fixed is not None or self._discovery.began_at > -math.inf
        links = dict(self._clusters.links)
        yield
        return FleetReading(
            self.status,
            links,
            polls,
            changed,
            is_listed=self._entered and is_listed,
            contact=self._survey.contact(self._began),
        )

    @overload
    def checkpoint(self) -> FleetCheckpoint: ...
    @overload
    def checkpoint(self, workload_id: str | UUID) -> Checkpoint: ...
    def checkpoint(self, workload_id: str | UUID | None = None) -> Checkpoint | FleetCheckpoint:
        """Return what was delivered, of the whole fleet or of one workload.

        It includes the part of *resume_from* whose workloads have not joined yet, which takes up to two
        listings, and workloads that have left while events of theirs are still to be delivered. Of thousands
        of workloads it takes milliseconds, since all of it is kept ready. Its JSON takes longer; see
        `FleetCheckpoint.to_json`.

        Raises:
            ValueError: not a UUID.
            KeyError: the workload is not watched.
        """
        if workload_id is not None:
            return self._delivered.of(self._members[check_id(workload_id, "workload_id")])
        saved = {**self._membership.unclaimed, **self._delivered.all(), **self._left()}
        return FleetCheckpoint(saved, self._base_url)

    def changed_checkpoints(self) -> dict[str, Checkpoint | None]:
        """Return what has changed in `checkpoint()` since the last call, by workload id; at first, all.

        It is for saving a fleet in pieces, each workload under its id. None stands for a workload that is no
        longer in the checkpoint, because it was removed, or has left and all its events were delivered:
        delete what was saved of it. What is returned counts as saved, so keep it where saving may fail.

        Example:
            >>> store = {}
            >>> async with runai.watch_fleet(workload_ids) as fleet:
            ...     event = await anext(fleet)
            ...     for key, checkpoint in fleet.changed_checkpoints().items():
            ...         store[key] = None if checkpoint is None else checkpoint.to_json()
            >>> saved = {key: Checkpoint.from_json(data) for key, data in store.items() if data is not None}
            >>> fleet = runai.watch_fleet(workload_ids, resume_from=FleetCheckpoint(saved))
        """
        changed = self._delivered.take_changed()
        if changed is None:
            return {**self.checkpoint().workloads}
        left = self._left()
        return {key: left.get(key) or self._saved(key) for key in changed}

    def _saved(self, workload_id: str) -> Checkpoint | None:
        """Return the checkpoint of a workload that has not left; None where there is none."""
        if workload_id in self._members.ids:
            return self._delivered.of(self._members[workload_id])
        return self._membership.unclaimed.get(workload_id)

    def _left(self) -> dict[str, Checkpoint]:
        """Return the checkpoints of workloads that have left while events of theirs wait."""
        return {member.tracker.workload_id: member.checkpoint() for member in self._members.undelivered()}

    def __repr__(self) -> str:
        state = "open" if self._open else "closed" if self._entered else "not entered"
        return f"<{type(self).__name__} of {len(self._members)} workloads, {state}>"


def read_fleet(fleet: FleetWatch, is_known: IsKnown) -> Generator[None, None, FleetReading]:
    """Return what the exporter shows of a fleet, in slices. In the fleet's event loop only."""
    return fleet._read(is_known)  # noqa: SLF001  (a friend)  # pyright: ignore[reportPrivateUsage]


def read_workload(fleet: FleetWatch, workload_id: str) -> tuple[LiveRevisions, bool] | None:
    """Return the live revisions of a workload, not decoded, and whether it is known to have none.

    The latter is so for a workload that the control plane lists, though each poll of it is refused. None if
    the workload is not watched.
    """
    members = fleet._members  # noqa: SLF001  (a friend)  # pyright: ignore[reportPrivateUsage]
    if workload_id not in members.ids:
        return None
    return members[workload_id].tracker.live(), members[workload_id].without_revisions


def begin_with(fleet: FleetWatch, reader: QueryReader, first: Reading) -> FleetWatch:
    """Have a fleet of a query begin with a listing that was made already."""
    fleet._membership.begin_with(reader, first)  # noqa: SLF001  (a friend)  # pyright: ignore[reportPrivateUsage]
    return fleet


def _defect(error: BaseException) -> RunaiError:
    """Wrap an error that is a defect, here or in a caller's code, for the consumer."""
    wrapped = RunaiError(f"the fleet watch failed: {type(error).__name__}: {error}")
    wrapped.__cause__ = error
    return wrapped
