"""runapy, the vendor's package, with its asynchronous client."""

from __future__ import annotations

import importlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from benchmarks.clients.turns import CONCURRENCY, calls, decodes
from benchmarks.measure import Client, Run
from benchmarks.payloads import workload_id

# By name, because a type checker would read its thousand modules.
_configuration: Any = importlib.import_module("runai.configuration")
_api_client: Any = importlib.import_module("runai.api_client")
_api: Any = importlib.import_module("runai.api")
_response: Any = importlib.import_module("runai.models.get_inference_workload_revisions200_response")
ListResponse: Any = _response.GetInferenceWorkloadRevisions200Response


def _list(read: Callable[[Any], Any]) -> Client:
    @asynccontextmanager
    async def client(url: str) -> AsyncIterator[Run]:
        configuration = _configuration.Configuration(
            client_id="benchmarks",
            client_secret="secret",
            runai_base_url=f"{url}/fresh",
            pool_maxsize=CONCURRENCY,  # its own default of 4 would make the calls wait for each other
        )
        async with _api_client.AsyncApiClient(configuration) as api:
            revisions = _api.RevisionsApi(api)

            async def call() -> None:
                response = await revisions.get_inference_workload_revisions(workload_id(1))
                read(response.data)

            yield calls(call)

    return client


list_dicts = _list(len)
list_models = _list(ListResponse.from_dict)
from_dict = decodes(ListResponse.from_dict, prepare=json.loads)
from_dict_unknown = decodes(ListResponse.from_dict, prepare=json.loads, unknown=True)
from_json = decodes(ListResponse.from_json)
