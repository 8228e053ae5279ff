"""Random values of the schemas of the OpenAPI document, valid or with one thing wrong.

They are made from a seed instead of by hypothesis, because ten thousand whole responses must be quick.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta, timezone
from random import Random
from typing import Any
from uuid import UUID

from attrs import frozen

from runai_async.testing._openapi import DOCUMENT

Json = Any
Schema = Mapping[str, Any]
Key = str | int
JsonPath = tuple[Key, ...]
"""The keys and indexes that lead to a value."""

TEXTS = (
    "",
    " ",
    "chat",
    "Running",
    "0",
    "null",
    "a.b",
    'a "quoted" \\ text',
    "line\nbreak",
    "tab\t\0",
    "Ü\u0301",
    "日本",
    "😀",
    "\u2028",
    "x" * 200,
)
WHOLE = (0, 1, -1, 7, 2**31, 2**53, 2**63 - 1, -(2**63))
NUMBERS = (*WHOLE[:6], 0.5, -0.0, 1e-300, 1.7976931348623157e308, 0.1)
NEW_KEYS = ("brandNew", "a.b", "new key", "", "extra", "phase_updated_at", "Ünïcode", "self", "id2")
"""Keys that no schema has; a later version of the API may add any."""
HOSTILE = (
    *("1e400", "-1e400", "1" + "0" * 400, str(2**63), str(2**64), str(-(2**63) - 1), "1e3", "01", "+1", "-"),
    *(
        '"\\ud800"',
        '"\\udfff\\ud800"',
        '"\\u0000"',
        '"\\x"',
        '"\n"',
        "'x'",
        '"',
        "nul",
        "NaN",
        "Infinity",
        "",
    ),
    *('"2026-13-01T00:00:00Z"', '"2026-01-01T00:00:00"', '"2026-01-01T00:00:60Z"', '"2026-01-01"', '"-1"'),
    *('"0001-01-01T00:00:00+14:00"', '"9999-12-31T23:59:59-14:00"', '"10000-01-01T00:00:00Z"'),
    *("[" * 2000 + "]" * 2000, '{"a":' * 2000 + "1" + "}" * 2000, "[" * 99999, "{}}", "[1,]", '{"a":1,}'),
)
"""JSON texts of unusual values, and texts that are not JSON."""


class Maker:
    """Makes values of schemas, the same ones for the same seed.

    Attributes:
        text: makes a plain string.
    """

    def __init__(self, seed: int, text: Callable[[Random], str] | None = None) -> None:
        self.random = Random(seed)
        self._text = text or (lambda random: random.choice(TEXTS))
        self._of_type: Mapping[str, Callable[[Schema], Json]] = {
            "object": self._object,
            "array": lambda schema: [self.make(schema["items"]) for _ in range(self.random.randrange(4))],
            "string": self._string,
            "integer": self._integer,
            "number": lambda _: self.random.choice(NUMBERS),
            "boolean": lambda _: self.random.random() < 0.5,
            "null": lambda _: None,
        }

    def make(self, schema: Schema) -> Json:
        """Make a value that a schema allows."""
        if "$ref" in schema:
            return self.make(schema_of(schema["$ref"].rpartition("/")[2]))
        if "anyOf" in schema:
            return self.make(self.random.choice(schema["anyOf"]))
        if "enum" in schema:
            return self.random.choice(schema["enum"])
        return self._of_type[schema["type"]](schema)

    def anything(self, depth: int = 0) -> Json:
        """Make any JSON value."""
        match self.random.randrange(7 if depth < 2 else 5):
            case 0:
                return None
            case 1:
                return self.random.random() < 0.5
            case 2 | 3:
                return self.random.choice(NUMBERS)
            case 4:
                return self.random.choice(TEXTS)
            case 5:
                return [self.anything(depth + 1) for _ in range(self.random.randrange(3))]
            case _:
                return self.free(depth + 1)

    def free(self, depth: int = 0) -> dict[str, Json]:
        """Make an object with any keys."""
        keys = (*TEXTS, *NEW_KEYS)
        return {self.random.choice(keys): self.anything(depth) for _ in range(self.random.randrange(3))}

    def _object(self, schema: Schema) -> dict[str, Json]:
        if "properties" not in schema:
            return self._mapping(schema["additionalProperties"])
        required, value = schema.get("required", ()), {}
        names = [*schema["properties"], *NEW_KEYS]
        self.random.shuffle(names)  # the order of keys means nothing
        for name in names:
            if name in required or self.random.random() < (0.5 if name in schema["properties"] else 0.03):
                part = schema["properties"].get(name)
                value[name] = self.anything() if part is None else self.make(part)
        return value

    def _mapping(self, values: Any) -> dict[str, Json]:
        if values is True:
            return self.free()
        return {self.random.choice(TEXTS): self.make(values) for _ in range(self.random.randrange(3))}

    def _string(self, schema: Schema) -> str:
        if schema.get("format") == "date-time":
            return self._time()
        if schema.get("format") == "uuid":
            return str(UUID(int=self.random.getrandbits(128)))
        return self._text(self.random)

    def _integer(self, schema: Schema) -> int:
        if "minimum" in schema:
            return self.random.randint(schema["minimum"], schema["maximum"])
        return self.random.choice(WHOLE)

    def _time(self) -> str:
        """Make a time of RFC 3339, with a fraction of any length, and `Z` or an offset."""
        offset = timezone(timedelta(minutes=self.random.randint(-14 * 60, 14 * 60)))
        zone = self.random.choice([UTC, offset])
        time = datetime(1970, 1, 1, tzinfo=zone) + timedelta(seconds=self.random.randrange(2**32))
        date, tail = time.isoformat()[:19], time.isoformat()[19:]
        digits = "".join(self.random.choices("0123456789", k=self.random.randrange(13)))
        return date + (f".{digits}" if digits else "") + tail.replace("+00:00", "Z")


def schema_of(name: str) -> Schema:
    """Return a named schema of the document."""
    schema: Schema = DOCUMENT["components"]["schemas"][name]
    return schema


def response_schema(operation: str) -> Schema:
    """Return the schema of the successful response to an operation."""
    methods = [method for path in DOCUMENT["paths"].values() for method in path.values()]
    (responses,) = [item["responses"] for item in methods if item["operationId"] == operation]
    schema: Schema = responses["200"]["content"]["application/json"]["schema"]
    return schema


# --- with one thing wrong -----------------------------------------------------------------------------------


@frozen
class Mutant:
    """A value in which one part was changed.

    Attributes:
        path: the path of the part, or of the key that was removed.
        body: the whole value as JSON, or as a text that resembles JSON.
    """

    path: JsonPath
    body: bytes


_HOLE = "a text that no value contains"


def mutant_of(value: Json, maker: Maker) -> Mutant:
    """Change one part of a value: remove it, or replace it by something unexpected."""
    random = maker.random
    path = random.choice(list(_paths(value)))
    if path and isinstance(path[-1], str) and random.random() < 0.25:
        return Mutant(path, json.dumps(_changed(value, path, None)).encode())
    part = random.choice(HOSTILE) if random.random() < 0.4 else json.dumps(maker.anything())
    whole = json.dumps(_changed(value, path, _HOLE), ensure_ascii=random.random() < 0.5)
    return Mutant(path, whole.replace(f'"{_HOLE}"', part, 1).encode())


def _paths(value: Json, path: JsonPath = ()) -> Iterator[JsonPath]:
    """Yield the path of a value, and those of all its parts."""
    yield path
    parts: Iterator[tuple[Key, Json]] = iter(())
    if isinstance(value, dict):
        parts = iter(value.items())
    elif isinstance(value, list):
        parts = iter(enumerate(value))
    for key, part in parts:
        yield from _paths(part, (*path, key))


def _changed(value: Json, path: JsonPath, part: str | None) -> Json:
    """Return a copy of a value with another part at a path, or without it."""
    if not path:
        return part
    copy = value.copy()
    if len(path) == 1 and part is None:
        del copy[path[0]]
    else:
        copy[path[0]] = _changed(value[path[0]], path[1:], part)
    return copy


def format_path(path: JsonPath) -> str:
    """Write a path as errors do."""
    return "$" + "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path)
