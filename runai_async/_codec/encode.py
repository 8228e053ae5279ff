"""From models and events to JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, cast

import msgspec

from runai_async._codec.converter import converter
from runai_async._codec.fields import camel, is_model, utc
from runai_async.diff import FieldChange
from runai_async.events import (
    ClusterConnected,
    ClusterDisconnected,
    ClusterEvent,
    FleetEvent,
    PhaseChanged,
    RevisionAdded,
    RevisionDeleted,
    RevisionEvent,
    RevisionStalled,
    RevisionUpdated,
    Synced,
    WatchDegraded,
    WatchRecovered,
    WorkloadFailed,
    happened_at,
)
from runai_async.models import SECRET_FIELDS

_LINE_ENDS = tuple((end.encode(), f"\\u{ord(end):04x}".encode()) for end in "\u0085\u2028\u2029")
"""What Unicode counts as the end of a line beyond the control characters, which JSON escapes anyway."""
_LARGEST = 64_000
"""Bytes of a CloudEvent that everything between producer and consumer has to take."""
_SHORTEST = 100
"""Characters to which a message is cut at most."""
_CHANGE = {"path", "old", "new"}
"""The keys of a changed field."""


def encode(value: Any) -> bytes:
    """Encode Python's own types as JSON in one line, whatever the reader takes for the end of a line."""
    data = msgspec.json.encode(value)
    for character, escaped in _LINE_ENDS:
        data = data.replace(character, escaped)
    return data


def to_json(value: Any, *, include_secrets: bool | None = None) -> bytes:
    """Encode a model or an event as JSON in the API's own camelCase.

    This is the normal form: ids are strings, times are UTC with `Z` and at most microseconds, fields that are
    None are left out, and nulls inside arrays and everything in `extra` stay as they came.

    Args:
        value: a model, an event, or a sequence or mapping of them.
        include_secrets: whether to include environment, command and arguments. By default a model includes
            them and an event does not.

    Raises:
        TypeError: *value* cannot be encoded.
        ValueError: a time in it has no time zone.

    Example:
        >>> to_json(ResourceCores(limit=2))
        b'{"limit":2}'
    """
    return encode(_plain(value, include_secrets))


def _plain(value: Any, include_secrets: bool | None) -> Any:  # noqa: FBT001
    """Turn a value, and the events and models in it, into JSON's types."""
    if isinstance(value, FleetEvent):
        return event_to_dict(value, include_secrets=bool(include_secrets))
    if isinstance(value, Mapping):
        return {key: _plain(item, include_secrets) for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_plain(item, include_secrets) for item in value]  # pyright: ignore[reportUnknownVariableType]
    plain: Any = converter().unstructure(value)
    return _without_secrets(plain) if include_secrets is False and is_model(value.__class__) else plain


def _without_secrets(revision: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in revision.items() if key not in _SECRET_KEYS}


_SECRET_KEYS = frozenset(camel(name) for name in SECRET_FIELDS)


def event_to_dict(event: FleetEvent, *, include_secrets: bool = False) -> dict[str, Any]:
    """Turn an event into JSON's types."""
    if isinstance(event, ClusterEvent):
        return _cluster_part(event)
    head: dict[str, Any] = {
        "event": event.kind,
        "workloadId": event.workload_id,
        "observedAt": utc(event.observed_at),
    }
    match event:
        case WatchDegraded() | WorkloadFailed():
            return {**head, "error": type(event.error).__name__, "message": str(event.error)}
        case WatchRecovered():
            return {**head, "seconds": event.seconds}
        case Synced():
            return head
        case _:
            return {**head, **_revision_part(event, include_secrets=include_secrets)}


def _cluster_part(event: ClusterEvent) -> dict[str, Any]:
    part: dict[str, Any] = {
        "event": event.kind,
        "clusterId": event.cluster_id,
        "observedAt": utc(event.observed_at),
        "id": event.id,
        "name": event.name,
    }
    seen = {} if event.last_seen_at is None else {"lastSeenAt": utc(event.last_seen_at)}
    return part | seen


