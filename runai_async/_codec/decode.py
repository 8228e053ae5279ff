"""From responses to models: single ones, lists, pages, counts."""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar, cast

import msgspec
from attrs import frozen

from runai_async._codec.converter import converter, structure
from runai_async._codec.fast import FALLBACK_ERRORS, fast_path, learn, list_fast_path, page_decoder
from runai_async._codec.fields import AwareTime, is_model, utc
from runai_async.errors import DecodeError
from runai_async.models import Revision

T = TypeVar("T")


def prepare() -> None:
    """Make the decoders of revisions now: the first use would, for milliseconds in the middle of a call."""
    converter()
    fast_path(Revision)
    list_fast_path(Revision, "revisions")


def parse(data: bytes | str) -> Any:
    """Parse JSON into Python's own types."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise DecodeError(f"the body is not JSON: {_start(data)}", is_json=False) from error


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
    return cast(T, _decode(data, type))


def _decode(data: Any, cls: Any) -> Any:
    """Decode a model on the fast path, or else with the converter, which decides and explains."""
    decode, build = fast_path(cls)
    try:
        return build(decode(data))
    except FALLBACK_ERRORS:
        model = structure(parse(data), cls)
    learn(model)
    return model


# --- lists ------------------------------------------------------------------------------------------------


def decode_revision(raw: bytes) -> Revision:
    """Decode one revision. Raises `DecodeError`."""
    return cast(Revision, _decode(raw, Revision))


def decode_revisions(body: bytes) -> list[Revision]:
    """Decode a list of revisions.

    Raises:
        DecodeError: as for `split_revisions`; or a revision cannot be decoded. The error is that of the first
            one, and its `.partial` has the others that can be decoded.
    """
    revisions, errors, _ = _decode_items(body, "revisions", Revision)
    if errors:
        errors[0].partial = tuple(revisions)
        raise errors[0]
    return revisions


def decode_page(body: bytes, key: str, kind: type[T]) -> tuple[list[T], int | None]:
    """Decode one page of a list: its items, and the offset of the next page, if any.

    Raises:
        DecodeError: *body* is not JSON, or not an object with an array of *kind* under *key*.
    """
    items, errors, following = _decode_items(body, key, kind)
    if errors:
        raise errors[0]
    offset = parse(bytes(following))
    return items, offset if type(offset) is int else None


def split_revisions(body: bytes) -> list[bytes]:
    """Cut a list of revisions into the bytes of each, decoding none.

    Raises:
        DecodeError: *body* is not JSON, or not an object with an array `revisions`.
    """
    return [bytes(raw) for raw in _split(body, "revisions").items]


def _decode_items(body: bytes, key: str, cls: Any) -> tuple[list[Any], list[DecodeError], msgspec.Raw]:
    """Return the items under *key*, the errors of those that cannot be decoded, and what `next` is."""
    decode, build = list_fast_path(cls, key)
    try:
        page = decode(body)
        return [build(item) for item in page.items], [], page.next
    except FALLBACK_ERRORS:
        page = _split(body, key)  # one by one, so that a broken item does not lose the others
    items: list[Any] = []
    errors: list[DecodeError] = []
    for index, raw in enumerate(page.items):
        try:
            items.append(_decode(bytes(raw), cls))
        except DecodeError as error:
            errors.append(_inside(error, f"$.{key}[{index}]"))
    return items, errors, page.next


def _split(body: bytes, key: str) -> Any:
    return _envelope(_raw_page(key), body, key, "an array")


@functools.cache
def _raw_page(key: str) -> Callable[[bytes], Any]:
    return page_decoder(msgspec.Raw, key)


def _inside(error: DecodeError, path: str) -> DecodeError:
    """Return the error of an item as the error of the whole body."""
    problem = str(error).removeprefix(f"{error.path}: ")
    path += error.path[1:]
    outer = DecodeError(f"{path}: {problem}", path=path, is_json=error.is_json)
    outer.__cause__ = error
    return outer


# --- single values of a body ------------------------------------------------------------------------------


class _Count(msgspec.Struct):
    count: int


class _Identity(msgspec.Struct):
    id: str | int


class _Deletion(msgspec.Struct, rename="camel"):
    deleted_at: AwareTime | None = None


_decode_count = msgspec.json.Decoder(_Count).decode


class _Outline(msgspec.Struct, rename="camel", gc=False):
    id: str | int
    name: str
    created_at: AwareTime


_decode_outline = msgspec.json.Decoder(_Outline).decode
_decode_deletion = msgspec.json.Decoder(_Deletion).decode
_decode_identity = msgspec.json.Decoder(_Identity).decode


def _envelope(decode: Callable[[bytes], T], body: bytes, key: str, shape: str) -> T:
    """Decode the outermost object of a body; the error distinguishes not JSON from JSON of another shape."""
    try:
        return decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        path = f"$.{key}" if isinstance(parse(body), dict) else "$"
        raise DecodeError(f"{path}: expected an object with {key} ({shape})", path=path) from error


def decode_count(body: bytes) -> int:
    """Decode a count. Raises `DecodeError`."""
    return _envelope(_decode_count, body, "count", "an integer").count


def identity(raw: bytes) -> str | None:
    """Return the id of a revision that cannot be decoded, or None where not even that can be read."""
    try:
        return str(_decode_identity(raw).id)
    except FALLBACK_ERRORS:
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
    """Return when a revision was deleted, even of a broken one; None where that cannot be read."""
    try:
        at = _decode_deletion(raw).deleted_at
        return None if at is None else utc(at)
    except FALLBACK_ERRORS:
        return None


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
