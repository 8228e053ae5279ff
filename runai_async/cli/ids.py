"""Finds what a user names: by a whole id, a name, or the beginning of an id that matches only one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import TypeVar
from uuid import UUID

from attrs import frozen

from runai_async.cli.exits import InputError
from runai_async.cli.patience import Patience
from runai_async.client import RunaiClient, is_inference_type
from runai_async.models import Revision, Workload
from runai_async.policy import RetryPolicy

T = TypeVar("T", Workload, Revision)

_SUGGESTED = 3


@frozen
class WorkloadRef:
    """A workload, as it was found.

    Attributes:
        id: its id.
        name: its name, if that was looked up.
        project: the name of its project, if that was looked up.
        project_id: its project, if it was found by its name: another one may have that later.
    """

    id: str
    name: str | None = None
    project: str | None = None
    project_id: str | None = None


def as_uuid(text: str) -> str | None:
    """Return an id in its normal form; None if the text is not a whole id."""
    try:
        return str(UUID(text))
    except ValueError:
        return None


async def find_workloads(runai: RunaiClient, texts: Sequence[str]) -> list[WorkloadRef]:
    """Find workloads by id, name, or the beginning of an id. Whole ids cost no request."""
    if (given := _whole_ids(texts)) is not None:
        return given
    return _found([item async for item in runai.list_workloads()], texts)


async def find_workload(runai: RunaiClient, text: str) -> WorkloadRef:
    """Find one workload; see `find_workloads`."""
    return (await find_workloads(runai, [text]))[0]


async def find_patiently(runai: RunaiClient, texts: Sequence[str], patience: Patience) -> list[WorkloadRef]:
    """Find workloads like `find_workloads`, but wait for the end of an outage."""
    if (given := _whole_ids(texts)) is not None:
        return given
    return _found(await patience.look_up("the list of workloads", lambda: _all(runai, patience)), texts)


async def _all(runai: RunaiClient, patience: Patience) -> list[Workload]:
    """List the workloads once, with one attempt for each request."""
    once = runai.with_options(retry=RetryPolicy(attempts=1, deadline=patience.deadline))
    return [item async for item in once.inference_workloads(is_inference=lambda _: True)]


def _whole_ids(texts: Iterable[str]) -> list[WorkloadRef] | None:
    """Return the workloads if all of them are given by whole ids."""
    ids = [as_uuid(text) for text in texts]
    return [WorkloadRef(item) for item in ids if item] if all(ids) else None


def _found(known: Sequence[Workload], texts: Sequence[str]) -> list[WorkloadRef]:
    by_id = {item.id: _reference(item) for item in known}
    ids = [as_uuid(text) for text in texts]
    return [
        by_id.get(item, WorkloadRef(item)) if item else _workload(known, text)
        for text, item in zip(texts, ids, strict=True)
    ]


def _workload(known: Sequence[Workload], text: str) -> WorkloadRef:
    named = [item for item in known if item.name == text]
    matching = named or _matching(known, text)
    found = [item for item in matching if is_inference_type(item)] or matching
    if not found:
        raise InputError(
            f"no workload has the name {text!r}, or an id that starts with it; {_hint(text, known)}"
        )
    if len(found) > 1 and not (named and len({item.project_id for item in found}) == 1):
        raise InputError(f"{text!r} matches {_listed(found)}: give the whole UUID")
    newest = newest_workload(found)
    return _reference(newest, newest.project_id if named else None)


def newest_workload(workloads: Iterable[Workload]) -> Workload:
    """Return the workload that was created last: of several of one name, the others are being deleted."""
    # Of one that cannot be decoded the project is not known, and its time is made up.
    return max(workloads, key=lambda item: (bool(item.project_id), item.created_at, item.id))


def _reference(workload: Workload, project_id: str | None = None) -> WorkloadRef:
    return WorkloadRef(workload.id, workload.name, workload.project_name, project_id)


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
