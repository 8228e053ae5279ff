"""Resident memory: per watched workload, and over many polls."""

from __future__ import annotations

import sys

from benchmarks.measure import Peer, Row, Size, interleaved, row

_TURNS = 3
"""Each in a new process, because a turn would reuse the memory that the one before had freed."""


def rows(url: str, size: Size) -> list[Row]:
    """Measure, where the system reports it (Linux)."""
    if sys.platform != "linux":
        return []
    workloads = size.pick(2000, 200)
    kept, kept_random, fleet, fleet_random, watches = (
        _once(client, url, workloads, size)
        for client in ("typed_and_raw", "typed_and_raw_random", "fleet", "fleet_random", "watches")
    )
    plain = "typed revisions + body"
    return [
        row("memory of a workload in a fleet", "kB", fleet, Peer(plain, "", "≤ 6 kB"), kept),
        row(
            "the same, random environment variables",
            "kB",
            fleet_random,
            Peer(plain, "", "≤ 8 kB"),
            kept_random,
        ),
        row("memory of a watch, with its task", "kB", watches, Peer(plain, "", "≤ 8 kB"), kept),
        *_flat(url, size),
    ]


def _once(client: str, url: str, workloads: int, size: Size) -> list[float]:
    turns = size.pick(_TURNS, 1)
    return [
        sample.resident / 1000
        for _ in range(turns)
        for samples in interleaved([f"memory:{client}"], url, workloads, 1, uncounted=0)
        for sample in samples
    ]


def _flat(url: str, size: Size) -> list[Row]:
    """Compare the memory after all polls with the memory after a tenth of them."""
    tenth = size.pick(10_000, 200)
    (samples,) = interleaved(["memory:churn"], url, tenth, 10, uncounted=0)
    polls = sum(sample.operations for sample in samples)
    first, last = samples[0].resident / 1e6, samples[-1].resident / 1e6
    return [
        row(
            f"memory after {polls:,.0f} polls with deletions",
            "MB",
            [last],
            Peer("after a tenth of them", "", "≤ 1.02"),
            [first],
        )
    ]
