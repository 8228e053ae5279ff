"""What a watch has delivered, as a value that outlives the process.

A checkpoint holds the control plane's URL and, for each known revision, the fields that the schema requires,
when its phase changed, when it was deleted, and the count and time from which the ids of its events are made;
also how many polls, and for how long, have lacked a revision or were refused, and which revisions were
reported as stalled. None of that is secret.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import datetime
from functools import partial
from typing import Any, Literal, Self

from attrs import asdict, evolve

from runai_async._checkpoint.base_url import normal_base_url
from runai_async._checkpoint.fields import (
    as_count,
    as_flag,
    as_id,
    as_object,
    as_phase,
    as_seconds,
    as_text,
    as_time,
    check,
    parsed,
)
from runai_async._values import frozen
from runai_async.models import Phase

VERSION = 1
Found = Literal["missing", "live", "forbidden", "not_found"]


@frozen
class PollStreak:
    """The polls in a row that found the same, for the next process to continue counting.

    A deletion or refusal is believed after a while only; a command that runs for seconds at a time would
    never get there if each run began anew.

    Attributes:
        found: "missing", or "live" after its deletion, of a revision; "forbidden" (403) or "not_found" (404)
            of a workload.
        polls: how many.
        seconds: for how long, as far as it counts.
        at: the time of the last of them, by the clock of the machine.

    Example:
        >>> checkpoint = Checkpoint.from_json(saved)
        >>> [mark.name for mark in checkpoint.revisions if isinstance(mark.streak, PollStreak)]
        []
    """

    found: Found
    polls: int
    seconds: float
    at: datetime


@frozen
class StallMark:
    """What is known of a revision that is, or was, on its way in one phase for long.

    Attributes:
        seen_at: when it was first seen in its present phase, by the server's clock, where no response says
            when it entered that.
        count: `RevisionMark.count` when it was last reported as stalled. While the two are equal, its present
            phase is the one of that report.
        until: the latest `RevisionStalled.since` of all such reports.

    Example:
        >>> checkpoint = Checkpoint.from_json(saved)
        >>> [mark.name for mark in checkpoint.revisions if isinstance(mark.stall, StallMark)]
        []
    """

    seen_at: datetime | None = None
    count: int | None = None
    until: datetime | None = None


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
        streak: the last polls, if they lacked it, or showed it live after its deletion was reported.
        stall: since when it has been in its phase, and which stall was reported, as far as that is not in the
            other fields.

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
    streak: PollStreak | None = None
    stall: StallMark | None = None


@frozen
class Checkpoint:
    """What a watch of one workload has delivered; pass it as `resume_from` to resume from there.

    Attributes:
        workload_id: the id of the workload; a watch of another one does not accept the checkpoint.
        revisions: what was delivered of each known revision.
        synced: whether a first poll was delivered; without one, a resume starts afresh.
        base_url: the control plane's URL, as in `RunaiClient.base_url`; a client of another one does not
            accept the checkpoint. None in those of 0.1, which every client accepts.
        refusal: the last polls, if the API refused them.

    Example:
        >>> watch = runai.watch_revisions(workload_id, resume_from=Checkpoint.from_json(saved))
        >>> saved = watch.checkpoint().to_json()
    """

    workload_id: str
    revisions: tuple[RevisionMark, ...] = ()
    synced: bool = True
    base_url: str | None = None
    refusal: PollStreak | None = None

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
        return _encode({"version": VERSION} | _plain(self, None))

    @classmethod
    def from_json(cls, data: str | bytes) -> Self:
        """Read what `to_json` wrote.

        Raises:
            ValueError: not a checkpoint, or one of a version that this release does not know.
        """
        return cls(**_parts(parsed(data, VERSION), None))


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
        """Return the checkpoint as JSON, for any file or store.

        That takes some 50 microseconds for each workload. A checkpoint never changes, so it may be done in a
        thread, `await asyncio.to_thread(checkpoint.to_json)`, and the event loop has its turns meanwhile.
        """
        parts = (fleet_part(checkpoint, self.base_url) for checkpoint in self.workloads.values())
        return "".join(fleet_json(parts, self.base_url))

    @classmethod
    def from_json(cls, data: str | bytes) -> Self:
        """Read what `to_json` wrote.

        Raises:
            ValueError: not a fleet's checkpoint, or one of a version that this release does not know.
        """
        array = "an array (is this the checkpoint of a single watch?)"
        value = parsed(data, VERSION)
        workloads = check(list, array, value.get("workloads"), "workloads")
        base_url = _base_url(value, None)
        parts = [Checkpoint(**_parts(as_object(item, "a workload"), base_url)) for item in workloads]
        return cls({part.workload_id: part for part in parts}, base_url)


# --- to JSON ----------------------------------------------------------------------------------------------


_encode = json.JSONEncoder(separators=(",", ":")).encode


def fleet_part(checkpoint: Checkpoint, base_url: str | None) -> str:
    """Return the JSON of one workload in that of a fleet's checkpoint with a *base_url*."""
    return _encode(_plain(checkpoint, base_url))


