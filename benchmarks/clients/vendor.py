"""runapy, the vendor's own package, with its asynchronous client."""

from __future__ import annotations

import importlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from benchmarks.clients.turns import CONCURRENCY, calls, decodes
from benchmarks.measure import Run, Side
from benchmarks.payloads import workload_id

# By name: a type checker would read its thousand modules.
_configuration: Any = importlib.import_module("runai.configuration")
_api_client: Any = importlib.import_module("runai.api_client")
_api: Any = importlib.import_module("runai.api")
_answer: Any = importlib.import_module("runai.models.get_inference_workload_revisions200_response")
Answer: Any = _answer.GetInferenceWorkloadRevisions200Response


def _list(read: Callable[[Any], Any]) -> Side:
    @asynccontextmanager
    async def side(url: str) -> AsyncIterator[Run]:
        configuration = _configuration.Configuration(
            client_id="benchmarks",
            client_secret="secret",
            runai_base_url=f"{url}/fresh",
            pool_maxsize=CONCURRENCY,  # its own default of 4 would make calls wait for each other
        )
        async with _api_client.AsyncApiClient(configuration) as api:
            revisions = _api.RevisionsApi(api)

            async def call() -> None:
                answer = await revisions.get_inference_workload_revisions(workload_id(1))
                read(answer.data)

            yield calls(call)

    return side


list_dicts = _list(len)
list_models = _list(Answer.from_dict)
from_dict = decodes(Answer.from_dict, prepare=json.loads)
from_dict_unknown = decodes(Answer.from_dict, prepare=json.loads, unknown=True)
from_json = decodes(Answer.from_json)
