"""Which workloads there are: what a fleet is given, or what was listed. No I/O, no clock.

A list that lacks a workload proves little: rows move while it is read, a read model restarts empty, an
account may not see it for a while. So a workload that two listings in a row lack leaves only when its own
polls agree that nothing is left of it. Where it can be gone from the list and still exist, because the
caller's own function decides or a filter names what can change, its polls may never agree. There the listings
decide, if no row moved while they were read.
"""

from __future__ import annotations

import logging
import math
import random
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from typing import NamedTuple
from uuid import UUID

from runai_async._api.workload_query import WorkloadQuery
from runai_async._arguments import check_id
from runai_async._observe.log import logger
from runai_async._watch.failures import NO_FAILURES, RECOVERY, ROUNDING, Past, describe_failure, retry_after
from runai_async.errors import AuthenticationError, RunaiError
from runai_async.models import Workload
from runai_async.policy import PollPolicy

Item = str | UUID | Workload
Ids = Iterable[Item] | AsyncIterable[Item]
Asked = Ids | Awaitable[Ids]
Ask = Callable[[], Asked]
WorkloadIds = Iterable[Item] | WorkloadQuery | Ask
"""Workloads or their ids; a query of them; or a function that returns an (async) iterable of them, or an
awaitable of one."""

_ABSENT_ROUNDS = 2
"""Listings in a row that must lack a workload before it may leave: one may have been incomplete."""
_RESUME_ROUNDS = 2
"""Listings after which what a checkpoint has beyond them is watched, too: the first may be incomplete."""
_TOKEN_WAITS = (1.0, 2.0)
"""Seconds before the first listings with a token that was never accepted; then it is believed."""


def id_of(item: Item) -> str:
    """Return the id of a workload that is given as such, or by its id.

    Raises:
        ValueError: it is not a UUID.
        TypeError: it is nothing of the kind.
    """
    if not isinstance(item, str | UUID | Workload):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"workloads must be ids or Workload objects, not {type(item).__name__}")
    return check_id(item.id if isinstance(item, Workload) else item, "workload_id")


class Listed(NamedTuple):
    """One successful listing.

    Attributes:
        ids: the workloads that it named.
        began_at: monotonic time at which it began.
        is_sound: no row moved while it was read.
        is_proof: a workload that it lacks may go on existing, so its polls are not asked.
        changed: those whose rows have changed, or are gone, since the listing before.
    """

    ids: frozenset[str]
    began_at: float
    is_sound: bool = True
    is_proof: bool = True
    changed: frozenset[str] = frozenset()


class _Lacking(NamedTuple):
    """The listings in a row that lacked a workload.

    Attributes:
        rounds: how many.
        proofs: how many of the last ones are enough for it to leave.
    """

    rounds: int = 0
    proofs: int = 0


_LISTED = _Lacking()


