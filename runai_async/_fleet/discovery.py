"""Which workloads there are: what a fleet is given, or what a caller's function lists again and again."""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from uuid import UUID

from runai_async._arguments import check_id
from runai_async._watch.failures import NO_FAILURES, ROUNDING, Past, describe_failure, retry_after
from runai_async.errors import AttemptTimeoutError, RunaiError
from runai_async.policy import PollPolicy

_Ids = Iterable[str | UUID] | AsyncIterable[str | UUID]
_Ask = Callable[[], _Ids | Awaitable[_Ids]]
WorkloadIds = Iterable[str | UUID] | _Ask
"""Workload ids, or a function that returns an (async) iterable of them, or an awaitable of one."""

_ABSENT_ROUNDS = 2
"""Listings in a row that must lack a workload before it may leave: one may have been incomplete."""
_RESUME_ROUNDS = 2
"""Listings that may still claim their part of a checkpoint: the first may have been incomplete."""
_BEFORE = Past(succeeded=True, readable=True)
"""A listing that fails ends nothing at once."""
logger = logging.getLogger("runai_async")


class Discovery:
    """Keeps account of what is listed.

    Attributes:
        fixed: the ids, where they were given as such; None where there is a function to ask.
        rounds: how many listings named a workload.

    Raises:
        ValueError: an id is not a UUID.
        TypeError: neither ids nor a function.
    """

    def __init__(self, workloads: WorkloadIds, interval: float) -> None:
        if isinstance(workloads, str | UUID):
            raise TypeError("workloads must be an iterable of ids, not a single id: put it into a list")
        if not callable(workloads) and not isinstance(workloads, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(
                "workloads must be ids, or a function that returns them, like runai.inference_workloads "
                f"(without parentheses: it is called again and again), not {type(workloads).__name__}"
            )
        self.fixed: list[str] | None = None
        if callable(workloads):
            self._ask: _Ask = workloads
        else:
            self.fixed = list(dict.fromkeys(check_id(item, "workload_id") for item in workloads))
        self.rounds = 0
        self._listings = 0
        self._interval = interval
        self._absent: dict[str, int] = {}
        self._listed: frozenset[str] = frozenset()
        self._streak = NO_FAILURES
        self._asked_to_wait = 0.0

    @property
    def is_new(self) -> bool:
        """Whether this is the first round."""
        return not self._listings and not self._streak.failures

    @property
    def failures(self) -> int:
        """How many listings in a row failed."""
        return self._streak.failures

    @property
    def is_settled(self) -> bool:
        """Whether what a checkpoint has beyond the listed workloads is no longer waited for."""
        return self.fixed is not None or self.rounds >= _RESUME_ROUNDS

    async def list_ids(self, deadline: float) -> frozenset[str]:
        """Ask which workloads there are.

        Args:
            deadline: seconds that each step of an async iterable, or an awaitable, may take.

        Raises:
            AttemptTimeoutError: a step took longer.
            ValueError: an id is not a UUID.
            Exception: whatever the function raises.
        """
        response = self._ask()
        if isinstance(response, Awaitable):
            async with _limited(deadline):
                response = await response
        if not isinstance(response, AsyncIterable):
            return frozenset(check_id(item, "workload_id") for item in response)
        ids: set[str] = set()
        items = aiter(response)
        try:
            while True:
                async with _limited(deadline):
                    item = await anext(items, None)
                if item is None:
                    return frozenset(ids)
                ids.add(check_id(item, "workload_id"))
        finally:
            if isinstance(items, AsyncGenerator):
                await items.aclose()

    def succeeded(self, ids: frozenset[str], watched: Iterable[str]) -> None:
        """Take in what was listed while *watched* were in the fleet. An empty listing changes nothing."""
        self._listings += 1
        if self._streak.failures:
            logger.info("the fleet's discovery succeeds again")
            self._streak = NO_FAILURES
        if ids:
            self._listed = ids
            self.rounds += 1
            self._absent = {key: self._absent.get(key, 0) + 1 for key in watched if key not in ids}

    def failed(self, error: Exception, began: float, now: float, policy: PollPolicy) -> RunaiError | None:
        """Take in a listing that failed: nothing changes, and a streak is warned of once.

        Args:
            error: what was raised, by the API or by the caller's function.
            began: monotonic time at which the listing began.
            now: monotonic time.
            policy: how patient the fleet is.

        Returns:
            The error that ends a fleet which watches nothing; None while there is patience left.
        """
        failure = error if isinstance(error, RunaiError) else _raised(error)
        verdict = self._streak.record(
            failure,
            policy,
            what="the list of workloads",
            began=began,
            now=now,
            interval=self._interval,
            past=_BEFORE,
            grace=math.inf if policy.max_outage is None else policy.max_outage,
        )
        self._streak, self._asked_to_wait = verdict.streak, retry_after(failure)
        level = logging.WARNING if self._streak.failures == 1 else logging.DEBUG
        logger.log(level, "the fleet's discovery failed, nothing changes: %s", describe_failure(failure))
        return verdict.error

    def pause(self, policy: PollPolicy, *, watches: bool) -> float:
        """Return the seconds until the next listing.

        Where nothing is watched for want of a listing it is shorter, and ends with the fleet's patience.

        Args:
            policy: how patient the fleet is.
            watches: whether the fleet watches any workload.
        """
        failures = self._streak.failures
        if not failures:
            return self._interval
        pause = self._interval
        if not watches:
            longest = min(policy.interval * 2.0 ** min(failures - 1, 32), self._interval)
            pause = random.uniform(longest / 2, longest)  # noqa: S311
            if policy.max_outage is not None:
                left = policy.max_outage - self._streak.outage_seconds
                pause = left if ROUNDING < left < pause else pause
        pause = max(pause, self._asked_to_wait)
        self._streak = self._streak._replace(pause=pause)
        return pause

    def is_leaving(self, workload_id: str) -> bool:
        """Return whether enough listings in a row lacked a workload."""
        return self._absent.get(workload_id, 0) >= _ABSENT_ROUNDS

    def is_listed(self, workload_id: str) -> bool:
        """Return whether the last listing named a workload."""
        return workload_id in self._listed

    def forget(self, workload_id: str) -> None:
        """Forget a workload that has left."""
        self._absent.pop(workload_id, None)


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


def _raised(error: Exception) -> RunaiError:
    wrapped = RunaiError(f"the function that lists workloads failed: {type(error).__name__}: {error}")
    wrapped.__cause__ = error
    return wrapped
