"""From responses to models: single ones, counts, any JSON."""

from __future__ import annotations

from typing import Any, TypeVar, cast

import msgspec

from runai_async._codec.converter import converter, structure
from runai_async._codec.cut import without_lone_surrogates
from runai_async._codec.fast import FALLBACK_ERRORS, fast_path, learn, list_fast_path
from runai_async._codec.fields import is_model
from runai_async.errors import DecodeError
from runai_async.models import Revision

T = TypeVar("T")


def prepare() -> None:
    """Make the decoders of revisions now: the first use would, for milliseconds in the middle of a call."""
    converter()
    fast_path(Revision)
    list_fast_path(Revision, "revisions")


def parse(data: bytes | str) -> Any:
    """Parse JSON into Python's own types; half a surrogate pair in a text reads as U+FFFD."""
    try:
        return msgspec.json.decode(data)
    except FALLBACK_ERRORS as error:
        if (repaired := _repaired(data)) is not None:
            return parse(repaired)
        raise DecodeError(f"the body is not JSON: {_start(data)}", is_json=False) from error


def _repaired(data: bytes | str) -> bytes | None:
    """Return JSON without lone surrogates, or None where there are none."""
    text = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    repaired = without_lone_surrogates(text)
    return None if repaired == text else repaired


def _start(data: bytes | str) -> str:
    """Describe a body that cannot be parsed, without quoting what may be secret in it."""
    if not data:
        return "it is empty"
    first = data[:1] if isinstance(data, str) else data[:1].decode("ascii", "replace")
    return f"{len(data)} bytes that start with {first!r}"


def from_json(data: bytes | str, type: type[T]) -> T:  # noqa: A002  (the field's usual word)
    """Decode the API's JSON into a model, or into a `list[...]` of models.

    Raises:
        DecodeError: *data* is not JSON, or does not have the shape of *type*; `.path` says where.

    Example:
        >>> from_json('{"limit": 2}', ResourceCores)
        ResourceCores(limit=2.0, request=None)
    """
    if not is_model(type):
        return cast(T, structure(parse(data), type))
    return cast(T, decode_model(data, type))


def decode_model(data: Any, cls: Any) -> Any:
    """Decode a model on the fast path, or else with the converter, which decides and explains."""
    decode, build = fast_path(cls)
    try:
        return build(decode(data))
    except FALLBACK_ERRORS:
        if (repaired := _repaired(data)) is not None:
            return decode_model(repaired, cls)
        model = structure(parse(data), cls)
    learn(model)
    return model


def decode_revision(raw: bytes) -> Revision:
    """Decode one revision. Raises `DecodeError`."""
    return cast(Revision, decode_model(raw, Revision))


def decode_one_revision(raw: bytes) -> Revision | None:
    """Decode one revision on the fast path only; None where that cannot, or where it is not one revision."""
    decode, build = fast_path(Revision)
    try:
        return cast(Revision, build(decode(raw)))
    except FALLBACK_ERRORS:
        return None


def shape_error(body: bytes, key: str, shape: str) -> DecodeError:
    """Return the error of a body that is JSON of another shape; raise that of one that is not JSON."""
    path = f"$.{key}" if isinstance(parse(body), dict) else "$"
    return DecodeError(f"{path}: expected an object with {key} ({shape})", path=path)


class _Count(msgspec.Struct):
    count: int


_decode_count = msgspec.json.Decoder(_Count).decode


def decode_count(body: bytes) -> int:
    """Decode a count. Raises `DecodeError`."""
    try:
        return _decode_count(body).count
    except FALLBACK_ERRORS as error:
        if (repaired := _repaired(body)) is not None:
            return decode_count(repaired)
        raise shape_error(body, "count", "an integer") from error


def decode_object(body: bytes) -> dict[str, Any] | None:
    """Return a JSON object as a `dict`, or None where the body is anything else."""
    try:
        value = parse(body)
    except DecodeError:
        return None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def is_json(body: bytes) -> bool:
    """Return whether a body is JSON at all."""
    try:
        parse(body)
    except DecodeError:
        return False
    return True