def fleet_json(parts: Iterable[str], base_url: str | None) -> Iterator[str]:
    """Yield the JSON of a fleet's checkpoint in pieces.

    Args:
        parts: what `fleet_part` returned for each workload.
        base_url: that of the checkpoint.
    """
    head = _encode({"version": VERSION} | _named(base_url, None))
    yield head[:-1] + ',"workloads":['
    for number, part in enumerate(parts):
        yield f",{part}" if number else part
    yield "]}"


def _named(base_url: str | None, usual: str | None) -> dict[str, Any]:
    """Return the entry for a base URL; none where it is the *usual* one, so that a fleet has it once."""
    return {} if base_url == usual else {"base_url": base_url}


def _plain(checkpoint: Checkpoint, base_url: str | None) -> dict[str, Any]:
    """Turn a checkpoint, in a fleet's of that *base_url*, into JSON's types."""
    return _named(checkpoint.base_url, base_url) | {
        "workload_id": checkpoint.workload_id,
        "synced": checkpoint.synced,
        "revisions": [_plain_fields(mark) for mark in checkpoint.revisions],
        **({} if checkpoint.refusal is None else {"refusal": _plain_fields(checkpoint.refusal)}),
    }


def _plain_fields(value: RevisionMark | PollStreak | StallMark) -> dict[str, Any]:
    """Turn a value into JSON's types, without what is None."""
    return {
        name: _plain_field(item) for name, item in asdict(value, recurse=False).items() if item is not None
    }


def _plain_field(value: object) -> object:
    if isinstance(value, PollStreak | StallMark):
        return _plain_fields(value)
    return value.isoformat() if isinstance(value, datetime) else value


# --- from JSON --------------------------------------------------------------------------------------------


def _base_url(value: dict[str, Any], usual: str | None) -> str | None:
    given = value.get("base_url", usual)
    return None if given is None else as_text(given, "base_url")


def _parts(value: dict[str, Any], base_url: str | None) -> dict[str, Any]:
    """Read the fields of a checkpoint, in a fleet's of that *base_url*."""
    array = "an array (is this a fleet's? The .workloads of FleetCheckpoint.from_json(data) has one for each)"
    revisions = check(list, array, value.get("revisions"), "revisions")
    return {
        "workload_id": as_id(value.get("workload_id"), "workload_id"),
        "revisions": tuple(map(_mark, revisions)),
        "synced": as_flag(value.get("synced"), "synced"),
        "base_url": _base_url(value, base_url),
        "refusal": None if value.get("refusal") is None else _refusal(value["refusal"], "refusal"),
    }


def _mark(value: Any) -> RevisionMark:
    data = as_object(value, "a revision")
    if missing := sorted(_REQUIRED - data.keys()):
        raise ValueError(f"checkpoint: a revision lacks {', '.join(missing)}")
    given = [name for name in _READERS if name in _REQUIRED or data.get(name) is not None]
    fields: dict[str, Any] = {name: _READERS[name](data[name], name) for name in given}
    if (at := fields.get("phase_updated_at")) and at.year == 1:
        del fields["phase_updated_at"]  # Go's zero time, which earlier releases took for a time
    return RevisionMark(**fields)


def _streak(value: Any, name: str, *, allowed: Collection[Found]) -> PollStreak:
    data = as_object(value, name)
    found: Found | None = next((item for item in allowed if item == data.get("found")), None)
    if found is None:
        raise ValueError(f"checkpoint: {name}.found must be {' or '.join(allowed)}")
    return PollStreak(
        found,
        as_count(data.get("polls"), f"{name}.polls"),
        as_seconds(data.get("seconds"), f"{name}.seconds"),
        as_time(data.get("at"), f"{name}.at"),
    )


def _stall(value: Any, name: str) -> StallMark:
    data = as_object(value, name)
    given = [key for key in _OF_A_STALL if data.get(key) is not None]
    return StallMark(**{key: _OF_A_STALL[key](data[key], f"{name}.{key}") for key in given})


_OF_A_STALL: Mapping[str, Callable[[Any, str], Any]] = {
    "seen_at": as_time,
    "count": as_count,
    "until": as_time,
}
_refusal = partial(_streak, allowed=("forbidden", "not_found"))
_READERS: Mapping[str, Callable[[Any, str], Any]] = {
    **dict.fromkeys(("type", "name"), as_text),
    **dict.fromkeys(("id", "workload_id", "cluster_id", "department_id", "project_id"), as_id),
    **dict.fromkeys(("tenant_id", "count", "returns", "updates"), as_count),
    **dict.fromkeys(("created_at", "phase_updated_at", "deleted_at", "told_until"), as_time),
    "phase": as_phase,
    "streak": partial(_streak, allowed=("missing", "live")),
    "stall": _stall,
}
_OPTIONAL = {"phase_updated_at", "deleted_at", "told_until", "returns", "updates", "streak", "stall"}
_REQUIRED = _READERS.keys() - _OPTIONAL
