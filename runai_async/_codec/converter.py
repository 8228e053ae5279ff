"""The careful road: cattrs with hooks of our own, for what is unusual, and for every explanation."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin

import attrs
import msgspec

from runai_async._codec.fields import Field, fields_of, is_array, is_mapping, is_model, without_none
from runai_async.errors import DecodeError
from runai_async.models import Phase

if TYPE_CHECKING:
    from cattrs import Converter

AwareTime = Annotated[datetime, msgspec.Meta(tz=True)]
"""What msgspec takes for a time: with a zone, and a fraction of any length."""


class Mismatch(Exception):  # noqa: N818  (never leaves this package)
    """A value that is not in the promised shape, and the keys and indexes that lead to it."""

    def __init__(self, problem: str, *keys: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.keys = list(keys)

    def below(self, key: str) -> Mismatch:
        """Return it as it reads one level further up."""
        self.keys.insert(0, key)
        return self

    @property
    def path(self) -> str:
        """The place, like `$.revisions[3].createdAt`."""
        return "$" + "".join(self.keys)


def _json_type(value: object) -> str:
    """Name a value's type as JSON does. The value itself may be a secret and is never told."""
    return "null" if value is None else _JSON_TYPES.get(type(value), "an array")


_JSON_TYPES: Mapping[Any, str] = {
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    str: "a string",
    dict: "an object",
}


# --- values without parts ---------------------------------------------------------------------------------


def _exactly(kind: type, name: str) -> Callable[[Any, Any], Any]:
    def structure(value: Any, _: Any) -> Any:
        if type(value) is not kind:
            raise Mismatch(f"expected {name}, got {_json_type(value)}")
        return value

    return structure


def _float(value: Any, _: Any) -> float:
    if type(value) is not float and type(value) is not int:
        raise Mismatch(f"expected a number, got {_json_type(value)}")
    try:
        return float(value)
    except OverflowError as error:
        raise Mismatch("the number is out of range") from error


def utc(value: datetime) -> datetime:
    """Return the same moment in UTC."""
    return value if value.tzinfo is UTC else value.astimezone(UTC)


def _datetime(value: Any, _: Any) -> datetime:
    if type(value) is not str:
        raise Mismatch(f"expected a time as a string, got {_json_type(value)}")
    try:
        return utc(msgspec.convert(value, AwareTime))
    except (msgspec.ValidationError, OverflowError) as error:
        raise Mismatch("expected an RFC 3339 time with a time zone") from error


def _structure_phase(value: Any, _: Any) -> Phase:
    if type(value) is not str:
        raise Mismatch(f"expected a string, got {_json_type(value)}")
    return Phase(value)


def _id(value: Any) -> str:
    if type(value) is not str and type(value) is not int:
        raise Mismatch(f"expected a string, got {_json_type(value)}")
    return str(value)


def _quantity(value: Any) -> str:
    if type(value) is float and math.isfinite(value):
        return str(value)
    return _id(value)


_COERCIONS: Mapping[str, Callable[[Any], str]] = {"id": _id, "quantity": _quantity}


# --- values with parts ------------------------------------------------------------------------------------


def _class_hook(cls: Any, converter: Converter) -> Callable[[Any, Any], Any]:
    """Make the hook that structures an object into *cls*."""

    def converted(field: Field) -> Callable[[Any], Any]:
        if field.coerce:
            return _COERCIONS[field.coerce]
        hook = converter.get_structure_hook(field.type)
        return lambda value: hook(value, field.type)

    plan = [(field.key, converted(field), field.required) for field in fields_of(cls)]

    def structure(value: Any, _: Any) -> Any:
        if type(value) is not dict:
            raise Mismatch(f"expected an object, got {_json_type(value)}")
        rest: dict[str, Any] = value.copy()  # pyright: ignore[reportUnknownVariableType,reportUnknownMemberType]
        parts: list[Any] = []
        for key, convert, required in plan:
            part = rest.pop(key, None)
            if part is not None:
                try:
                    part = convert(part)
                except Mismatch as mismatch:
                    raise mismatch.below("." + key) from mismatch.__cause__
            elif required:
                raise Mismatch(
                    "null, but it is required" if key in value else "missing, but it is required", "." + key
                )
            parts.append(part)
        return cls(*parts, rest)

    return structure


