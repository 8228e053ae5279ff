"""Finds what a user names: by a whole id, a name, or the beginning of an id that matches only one."""

from __future__ import annotations

import difflib
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import TypeVar
from uuid import UUID

from attrs import frozen

from runai_async.cli.diagnostics import say
from runai_async.cli.exits import InputError
from runai_async.client import RunaiClient, is_inference_type
from runai_async.errors import ApiError, AuthenticationError
from runai_async.models import Revision, Workload

T = TypeVar("T", Workload, Revision)

_SUGGESTED = 3


@frozen
class WorkloadRef:
    """A workload's id, and its name and the name of its project if these were looked up."""

    id: str
    name: str | None = None
    project: str | None = None


def as_uuid(text: str) -> str | None:
    """Return an id in its normal form; None if the text is not a whole id."""
    try:
        return str(UUID(text))
    except ValueError:
        return None


async def find_workloads(runai: RunaiClient, texts: Sequence[str]) -> list[WorkloadRef]:
    """Find workloads by id, name, or the beginning of an id. Whole ids cost no request."""
    ids = [as_uuid(text) for text in texts]
    if all(ids):
        return [WorkloadRef(item) for item in ids if item]
    known = [item async for item in runai.list_workloads()]
    by_id = {item.id: _reference(item) for item in known}
    return [
        by_id.get(item, WorkloadRef(item)) if item else _workload(known, text)
        for text, item in zip(texts, ids, strict=True)
    ]


async def find_workload(runai: RunaiClient, text: str) -> WorkloadRef:
    """Find one workload; see `find_workloads`."""
    return (await find_workloads(runai, [text]))[0]


async def check_reachable(runai: RunaiClient, workload_id: str) -> None:
    """Fail at once if the control plane is unreachable or refuses access; a watch would retry for long."""
    try:
        await runai.count_revisions(workload_id)
    except AuthenticationError:
        raise
    except ApiError:
        pass  # the watch decides what it means


async def check_discovery(discovered: AsyncIterator[str], what: str) -> None:
    """Fail at once if discovery does not work; a fleet would retry forever. Say so if it finds nothing.

    Args:
        discovered: the ids of workloads.
        what: what they are, in the singular.
    """
    if not [item async for item in discovered]:
        say(f"no {what} matches yet; looking for new ones every minute")


def _workload(known: Sequence[Workload], text: str) -> WorkloadRef:
    matching = _matching(known, text)
    found = [item for item in matching if is_inference_type(item)] or matching
    if not found:
        raise InputError(
            f"no workload has the name {text!r}, or an id that starts with it; {_hint(text, known)}"
        )
    if len(found) > 1:
        raise InputError(f"{text!r} matches {_listed(found)}: give the whole UUID")
    return _reference(found[0])


def _reference(workload: Workload) -> WorkloadRef:
    return WorkloadRef(workload.id, workload.name, workload.project_name)


async def find_revisions(runai: RunaiClient, workload: WorkloadRef, texts: Sequence[str]) -> list[Revision]:
    """Find revisions of a workload, deleted ones too, by id, name, or the beginning of an id."""
    known = await runai.list_revisions(workload.id)
    if not all(_exact(known, text) for text in texts):
        known += await runai.list_revisions(workload.id, deleted=True)
    return [_revision(known, text, workload.name or workload.id) for text in texts]


def _revision(known: Sequence[Revision], text: str, workload: str) -> Revision:
    found = _matching(known, text)
    if not found:
        raise InputError(
            f"workload {workload} has no revision {text!r}: "
            f"see runai-async revisions list {workload} (and --deleted)"
        )
    if len(found) > 1:
        raise InputError(f"{text!r} matches {_listed(found)}: give more of the id")
    return found[0]


def _hint(text: str, known: Sequence[Workload]) -> str:
    """Return the names that may have been meant."""
    names = sorted({item.name for item in known if is_inference_type(item)})
    if not names:
        return "there are no inference workloads, or none that this account can see"
    if close := difflib.get_close_matches(text, names, _SUGGESTED):
        return f"did you mean {' or '.join(close)}?"
    more = f" and {len(names) - _SUGGESTED} more" if len(names) > _SUGGESTED else ""
    return f"there are {', '.join(names[:_SUGGESTED])}{more}"


def _exact(known: Iterable[T], text: str) -> list[T]:
    return [item for item in known if item.name == text or item.id == as_uuid(text)]


def _matching(known: Sequence[T], text: str) -> list[T]:
    """Return what has the name or id; if nothing has, what has an id that starts with the text."""
    return _exact(known, text) or [item for item in known if item.id.startswith(text.lower())]


def _listed(found: Sequence[Workload | Revision]) -> str:
    return ", ".join(f"{item.name} ({item.id})" for item in found)
