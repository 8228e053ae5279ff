"""Faults inside the JSON of a response: what real servers were seen to send."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal, get_args
from uuid import UUID

import msgspec

BodyFault = Literal[
    "zero_time",
    "empty_time",
    "coarse_times",
    "surrogate",
    "nan",
    "control_character",
    "deep_nesting",
    "null_list",
    "empty_object",
    "broken_row",
    "undecodable_newest",
    "string_next",
    "uppercase_ids",
    "dashless_ids",
    "other_revision",
    "shuffled_conditions",
]
BODY_FAULTS: tuple[str, ...] = get_args(BodyFault)

_Body = dict[str, Any]
_HOLE = "<what is not JSON>"
_SPOILED: Mapping[str, tuple[str, bytes]] = {
    "surrogate": ("phaseMessage", rb'"out of disk \ud83d"'),
    "nan": ("runningPods", b"NaN"),
    "control_character": ("phaseMessage", b'"out of\tdisk"'),
    "deep_nesting": ("additionalFields", b'{"a":' * 1100 + b"1" + b"}" * 1100),
}
"""A field of the first item, and the bytes that become its value."""
_UNORDERED = ("conditions", "images", "requestedNodePools", "currentNodePools")


def spoiled(kind: str, body: bytes, rng: random.Random) -> bytes:
    """Return a response's JSON with a fault in it."""
    value: _Body = msgspec.json.decode(body)
    items = _items(value)
    if kind not in _SPOILED:
        return msgspec.json.encode(_CHANGES[kind](value, items, rng))
    key, raw = _SPOILED[kind]
    for item in items[:1]:
        item[key] = _HOLE
    return msgspec.json.encode(value).replace(f'"{_HOLE}"'.encode(), raw)


def _items(body: _Body) -> list[_Body]:
    """Return the items of a list, or the one revision that a body is."""
    lists: list[list[_Body]] = [part for part in body.values() if isinstance(part, list)]
    return [body] if "id" in body else [item for part in lists for item in part]


# --- what is done to a body, its items and with what randomness --------------------------------------------


def _missing_times(body: _Body, items: list[_Body], _: random.Random, *, text: str) -> _Body:
    for item in items:
        for key in ("deletedAt", "phaseUpdatedAt"):
            if item.get(key) is None:
                item[key] = text
    return body


def _null_list(body: _Body, _: list[_Body], __: random.Random) -> _Body:
    return {key: None if isinstance(part, list) else part for key, part in body.items()}


def _empty_object(_: _Body, __: list[_Body], ___: random.Random) -> _Body:
    return {}


def _broken_row(body: _Body, items: list[_Body], _: random.Random) -> _Body:
    for item in items[:1]:
        for key in ("clusterId", "meta"):
            item.pop(key, None)
    return body


def _undecodable_newest(body: _Body, items: list[_Body], _: random.Random) -> _Body:
    if items:
        max(items, key=lambda item: (item.get("createdAt", ""), item.get("name", "")))["phase"] = None
    return body


def _string_next(body: _Body, _: list[_Body], __: random.Random) -> _Body:
    return body | {"next": str(body["next"])} if "next" in body else body


def _other_revision(body: _Body, _: list[_Body], rng: random.Random) -> _Body:
    return body | {"id": str(UUID(int=rng.getrandbits(128), version=4))} if "id" in body else body


def _shuffled(body: _Body, items: list[_Body], rng: random.Random) -> _Body:
    for item in items:
        for key in _UNORDERED:
            rng.shuffle(item.get(key) or [])
    return body


def _rewritten(
    body: _Body, _: list[_Body], __: random.Random, *, keys: str, rewrite: Callable[[str], str]
) -> _Body:
    """Rewrite the texts whose keys match, however deep they are."""

    def walk(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {name: walk(part, name) for name, part in value.items()}  # pyright: ignore[reportUnknownVariableType,reportUnknownArgumentType]
        if isinstance(value, list):
            return [walk(part, key) for part in value]  # pyright: ignore[reportUnknownVariableType]
        return rewrite(value) if isinstance(value, str) and re.search(keys, key) else value

    return {key: walk(part, key) for key, part in body.items()}


_IDS, _TIMES = "^id$|Id$", "(At|Time|Timestamp)$"
_CHANGES: Mapping[str, Callable[[_Body, list[_Body], random.Random], _Body]] = {
    "zero_time": partial(_missing_times, text="0001-01-01T00:00:00Z"),
    "empty_time": partial(_missing_times, text=""),
    "coarse_times": partial(_rewritten, keys=_TIMES, rewrite=lambda text: re.sub(r"\.\d+", "", text)),
    "null_list": _null_list,
    "empty_object": _empty_object,
    "broken_row": _broken_row,
    "undecodable_newest": _undecodable_newest,
    "string_next": _string_next,
    "uppercase_ids": partial(_rewritten, keys=_IDS, rewrite=str.upper),
    "dashless_ids": partial(_rewritten, keys=_IDS, rewrite=lambda text: text.replace("-", "")),
    "other_revision": _other_revision,
    "shuffled_conditions": _shuffled,
}
