"""What a command says, and its exit status, where something that is not the API responds."""

import pytest
from support.cli import ran

from runai_async.testing import FakeControlPlane

WORKLOAD = "5d6e6a0a-5f0a-4a4e-9a5b-0c7a1f1f6b1d"
ONE_SHOT = [
    ["revisions", "list", WORKLOAD],
    ["revisions", "list", "chat"],
    ["revisions", "count", WORKLOAD],
    ["revisions", "get", WORKLOAD],
    ["revisions", "diff", WORKLOAD, "a", "b"],
    ["timeline", WORKLOAD],
    ["clusters", "list"],
]
LOGIN_PAGE = "<!doctype html><title>Log in</title><input name=state value=hub-secret-123>"
BRIEF = ["--deadline", "1500ms"]


@pytest.mark.parametrize("args", ONE_SHOT, ids=" ".join)
async def test_a_login_page_is_named_with_its_url_and_is_status_4(args: list[str]) -> None:
    async with FakeControlPlane() as control_plane:
        control_plane.fail_next(None, 200, body=LOGIN_PAGE, headers={"Content-Type": "text/html"})
        result = await ran(control_plane, *args, *BRIEF)
    assert (result.status, result.out, result.err.count("\n")) == (4, "", 1)
    assert f"GET {control_plane.url}/api/v1/" in result.err
    assert "returned HTML instead of JSON: a login page or a proxy? Check that the address" in result.err
    assert "hub-secret-123" not in result.err


OUTAGES = [
    (503, {"code": 503, "message": "upgrade"}),
    (500, {"code": 500, "message": "database"}),
    (502, "<html>Bad Gateway</html>"),
    (404, "<html>no such route</html>"),
    (429, {"code": 429, "message": "slower"}),
]
EVERY_COMMAND_AND_OUTAGE_ONCE = [(args, *OUTAGES[number % 5]) for number, args in enumerate(ONE_SHOT)]


@pytest.mark.parametrize(("args", "status", "body"), EVERY_COMMAND_AND_OUTAGE_ONCE)
async def test_an_outage_is_status_4(args: list[str], status: int, body: object) -> None:
    async with FakeControlPlane() as control_plane:
        control_plane.fail_next(None, status, body=body)
        result = await ran(control_plane, *args, *BRIEF)
    assert (result.status, result.out, result.err.count("\n")) == (4, "", 1)


@pytest.mark.parametrize("status", [400, 404, 409])
async def test_what_the_api_says_of_a_request_is_status_5(status: int) -> None:
    async with FakeControlPlane() as control_plane:
        control_plane.fail_next(None, status, body={"code": status, "message": "no"})
        result = await ran(control_plane, "revisions", "count", WORKLOAD, *BRIEF)
    assert (result.status, result.err.count("\n")) == (5, 1)
