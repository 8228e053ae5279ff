"""The fast path: msgspec parses into structs derived from the models, and those become the models."""

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

from runai_async._codec.fields import (
    AwareTime,
    Field,
    fields_of,
    is_mapping,
    is_model,
    shallow,
    utc,
    without_none,
)
from runai_async._text import canonical_id

FALLBACK_ERRORS = (msgspec.DecodeError, ValueError, OverflowError, RecursionError)
"""What the fast path raises where the converter has to decide."""

_learned: dict[Any, tuple[str, ...]] = {}
"""Keys that the schema does not name but responses have, by model: the converter found them in `extra`."""
LEARNED_MAX = 32
"""Keys learned of one model. Objects with ever new keys stay with the converter."""
_PLAIN_KEY = r"[A-Za-z_][A-Za-z0-9_.-]{0,63}"
"""Not every string can be a key of a struct."""
_making = threading.Lock()
"""Held while a decoder is made or a key is learned: event loops in several threads share the decoders."""


@functools.cache
def fast_path(cls: Any) -> tuple[Callable[[bytes], Any], Callable[[Any], Any]]:
    """Return the two steps from bytes to a model. They are made on first use, which takes milliseconds."""
    with _making:
        return msgspec.json.Decoder(_struct(cls)).decode, _builder(cls)


@functools.cache
def list_fast_path(cls: Any, key: str) -> tuple[Callable[[bytes], Any], Callable[[Any], Any]]:
    """Return the two steps for a list of models under *key*: `page_decoder`'s, and one for each item."""
    with _making:
        return page_decoder(_struct(cls), key), _builder(cls)


def page_decoder(item: Any, key: str) -> Callable[[bytes], Any]:
    """Make the decoder of an object with an array under *key*: `.items`, and what `.next` is, not decoded."""
    fields: list[Any] = [("items", list[item] | None), ("next", msgspec.Raw, msgspec.Raw(b"null"))]
    return msgspec.json.Decoder(msgspec.defstruct("Page", fields, rename={"items": key})).decode


def learn(model: Any) -> None:
    """Let the fast path accept the unknown keys of a model that the converter has made."""
    with _making:
        if _learn(model):
            clear_decoders()


def clear_decoders() -> None:
    """Forget the decoders; the next use makes new ones."""
    for made in (_struct, _builder, fast_path, list_fast_path):
        made.cache_clear()


def _learn(value: Any) -> bool:
    """Learn the unknown keys of a model and its parts; return whether any was new."""
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
    """Derive the struct that stands for a model: its fields in their order, then the keys learned of it."""
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
    """Return the type that msgspec is to expect where a model has *kind*."""
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

    Most of decoding is making objects, and two things make that slow. A frozen class sets each field with
    `object.__setattr__`, four times as slow as an assignment: so the function fills an instance of a derived
    class, which allows assignments, and then gives it the class of the model. And there would be a call for
    each value that may need a conversion: so the function is generated for each model, one line a field, as
    attrs generates an `__init__`. For a model of two fields it looks like this:

        model = derived()
        part = struct.created_at; model.created_at = part if part.tzinfo is UTC else utc(part)
        part = struct.gpu; model.gpu = None if part is None else build_gpu(part)
        extra = model.extra = {}
        model.__class__ = cls
        return model
    """
    names: dict[str, Any] = {"derived": _derived(cls), "cls": cls, "UTC": UTC, "UNSET": UNSET}
    names |= {"utc": utc, "canonical_id": canonical_id, "shallow": shallow}
    lines = ["model = derived()"]
    for field in fields_of(cls):
        if attrs.has(_item(field.type)):
            names[f"build_{field.name}"] = _builder(_item(field.type))
        lines.append(f"part = struct.{field.name}; model.{field.name} = {_conversion(field)}")
    lines.append("extra = model.extra = {}")
    for number, key in enumerate(_learned.get(cls, ())):
        names[f"key_{number}"] = key
        lines.append(f"part = struct.extra_{number}")
        lines.append(f"if part is not UNSET: extra[key_{number}] = shallow(part)")
    lines += ["model.__class__ = cls", "return model"]
    source = "def build(struct):\n" + "".join(f"    {line}\n" for line in lines)
    # The source holds only names of our own, those of the models' fields; a response's keys are values.
    exec(compile(source, f"<builder of {cls.__name__}>", "exec"), names)  # noqa: S102
    return cast(Callable[[Any], Any], names["build"])


def _derived(cls: Any) -> Any:
    """Derive the class whose instances allow assignments and can become instances of *cls*."""
    body = {
        "__slots__": (),
        "__init__": object.__init__,
        "__setattr__": object.__setattr__,
        "__delattr__": object.__delattr__,  # both, or neither is the fast one of `object`
    }
    return type(cls.__name__, (cls,), body)


def _item(kind: Any) -> Any:
    """Return the type of an array's items; any other type is returned as it is."""
    return without_none(get_args(kind)[0]) if get_origin(kind) is tuple else kind


def _conversion(field: Field) -> str:
    """Write the expression that turns *part*, a field of the struct, into the model's value."""
    build = f"build_{field.name}"
    missing = "part is None"
    if field.coerce == "id":
        # What is 36 characters long and in lower case is canonical, or not a UUID at all, as what is short.
        is_canonical = (
            "part.__class__ is str and ((size := len(part)) < 32 or size == 36 and part == part.lower())"
        )
        converted = f"part if {is_canonical} else canonical_id(str(part))"
    elif field.coerce:
        converted = "part if part.__class__ is str else str(part)"
    elif field.type is datetime:
        converted = "part if part.tzinfo is UTC else utc(part)"
        missing = "part is None or part.year == 1"  # Go's zero time
    elif is_mapping(field.type) and get_args(field.type)[1] is Any:
        converted = "shallow(part)"
    elif attrs.has(field.type):
        converted = f"{build}(part)"
    elif attrs.has(_item(field.type)):
        converted = f"tuple([None if item is None else {build}(item) for item in part])"
    else:
        return "part"
    return converted if field.required else f"None if {missing} else {converted}"
