"""The API of the fake control plane as an OpenAPI 3.1 document, served at `/openapi.json`."""

from __future__ import annotations

from typing import Any

from runai_async.models import Phase

Json = dict[str, Any]

_TEXT: Json = {"type": "string"}
_WHOLE: Json = {"type": "integer"}
_TIME: Json = {"type": "string", "format": "date-time"}
_UUID: Json = {
    "type": "string",
    "format": "uuid",
    "pattern": "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$",
}
_PHASE: Json = {"type": "string", "enum": [phase.value for phase in Phase]}
_FREE: Json = {"type": "object", "additionalProperties": True}
_FLAG: Json = {"type": "string", "enum": ["true", "false"]}


def _or_null(schema: Json) -> Json:
    return {"anyOf": [schema, {"type": "null"}]}


def _array(items: Json) -> Json:
    return {"type": "array", "items": items}


def _object(*required: str, **properties: Json) -> Json:
    schema: Json = {"type": "object", "properties": properties}
    return schema | ({"required": list(required)} if required else {})


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


_CONDITION = _object(
    "type",
    "status",
    type=_TEXT,
    status=_TEXT,
    message=_TEXT,
    reason=_TEXT,
    lastTransitionTime=_or_null(_TIME),
)
_CORES = _or_null(_object(limit=_or_null({"type": "number"}), request=_or_null({"type": "number"})))
_QUANTITY = _or_null(_object(limit=_or_null(_TEXT), request=_or_null(_TEXT)))
_EXTENDED = _or_null(
    _object(resource=_or_null(_TEXT), quantity=_or_null(_TEXT), exclude=_or_null({"type": "boolean"}))
)
_REQUESTED = _or_null(
    _object(
        gpuRequestType=_or_null({"type": "string", "enum": ["portion", "memory", "migProfile"]}),
        gpu=_CORES,
        gpuMemory=_QUANTITY,
        cpu=_CORES,
        cpuMemory=_QUANTITY,
        migProfile=_or_null(_array(_or_null(_TEXT))),
        extendedResources=_or_null(_array(_EXTENDED)),
    )
)
_ALLOCATED = _or_null(
    _object(
        gpu=_or_null({"type": "number"}),
        gpuMemory=_or_null(_TEXT),
        cpu=_or_null({"type": "number"}),
        cpuMemory=_or_null(_TEXT),
        migProfile=_or_null(_array(_or_null(_TEXT))),
        extendedResources=_or_null(_array(_EXTENDED)),
    )
)
_PODS = _object(**{name: _or_null(_WHOLE) for name in ("number", "min", "max", "parallelism", "completions")})
_SCHEMAS: Json = {
    "Error": _object("code", "message", code={"type": "integer", "minimum": 100, "maximum": 599},
                     message=_TEXT, details=_TEXT),
    "Revision": _object(
        "type", "name", "id", "workloadId", "tenantId", "clusterId", "departmentId", "projectId", "createdAt",
        "phase",
        type=_TEXT, name=_TEXT, id=_UUID, workloadId=_UUID, tenantId=_WHOLE, clusterId=_UUID,
        departmentId=_TEXT, projectId=_TEXT, createdAt=_TIME, deletedAt=_or_null(_TIME),
        revisionRequestedResources=_REQUESTED, podsRequestedResources=_REQUESTED, requestedPods=_PODS,
        requestedNodePools=_array(_TEXT), allocatedResources=_ALLOCATED, currentNodePools=_array(_TEXT),
        runningPods=_WHOLE, images=_array(_TEXT),
        environmentVariables={"type": "object", "additionalProperties": _TEXT},
        command=_TEXT, arguments=_TEXT, conditions=_array(_CONDITION), phase=_PHASE, phaseMessage=_TEXT,
        phaseUpdatedAt=_TIME, additionalFields=_FREE,
    ),
    "Workload": _object(
        "type", "name", "id", "source", "priority", "priorityClassName", "clusterId", "projectName",
        "projectId", "departmentName", "departmentId", "namespace", "createdAt", "phase", "conditions",
        "k8sPhase", "tenantId", "runningPods", "phaseUpdatedAt", "k8sPhaseUpdatedAt", "updatedAt",
        "deletedAt", "category",
        type=_TEXT, name=_TEXT, id=_UUID, source=_TEXT, priority=_or_null(_WHOLE), priorityClassName=_TEXT,
        clusterId=_UUID, projectName=_TEXT, projectId=_TEXT, departmentName=_TEXT, departmentId=_TEXT,
        namespace=_TEXT, createdAt=_TIME, phase=_PHASE, conditions=_array(_CONDITION), k8sPhase=_TEXT,
        tenantId=_WHOLE, runningPods=_WHOLE, phaseUpdatedAt=_TIME, k8sPhaseUpdatedAt=_TIME, updatedAt=_TIME,
        deletedAt=_or_null(_TIME), category=_TEXT,
    ),
    "HistoryRecord": _object(
        "meta", "spec",
        meta=_object("creationTimestamp", "type", creationTimestamp=_TIME,
                     type={"type": "string", "enum": ["Event", "PhaseUpdate"]}),
        spec=_object(event=_FREE, phaseUpdate=_object("phase", phase=_PHASE, phaseMessage=_TEXT)),
    ),
    "TokenRequest": {
        "oneOf": [
            _object("grantType", "clientID", "clientSecret",
                    grantType={"const": "client_credentials"}, clientID=_TEXT, clientSecret=_TEXT),
            _object("grantType", "appID", "appSecret",
                    grantType={"const": "app_token"}, appID=_TEXT, appSecret=_TEXT),
        ]
    },
    "TokenResponse": _object("accessToken", accessToken=_TEXT, expiresIn=_WHOLE),
    "OAuth2TokenResponse": _object("access_token", "token_type",
                                   access_token=_TEXT, expires_in=_WHOLE, token_type=_TEXT),
    "OAuth2Error": _object("error", error=_TEXT, error_description=_TEXT),
}  # fmt: skip


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
    errors = {str(status): _response(_ref("Error"), _ERRORS[str(status)]) for status in statuses}
    return {"200": _response(schema, "Success."), **errors}