class Discovery:
    """Keeps account of what is listed.

    Args:
        workloads: workloads or their ids, the query that they match, or the function that lists them.
        interval: seconds between listings.

    Attributes:
        fixed: the ids, where they were given as such; None where there is a function to ask.
        ask: the function, or None.
        query: the query, or None.
        rounds: how many listings named a workload.
        began_at: monotonic time at which the latest successful listing began; before all time without one.

    Raises:
        ValueError: an id is not a UUID.
        TypeError: neither ids nor a function.
    """

    def __init__(self, workloads: WorkloadIds, interval: float) -> None:
        if isinstance(workloads, str | UUID | Workload):
            raise TypeError("workloads must be an iterable of ids, not a single id: put it into a list")
        self.fixed: list[str] | None = None
        self.ask: Ask | None = None
        self.query: WorkloadQuery | None = None
        if isinstance(workloads, WorkloadQuery):
            self.query, self.ask = workloads, lambda: workloads
        elif callable(workloads):
            self.ask = workloads
        elif isinstance(workloads, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance]
            self.fixed = list(dict.fromkeys(id_of(item) for item in workloads))
        else:
            raise TypeError(
                "workloads must be ids, a query like runai.inference_workloads(), or a function that returns "
                "ids or workloads, like runai.list_workloads (without parentheses: it is called again and "
                f"again), not {type(workloads).__name__}"
            )
        self.rounds = 0
        self.interval: float = interval
        self.began_at: float = -math.inf
        self._listings = 0
        self._lacking: dict[str, _Lacking] = {}
        self._listed: frozenset[str] = frozenset()
        self._empty_since: float | None = None
        self._streak = NO_FAILURES
        self._asked_to_wait = 0.0
        self._token_refusals = 0  # in a row

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
        return self._listings >= _RESUME_ROUNDS

    def succeeded(self, listed: Listed, watched: Iterable[str], now: float, policy: PollPolicy) -> None:
        """Take in what was listed while *watched* were in the fleet."""
        self._listings += 1
        self.rounds += bool(listed.ids)
        self.began_at, self._listed = listed.began_at, listed.ids
        streak, self._streak = self._streak, NO_FAILURES
        self._token_refusals = 0
        counts = self._counts(listed, now, policy)
        self._lacking = {
            key: _lacking(self._lacking.get(key, _LISTED), listed, counts=counts)
            for key in watched
            if key not in listed.ids
        }
        if streak.failures:
            logger.info("the list of workloads can be read again", extra=RECOVERY)

    def _counts(self, listed: Listed, now: float, policy: PollPolicy) -> bool:
        """Return whether a listing is no glitch: an empty one may be, until all have been for a while."""
        if listed.ids:
            self._empty_since = None
            return True
        if self._empty_since is None:
            self._empty_since = now
        return now - self._empty_since >= policy.missing_grace - ROUNDING

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
        is_refused = isinstance(failure, AuthenticationError)
        self._token_refusals = self._token_refusals + 1 if is_refused else 0
        verdict = self._streak.record(
            failure,
            policy,
            what="the list of workloads",
            began=began,
            now=now,
            interval=self.interval,
            past=Past(succeeded=self._listings > 0 or self._tries_token_again, readable=True),
            grace=math.inf if policy.max_outage is None else policy.max_outage,
        )
        self._streak, self._asked_to_wait = verdict.streak, retry_after(failure)
        level = logging.WARNING if self._streak.failures == 1 else logging.DEBUG
        logger.log(
            level,
            "the list of workloads cannot be read, so the same ones are watched: %s",
            describe_failure(failure),
        )
        return verdict.error

    @property
    def _tries_token_again(self) -> bool:
        """Whether a refused token is worth another listing, though none has succeeded yet."""
        return self._token_refusals <= len(_TOKEN_WAITS)

    def pause(self, policy: PollPolicy, *, watches: bool, rest: float = 0.0) -> float:
        """Return the seconds until the next listing.

        Where nothing is watched for want of a listing it is shorter, and ends with the fleet's patience.

        Args:
            policy: how patient the fleet is.
            watches: whether the fleet watches any workload.
            rest: the least seconds, for the sake of the server.
        """
        failures = self._streak.failures
        if not failures:
            return max(self.interval, rest)
        pause = self.interval
        if self._token_refusals and not self._listings and self._tries_token_again:
            pause = _TOKEN_WAITS[self._token_refusals - 1]
        elif not watches:
            longest = min(policy.interval * 2.0 ** min(failures - 1, 32), self.interval)
            pause = random.uniform(longest / 2, longest)  # noqa: S311
            if policy.max_outage is not None:
                left = policy.max_outage - self._streak.outage_seconds
                pause = left if ROUNDING < left < pause else pause
        pause = max(pause, rest, self._asked_to_wait)
        self._streak = self._streak._replace(pause=pause)
        return pause

    def is_leaving(self, workload_id: str) -> bool:
        """Return whether enough listings in a row lacked a workload for it to leave, if its polls agree."""
        return self._lacking.get(workload_id, _LISTED).rounds >= _ABSENT_ROUNDS

    def is_proven(self, workload_id: str) -> bool:
        """Return whether the listings that lacked a workload are enough, whatever its polls show."""
        return self._lacking.get(workload_id, _LISTED).proofs >= _ABSENT_ROUNDS

    def is_listed(self, workload_id: str) -> bool:
        """Return whether the latest successful listing named a workload."""
        return workload_id in self._listed

    def forget(self, workload_id: str) -> None:
        """Forget a workload that has left."""
        self._lacking.pop(workload_id, None)


def _lacking(before: _Lacking, listed: Listed, *, counts: bool) -> _Lacking:
    """Return the listings that lacked a workload with one more."""
    proofs = before.proofs + counts if listed.is_sound and listed.is_proof else 0
    return _Lacking(before.rounds + 1, proofs)


def _raised(error: Exception) -> RunaiError:
    wrapped = RunaiError(f"the function that lists workloads failed: {type(error).__name__}: {error}")
    wrapped.__cause__ = error
    return wrapped
