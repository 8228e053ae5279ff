"""Workloads and revisions as a control plane returns them, for a test to change."""

from __future__ import annotations

import random
from typing import Any
from uuid import NAMESPACE_OID, uuid5


def sample_cluster(cluster_id: str, name: str, now: str) -> dict[str, Any]:
    """Return a cluster as a control plane returns it, without what its state decides."""
    return {
        "uuid": cluster_id,
        "name": name,
        "tenantId": 1,
        "createdAt": now,
        "version": "2.24.17",
        "domain": f"https://{name}.example",
        "deletedAt": None,
    }


def sample_workload(workload_id: str, kind: str, name: str, cluster_id: str, now: str) -> dict[str, Any]:
    """Return a workload as a control plane returns it."""
    return {
        "type": kind,
        "name": name,
        "id": workload_id,
        "source": "Control-plane",
        "priority": 75,
        "priorityClassName": "inference",
        "clusterId": cluster_id,
        "projectName": "team-a",
        "projectId": "1",
        "departmentName": "research",
        "departmentId": "2",
        "namespace": "runai-team-a",
        "createdAt": now,
        "phase": "Running",
        "conditions": [],
        "k8sPhase": "Running",
        "tenantId": 1,
        "runningPods": 1,
        "phaseUpdatedAt": now,
        "k8sPhaseUpdatedAt": now,
        "updatedAt": now,
        "deletedAt": None,
        "category": "Deploy",
    }


def sample_revision(workload: dict[str, Any], number: int, rng: random.Random) -> dict[str, Any]:
    """Return a revision as a control plane with a real workload returns it."""
    resources = _resources()
    return {
        "type": workload["type"],
        "name": f"{workload['name']}-{number:05d}",
        "workloadId": workload["id"],
        "tenantId": workload["tenantId"],
        "clusterId": workload["clusterId"],
        "departmentId": workload["departmentId"],
        "projectId": workload["projectId"],
        "deletedAt": None,
        "revisionRequestedResources": {**resources, "gpu": {"limit": 2.0, "request": 2.0}},
        "podsRequestedResources": resources,
        "requestedPods": {"number": 2, "min": 1, "max": 4},
        "requestedNodePools": ["default", "a100"],
        "allocatedResources": {"gpu": 2.0, "gpuMemory": "160G", "cpu": 7.5, "cpuMemory": "60G"},
        "currentNodePools": ["a100"],
        "runningPods": 0,
        "images": [f"models.example/llm-server:1.{number}"],
        "environmentVariables": {
            "MODEL": "llama-70b",
            "MAX_BATCH": "32",
            "API_KEY": f"{rng.getrandbits(64):x}",
        },
        "command": "python -m server",
        "arguments": "--port 8000 --tensor-parallel 2",
        "conditions": _conditions(workload["createdAt"]),
        "phaseMessage": "",
        "additionalFields": {"servingPort": 8000, "autoscaling": {"metric": "concurrency", "target": 8}},
    }


def sample_pod(revision: dict[str, Any], number: int, k8s_phase: str) -> dict[str, Any]:
    """Return a pod of a revision as a control plane returns it; its id is always the same."""
    is_running = k8s_phase == "Running"
    since = revision.get("phaseUpdatedAt") or revision["createdAt"]
    name = f"{revision['name']}-deployment-{number}"
    return {
        "name": name,
        "priorityClassName": "inference",
        "id": str(uuid5(NAMESPACE_OID, f"{revision['id']}/{number}")),
        "workloadId": revision["workloadId"],
        "revisionId": revision["id"],
        "clusterId": revision["clusterId"],
        "projectId": revision["projectId"],
        "nodeName": f"node-{number + 1}" if is_running else None,
        "createdAt": revision["createdAt"],
        "completedAt": None,
        "containers": [_container(image, since if is_running else None) for image in _images(revision)],
        "currentNodePool": "a100" if is_running else None,
        "requestedNodePools": ["default", "a100"],
        "tolerations": [],
        "k8sPhase": k8s_phase,
        "tenantId": revision["tenantId"],
        "k8sPhaseUpdatedAt": since,
        "updatedAt": since,
        "deletedAt": None,
    }


def _images(revision: dict[str, Any]) -> list[str]:
    return revision.get("images") or ["models.example/llm-server:1"]


def _container(image: str, started_at: str | None) -> dict[str, Any]:
    return {"name": "user-container", "image": image, "startedAt": started_at}


def pods_of(revision: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the pods that a revision has by its own fields: those that run, and those still to come."""
    running = revision.get("runningPods") or 0
    coming = max(0, wanted_pods(revision) - running) if revision["phase"] in _COMING else 0
    phases = ["Running"] * running + ["Pending"] * coming
    return [sample_pod(revision, number, phase) for number, phase in enumerate(phases)]


_COMING = frozenset({"Creating", "Initializing", "Pending", "Resuming", "Running", "Updating", "Degraded"})
"""Phases in which a revision has the pods that do not run yet."""


def wanted_pods(revision: dict[str, Any]) -> int:
    """Return how many pods a revision requests."""
    requested: dict[str, Any] = revision.get("requestedPods") or {}
    return max((requested[key] for key in ("number", "min") if requested.get(key) is not None), default=1)


def _resources() -> dict[str, Any]:
    return {
        "gpuRequestType": "portion",
        "gpu": {"limit": 1.0, "request": 1.0},
        "gpuMemory": None,
        "cpu": {"limit": 8.0, "request": 4.0},
        "cpuMemory": {"limit": "64G", "request": "32G"},
        "extendedResources": [{"resource": "nvidia.com/rdma", "quantity": "1", "exclude": False}],
    }


def _conditions(at: str) -> list[dict[str, str]]:
    return [
        {
            "type": "Ready",
            "status": "Unknown",
            "message": "the revision is being rolled out",
            "reason": "Deploying",
            "lastTransitionTime": at,
        },
        {
            "type": "ContainerHealthy",
            "status": "True",
            "message": "",
            "reason": "",
            "lastTransitionTime": at,
        },
    ]