def _revision_part(event: RevisionEvent, *, include_secrets: bool) -> dict[str, Any]:
    revision = converter().unstructure(event.revision)
    part: dict[str, Any] = {
        "id": event.id,
        "revisionId": event.revision_id,
        "serverTime": event.server_time and utc(event.server_time),
        "revision": revision if include_secrets else _without_secrets(revision),
    }
    match event:
        case RevisionAdded():
            part["initial"] = event.initial
        case PhaseChanged():
            part |= {"previousPhase": event.previous_phase, "coalesced": event.coalesced}
        case RevisionUpdated():
            part["changes"] = [_change(change) for change in event.changes]
        case RevisionStalled():
            part |= {"since": utc(event.since), "seconds": event.seconds}
        case _:
            pass
    return {key: value for key, value in part.items() if value is not None}


def _change(change: FieldChange) -> dict[str, Any]:
    return {
        "path": change.path,
        "old": converter().unstructure(change.old),
        "new": converter().unstructure(change.new),
    }


def to_cloudevent(event: RevisionEvent | ClusterEvent, *, include_secrets: bool = False) -> dict[str, Any]:
    """Wrap an event about a revision or cluster as a CloudEvents 1.0 event in JSON's types (structured mode).

    https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md

    Its time is the server's, or that of the observation by the server's clock where the server does not say.
    If it has more than 64 kB as JSON, the messages in it are cut.

    Args:
        event: an event that a watch yielded.
        include_secrets: whether `data` includes environment, command and arguments.

    Raises:
        TypeError: *event* is about neither.

    Example:
        >>> to_cloudevent(event)["type"]
        'runai_async.revision.phase_changed'
    """
    source, kind, subject = _attributes(event)
    data = event_to_dict(event, include_secrets=include_secrets)
    return _fitting(
        {
            "specversion": "1.0",
            "id": event.id,
            "source": source,
            "type": f"runai_async.{kind}",
            "subject": subject,
            "time": _text(happened_at(event)),
            "datacontenttype": "application/json",
            "data": msgspec.to_builtins(data),
        }
    )


def _fitting(cloudevent: dict[str, Any]) -> dict[str, Any]:
    """Cut the messages of a CloudEvent that is too large, unless something else in it is."""
    fitting, longest = cloudevent, _LARGEST
    while len(encode(fitting)) > _LARGEST:
        longest //= 2
        if longest < _SHORTEST:
            return cloudevent
        fitting = {**cloudevent, "data": _cut(cloudevent["data"], longest)}
    return fitting


def _cut(value: Any, longest: int, key: str = "") -> Any:
    """Cut every message in a value of JSON's types to so many characters.

    Args:
        value: any.
        longest: the most characters.
        key: where the value stands, or the path of the field whose change it is part of.
    """
    if isinstance(value, str):
        is_cut = len(value) > longest and key.lower().endswith("message")
        return f"{value[:longest]}..." if is_cut else value
    if isinstance(value, list):
        return [_cut(item, longest, key) for item in cast(list[Any], value)]  # type: ignore[redundant-cast]
    if isinstance(value, dict):
        items = cast(dict[str, Any], value)
        path = str(items["path"]) if items.keys() == _CHANGE else ""
        return {name: _cut(item, longest, path or name) for name, item in items.items()}
    return value


def _attributes(event: RevisionEvent | ClusterEvent) -> tuple[str, str, str]:
    """Return the source, the kind and the subject of a CloudEvent."""
    match event:
        case ClusterDisconnected() | ClusterConnected():
            kind = event.kind.removeprefix("cluster_")
            return f"/clusters/{event.cluster_id}", f"cluster.{kind}", event.cluster_id
        case RevisionAdded() | PhaseChanged() | RevisionUpdated() | RevisionStalled() | RevisionDeleted():
            return f"/workloads/{event.workload_id}", f"revision.{event.kind}", event.revision_id
        case _:
            raise TypeError(
                f"only events about a revision or a cluster are CloudEvents, not {type(event).__name__}"
            )


def _text(time: datetime) -> str:
    return cast(str, msgspec.to_builtins(utc(time)))
