"""The schemas of the API, for the OpenAPI document of the fake control plane."""

from __future__ import annotations

from typing import Any

from runai_async.models import Phase

Json = dict[str, Any]

TEXT: Json = {"type": "string"}
WHOLE: Json = {"type": "integer"}
_TIME: Json = {"type": "string", "format": "date-time"}
UUID: Json = {
    "type": "string",
    "format": "uuid",
    "pattern": "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$",
}
_PHASE: Json = {"type": "string", "enum": [phase.value for phase in Phase]}
_FREE: Json = {"type": "object", "additionalProperties": True}
FLAG: Json = {"type": "string", "enum": ["true", "false"]}


def _or_null(schema: Json) -> Json:
    return {"anyOf": [schema, {"type": "null"}]}


def array(items: Json) -> Json:
    """Return the schema of an array."""
    return {"type": "array", "items": items}


def object_of(*required: str, **properties: Json) -> Json:
    """Return the schema of an object."""
    schema: Json = {"type": "object", "properties": properties}
    return schema | ({"required": list(required)} if required else {})


def ref(name: str) -> Json:
    """Return a reference to a schema by its name."""
    return {"$ref": f"#/components/schemas/{name}"}


_CONDITION = object_of(
    "type",
    "status",
    type=TEXT,
    status=TEXT,
    message=TEXT,
    reason=TEXT,
    lastTransitionTime=_or_null(_TIME),
)
_CORES = _or_null(object_of(limit=_or_null({"type": "number"}), request=_or_null({"type": "number"})))
_QUANTITY = _or_null(object_of(limit=_or_null(TEXT), request=_or_null(TEXT)))
_EXTENDED = _or_null(
    object_of(resource=_or_null(TEXT), quantity=_or_null(TEXT), exclude=_or_null({"type": "boolean"}))
)
_REQUESTED = _or_null(
    object_of(
        gpuRequestType=_or_null({"type": "string", "enum": ["portion", "memory", "migProfile"]}),
        gpu=_CORES,
        gpuMemory=_QUANTITY,
        cpu=_CORES,
        cpuMemory=_QUANTITY,
        migProfile=_or_null(array(_or_null(TEXT))),
        extendedResources=_or_null(array(_EXTENDED)),
    )
)
_ALLOCATED = _or_null(
    object_of(
        gpu=_or_null({"type": "number"}),
        gpuMemory=_or_null(TEXT),
        cpu=_or_null({"type": "number"}),
        cpuMemory=_or_null(TEXT),
        migProfile=_or_null(array(_or_null(TEXT))),
        extendedResources=_or_null(array(_EXTENDED)),
    )
)
_PODS = object_of(
    **{name: _or_null(WHOLE) for name in ("number", "min", "max", "parallelism", "completions")}
)
_STATE: Json = {
    "type": "string",
    "enum": [
        "WaitingToConnect",
        "Connected",
        "Disconnected",
        "MissingPrerequisites",
        "ServiceIssues",
        "Unknown",
    ],
}
SCHEMAS: Json = {
    "Error": object_of("code", "message", code={"type": "integer", "minimum": 100, "maximum": 599},
                     message=TEXT, details=TEXT),
    "Revision": object_of(
        "type", "name", "id", "workloadId", "tenantId", "clusterId", "departmentId", "projectId", "createdAt",
        "phase",
        type=TEXT, name=TEXT, id=UUID, workloadId=UUID, tenantId=WHOLE, clusterId=UUID,
        departmentId=TEXT, projectId=TEXT, createdAt=_TIME, deletedAt=_or_null(_TIME),
        revisionRequestedResources=_REQUESTED, podsRequestedResources=_REQUESTED, requestedPods=_PODS,
        requestedNodePools=array(TEXT), allocatedResources=_ALLOCATED, currentNodePools=array(TEXT),
        runningPods=WHOLE, images=array(TEXT),
        environmentVariables={"type": "object", "additionalProperties": TEXT},
        command=TEXT, arguments=TEXT, conditions=array(_CONDITION), phase=_PHASE, phaseMessage=TEXT,
        phaseUpdatedAt=_TIME, additionalFields=_FREE,
    ),
    "Workload": object_of(
        "type", "name", "id", "source", "priority", "priorityClassName", "clusterId", "projectName",
        "projectId", "departmentName", "departmentId", "namespace", "createdAt", "phase", "conditions",
        "k8sPhase", "tenantId", "runningPods", "phaseUpdatedAt", "k8sPhaseUpdatedAt", "updatedAt",
        "deletedAt", "category",
        type=TEXT, name=TEXT, id=UUID, source=TEXT, priority=_or_null(WHOLE), priorityClassName=TEXT,
        clusterId=UUID, projectName=TEXT, projectId=TEXT, departmentName=TEXT, departmentId=TEXT,
        namespace=TEXT, createdAt=_TIME, phase=_PHASE, conditions=array(_CONDITION), k8sPhase=TEXT,
        tenantId=WHOLE, runningPods=WHOLE, phaseUpdatedAt=_TIME, k8sPhaseUpdatedAt=_TIME, updatedAt=_TIME,
        deletedAt=_or_null(_TIME), category=TEXT,
    ),
    "Cluster": object_of(
        "uuid", "name", "tenantId", "createdAt",
        uuid=UUID, name=TEXT, tenantId=WHOLE, createdAt=_TIME, status=object_of("state", state=_STATE),
        lastLiveness=_or_null(_TIME), version=TEXT, domain=TEXT, updatedAt=_TIME, deletedAt=_or_null(_TIME),
    ),
    "MinimalCluster": object_of(
        "uuid", "name", "tenantId",
        uuid=UUID, name=TEXT, tenantId=WHOLE, version=TEXT, domain=TEXT, state=_STATE, platform=TEXT,
    ),
    "HistoryRecord": object_of(
        "meta", "spec",
        meta=object_of("creationTimestamp", "type", creationTimestamp=_TIME,
                     type={"type": "string", "enum": ["Event", "PhaseUpdate"]}),
        spec=object_of(event=_FREE, phaseUpdate=object_of("phase", phase=_PHASE, phaseMessage=TEXT)),
    ),
    "TokenRequest": {
        "oneOf": [
            object_of("grantType", "clientID", "clientSecret",
                    grantType={"const": "client_credentials"}, clientID=TEXT, clientSecret=TEXT),
            object_of("grantType", "appID", "appSecret",
                    grantType={"const": "app_token"}, appID=TEXT, appSecret=TEXT),
        ]
    },
    "TokenResponse": object_of("accessToken", accessToken=TEXT, expiresIn=WHOLE),
    "OAuth2TokenResponse": object_of("access_token", "token_type",
                                   access_token=TEXT, expires_in=WHOLE, token_type=TEXT),
    "OAuth2Error": object_of("error", error=TEXT, error_description=TEXT),
}  # fmt: skip
