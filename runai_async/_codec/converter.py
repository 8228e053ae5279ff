"""The fallback of decoding, which explains mismatches, and the way back: cattrs with hooks of our own."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache, partial
from typing import TYPE_CHECKING, Any, get_args, get_origin

import attrs
import msgspec

from runai_async._codec.fields import (
    AwareTime,
    Field,
    fields_of,
    is_array,
    is_mapping,
    is_model,
    is_zero,
    shallow,
    utc,
    without_none,
)
from runai_async._text import canonical_id
from runai_async.errors import DecodeError
from runai_async.models import Cluster, ClusterState, Phase

if TYPE_CHECKING:
    from cattrs import Converter

Hook = Callable[[Any, Any], Any]
"""Turns JSON's own types into those of a model; cattrs passes the type as the second argument."""


class Mismatch(Exception):  # noqa: N818  (never leaves this package)
    """A value that is not in the promised shape, and the keys and indexes that lead to it."""

    def __init__(self, problem: str, *keys: str | int) -> None:
        super().__init__(problem)
        self.problem = problem
        self.keys = list(keys)

    def below(self, key: str | int) -> Mismatch:
        """Return it as it reads one level further up."""
        self.keys.insert(0, key)
        return self

    @property
    def path(self) -> str:
        """The path of the value, like `$.revisions[3].createdAt`."""
        return "$" + "".join(f".{key}" if isinstance(key, str) else f"[{key}]" for key in self.keys)


def _check(kind: type, expected: str, value: Any, _: Any = None) -> Any:
    """Return a value of exactly one type. An error does not quote the value, which may be a secret."""
    if value.__class__ is not kind:
        raise Mismatch(f"expected {expected}, got {_JSON_TYPES[value.__class__]}")
    return value


_JSON_TYPES: Mapping[type, str] = {
    type(None): "null",
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    str: "a string",
    dict: "an object",
    list: "an array",
}


# --- values without parts ---------------------------------------------------------------------------------

_string = partial(_check, str, "a string")


def _float(value: Any, _: Any) -> float:
    try:
        return value if value.__class__ is float else float(_check(int, "a number", value))
    except OverflowError as error:
        raise Mismatch("the number is out of range") from error


def _datetime(value: Any, _: Any) -> datetime:
    text = _check(str, "a time as a string", value)
    try:
        return utc(msgspec.convert(text, AwareTime))
    except (msgspec.ValidationError, OverflowError) as error:
        raise Mismatch("expected an RFC 3339 time with a time zone") from error


_YEAR_0 = re.compile(r"0000-12-31[Tt][0-9:.]+-\d\d:\d\d")
"""Go's zero time as it is written west of Greenwich."""


def _optional_datetime(value: Any, kind: Any) -> datetime | None:
    """Return a time; None for an empty text or Go's zero time, which stand for none."""
    if value == "" or (isinstance(value, str) and _YEAR_0.fullmatch(value)):
        return None
    try:
        if is_zero(msgspec.convert(value, AwareTime)):
            return None
    except msgspec.ValidationError:
        pass  # explained below
    return _datetime(value, kind)


def _phase(value: Any, _: Any) -> Phase:
    return Phase(_string(value))


def _cluster_state(value: Any, _: Any) -> ClusterState:
    return ClusterState(_string(value))


def _id(value: Any, _: Any = None) -> str:
    return canonical_id(str(value) if value.__class__ is int else _string(value))


def _quantity(value: Any, _: Any) -> str:
    is_number = value.__class__ is int or (value.__class__ is float and math.isfinite(value))
    return str(value) if is_number else _string(value)


def _any(value: Any, _: Any = None) -> Any:
    try:
        return shallow(value)
    except RecursionError as error:
        raise Mismatch("nested too deeply") from error


_COERCIONS: Mapping[str, Hook] = {"id": _id, "quantity": _quantity}


# --- values with parts ------------------------------------------------------------------------------------


def _field_hook(field: Field, converter: Converter) -> Hook:
    """Return the hook for one field's value, unless that is null."""
    if field.coerce:
        return _COERCIONS[field.coerce]
    if field.type is datetime and not field.required:
        return _optional_datetime
    return converter.get_structure_hook(field.type)


def _class_hook(cls: Any, converter: Converter) -> Hook:
    """Make the hook that turns an object into *cls*."""
    plan = [
        (field.key, field.type, _field_hook(field, converter), field.required) for field in fields_of(cls)
    ]
    check_rest = _mapping_hook(Mapping[str, Any], converter)

    def structure(value: Any, _: Any) -> Any:
        rest: dict[str, Any] = _check(dict, "an object", value).copy()
        parts: list[Any] = []
        for key, kind, hook, required in plan:
            part = rest.pop(key, None)
            if part is None and required:
                raise Mismatch(
                    "null, but it is required" if key in value else "missing, but it is required", key
                )
            try:
                parts.append(None if part is None else hook(part, kind))
            except Mismatch as mismatch:
                raise mismatch.below(key)  # noqa: B904  (it is the same one)
        return cls(*parts, check_rest(rest, None))

    return structure


