"""The list of workloads, each once, however its rows move."""

import logging
from collections.abc import AsyncIterable

import pytest
from support.fleets import of_size
from support.harness import HTML_502, UNSORTED_400, Harness

from runai_async import ApiError, RetryPolicy, RunaiClient, Workload
from runai_async._api.workload_list import Selection
from runai_async.testing import FakeControlPlane, Response

REFUSED_400 = Response(400, body=b'{"code": 400, "message": "filterBy: no such field"}')


async def listed(runai: RunaiClient, page_size: int = 500) -> list[str]:
    return [item.id async for item in runai.list_workloads(page_size=page_size)]


def changing(harness: Harness, *, times: int) -> list[str]:
    """Delete the oldest workload before each page but the first, so many times; return what was deleted."""
    gone: list[str] = []
    pages = 0

    def delete() -> None:
        nonlocal pages
        pages += 1
        if pages > 1 and len(gone) < times:
            gone.append(harness.state.live_workloads(deleted=False)[0]["id"])
            harness.state.delete_workload(gone[-1])

    harness.before_page = delete
    return gone


async def test_the_oldest_come_first_and_pages_overlap_by_a_row() -> None:
    harness, ids, _ = of_size(9)
    async with harness.client() as runai:
        assert await listed(runai, page_size=4) == [harness.workload_id, *ids]
    assert [key for _, _, key in harness.requests] == ["0", "3", "6"]


@pytest.mark.parametrize("page_size", [1, 2])
async def test_a_page_is_asked_for_two_rows_at_least(page_size: int) -> None:
    harness, ids, _ = of_size(3)
    async with harness.client() as runai:
        assert await listed(runai, page_size=page_size) == [harness.workload_id, *ids]
    assert [key for _, _, key in harness.requests] == ["0", "1", "2"]


async def test_it_is_read_page_by_page_as_it_is_used() -> None:
    harness, _, _ = of_size(9)
    async with harness.client() as runai:
        items = runai.list_workloads(page_size=4)
        for _ in range(4):
            await anext(items)
        assert len(harness.requests) == 1
        await anext(items)
        assert len(harness.requests) == 2


async def test_a_workload_deleted_meanwhile_hides_no_other(caplog: pytest.LogCaptureFixture) -> None:
    harness, ids, _ = of_size(9)
    gone = changing(harness, times=1)
    async with harness.client() as runai:
        found = await listed(runai, page_size=4)
    assert sorted(found) == sorted([*gone, *ids])
    assert caplog.records == []


async def test_a_list_that_never_keeps_still_names_each_workload_once_and_warns_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    harness, ids, _ = of_size(12)
    gone = changing(harness, times=5)
    async with harness.client() as runai:
        found = await listed(runai, page_size=3)
    assert len(found) == len(set(found))
    assert set(ids) - set(gone) <= set(found)
    (warning,) = [record.getMessage() for record in caplog.records]
    assert warning.startswith("list_workloads: workloads moved from page to page")


async def test_ids_are_listed_once_each_too(caplog: pytest.LogCaptureFixture) -> None:
    harness, _, _ = of_size(12)
    harness.sorts, harness.most_rows = False, 4
    async with harness.client() as runai:
        found = [item.id async for item in runai.inference_workloads()]
    assert len(found) == len(set(found)) > 6
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warning.startswith("inference_workloads: workloads moved")


async def test_a_server_that_cannot_sort_is_asked_to_only_once() -> None:
    harness, ids, _ = of_size(3)
    harness.sorts = False
    async with harness.client() as runai:
        for client in (runai, runai, runai.with_options(timeout=5)):
            assert sorted(await listed(client)) == sorted([harness.workload_id, *ids])
    assert len(harness.requests) == 4


async def test_a_400_for_another_reason_is_raised_and_says_nothing_of_the_order() -> None:
    harness, _, _ = of_size(1)
    harness.listings = REFUSED_400
    async with harness.client() as runai:
        with pytest.raises(ApiError, match="no such field"):
            await listed(runai)
        assert runai._api.list_gate.sorts
        harness.listings = Response(400, body=b"<html>Bad Request</html>")
        harness.requests.clear()
        with pytest.raises(ApiError):
            await listed(runai)
        assert len(harness.requests) == 1
        harness.listings = UNSORTED_400
        with pytest.raises(ApiError):
            await listed(runai)
        assert runai._api.list_gate.sorts


@pytest.mark.parametrize("ids", [False, True])
async def test_what_a_caller_lists_is_retried(ids: bool) -> None:
    harness, _, _ = of_size(1)
    harness.listings = HTML_502
    harness.at(1e-6, setattr, harness, "listings", True)
    async with harness.client(retry=RetryPolicy(attempts=2, wait_initial=5)) as runai:
        items: AsyncIterable[Workload] = runai.inference_workloads() if ids else runai.list_workloads()
        assert len(await harness.collect(items, 20)) == 2
    assert len(harness.requests) == 2


@pytest.mark.parametrize(
    ("filters", "can_change"),
    [
        ((), False),
        (("type==Inference", "projectName==team-a"), False),
        (("name=@chat,clusterId==c", "departmentId!=d"), False),
        (("phase==Running",), True),
        (("type==Inference,phase!=Stopped",), True),
        (("nodepool==a",), True),
        (("somethingNew==1",), True),
        (("",), True),
    ],
)
def test_which_filters_name_what_can_change(filters: tuple[str, ...], can_change: bool) -> None:
    assert Selection(filters).can_change == can_change


async def test_an_iteration_of_a_query_can_be_closed() -> None:
    harness, _, _ = of_size(3)
    async with harness.client() as runai:
        for begun in (False, True):
            workloads = aiter(runai.inference_workloads())
            if begun:
                await anext(workloads)
            await workloads.aclose()
            assert [item async for item in workloads] == []


async def test_rows_that_move_over_a_real_socket() -> None:
    async with (
        FakeControlPlane() as control_plane,
        RunaiClient(control_plane.url, control_plane.token) as runai,
    ):
        ids = [control_plane.add_workload() for _ in range(9)]
        found: list[str] = []
        async for item in runai.list_workloads(page_size=4):
            if item.id == ids[2]:
                control_plane.delete_workload(ids[0])
            found.append(item.id)
    assert found == ids
    offsets = [request.query["offset"] for request in control_plane.requests]
    assert offsets == ["0", "3", "0", "3", "6"]
