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


def or_null(schema: Json) -> Json:
    """Return a schema that also allows null."""
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
    lastTransitionTime=or_null(_TIME),
)
_CORES = or_null(object_of(limit=or_null({"type": "number"}), request=or_null({"type": "number"})))
_QUANTITY = or_null(object_of(limit=or_null(TEXT), request=or_null(TEXT)))
_EXTENDED = or_null(
    object_of(resource=or_null(TEXT), quantity=or_null(TEXT), exclude=or_null({"type": "boolean"}))
)
_REQUESTED = or_null(
    object_of(
        gpuRequestType=or_null({"type": "string", "enum": ["portion", "memory", "migProfile"]}),
        gpu=_CORES,
        gpuMemory=_QUANTITY,
        cpu=_CORES,
        cpuMemory=_QUANTITY,
        migProfile=or_null(array(or_null(TEXT))),
        extendedResources=or_null(array(_EXTENDED)),
    )
)
_ALLOCATED = or_null(
    object_of(
        gpu=or_null({"type": "number"}),
        gpuMemory=or_null(TEXT),
        cpu=or_null({"type": "number"}),
        cpuMemory=or_null(TEXT),
        migProfile=or_null(array(or_null(TEXT))),
        extendedResources=or_null(array(_EXTENDED)),
    )
)
_PODS = object_of(**{name: or_null(WHOLE) for name in ("number", "min", "max", "parallelism", "completions")})
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
        departmentId=TEXT, projectId=TEXT, createdAt=_TIME, deletedAt=or_null(_TIME),
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
        type=TEXT, name=TEXT, id=UUID, source=TEXT, priority=or_null(WHOLE), priorityClassName=TEXT,
        clusterId=UUID, projectName=TEXT, projectId=TEXT, departmentName=TEXT, departmentId=TEXT,
        namespace=TEXT, createdAt=_TIME, phase=_PHASE, conditions=array(_CONDITION), k8sPhase=TEXT,
        tenantId=WHOLE, runningPods=WHOLE, phaseUpdatedAt=_TIME, k8sPhaseUpdatedAt=_TIME, updatedAt=_TIME,
        deletedAt=or_null(_TIME), category=TEXT,
    ),
    "Cluster": object_of(
        "uuid", "name", "tenantId", "createdAt",
        uuid=UUID, name=TEXT, tenantId=WHOLE, createdAt=_TIME, status=object_of("state", state=_STATE),
        lastLiveness=or_null(_TIME), version=TEXT, domain=TEXT, updatedAt=_TIME, deletedAt=or_null(_TIME),
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
    "Event": object_of(
        "createdAt", "type", "clusterId", "message",
        createdAt=_TIME, id=UUID, type=TEXT, clusterId=UUID, message=TEXT, reason=TEXT, source=TEXT,
        involvedObject=object_of("uid", "kind", "name", "namespace", uid=UUID, kind=TEXT, name=TEXT,
                                 namespace=TEXT),
    ),
    "Pod": object_of(
        "name", "priorityClassName", "id", "workloadId", "clusterId", "createdAt", "containers", "k8sPhase",
        "tenantId", "k8sPhaseUpdatedAt", "updatedAt",
        name=TEXT, priorityClassName=TEXT, id=UUID, workloadId=UUID, revisionId=or_null(UUID), clusterId=UUID,
        projectId=TEXT, nodeName=or_null(TEXT), createdAt=_TIME, completedAt=or_null(_TIME),
        containers=array(object_of("name", "image", name=TEXT, image=TEXT, startedAt=or_null(_TIME))),
        currentNodePool=or_null(TEXT), requestedNodePools=array(TEXT), requestedResources=_REQUESTED,
        allocatedResources=_ALLOCATED, tolerations=array(_FREE), k8sPhase=TEXT, ip=or_null(TEXT),
        nodeAffinity=_FREE, tenantId=WHOLE, k8sPhaseUpdatedAt=_TIME, updatedAt=_TIME,
        deletedAt=or_null(_TIME), projectName=TEXT, workloadName=TEXT,
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
