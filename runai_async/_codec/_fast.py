"""The fast road: msgspec reads into structs derived from the models, and those become models by position."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, get_args, get_origin

import attrs
import msgspec
from msgspec import UNSET

from runai_async._codec._careful import AwareTime, utc
from runai_async._codec._fields import Field, fields_of, is_mapping, is_model, without_none
from runai_async.models import Revision

REFUSALS = (msgspec.DecodeError, ValueError, OverflowError, RecursionError)
"""What the fast road raises where the careful one has to decide."""

_learned: dict[Any, tuple[str, ...]] = {}
"""Keys that the schema does not name, but answers have: the careful road found them in `extra`."""
LEARNED_MAX = 32
"""For each model. What has ever new keys stays on the careful road."""
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")
"""Not every text can be a key of a struct."""


@functools.cache
def road(cls: Any) -> tuple[Callable[[bytes], Any], Callable[[Any], Any]]:
    """Return the two steps from bytes to a model; made at first use, as that takes milliseconds."""
    return msgspec.json.Decoder(_struct(cls)).decode, _builder(cls)


@functools.cache
def list_road() -> tuple[Callable[[bytes], Any], Callable[[Any], Revision]]:
    """Return the same two steps for a list answer, the second of them for each of its items."""
    envelope = msgspec.defstruct("List", [("revisions", list[_struct(Revision)])])  # type: ignore[misc]
    return msgspec.json.Decoder(envelope).decode, _builder(Revision)


def learn(model: Any) -> None:
    """Let the fast road take the unknown keys of a model, which the careful road has read."""
    if _learn(model):
        forget_roads()


def forget_roads() -> None:
    """Make the roads anew at next use."""
    for made in (_struct, _thawed, _builder, road, list_road):
        made.cache_clear()


def _learn(value: Any) -> bool:
    """Learn the unknown keys of a model and its parts; tell whether there was a new one."""
    cls = value.__class__
    if cls is tuple:
        return any([_learn(item) for item in value])  # noqa: C419  (all of them, not up to the first)
    if not is_model(cls):
        return False
    known = _learned.get(cls, ())
    new = [key for key in value.extra if key not in known and _PLAIN_KEY.fullmatch(key)]
    if len(known) + len(new) > LEARNED_MAX:
        new = []
    if new:
        _learned[cls] = (*known, *new)
    below = [_learn(getattr(value, field.name)) for field in fields_of(cls)]
    return bool(new) or any(below)


# --- from bytes to structs --------------------------------------------------------------------------------


@functools.cache
def _struct(cls: Any) -> type[msgspec.Struct]:
    """Derive the struct that stands for a model: same fields, same order, then the keys that were learned."""
    fields: list[Any] = [
        (field.name, _struct_type(field))
        if field.required
        else (field.name, _struct_type(field) | None, None)
        for field in fields_of(cls)
    ]
    rename = {field.name: field.key for field in fields_of(cls)}
    for number, key in enumerate(_learned.get(cls, ())):
        fields.append((f"extra_{number}", Any, UNSET))
        rename[f"extra_{number}"] = key
    return msgspec.defstruct(cls.__name__, fields, rename=rename, forbid_unknown_fields=True, gc=False)


def _struct_type(field: Field) -> Any:
    if field.coerce:
        return str | int if field.coerce == "id" else str | int | float
    return _wire_type(field.type)


def _wire_type(kind: Any) -> Any:
    """Return what msgspec shall expect where a model has *kind*."""
    if kind is datetime:
        return AwareTime
    if attrs.has(kind):
        return _struct(kind)
    if get_origin(kind) is tuple:
        item = get_args(kind)[0]
        inner = _wire_type(without_none(item))
        return tuple[inner if without_none(item) is item else inner | None, ...]  # type: ignore[misc]
    if is_mapping(kind):
        return dict[get_args(kind)]  # type: ignore[misc]
    return kind


# --- from structs to models -------------------------------------------------------------------------------


@functools.cache
def _builder(cls: Any) -> Callable[[Any], Any]:
    """Make the function that turns a struct (or None) into its model."""
    astuple, thawed = msgspec.structs.astuple, _thawed(cls)
    keys, known = _learned.get(cls, ()), len(fields_of(cls))

    def build(struct: Any) -> Any:
        if struct is None:
            return None
        model = thawed(*astuple(struct))
        model.__class__ = cls
        return model

    def build_with_extra(struct: Any) -> Any:
        if struct is None:
            return None
        parts = astuple(struct)
        extra = {key: part for key, part in zip(keys, parts[known:], strict=True) if part is not UNSET}
        model = thawed(*parts[:known], extra)
        model.__class__ = cls
        return model

    return build_with_extra if keys else build


@functools.cache
def _thawed(cls: Any) -> Any:
    """Derive the class whose instances are filled by plain assignment, and then become the frozen model.

    A frozen class fills each field through `object.__setattr__`, which is four times as slow, and was two
    thirds of all decoding. The `__init__` is that of an ordinary attrs class with the same fields, whose
    converters mend what a struct has in another form: attrs writes them into its code, without a loop.
    """
    fields: dict[str, Any] = {field.name: attrs.field(converter=_mend(field)) for field in fields_of(cls)}
    assigning: Any = attrs.make_class(cls.__name__, {**fields, "extra": attrs.field(factory=dict)})
    body = {
        "__slots__": (),
        "__init__": assigning.__init__,
        "__setattr__": object.__setattr__,
        "__delattr__": object.__delattr__,  # both, or neither is the fast one of `object`
    }
    return type(cls.__name__, (cls,), body)


def _mend(field: Field) -> Callable[[Any], Any] | None:
    """Return what turns a field's wire value into the model's, or None where they are the same."""
    if field.coerce:
        return str if field.required else _text
    if field.type is datetime:
        return _utc
    if attrs.has(field.type):
        return _builder(field.type)
    if get_origin(field.type) is tuple and attrs.has(item := without_none(get_args(field.type)[0])):
        build = _builder(item)
        return lambda parts: None if parts is None else tuple([build(part) for part in parts])
    return None


def _text(value: Any) -> str | None:
    return value if value is None or value.__class__ is str else str(value)


def _utc(value: datetime | None) -> datetime | None:
    return value if value is None or value.tzinfo is UTC else utc(value)