def _is_cluster(kind: Any) -> bool:
    return kind is Cluster


def _cluster_hook(cls: Any, converter: Converter) -> Hook:
    """Make the hook for clusters, whose state stands elsewhere in their full form."""
    structure = _class_hook(cls, converter)
    return lambda value, kind: structure(_with_state(value), kind)


def _with_state(value: Any) -> Any:
    """Return a cluster with its state where the minimal form has it; Unknown where it has none."""
    if value.__class__ is not dict or value.get("state") is not None:
        return value
    status = value.get("status")
    state = status.get("state") if status.__class__ is dict else None
    if state is None:
        state = ClusterState.UNKNOWN.value
    elif state.__class__ is not str:
        raise Mismatch(f"expected a string, got {_JSON_TYPES[state.__class__]}", "status", "state")
    return {**value, "state": state}


def _array_hook(kind: Any, converter: Converter) -> Hook:
    """Make the hook for `list[X]`, `tuple[X, ...]` and `tuple[X | None, ...]`."""
    make, item_type = get_origin(kind), get_args(kind)[0]
    inner = without_none(item_type)
    hook, nullable = converter.get_structure_hook(inner), inner is not item_type

    def structure(value: Any, _: Any) -> Any:
        items: list[Any] = []
        for index, item in enumerate(_check(list, "an array", value)):
            try:
                items.append(None if nullable and item is None else hook(item, inner))
            except Mismatch as mismatch:
                raise mismatch.below(index)  # noqa: B904  (it is the same one)
        return make(items)

    return structure


def _mapping_hook(kind: Any, converter: Converter) -> Hook:
    """Make the hook for `Mapping[str, str]` and `Mapping[str, Any]`."""
    inner = get_args(kind)[1]
    hook = _any if inner is Any else converter.get_structure_hook(inner)

    def structure(value: Any, _: Any) -> Any:
        for key, item in _check(dict, "an object", value).items():
            try:
                hook(item, inner)
            except Mismatch as mismatch:
                raise mismatch.below(key)  # noqa: B904  (it is the same one)
        return value

    return structure


# --- the converter ----------------------------------------------------------------------------------------


def _unstructure(model: Any) -> dict[str, Any]:
    """Turn a model into JSON with the API's keys: without fields that are None, `extra` as it came."""
    parts = {field.key: getattr(model, field.name) for field in fields_of(model.__class__)}
    known = {key: converter().unstructure(part) for key, part in parts.items() if part is not None}
    return {**{key: part for key, part in model.extra.items() if key not in parts}, **known}


def _unstructure_datetime(time: datetime) -> datetime:
    if time.tzinfo is None:
        raise ValueError(f"{time!r} has no time zone; the API's times are aware")
    return utc(time)


@cache
def converter() -> Converter:
    """Return the one converter; the first call makes it.

    cattrs is imported here, because that would be a good part of the package's import time. A new client
    calls this, so that nothing is imported in the middle of a call.
    """
    from cattrs.preconf.msgspec import make_converter  # noqa: PLC0415

    converter = make_converter()
    hooks: Mapping[Any, Hook] = {
        str: _string,
        int: partial(_check, int, "an integer"),
        bool: partial(_check, bool, "a boolean"),
        float: _float,
        datetime: _datetime,
        Phase: _phase,
        ClusterState: _cluster_state,
    }
    for kind, hook in hooks.items():
        converter.register_structure_hook(kind, hook)
    factories: Mapping[Callable[[Any], bool], Callable[[Any, Converter], Hook]] = {
        is_array: _array_hook,
        is_mapping: _mapping_hook,
        attrs.has: _class_hook,
        _is_cluster: _cluster_hook,
    }
    for fits, factory in factories.items():
        converter.register_structure_hook_factory(fits, factory)
    converter.register_unstructure_hook(datetime, _unstructure_datetime)
    converter.register_unstructure_hook_func(is_model, _unstructure)
    return converter


def structure(value: Any, kind: Any) -> Any:
    """Turn JSON's own types into *kind*.

    Raises:
        DecodeError: *value* does not have that shape; `.path` says where.
    """
    return _checked(converter().get_structure_hook(kind), value, kind)


def structure_field(value: Any, field: Field) -> Any:
    """Turn JSON's own types into the value of one field.

    Raises:
        DecodeError: *value* does not have that shape.
    """
    return _checked(_field_hook(field, converter()), value, field.type)


def _checked(hook: Hook, value: Any, kind: Any) -> Any:
    try:
        return hook(value, kind)
    except Mismatch as mismatch:
        raise DecodeError(f"{mismatch.path}: {mismatch.problem}", path=mismatch.path) from mismatch
