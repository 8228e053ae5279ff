"""`runai-async clusters`: list."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from support.cli import ran

from runai_async.testing import FakeControlPlane

IDS = ["aaaa0000-1111-4111-8111-111111111111", "bbbb0000-1111-4111-8111-111111111111"]


@pytest.fixture
async def control_plane() -> AsyncIterator[FakeControlPlane]:
    async with FakeControlPlane(seed=1) as control_plane:
        for cluster_id in IDS:
            control_plane.add_workload(cluster_id=cluster_id)
        control_plane.disconnect_cluster(IDS[0], at=datetime.now(UTC) - timedelta(minutes=90, seconds=5))
        control_plane.set_cluster_state(IDS[1], "WaitingToConnect")
        yield control_plane


async def test_a_table_has_a_line_for_each_cluster(control_plane: FakeControlPlane) -> None:
    result = await ran(control_plane, "clusters", "list", "-o", "table")
    lines = [line.rstrip() for line in result.out.splitlines()]
    assert (result.status, result.err) == (0, "")
    assert lines == [
        "NAME       STATE             SEEN   VERSION",
        "cluster-1  Connected         0s     2.24.17",
        "cluster-2  Disconnected      1h30m  2.24.17",
        "cluster-3  WaitingToConnect  -      2.24.17",
    ]
    assert result == await ran(control_plane, "clusters", "list")


async def test_a_wide_table_has_ids_and_names_are_one_a_line(control_plane: FakeControlPlane) -> None:
    wide = await ran(control_plane, "clusters", "list", "-o", "wide", "--no-headers")
    assert [line.split()[-1] for line in wide.out.splitlines()] == list(control_plane.cluster_ids)
    names = await ran(control_plane, "clusters", "list", "-o", "name")
    assert names.out == "cluster-1\ncluster-2\ncluster-3\n"


async def test_json_is_an_array(control_plane: FakeControlPlane) -> None:
    whole = json.loads((await ran(control_plane, "clusters", "list", "-o", "json")).out)
    result = await ran(control_plane, "clusters", "list", "-o", "jsonl")
    lines = [json.loads(line) for line in result.out.splitlines()]
    states = ["Connected", "Disconnected", "WaitingToConnect"]
    assert [item["state"] for item in whole] == [item["state"] for item in lines] == states
    assert {item["uuid"] for item in whole} == set(control_plane.cluster_ids)


async def test_an_account_that_may_not_list_clusters_gets_status_4(control_plane: FakeControlPlane) -> None:
    control_plane.fail_next(1, 403, path="/clusters$")
    assert (await ran(control_plane, "clusters", "list")).status == 4
