"""`WorkloadQuery`: which workloads a fleet follows, as a value that can be listed any number of times."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Callable, Mapping, Sequence
from typing import Any, NamedTuple

from attrs import field

from runai_async._api.api import Api
from runai_async._api.paging import LeftOut
from runai_async._api.workload_list import Selection, conditions, each_once
from runai_async._text import is_uuid
from runai_async._values import frozen
from runai_async.models import Workload

Choose = Callable[[Mapping[str, Workload]], frozenset[str]]
"""Takes the workloads that a listing named, by id, and returns the ids of those that count."""


def _named(function: Any) -> str:
    """Return how the repr calls a function: a partial one may hold what is secret."""
    return getattr(function, "__qualname__", type(function).__name__)


@frozen(kw_only=True)
class WorkloadQuery(AsyncIterable[Workload]):
    """Which inference workloads to list; what `RunaiClient.inference_workloads` returns.

    Each iteration lists them anew, each workload once, and several may run at the same time. A fleet of a
    query lists it again and again by itself, with one attempt per request, and decodes only the rows that
    are new. Two queries of one client for the same workloads are equal.

    Attributes:
        filter_by: conditions, all of which must hold.
        project: the name of the project whose workloads are listed; None for those of all projects.
        is_inference: returns whether a workload is one of inference. A fleet asks it once for each workload,
            since what it goes by must not change.

    Raises:
        ValueError: *project* is empty, or has characters that a condition cannot hold.

    Example:
        >>> query = runai.inference_workloads(project="team-a", filter_by=["phase!=Stopped"])
        >>> query
        WorkloadQuery(filter_by=('phase!=Stopped',), project='team-a', is_inference=is_inference_type)
        >>> [workload.name async for workload in query]
        ['chat']
    """

    filter_by: tuple[str, ...] = field(default=(), converter=conditions)
    project: str | None = None
    is_inference: Callable[[Workload], bool] = field(repr=_named)
    _api: Api = field(alias="api", repr=False, eq=id)
    _left_out: LeftOut = field(alias="left_out", repr=False, eq=False)
    _choose: Choose | None = field(default=None, alias="choose", repr=False)

    def __attrs_post_init__(self) -> None:
        if self.project is not None:
            _check_project(self.project)

    def __aiter__(self) -> AsyncGenerator[Workload, None]:  # noqa: PYI058  (it can be closed)
        return self._each_once()

    async def _each_once(self) -> AsyncGenerator[Workload, None]:
        includes, selection = source_of(self).includes, _selection(self.project, self.filter_by)
        async for workload in each_once(self._api, selection, self._left_out, rescue=True):
            if includes(workload):
                yield workload


class QuerySource(NamedTuple):
    """What a fleet needs to read a query by itself.

    Attributes:
        api: the control plane.
        selection: which workloads the control plane is asked for.
        includes: returns whether a workload is one of the query.
        left_out: reports what cannot be read.
        choose: returns which of a whole listing count; None for all of them.
    """

    api: Api
    selection: Selection
    includes: Callable[[Workload], bool]
    left_out: LeftOut
    choose: Choose | None


def source_of(query: WorkloadQuery) -> QuerySource:
    """Return what a fleet needs to read a query by itself."""
    left_out = query._left_out  # noqa: SLF001  (a friend)  # pyright: ignore[reportPrivateUsage]

    def includes(workload: Workload) -> bool:
        if not query.is_inference(workload):
            return False
        if not is_uuid(workload.id):
            left_out.report(f"id {workload.id}", "the id is not a UUID")
            return False
        return True

    return QuerySource(
        query._api,  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        _selection(query.project, query.filter_by),
        includes,
        left_out,
        query._choose,  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    )


def check_own(query: WorkloadQuery, api: Api) -> None:
    """Raise `ValueError` for a query of another client than the one of *api*, or a copy of that."""
    if source_of(query).api.endpoints is not api.endpoints:
        raise ValueError("the query is of another client: make it with the client that watches its workloads")


def _selection(project: str | None, filter_by: Sequence[str]) -> Selection:
    return Selection((*filter_by, *(() if project is None else (f"projectName=={project}",))))


def _check_project(project: str) -> None:
    """Raise `ValueError` for a name that no condition can hold: commas stand between conditions."""
    if not project.strip():
        raise ValueError("project must not be empty; None stands for all projects")
    if wrong := sorted({char for char in project if char == "," or not char.isprintable()}):
        found = " ".join(map(repr, wrong))
        raise ValueError(f"project must not have {found} in it, which a condition cannot hold: {project!r}")
