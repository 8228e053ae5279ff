"""JSON bytes <-> models and events: the one converter, and the only door to cattrs and msgspec.

Two roads lead from bytes to a model, and a test holds them to the same results:

- The **careful road** is cattrs with hooks of our own: it checks every type (as it comes, cattrs would read
  `"false"` as True and 1.9 as 1), keeps unknown keys in `extra`, and names the place of a mismatch.
- The **fast road** lets msgspec check types in C, into structs derived from the same attrs classes, which are
  then turned into the models by position; several times faster. It refuses what it does not know: an
  unknown key, a type it does not expect. Then the careful road decides, and explains.
"""

from __future__ import annotations

import functools
import math
import re
import types
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar, Union, cast, get_args, get_origin

import attrs
import msgspec
from cattrs import Converter
from cattrs.preconf.msgspec import make_converter
from msgspec import UNSET

from runai_async.diff import FieldChange
from runai_async.errors import DecodeError
from runai_async.events import FleetEvent, RevisionAdded, RevisionDeleted, RevisionEvent, RevisionUpdated
from runai_async.models import SECRET_FIELDS, Phase, Revision

T = TypeVar("T")
_PHASES: Mapping[str, Phase] = {phase.value: phase for phase in Phase}


class _Mismatch(Exception):  # noqa: N818  (never leaves this module)
    """A value that is not in the promised shape, and the keys and indexes that lead to it."""

    def __init__(self, problem: str, *keys: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.keys = list(keys)

    def below(self, key: str) -> _Mismatch:
        self.keys.insert(0, key)
        return self

    @property
    def path(self) -> str:
        return "$" + "".join(self.keys)


def _camel(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(part[:1].upper() + part[1:] for part in tail)


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
            raise _Mismatch(f"expected {name}, got {_json_type(value)}")
        return value

    return structure


def _float(value: Any, _: Any) -> float:
    if type(value) is not float and type(value) is not int:
        raise _Mismatch(f"expected a number, got {_json_type(value)}")
    try:
        return float(value)
    except OverflowError as error:
        raise _Mismatch("the number is out of range") from error


def _utc(value: datetime) -> datetime:
    return value if value.tzinfo is UTC else value.astimezone(UTC)


def _datetime(value: Any, _: Any) -> datetime:
    if type(value) is not str:
        raise _Mismatch(f"expected a time as a string, got {_json_type(value)}")
    try:
        return _utc(msgspec.convert(value, _AwareTime))
    except (msgspec.ValidationError, OverflowError) as error:
        raise _Mismatch("expected an RFC 3339 time with a time zone") from error


def _phase(value: Any) -> Phase:
    return _PHASES.get(value) or Phase(value)


def _structure_phase(value: Any, _: Any) -> Phase:
    if type(value) is not str:
        raise _Mismatch(f"expected a string, got {_json_type(value)}")
    return _phase(value)


def _id(value: Any) -> str:
    if type(value) is not str and type(value) is not int:
        raise _Mismatch(f"expected a string, got {_json_type(value)}")
    return str(value)


def _quantity(value: Any) -> str:
    if type(value) is float and math.isfinite(value):
        return str(value)
    return _id(value)


_AwareTime = Annotated[datetime, msgspec.Meta(tz=True)]
_COERCIONS: Mapping[str, Callable[[Any], str]] = {"id": _id, "quantity": _quantity}


# --- the careful road: cattrs -----------------------------------------------------------------------------


@attrs.frozen
class _Field:
    """One field of a model as the codec sees it."""

    name: str
    key: str
    type: Any
    required: bool
    coerce: str | None


@functools.cache
def _fields(cls: Any) -> tuple[_Field, ...]:
    """Return the fields of a model but `extra`, which is always the last."""
    attrs.resolve_types(cls)
    return tuple(
        _Field(
            name=field.name,
            key=_camel(field.name),
            type=_without_none(field.type),
            required=field.default is attrs.NOTHING,
            coerce=field.metadata.get("coerce"),
        )
        for field in attrs.fields(cls)
        if field.name != "extra"
    )


def _without_none(kind: Any) -> Any:
    """Reduce `X | None` to `X`."""
    if get_origin(kind) not in {Union, types.UnionType}:
        return kind
    (inner,) = (arg for arg in get_args(kind) if arg is not types.NoneType)
    return inner


def _class_hook(cls: Any, converter: Converter) -> Callable[[Any, Any], Any]:
    """Make the hook that structures an object into *cls*."""

    def converted(field: _Field) -> Callable[[Any], Any]:
        if field.coerce:
            return _COERCIONS[field.coerce]
        hook = converter.get_structure_hook(field.type)
        return lambda value: hook(value, field.type)

    plan = [(field.key, converted(field), field.required) for field in _fields(cls)]

    def structure(value: Any, _: Any) -> Any:
        if type(value) is not dict:
            raise _Mismatch(f"expected an object, got {_json_type(value)}")
        rest: dict[str, Any] = value.copy()  # pyright: ignore[reportUnknownVariableType,reportUnknownMemberType]
        parts: list[Any] = []
        for key, convert, required in plan:
            part = rest.pop(key, None)
            if part is not None:
                try:
                    part = convert(part)
                except _Mismatch as mismatch:
                    raise mismatch.below("." + key) from mismatch.__cause__
            elif required:
                raise _Mismatch(
                    "null, but it is required" if key in value else "missing, but it is required", "." + key
                )
            parts.append(part)
        return cls(*parts, rest)

    return structure


def _array_hook(kind: Any, converter: Converter) -> Callable[[Any, Any], Any]:
    """Make the hook for `list[X]`, `tuple[X, ...]` and `tuple[X | None, ...]`."""
    item_type = get_args(kind)[0]
    inner = _without_none(item_type)
    hook, nullable, make = converter.get_structure_hook(inner), inner is not item_type, get_origin(kind)

    def structure(value: Any, _: Any) -> Any:
        if type(value) is not list:
            raise _Mismatch(f"expected an array, got {_json_type(value)}")
        items: list[Any] = []
        for index, item in enumerate(value):  # pyright: ignore[reportUnknownVariableType,reportUnknownArgumentType]
            try:
                items.append(None if nullable and item is None else hook(item, inner))
            except _Mismatch as mismatch:
                raise mismatch.below(f"[{index}]") from mismatch.__cause__
        return make(items)

    return structure


def _mapping_hook(kind: Any) -> Callable[[Any, Any], Any]:
    """Make the hook for `Mapping[str, str]` and `Mapping[str, Any]`."""
    texts = get_args(kind)[1] is str

    def structure(value: Any, _: Any) -> Any:
        if type(value) is not dict:
            raise _Mismatch(f"expected an object, got {_json_type(value)}")
        items: dict[str, Any] = value  # pyright: ignore[reportUnknownVariableType]
        for key, item in items.items() if texts else ():
            if type(item) is not str:
                raise _Mismatch(f"expected a string, got {_json_type(item)}", f".{key}")
        return items

    return structure


def _unstructure(value: Any) -> dict[str, Any]:
    """Turn a model into the API's own keys: None left out, what the schema does not name as it came."""
    parts = {field.key: getattr(value, field.name) for field in _fields(value.__class__)}
    known = {key: _CONVERTER.unstructure(part) for key, part in parts.items() if part is not None}
    return {**{key: part for key, part in value.extra.items() if key not in parts}, **known}


def _unstructure_datetime(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError(f"{value!r} has no time zone; the API's times are aware")
    return _utc(value)


def _make_converter() -> Converter:
    converter = make_converter()
    for kind, name in ((str, "a string"), (int, "an integer"), (bool, "a boolean")):
        converter.register_structure_hook(kind, _exactly(kind, name))
    converter.register_structure_hook(float, _float)
    converter.register_structure_hook(datetime, _datetime)
    converter.register_structure_hook(Phase, _structure_phase)
    factories: list[tuple[Callable[[Any], bool], Callable[[Any], Any]]] = [
        (_is_array, lambda kind: _array_hook(kind, converter)),
        (_is_mapping, _mapping_hook),
        (attrs.has, lambda kind: _class_hook(kind, converter)),
    ]
    for fits, make_hook in factories:
        converter.register_structure_hook_factory(fits, make_hook)
    converter.register_unstructure_hook(datetime, _unstructure_datetime)
    converter.register_unstructure_hook_func(_is_model, _unstructure)
    return converter


def _is_array(kind: Any) -> bool:
    origin = get_origin(kind)
    return origin is list or origin is tuple


def _is_mapping(kind: Any) -> bool:
    origin = get_origin(kind)
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _is_model(kind: Any) -> bool:
    return attrs.has(kind) and "extra" in attrs.fields_dict(kind)


_CONVERTER = _make_converter()


# --- the fast road: msgspec -------------------------------------------------------------------------------

_learned: dict[Any, tuple[str, ...]] = {}
"""Keys that the schema does not name, but answers have: the careful road found them in `extra`."""
_LEARNED_MAX = 32
"""For each model. What has ever new keys stays on the careful road."""
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")
"""Not every text can be a key of a struct."""


def _learn(value: Any) -> bool:
    """Let the fast road take the unknown keys of a model and its parts; tell whether there was a new one."""
    cls = value.__class__
    if cls is tuple:
        return any([_learn(item) for item in value])  # noqa: C419  (all of them, not up to the first)
    if not _is_model(cls):
        return False
    known = _learned.get(cls, ())
    new = [key for key in value.extra if key not in known and _PLAIN_KEY.fullmatch(key)]
    if len(known) + len(new) > _LEARNED_MAX:
        new = []
    if new:
        _learned[cls] = (*known, *new)
    below = [_learn(getattr(value, field.name)) for field in _fields(cls)]
    return bool(new) or any(below)


@functools.cache
def _struct(cls: Any) -> type[msgspec.Struct]:
    """Derive the struct that stands for a model on the fast road: same fields, same order."""
    fields: list[Any] = [
        (field.name, _struct_type(field))
        if field.required
        else (field.name, _struct_type(field) | None, None)
        for field in _fields(cls)
    ]
    rename = {field.name: field.key for field in _fields(cls)}
    for number, key in enumerate(_learned.get(cls, ())):
        fields.append((f"extra_{number}", Any, UNSET))
        rename[f"extra_{number}"] = key
    return msgspec.defstruct(cls.__name__, fields, rename=rename, forbid_unknown_fields=True, gc=False)


def _struct_type(field: _Field) -> Any:
    if field.coerce:
        return str | int if field.coerce == "id" else str | int | float
    return _wire_type(field.type)


def _wire_type(kind: Any) -> Any:
    """Return what msgspec shall expect where a model has *kind*."""
    if kind is Phase:
        return str
    if kind is datetime:
        return _AwareTime
    if attrs.has(kind):
        return _struct(kind)
    if get_origin(kind) is tuple:
        item = get_args(kind)[0]
        inner = _wire_type(_without_none(item))
        return tuple[inner if _without_none(item) is item else inner | None, ...]  # type: ignore[misc]
    if _is_mapping(kind):
        return dict[get_args(kind)]  # type: ignore[misc]
    return kind


@functools.cache
def _builder(cls: Any) -> Callable[[Any], Any]:
    """Make the function that turns a struct into its model: by position, mending only what needs it."""
    mends = [(index, mend) for index, field in enumerate(_fields(cls)) if (mend := _mend(field))]
    astuple, thawed = msgspec.structs.astuple, _thawed(cls)
    keys, known = _learned.get(cls, ()), len(_fields(cls))

    def build(struct: Any) -> Any:
        parts = [*astuple(struct)]
        for index, mend in mends:
            part = parts[index]
            if part is not None:
                parts[index] = mend(part)
        if keys:
            extra = {key: part for key, part in zip(keys, parts[known:], strict=True) if part is not UNSET}
            model = thawed(*parts[:known], extra)
        else:
            model = thawed(*parts, {})
        model.__class__ = cls
        return model

    return build


@functools.cache
def _thawed(cls: Any) -> Any:
    """Derive the class whose instances are filled by plain assignment, and then become the frozen model.

    A frozen class fills each field through `object.__setattr__`, which is four times as slow, and was two
    thirds of all decoding.
    """
    assigning: Any = attrs.make_class(cls.__name__, [field.name for field in attrs.fields(cls)])
    body = {
        "__slots__": (),
        "__init__": assigning.__init__,
        "__setattr__": object.__setattr__,
        "__delattr__": object.__delattr__,  # both, or neither is the fast one of `object`
    }
    return type(cls.__name__, (cls,), body)


def _mend(field: _Field) -> Callable[[Any], Any] | None:
    """Return what turns a field's wire value into the model's, or None where they are the same."""
    if field.coerce:
        return str  # of a str, the same object
    if field.type is Phase:
        return _phase
    if field.type is datetime:
        return _utc
    if attrs.has(field.type):
        return _builder(field.type)
    if get_origin(field.type) is tuple and attrs.has(item := _without_none(get_args(field.type)[0])):
        build = _builder(item)
        return lambda parts: tuple([None if part is None else build(part) for part in parts])
    return None


@functools.cache
def _fast(cls: Any) -> tuple[Callable[[bytes], Any], Callable[[Any], Any]]:
    """Return the two steps of the fast road for a model; made at first use, as they take milliseconds."""
    return msgspec.json.Decoder(_struct(cls)).decode, _builder(cls)


@functools.cache
def _fast_list() -> tuple[Callable[[bytes], Any], Callable[[Any], Revision]]:
    """Return the same two steps for a list answer, the second of them for each of its items."""
    envelope = msgspec.defstruct("List", [("revisions", list[_struct(Revision)])])  # type: ignore[misc]
    return msgspec.json.Decoder(envelope).decode, _builder(Revision)


# --- decoding ---------------------------------------------------------------------------------------------


def _parse(data: bytes | str) -> Any:
    """Parse JSON into Python's own types."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise DecodeError(f"the body is no JSON: {_start(data)}", is_json=False) from error


def _start(data: bytes | str) -> str:
    """Describe a body that could not be read, without telling what may be secret in it."""
    if not data:
        return "it is empty"
    first = data[:1] if isinstance(data, str) else data[:1].decode("ascii", "replace")
    return f"{len(data)} bytes that start with {first!r}"


def _structure(value: Any, kind: Any) -> Any:
    try:
        return _CONVERTER.structure(value, kind)
    except _Mismatch as mismatch:
        raise DecodeError(f"{mismatch.path}: {mismatch.problem}", path=mismatch.path) from mismatch


def from_json(data: bytes | str, type: type[T]) -> T:  # noqa: A002  (the field's usual word)
    """Decode the API's JSON into a model, or into a `list[...]` of models.

    Raises:
        DecodeError: no JSON, or not in the shape of *type*; `.path` tells where.

    Example:
        >>> from_json('{"limit": 2}', ResourceCores)
        ResourceCores(limit=2.0, request=None)
    """
    if not _is_model(type):
        return cast(T, _structure(_parse(data), type))
    return cast(T, _decode(data, type))


def _decode(data: Any, cls: Any) -> Any:
    """Decode a model on the fast road, or else on the careful one, which decides and explains."""
    decode, build = _fast(cls)
    try:
        return build(decode(data))
    except (msgspec.DecodeError, ValueError, OverflowError, RecursionError):
        model = _structure(_parse(data), cls)
    if _learn(model):
        _forget_roads()
    return model


def _forget_roads() -> None:
    """Make the fast roads anew at next use."""
    for made in (_struct, _builder, _fast, _fast_list):
        made.cache_clear()


class _Envelope(msgspec.Struct):
    revisions: list[msgspec.Raw]


class _Count(msgspec.Struct):
    count: int


class _Identity(msgspec.Struct):
    id: str | int


_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_decode_count = msgspec.json.Decoder(_Count).decode
_decode_identity = msgspec.json.Decoder(_Identity).decode


def _envelope(decode: Callable[[bytes], T], body: bytes, promise: str) -> T:
    """Decode the outermost object of an answer, telling no JSON from JSON of another shape."""
    try:
        return decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        value = _parse(body)
        key = promise.partition(" ")[0]
        path = f"$.{key}" if isinstance(value, dict) else "$"
        raise DecodeError(f"{path}: expected an object with {promise}", path=path) from error


def split_revisions(body: bytes) -> list[bytes]:
    """Cut a list answer into the bytes of its revisions, decoding none.

    Raises:
        DecodeError: no JSON, or not an object with an array `revisions`.
    """
    return [bytes(raw) for raw in _envelope(_decode_envelope, body, "revisions (an array)").revisions]


def decode_revision(raw: bytes) -> Revision:
    """Decode one revision. Raises `DecodeError`."""
    return cast(Revision, _decode(raw, Revision))


def decode_revisions(body: bytes) -> list[Revision]:
    """Decode a list answer.

    Raises:
        DecodeError: as for `split_revisions`; or a revision is broken: the path of the first such is told,
            and the good ones are in `.partial`.
    """
    decode, build = _fast_list()
    try:
        return [build(struct) for struct in decode(body).revisions]
    except (msgspec.DecodeError, ValueError, OverflowError, RecursionError):
        pass  # one by one, so that a broken revision does not lose the others
    good: list[Revision] = []
    broken: list[DecodeError] = []
    for index, raw in enumerate(split_revisions(body)):
        try:
            good.append(decode_revision(raw))
        except DecodeError as error:
            broken.append(_below(error, f"$.revisions[{index}]"))
    if broken:
        broken[0].partial = tuple(good)
        raise broken[0]
    return good


def _below(error: DecodeError, place: str) -> DecodeError:
    """Return the error as it reads in the answer as a whole."""
    path = place + error.path[1:]
    moved = DecodeError(
        f"{path}: {str(error).removeprefix(f'{error.path}: ')}", path=path, is_json=error.is_json
    )
    moved.__cause__ = error
    return moved


def decode_count(body: bytes) -> int:
    """Decode a count answer. Raises `DecodeError`."""
    return _envelope(_decode_count, body, "count (an integer)").count


def identity(raw: bytes) -> str | None:
    """Return the id of a revision that cannot be decoded, or None where not even that can be read."""
    try:
        return str(_decode_identity(raw).id)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None


def decode_page(body: bytes, key: str, kind: type[T]) -> tuple[list[T], int | None]:
    """Decode one page of a paged answer: its items, and the offset of the next page if there is one.

    Raises:
        DecodeError: no JSON, or not an object with an array of *kind* under *key*.
    """
    value = _parse(body)
    if not isinstance(value, dict) or not isinstance(value.get(key), list):  # pyright: ignore[reportUnknownMemberType]
        raise DecodeError(f"$.{key}: expected an object with {key} (an array)", path=f"$.{key}")
    page: dict[str, Any] = value  # pyright: ignore[reportUnknownVariableType]
    try:
        items = _CONVERTER.structure(page[key], list[kind])  # type: ignore[valid-type]
    except _Mismatch as mismatch:
        path = mismatch.below(f".{key}").path
        raise DecodeError(f"{path}: {mismatch.problem}", path=path) from mismatch
    after = page.get("next")
    return items, after if type(after) is int else None


def decode_object(body: bytes) -> dict[str, Any] | None:
    """Return a JSON object as a `dict`, or None where the body is anything else."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def is_json(body: bytes) -> bool:
    """Tell whether a body is JSON at all."""
    try:
        _parse(body)
    except DecodeError:
        return False
    return True


# --- encoding ---------------------------------------------------------------------------------------------


def encode(value: Any) -> bytes:
    """Encode Python's own types as JSON."""
    return msgspec.json.encode(value)


def to_json(value: Any, *, include_secrets: bool | None = None) -> bytes:
    """Encode a model or an event as JSON in the API's own camelCase.

    The normal form: ids are strings, times UTC with `Z` and at most microseconds, what is None is left out,
    nulls inside arrays and everything in `extra` stay as they came.

    Args:
        value: a model, a sequence of models, or an event.
        include_secrets: whether environment, command and arguments are in it. Left None, a model is
            complete and an event is without them.

    Raises:
        TypeError: it cannot be encoded.

    Example:
        >>> to_json(ResourceCores(limit=2))
        b'{"limit":2}'
    """
    if attrs.has(value.__class__) and hasattr(value, "kind"):
        return encode(event_to_dict(value, include_secrets=bool(include_secrets)))
    plain: Any = _CONVERTER.unstructure(value)
    if include_secrets is not False:
        return encode(plain)
    items: list[dict[str, Any]] = plain if isinstance(value, Sequence) else [plain]
    safe = [_without_secrets(item) for item in items]
    return encode(safe if items is plain else safe[0])


def _without_secrets(revision: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in revision.items() if key not in _SECRET_KEYS}


_SECRET_KEYS = frozenset(_camel(name) for name in SECRET_FIELDS)


def event_to_dict(event: FleetEvent, *, include_secrets: bool = False) -> dict[str, Any]:
    """Turn an event into JSON's types."""
    head: dict[str, Any] = {
        "event": event.kind,
        "workloadId": event.workload_id,
        "observedAt": _utc(event.observed_at),
    }
    if isinstance(event, RevisionEvent):
        return {**head, **_revision_part(event, include_secrets=include_secrets)}
    error = getattr(event, "error", None)
    if error is not None:
        head |= {"error": type(error).__name__, "message": str(error)}
    if (seconds := getattr(event, "seconds", None)) is not None:
        head["seconds"] = seconds
    return head


def _revision_part(event: RevisionEvent, *, include_secrets: bool) -> dict[str, Any]:
    revision = _CONVERTER.unstructure(event.revision)
    part: dict[str, Any] = {
        "id": event.id,
        "revisionId": event.revision_id,
        "serverTime": event.server_time and _utc(event.server_time),
        "revision": revision if include_secrets else _without_secrets(revision),
    }
    if isinstance(event, RevisionAdded):
        part["initial"] = event.initial
    elif isinstance(event, RevisionUpdated):
        part["changes"] = [_change(change) for change in event.changes]
    elif not isinstance(event, RevisionDeleted):
        part |= {"previousPhase": event.previous_phase, "coalesced": event.coalesced}
    return {key: value for key, value in part.items() if value is not None}


def _change(change: FieldChange) -> dict[str, Any]:
    return {
        "path": change.path,
        "old": _CONVERTER.unstructure(change.old),
        "new": _CONVERTER.unstructure(change.new),
    }


def to_cloudevent(event: RevisionEvent, *, include_secrets: bool = False) -> dict[str, Any]:
    """Wrap an event about a revision as a CloudEvents 1.0 event in JSON's types (structured mode).

    https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md

    Args:
        event: what a watch yielded.
        include_secrets: whether environment, command and arguments are in `data`.

    Raises:
        TypeError: an event that is not about a revision.
    """
    if not isinstance(event, RevisionEvent):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"only events about a revision are CloudEvents, not {type(event).__name__}")
    data = event_to_dict(event, include_secrets=include_secrets)
    return {
        "specversion": "1.0",
        "id": event.id,
        "source": f"/workloads/{event.workload_id}",
        "type": f"runai_async.revision.{event.kind}",
        "subject": event.revision_id,
        "time": _text(event.server_time or event.observed_at),
        "datacontenttype": "application/json",
        "data": msgspec.to_builtins(data),
    }


def _text(time: datetime) -> str:
    return cast(str, msgspec.to_builtins(_utc(time)))