def _in_path(name: str) -> Json:
    return {"name": name, "in": "path", "required": True, "schema": _UUID}


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


_WORKLOAD, _REVISION = _in_path("workloadId"), _in_path("revisionId")
_DELETED = _in_query("deleted", _FLAG)
_OFFSET = _in_query("offset", {"type": "integer", "minimum": 0, "maximum": 2**31 - 1})
_LIMIT = _in_query("limit", {"type": "integer", "minimum": 1, "maximum": 500, "default": 50})
_CONDITION_PATTERN = r"[A-Za-z0-9]+(==|!=|<=|>=|=@|!@|=\^|=\$)[A-Za-z0-9 ._-]+"
FILTER_PATTERN = f"^{_CONDITION_PATTERN}(,{_CONDITION_PATTERN})*$"
_FILTER = _in_query("filterBy", {"type": "string", "pattern": FILTER_PATTERN})
_PLAIN = (400, 401, 403, 500, 503)
_FINDS = (400, 401, 403, 404, 500, 503)
_INFERENCES = "/api/v1/workloads/inferences"
_COUNT = _object("count", count=_WHOLE)

DOCUMENT: Json = {
    "openapi": "3.1.0",
    "info": {
        "title": "Inference workload revisions, as the fake control plane serves them",
        "version": "2.22",
    },
    "components": {
        "schemas": _SCHEMAS,
        "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
    },
    "security": [{"bearer": []}],
    "paths": {
        f"{_INFERENCES}/{{workloadId}}/revisions": _get(
            "list_revisions",
            _object("revisions", revisions=_array(_ref("Revision"))),
            _FINDS,
            _WORKLOAD,
            _DELETED,
        ),
        f"{_INFERENCES}/{{workloadId}}/revisions/count": _get(
            "count_revisions", _COUNT, _PLAIN, _WORKLOAD, _DELETED
        ),
        f"{_INFERENCES}/revisions/{{revisionId}}": _get("get_revision", _ref("Revision"), _FINDS, _REVISION),
        f"{_INFERENCES}/revisions/{{revisionId}}/history": _get(
            "revision_history",
            _object("records", next=_WHOLE, records=_array(_ref("HistoryRecord"))),
            _FINDS,
            _REVISION,
            _OFFSET,
            _LIMIT,
        ),
        "/api/v1/workloads": _get(
            "list_workloads",
            _object("workloads", next=_WHOLE, workloads=_array(_ref("Workload"))),
            _PLAIN,
            _DELETED,
            _OFFSET,
            _LIMIT,
            _FILTER,
        ),
        "/api/v1/workloads/count": _get("count_workloads", _COUNT, _PLAIN, _DELETED, _FILTER),
        "/api/v1/token": _post(
            "grant_token",
            "application/json",
            _ref("TokenRequest"),
            _responses(_ref("TokenResponse"), 400, 401, 500, 503),
        ),
        "/api/v2/token": _post(
            "grant_token_v2",
            "application/x-www-form-urlencoded",
            _object(
                "grant_type",
                grant_type={"const": "client_credentials"},
                client_id=_TEXT,
                client_secret=_TEXT,
            ),
            {
                "200": _response(_ref("OAuth2TokenResponse"), "A token."),
                "400": _response(_ref("OAuth2Error"), "The request is malformed."),
                "401": _response(_ref("OAuth2Error"), "The credentials are wrong."),
                "500": _response(_ref("Error"), _ERRORS["500"]),
                "503": _response(_ref("Error"), _ERRORS["503"]),
            },
        ),
    },
}
