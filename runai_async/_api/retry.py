"""Retries calls: the only door to tenacity.

A first attempt that succeeds pays nothing for retrying: tenacity comes in after a failure. Each call has a
`tenacity.AsyncRetrying` of its own, because a shared one mixes up its tasks. Only errors of ours are retried,
so a cancellation passes through.

A refused token is tried again as well, at times of its own: identity services restart, and the clocks of a
control plane's nodes differ by seconds.
"""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Generic, TypeVar

from attrs import evolve

from runai_async._api.endpoints import Call
from runai_async._api.server_time import ServerTime
from runai_async._api.statuses import retry_after
from runai_async._clock import Clock
from runai_async._http.messages import Transport
from runai_async.errors import (
    ApiError,
    AuthenticationError,
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
_REFUSED_TOKEN_WAITS = (1.0, 2.0)
"""Seconds before each repeat with a refused token: it is tried again 1 s and 3 s later."""


class RetryBudget:
    """How much one client may retry: in an outage, retries stop and calls do not.

    A bucket of 100. Each attempt that failed in a way that may pass takes one out, any other response puts
    one back, and retries happen only while it holds more than 50.
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
        """Count any other response."""
        if self.tokens < self.CAPACITY:
            self.tokens += 1


class _Attempts(Generic[T]):
    """The state of one call while it runs."""

    __slots__ = ("call", "deadline", "last_error", "made", "refused", "status")

    def __init__(self, call: Call[T], deadline: float) -> None:
        self.call = call
        self.deadline = deadline
        self.made = 0
        self.refused = 0
        self.status: int | None = None
        self.last_error: RunaiError | None = None


class Retrying:
    """Runs calls over a transport, and repeats them if that can help."""

    def __init__(
        self,
        transport: Transport,
        clock: Clock,
        policy: RetryPolicy,
        *,
        timeout: float,
        hooks: Hooks,
    ) -> None:
        self.policy = policy
        self.timeout = timeout
        self._transport = transport
        self._clock = clock
        self._hooks = hooks
        self._budget = RetryBudget()
        self.server_time: ServerTime = ServerTime(clock)
        self._once: Retrying | None = None
        import tenacity  # noqa: F401, PLC0415  # pyright: ignore[reportUnusedImport]  # not during a call

    def with_options(self, policy: RetryPolicy | None, timeout: float | None) -> Retrying:
        """Return a copy with another policy or timeout; the transport and the budget are shared."""
        other = copy(self)
        other.policy = policy or self.policy
        other.timeout = timeout or self.timeout
        other._once = None  # noqa: SLF001  (our own copy)
        return other

    def once(self) -> Retrying:
        """Return a copy that makes one attempt per call. It is kept, since every watch needs it."""
        if self._once is None:
            self._once = self.with_options(evolve(self.policy, attempts=1), None)
        return self._once

    async def call(self, call: Call[T], *, deadline: float | None = None) -> T:
        """Run one call.

        Args:
            call: what to send, and how to read the response.
            deadline: monotonic time at which the call ends, if the policy's own deadline is later.

        Raises:
            RunaiError: the last attempt's error, or a `DeadlineExceededError`.
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
            return await self._retry(attempts, error)

    async def _observed(self, attempts: _Attempts[T]) -> T:
        """Run a call between its two hooks, which run in the caller's own task."""
        began, call = self._clock.monotonic(), attempts.call
        self._hooks.notify(CallStarted(call.operation))
        failed: BaseException | None = None
        try:
            try:
                return await self._attempt(attempts)
            except RunaiError as error:
                return await self._retry(attempts, error)
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
            self.server_time.note(response.headers)
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
        attempts.refused += _refuses_token(error)
        if isinstance(error, ApiError):
            error.attempts = attempts.made
            if error.retry_after is None:  # it may be a date, and the response without one of its own
                error.retry_after = retry_after(error.headers, self.server_time.now())
        if self._may_pass(error):
            self._budget.take()
        elif isinstance(error, ApiError | DecodeError):  # without a response there is nothing to count
            self._budget.give()

    def _may_pass(self, error: BaseException) -> bool:
        """Return whether another attempt can help."""
        match error:
            case TransportError():
                return error.transient
            case ApiError():
                return error.status in self.policy.statuses
            case DecodeError():
                return not error.is_json
            case _:
                return False

    def _is_worth_repeating(self, error: BaseException) -> bool:
        return self._may_pass(error) or _refuses_token(error)

    async def _retry(self, attempts: _Attempts[T], first: RunaiError) -> T:
        """Continue after a failed first attempt, which tenacity sees as its own first one."""
        if self.policy.attempts == 1 or not self._is_worth_repeating(first):
            raise first
        pending: RunaiError | None = first

        async def attempt() -> T:
            nonlocal pending
            if pending is not None:
                error, pending = pending, None
                raise error
            return await self._attempt(attempts)

        return await self._tenacity(attempts)(attempt)

    def _tenacity(self, attempts: _Attempts[T]) -> tenacity.AsyncRetrying:
        """Express the policy, the budget and the deadline in tenacity's terms."""
        import tenacity  # noqa: PLC0415  (see the constructor)

        def stop(state: tenacity.RetryCallState) -> bool:
            if _refuses_token(attempts.last_error):  # neither an attempt of the policy nor of the budget
                used_up = attempts.refused > len(_REFUSED_TOKEN_WAITS)
            else:
                used_up = attempts.made - attempts.refused >= self.policy.attempts or not self._budget
            return used_up or self._clock.monotonic() + state.upcoming_sleep >= attempts.deadline

        jitter = tenacity.wait_random_exponential(
            multiplier=self.policy.wait_initial, max=self.policy.wait_max
        )

        def wait(state: tenacity.RetryCallState) -> float:
            asked = getattr(state.outcome and state.outcome.exception(), "retry_after", None)
            if _refuses_token(attempts.last_error):
                own = _REFUSED_TOKEN_WAITS[min(attempts.refused, len(_REFUSED_TOKEN_WAITS)) - 1]
                return max(own, float(asked or 0.0))
            # "At once" (0, or a date that has passed) is no reason to hurry a server that just failed.
            return float(asked) if asked else jitter(state)

        return tenacity.AsyncRetrying(
            sleep=self._clock.sleep,
            stop=stop,
            wait=wait,
            retry=tenacity.retry_if_exception(self._is_worth_repeating),
            before_sleep=lambda state: self._scheduled(attempts, state.upcoming_sleep),
            reraise=True,
        )

    def _scheduled(self, attempts: _Attempts[T], delay: float) -> None:
        """Notify the hooks that another attempt follows in *delay* seconds."""
        error = attempts.last_error
        if self._hooks and error is not None:
            kind, status = type(error).__name__, getattr(error, "status", None)
            self._hooks.notify(RetryScheduled(attempts.call.operation, attempts.made, kind, status, delay))

    async def aclose(self) -> None:
        """Close the transport."""
        await self._transport.aclose()


def _refuses_token(error: BaseException | None) -> bool:
    """Return whether an error is a 401 that may pass."""
    return isinstance(error, AuthenticationError) and not error.is_final
