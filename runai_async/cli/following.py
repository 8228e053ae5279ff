"""Which workloads a command follows: those that have some names now, or all that match.

A workload that is deleted and created again has another id. So what is given by name is looked up again and
again, in the project in which it was found. A fleet does the rest: the new workload joins, and the old one
leaves when its deletions are reported.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, MutableMapping, Sequence
from datetime import datetime
from typing import NamedTuple

import click
from attrs import define

from runai_async._api.workload_query import WorkloadQuery
from runai_async._fleet.discovery import Ask
from runai_async._fleet.fleet_watch import FleetWatch
from runai_async._fleet.query_reader import QueryReader, Reading
from runai_async.checkpoint import Checkpoint, FleetCheckpoint
from runai_async.cli.diagnostics import say
from runai_async.cli.ids import WorkloadRef, as_uuid, newest_workload
from runai_async.cli.patience import Patience
from runai_async.cli.text import clean, duration
from runai_async.client import RunaiClient, is_inference_type, workload_query
from runai_async.models import Workload
from runai_async.policy import PollPolicy

NAMES_EVERY = 10.0
"""Seconds between two listings that look names up, by default."""
ALL_EVERY = 60.0
"""Seconds between two listings of all workloads, by default."""
FEW_EVERY = 10.0
"""The same where they are few, so that the list takes one page."""
_FEW = 500
"""Workloads that are few."""
_ABSENT_ROUNDS = 2
"""Listings in a row without a name after which it counts as gone: one may have been incomplete."""
_FILTERABLE = re.compile(r"[A-Za-z0-9.-]+")
"""The names that a condition of the API can hold as they are."""


def check_discovery_interval(seconds: float | None, workloads: Collection[str]) -> None:
    """Reject an interval for looking up what is never looked up again."""
    if seconds is not None and workloads and all(map(as_uuid, workloads)):
        raise click.UsageError(
            "--discovery-interval has no effect on workloads given by their ids: they are not looked up again"
        )


@define
class _Name:
    """A name that is followed.

    Attributes:
        text: the name.
        project_id: the project in which it is looked for.
        workload_id: the workload that had it last.
        created_at: when that was created, if it was listed since the start.
        absent: how many listings in a row lacked it.
    """

    text: str
    project_id: str
    workload_id: str
    created_at: datetime | None = None
    absent: int = 0

    def fits(self, workload: Workload) -> bool:
        """Return whether a workload has the name; of one that cannot be decoded only the id is known."""
        if not workload.project_id:
            return workload.id == self.workload_id
        return (workload.name, workload.project_id) == (self.text, self.project_id)

    def is_older(self, workload: Workload) -> bool:
        """Return whether a workload is an earlier one of this name, as a stale list may name it."""
        if workload.id == self.workload_id or self.created_at is None:
            return False
        return workload.created_at < self.created_at

    def fits_state(self, saved: Checkpoint) -> bool:
        """Return whether a saved state is that of a workload which had the name, by its revisions' names."""
        numbered = re.compile(re.escape(self.text) + r"-\d+")
        return bool(saved.revisions) and all(
            mark.project_id == self.project_id and numbered.fullmatch(mark.name) for mark in saved.revisions
        )


