"""What each endpoint is sent, and how its response is read. No I/O, no clock.

One endpoint in, one `Request` out; one `Response` in, one model or error out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Generic, TypeVar
from urllib.parse import quote

from attrs import evolve
from yarl import URL

from runai_async import _codec
from runai_async._api.paging import LONGEST_PAGE
from runai_async._api.statuses import named_page, raise_for_status
from runai_async._checkpoint.base_url import normal_base_url
from runai_async._http.messages import Request, Response
from runai_async._text import canonical_id
from runai_async.errors import DecodeError
from runai_async.models import Cluster, HistoryRecord, Pod, Revision, RevisionLogEvent, Workload

T = TypeVar("T")


class Call(Generic[T]):
    """A request, and how to read the response; what `Retrying` runs.

    Attributes:
        operation: the name that hooks and messages use.
        request: what to send.
        parse: turns the body of a successful response into a value; raises `DecodeError`.
    """

    __slots__ = ("operation", "parse", "request")

    def __init__(self, operation: str, request: Request, parse: Callable[[bytes], T]) -> None:
        self.operation: str = operation
        self.request: Request = request
        self.parse: Callable[[bytes], T] = parse

    def read(self, response: Response) -> T:
        """Turn a response into a value.

        Raises:
            ApiError: its status is an error.
            DecodeError: its body does not have the promised shape.
        """
        if response.status != 200:  # noqa: PLR2004  (saves a function call for nearly every response)
            raise_for_status(response, self.request)
        try:
            return self.parse(response.body)
        except DecodeError as error:
            raise named_page(error, response, self.request) from error.__cause__


class Endpoints:
    """The calls that the control plane at one base URL accepts.

    Attributes:
        base_url: the root of all paths.
        normal_url: the same in its normal spelling: one object for all checkpoints of a client.
    """

    def __init__(self, base_url: URL) -> None:
        self.base_url = base_url
        self.normal_url: str = normal_base_url(base_url)

    def _inferences(self, path: str) -> URL:
        # Not joined, which takes seven times as long: the path is quoted already.
        return self.base_url.with_path(
            f"{self.base_url.raw_path}api/v1/workloads/inferences/{path}", encoded=True
        )

    # https://run-ai-docs.nvidia.com/api/2.22/workloads/revisions
    def list_revisions(self, workload_id: str, *, deleted: bool | None = None) -> Call[list[Revision]]:
        """Return the call for a workload's revisions: the live ones, or only the deleted ones."""
        request = _listing(self._inferences(f"{workload_id}/revisions"), deleted)
        return Call("list_revisions", request, _codec.decode_revisions)

    def count_revisions(self, workload_id: str, *, deleted: bool | None = None) -> Call[int]:
        """Return the call for the number of a workload's revisions."""
        request = _listing(self._inferences(f"{workload_id}/revisions/count"), deleted)
        return Call("count_revisions", request, _codec.decode_count)

    def get_revision(self, revision_id: str) -> Call[Revision]:
        """Return the call for one revision."""
        request = Request("GET", self._inferences(f"revisions/{_segment(revision_id)}"))
        return Call("get_revision", request, partial(_decode_one, canonical_id(revision_id)))

    def revision_history(self, revision_id: str, offset: int) -> Call[_codec.Page[HistoryRecord]]:
        """Return the call for one page of a revision's history."""
        url = self._inferences(f"revisions/{_segment(revision_id)}/history")
        request = Request("GET", url.with_query(offset=str(offset), limit=str(LONGEST_PAGE)))
        return Call(
            "revision_history", request, lambda body: _codec.decode_page(body, "records", HistoryRecord)
        )

    # https://docs.nvidia.com/run-ai/self-hosted/reference/rest-api/endpoints/events, likewise of pods
    def revision_events(
        self, revision_id: str, offset: int, limit: int = LONGEST_PAGE, *, newest_first: bool = True
    ) -> Call[_codec.Page[RevisionLogEvent]]:
        """Return the call for one page of the events of a revision."""
        url = self._inferences(f"revisions/{_segment(revision_id)}/events")
        query = {"offset": str(offset), "limit": str(limit), "sortOrder": "desc" if newest_first else "asc"}
        return Call("revision_events", Request("GET", url.with_query(query)), _decode_events)

    def revision_pods(self, revision_id: str) -> Call[_codec.Page[Pod]]:
        """Return the call for the pods of a revision, which come without pages."""
        url = self._inferences(f"revisions/{_segment(revision_id)}/pods")
        return Call("revision_pods", Request("GET", url), lambda body: _codec.decode_page(body, "pods", Pod))

    def list_workloads(
        self,
        filter_by: Sequence[str],
        offset: int,
        limit: int,
        *,
        deleted: bool | None = None,
        is_sorted: bool = True,
    ) -> Call[_codec.Page[Workload]]:
        """Return the call for one page of the workloads, the oldest first if *is_sorted*."""
        query = {"offset": str(offset), "limit": str(limit)}
        if is_sorted:  # without it the order is not specified, and may be another one for each page
            query |= {"sortBy": "createdAt", "sortOrder": "asc"}
        if filter_by:
            query["filterBy"] = ",".join(filter_by)
        request = _listing(self.base_url.joinpath("api/v1/workloads").with_query(query), deleted)
        return Call("list_workloads", request, lambda body: _codec.decode_page(body, "workloads", Workload))

    def list_clusters(self) -> Call[_codec.Page[Cluster]]:
        """Return the call for all clusters, which comes without pages."""
        request = Request("GET", self.base_url.joinpath("api/v1/clusters"))
        return Call("list_clusters", request, lambda body: _codec.decode_array(body, Cluster))

    def get_cluster(self, cluster_id: str, *, minimal: bool = False) -> Call[Cluster]:
        """Return the call for one cluster: in full, or what nearly everyone may see of it."""
        path = f"{self.base_url.raw_path}api/v1/clusters/{_segment(cluster_id)}"
        url = self.base_url.with_path(f"{path}/minimal" if minimal else path, encoded=True)
        return Call("get_cluster", Request("GET", url), partial(_decode_cluster, canonical_id(cluster_id)))


def _decode_events(body: bytes) -> _codec.Page[RevisionLogEvent]:
    """Decode one page of events; by the schema an item may be null, which is none."""
    page = _codec.decode_page(body, "events", RevisionLogEvent)
    return evolve(page, broken=[item for item in page.broken if item.raw != b"null"])


def _decode_cluster(cluster_id: str, body: bytes) -> Cluster:
    """Decode the cluster that was asked for; another one must not be taken for it."""
    cluster = _codec.from_json(body, Cluster)
    if cluster.id != cluster_id:
        raise DecodeError("$.uuid: not the cluster that was asked for", path="$.uuid")
    return cluster


def _decode_one(revision_id: str, body: bytes) -> Revision:
    """Decode the revision that was asked for; another one must not be taken for it."""
    revision = _codec.decode_revision(body)
    if revision.id != revision_id:
        raise DecodeError("$.id: not the revision that was asked for", path="$.id")
    return revision


def _segment(item_id: str) -> str:
    """Quote an id for a path: a watch asks for ids that came in a response, which may not be UUIDs."""
    return quote(item_id, safe="").replace(".", "%2E")


def _listing(url: URL, deleted: bool | None) -> Request:  # noqa: FBT001  (the parameter's own values)
    return Request("GET", url.update_query(deleted="true") if deleted else url)


def with_parse(call: Call[Any], parse: Callable[[bytes], T]) -> Call[T]:
    """Return the same call with another way to read a successful response."""
    return Call(call.operation, call.request, parse)
