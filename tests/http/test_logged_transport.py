"""The log of requests: method, path, status and milliseconds, and nothing secret."""

import logging
import re

import pytest
from support.cli import ran

from runai_async import RetryPolicy, RunaiClient, RunaiError, TransportError
from runai_async.testing import FakeClock, FakeControlPlane, FakeTransport, Response

WORKLOAD = "5b7ad5a4-4f2c-4c0a-b63b-0d4c1e9f7c11"
COUNT = f"GET /api/v1/workloads/inferences/{WORKLOAD}/revisions/count?deleted=true"


async def test_each_request_is_logged_with_how_it_ended(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "runai_async")
    transport = FakeTransport([Response(503), TransportError("gone"), Response(body=b'{"count": 2}')])
    retry = RetryPolicy(wait_initial=0)
    runai = RunaiClient("https://acme.run.ai", "secret", transport=transport, clock=FakeClock(), retry=retry)
    async with runai:
        assert await runai.count_revisions(WORKLOAD, deleted=True) == 2
    lines = [message for message in caplog.messages if message.startswith("GET ")]
    assert lines == [f"{COUNT}: 503, 0 ms", f"{COUNT}: TransportError, 0 ms", f"{COUNT}: 200, 0 ms"]
    assert "secret" not in caplog.text


async def test_nothing_is_logged_where_nobody_debugs(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "runai_async")
    transport = FakeTransport([Response(400)])
    async with RunaiClient("https://acme.run.ai", "secret", transport=transport) as runai:
        with pytest.raises(RunaiError):
            await runai.count_revisions(WORKLOAD)
    assert caplog.messages == []


@pytest.mark.parametrize("place", [0, 2])
async def test_debug_prints_each_request_of_a_command(place: int) -> None:
    async with FakeControlPlane() as control_plane:
        workload_id = control_plane.add_workload()
        args = ["revisions", "count", workload_id]
        args.insert(place, "--debug")
        env = {"RUNAI_CLIENT_ID": control_plane.client_id, "RUNAI_CLIENT_SECRET": control_plane.client_secret}
        result = await ran(control_plane, *args, RUNAI_TOKEN="", **env)
        assert (result.status, result.out) == (0, "0\n")
        path = f"/api/v1/workloads/inferences/{workload_id}/revisions/count"
        assert re.search(r"^runai-async: debug: POST /api/v2/token: 200, \d+ ms$", result.err, re.MULTILINE)
        assert re.search(rf"^runai-async: debug: GET {path}: 200, \d+ ms$", result.err, re.MULTILINE)
        assert control_plane.client_secret not in result.err
        assert await ran(control_plane, "revisions", "count", workload_id) == type(result)(0, "0\n", "")
