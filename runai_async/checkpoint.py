"""What a watch has delivered, as a value that outlives the process.

A checkpoint holds, for each known revision, the fields that the schema requires, when its phase changed,
when it was deleted, and the count and time behind the ids of its events. None of that is secret.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Self

from attrs import asdict, frozen

from runai_async.models import Phase

VERSION = 1


@frozen
class RevisionMark:
    """What was delivered of one revision: the fields that the schema requires, and what a resume needs.

    Attributes:
        phase: the one told last.
        phase_updated_at: when it came there, by the server's clock.
        deleted_at: when it was deleted, where an answer told.
        count: how many events of it were told.
        told_until: the latest `phase_updated_at` that any of them had.
        returns: how many times it was told deleted and was there again.

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


_TEXTS = ("type", "name", "id", "workload_id", "cluster_id", "department_id", "project_id", "phase")
_TIMES = ("created_at", "phase_updated_at", "deleted_at", "told_until")
_COUNTS = ("tenant_id", "count", "returns")
_REQUIRED = {*_TEXTS, "tenant_id", "count", "created_at"}


def _time(value: Any, name: str) -> datetime:
    if not isinstance(value, str):
        raise ValueError(f"checkpoint: {name} must be a time as text, not {type(value).__name__}")
    try:
        time = datetime.fromisoformat(value)
        utc = time.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"checkpoint: {name} is no time: {error}") from error
    if time.tzinfo is None:
        raise ValueError(f"checkpoint: {name} has no time zone")
    return utc


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"checkpoint: {name} must be text, not {type(value).__name__}")
    return value


def _count(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"checkpoint: {name} must be a whole number, not {type(value).__name__}")
    return value


def _object(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"checkpoint: {name} must be an object, not {type(value).__name__}")
    return value  # pyright: ignore[reportUnknownVariableType]


def _loads(data: str | bytes) -> dict[str, Any]:
    try:
        return _object(json.loads(data), "the whole")
    except RecursionError as error:
        raise ValueError("checkpoint: nested too deeply") from error
    except ValueError as error:
        if str(error).startswith("checkpoint:"):
            raise
        raise ValueError(f"checkpoint: not JSON: {error}") from error


def _mark(value: Any) -> RevisionMark:
    data = _object(value, "a revision")
    if missing := sorted(_REQUIRED - data.keys()):
        raise ValueError(f"checkpoint: a revision lacks {', '.join(missing)}")
    fields: dict[str, Any] = {name: _text(data[name], name) for name in _TEXTS}
    given = [name for name in _TIMES if name in _REQUIRED or data.get(name) is not None]
    fields |= {name: _time(data[name], name) for name in given}
    fields |= {name: _count(data[name], name) for name in _COUNTS if name in data}
    fields["phase"] = Phase(fields["phase"])
    return RevisionMark(**fields)


def _plain_mark(mark: RevisionMark) -> dict[str, Any]:
    """Turn a mark into JSON's types, leaving out what is None."""
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in asdict(mark).items()
        if value is not None
    }


def _check_version(data: Mapping[str, Any]) -> None:
    version = data.get("version")
    if type(version) is not int or version != VERSION:
        raise ValueError(f"checkpoint: version {version!r:.40} is unknown here; this release reads {VERSION}")


@frozen
class Checkpoint:
    """What a watch of one workload has delivered; hand it to `resume_from` to go on from there.

    Attributes:
        workload_id: of the workload that was watched; a watch of another one does not take it.
        revisions: what was delivered of each revision that is known.
        synced: whether a first answer was delivered; without one, a resume starts afresh.

    Example:
        >>> watch = runai.watch_revisions(workload_id, resume_from=Checkpoint.from_json(saved))
        >>> saved = watch.checkpoint().to_json()
    """

    workload_id: str
    revisions: tuple[RevisionMark, ...] = ()
    synced: bool = True

    def to_json(self) -> str:
        """Return the checkpoint as JSON text, for any file or store."""
        return json.dumps({"version": VERSION, **_plain(self)}, separators=(",", ":"))

    @classmethod
    def from_json(cls, data: str | bytes) -> Self:
        """Read what `to_json` wrote.

        Raises:
            ValueError: not a checkpoint, or one of a version that this release does not know.
        """
        value = _loads(data)
        _check_version(value)
        return cls(*_parts(value))


def _plain(checkpoint: Checkpoint) -> dict[str, Any]:
    return {
        "workload_id": checkpoint.workload_id,
        "synced": checkpoint.synced,
        "revisions": [_plain_mark(mark) for mark in checkpoint.revisions],
    }


def _parts(value: dict[str, Any]) -> tuple[str, tuple[RevisionMark, ...], bool]:
    revisions = value.get("revisions")
    if not isinstance(revisions, list):
        raise ValueError(
            "checkpoint: revisions must be an array (is this a fleet's? The .workloads of "
            "FleetCheckpoint.from_json(data) has that of each workload)"
        )
    if not isinstance(value.get("synced"), bool):
        raise ValueError("checkpoint: synced must be true or false")
    items: list[Any] = revisions  # pyright: ignore[reportUnknownVariableType]
    return _text(value.get("workload_id"), "workload_id"), tuple(map(_mark, items)), value["synced"]


@frozen
class FleetCheckpoint:
    """What a fleet watch has delivered, by workload id; hand it to `resume_from` to go on from there.

    Attributes:
        workloads: the checkpoint of each workload.

    Example:
        >>> async with runai.watch_fleet(workload_ids) as fleet:
        ...     event = await anext(fleet)
        ...     saved = fleet.checkpoint().to_json()
        >>> fleet = runai.watch_fleet(workload_ids, resume_from=FleetCheckpoint.from_json(saved))
    """

    workloads: Mapping[str, Checkpoint]

    def to_json(self) -> str:
        """Return the checkpoint as JSON text, for any file or store."""
        workloads = [_plain(checkpoint) for checkpoint in self.workloads.values()]
        return json.dumps({"version": VERSION, "workloads": workloads}, separators=(",", ":"))

    @classmethod
    def from_json(cls, data: str | bytes) -> Self:
        """Read what `to_json` wrote.

        Raises:
            ValueError: not a fleet's checkpoint, or one of a version that this release does not know.
        """
        value = _loads(data)
        _check_version(value)
        workloads = value.get("workloads")
        if not isinstance(workloads, list):
            raise ValueError(
                "checkpoint: workloads must be an array (is this the checkpoint of a single watch?)"
            )
        items: list[Any] = workloads  # pyright: ignore[reportUnknownVariableType]
        parts = [Checkpoint(*_parts(_object(item, "a workload"))) for item in items]
        return cls({part.workload_id: part for part in parts})
