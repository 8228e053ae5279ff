"""The transport that replies from a script."""

import pytest

from runai_async import RetryPolicy, RunaiClient, ServiceUnavailableError
from runai_async.testing import FakeTransport, Response


async def test_a_scripted_transport_gives_its_replies_in_order() -> None:
    transport = FakeTransport(
        [
            Response(200, body=b'{"count": 2}'),
            ServiceUnavailableError(503, "no"),
            lambda request: Response(200, body=b'{"count": %d}' % len(request.path)),
        ]
    )
    async with RunaiClient(
        "https://acme.example", "secret", transport=transport, retry=RetryPolicy(attempts=1)
    ) as runai:
        workload_id = "7c5a8c3e-0b8e-4d5c-9b1a-1d2e3f4a5b6c"
        assert await runai.count_revisions(workload_id) == 2
        with pytest.raises(ServiceUnavailableError):
            await runai.count_revisions(workload_id)
        path = f"/api/v1/workloads/inferences/{workload_id}/revisions/count"
        assert await runai.count_revisions(workload_id) == len(path)
        with pytest.raises(AssertionError, match=r"the script has no reply left for GET /api/"):
            await runai.count_revisions(workload_id)

    assert [(item.method, item.path) for item in transport.requests] == [("GET", path)] * 4
    assert "secret" not in repr(transport.requests)
    assert transport.closed
