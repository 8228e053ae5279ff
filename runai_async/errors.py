"""The errors, as one tree.

```
RunaiError
├── ConfigurationError          base URL, credentials, environment: before anything is sent
├── TransportError              no usable response: connection, TLS, DNS, truncated or over-long body
│   └── AttemptTimeoutError     no complete response within the attempt's timeout; also a TimeoutError
├── DeadlineExceededError       the deadline cut something in flight; also a TimeoutError
├── DecodeError                 a response that does not have the promised shape
├── ApiError                    a response whose status is an error or a redirect
│   ├── AuthenticationError     401
│   ├── PermissionDeniedError   403
│   ├── NotFoundError           404
│   ├── RateLimitError          429
│   └── ServerError             5xx
│       ├── InternalServerError       500
│       └── ServiceUnavailableError   503
├── WatchOutageError            no successful poll for `max_outage` seconds
└── WaitError                   a wait that can no longer succeed
    ├── PhaseFailedError
    ├── RolloutFailedError
    └── WaitTimeoutError        also a TimeoutError
```

Errors of the underlying libraries are never raised themselves; they are the `__cause__` of one of these.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runai_async._text import one_line
from runai_async.checkpoint import Checkpoint, FleetCheckpoint
from runai_async.explanation import Explanation
from runai_async.models import Revision


def _restore(cls: type[RunaiError], args: tuple[Any, ...], state: dict[str, Any]) -> RunaiError:
    error = cls.__new__(cls)
    error.args = args  # TimeoutError.__new__ would not keep them
    error.__dict__.update(state)
    return error


class RunaiError(Exception):
    """The base of every error of this package.

    Attributes:
        checkpoint: what was delivered, if the error ended a watch or fleet; otherwise None.

    Example:
        >>> watch = runai.watch_revisions(workload_id)
        >>> try:
        ...     kinds = [event.kind async for event in watch]
        ... except RunaiError as error:
        ...     saved = error.checkpoint.to_json()  # the next watch resumes from here
    """

    checkpoint: Checkpoint | FleetCheckpoint | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Keep all attributes when pickled, as by process pools: keyword arguments are not in `args`."""
        return _restore, (type(self), self.args, self.__dict__.copy())


class ConfigurationError(RunaiError):
    """The base URL, credentials, files or environment cannot be used. Nothing was sent.

    Example:
        >>> try:
        ...     runai = RunaiClient.from_env(environ={"RUNAI_BASE_URL": "acme.run.ai", "RUNAI_TOKEN": token})
        ... except ConfigurationError as error:
        ...     print(error)
        base_url ...
    """


class TransportError(RunaiError):
    """There was no usable response: connection, DNS or TLS failed, or the body was truncated or too long.

    Attributes:
        transient: whether another attempt may succeed; False for a refused certificate or an over-long body.

    Example:
        >>> try:
        ...     revisions = await runai.list_revisions(workload_id)
        ... except TransportError as error:
        ...     print(error, "(try again)" if error.transient else "(check the network settings)")
        no connection to acme.run.ai (try again)
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
        last_error: the error of the previous attempt, or None if this was the first.

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
    """The response does not have the promised shape.

    Attributes:
        path: where, like `$.revisions[3].createdAt`; also names a field that is missing.
        partial: the other revisions of a list, those that could be decoded.
        is_json: False where the body is not JSON at all, as from a failing gateway.

    Example:
        >>> try:
        ...     revisions = await runai.list_revisions(workload_id)
        ... except DecodeError as error:
        ...     print(error.path, "is invalid; revisions decoded:", len(error.partial))
        $.revisions[1].createdAt is invalid; revisions decoded: 1
    """

    def __init__(
        self, message: str, *, path: str = "$", partial: tuple[Revision, ...] = (), is_json: bool = True
    ) -> None:
        super().__init__(message)
        self.path = path
        self.partial = partial
        self.is_json = is_json


class ApiError(RunaiError):
    """The API, or something in front of it, responded with an error or a redirect.

    Some statuses have a class of their own. A 403 or 404 of the token endpoint does not: those classes are
    about the resources of the API. Nor does a 401 of the token endpoint that is a gateway's.

    Attributes:
        status: the HTTP status.
        message: the API's message, or the start of the body's text.
        code: the code in the API's error body, or None where the body is not the API's.
        details: the API's details, if any.
        headers: the response's headers, with names in any case; without cookies and the query of a redirect.
        method: the request's method.
        url: the request's URL, without query.
        request_id: the request id in the response's headers, if any, for a support case.
        attempts: how many attempts were made.
        retry_after: seconds to wait, if the response asked for that; otherwise None.
        hint: what may help, for the statuses where that is known.

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
    """The token was refused (401), or the credentials for one (400, 401 or 403 of the token endpoint).

    Attributes:
        is_final: whether no wait can help: the credentials were rejected, or a token that cannot be replaced
            has expired. Otherwise an identity service may be restarting, or the clocks of the control
            plane's nodes may differ.

    Example:
        >>> try:
        ...     revisions = await runai.list_revisions(workload_id)
        ... except AuthenticationError as error:
        ...     print("log in again:", error.message)
        log in again: the session has ended
    """

    hint = "check the token, or the client id and secret; tokens expire, and service accounts can be disabled"

    is_final: bool = False


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
    """404: the workload or revision does not exist, or the account may not see it.

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
        ...     print("retry in", error.retry_after, "seconds")
        retry in 90.0 seconds
    """

    hint = "send fewer requests: use a longer interval or a smaller max_concurrency"


