"""The API of the fake control plane as an OpenAPI 3.1 document, served at `/openapi.json`."""

from __future__ import annotations

from runai_async.testing._schemas import (
    FLAG,
    SCHEMAS,
    TEXT,
    UUID,
    WHOLE,
    Json,
    array,
    object_of,
    or_null,
    ref,
)
from runai_async.testing._versions import MINIMAL_CLUSTER, Version, lacking
from runai_async.testing._workload_list import FILTER_PATTERN, SORT_FIELDS, SORT_ORDERS


def _response(schema: Json, description: str) -> Json:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


_ERRORS = {
    "400": "The request is malformed.",
    "401": "The token is missing, expired or revoked.",
    "403": "The account lacks the permission.",
    "404": "It does not exist.",
    "500": "The control plane failed.",
    "503": "The control plane is unavailable.",
}


def _responses(schema: Json, *statuses: int) -> Json:
    errors = {str(status): _response(ref("Error"), _ERRORS[str(status)]) for status in statuses}
    return {"200": _response(schema, "Success."), **errors}


def _in_path(name: str) -> Json:
    return {"name": name, "in": "path", "required": True, "schema": UUID}


def _in_query(name: str, schema: Json) -> Json:
    return {"name": name, "in": "query", "required": False, "schema": schema}


def _get(operation: str, schema: Json, statuses: tuple[int, ...], *parameters: Json) -> Json:
    return {
        "get": {
            "operationId": operation,
            "parameters": list(parameters),
            "responses": _responses(schema, *statuses),
        }
    }


def _post(operation: str, kind: str, body: Json, responses: Json) -> Json:
    return {
        "post": {
            "operationId": operation,
            "security": [],
            "requestBody": {"required": True, "content": {kind: {"schema": body}}},
            "responses": responses,
        }
    }


_WORKLOAD, _REVISION, _CLUSTER = _in_path("workloadId"), _in_path("revisionId"), _in_path("clusterId")
_DELETED = _in_query("deleted", FLAG)
_OFFSET = _in_query("offset", {"type": "integer", "minimum": 0, "maximum": 2**31 - 1})
_LIMIT = _in_query("limit", {"type": "integer", "minimum": 1, "maximum": 500, "default": 50})
_FILTER = _in_query("filterBy", {"type": "string", "pattern": FILTER_PATTERN})
_SORT_BY = _in_query("sortBy", {"type": "string", "enum": list(SORT_FIELDS)})
_SORT_ORDER = _in_query("sortOrder", {"type": "string", "enum": list(SORT_ORDERS), "default": "asc"})
_EVENT_ORDER = _in_query("sortOrder", {"type": "string", "enum": list(SORT_ORDERS), "default": "desc"})
_PLAIN = (400, 401, 403, 500, 503)
_FINDS = (400, 401, 403, 404, 500, 503)
_INFERENCES = "/api/v1/workloads/inferences"
_COUNT = object_of("count", count=WHOLE)

DOCUMENT: Json = {
    "openapi": "3.1.0",
    "info": {
        "title": "Inference workload revisions, as the fake control plane serves them",
        "version": "2.22",
    },
    "components": {
        "schemas": SCHEMAS,
        "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
    },
    "security": [{"bearer": []}],
    "paths": {
        f"{_INFERENCES}/{{workloadId}}/revisions": _get(
            "list_revisions",
            object_of("revisions", revisions=array(ref("Revision"))),
            _FINDS,
            _WORKLOAD,
            _DELETED,
        ),
        f"{_INFERENCES}/{{workloadId}}/revisions/count": _get(
            "count_revisions", _COUNT, _PLAIN, _WORKLOAD, _DELETED
        ),
        f"{_INFERENCES}/revisions/{{revisionId}}": _get("get_revision", ref("Revision"), _FINDS, _REVISION),
        f"{_INFERENCES}/revisions/{{revisionId}}/history": _get(
            "revision_history",
            object_of("records", next=WHOLE, records=array(ref("HistoryRecord"))),
            _FINDS,
            _REVISION,
            _OFFSET,
            _LIMIT,
        ),
        f"{_INFERENCES}/revisions/{{revisionId}}/events": _get(
            "revision_events",
            object_of("events", next=WHOLE, events=array(or_null(ref("Event")))),
            _FINDS,
            _REVISION,
            _OFFSET,
            _LIMIT,
            _EVENT_ORDER,
        ),
        f"{_INFERENCES}/revisions/{{revisionId}}/pods": _get(
            "revision_pods", object_of("pods", pods=array(ref("Pod"))), _FINDS, _REVISION, _DELETED
        ),
        "/api/v1/workloads": _get(
            "list_workloads",
            object_of("workloads", next=WHOLE, workloads=array(ref("Workload"))),
            _PLAIN,
            _DELETED,
            _OFFSET,
            _LIMIT,
            _FILTER,
            _SORT_BY,
            _SORT_ORDER,
        ),
        "/api/v1/workloads/count": _get("count_workloads", _COUNT, _PLAIN, _DELETED, _FILTER),
        "/api/v1/clusters": _get("list_clusters", array(ref("Cluster")), _PLAIN),
        "/api/v1/clusters/{clusterId}": _get("get_cluster", ref("Cluster"), _FINDS, _CLUSTER),
        MINIMAL_CLUSTER: _get("get_minimal_cluster", ref("MinimalCluster"), _FINDS, _CLUSTER),
        "/api/v1/token": _post(
            "grant_token",
            "application/json",
            ref("TokenRequest"),
            _responses(ref("TokenResponse"), 400, 401, 403, 500, 503),
        ),
        "/api/v2/token": _post(
            "grant_token_v2",
            "application/x-www-form-urlencoded",
            object_of(
                "grant_type",
                grant_type={"const": "client_credentials"},
                client_id=TEXT,
                client_secret=TEXT,
            ),
            {
                "200": _response(ref("OAuth2TokenResponse"), "A token."),
                "400": _response(ref("OAuth2Error"), "The request is malformed."),
                "401": _response(ref("OAuth2Error"), "The credentials are wrong."),
                "500": _response(ref("Error"), _ERRORS["500"]),
                "503": _response(ref("Error"), _ERRORS["503"]),
            },
        ),
    },
}


def document(version: Version, *, sorts: bool) -> Json:
    """Return the API of one version, of a server that sorts lists or does not."""
    paths = {path: item for path, item in DOCUMENT["paths"].items() if path not in lacking(version)}
    if not sorts:
        paths["/api/v1/workloads"] = _without_sorting(paths["/api/v1/workloads"])
    return DOCUMENT | {"info": DOCUMENT["info"] | {"version": version}, "paths": paths}


def _without_sorting(item: Json) -> Json:
    known = [part for part in item["get"]["parameters"] if part not in (_SORT_BY, _SORT_ORDER)]
    return {"get": item["get"] | {"parameters": known}}
