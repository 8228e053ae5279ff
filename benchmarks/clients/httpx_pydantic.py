"""httpx and a small pydantic model: what many people would write themselves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

import httpx
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from benchmarks.clients.turns import AUTHORIZATION, CONCURRENCY, calls, decodes
from benchmarks.measure import Run
from benchmarks.payloads import workload_id


class Revision(BaseModel):
    """The fields of a revision that a script needs."""

    model_config = ConfigDict(alias_generator=to_camel)

    id: str
    name: str
    created_at: datetime
    phase: str
    phase_message: str | None = None
    phase_updated_at: datetime | None = None
    running_pods: int | None = None
    images: list[str] = []


class Revisions(BaseModel):
    """The body of a list."""

    revisions: list[Revision]


@asynccontextmanager
async def list_models(url: str) -> AsyncIterator[Run]:
    """List revisions over httpx."""
    path = f"{url}/fresh/api/v1/workloads/inferences/{workload_id(1)}/revisions"
    limits = httpx.Limits(max_connections=CONCURRENCY, max_keepalive_connections=CONCURRENCY)
    async with httpx.AsyncClient(headers={"Authorization": AUTHORIZATION}, limits=limits) as client:

        async def call() -> None:
            response = await client.get(path)
            Revisions.model_validate_json(response.content)

        yield calls(call)


decode = decodes(Revisions.model_validate_json)
