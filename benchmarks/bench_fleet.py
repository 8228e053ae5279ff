"""A fleet in which nothing changes, against a bare loop on the same schedule and against smaller fleets."""

from __future__ import annotations

from benchmarks.measure import Peer, Row, Size, compared


def rows(url: str, size: Size) -> list[Row]:
    """Measure."""
    milliseconds, rounds = size.pick(6000, 500), size.pick(min(size.rounds, 5), 1)
    if size.quick:
        return compared(
            "fleet poll, nothing new: 1,000 workloads",
            "fleets:fleet_1000",
            [Peer("a fleet of 100, equal rate", "fleets:fleet_100", "≤ 1.15")],
            url=url,
            amount=milliseconds,
            rounds=rounds,
        )
    return [
        *compared(
            "fleet poll, nothing new: 5,000 workloads, 500 polls/s",
            "fleets:fleet_5000",
            [Peer("aiohttp get + read, same schedule", "fleets:bare_5000", "≤ 1.18")],
            url=url,
            amount=milliseconds,
            rounds=rounds,
        ),
        *(
            row
            for number in (1000, 10_000)
            for row in compared(
                f"fleet poll, nothing new: {number:,} workloads, 500 polls/s",
                f"fleets:fleet_{number}",
                [Peer("a fleet of 100, equal rate", "fleets:fleet_100", "≤ 1.15")],
                url=url,
                amount=milliseconds,
                rounds=rounds,
            )
        ),
    ]
