"""One tree of errors, as its module draws it; each survives a process boundary and says what may help."""

import copy
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import runai_async
from runai_async import (
    ApiError,
    AttemptTimeoutError,
    AuthenticationError,
    Checkpoint,
    DeadlineExceededError,
    DecodeError,
    InternalServerError,
    NotFoundError,
    PermissionDeniedError,
    PhaseFailedError,
    RateLimitError,
    Revision,
    RolloutFailedError,
    RunaiError,
    ServerError,
    ServiceUnavailableError,
    TransportError,
    WaitError,
    WaitTimeoutError,
    WatchOutageError,
    errors,
    from_json,
)

REVISION = from_json((Path(__file__).parent / "data" / "revision.json").read_bytes(), Revision)
TREE = {
    "ConfigurationError": "RunaiError",
    "TransportError": "RunaiError",
    "AttemptTimeoutError": "TransportError",
    "DeadlineExceededError": "RunaiError",
    "DecodeError": "RunaiError",
    "ApiError": "RunaiError",
    "AuthenticationError": "ApiError",
    "PermissionDeniedError": "ApiError",
    "NotFoundError": "ApiError",
    "RateLimitError": "ApiError",
    "ServerError": "ApiError",
    "InternalServerError": "ServerError",
    "ServiceUnavailableError": "ServerError",
    "WatchOutageError": "RunaiError",
    "WaitError": "RunaiError",
    "PhaseFailedError": "WaitError",
    "RolloutFailedError": "WaitError",
    "WaitTimeoutError": "WaitError",
}
TIMEOUTS = {"AttemptTimeoutError", "DeadlineExceededError", "WaitTimeoutError"}
ERRORS: dict[str, type[RunaiError]] = {
    name: value
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, RunaiError) and not name.startswith("_")
}


def drawn() -> dict[str, str]:
    """Return the tree of the module's docstring: the parent of each error."""
    parents: dict[str, str] = {}
    above: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if found := re.match(r"((?:│   |    )*)(?:[├└]── )?(\w+Error)\b", line):
            depth = len(found[1]) // 4 + ("── " in line)
            above = [*above[:depth], found[2]]
            if depth:
                parents[found[2]] = above[-2]
    return parents


def parent(cls: type[RunaiError]) -> str:
    """Return the name of the nearest public error that a class derives from."""
    return next(above.__name__ for above in cls.__mro__[1:] if above.__name__ in ERRORS)


def test_the_tree_is_what_was_promised() -> None:
    assert {name: parent(cls) for name, cls in ERRORS.items() if cls is not RunaiError} == TREE


def test_the_docstring_draws_the_tree_as_it_is() -> None:
    assert drawn() == TREE


@pytest.mark.parametrize("name", sorted(ERRORS))
def test_an_error_is_public_and_a_timeout_only_where_promised(name: str) -> None:
    cls = ERRORS[name]
    assert getattr(runai_async, name) is cls
    assert issubclass(cls, TimeoutError) == (name in TIMEOUTS)
    assert cls.__mro__[-3:] == (Exception, BaseException, object)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (302, ApiError),
        (400, ApiError),
        (401, AuthenticationError),
        (403, PermissionDeniedError),
        (404, NotFoundError),
        (409, ApiError),
        (429, RateLimitError),
        (499, ApiError),
        (500, InternalServerError),
        (502, ServerError),
        (503, ServiceUnavailableError),
        (504, ServerError),
    ],
)
def test_a_status_has_its_class(status: int, expected: type[ApiError]) -> None:
    assert ApiError.for_status(status) is expected


def test_an_api_error_shows_everything_that_it_knows() -> None:
    error = NotFoundError(
        404,
        "no such workload",
        code=404,
        details="in this tenant",
        headers={"X-Request-Id": "r-1", "Set-Cookie": "a-secret"},
        method="GET",
        url="https://acme.run.ai/api/v1/workloads",
        request_id="r-1",
        attempts=3,
    )
    assert str(error) == (
        "GET https://acme.run.ai/api/v1/workloads: 404 no such workload (in this tenant) [3 attempts] "
        "[request id r-1] — check the id and the base URL; an id of another cluster or tenant is not found "
        "either"
    )
    assert repr(error) == "NotFoundError(404, 'no such workload')"


