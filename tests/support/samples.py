"""Values that several tests share."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from attrs import evolve

from runai_async import (
    Revision,
    from_json,
)
from runai_async.testing import FakeControlPlane

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


CONTROL_PLANE = FakeControlPlane()


WORKLOAD = CONTROL_PLANE.add_workload("llm")


def revision(number: int = 1, phase: str = "Running", **fields: Any) -> Revision:
    created = NOW - timedelta(hours=100 - number)
    shape = CONTROL_PLANE.revision(CONTROL_PLANE.add_revision(fields.pop("workload_id", WORKLOAD), phase))
    fields = {"name": f"llm-{number:05d}", "created_at": created, "phase_updated_at": NOW, **fields}
    fields.setdefault("running_pods", 2 if phase == "Running" else 0)
    whole = from_json(json.dumps(shape).encode(), Revision)
    return evolve(whole, **fields)
