"""Every class of the error tree that a call can raise, reached over a real socket."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from runai_async import (
    ApiError,
    AttemptTimeoutError,
    AuthenticationError,
    ConfigurationError,
    DeadlineExceededError,
    DecodeError,
    InternalServerError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RetryPolicy,
    RunaiClient,
    RunaiError,
    ServerError,
    ServiceUnavailableError,
    TransportError,
)
from runai_async.testing import FakeControlPlane, FaultKind

ONCE = RetryPolicy(attempts=1)
UNKNOWN_ID = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def runai(runai: RunaiClient) -> RunaiClient:
    return runai.with_options(timeout=2.0, retry=ONCE)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, ApiError),
        (401, AuthenticationError),
        (403, PermissionDeniedError),
        (404, NotFoundError),
        (409, ApiError),
        (429, RateLimitError),
        (500, InternalServerError),
        (501, ServerError),
        (502, ServerError),
        (503, ServiceUnavailableError),
        (504, ServerError),
    ],
)
async def test_a_status_decides_the_class_and_the_body_the_attributes(
    control_plane: FakeControlPlane, runai: RunaiClient, status: int, expected: type[ApiError]
) -> None:
    workload_id = control_plane.add_workload()
    body = {"code": status, "message": "no luck", "details": "ask again"}
    control_plane.fail_next(2, status, headers={"X-Request-Id": "req-1", "Retry-After": "7"}, body=body)

    with pytest.raises(ApiError) as caught:
        await runai.list_revisions(workload_id, deleted=True)

    error = caught.value
    assert type(error) is expected
    assert (error.status, error.code, error.message, error.details) == (
        status,
        status,
        "no luck",
        "ask again",
    )
    assert error.url == f"{control_plane.url}/api/v1/workloads/inferences/{workload_id}/revisions"
    assert (error.method, error.request_id, error.retry_after, error.attempts) == ("GET", "req-1", 7.0, 1)
    assert error.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (502, "<html><h1>Bad Gateway</h1>\n</html>", "<html><h1>Bad Gateway</h1> </html>"),
        (503, "", ""),
        (403, {"error": "denied"}, "denied"),
        (
            500,
            {"code": "500", "message": "a code that is not a number"},
            '{"code": "500", "message": "a code',
        ),
        (404, [1, 2], "[1, 2]"),
        (404, b"\xff\xfe", "��"),
    ],
)
async def test_an_error_body_that_is_not_the_api_s_still_gives_the_class_of_its_status(
    control_plane: FakeControlPlane, runai: RunaiClient, status: int, body: object, message: str
) -> None:
    control_plane.fail_next(1, status, body=body)

    with pytest.raises(ApiError.for_status(status)) as caught:
        await runai.get_revision(UNKNOWN_ID)

    assert caught.value.status == status
    assert caught.value.code is None
    assert caught.value.message.startswith(message)


async def test_a_redirect_is_not_followed_and_the_error_says_where_it_pointed(
    control_plane: FakeControlPlane, runai: RunaiClient
) -> None:
    control_plane.fail_next(1, 302, headers={"Location": "https://login.example/sso?state=secret#x"}, body="")

    with pytest.raises(ApiError, match=r"302 redirects to https://login\.example/sso;") as caught:
        await runai.count_revisions(UNKNOWN_ID)

    assert type(caught.value) is ApiError
    assert "secret" not in str(caught.value)
    assert len(control_plane.requests) == 1


@pytest.mark.parametrize(
    ("fault", "options", "expected"),
    [
        ("truncate", {}, TransportError),
        ("hang", {"timeout": 0.2}, AttemptTimeoutError),
        ("drip", {"timeout": 0.2}, AttemptTimeoutError),
        ("hang", {"retry": RetryPolicy(attempts=1, deadline=0.2)}, DeadlineExceededError),
        ("bad_json", {}, DecodeError),
    ],
)
async def test_a_response_that_is_not_complete_has_its_class(
    control_plane: FakeControlPlane,
    runai: RunaiClient,
    fault: FaultKind,
    options: Mapping[str, Any],
    expected: type[RunaiError],
) -> None:
    control_plane.fault(fault)
    async with asyncio.timeout(3):
        with pytest.raises(RunaiError) as caught:
            await runai.with_options(**options).list_revisions(control_plane.add_workload())

    assert type(caught.value) is expected
    assert isinstance(caught.value, TimeoutError) == (
        expected in {AttemptTimeoutError, DeadlineExceededError}
    )


async def test_a_reset_of_every_connection_is_a_transport_error(
    control_plane: FakeControlPlane, runai: RunaiClient
) -> None:
    control_plane.fault("reset", times=None)

    with pytest.raises(TransportError) as caught:
        await runai.list_revisions(UNKNOWN_ID)

    assert type(caught.value) is TransportError
    assert caught.value.transient
    assert caught.value.__cause__ is not None


async def test_a_port_on_which_nobody_listens_is_a_transport_error(control_plane: FakeControlPlane) -> None:
    await control_plane.stop()
    async with RunaiClient(control_plane.url, "token", retry=ONCE) as runai:
        with pytest.raises(TransportError, match=r"127\.0\.0\.1"):
            await runai.count_revisions(UNKNOWN_ID)


async def test_a_deadline_error_names_the_error_of_the_previous_attempt(
    control_plane: FakeControlPlane,
) -> None:
    policy = RetryPolicy(attempts=3, wait_initial=0, deadline=0.4)
    async with RunaiClient(control_plane.url, control_plane.token, retry=policy) as runai:
        control_plane.fail_next(1, 503)
        control_plane.fault("hang")
        with pytest.raises(DeadlineExceededError) as caught:
            await runai.count_revisions(control_plane.add_workload())

    assert isinstance(caught.value.last_error, ServiceUnavailableError)


async def test_an_undecodable_revision_is_an_error_with_its_path_and_the_other_revisions(
    control_plane: FakeControlPlane, runai: RunaiClient
) -> None:
    workload_id = control_plane.add_workload()
    good = [control_plane.add_revision(workload_id), control_plane.add_revision(workload_id)]
    control_plane.add_revision(workload_id, created_at=None)

    with pytest.raises(DecodeError) as caught:
        await runai.list_revisions(workload_id)

    assert caught.value.path == "$.revisions[2].createdAt"
    assert [item.id for item in caught.value.partial] == good
    assert caught.value.is_json


async def test_wrong_credentials_are_an_authentication_error_that_names_no_secret(
    control_plane: FakeControlPlane,
) -> None:
    async with RunaiClient(control_plane.url, "not-a-good-token", retry=ONCE) as runai:
        with pytest.raises(AuthenticationError, match="check the token") as caught:
            await runai.count_revisions(UNKNOWN_ID)

    assert "not-a-good-token" not in f"{caught.value} {caught.value!r}"


@pytest.mark.parametrize("url", ["acme.run.ai", "ftp://acme.run.ai", "http://acme.run.ai", "https://", 7])
def test_an_unusable_base_url_is_a_configuration_error(url: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^base_url "):
        RunaiClient(url, "token")
