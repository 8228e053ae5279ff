"""`RevisionWatch`: a thin loop around a poll.

Why this is no generator: `asyncio.timeout` around `anext` cancels what runs inside. A generator that is
cancelled is finished, and the next `anext` ends the loop without a word. Here the state is in an object;
a poll runs in the task of whoever awaits `__anext__`, takes effect at one point without an await, and an
event is handed over with no await between taking and returning it. So a cancellation loses nothing.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncGenerator
from datetime import datetime, timedelta
from types import TracebackType
from typing import Self

from attrs import frozen

from runai_async._clock import Clock
from runai_async._watch.failures import OUTAGE, FailureStreak, cause_of_cut, ends_at_once
from runai_async._watch.poll import Poller
from runai_async._watch.slots import Slots, interval_at
from runai_async._watch.tracker import Tracker
from runai_async.checkpoint import Checkpoint
from runai_async.errors import DeadlineExceededError, NotFoundError, RunaiError
from runai_async.events import WatchDegraded, WatchEvent, WatchRecovered
from runai_async.policy import STALE_INTERVALS, PollPolicy

logger = logging.getLogger("runai_async")

_NO_FAILURES = FailureStreak()
"""What most watches are in. Never changed: who gets into trouble gets one of its own."""


@frozen
class WatchStatus:
    """How a watch fares; reckoned when it is read.

    Attributes:
        synced: whether the first answer is in.
        last_success_at: when the last good poll ended; None before the first.
        consecutive_failures: polls that failed since then.
        next_poll_at: when the next poll is due; it waits for the consumer to ask.
        stale: the last good poll is longer ago than three intervals and a deadline. A watchdog needs no more.
        undecodable: revisions of the last answer that could not be decoded.

    Example:
        >>> watch = runai.watch_revisions(workload_id)
        >>> event = await anext(watch)
        >>> watch.status.stale, watch.status.consecutive_failures
        (False, 0)
    """

    synced: bool
    last_success_at: datetime | None
    consecutive_failures: int
    next_poll_at: datetime
    stale: bool
    undecodable: int


class RevisionWatch(AsyncGenerator[WatchEvent, None]):
    """The changes of one workload's revisions; what `RunaiClient.watch_revisions` returns.

    Iterate over it, in an `async with` or not. It survives a cancelled or timed-out `anext`. One task at a
    time may wait for an event. It ends when the workload was deleted and that was told, when it is closed, or
    with an error, whose `.checkpoint` tells what was delivered.

    Raises:
        AuthenticationError: the token, or the credentials for one, were refused.
        PermissionDeniedError: the account may not see the workload; believed after
            `PollPolicy.missing_grace`.
        NotFoundError: there never was such a workload; believed after `PollPolicy.missing_grace`.
        WatchOutageError: no good poll for `PollPolicy.max_outage` seconds.
        DecodeError: the first answer is not the API's.
        ConfigurationError: the login's files cannot be read at the first poll.

    Example:
        >>> async for event in runai.watch_revisions(workload_id):
        ...     match event:
        ...         case PhaseChanged(revision=now, previous_phase=before):
        ...             print(now.name, before, "->", now.phase)
        chat-00002 Creating -> Running
    """

    __slots__ = (
        "__weakref__",
        "_began",
        "_clock",
        "_closed",
        "_ending",
        "_idle",
        "_interrupted",
        "_last_error",
        "_last_success",
        "_last_success_at",
        "_policy",
        "_poller",
        "_request",
        "_slots",
        "_streak",
        "_tracker",
        "_waiter",
    )  # fmt: skip

    def __init__(self, poller: Poller, tracker: Tracker, clock: Clock, policy: PollPolicy) -> None:
        self._poller = poller
        self._tracker = tracker
        self._request = poller.list_request(tracker)
        self._clock = clock
        self._policy = policy
        self._streak = _NO_FAILURES
        self._slots: Slots | None = None
        self._began = clock.monotonic()
        self._last_success: float | None = None
        self._last_success_at: datetime | None = None
        self._last_error: RunaiError | None = None
        self._ending = False
        self._closed = False
        self._waiter: asyncio.Task[object] | None = None
        self._interrupted = False
        self._idle: asyncio.Event | None = None

    # --- an async generator, as callers use one -----------------------------------------------------------

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> WatchEvent:
        """Return the next event, polling as it comes due.

        Raises:
            StopAsyncIteration: the watch was closed, or the workload is gone and that was told.
            RunaiError: the watch cannot go on: one of those that the class names.
            RuntimeError: another task is waiting for an event already.
        """
        self._check_alone()
        if self._closed:
            raise StopAsyncIteration
        if self._tracker.pending:
            return self._tracker.take()
        task = self._waiter = asyncio.current_task()
        cancelling = task.cancelling() if task else 0
        try:
            slots = self._begun()
            while self._goes_on():
                # Here, though `_next_round` sleeps alike: a watch spends nearly all its time here, and a
                # coroutine for both would be kept for each of thousands.
                if (wait := slots.wait(self._clock.monotonic())) > 0:
                    await self._clock.sleep(wait)
                await self._poll(slots, math.inf)
        except asyncio.CancelledError:
            # aclose() of another task ends this wait by cancelling it; unless someone else cancelled too.
            if self._interrupted and task is not None and task.uncancel() <= cancelling:
                raise StopAsyncIteration from None
            raise
        except RunaiError as error:
            self._closed = True
            error.checkpoint = self.checkpoint()
            raise
        finally:
            self._waiter = None
            self._interrupted = False
            if self._idle is not None:
                self._idle.set()
        if not self._tracker.pending:
            raise StopAsyncIteration
        return self._tracker.take()

    def _check_alone(self) -> None:
        if self._waiter is not None:
            raise RuntimeError(
                "another task is iterating this watch; use one consumer, or one watch for each"
            )

    async def asend(self, value: None) -> WatchEvent:
        """Return the next event, as `anext` does. A watch takes no other *value* than None (TypeError)."""
        if value is not None:
            raise TypeError("a watch takes no values; use anext()")
        return await self.__anext__()

    async def athrow(
        self, typ: type[BaseException] | BaseException, val: object = None, tb: TracebackType | None = None
    ) -> WatchEvent:
        """Close the watch, then raise the exception here."""
        await self.aclose()
        error = typ if isinstance(typ, BaseException) else val if isinstance(val, BaseException) else typ()
        raise error.with_traceback(tb)

    async def aclose(self) -> None:
        """End the iteration; a task that waits in `anext` sees it end. Closing twice is fine."""
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

    async def _next_round(self, until: float) -> list[WatchEvent]:
        """Return the events of the next poll that has any, or none at the monotonic time *until*.

        For the waits of this package, which must not judge by half of what a poll found, and are the only
        consumer of their watch. None, too, when the workload is gone. An error has no checkpoint then. If the
        last poll failed, `_last_error` is why.
        """
        slots = self._begun()
        while self._goes_on():
            now = self._clock.monotonic()
            if (wait := min(slots.wait(now), until - now)) > 0:
                await self._clock.sleep(wait)
            if self._clock.monotonic() >= until:
                break
            await self._poll(slots, until)
        return [self._tracker.take() for _ in range(self._tracker.pending)]

    # --- in the open --------------------------------------------------------------------------------------

    @property
    def workload_id(self) -> str:
        """The id of the workload that is watched."""
        return self._tracker.workload_id

    @property
    def status(self) -> WatchStatus:
        """How the watch fares now."""
        now = self._clock.monotonic()
        patience = STALE_INTERVALS * self._interval(now) + self._policy.deadline
        last = self._began if self._last_success is None else self._last_success
        wait = 0.0 if self._slots is None else max(0.0, self._slots.wait(now))
        return WatchStatus(
            synced=self._tracker.synced,
            last_success_at=self._last_success_at,
            consecutive_failures=self._streak.failures,
            next_poll_at=self._clock.now() + timedelta(seconds=wait),
            stale=now - last > patience,
            undecodable=self._tracker.undecodable,
        )

    def checkpoint(self) -> Checkpoint:
        """Return what was delivered up to now: every event that `anext` returned, and no other.

        Example:
            >>> async for event in watch:
            ...     saved = watch.checkpoint().to_json()  # after the event was dealt with
        """
        return self._tracker.checkpoint()

    def __repr__(self) -> str:
        state = "closed" if self._closed else "synced" if self._tracker.synced else "not synced"
        return f"<{type(self).__name__} of workload {self.workload_id}, {state}>"

    # --- the loop -----------------------------------------------------------------------------------------

    def _begun(self) -> Slots:
        """Return the slots, which begin when the first event is asked for."""
        if self._slots is None:
            self._slots = Slots(self._clock.monotonic())
        return self._slots

    def _goes_on(self) -> bool:
        """Tell whether to poll for an event: none is there, and the watch is not over."""
        if self._tracker.pending:
            return False
        self._closed = self._closed or self._ending
        return not self._closed

    async def _poll(self, slots: Slots, until: float) -> None:
        began = slots.last_start = self._clock.monotonic()
        try:
            await self._poller.poll(self._tracker, self._request, until)
        except RunaiError as error:
            if isinstance(error, DeadlineExceededError) and self._clock.monotonic() >= until:
                responded = self._last_success is not None
                self._last_error = cause_of_cut(error, self._last_error, responded=responded)
                return
            if until < math.inf:
                self._last_error = error  # for who waits; thousands of watches would keep many tracebacks
            self._failed(error, began, slots)
            return
        self._last_error = None
        if self._streak.failures:
            self._recovered()
        now = self._last_success = self._clock.monotonic()
        self._last_success_at = self._clock.now()
        slots.advance(now, self._interval(now), self._policy.jitter)

    def _interval(self, now: float) -> float:
        return interval_at(self._policy, now, self._tracker.fast_until(self._policy.fast_for))

    def _failed(self, error: RunaiError, began: float, slots: Slots) -> None:
        """Decide what a failed poll means: raise, end, or poll again later."""
        if not self._streak.failures:
            self._streak = FailureStreak()
        streak, policy = self._streak, self._policy
        in_outage = streak.outage_since is not None
        streak.failed(error, began)
        if ends_at_once(error, first=self._last_success is None and streak.failures == 1):
            raise error
        now = self._clock.monotonic()
        if streak.believes(error, began, policy.missing_grace):
            self._refused(error)
        elif streak.lasts_too_long(now, policy.max_outage):
            raise streak.outage_error(f"workload {self.workload_id}", error, now) from error
        if not in_outage and streak.outage_since is not None:
            self._degraded(error)
        elif streak.failures == 1 and not self._ending:
            logger.info(
                "workload %s: refused, and asked for again until that is believed, after %g s: %s",
                self.workload_id,
                policy.missing_grace,
                error,
            )
        due = streak.next_due(now, self._interval(now), policy)
        if due is None:
            slots.advance(now, self._interval(now), policy.jitter)
        else:
            slots.postpone(due)

    def _refused(self, error: RunaiError) -> None:
        """Believe a refusal: a workload that was seen is gone, otherwise it is the answer."""
        if not (isinstance(error, NotFoundError) and self._tracker.synced):
            raise error
        self._tracker.delete_all(self._clock.now())
        self._ending = True

    def _degraded(self, error: RunaiError) -> None:
        logger.warning(
            "workload %s: polls fail, %s: %s",
            self.workload_id,
            type(error).__name__,
            error,
            extra=OUTAGE,
        )
        if "degraded" in self._policy.emit:
            now = self._clock.now()
            self._tracker.put(WatchDegraded(workload_id=self.workload_id, observed_at=now, error=error))

    def _recovered(self) -> None:
        streak, self._streak = self._streak, _NO_FAILURES
        if streak.outage_since is None:
            return
        seconds = self._clock.monotonic() - streak.outage_since
        logger.info(
            "workload %s: polls are good again after %.0f s and %d failures",
            self.workload_id,
            seconds,
            streak.failures,
            extra=OUTAGE,
        )
        if "recovered" in self._policy.emit:
            now = self._clock.now()
            self._tracker.put(WatchRecovered(workload_id=self.workload_id, observed_at=now, seconds=seconds))
