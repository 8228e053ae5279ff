"""The HTTP endpoints of the fake control plane, and the meaning of their parameters."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from aiohttp import web

from runai_async.testing._access import Access
from runai_async.testing._openapi import document
from runai_async.testing._outages import Outages
from runai_async.testing._records import MissingError
from runai_async.testing._responses import ApiError, flag_in, json_response, page, text_in, uuid_in
from runai_async.testing._state import State
from runai_async.testing._versions import MINIMAL_CLUSTER, TOKEN_V1, TOKEN_V2, Version, lacking
from runai_async.testing._workload_list import SORT_ORDERS, WorkloadList, selected

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Note = Callable[[str, Iterable[Mapping[str, Any]]], None]
"""Takes the id of a workload and the revisions of it that a response contains."""

WORKLOADS = "/api/v1/workloads"
_INFERENCES = f"{WORKLOADS}/inferences"
_REVISION = f"{_INFERENCES}/revisions/{{revision_id}}"
_REVISIONS = f"{_INFERENCES}/{{workload_id}}/revisions"
_CLUSTERS = "/api/v1/clusters"


class Routes:
    """The endpoints of one version of the API, over one state."""

    def __init__(
        self,
        state: State,
        access: Access,
        outages: Outages,
        listing: WorkloadList,
        *,
        note: Note,
        version: Version,
    ) -> None:
        self._state = state
        self._access = access
        self._outages = outages
        self._listing = listing
        self._note = note
        self._version: Version = version

    def table(self) -> list[web.RouteDef]:
        """Return the route of each endpoint."""
        gets: dict[str, Handler] = {
            WORKLOADS: self._list_workloads,
            f"{WORKLOADS}/count": self._count_workloads,
            _REVISION: self._get,
            f"{_REVISION}/history": self._history,
            f"{_REVISION}/events": self._events,
            f"{_REVISION}/pods": self._pods,
            _REVISIONS: self._list,
            f"{_REVISIONS}/count": self._count,
            _CLUSTERS: self._list_clusters,
            f"{_CLUSTERS}/{{clusterId}}": self._get_cluster,
            MINIMAL_CLUSTER: self._get_minimal_cluster,
        }
        posts: dict[str, Handler] = {TOKEN_V1: self._access.token_v1, TOKEN_V2: self._access.token_v2}
        missing = lacking(self._version)
        return [
            web.get("/openapi.json", self._openapi, allow_head=False),
            *(web.post(path, handler) for path, handler in posts.items() if path not in missing),
            *(
                web.get(path, handler, allow_head=False)
                for path, handler in gets.items()
                if path not in missing
            ),
        ]

    async def respond(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Respond to one request, with the API's error body if its handler raises."""
        try:
            if not request.path.endswith("/token") and request.path != "/openapi.json":
                self._access.check(request.headers.get("Authorization"))
            return await handler(request)
        except ApiError as error:
            return error.response
        except MissingError as error:
            return ApiError(404, str(error)).response
        except web.HTTPException as error:
            headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
            return ApiError(error.status, error.reason, **headers).response

    async def _openapi(self, _: web.Request) -> web.Response:
        return json_response(document(self._version, sorts=self._listing.sorts))

    # --- revisions ----------------------------------------------------------------------------------------

    async def _list(self, request: web.Request) -> web.Response:
        workload_id, deleted = uuid_in(request, "workload_id"), flag_in(request, "deleted")
        if self._outages.is_away("read_model"):
            return self._without_revisions(workload_id)
        body = self._state.list_body(workload_id, deleted=deleted)
        self._note(workload_id, self._state.listed(workload_id, deleted=deleted))
        return web.Response(body=body, content_type="application/json")

    def _without_revisions(self, workload_id: str) -> web.Response:
        """Return the list of a read model that has just started."""
        if self._outages.lacks_revisions:
            raise MissingError(f"there is no workload {workload_id}")
        self._note(workload_id, [])
        return json_response({"revisions": []})

    async def _count(self, request: web.Request) -> web.Response:
        workload_id, deleted = uuid_in(request, "workload_id"), flag_in(request, "deleted")
        if self._outages.is_away("read_model"):
            return json_response({"count": 0})
        try:
            return json_response({"count": sum(1 for _ in self._state.listed(workload_id, deleted=deleted))})
        except MissingError:
            return json_response({"count": 0})  # this endpoint has no 404

    async def _get(self, request: web.Request) -> web.Response:
        revision = self._state.visible(self._revision_id(request))
        self._note(revision["workloadId"], [revision])
        return json_response(revision)

    async def _history(self, request: web.Request) -> web.Response:
        return page(request, "records", self._state.history(self._revision_id(request)))

    async def _events(self, request: web.Request) -> web.Response:
        order = text_in(request, "sortOrder") or "desc"
        if order not in SORT_ORDERS:
            raise ApiError(400, f"sortOrder must be one of {', '.join(SORT_ORDERS)}")
        events = self._state.events(self._revision_id(request))
        return page(request, "events", events if order == "asc" else events[::-1])

    async def _pods(self, request: web.Request) -> web.Response:
        deleted = flag_in(request, "deleted")
        pods = self._state.pods(self._revision_id(request))
        return json_response({"pods": [] if deleted else pods})

    def _revision_id(self, request: web.Request) -> str:
        """Return the id of the revision that a request is for, if the read model has revisions."""
        revision_id = uuid_in(request, "revision_id")
        if self._outages.is_away("read_model"):
            raise MissingError(f"there is no revision {revision_id}")
        return revision_id

    # --- workloads ----------------------------------------------------------------------------------------

    async def _list_workloads(self, request: web.Request) -> web.Response:
        rows, sort_by = self._workloads(request), text_in(request, "sortBy")
        try:
            arranged = self._listing.arranged(rows, sort_by, text_in(request, "sortOrder"))
        except ValueError as error:
            raise ApiError(400, str(error)) from error
        return page(request, "workloads", arranged)

    async def _count_workloads(self, request: web.Request) -> web.Response:
        return json_response({"count": len(self._workloads(request))})

    def _workloads(self, request: web.Request) -> Sequence[Mapping[str, Any]]:
        rows = self._state.live_workloads(deleted=flag_in(request, "deleted"))
        try:
            return selected(rows, request.query.getall("filterBy", []))
        except ValueError as error:
            raise ApiError(400, str(error)) from error

    # --- clusters -----------------------------------------------------------------------------------------

    async def _list_clusters(self, _: web.Request) -> web.Response:
        clusters = self._state.clusters
        return json_response([clusters.full(cluster_id) for cluster_id in clusters])

    async def _get_cluster(self, request: web.Request) -> web.Response:
        return json_response(self._state.clusters.full(uuid_in(request, "clusterId")))

    async def _get_minimal_cluster(self, request: web.Request) -> web.Response:
        return json_response(self._state.clusters.minimal(uuid_in(request, "clusterId")))
