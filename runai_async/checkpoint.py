"""What a watch has delivered, as a value that outlives the process.

A checkpoint holds the control plane's URL and, for each known revision, the fields that the schema requires,
when its phase changed, when it was deleted, and the count and time from which the ids of its events are made.
None of that is secret.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, Self

from attrs import asdict, evolve, frozen

from runai_async._base_url import normal_base_url
from runai_async._ids import canonical_id
from runai_async.models import Phase

VERSION = 1


@frozen
class RevisionMark:
    """What was delivered of one revision: the fields that the schema requires, and what a resume needs.

    Attributes:
        phase: the phase that was reported last.
        phase_updated_at: when the revision entered it, by the server's clock.
        deleted_at: when it was deleted, if a response said so.
        count: how many of its events were reported.
        told_until: the latest `phase_updated_at` of those events.
        returns: how often it was reported as deleted and existed again.
        updates: how often it was reported as updated.

    Example:
        >>> [(mark.name, mark.phase.value) for mark in Checkpoint.from_json(saved).revisions]
        [('chat-00001', 'Running')]
    """

    type: str
    name: str
    id: str
    workload_id: str
    tenant_id: int
    cluster_id: str
    department_id: str
    project_id: str
    created_at: datetime
    phase: Phase
    phase_updated_at: datetime | None = None
    deleted_at: datetime | None = None
    count: int = 0
    told_until: datetime | None = None
    returns: int = 0
    updates: int = 0


@frozen
class Checkpoint:
    """What a watch of one workload has delivered; pass it as `resume_from` to resume from there.

    Attributes:
        workload_id: the id of the workload; a watch of another one does not accept the checkpoint.
        revisions: what was delivered of each known revision.
        synced: whether a first poll was delivered; without one, a resume starts afresh.
        base_url: the control plane's URL, as in `RunaiClient.base_url`; a client of another one does not
            accept the checkpoint. None in those of 0.1, which every client accepts.

    Example:
        >>> watch = runai.watch_revisions(workload_id, resume_from=Checkpoint.from_json(saved))
        >>> saved = watch.checkpoint().to_json()
    """

    workload_id: str
    revisions: tuple[RevisionMark, ...] = ()
    synced: bool = True
    base_url: str | None = None

    def moved_to(self, base_url: str) -> Self:
        """Return the checkpoint for the same control plane under another name.

        Args:
            base_url: the URL by which a client knows it now.

        Raises:
            ValueError: not a URL.

        Example:
            >>> checkpoint = Checkpoint.from_json(saved).moved_to("https://runai.acme.example")
            >>> checkpoint.base_url
            'https://runai.acme.example'
        """
        return evolve(self, base_url=normal_base_url(base_url))

    def to_json(self) -> str:
        """Return the checkpoint as JSON, for any file or store."""
        return _dumps(_plain(self, None))

    @classmethod
    def from_json(cls, data: str | bytes) -> Self:
        """Read what `to_json` wrote.

        Raises:
            ValueError: not a checkpoint, or one of a version that this release does not know.
        """
        return cls(**_parts(_loads(data), None))


@frozen
class FleetCheckpoint:
    """What a fleet watch has delivered, by workload id; pass it as `resume_from` to resume from there.

    Attributes:
        workloads: the checkpoint of each workload.
        base_url: the control plane's URL, as in `Checkpoint`.

    Example:
        >>> async with runai.watch_fleet(workload_ids) as fleet:
        ...     event = await anext(fleet)
        ...     saved = fleet.checkpoint().to_json()
        >>> fleet = runai.watch_fleet(workload_ids, resume_from=FleetCheckpoint.from_json(saved))
    """

    workloads: Mapping[str, Checkpoint]
    base_url: str | None = None

    def moved_to(self, base_url: str) -> Self:
        """Return the checkpoint for the same control plane under another name.

        Args:
            base_url: the URL by which a client knows it now.

        Raises:
            ValueError: not a URL.

        Example:
            >>> async with runai.watch_fleet(workload_ids) as fleet:
            ...     checkpoint = fleet.checkpoint().moved_to("https://runai.acme.example")
            >>> {part.base_url for part in checkpoint.workloads.values()}
            {'https://runai.acme.example'}
        """
        url = normal_base_url(base_url)
        moved = {key: evolve(part, base_url=url) for key, part in self.workloads.items()}
        return evolve(self, workloads=moved, base_url=url)

    def to_json(self) -> str:
        """Return the checkpoint as JSON, for any file or store."""
        parts = [_plain(checkpoint, self.base_url) for checkpoint in self.workloads.values()]
        return _dumps(_named(self.base_url, None) | {"workloads": parts})

    @classmethod
    def from_json(cls, data: str | bytes) -> Self:
        """Read what `to_json` wrote.

        Raises:
            ValueError: not a fleet's checkpoint, or one of a version that this release does not know.
        """
        array = "an array (is this the checkpoint of a single watch?)"
        value = _loads(data)
        workloads = _check(list, array, value.get("workloads"), "workloads")
        base_url = _base_url(value, None)
        parts = [Checkpoint(**_parts(_object(item, "a workload"), base_url)) for item in workloads]
        return cls({part.workload_id: part for part in parts}, base_url)


# --- to JSON ----------------------------------------------------------------------------------------------


def _dumps(value: Mapping[str, Any]) -> str:
    return json.dumps({"version": VERSION, **value}, separators=(",", ":"))


def _named(base_url: str | None, usual: str | None) -> dict[str, Any]:
    """Return the entry for a base URL; none where it is the *usual* one, so that a fleet has it once."""
    return {} if base_url == usual else {"base_url": base_url}


def _plain(checkpoint: Checkpoint, base_url: str | None) -> dict[str, Any]:
    """Turn a checkpoint, in a fleet's of that *base_url*, into JSON's types."""
    return _named(checkpoint.base_url, base_url) | {
        "workload_id": checkpoint.workload_id,
        "synced": checkpoint.synced,
        "revisions": [_plain_mark(mark) for mark in checkpoint.revisions],
    }


def _plain_mark(mark: RevisionMark) -> dict[str, Any]:
    """Turn a mark into JSON's types, without what is None."""
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in asdict(mark).items()
        if value is not None
    }


