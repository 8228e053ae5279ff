"""What can be read of what cannot be decoded, even where it is not JSON."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from runai_async._codec.converter import structure_field
from runai_async._codec.cut import members, without_lone_surrogates
from runai_async._codec.decode import parse
from runai_async._codec.fast import FALLBACK_ERRORS
from runai_async._codec.fields import AwareTime, Field, fields_of, is_zero, utc
from runai_async._text import canonical_id
from runai_async._values import frozen
from runai_async.errors import DecodeError
from runai_async.models import Phase, Workload


class _Identity(msgspec.Struct):
    id: str | int


class _Deletion(msgspec.Struct, rename="camel"):
    deleted_at: AwareTime | None = None


_decode_deletion = msgspec.json.Decoder(_Deletion).decode
_decode_identity = msgspec.json.Decoder(_Identity).decode


def _member(raw: bytes, key: str, kind: Any) -> Any:
    """Return one member of an object that cannot be decoded, or None where that one cannot be read either."""
    try:
        return msgspec.json.decode(without_lone_surrogates(members(raw)[key]), type=kind)
    except (KeyError, *FALLBACK_ERRORS):
        return None


def identity(raw: bytes) -> str | None:
    """Return the id of a revision that cannot be decoded, or None where not even that can be read."""
    try:
        found: str | int | None = _decode_identity(raw).id
    except FALLBACK_ERRORS:
        found = _member(raw, "id", str | int)
    return None if found is None else canonical_id(str(found))


def label(raw: bytes) -> str:
    """Return how to call an item that cannot be decoded: by its id or else its name, if they can be read."""
    row_id, name = identity(raw), _member(raw, "name", str)
    return f"id {row_id}" if row_id else f"name {name}" if name else "neither its id nor its name can be read"


LATEST = datetime.max.replace(tzinfo=UTC)
"""Stands in for the time of what cannot be read, so that it counts as new."""


@frozen
class Outline:
    """What can be read of a revision that cannot be decoded.

    Attributes:
        id: empty where it cannot be read.
        name: likewise.
        created_at: the latest time that there is where it cannot be read, so that it counts as new.
    """

    id: str
    name: str
    created_at: datetime


def outline(raw: bytes) -> Outline:
    """Return what can be read of a revision that cannot be decoded."""
    created_at = _time(_member(raw, "createdAt", AwareTime))
    return Outline(identity(raw) or "", _member(raw, "name", str) or "", created_at or LATEST)


def _time(at: datetime | None) -> datetime | None:
    """Return a time in UTC; None for Go's zero time, which stands for none, and for one out of range."""
    try:
        return None if at is None or is_zero(at) else utc(at)
    except OverflowError:
        return None


def deletion_time(raw: bytes) -> datetime | None:
    """Return when a revision was deleted, even of a broken one; None where that cannot be read."""
    try:
        return _time(_decode_deletion(raw).deleted_at)
    except FALLBACK_ERRORS:
        return _time(_member(raw, "deletedAt", AwareTime | None))


def workload_outline(raw: bytes) -> Workload | None:
    """Return what can be read of a workload that cannot be decoded, or None where its id or type cannot be.

    Required fields that cannot be read are empty, Unknown, and `LATEST`.
    """
    if identity(raw) is None or _member(raw, "type", str) is None:
        return None
    found = members(raw)
    known = {
        field.name: value for field in fields_of(Workload) if (value := _field(found, field)) is not None
    }
    return Workload(**{**_UNREAD, **known})


_UNREAD: dict[str, Any] = {
    "name": "",
    "cluster_id": "",
    "project_id": "",
    "phase": Phase.UNKNOWN,
    "created_at": LATEST,
}


def _field(found: dict[str, bytes], field: Field) -> Any:
    """Return one field of a model from the members of its object, or None where it cannot be read."""
    try:
        value = parse(found[field.key])
        return None if value is None else structure_field(value, field)
    except (KeyError, DecodeError):
        return None
