"""Polls of a watch: one that finds nothing new, through the real client, and one that finds a change."""

from __future__ import annotations

import importlib.util

from benchmarks.measure import Peer, Row, Size, compared


def rows(url: str, size: Size) -> list[Row]:
    """Measure."""
    milliseconds, rounds = size.pick(1500, 500), size.rounds
    lines = [
        *compared(
            "poll, nothing new: no schedule, saturated",
            "ours:poll",
            [
                Peer("aiohttp get + read, simplest loop", "bare:poll", "≤ 1.0"),
                Peer("the same, session tuned", "bare:poll_tuned", "≤ 1.15"),
            ],
            url=url,
            amount=size.pick(6400, 320),
            rounds=rounds,
        ),
        *compared(
            "watch poll, nothing new: 512 watches, saturated",
            "ours:watch_many",
            [
                Peer("aiohttp get + read, same schedule", "bare:watch_many", "≤ 1.10"),
                Peer("the same, session tuned", "bare:watch_many_tuned"),
            ],
            url=url,
            amount=milliseconds,
            rounds=rounds,
        ),
        *compared(
            "watch poll, nothing new: 32 watches, 3,200 polls/s",
            "ours:watch_few",
            [Peer("aiohttp get + read, same schedule", "bare:watch_few")],
            url=url,
            amount=milliseconds,
            rounds=rounds,
        ),
    ]
    lines += compared(
        "watch poll, nothing new: 512 watches, gzip",
        "ours:watch_many_gzip",
        [Peer("the same without compression", "ours:watch_many", "≤ 1.06")],
        url=url,
        amount=milliseconds,
        rounds=rounds,
    )
    if importlib.util.find_spec("uvloop"):
        lines += compared(
            "watch poll, nothing new: 512 watches, uvloop",
            "ours:watch_many+uvloop",
            [Peer("aiohttp get + read, same schedule, uvloop", "bare:watch_many+uvloop")],
            url=url,
            amount=milliseconds,
            rounds=rounds,
        )
    return lines + compared(
        "poll with 1 of 20 revisions changed, shuffled",
        "ours:changed_poll",
        [Peer("decoding all 20", "ours:changed_decode", "≤ 0.40")],
        url=url,
        amount=size.pick(1000, 100),
        rounds=rounds,
    )
