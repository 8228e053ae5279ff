"""What can go wrong, as one tree.

```
RunaiError
├── ConfigurationError          base URL, credentials, environment: before anything is sent
├── TransportError              no usable answer: connection, TLS, DNS, truncated or over-long body
│   └── AttemptTimeoutError     no complete answer within the attempt's timeout; also a TimeoutError
├── DeadlineExceededError       the deadline cut something in flight; also a TimeoutError
├── DecodeError                 an answer, but not in the promised shape
├── ApiError                    an answer whose status is an error, or a redirect
│   ├── AuthenticationError     401
│   ├── PermissionDeniedError   403
│   ├── NotFoundError           404
│   ├── RateLimitError          429
│   └── ServerError             5xx
│       ├── InternalServerError       500
│       └── ServiceUnavailableError   503
├── WatchOutageError            no good poll for `max_outage` seconds
└── WaitError                   a wait that cannot end well
    ├── PhaseFailedError
    ├── RolloutFailedError
    └── WaitTimeoutError        also a TimeoutError
```

Errors of the libraries underneath are never raised as they are; they are the `__cause__` of one of these.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runai_async.checkpoint import Checkpoint, FleetCheckpoint
from runai_async.models import Revision


def _restore(cls: type[RunaiError], args: tuple[Any, ...], state: dict[str, Any]) -> RunaiError:
    error = cls.__new__(cls)
    error.args = args  # by hand: of a TimeoutError, __new__ does not keep them
    error.__dict__.update(state)
    return error


class RunaiError(Exception):
    """The base of every error of this package.

    Attributes:
        checkpoint: what was delivered, where the error ended a watch or fleet; otherwise None.

    Example:
        >>> watch = runai.watch_revisions(workload_id)
        >>> try:
        ...     kinds = [event.kind async for event in watch]
        ... except RunaiError as error:
        ...     saved = error.checkpoint.to_json()  # the next watch goes on from here
    """

    checkpoint: Checkpoint | FleetCheckpoint | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Survive pickling (process pools) with all attributes: keyword arguments are not in `args`."""
        return _restore, (type(self), self.args, self.__dict__.copy())


class ConfigurationError(RunaiError):
    """Base URL, credentials, files or environment do not make a working client. Nothing was sent.

    Example:
        >>> try:
        ...     runai = RunaiClient.from_env(environ={"RUNAI_BASE_URL": "acme.run.ai", "RUNAI_TOKEN": token})
        ... except ConfigurationError as error:
        ...     print(error)
        base_url ...
    """


class TransportError(RunaiError):
    """There was no usable answer: connection, DNS or TLS failed, or the body was cut off or too long.

    Attributes:
        transient: whether another attempt can help; False for a refused certificate or an over-long body.

    Example:
        >>> try:
        ...     revisions = await runai.list_revisions(workload_id)
        ... except TransportError as error:
        ...     print(error, "(it may pass)" if error.transient else "(look at the network's settings)")
        no connection to acme.run.ai (it may pass)
    """

    def __init__(self, message: str, *, transient: bool = True) -> None:
        super().__init__(message)
        self.transient = transient


class AttemptTimeoutError(TransportError, TimeoutError):
    """One attempt did not end within the client's *timeout*.

    Example:
        >>> try:
        ...     count = await runai.with_options(timeout=2).count_revisions(workload_id)
        ... except AttemptTimeoutError:
        ...     count = await runai.with_options(timeout=120).count_revisions(workload_id)
    """


class DeadlineExceededError(RunaiError, TimeoutError):
    """The deadline of the call or poll cut something in flight.

    Attributes:
        last_error: what the attempt before failed with, or None if this was the first.

    Example:
        >>> try:
        ...     revision = await runai.get_revision(revision_id)
        ... except DeadlineExceededError as error:
        ...     print("before that:", type(error.last_error).__name__)
        before that: AttemptTimeoutError
    """

    def __init__(self, message: str, *, last_error: RunaiError | None = None) -> None:
        super().__init__(message)
        self.last_error = last_error