class ServerError(ApiError):
    """5xx: the control plane, or a gateway in front of it, failed.

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
    """503: the control plane cannot respond now.

    Example:
        >>> try:
        ...     revisions = await runai.list_revisions(workload_id)
        ... except ServiceUnavailableError as error:
        ...     print("retry in", error.retry_after or 60, "seconds")
        retry in 60 seconds
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
    """A watch had no successful poll for `PollPolicy.max_outage` seconds.

    Attributes:
        last_error: the error of the last poll.

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
    """A wait can no longer succeed.

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
    """The revision entered a phase of *fail_on*, or was deleted.

    Example:
        >>> try:
        ...     revision = await runai.wait_for_phase(revision_id, Phase.RUNNING)
        ... except PhaseFailedError as error:
        ...     print(error.revision.phase, error.revision.phase_message)
        Failed no such image
    """


class _ServingError(WaitError):
    """An error of a rollout, with the revision that serves in the meantime, and with why the other does not.

    Its text is the message, the first cause unless the message has it, and the advice.
    """

    def __init__(
        self,
        message: str,
        *,
        revision: Revision | None = None,
        serving: Revision | None = None,
        last_error: RunaiError | None = None,
        explanation: Explanation | None = None,
        advice: str = "",
    ) -> None:
        super().__init__(message, revision=revision)
        self.serving = serving
        self.last_error = last_error
        self.explanation = explanation
        self.advice = advice

    def __str__(self) -> str:
        text = super().__str__()
        text += _why(self.explanation, text)
        return f"{text}. {self.advice}" if self.advice else text


def _why(explanation: Explanation | None, text: str) -> str:
    """Return the first cause, for the end of a text; nothing if the text has it."""
    cause = explanation.cause if explanation is not None else None
    if explanation is None or not cause or cause.removesuffix(" ...") in one_line(text):
        return ""
    return f"; why {one_line(explanation.name)} does not serve: {cause.removesuffix('.')}"


class RolloutFailedError(_ServingError):
    """The newest revision failed, completed or was deleted.

    Attributes:
        revision: the newest revision as last seen, or None.
        serving: the older revision that still serves, or None.
        explanation: what events, pods and conditions say about the newest one; None if that is not known.
        advice: what to do next, the end of the text.

    Example:
        >>> try:
        ...     revision = await runai.wait_for_rollout(workload_id)
        ... except RolloutFailedError as error:
        ...     print(error.revision.phase_message)
        ...     print(error.explanation.cause if error.explanation else "nobody knows why")
        ...     print(error.serving.name if error.serving else "nothing", "still serves")
        no such image
        Failed: manifest for llm:2 not found
        chat-00001 still serves
    """


class WaitTimeoutError(_ServingError, TimeoutError):
    """The wait's *timeout* passed. Nothing was cancelled on the server.

    Attributes:
        revision: the newest revision as last seen, or None.
        serving: the older revision that still serves, or None.
        last_error: why the last poll failed; None if it succeeded.
        explanation: of a rollout, what events, pods and conditions say about the newest revision; None if
            that is not known.
        advice: what to do next, the end of the text.

    Example:
        >>> try:
        ...     revision = await runai.wait_for_rollout(workload_id, timeout=300)
        ... except WaitTimeoutError as error:
        ...     print(error.revision.name, "is still", error.revision.phase)
        ...     print("the last poll", "succeeded" if error.last_error is None else "failed")
        chat-00002 is still Pending
        the last poll succeeded
    """