def test_an_api_error_shows_nothing_that_it_does_not_know() -> None:
    error = ApiError(418, "")
    assert str(error) == "GET : 418"
    assert vars(error) == {
        "status": 418,
        "message": "",
        "code": None,
        "details": None,
        "headers": {},
        "method": "GET",
        "url": "",
        "request_id": None,
        "attempts": 1,
        "retry_after": None,
    }


@pytest.mark.parametrize(
    ("cls", "word"),
    [
        (AuthenticationError, "token"),
        (PermissionDeniedError, "role"),
        (NotFoundError, "base URL"),
        (RateLimitError, "interval"),
    ],
)
def test_an_error_that_a_user_can_fix_has_a_hint(cls: type[ApiError], word: str) -> None:
    error = cls(499, "no", url="https://acme.run.ai/")
    assert str(error).startswith("GET https://acme.run.ai/: 499 no — ")
    assert word in str(error).partition("—")[2]


def test_what_an_error_was_not_given_has_a_default() -> None:
    last = RunaiError("the attempt before")
    assert TransportError("x").transient
    assert not TransportError("x", transient=False).transient
    assert DeadlineExceededError("x").last_error is None
    assert DeadlineExceededError("x", last_error=last).last_error is last
    assert WatchOutageError("x", last_error=last).last_error is last
    assert WaitTimeoutError("x").last_error is None
    assert WaitTimeoutError("x", last_error=last).last_error is last
    assert (WaitError("x").revision, WaitError("x", revision=REVISION).revision) == (None, REVISION)
    decode = DecodeError("x")
    assert (decode.path, decode.partial, decode.is_json) == ("$", (), True)


@pytest.mark.parametrize("cls", [RolloutFailedError, WaitTimeoutError])
def test_a_rollout_s_error_has_the_revision_that_serves(cls: Any) -> None:
    error = cls("x", revision=REVISION, serving=REVISION)
    assert (error.revision, error.serving) == (REVISION, REVISION)
    assert (cls("x").revision, cls("x").serving) == (None, None)


def test_an_error_has_a_checkpoint_only_where_it_ended_a_watch() -> None:
    ended, other = RunaiError("x"), RunaiError("x")
    ended.checkpoint = Checkpoint("w")
    assert (ended.checkpoint, other.checkpoint, RunaiError.checkpoint) == (Checkpoint("w"), None, None)


SAMPLES: list[RunaiError] = [
    cls(
        404,
        "no",
        code=404,
        details="d",
        headers={"A": "b"},
        url="u",
        request_id="r",
        attempts=2,
        retry_after=1.5,
    )
    if issubclass(cls, ApiError)
    else WatchOutageError("no answer", last_error=TransportError("no way", transient=False))
    if cls is WatchOutageError
    else cls("no way")
    for cls in ERRORS.values()
]
SAMPLES += [
    AttemptTimeoutError("30 s are over", transient=False),
    DeadlineExceededError("60 s are over", last_error=NotFoundError(404, "no")),
    DecodeError("$.a: wrong", path="$.a", partial=(REVISION,), is_json=False),
    PhaseFailedError("it failed", revision=REVISION),
    WaitTimeoutError("900 s are over", revision=REVISION, serving=REVISION, last_error=TransportError("no")),
]
TWINS: list[Callable[[RunaiError], RunaiError]] = [
    lambda error: pickle.loads(pickle.dumps(error)),
    copy.copy,
    copy.deepcopy,
]


def comparable(value: Any) -> Any:
    """Return the parts of an error, and of the errors in it, that can be compared."""
    if not isinstance(value, RunaiError):
        return value
    return type(value), str(value), value.args, {name: comparable(part) for name, part in vars(value).items()}


@pytest.mark.parametrize(
    "error", [pytest.param(error, id=f"{i}-{type(error).__name__}") for i, error in enumerate(SAMPLES)]
)
def test_an_error_survives_pickling_and_copying(error: RunaiError) -> None:
    error.checkpoint = Checkpoint("w")
    error.add_note("seen in the night")
    assert [comparable(twin(error)) for twin in TWINS] == [comparable(error)] * len(TWINS)


@pytest.mark.parametrize(
    "error", [DecodeError("x", partial=(REVISION,)), PhaseFailedError("x", revision=REVISION)]
)
def test_an_error_does_not_show_the_secrets_of_its_revisions(error: RunaiError) -> None:
    assert "secret" not in f"{error!s}{error!r}{vars(error)!r}"
