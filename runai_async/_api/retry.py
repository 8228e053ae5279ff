"""Retrying: the only door to tenacity.

A first attempt that succeeds pays nothing for the others: tenacity comes in when it failed. Each call has a
`tenacity.AsyncRetrying` of its own, because one that is shared mixes up its tasks. Only errors of ours are
retried, so a cancellation passes through.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from attrs import evolve

from runai_async._api.endpoints import Call
from runai_async._clock import Clock
from runai_async._http.messages import Transport
from runai_async.errors import (
    ApiError,
    DeadlineExceededError,
    DecodeError,
    RunaiError,
    TransportError,
)
from runai_async.hooks import CallFinished, CallStarted, Hooks, RetryScheduled
from runai_async.policy import RetryPolicy

if TYPE_CHECKING:
    import tenacity

T = TypeVar("T")


class RetryBudget:
    """How much retrying one client may do: in an outage retries stop, calls do not.

    A bucket of 100. An attempt that failed in a way that may pass takes one out, any other answer puts one
    back, and retries happen only while more than 50 are in it.
    """

    CAPACITY = 100
    RESERVE = 50

    def __init__(self) -> None:
        self.tokens: int = self.CAPACITY

    def __bool__(self) -> bool:
        return self.tokens > self.RESERVE

    def take(self) -> None:
        """Count an attempt that failed in a way that may pass."""
        if self.tokens > 0:
            self.tokens -= 1

    def give(self) -> None:
        """Count any other answer."""
        if self.tokens < self.CAPACITY:
            self.tokens += 1


class _Attempts(Generic[T]):
    """What is known of one call while it runs."""

    def __init__(self, call: Call[T], deadline: float) -> None:
        self.call = call
        self.deadline = deadline
        self.made = 0
        self.status: int | None = None
        self.last_error: RunaiError | None = None


class Retrying:
    """Runs calls over a transport, and repeats them where that can help."""

    def __init__(
        self,
        transport: Transport,
        clock: Clock,
        policy: RetryPolicy,
        *,
        timeout: float,
        budget: RetryBudget,
        hooks: Hooks,
    ) -> None:
        self.policy = policy
        self.timeout = timeout
        self._transport = transport
        self._clock = clock
        self._budget = budget
        self._hooks = hooks
        self._once: Retrying | None = None
        import tenacity  # noqa: F401, PLC0415  # pyright: ignore[reportUnusedImport]  # not amid a call

    def with_options(self, policy: RetryPolicy | None, timeout: float | None) -> Retrying:
        """Return the same with another policy or timeout; transport and budget are shared."""
        return Retrying(
            self._transport,
            self._clock,
            policy or self.policy,
            timeout=timeout or self.timeout,
            budget=self._budget,
            hooks=self._hooks,
        )

    def once(self) -> Retrying:
        """Return the same without repeats: one attempt a call. Made once, as every watch asks for it."""
        if self._once is None:
            self._once = self.with_options(evolve(self.policy, attempts=1), None)
        return self._once

    async def call(self, call: Call[T], *, deadline: float | None = None) -> T:
        """Run one call.

        Args:
            call: what to send and how to read its answer.
            deadline: monotonic time that ends the call, should the policy's own deadline come later.

        Raises:
            RunaiError: the last attempt's error, or what the deadline cut.
        """
        limit = self._clock.monotonic() + self.policy.deadline
        if deadline is not None and deadline < limit:
            limit = deadline
        attempts = _Attempts(call, limit)
        if self._hooks:
            return await self._observed(attempts)
        try:
            return await self._attempt(attempts)
        except RunaiError as error:
            return await self._again(attempts, error)

    async def _observed(self, attempts: _Attempts[T]) -> T:
        """Run a call between its two hooks, which are told in the caller's own task."""
        began, call = self._clock.monotonic(), attempts.call
        self._hooks.notify(CallStarted(call.operation))
        failed: BaseException | None = None
        try:
            try:
                return await self._attempt(attempts)
            except RunaiError as error:
                return await self._again(attempts, error)
        except BaseException as error:
            failed = error
            raise
        finally:
            name = None if failed is None else type(failed).__name__
            seconds = self._clock.monotonic() - began
            self._hooks.notify(CallFinished(call.operation, attempts.made, attempts.status, name, seconds))

    async def _attempt(self, attempts: _Attempts[T]) -> T:
        attempts.made += 1
        call = attempts.call
        try:
            response = await self._transport.send(
                call.request, timeout=self.timeout, deadline=attempts.deadline
            )
            attempts.status = response.status
            value = call.read(response)
        except DeadlineExceededError as error:
            error.last_error = attempts.last_error
            raise
        except RunaiError as error:
            self._count(error, attempts)
            raise
        self._budget.give()
        return value

    def _count(self, error: RunaiError, attempts: _Attempts[T]) -> None:
        attempts.last_error = error
        if isinstance(error, ApiError):
            error.attempts = attempts.made
        if self._may_pass(error):
            self._budget.take()
        elif isinstance(error, ApiError | DecodeError):  # what else there is, is no answer
            self._budget.give()

    def _may_pass(self, error: BaseException) -> bool:
        """Tell whether another attempt can help."""
        match error:
            case TransportError():
                return error.transient
            case ApiError():
                return error.status in self.policy.statuses
            case DecodeError():
                return not error.is_json
            case _:
                return False

    async def _again(self, attempts: _Attempts[T], first: RunaiError) -> T:
        """Go on after a failed first attempt, which tenacity is told of as its own first."""
        if self.policy.attempts == 1 or not self._may_pass(first):
            raise first
        pending: RunaiError | None = first

        async def attempt() -> T:
            nonlocal pending
            if pending is not None:
                error, pending = pending, None
                raise error
            return await self._attempt(attempts)

        return await self._repeats(attempts)(attempt)

    def _repeats(self, attempts: _Attempts[T]) -> tenacity.AsyncRetrying:
        """Say to tenacity what is repeated, when, and for how long."""
        import tenacity  # noqa: PLC0415  (see the constructor)

        def out_of_reach(state: tenacity.RetryCallState) -> bool:
            spent = state.attempt_number >= self.policy.attempts or not self._budget
            return spent or self._clock.monotonic() + state.upcoming_sleep >= attempts.deadline

        jitter = tenacity.wait_random_exponential(
            multiplier=self.policy.wait_initial, max=self.policy.wait_max
        )

        def wait(state: tenacity.RetryCallState) -> float:
            asked = getattr(state.outcome and state.outcome.exception(), "retry_after", None)
            return jitter(state) if asked is None else float(asked)

        return tenacity.AsyncRetrying(
            sleep=self._clock.sleep,
            stop=out_of_reach,
            wait=wait,
            retry=tenacity.retry_if_exception(self._may_pass),
            before_sleep=lambda state: self._scheduled(attempts, state.upcoming_sleep),
            reraise=True,
        )

    def _scheduled(self, attempts: _Attempts[T], delay: float) -> None:
        """Tell the hooks that another attempt comes after *delay* seconds."""
        error = attempts.last_error
        if self._hooks and error is not None:
            kind, status = type(error).__name__, getattr(error, "status", None)
            self._hooks.notify(RetryScheduled(attempts.call.operation, attempts.made, kind, status, delay))

    async def aclose(self) -> None:
        """Close the transport."""
        await self._transport.aclose()
