"""Listing revisions over HTTP, 32 calls at a time, each response different."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.measure import Peer, Row, Size, compared


def rows(url: str, size: Size) -> list[Row]:
    """Measure."""
    peers = [
        Peer("runapy async + its models", "vendor:list_models", "≤ 0.5"),
        Peer("runapy async, dict", "vendor:list_dicts"),
        Peer("aiohttp get + read", "bare:get_read"),
        Peer("aiohttp + orjson, dict", "bare:get_orjson"),
    ]
    slow = [Peer("httpx + pydantic, 8 fields", "httpx_pydantic:list_models")]
    return [
        *_against(peers, url, size.pick(4800, 320), size.rounds),
        *_against(slow, url, size.pick(960, 320), size.rounds),
    ]


def _against(peers: Sequence[Peer], url: str, amount: int, rounds: int) -> list[Row]:
    return compared(
        "list_revisions, typed", "ours:list_revisions", peers, url=url, amount=amount, rounds=rounds
    )
