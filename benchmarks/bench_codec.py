"""Decoding a list of five revisions that was not seen before, and reading a page of workloads that was."""

from __future__ import annotations

from benchmarks.measure import Peer, Row, Size, compared


def rows(url: str, size: Size) -> list[Row]:
    """Measure."""
    amount = size.pick(3000, 200)
    return [
        *compared(
            "decode a list",
            "ours:decode",
            [
                Peer("runapy from_dict, JSON parsed before", "vendor:from_dict", "≤ 0.4"),
                Peer("runapy from_json", "vendor:from_json"),
                Peer("pydantic, 8 of 27 fields", "httpx_pydantic:decode"),
            ],
            url=url,
            amount=amount,
            rounds=size.rounds,
        ),
        *compared(
            "decode a list, unknown keys",
            "ours:decode_unknown",
            [Peer("runapy from_dict, which drops them", "vendor:from_dict_unknown", "≤ 0.4")],
            url=url,
            amount=amount,
            rounds=size.rounds,
        ),
        *compared(
            "500-row discovery page of known rows",
            "ours:page_of_known_rows",
            [Peer("decoding it typed", "ours:page_typed", "≤ 0.1")],
            url=url,
            amount=size.pick(200, 20),
            rounds=size.rounds,
        ),
    ]
