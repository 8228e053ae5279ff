"""What the models' classes say about their JSON: keys, types, what is required."""

from __future__ import annotations

import functools
import types
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin

import attrs
import msgspec

AwareTime = Annotated[datetime, msgspec.Meta(tz=True)]
"""What msgspec accepts as a time: with a time zone, and a fraction of any length."""


class Field(NamedTuple):
    """One field of a model as the codec sees it.

    Attributes:
        key: its name in JSON.
        type: without `| None`.
        coerce: "id" or "quantity" where numbers are accepted and become strings; else None.
    """

    name: str
    key: str
    type: Any
    required: bool
    coerce: str | None


@functools.cache
def fields_of(cls: Any) -> tuple[Field, ...]:
    """Return the fields of a model except `extra`, which is always the last."""
    attrs.resolve_types(cls)
    return tuple(
        Field(
            name=field.name,
            key=field.metadata.get("key") or camel(field.name),
            type=without_none(field.type),
            required=field.default is attrs.NOTHING,
            coerce=field.metadata.get("coerce"),
        )
        for field in attrs.fields(cls)
        if field.name != "extra"
    )


def camel(name: str) -> str:
    """Turn snake_case into the API's camelCase; a name that is camelCase already stays."""
    head, *tail = name.split("_")
    return head + "".join(part[:1].upper() + part[1:] for part in tail)


def without_none(kind: Any) -> Any:
    """Reduce `X | None` to `X`."""
    if get_origin(kind) not in {Union, types.UnionType}:
        return kind
    (inner,) = (arg for arg in get_args(kind) if arg is not types.NoneType)
    return inner


def is_array(kind: Any) -> bool:
    """Return whether a type is `list[X]` or `tuple[X, ...]`."""
    return get_origin(kind) in {list, tuple}


def is_mapping(kind: Any) -> bool:
    """Return whether a type is `Mapping[str, X]`."""
    origin = get_origin(kind)
    return isinstance(origin, type) and issubclass(origin, Mapping)


def is_model(kind: Any) -> bool:
    """Return whether a class is a model of the API."""
    return attrs.has(kind) and "extra" in attrs.fields_dict(kind)


def is_zero(time: datetime) -> bool:
    """Return whether a time is Go's zero time, the beginning of the year 1, which stands for no time."""
    return time.year == 1


MAX_DEPTH = 100
"""Levels of objects and arrays in a value that no model describes. Python's own limits, by which a comparison
or a copy of such a value fails, differ from one version of Python to the next; real answers have below 20."""


def shallow(value: Any, levels: int = MAX_DEPTH) -> Any:
    """Return a value of JSON as it is.

    Raises:
        RecursionError: objects and arrays are nested more than *levels* deep in it.
    """
    parts = value.values() if value.__class__ is dict else value if value.__class__ is list else ()
    for part in parts:
        if part.__class__ is dict or part.__class__ is list:
            if levels == 1:
                raise RecursionError("nested too deeply")
            shallow(part, levels - 1)
    return value


def utc(time: datetime) -> datetime:
    """Return the same moment in UTC."""
    return time if time.tzinfo is UTC else time.astimezone(UTC)
