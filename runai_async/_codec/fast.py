"""The fast road: msgspec reads into structs derived from the models, and those are turned into the models."""

from __future__ import annotations

import functools
import re
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, cast, get_args, get_origin

import attrs
import msgspec
from msgspec import UNSET

from runai_async._codec.converter import AwareTime, utc
from runai_async._codec.fields import Field, fields_of, is_mapping, is_model, without_none
from runai_async.models import Revision

FALLBACK_ERRORS = (msgspec.DecodeError, ValueError, OverflowError, RecursionError)
"""What the fast road raises where the careful one has to decide."""

_learned: dict[Any, tuple[str, ...]] = {}
"""Keys that the schema does not name, but answers have: the careful road found them in `extra`."""
LEARNED_MAX = 32
"""For each model. What has ever new keys stays on the careful road."""
_PLAIN_KEY = r"[A-Za-z_][A-Za-z0-9_.-]{0,63}"
"""Not every text can be a key of a struct."""
_making = threading.Lock()
"""Held while a road is made or a key is learned: loops in several threads share the roads."""


@functools.cache
def fast_path(cls: Any) -> tuple[Callable[[bytes], Any], Callable[[Any], Any]]:
    """Return the two steps from bytes to a model; made at first use, as that takes milliseconds."""
    with _making:
        return msgspec.json.Decoder(_struct(cls)).decode, _builder(cls)


@functools.cache
def list_fast_path() -> tuple[Callable[[bytes], Any], Callable[[Any], Revision]]:
    """Return the same two steps for a list answer, the second of them for each of its items."""
    with _making:
        envelope = msgspec.defstruct("List", [("revisions", list[_struct(Revision)])])  # type: ignore[misc]
        return msgspec.json.Decoder(envelope).decode, _builder(Revision)


def learn(model: Any) -> None:
    """Let the fast road take the unknown keys of a model, which the careful road has read."""
    with _making:
        if _learn(model):
            clear_decoders()


def clear_decoders() -> None:
    """Make the roads anew at next use."""
    for made in (_struct, _builder, fast_path, list_fast_path):
        made.cache_clear()


def _learn(value: Any) -> bool:
    """Learn the unknown keys of a model and its parts; tell whether there was a new one."""
    cls = value.__class__
    if cls is tuple:
        return any([_learn(item) for item in value])  # noqa: C419  (all of them, not up to the first)
    if not is_model(cls):
        return False
    known = _learned.get(cls, ())
    new = [key for key in value.extra if key not in known and re.fullmatch(_PLAIN_KEY, key)]
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
    """Make the function that turns a struct into its model.

    Making the objects is most of all decoding, and two things in it were most of that. A frozen class fills
    each field through `object.__setattr__`, four times as slow as an assignment: so what is filled is an
    instance of a class derived from it, which may be assigned to, and becomes the frozen model at the end.
    And a call for each value that may have to be mended: so the function is written out for each model, one
    line for each field, as attrs writes out an `__init__`. What it looks like, for a model of two fields:

        model = derived()
        part = struct.created_at; model.created_at = part if part.tzinfo is UTC else utc(part)
        part = struct.gpu; model.gpu = None if part is None else build_gpu(part)
        model.extra = {}
        model.__class__ = cls
        return model
    """
    names: dict[str, Any] = {"derived": _derived(cls), "cls": cls, "UTC": UTC, "utc": utc, "UNSET": UNSET}
    lines = ["model = derived()"]
    for field in fields_of(cls):
        names[f"build_{field.name}"] = _part_builder(field.type)
        lines.append(f"part = struct.{field.name}; model.{field.name} = {_mended(field)}")
    lines.append("extra = model.extra = {}")
    for number, key in enumerate(_learned.get(cls, ())):
        names[f"key_{number}"] = key
        lines.append(f"if struct.extra_{number} is not UNSET: extra[key_{number}] = struct.extra_{number}")
    lines += ["model.__class__ = cls", "return model"]
    source = "def build(struct):\n" + "".join(f"    {line}\n" for line in lines)
    # Only names of our own are in it: those of the models' fields. The keys of answers are values.
    exec(compile(source, f"<builder of {cls.__name__}>", "exec"), names)  # noqa: S102
    return cast(Callable[[Any], Any], names["build"])


def _derived(cls: Any) -> Any:
    """Derive the class whose instances take plain assignments, and can become instances of *cls*."""
    body = {
        "__slots__": (),
        "__init__": object.__init__,
        "__setattr__": object.__setattr__,
        "__delattr__": object.__delattr__,  # both, or neither is the fast one of `object`
    }
    return type(cls.__name__, (cls,), body)


def _part_builder(kind: Any) -> Callable[[Any], Any] | None:
    """Return the builder of a field that holds a model, or an array of them."""
    item = _item(kind)
    return _builder(item) if attrs.has(item) else None


def _item(kind: Any) -> Any:
    """Return what is in an array; what is none is returned as it is."""
    return without_none(get_args(kind)[0]) if get_origin(kind) is tuple else kind


def _mended(field: Field) -> str:
    """Write the expression that turns *part*, a field's wire value, into the model's."""
    build = f"build_{field.name}"
    if field.coerce:
        mended = "part if part.__class__ is str else str(part)"
    elif field.type is datetime:
        mended = "part if part.tzinfo is UTC else utc(part)"
    elif attrs.has(field.type):
        mended = f"{build}(part)"
    elif attrs.has(_item(field.type)):
        mended = f"tuple([None if item is None else {build}(item) for item in part])"
    else:
        return "part"
    return mended if field.required else f"None if part is None else {mended}"
