"""What is asked of a server, by the server's own clock. No I/O: it is given the times."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import NamedTuple

POLL, PAGE = "poll", "page"
"""The kinds of requests: for the revisions of a workload, and for a page of the list of workloads."""


class Totals(NamedTuple):
    """What was asked up to a moment.

    Attributes:
        at: the moment.
        requests: how many have begun, by kind.
        in_flight: how many seconds each number of requests was in progress.
        listing: seconds in which a request for a page was in progress.
    """

    at: float
    requests: Counter[str]
    in_flight: Mapping[int, float]
    listing: float


class Meter:
    """Adds up what is asked."""

    def __init__(self, now: float) -> None:
        self._at = now
        self._begun: Counter[str] = Counter()
        self._running: Counter[str] = Counter()
        self._in_flight: defaultdict[int, float] = defaultdict(float)
        self._listing = 0.0

    def begin(self, kind: str, now: float) -> None:
        """Note that a request has come."""
        self._advance(now)
        self._begun[kind] += 1
        self._running[kind] += 1

    def end(self, kind: str, now: float) -> None:
        """Note that a request is done."""
        self._advance(now)
        self._running[kind] -= 1

    def totals(self, now: float) -> Totals:
        """Return what was asked so far."""
        self._advance(now)
        return Totals(now, self._begun.copy(), self._in_flight.copy(), self._listing)

    def _advance(self, now: float) -> None:
        seconds, self._at = now - self._at, now
        self._in_flight[self._running.total()] += seconds
        if self._running[PAGE]:
            self._listing += seconds


class Figures(NamedTuple):
    """What was asked in a period.

    Attributes:
        seconds: how long the period was.
        listings: how often the list was begun.
        polls: polls per second; `pages` are those of the list.
        in_flight: the median and the 99th percentile, over the time, of the requests in progress.
        listing: the share of the time in which a request for a page was in progress.
    """

    seconds: float
    listings: int
    polls: float
    pages: float
    in_flight: tuple[int, int]
    listing: float


def figures(first: Totals, last: Totals, listings: int) -> Figures:
    """Return what was asked between two moments."""
    seconds = last.at - first.at
    requests = last.requests - first.requests
    in_flight = {number: at - first.in_flight.get(number, 0.0) for number, at in last.in_flight.items()}
    return Figures(
        seconds,
        listings,
        polls=requests[POLL] / seconds,
        pages=requests[PAGE] / seconds,
        in_flight=(quantile(in_flight, 0.5), quantile(in_flight, 0.99)),
        listing=(last.listing - first.listing) / seconds,
    )


def quantile(weights: Mapping[int, float], share: float) -> int:
    """Return the least number such that it and those below have this share of the weight."""
    left = share * sum(weights.values())
    for number in sorted(weights):
        left -= weights[number]
        if left <= 0:
            return number
    return max(weights)


class Period:
    """The period that is measured: whole cycles, each from the start of one listing to the next one's.

    Only so does a listing of eight seconds that comes once in eighty weigh what it should.

    Args:
        seconds: how long it is at least.
        cycles: of how many cycles it is at least.

    Attributes:
        figures: what was asked in it; None until it is over.
    """

    def __init__(self, seconds: float, cycles: int) -> None:
        self.figures: Figures | None = None
        self._seconds = seconds
        self._cycles = cycles
        self._first: Totals | None = None
        self._listings = 0

    def listing_begins(self, totals: Totals) -> None:
        """Note that a listing begins: the first one begins the period, a later one ends it."""
        if self._first is None:
            self._first = totals
            return
        self._listings += 1
        if self.figures is None and self._is_long_enough(totals.at - self._first.at):
            self.figures = figures(self._first, totals, self._listings)

    def _is_long_enough(self, seconds: float) -> bool:
        return self._listings >= self._cycles and seconds >= self._seconds
