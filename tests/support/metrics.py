"""Reading what the exporter serves."""

import asyncio
import http.client
from collections.abc import Callable
from typing import Any

from prometheus_client.parser import text_string_to_metric_families as parse_text

Series = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def series(text: str, prefix: str = "runai_", parse: Callable[[str], Any] = parse_text) -> Series:
    """Return the series of a scrape by name and labels."""
    samples = [sample for family in parse(text) for sample in family.samples]
    found = {(item.name, tuple(sorted(item.labels.items()))): item.value for item in samples}
    assert len(found) == len(samples)  # no duplicate series
    return {key: value for key, value in found.items() if key[0].startswith(prefix)}


def names(found: Series) -> set[str]:
    return {name for name, _ in found}


def values(found: Series, name: str) -> list[float]:
    return [value for (own, _), value in found.items() if own == name]


def fetched(port: int, path: str, accept: str = "", method: str = "GET") -> tuple[int, str, str]:
    """Return status, content type and body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, headers={"Accept": accept})
        response = connection.getresponse()
        return response.status, response.headers["Content-Type"], response.read().decode()
    finally:
        connection.close()


async def get(port: int, path: str, accept: str = "", method: str = "GET") -> tuple[int, str, str]:
    return await asyncio.to_thread(fetched, port, path, accept, method)