class DecodeError(RunaiError):
    """The answer is not in the promised shape.

    Attributes:
        path: where, like `$.revisions[3].createdAt`; it names the field also when that is missing.
        partial: the revisions of a list that were good.
        is_json: False where the body is no JSON at all, which is what a sick gateway says.

    Example:
        >>> try:
        ...     revisions = await runai.list_revisions(workload_id)
        ... except DecodeError as error:
        ...     print(error.path, "is not as promised;", len(error.partial), "revisions are good")
        $.revisions[1].createdAt is not as promised; 1 revisions are good
    """

    def __init__(
        self, message: str, *, path: str = "$", partial: tuple[Revision, ...] = (), is_json: bool = True
    ) -> None:
        super().__init__(message)
        self.path = path
        self.partial = partial
        self.is_json = is_json


class ApiError(RunaiError):
    """The API, or what stands before it, answered with an error or a redirect.

    Some statuses have a class of their own, which says it of what was asked for: a 403 or 404 of the token
    endpoint has none.

    Attributes:
        status: the HTTP status.
        code: the code of the API's error body, or None where the body was not the API's.
        message: the API's message, or the start of the body's text.
        details: the API's details, if any.
        headers: the answer's headers, names in any case; without cookies and the query of a redirect.
        method: the request's method.
        url: the request's URL, without query.
        request_id: the answer's request id header, if any, for a support case.
        attempts: how many attempts were made.
        retry_after: seconds that the answer asked to wait, or None.

    Example:
        >>> try:
        ...     revision = await runai.get_revision(revision_id)
        ... except ApiError as error:
        ...     print(error.status, error.message, error.request_id)
        409 the workload is locked 7f3a
    """

    hint = ""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: int | None = None,
        details: str | None = None,
        headers: Mapping[str, str] | None = None,
        method: str = "GET",
        url: str = "",
        request_id: str | None = None,
        attempts: int = 1,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(status, message)
        self.status = status
        self.message = message
        self.code = code
        self.details = details
        self.headers: Mapping[str, str] = headers if headers is not None else {}
        self.method = method
        self.url = url
        self.request_id = request_id
        self.attempts = attempts
        self.retry_after = retry_after

    def __str__(self) -> str:
        parts = [f"{self.method} {self.url}: {self.status} {self.message}".rstrip()]
        if self.details:
            parts.append(f"({self.details})")
        if self.attempts > 1:
            parts.append(f"[{self.attempts} attempts]")
        if self.request_id:
            parts.append(f"[request id {self.request_id}]")
        if self.hint:
            parts.append(f"— {self.hint}")
        return " ".join(parts)

    @classmethod
    def for_status(cls, status: int) -> type[ApiError]:
        """Return the class that stands for an HTTP status."""
        return _BY_STATUS.get(status) or (ServerError if status >= 500 else ApiError)  # noqa: PLR2004


class AuthenticationError(ApiError):
    """The token was refused (401), or the credentials for one were (400, 401, 403 of the token endpoint).

    Example:
        >>> try:
        ...     revisions = await runai.list_revisions(workload_id)
        ... except AuthenticationError as error:
        ...     print("log in again:", error.message)
        log in again: the session has ended
    """

    hint = "check the token, or the client id and secret; tokens expire, and applications can be disabled"


class PermissionDeniedError(ApiError):
    """403: the account may not do this.

    Example:
        >>> try:
        ...     revisions = await runai.list_revisions(workload_id)
        ... except PermissionDeniedError as error:
        ...     print(error.message)
        the project is not yours
    """

    hint = "the account needs a role that may view inference workloads in this project"


class NotFoundError(ApiError):
    """404: there is no such workload or revision, or the account may not see it.

    Example:
        >>> try:
        ...     revision = await runai.get_revision(revision_id)
        ... except NotFoundError:
        ...     revision = None
    """

    hint = "check the id and the base URL; an id of another cluster or tenant is not found either"


class RateLimitError(ApiError):
    """429: too many requests.

    Example:
        >>> try:
        ...     revisions = await runai.list_revisions(workload_id)
        ... except RateLimitError as error:
        ...     print("again in", error.retry_after, "seconds")
        again in 90.0 seconds
    """

    hint = "ask less often: a longer interval, or a smaller max_concurrency"