def _array_hook(kind: Any, converter: Converter) -> Callable[[Any, Any], Any]:
    """Make the hook for `list[X]`, `tuple[X, ...]` and `tuple[X | None, ...]`."""
    item_type = get_args(kind)[0]
    inner = without_none(item_type)
    hook, nullable, make = converter.get_structure_hook(inner), inner is not item_type, get_origin(kind)

    def structure(value: Any, _: Any) -> Any:
        if type(value) is not list:
            raise Mismatch(f"expected an array, got {_json_type(value)}")
        items: list[Any] = []
        for index, item in enumerate(value):  # pyright: ignore[reportUnknownVariableType,reportUnknownArgumentType]
            try:
                items.append(None if nullable and item is None else hook(item, inner))
            except Mismatch as mismatch:
                raise mismatch.below(f"[{index}]") from mismatch.__cause__
        return make(items)

    return structure


def _mapping_hook(kind: Any) -> Callable[[Any, Any], Any]:
    """Make the hook for `Mapping[str, str]` and `Mapping[str, Any]`."""
    texts = get_args(kind)[1] is str

    def structure(value: Any, _: Any) -> Any:
        if type(value) is not dict:
            raise Mismatch(f"expected an object, got {_json_type(value)}")
        items: dict[str, Any] = value  # pyright: ignore[reportUnknownVariableType]
        for key, item in items.items() if texts else ():
            if type(item) is not str:
                raise Mismatch(f"expected a string, got {_json_type(item)}", f".{key}")
        return items

    return structure


def _unstructure(value: Any) -> dict[str, Any]:
    """Turn a model into the API's own keys: None left out, what the schema does not name as it came."""
    parts = {field.key: getattr(value, field.name) for field in fields_of(value.__class__)}
    known = {key: converter().unstructure(part) for key, part in parts.items() if part is not None}
    return {**{key: part for key, part in value.extra.items() if key not in parts}, **known}


def _unstructure_datetime(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError(f"{value!r} has no time zone; the API's times are aware")
    return utc(value)


@functools.cache
def converter() -> Converter:
    """Return the one converter; the first call makes it.

    cattrs is imported here, because it is a good part of what importing the package would take. A client asks
    for it when it is made, so no import happens in the middle of a call.
    """
    from cattrs.preconf.msgspec import make_converter  # noqa: PLC0415

    converter = make_converter()
    for kind, name in ((str, "a string"), (int, "an integer"), (bool, "a boolean")):
        converter.register_structure_hook(kind, _exactly(kind, name))
    converter.register_structure_hook(float, _float)
    converter.register_structure_hook(datetime, _datetime)
    converter.register_structure_hook(Phase, _structure_phase)
    factories: list[tuple[Callable[[Any], bool], Callable[[Any], Any]]] = [
        (is_array, lambda kind: _array_hook(kind, converter)),
        (is_mapping, _mapping_hook),
        (attrs.has, lambda kind: _class_hook(kind, converter)),
    ]
    for fits, make_hook in factories:
        converter.register_structure_hook_factory(fits, make_hook)
    converter.register_unstructure_hook(datetime, _unstructure_datetime)
    converter.register_unstructure_hook_func(is_model, _unstructure)
    return converter


def structure(value: Any, kind: Any) -> Any:
    """Turn JSON's own types into *kind*.

    Raises:
        DecodeError: it is not in that shape; `.path` tells where.
    """
    try:
        return converter().structure(value, kind)
    except Mismatch as mismatch:
        raise DecodeError(f"{mismatch.path}: {mismatch.problem}", path=mismatch.path) from mismatch