# --- from JSON --------------------------------------------------------------------------------------------


def _loads(data: str | bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(data)
    except RecursionError as error:
        raise ValueError("checkpoint: nested too deeply") from error
    except ValueError as error:
        raise ValueError(f"checkpoint: not JSON: {error}") from error
    value: dict[str, Any] = _object(parsed, "the top level")
    version = value.get("version")
    if type(version) is not int or version != VERSION:
        raise ValueError(f"checkpoint: version {version!r:.40} is unknown here; this release reads {VERSION}")
    return value


def _base_url(value: dict[str, Any], usual: str | None) -> str | None:
    given = value.get("base_url", usual)
    return None if given is None else _text(given, "base_url")


def _parts(value: dict[str, Any], base_url: str | None) -> dict[str, Any]:
    """Read the fields of a checkpoint, in a fleet's of that *base_url*."""
    array = "an array (is this a fleet's? The .workloads of FleetCheckpoint.from_json(data) has one for each)"
    revisions = _check(list, array, value.get("revisions"), "revisions")
    return {
        "workload_id": _id(value.get("workload_id"), "workload_id"),
        "revisions": tuple(map(_mark, revisions)),
        "synced": _check(bool, "true or false", value.get("synced"), "synced"),
        "base_url": _base_url(value, base_url),
    }


def _mark(value: Any) -> RevisionMark:
    data = _object(value, "a revision")
    if missing := sorted(_REQUIRED - data.keys()):
        raise ValueError(f"checkpoint: a revision lacks {', '.join(missing)}")
    given = [name for name in _READERS if name in _REQUIRED or data.get(name) is not None]
    fields: dict[str, Any] = {name: _READERS[name](data[name], name) for name in given}
    if (at := fields.get("phase_updated_at")) and at.year == 1:
        del fields["phase_updated_at"]  # Go's zero time, which earlier releases took for a time
    return RevisionMark(**fields)


def _check(kind: type, expected: str, value: Any, name: str) -> Any:
    """Return a value that is exactly of one of JSON's types."""
    if type(value) is not kind:
        raise ValueError(f"checkpoint: {name} must be {expected}, not {type(value).__name__}")
    return value


_object = partial(_check, dict, "an object")
_text = partial(_check, str, "a string")
_count = partial(_check, int, "a whole number")


def _id(value: Any, name: str) -> str:
    return canonical_id(_text(value, name))


def _phase(value: Any, name: str) -> Phase:
    return Phase(_text(value, name))


def _time(value: Any, name: str) -> datetime:
    text = _check(str, "a time as a string", value, name)
    try:
        time = datetime.fromisoformat(text)
        utc = time.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"checkpoint: {name} is not a time: {error}") from error
    if time.tzinfo is None:
        raise ValueError(f"checkpoint: {name} has no time zone")
    return utc


_READERS: Mapping[str, Callable[[Any, str], Any]] = {
    **dict.fromkeys(("type", "name"), _text),
    **dict.fromkeys(("id", "workload_id", "cluster_id", "department_id", "project_id"), _id),
    **dict.fromkeys(("tenant_id", "count", "returns", "updates"), _count),
    **dict.fromkeys(("created_at", "phase_updated_at", "deleted_at", "told_until"), _time),
    "phase": _phase,
}
_REQUIRED = _READERS.keys() - {"phase_updated_at", "deleted_at", "told_until", "returns", "updates"}
