"""How often to retry and how often to poll: frozen values with units."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from typing import Any, Literal, get_args

from attrs import Attribute, field

from runai_async._values import check_number, check_whole, frozen

LEAST_INTERVAL = 0.01
"""Seconds. Two polls of one workload are never closer than this."""

_STALE_INTERVALS = 3
"""Intervals without a successful poll, beside a deadline, after which a watch is stale."""

RETRYABLE_STATUSES = frozenset({429, 500, 502, 503, 504})
"""500 and 503 are the API's own; the others come from gateways and rate limiters in front of it."""

Emit = Literal["updated", "synced", "degraded", "recovered", "clusters"]
EMIT_NAMES: frozenset[Emit] = frozenset(get_args(Emit))
_NO_FURTHER_EVENTS: frozenset[Emit] = frozenset()


def _number(least: float | None = None, *, optional: bool = False) -> Any:
    """Make a validator from `check_number`; an *optional* number may be None."""

    def check(_: object, attribute: Attribute[Any], value: object) -> None:
        if not (optional and value is None):
            check_number(attribute.name, value, least)

    return check


def _whole(_: object, attribute: Attribute[Any], value: object) -> None:
    check_whole(attribute.name, value)


def _statuses(_: object, attribute: Attribute[Any], value: AbstractSet[int]) -> None:
    wrong = [status for status in value if not 400 <= status <= 599]  # noqa: PLR2004  (HTTP's error statuses)
    if wrong:
        raise ValueError(f"{attribute.name} must be HTTP error statuses (400 to 599), not {wrong[0]!r}")


def _emit(_: object, attribute: Attribute[Any], value: AbstractSet[str]) -> None:
    if unknown := set(value) - EMIT_NAMES:
        raise ValueError(
            f"{attribute.name} may name {', '.join(sorted(EMIT_NAMES))}, but not {min(unknown)!r}"
        )


def _set_of(value: Iterable[int]) -> frozenset[int]:
    return frozenset(value)


def _names(value: Any) -> Any:
    """Turn any iterable of names into a set; a single string is one name."""
    names: Iterable[Any] = (value,) if isinstance(value, str) else value
    return frozenset(names)


@frozen(kw_only=True)
class RetryPolicy:
    """When a failed attempt is repeated: exponential back-off with full jitter.

    Responses with one of *statuses*, connection errors, timeouts, and a 200 whose body is not JSON are
    retried. A `Retry-After` header replaces the jitter.

    Attributes:
        attempts: the maximum number of attempts per call, including the first; 1 turns retrying off.
        wait_initial: seconds; the wait before repeat n is uniform between 0 and
            min(wait_max, wait_initial * 2**(n-1)).
        wait_max: seconds; the longest wait that jitter may draw.
        deadline: seconds for one call with all its attempts and waits; it cuts the attempt in flight.
        statuses: the HTTP statuses worth another attempt.

    Raises:
        TypeError: a value has the wrong type.
        ValueError: a value is out of range.

    Example:
        >>> impatient = runai.with_options(retry=RetryPolicy(attempts=2, deadline=5))
        >>> revisions = await impatient.list_revisions(workload_id)
    """

    attempts: int = field(default=4, validator=_whole)
    wait_initial: float = field(default=0.5, validator=_number(0))
    wait_max: float = field(default=10.0, validator=_number(0))
    deadline: float = field(default=60.0, validator=_number())
    statuses: AbstractSet[int] = field(default=RETRYABLE_STATUSES, converter=_set_of, validator=_statuses)


@frozen(kw_only=True)
class PollPolicy:
    """How often a watch polls, and how patient it is.

    Attributes:
        interval: seconds between polls while nothing is in progress; at least 0.01.
        fast_interval: seconds between polls while a revision is on its way to another phase, is Unknown, or
            is in a phase that the API does not list. The smaller of the two intervals counts.
        fast_for: seconds after a revision's last observed change for which it keeps polling fast.
        jitter: the fraction of the interval, 0 to 1, by which a poll may be late; it does not accumulate.
        deadline: seconds for one poll, everything in it.
        max_outage: seconds without a successful poll after which the watch gives up; None for never. A 403
            where one could read before is doubted for as long, for 900 seconds with None.
        missing_grace: seconds for which a 403, a 404 or a missing revision is not believed yet, five times as
            long for a workload, or all its revisions, that could be read before; and seconds for which a
            revision that was reported as deleted must be listed as live to be reported again.
        stalled_after: seconds for which a revision may be on its way in one phase (any but Running, Stopped,
            Degraded, Failed and Completed) before it is reported as stalled, by the next successful poll and
            once; None for never.
        emit: further events to yield: any of "updated", "synced", "degraded", "recovered", "clusters".

    Raises:
        TypeError: a value has the wrong type.
        ValueError: a value is out of range.

    Example:
        >>> poll = PollPolicy(interval=30, max_outage=None, emit={"degraded", "recovered"})
        >>> watch = runai.watch_revisions(workload_id, poll=poll)
    """

    interval: float = field(default=10.0, validator=_number(LEAST_INTERVAL))
    fast_interval: float = field(default=2.0, validator=_number(LEAST_INTERVAL))
    fast_for: float = field(default=600.0, validator=_number(0))
    jitter: float = field(default=0.1, validator=_number(0))
    deadline: float = field(default=60.0, validator=_number())
    max_outage: float | None = field(default=900.0, validator=_number(0, optional=True))
    missing_grace: float = field(default=60.0, validator=_number(0))
    stalled_after: float | None = field(default=None, validator=_number(optional=True))
    emit: AbstractSet[Emit] = field(default=_NO_FURTHER_EVENTS, converter=_names, validator=_emit)

    def __attrs_post_init__(self) -> None:
        if self.jitter > 1:
            raise ValueError(f"jitter is a fraction of the interval, 0 to 1, not {self.jitter!r}")


def stale_after(policy: PollPolicy, interval: float | None = None) -> float:
    """Return the seconds without a successful poll after which a watch is stale.

    Args:
        policy: of the watch.
        interval: seconds between its polls at present; those of *policy* by default.
    """
    return _STALE_INTERVALS * (policy.interval if interval is None else interval) + policy.deadline
