"""The bodies that the benchmarks work on: lists of revisions of about 2 kB and 13 objects each."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

FIVE = 5
_MARK = "~" * 12
_BEGIN = datetime(2026, 1, 1)  # noqa: DTZ001  (the zone is added to its text)
_PHASES = ("Running", "Degraded", "Stopped")
"""Settled phases: a revision in transition would make a watch poll faster."""


def workload_id(number: int) -> str:
    """Return the id of the workload with that number."""
    return f"00000000-0000-4000-8000-{number:012x}"


def revision(number: int, tail: str, *, step: int = 0, unknown: bool = False) -> dict[str, Any]:
    """Return one revision in the API's own shape.

    Args:
        number: its number among the revisions of its workload.
        tail: the last twelve digits of the ids in it.
        step: how often its phase has changed.
        unknown: whether to add a key that the schema does not name.
    """
    cores, memory = {"limit": 4.5, "request": 2}, {"limit": "48Gi", "request": "32Gi"}
    requested = {"gpuRequestType": "portion", "gpu": cores, "cpu": cores, "cpuMemory": memory}
    moved_at = (_BEGIN + timedelta(seconds=step)).isoformat(timespec="milliseconds") + "Z"
    value: dict[str, Any] = {
        "type": "runai-revision",
        "name": f"llama-serving-{number:05d}-{tail}",
        "id": f"{number:08x}-0000-4000-8000-{tail}",
        "workloadId": f"00000000-0000-4000-8000-{tail}",
        "tenantId": 1001,
        "clusterId": "71f69d83-ba66-4822-adf5-55ce55efd210",
        "departmentId": "4500012",
        "projectId": "4501234",
        "createdAt": f"2025-12-31T09:{number // 60 % 60:02d}:{number % 60:02d}.531Z",
        "revisionRequestedResources": requested,
        "podsRequestedResources": requested,
        "requestedPods": {"min": 1, "max": 4},
        "requestedNodePools": ["h100", "default"],
        "allocatedResources": {"gpu": 2.0, "gpuMemory": "160Gi", "cpu": 4.5, "cpuMemory": "64Gi"},
        "currentNodePools": ["h100"],
        "runningPods": 2,
        "images": ["registry.example.com/serving/vllm-openai:v0.9.1"],
        "environmentVariables": {
            "HF_HOME": "/models/cache",
            "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
            "OTEL_SERVICE_NAME": f"llama-serving-{tail}",
        },
        "command": "python3 -m vllm.entrypoints.openai.api_server",
        "arguments": "--model meta-llama/Llama-3.3-70B-Instruct --tensor-parallel-size 2 --seed 8192",
        "conditions": [
            {
                "type": kind,
                "status": "True",
                "reason": "MinimumReplicasAvailable",
                "message": f"{kind}: the revision of {tail} serves on every replica that was asked for",
                "lastTransitionTime": moved_at,
            }
            for kind in ("Ready", "ContainerHealthy")
        ],
        "phase": _PHASES[step % len(_PHASES)],
        "phaseMessage": "Revision is ready; all of its replicas have passed their readiness probes",
        "phaseUpdatedAt": moved_at,
        "additionalFields": {"knativeGeneration": number},
    }
    if unknown:
        value["migrationHint"] = {"strategy": "blue-green"}
    return value


def workload(number: int) -> dict[str, Any]:
    """Return a row of the list of workloads in the API's own shape."""
    at = "2025-12-31T09:00:00.531Z"
    return {
        "type": "Inference",
        "name": f"llama-serving-{number:05d}",
        "id": workload_id(number),
        "clusterId": "71f69d83-ba66-4822-adf5-55ce55efd210",
        "projectId": "4501234",
        "projectName": "team-a",
        "departmentId": "4500012",
        "departmentName": "research",
        "tenantId": 1001,
        "namespace": "runai-team-a",
        "createdAt": at,
        "updatedAt": at,
        "phase": "Running",
        "phaseUpdatedAt": at,
        "phaseMessage": "The workload serves on every replica that was asked for",
        "runningPods": 2,
        "requestedPods": {"min": 1, "max": 4},
        "images": ["registry.example.com/serving/vllm-openai:v0.9.1"],
        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": at}],
    }


def encode(value: Any) -> bytes:
    """Encode without spaces, as servers do."""
    return json.dumps(value, separators=(",", ":")).encode()


def join(revisions: list[bytes]) -> bytes:
    """Make the body of a list from encoded revisions."""
    return b'{"revisions":[' + b",".join(revisions) + b"]}"


class Template:
    """Makes copies of a list cheaply; each copy differs from the others in every revision."""

    def __init__(self, count: int = FIVE, *, unknown: bool = False) -> None:
        listed = [encode(revision(number, _MARK, unknown=unknown)) for number in range(count)]
        self._parts = join(listed).split(_MARK.encode())

    def body(self, tail: bytes) -> bytes:
        """Return the copy whose ids end in these twelve digits."""
        return tail.join(self._parts)

    def bodies(self, start: int, count: int) -> list[bytes]:
        """Return *count* different copies, numbered from *start*."""
        return [self.body(b"%012x" % tail) for tail in range(start, start + count)]


def with_random_values(tail: str) -> bytes:
    """Return a list in which each revision has eight environment variables of 32 random digits."""
    rng = random.Random(tail)
    listed = [revision(number, tail) for number in range(FIVE)]
    for item in listed:
        item["environmentVariables"] |= {
            f"VALUE_{number}": f"{rng.getrandbits(128):032x}" for number in range(8)
        }
    return join([encode(item) for item in listed])


def changing(count: int) -> Iterator[bytes]:
    """Yield lists for ever; in each, one revision has changed, another each time, and the order is new."""
    rng = random.Random(1)
    tail = workload_id(1)[-12:]
    steps = [0] * count
    listed = [encode(revision(number, tail)) for number in range(count)]
    turn = 0
    while True:
        yield join(rng.sample(listed, count))
        number = turn % count
        turn += 1
        steps[number] += 1
        listed[number] = encode(revision(number, tail, step=steps[number]))


class Churn:
    """A workload that differs in each response: phases change, the oldest revision goes, a new one comes."""

    LIFE = 10
    """Responses between two deletions."""
    REMEMBERED = 20
    """Deleted revisions that are still in the list of deleted ones."""

    def __init__(self) -> None:
        self._tail = workload_id(1)[-12:]
        self._live = {number: self._encoded(number, 0) for number in range(FIVE)}
        self._deleted: list[bytes] = []
        self._turn = 0

    def _encoded(self, number: int, step: int) -> bytes:
        return encode(revision(number, self._tail, step=step))

    def response(self) -> bytes:
        """Return the next list."""
        self._turn += 1
        oldest = min(self._live)
        if self._turn % self.LIFE == 0:
            del self._live[oldest]
            last = revision(oldest, self._tail, step=self._turn) | {"deletedAt": "2026-02-01T00:00:00Z"}
            self._deleted = [*self._deleted[1 - self.REMEMBERED :], encode(last)]
            self._live[oldest + FIVE] = self._encoded(oldest + FIVE, self._turn)
        else:
            number = oldest + self._turn % FIVE
            self._live[number] = self._encoded(number, self._turn)
        return join(list(self._live.values()))

    def deleted(self) -> bytes:
        """Return the list of deleted revisions."""
        return join(self._deleted)
