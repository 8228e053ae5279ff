"""Which workloads there are: what a fleet is given, or what a caller's function lists again and again."""

from __future__ import annotations

import logging
import random
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from uuid import UUID

from runai_async._arguments import check_id
from runai_async.policy import PollPolicy

_Ids = Iterable[str | UUID] | AsyncIterable[str | UUID]
_Ask = Callable[[], _Ids | Awaitable[_Ids]]
WorkloadIds = Iterable[str | UUID] | _Ask
"""Workload ids, or a function that returns an (async) iterable of them, or an awaitable of one."""

_ABSENT_ROUNDS = 2
"""Listings in a row that must lack a workload before it may leave: one may have been incomplete."""
_RESUME_ROUNDS = 2
"""Listings that may still claim their part of a checkpoint: the first may have been incomplete."""
logger = logging.getLogger("runai_async")


class Discovery:
    """Keeps account of what is listed.

    Attributes:
        fixed: the ids, where they were given as such; None where there is a function to ask.
        failures: how many listings in a row failed.
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
        self.failures = 0
        self.rounds = 0
        self._interval = interval
        self._absent: dict[str, int] = {}

    @property
    def is_settled(self) -> bool:
        """Whether what a checkpoint has beyond the listed workloads is no longer waited for."""
        return self.fixed is not None or self.rounds >= _RESUME_ROUNDS

    async def list_ids(self) -> frozenset[str]:
        """Ask which workloads there are.

        Raises:
            ValueError: an id is not a UUID.
            Exception: whatever the function raises.
        """
        response = self._ask()
        ids = await response if isinstance(response, Awaitable) else response
        if isinstance(ids, AsyncIterable):
            return frozenset([check_id(item, "workload_id") async for item in ids])
        return frozenset(check_id(item, "workload_id") for item in ids)

    def succeeded(self, ids: frozenset[str], watched: Iterable[str]) -> None:
        """Take in what was listed while *watched* were in the fleet. An empty listing changes nothing."""
        if self.failures:
            logger.info("the fleet's discovery succeeds again")
            self.failures = 0
        if ids:
            self.rounds += 1
            self._absent = {key: self._absent.get(key, 0) + 1 for key in watched if key not in ids}

    def failed(self, error: Exception) -> None:
        """Take in a listing that failed: nothing changes, and a streak is warned of once."""
        self.failures += 1
        level = logging.WARNING if self.failures == 1 else logging.DEBUG
        logger.log(
            level, "the fleet's discovery failed, nothing changes: %s: %s", type(error).__name__, error
        )

    def pause(self, policy: PollPolicy, silence: float | None) -> float:
        """Return the seconds until the next listing.

        Args:
            policy: how patient the fleet is.
            silence: seconds for which the control plane has not responded, where nothing is watched for want
                of a listing; then the pause is shorter, and ends with the fleet's patience. Otherwise None.
        """
        if silence is None or not self.failures:
            return self._interval
        doubled = 2.0 ** min(self.failures - 1, 32)
        longest = min(policy.interval * doubled, self._interval)
        pause = random.uniform(longest / 2, longest)  # noqa: S311
        if policy.max_outage is not None:
            pause = min(pause, max(policy.max_outage - silence, policy.interval))
        return pause

    def is_leaving(self, workload_id: str) -> bool:
        """Return whether enough listings in a row lacked a workload."""
        return self._absent.get(workload_id, 0) >= _ABSENT_ROUNDS

    def forget(self, workload_id: str) -> None:
        """Forget a workload that has left."""
        self._absent.pop(workload_id, None)