class Following:
    """The workloads that a command was given, as they are now.

    Args:
        runai: the client.
        found: the workloads as they were found at the start.
        names: is kept up to date with the names of workloads by their ids.
        seconds: between two listings, for messages.
        projects: likewise the names of their projects.
        report: takes a line about a name that another workload has now, or none.
    """

    def __init__(
        self,
        runai: RunaiClient,
        found: Sequence[WorkloadRef],
        names: MutableMapping[str, str],
        seconds: float = NAMES_EVERY,
        *,
        projects: MutableMapping[str, str] | None = None,
        report: Callable[[str], None] = say,
    ) -> None:
        self.ids: list[str] = list(dict.fromkeys(ref.id for ref in found))
        self._runai = runai
        self._names = names
        self._seconds = seconds
        self._projects: MutableMapping[str, str] = {} if projects is None else projects
        self._report = report
        self._followed = _followed(found)
        self._fixed = frozenset(self.ids) - {name.workload_id for name in self._followed}
        self._query = workload_query(
            runai,
            self._includes,
            choose=self._chosen,
            filter_by=() if self._fixed else _condition(self._followed),
        )
        self._projects.update({ref.id: ref.project for ref in found if ref.project})
        self._names.update({ref.id: ref.name for ref in found if ref.name})

    @property
    def is_fixed(self) -> bool:
        """Whether all workloads were given by their ids, which never stand for others."""
        return not self._followed

    def is_former(self, saved: Checkpoint) -> bool:
        """Return whether a saved state is that of a workload which had one of the names before."""
        return any(name.fits_state(saved) for name in self._followed)

    def fleet(
        self,
        poll: PollPolicy,
        *,
        include_existing: bool = True,
        resume_from: FleetCheckpoint | None = None,
    ) -> FleetWatch:
        """Return a fleet of the workloads."""
        return self._runai.watch_fleet(
            self.ids if self.is_fixed else self._beginning_with_ids(),
            poll=poll,
            discovery_interval=self._seconds,
            include_existing=include_existing,
            resume_from=resume_from,
        )

    def _beginning_with_ids(self) -> Ask:
        """Return a discovery function whose first response is what was listed already."""
        first = [self.ids]
        return lambda: first.pop() if first else self._query

    def _includes(self, workload: Workload) -> bool:
        return workload.id in self._fixed or any(name.fits(workload) for name in self._followed)

    def _chosen(self, found: Mapping[str, Workload]) -> frozenset[str]:
        """Return the newest workload of each name, and note what has changed."""
        chosen = set(found.keys() & self._fixed)
        for name in self._followed:
            having = [item for item in found.values() if name.fits(item) and item.deleted_at is None]
            having = [item for item in having if is_inference_type(item)] or having
            newest = newest_workload(having) if having else None
            if newest is None or (name.is_older(newest) and name.absent + 1 < _ABSENT_ROUNDS):
                self._miss(name)
            else:
                chosen.add(self._take(name, newest))
        return frozenset(chosen)

    def _take(self, name: _Name, workload: Workload) -> str:
        if workload.id != name.workload_id:
            self._report(f"runai-async: {clean(name.text)} is workload {workload.id} now (created again)")
        elif name.absent >= _ABSENT_ROUNDS:
            self._report(f"runai-async: {clean(name.text)} is listed again")
        name.workload_id, name.absent = workload.id, 0
        if workload.project_id:  # else it could not be decoded, and has a time that is made up
            name.created_at = workload.created_at
            self._projects[workload.id] = workload.project_name or ""
        self._names[workload.id] = name.text
        return workload.id

    def _miss(self, name: _Name) -> None:
        name.absent += 1
        if name.absent == _ABSENT_ROUNDS:
            self._report(
                f"runai-async: no workload has the name {name.text!r} any longer; "
                f"looking for a new one {every(self._seconds)}"
            )


def _followed(found: Sequence[WorkloadRef]) -> list[_Name]:
    """Return what is followed: each name in each project once."""
    names = {
        (ref.name, ref.project_id): _Name(ref.name, ref.project_id, ref.id)
        for ref in found
        if ref.name is not None and ref.project_id is not None
    }
    return list(names.values())


def _condition(followed: Sequence[_Name]) -> tuple[str, ...]:
    """Return the condition for a single name; a list of conditions is one that all must fit."""
    texts = {name.text for name in followed}
    return tuple(f"name=={text}" for text in texts if len(texts) == 1 and _FILTERABLE.fullmatch(text))


class Found(NamedTuple):
    """The workloads of a query as they were found at the start.

    Attributes:
        reader: has their rows.
        first: what the listing named.
        seconds: until the next listing, and between further ones.
    """

    reader: QueryReader
    first: Reading
    seconds: float


async def discovered(
    query: WorkloadQuery, what: str, patience: Patience, seconds: float | None = None
) -> Found:
    """List the workloads of a query, after waiting for the end of an outage.

    Args:
        query: which workloads.
        what: what they are, in the singular.
        patience: how long to wait.
        seconds: between two listings; by default as many as suit the number of the workloads.
    """
    reader = QueryReader(query)
    first = await patience.look_up("the list of workloads", lambda: reader.read_now(patience.deadline))
    if seconds is None:
        seconds = FEW_EVERY if len(first.ids) <= _FEW else ALL_EVERY
    if not first.ids:
        say(f"no {what} matches yet; looking for new ones {every(seconds)}")
    return Found(reader, first, seconds)


def every(seconds: float) -> str:
    """Write an interval: `every minute`, `every 10s`."""
    return "every minute" if seconds == ALL_EVERY else f"every {duration(seconds)}"
