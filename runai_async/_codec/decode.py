"""From answers to models: whole ones, lists cut into pieces, counts, pages."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar, cast

import msgspec
from attrs import frozen

from runai_async._codec.converter import AwareTime, Mismatch, converter, structure, utc
from runai_async._codec.fast import FALLBACK_ERRORS, fast_path, learn, list_fast_path
from runai_async._codec.fields import is_model
from runai_async.errors import DecodeError
from runai_async.models import Revision

T = TypeVar("T")


def prepare() -> None:
    """Make now what would be made at first use, and take its milliseconds then, in the middle of a call."""
    converter()
    fast_path(Revision)
    list_fast_path()


def parse(data: bytes | str) -> Any:
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


def from_json(data: bytes | str, type: type[T]) -> T:  # noqa: A002  (the field's usual word)
    """Decode the API's JSON into a model, or into a `list[...]` of models.

    Raises:
        DecodeError: no JSON, or not in the shape of *type*; `.path` tells where.

    Example:
        >>> from_json('{"limit": 2}', ResourceCores)
        ResourceCores(limit=2.0, request=None)
    """
    if not is_model(type):
        return cast(T, structure(parse(data), type))
    return cast(T, _decode(data, type))


def _decode(data: Any, cls: Any) -> Any:
    """Decode a model on the fast road, or else on the careful one, which decides and explains."""
    decode, build = fast_path(cls)
    try:
        return build(decode(data))
    except FALLBACK_ERRORS:
        model = structure(parse(data), cls)
    learn(model)
    return model


class _Envelope(msgspec.Struct):
    revisions: list[msgspec.Raw]


class _Count(msgspec.Struct):
    count: int


class _Identity(msgspec.Struct):
    id: str | int


class _Deletion(msgspec.Struct, rename="camel"):
    deleted_at: AwareTime | None = None


_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_decode_count = msgspec.json.Decoder(_Count).decode


class _Outline(msgspec.Struct, rename="camel", gc=False):
    id: str | int
    name: str
    created_at: AwareTime


_decode_outline = msgspec.json.Decoder(_Outline).decode
_decode_deletion = msgspec.json.Decoder(_Deletion).decode
_decode_identity = msgspec.json.Decoder(_Identity).decode


def _envelope(decode: Callable[[bytes], T], body: bytes, promise: str) -> T:
    """Decode the outermost object of an answer, telling no JSON from JSON of another shape."""
    try:
        return decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        value = parse(body)
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
    decode, build = list_fast_path()
    try:
        return [build(struct) for struct in decode(body).revisions]
    except FALLBACK_ERRORS:
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


@frozen
class Outline:
    """What can be read of a revision that cannot be decoded."""

    id: str
    name: str
    created_at: datetime


def outline(raw: bytes) -> Outline | None:
    """Return the id, name and creation time of a revision, or None where they cannot be read."""
    try:
        found = _decode_outline(raw)
    except FALLBACK_ERRORS:
        return None
    return Outline(str(found.id), found.name, utc(found.created_at))


def deletion_time(raw: bytes) -> datetime | None:
    """Return when a revision was deleted, be it a broken one; None where that cannot be read."""
    try:
        at = _decode_deletion(raw).deleted_at
        return None if at is None else utc(at)
    except FALLBACK_ERRORS:
        return None


def decode_page(body: bytes, key: str, kind: type[T]) -> tuple[list[T], int | None]:
    """Decode one page of a paged answer: its items, and the offset of the next page if there is one.

    Raises:
        DecodeError: no JSON, or not an object with an array of *kind* under *key*.
    """
    value = parse(body)
    if not isinstance(value, dict) or not isinstance(value.get(key), list):  # pyright: ignore[reportUnknownMemberType]
        raise DecodeError(f"$.{key}: expected an object with {key} (an array)", path=f"$.{key}")
    page: dict[str, Any] = value  # pyright: ignore[reportUnknownVariableType]
    try:
        items = converter().structure(page[key], list[kind])  # type: ignore[valid-type]
    except Mismatch as mismatch:
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
        parse(body)
    except DecodeError:
        return False
    return True
