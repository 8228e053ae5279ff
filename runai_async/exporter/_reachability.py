"""Whether the control plane responds at all, and since when it does not."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from prometheus_client.core import GaugeMetricFamily, Metric

from runai_async._fleet.reading import Contact
from runai_async._watch.status import PollState

_FIRST_SERVER_ERROR = 500


class Reachability(NamedTuple):
    """What is exported.

    Attributes:
        is_up: whether the control plane responds.
        lost_at: Unix time at which the outage began; None without one, or where that is not known.
    """

    is_up: bool
    lost_at: float | None = None


class CallResponses:
    """Whether calls get responses: all that is known until something is attached, as at the start."""

    def __init__(self) -> None:
        self.reachability = Reachability(is_up=False)

    def note(self, status: int | None, error: str | None) -> None:
        """Note how a call ended: the status of its last response, and the class of its error."""
        if error is None or (status is not None and status < _FIRST_SERVER_ERROR):
            self.reachability = Reachability(is_up=True)
        elif error != "CancelledError" and self.reachability.lost_at is None:
            self.reachability = Reachability(is_up=False, lost_at=time.time())


def contacts_of(polls: Iterable[PollState]) -> list[Contact]:
    """Return what the latest successful poll says about the control plane; nothing without workloads."""
    telling = [item for item in polls if not item.has_no_revisions]  # of those only refusals are known
    latest = min(telling, key=lambda item: item.age, default=None)
    if latest is None:
        return []
    return [Contact(latest.age, latest.last_success_at is not None, latest.stale_after)]


def reachability_of(contacts: Sequence[Contact]) -> Reachability:
    """Return what all that polls knows together: one that has a response is enough."""
    latest = next((item for item in contacts if item.is_up), contacts[0])
    lost = latest.lost_for
    return Reachability(latest.is_up, None if lost is None else time.time() - lost)


def families_of_reachability(reachability: Reachability | None) -> Iterator[Metric]:
    """Yield the families; without samples where there is nothing to know."""
    up = GaugeMetricFamily(
        "runai_async_up",
        "1, or 0 where the control plane has not responded for three intervals and a deadline.",
    )
    lost = GaugeMetricFamily(
        "runai_async_outage_started_timestamp_seconds",
        "Unix time at which an outage of the control plane began that still lasts.",
    )
    if reachability is not None:
        up.add_metric([], int(reachability.is_up))
        if reachability.lost_at is not None:
            lost.add_metric([], reachability.lost_at)
    yield from (up, lost)
