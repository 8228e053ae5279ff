"""Finds what a user names: by a whole id, a name, or the beginning of an id that matches only one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar
from uuid import UUID

from runai_async._values import frozen
from runai_async.cli.exits import InputError
from runai_async.cli.patience import Patience
from runai_async.cli.text import alternatives, clean, quoted, suggestion
from runai_async.client import RunaiClient, is_inference_type
from runai_async.models import Revision, Workload
from runai_async.policy import RetryPolicy

T = TypeVar("T", Workload, Revision)

_LISTED = 3
"""Names that an error lists at most."""


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


class _Named(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...


def names_or_ids(items: Sequence[_Named]) -> list[str]:
    """Return what a command accepts for each: its name, or its id where the name is not enough.

    That is so where another one has the name, too, and where a terminal would take it for a command.
    """
    counts = Counter(item.name for item in items)
    return [item.name if counts[item.name] == 1 and item.name.isprintable() else item.id for item in items]


def check_project(project: str | None, known: Sequence[Workload]) -> None:
    """Check that a project has workloads, since one that has none may be a mistyped name.

    Raises:
        InputError: it has none.
    """
    if project is not None and not any(is_in_project(item, project) for item in known):
        meant = suggestion(project, [name for item in known if (name := item.project_name)])
        raise InputError(f"project {quoted(project)} has no workloads{meant and f' ({meant})'}")


def workload_of(revision: str) -> str | None:
    """Return the name of the workload whose revision has a name like `NAME-00012`; None for another text."""
    found = re.fullmatch(r"(.+)-\d+", revision)
    return found[1] if found else None


async def find_workloads(
    runai: RunaiClient, texts: Sequence[str], project: str | None = None
) -> list[WorkloadRef]:
    """Find workloads by id, name, or the beginning of an id. Whole ids cost no request.

    Args:
        runai: the client.
        texts: what was given for each workload.
        project: the name or id of the project in which names are looked for; None for all.

    Raises:
        InputError: one of them is not found, or more than one is meant.
    """
    if (given := _whole_ids(texts)) is not None:
        return given
    return _found([item async for item in runai.list_workloads()], texts, project)


async def find_workload(runai: RunaiClient, text: str, project: str | None = None) -> WorkloadRef:
    """Find one workload; see `find_workloads`."""
    return (await find_workloads(runai, [text], project))[0]


async def find_patiently(
    runai: RunaiClient, texts: Sequence[str], patience: Patience, project: str | None = None
) -> list[WorkloadRef]:
    """Find workloads like `find_workloads`, but wait for the end of an outage."""
    if (given := _whole_ids(texts)) is not None:
        return given
    known = await patience.look_up("the list of workloads", lambda: _all(runai, patience))
    return _found(known, texts, project)


async def find_listed(
    runai: RunaiClient, texts: Sequence[str], patience: Patience, project: str | None = None
) -> list[WorkloadRef]:
    """Find workloads like `find_patiently`, and look up the names of those given by whole ids, too."""
    known = await patience.look_up("the list of workloads", lambda: _all(runai, patience))
    return _found(known, texts, project)


async def find_all(
    runai: RunaiClient, filters: Sequence[str], patience: Patience, project: str | None = None
) -> list[WorkloadRef]:
    """Find all inference workloads, by project and name; wait for the end of an outage.

    Args:
        runai: the client.
        filters: conditions of the API.
        patience: how long to wait.
        project: the name or id of their project; None for all.

    Raises:
        InputError: there are none.
    """
    known = await patience.look_up("the list of workloads", lambda: _all(runai, patience, filters))
    here = [item for item in known if is_inference_type(item) and is_in_project(item, project)]
    if not here:
        where = "" if project is None else f" in project {quoted(project)}"
        raise InputError(f"no inference workload {'matches' if filters else 'exists'}{where}")
    here.sort(key=lambda item: (item.project_name or "", item.name, item.id))
    return [_reference(item) for item in here]


async def _all(runai: RunaiClient, patience: Patience, filters: Sequence[str] = ()) -> list[Workload]:
    """List the workloads of all kinds once, with one attempt for each request."""
    once = runai.with_options(retry=RetryPolicy(attempts=1, deadline=patience.deadline))
    return [item async for item in once.inference_workloads(filter_by=filters, is_inference=lambda _: True)]


def _whole_ids(texts: Iterable[str]) -> list[WorkloadRef] | None:
    """Return the workloads if all of them are given by whole ids."""
    ids = [as_uuid(text) for text in texts]
    return [WorkloadRef(item) for item in ids if item] if all(ids) else None


def _found(known: Sequence[Workload], texts: Sequence[str], project: str | None) -> list[WorkloadRef]:
    by_id = {item.id: _reference(item) for item in known}
    ids = [as_uuid(text) for text in texts]
    return [
        by_id.get(item, WorkloadRef(item)) if item else _workload(known, text, project)
        for text, item in zip(texts, ids, strict=True)
    ]


def is_in_project(workload: Workload, project: str | None) -> bool:
    """Return whether a workload is in the project of that name or id; None is any."""
    return project is None or project in {workload.project_name, workload.project_id}


def _workload(known: Sequence[Workload], text: str, project: str | None) -> WorkloadRef:
    here = [item for item in known if is_in_project(item, project)]
    named = [item for item in here if item.name == text]
    matching = named or _matching(here, text)
    found = [item for item in matching if is_inference_type(item)] or matching
    if not found:
        check_project(project, known)
        raise InputError(_not_found(text, project, here, known))
    if len(found) > 1 and not (named and len({item.project_id for item in found}) == 1):
        raise InputError(_ambiguous(text, found, by_name=bool(named)))
    newest = newest_workload(found)
    return _reference(newest, newest.project_id if named else None)


def _not_found(text: str, project: str | None, here: Sequence[Workload], known: Sequence[Workload]) -> str:
    """Return what is missing, and what may have been meant."""
    where = "" if project is None else f" in project {quoted(project)}"
    elsewhere = [item for item in known if item.name == text]
    hint = f"it exists in {_projects(elsewhere)}" if elsewhere else _hint(text, here)
    return f"workload {quoted(text)} not found{where} ({hint})"


def _ambiguous(text: str, found: Sequence[Workload], *, by_name: bool) -> str:
    if by_name:
        return f"{quoted(text)} exists in {_projects(found)}: give -p PROJECT"
    return f"{quoted(text)} matches {_listed(found)}: give more of the id"


def _projects(found: Iterable[Workload]) -> str:
    """Return the projects of workloads by name, or by id where names do not tell them apart."""
    names = {item.project_id: item.project_name or item.project_id for item in found}
    texts = sorted(names.values() if len(set(names.values())) == len(names) else names)
    return f"project{'' if len(texts) == 1 else 's'} {alternatives([clean(text) for text in texts], 'and')}"


def newest_workload(workloads: Iterable[Workload]) -> Workload:
    """Return the workload that was created last: of several of one name, the others are being deleted."""
    # Of one that cannot be decoded the project is not known, and its time is made up.
    return max(workloads, key=lambda item: (bool(item.project_id), item.created_at, item.id))


def _reference(workload: Workload, project_id: str | None = None) -> WorkloadRef:
    return WorkloadRef(workload.id, workload.name, workload.project_name, project_id)


async def find_revisions(runai: RunaiClient, workload: WorkloadRef, texts: Sequence[str]) -> list[Revision]:
    """Find revisions of a workload, deleted ones too, by id, name, its number, or the beginning of an id."""
    known = await runai.list_revisions(workload.id)
    if not all(_exact(known, text) for text in texts):
        known += await runai.list_revisions(workload.id, deleted=True)
    return [_revision(known, text, workload.name or workload.id) for text in texts]


def _revision(known: Sequence[Revision], text: str, workload: str) -> Revision:
    found = _matching(known, text) or [item for item in known if item.name == f"{workload}-{text}"]
    if not found:
        meant = suggestion(text, [item.name for item in known])
        hint = meant or f"see runai-async revisions list {workload}, and --deleted"
        raise InputError(f"revision {quoted(text)} not found in workload {quoted(workload)} ({hint})")
    if len(found) > 1:
        raise InputError(f"{quoted(text)} matches {_listed(found)}: give more of the id")
    return found[0]


def _hint(text: str, known: Iterable[Workload]) -> str:
    """Return the names that may have been meant, or those that exist."""
    names = sorted({item.name for item in known if is_inference_type(item)})
    if not names:
        return "there are no inference workloads, or none that this account can see"
    if meant := suggestion(text, names):
        return meant
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"there are {', '.join(clean(name) for name in names[:_LISTED])}{more}"


def _exact(known: Iterable[T], text: str) -> list[T]:
    return [item for item in known if item.name == text or item.id == as_uuid(text)]


def _matching(known: Sequence[T], text: str) -> list[T]:
    """Return what has the name or id; if nothing has, what has an id that starts with the text."""
    return _exact(known, text) or [item for item in known if item.id.startswith(text.lower())]


def _listed(found: Sequence[Workload | Revision]) -> str:
    return ", ".join(f"{clean(item.name)} ({item.id})" for item in found)