class ServerError(ApiError):
    """5xx: the control plane or a gateway before it failed.

    Example:
        >>> try:
        ...     revisions = await runai.list_revisions(workload_id)
        ... except ServerError as error:
        ...     print(error.status, "after", error.attempts, "attempts")
        502 after 4 attempts
    """


class InternalServerError(ServerError):
    """500: the control plane failed.

    Example:
        >>> try:
        ...     revision = await runai.get_revision(revision_id)
        ... except InternalServerError as error:
        ...     print("for the support case:", error.request_id, error.details)
        for the support case: 7f3a the database is read-only
    """


class ServiceUnavailableError(ServerError):
    """503: the control plane cannot answer now.

    Example:
        >>> try:
        ...     revisions = await runai.list_revisions(workload_id)
        ... except ServiceUnavailableError as error:
        ...     print(error.retry_after or "no word of when to come back")
        no word of when to come back
    """


_BY_STATUS: dict[int, type[ApiError]] = {
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    429: RateLimitError,
    500: InternalServerError,
    503: ServiceUnavailableError,
}


class WatchOutageError(RunaiError):
    """A watch had no good poll for `PollPolicy.max_outage` seconds.

    Attributes:
        last_error: what the last poll failed with.

    Example:
        >>> try:
        ...     async for event in runai.watch_revisions(workload_id, poll=PollPolicy(max_outage=300)):
        ...         print(event.kind, event.revision.name)
        ... except WatchOutageError as error:
        ...     print(type(error.last_error).__name__)
        added chat-00001
        ServiceUnavailableError
    """

    def __init__(self, message: str, *, last_error: RunaiError) -> None:
        super().__init__(message)
        self.last_error = last_error


class WaitError(RunaiError):
    """A wait cannot end well any more.

    Attributes:
        revision: the last one seen, or None.

    Example:
        >>> try:
        ...     revision = await runai.wait_for_rollout(workload_id, timeout=900)
        ... except WaitError as error:
        ...     print(error.revision.phase if error.revision else "never seen")
        Failed
    """

    def __init__(self, message: str, *, revision: Revision | None = None) -> None:
        super().__init__(message)
        self.revision = revision


class PhaseFailedError(WaitError):
    """The revision came to a phase of *fail_on*, or was deleted.

    Example:
        >>> try:
        ...     revision = await runai.wait_for_phase(revision_id, Phase.RUNNING)
        ... except PhaseFailedError as error:
        ...     print(error.revision.phase, error.revision.phase_message)
        Failed no such image
    """


class _ServingError(WaitError):
    """A rollout's wait that knows which revision serves meanwhile."""

    def __init__(
        self,
        message: str,
        *,
        revision: Revision | None = None,
        serving: Revision | None = None,
        last_error: RunaiError | None = None,
    ) -> None:
        super().__init__(message, revision=revision)
        self.serving = serving
        self.last_error = last_error


class RolloutFailedError(_ServingError):
    """The newest revision failed, completed or was deleted.

    Attributes:
        revision: the newest one, as it was seen last; None where none was seen.
        serving: the older revision that still serves, or None.

    Example:
        >>> try:
        ...     revision = await runai.wait_for_rollout(workload_id)
        ... except RolloutFailedError as error:
        ...     print(error.revision.phase_message)
        ...     print(error.serving.name if error.serving else "nobody", "serves meanwhile")
        no such image
        chat-00001 serves meanwhile
    """


class WaitTimeoutError(_ServingError, TimeoutError):
    """The wait's *timeout* passed. Nothing was cancelled on the server.

    Attributes:
        revision: the newest one, as it was seen last; None where none was seen.
        serving: the older revision that still serves, or None.
        last_error: why the last poll failed; None if it succeeded.

    Example:
        >>> try:
        ...     revision = await runai.wait_for_rollout(workload_id, timeout=300)
        ... except WaitTimeoutError as error:
        ...     print(error.revision.name, "is still", error.revision.phase)
        chat-00002 is still Pending
    """
