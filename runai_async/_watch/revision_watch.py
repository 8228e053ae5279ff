"""`RevisionWatch`: a thin loop around a poll.

Why this is not a generator: `asyncio.timeout` around `anext` cancels what runs inside. A generator that is
cancelled is finished, and the next `anext` ends the loop without a word. Here the state is in an object; a
poll runs in the task of whoever awaits `__anext__` and takes effect at one point without an await; and no
await stands between taking an event and returning it. So a cancellation loses nothing.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator
from datetime import datetime, timedelta
from types import TracebackType
from typing import Self

from runai_async._api.api import Api
from runai_async._watch.cluster_watch import ClusterFeed, ClusterWatch
from runai_async._watch.failures import (
    NO_FAILURES,
    Past,
    Verdict,
    cause_of_cut,
    describe_failure,
    grace_of,
    grace_of_missing,
    resumed_streak,
)
from runai_async._watch.live import LiveRevisions
from runai_async._watch.poll import Poller
from runai_async._watch.reports import drop_frames, report_failure, report_recovery
from runai_async._watch.slots import Slots, interval_at
from runai_async._watch.status import Batch, PollState, WatchStatus
from runai_async._watch.tracker import Tracker
from runai_async.checkpoint import Checkpoint, PollStreak
from runai_async.errors import DeadlineExceededError, NotFoundError, RunaiError
from runai_async.events import WatchDegraded, WatchEvent, WatchRecovered
from runai_async.models import Revision
from runai_async.policy import PollPolicy, stale_after

_NEVER = -math.inf
_CLUSTER_SECONDS = 1.0
"""Seconds that a request for a cluster has in any case, once a minute; the next poll is later as a rule."""


class RevisionWatch(AsyncGenerator[WatchEvent, None]):
    """The changes of one workload's revisions; what `RunaiClient.watch_revisions` returns.

    Iterate over it, in an `async with` or not. It survives a cancelled or timed-out `anext`. One task at a
    time may wait for an event. It ends when the workload was deleted and the deletions were yielded, when it
    is closed, or with an error, whose `.checkpoint` holds what was delivered.

    Raises:
        AuthenticationError: the credentials were rejected; or the token was refused and no poll had succeeded
            yet, or for `PollPolicy.max_outage` seconds.
        PermissionDeniedError: the account may not see the workload; believed after
            `PollPolicy.missing_grace`, or after `max_outage` where it could see it before.
        NotFoundError: there never was such a workload; believed after `PollPolicy.missing_grace`.
        WatchOutageError: no successful poll for `PollPolicy.max_outage` seconds.
        DecodeError: the first three responses are not the API's.
        ConfigurationError: the login's files cannot be read at the first poll.

    Example:
        >>> async for event in runai.watch_revisions(workload_id):
        ...     match event:
        ...         case PhaseChanged(revision=now, previous_phase=before):
        ...             print(now.name, before, "->", now.phase)
        chat-00002 Creating -> Running
    """

    __slots__ = (
        "__weakref__", "_api", "_began", "_call", "_clock", "_closed", "_clusters", "_ending", "_error",
        "_fast_until", "_feed", "_idle", "_interrupted", "_last_error", "_last_success", "_last_success_at",
        "_peeks", "_policy", "_poller", "_slots", "_streak", "_tracker", "_waiter",
    )  # fmt: skip

    def __init__(
        self,
        poller: Poller,
        tracker: Tracker,
        api: Api,
        policy: PollPolicy,
        clusters: ClusterWatch,
        *,
        refusal: PollStreak | None = None,
    ) -> None:
        self._poller = poller
        self._tracker = tracker
        self._call = poller.list_call(tracker)
        self._api = api
        self._clock = api.clock
        self._policy = policy
        self._clusters = clusters
        self._feed = ClusterFeed(clusters) if "clusters" in policy.emit else None
        self._streak = resumed_streak(refusal)
        self._slots: Slots | None = None
        self._began = api.clock.monotonic()
        self._last_success: float | None = None
        self._last_success_at: datetime | None = None
        self._last_error: RunaiError | None = None
        self._fast_until = _NEVER
        self._ending = False
        self._error: RunaiError | None = None
        self._closed = False
        self._waiter: asyncio.Task[object] | None = None
        self._interrupted = False
        self._peeks = False
        self._idle: asyncio.Event | None = None

    # --- an async generator, as callers use one -----------------------------------------------------------

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> WatchEvent:
        """Return the next event, polling as it comes due.

        Raises:
            StopAsyncIteration: the watch was closed, or the workload is gone and its deletions were yielded.
            RunaiError: the watch has ended with one of the errors that the class names.
            RuntimeError: another task is already waiting for an event.
        """
        self._check_alone()
        if self._closed:
            raise StopAsyncIteration
        if self._tracker.pending:
            return self._next()
        task = self._waiter = asyncio.current_task()
        cancelling = task.cancelling() if task else 0
        try:
            slots = self._begin()
            while self._needs_poll():
                await self._ask_for_clusters(slots, math.inf)
                # Inlined, though `next_batch` sleeps the same way: a watch spends nearly all its time here,
                # and a shared coroutine would be kept for each of thousands.
                if (wait := slots.wait(self._clock.monotonic())) > 0:
                    await self._clock.sleep(wait)
                await self._poll(slots, math.inf)
        except asyncio.CancelledError:
            # aclose() in another task ends this wait by cancelling it, unless someone else cancelled too.
            if self._interrupted and task is not None and task.uncancel() <= cancelling:
                raise StopAsyncIteration from None
            raise
        except RunaiError as error:
            self._closed = True
            error.checkpoint = self.checkpoint()
            raise
        finally:
            self._release()
        if not self._tracker.pending:
            raise StopAsyncIteration
        return self._next()

    async def peek(self) -> WatchEvent:
        """Return the event that the next `anext` will return, waiting for it in the same way.

        It is not delivered, so no checkpoint has it, until `anext` has returned it: call that, which then
        does not wait, once the event is where it must not be lost.

        Raises:
            StopAsyncIteration, RunaiError, RuntimeError: as `anext` does.

        Example:
            >>> watch = runai.watch_revisions(workload_id)
            >>> event = await watch.peek()
            >>> print(event.revision.name, len(watch.checkpoint().revisions))
            chat-00001 0
            >>> delivered = await anext(watch)
            >>> print(delivered is event, len(watch.checkpoint().revisions))
            True 1
        """
        self._check_alone()
        self._peeks = True
        try:
            return await self.__anext__()
        finally:
            self._peeks = False

    def _next(self) -> WatchEvent:
        return self._tracker.peek() if self._peeks else self._tracker.take()

    def _release(self) -> None:
        """Let another task wait for an event, and the one that closes the watch continue."""
        self._waiter = None
        self._interrupted = False
        if self._idle is not None:
            self._idle.set()

    def _check_alone(self) -> None:
        if self._waiter is not None:
            raise RuntimeError(
                "another task is iterating this watch; use one consumer, or one watch for each"
            )

    async def asend(self, value: None) -> WatchEvent:
        """Return the next event, as `anext` does. Any *value* but None is a `TypeError`."""
        if value is not None:
            raise TypeError("a watch does not take values; use anext()")
        return await self.__anext__()

    async def athrow(
        self, typ: type[BaseException] | BaseException, val: object = None, tb: TracebackType | None = None
    ) -> WatchEvent:
        """Close the watch, then raise the exception here."""
        await self.aclose()
        error = typ if isinstance(typ, BaseException) else val if isinstance(val, BaseException) else typ()
        raise error.with_traceback(tb)

    async def aclose(self) -> None:
        """End the iteration, also for a task that waits in `anext`. Closing twice is harmless."""
        self._closed = True
        waiter = self._waiter
        if waiter is None or waiter is asyncio.current_task():
            return
        self._idle = self._idle or asyncio.Event()
        self._idle.clear()
        if not self._interrupted:
            self._interrupted = True
            waiter.cancel()
        await self._idle.wait()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def next_batch(self, until: float = math.inf) -> Batch | None:
        """Return what the next successful poll found, or an event about the watch before that.

        For code that must not decide on half of what a poll found, such as the waits of this package. A last
        poll comes shortly before *until*.

        Args:
            until: the client's monotonic time at which to stop waiting; a poll in flight is cut.

        Returns:
            What was found; without a successful poll at *until*, and then `status.last_error` says why the
            last poll failed, if it did. None when the watch has ended because the workload is gone.

        Raises:
            RunaiError: the watch has ended with one of the errors that the class names.
            RuntimeError: another task is already waiting for an event, or the watch was closed.

        Example:
            >>> watch = runai.watch_revisions(workload_id)
            >>> batch = await watch.next_batch()
            >>> [event.revision.name for event in batch.events]
            ['chat-00001']
        """
        self._check_alone()
        if self._closed and not self._ending:
            raise RuntimeError("the watch is closed")
        self._waiter = asyncio.current_task()
        try:
            return await self._batch(until)
        except asyncio.CancelledError:
            if self._interrupted:
                raise RuntimeError("the watch was closed by another task") from None
            raise
        except RunaiError as error:
            self._closed = True
            error.checkpoint = self.checkpoint()
            raise
        finally:
            self._release()

    async def _batch(self, until: float) -> Batch | None:
        slots = self._begin()
        succeeded = False
        while not succeeded and self._needs_poll():
            await self._ask_for_clusters(slots, until)
            if (wait := slots.wait_within(self._clock.monotonic(), until)) > 0:
                await self._clock.sleep(wait)
            if self._clock.monotonic() >= until:
                break
            succeeded = await self._poll(slots, until)
        tracker = self._tracker
        if self._closed and not tracker.pending:
            return None
        events = [tracker.take() for _ in range(tracker.pending)]
        return Batch(events, succeeded, tracker.listed_ids, tracker.unreadable)

    def poll_fast(self, until: float) -> None:
        """Poll at `PollPolicy.fast_interval` whatever the revisions do; for the waits of this package.

        Args:
            until: the client's monotonic time at which that ends; a time that has passed ends it.

        Example:
            >>> watch = runai.watch_revisions(workload_id)
            >>> watch.poll_fast(until=time.monotonic() + 60)  # with the client's own clock
        """
        self._fast_until = until
        now, slots = self._clock.monotonic(), self._slots
        if slots is not None and slots.last_start > _NEVER and until > now and not self._streak.failures:
            slots.hasten(slots.last_start + self._interval(now))

    # --- state --------------------------------------------------------------------------------------------

    @property
    def workload_id(self) -> str:
        """The id of the watched workload."""
        return self._tracker.workload_id

    @property
    def status(self) -> WatchStatus:
        """The state of the watch now."""
        now = self._clock.monotonic()
        last = self._began if self._last_success is None else self._last_success
        wait = 0.0 if self._slots is None else max(0.0, self._slots.wait(now))
        return WatchStatus(
            synced=self._tracker.synced,
            last_success_at=self._last_success_at,
            consecutive_failures=0 if self._streak.is_resumed else self._streak.failures,
            next_poll_at=self._clock.now() + timedelta(seconds=wait),
            stale=now - last > stale_after(self._policy, self._interval(now)),
            undecodable=self._tracker.undecodable,
            last_error=self._last_error,
        )

    @property
    def revisions(self) -> tuple[Revision, ...]:
        """The live revisions as of the last successful poll, the newest first by `created_at`.

        Empty before the first successful poll, also after a resume. A revision that a response lacked is
        among them until its deletion is confirmed; one that cannot be decoded is not. They may be ahead of
        the events that were yielded so far. They are decoded at each call, so keep what you use repeatedly.

        Example:
            >>> watch = runai.watch_revisions(workload_id, resume_from=Checkpoint.from_json(saved))
            >>> event = await anext(watch)  # the first thing that changed since
            >>> [(revision.name, revision.phase.value) for revision in watch.revisions]
            [('chat-00002', 'Creating'), ('chat-00001', 'Running')]
        """
        return self._tracker.live().decoded()

    def _live(self) -> LiveRevisions:
        return self._tracker.live()

    def _state(self) -> PollState | None:
        if self._closed:
            return None
        now = self._clock.monotonic()
        return PollState(
            self.workload_id,
            now - (self._began if self._last_success is None else self._last_success),
            self._last_success_at,
            stale_after(self._policy, self._interval(now)),
            "" if self._last_error is None else describe_failure(self._last_error),
            version=self._tracker.version,
        )

    def checkpoint(self) -> Checkpoint:
        """Return what was delivered: every event that `anext` has returned, and no other.

        Example:
            >>> async for event in watch:
            ...     saved = watch.checkpoint().to_json()  # after handling the event
        """
        # What has ended the watch is not kept: the next one has patience of its own.
        return self._tracker.checkpoint(None if self._ending else self._streak.saved())

    def __repr__(self) -> str:
        state = "closed" if self._closed else "synced" if self._tracker.synced else "not synced"
        return f"<{type(self).__name__} of workload {self.workload_id}, {state}>"

    # --- the loop -----------------------------------------------------------------------------------------

    def _begin(self) -> Slots:
        """Return the slots, which begin when the first event is asked for."""
        if self._slots is None:
            self._slots = Slots(self._clock.monotonic())
        return self._slots

    def _needs_poll(self) -> bool:
        """Return whether a poll has to find the next event: none is pending, and the watch goes on.

        Raises:
            RunaiError: what ended the watch, behind the events that were still pending.
        """
        if self._tracker.pending:
            return False
        self._closed = self._closed or self._ending
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        return not self._closed

    def _grace(self) -> float:
        return grace_of_missing(self._policy)

    async def _poll(self, slots: Slots, until: float) -> bool:
        """Poll once; return whether that succeeded."""
        began = slots.last_start = self._clock.monotonic()
        try:
            await self._poller.poll(self._tracker, self._call, until, all_missing_grace=self._grace)
        except RunaiError as error:
            if isinstance(error, DeadlineExceededError) and self._clock.monotonic() >= until:
                responded = self._last_success is not None
                self._last_error = cause_of_cut(error, self._last_error, responded=responded)
            else:
                self._failed(error, began, slots)
            return False
        self._last_error = None
        if self._streak.failures:
            self._recovered()
        now = self._last_success = self._clock.monotonic()
        self._last_success_at = self._clock.now()
        slots.advance(now, self._interval(now), self._policy.jitter)
        if self._feed is not None:
            for event in self._feed.changes(self._tracker.cluster_ids, self._last_success_at):
                self._tracker.put(event)
        return True

    async def _ask_for_clusters(self, slots: Slots, until: float) -> None:
        """Ask for the clusters of the revisions, if it is time and no poll is due."""
        if self._feed is not None and self._feed.is_due:
            now = self._clock.monotonic()
            await self._feed.ask(until=min(until, now + max(_CLUSTER_SECONDS, slots.wait(now))))

    @property
    def _what(self) -> str:
        """Whose polls these are, for messages."""
        return f"workload {self.workload_id}"

    def _interval(self, now: float) -> float:
        fast_until = max(self._fast_until, self._tracker.fast_until(self._policy.fast_for))
        return interval_at(self._policy, now, fast_until)

    def _failed(self, error: RunaiError, began: float, slots: Slots) -> None:
        """Record a failed poll, then end the watch or plan the next one."""
        now = self._clock.monotonic()
        interval = self._interval(now)
        past = Past(succeeded=self._last_success is not None, readable=self._tracker.synced)
        grace = grace_of(error, self._policy, past)
        verdict = self._streak.record(
            error,
            self._policy,
            what=self._what,
            began=began,
            now=now,
            interval=interval,
            past=past,
            grace=grace,
            wall=self._clock.now(),
        )
        self._streak = verdict.streak
        self._last_error = error
        if verdict.outage_begins and "degraded" in self._policy.emit:
            at = self._clock.now()
            self._tracker.put(WatchDegraded(workload_id=self.workload_id, observed_at=at, error=error))
        if verdict.error is not None:
            self._end(verdict, verdict.error)
        elif verdict.due is None:
            slots.advance(now, interval, self._policy.jitter)
        else:
            slots.postpone(verdict.due, verdict.earliest)
        if verdict.error is None:
            drop_frames(error)
        report_failure(self._what, verdict, error, grace, past)

    def _end(self, verdict: Verdict, error: RunaiError) -> None:
        """End the watch: a workload that was seen is deleted; otherwise the error is raised."""
        self._ending = True
        if verdict.is_believed and isinstance(error, NotFoundError) and self._tracker.synced:
            self._tracker.delete_all(self._clock.now())
        else:
            self._error = error

    def _recovered(self) -> None:
        streak, self._streak = self._streak, NO_FAILURES
        seconds = report_recovery(self._what, streak, self._clock.monotonic())
        if seconds is not None and "recovered" in self._policy.emit:
            now = self._clock.now()
            self._tracker.put(WatchRecovered(workload_id=self.workload_id, observed_at=now, seconds=seconds))


def parts_of(watch: RevisionWatch) -> tuple[Api, PollPolicy, ClusterWatch]:
    """Return what a watch is built on, for the waits that are built on one."""
    return watch._api, watch._policy, watch._clusters  # noqa: SLF001  (a friend)  # pyright: ignore[reportPrivateUsage]


def state_of(watch: RevisionWatch) -> PollState | None:
    """Return how a watch's polls go, for the exporter; None if it has ended or was closed."""
    return watch._state()  # noqa: SLF001  (a friend)  # pyright: ignore[reportPrivateUsage]


def live_of(watch: RevisionWatch) -> LiveRevisions:
    """Return a watch's live revisions, not decoded, for the exporter."""
    return watch._live()  # noqa: SLF001  (a friend)  # pyright: ignore[reportPrivateUsage]
