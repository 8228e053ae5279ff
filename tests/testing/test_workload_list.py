"""The fake control plane's list of workloads: its order, what it can be sorted by, and how long it takes."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support.raw import get, refusal

from runai_async.testing import FakeControlPlane

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


async def names(control_plane: FakeControlPlane, query: str = "") -> list[str]:
    listed = await get(control_plane, f"/api/v1/workloads{query}")
    return [item["name"] for item in listed.body["workloads"]]


def add(control_plane: FakeControlPlane, *rows: tuple[str, int]) -> None:
    for name, minutes in rows:
        control_plane.add_workload(name, created_at=NOON + timedelta(minutes=minutes))


@pytest.mark.parametrize(
    ("query", "order"),
    [
        ("", "bcad"),
        ("?sortBy=createdAt", "abcd"),
        ("?sortBy=createdAt&sortOrder=asc", "abcd"),
        ("?sortBy=createdAt&sortOrder=desc", "dbca"),  # b and c were created at the same moment
        ("?sortBy=name", "abcd"),
        ("?sortBy=name&sortOrder=desc", "dcba"),
        ("?sortBy=completedAt", "bcad"),
        ("?sortBy=name&limit=2&offset=1", "bc"),
    ],
)
async def test_a_list_is_sorted_as_the_query_says(
    control_plane: FakeControlPlane, query: str, order: str
) -> None:
    add(control_plane, ("b", 1), ("c", 1), ("a", 0), ("d", 2))
    assert "".join(await names(control_plane, query)) == order


async def test_numbers_are_sorted_as_numbers_and_what_is_missing_comes_last(
    control_plane: FakeControlPlane,
) -> None:
    for priority in (100, None, 75, "high"):
        control_plane.add_workload(str(priority), priority=priority)
    assert await names(control_plane, "?sortBy=priority") == ["75", "100", "high", "None"]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("sortBy=updatedAt", "sortBy must be one of type, name, "),
        ("sortBy=name&sortBy=phase", "sortBy must be given once"),
        ("sortBy=name&sortOrder=down", "sortOrder must be one of asc, desc"),
    ],
)
async def test_what_a_list_cannot_be_sorted_by_is_a_400(
    control_plane: FakeControlPlane, query: str, message: str
) -> None:
    status, body = await get(control_plane, f"/api/v1/workloads?{query}")
    assert (status, body["code"]) == (400, 400)
    assert body["message"].startswith(message)


@pytest.mark.parametrize("query", ["sortBy=createdAt&sortOrder=asc", "sortBy=name", "sortOrder=asc"])
async def test_a_server_may_not_know_how_to_sort(query: str) -> None:
    async with FakeControlPlane(sorts=False) as control_plane:
        refused = refusal(400, "sortBy and sortOrder are not supported")
        assert await get(control_plane, f"/api/v1/workloads?{query}") == refused
        assert (await get(control_plane, "/api/v1/workloads")).status == 200


@pytest.mark.parametrize("sorts", [True, False])
async def test_the_document_names_what_a_list_can_be_sorted_by(sorts: bool) -> None:
    async with FakeControlPlane(sorts=sorts) as control_plane:
        document = (await get(control_plane, "/openapi.json")).body
    parameters = {item["name"] for item in document["paths"]["/api/v1/workloads"]["get"]["parameters"]}
    assert {"offset", "limit", "filterBy", "deleted"} <= parameters
    assert ({"sortBy", "sortOrder"} & parameters) == ({"sortBy", "sortOrder"} if sorts else set())


async def test_each_list_can_have_another_order_unless_it_is_sorted() -> None:
    async def orders(seed: int) -> list[str]:
        async with FakeControlPlane(seed=seed) as control_plane:
            add(control_plane, *((name, 0) for name in "abcdefgh"))
            control_plane.list_order = "random"
            assert "".join(await names(control_plane, "?sortBy=createdAt")) == "abcdefgh"
            return ["".join(await names(control_plane)) for _ in range(4)]

    first = await orders(1)
    assert len(set(first)) == 4
    assert {"".join(sorted(order)) for order in first} == {"abcdefgh"}
    assert await orders(1) == first != await orders(2)


def test_an_unknown_order_is_a_value_error() -> None:
    control_plane = FakeControlPlane()
    assert control_plane.list_order == "created"
    with pytest.raises(ValueError, match="list_order must be one of created, random, not 'name'"):
        control_plane.list_order = "name"  # type: ignore[assignment]
    assert control_plane.list_order == "created"


async def test_a_successful_listing_of_workloads_takes_as_long_as_a_test_says(
    control_plane: FakeControlPlane,
) -> None:
    workload_id = control_plane.add_workload()
    control_plane.list_seconds = 3600
    others: list[tuple[str, int]] = [
        ("/api/v1/workloads?limit=0", 400),
        ("/api/v1/workloads/count", 200),
        (f"/api/v1/workloads/inferences/{workload_id}/revisions", 200),
    ]
    assert [(await get(control_plane, path)).status for path, _ in others] == [item for _, item in others]
    listing = asyncio.create_task(get(control_plane, "/api/v1/workloads"))
    async with asyncio.timeout(5):
        while not control_plane.in_flight:
            await asyncio.sleep(0.001)
    assert not listing.done()
    await control_plane.stop()  # which ends what takes long
    await asyncio.wait({listing})
    control_plane.list_seconds = 1e-9
    await control_plane.start()
    found: Any = await get(control_plane, "/api/v1/workloads")
    assert found.status == 200
    listing.exception()  # the connection was closed, or the response was in time
