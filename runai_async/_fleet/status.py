"""What a fleet says about itself."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from runai_async._values import frozen

HintStatus = Literal["off", "learning", "trusted", "untrusted"]


@frozen
class FleetStatus:
    """The state of a fleet at the moment it is read.

    Attributes:
        watched: how many workloads.
        due: how many of them are due now and wait for a poll.
        in_flight: polls in progress.
        buffered: events that wait for the consumer, including those of removed workloads that it will skip.
        lag: seconds by which the longest waiting poll is late. The first polls come early, and are late when
            their usual time is over.
        oldest_success_at: the last successful poll of the workload for which that is longest ago; None while
            one had none.
        failing: workloads whose last poll failed.
        refused: workloads whose last poll was refused, though they were readable before.
        disconnected: clusters that have lost their control plane, as far as `PollPolicy.emit` asks for them.
        without_revisions: workloads that the control plane lists but that have no revisions, as is normal for
            some kinds of inference.
        concurrency_needed: polls in flight that the intervals ask for: polls a second times the seconds that
            one takes. Where it is more than *max_concurrency*, `lag` grows.
        discovery_interval: seconds between listings of the workloads at present: what was asked for, or more
            where a listing takes so long that it would be busy for more than a tenth of the time. None where
            the ids were given.
        expected: workloads that are known, polled yet or not: those that are watched, and those of the
            checkpoint that have not joined yet.
        hints: what the rows of the list are worth in a fleet of a query: "learning" until polls have found
            enough changes to judge them by; "trusted" if the rows show nearly all of them in time, else
            "untrusted"; "off" without a query.
        changes_hinted: changes that polls found and that the rows of the list had shown in time.
        changes_unhinted: those that they had not.
        stale: no poll of any workload has succeeded for three intervals and a deadline; or nothing is watched
            because discovery has failed for that long. A watchdog needs nothing else. Where *rate_limit*
            cannot keep the intervals, they count as long as it makes them.

    Example:
        >>> async with runai.watch_fleet(workload_ids) as fleet:
        ...     event = await anext(fleet)
        ...     print(fleet.status.watched, "watched,", fleet.status.buffered, "events wait")
        1 watched, 0 events wait
    """

    watched: int
    due: int
    in_flight: int
    buffered: int
    lag: float
    oldest_success_at: datetime | None
    failing: int
    stale: bool
    without_revisions: int = 0
    refused: int = 0
    disconnected: int = 0
    concurrency_needed: float = 0.0
    discovery_interval: float | None = None
    expected: int = 0
    hints: HintStatus = "off"
    changes_hinted: int = 0
    changes_unhinted: int = 0
