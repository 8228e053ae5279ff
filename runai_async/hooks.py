"""The values that hooks receive: one frozen value for each thing that happens, none of it secret.

A hook is a callable that takes one of these values; `RunaiClient(hooks=[...])` takes any number of them. It
runs in the event loop, so it should be quick. If it raises, that is logged once and otherwise ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from runai_async._observe.log import logger
from runai_async._values import frozen


@frozen
class CallStarted:
    """A call started; its first attempt follows.

    Attributes:
        operation: `list_revisions`, `count_revisions`, `get_revision`, `list_workloads`, `revision_history`,
            `revision_events`, `revision_pods`, `list_clusters`, `get_cluster`.

    Example:
        >>> def hook(event: HookEvent) -> None:
        ...     if isinstance(event, CallStarted):
        ...         print("started:", event.operation)
        >>> runai = RunaiClient("https://acme.run.ai", token, hooks=[hook])
        >>> count = await runai.count_revisions(workload_id)
        started: count_revisions
    """

    operation: str


@frozen
class RetryScheduled:
    """An attempt failed in a way that may pass, and another one follows.

    Attributes:
        operation: as in `CallStarted`.
        attempt: the number of the attempt that failed; the first is 1.
        error: the class name of its error.
        status: the HTTP status, None if there was no response.
        delay: seconds until the next attempt.

    Example:
        >>> def hook(event: HookEvent) -> None:
        ...     match event:
        ...         case RetryScheduled(attempt=attempt, error=error, delay=delay):
        ...             print(f"attempt {attempt}: {error}; retrying in {delay:.0f} s")
        >>> runai = RunaiClient("https://acme.run.ai", token, hooks=[hook])
        >>> count = await runai.count_revisions(workload_id)
        attempt 1: RateLimitError; retrying in 2 s
    """

    operation: str
    attempt: int
    error: str
    status: int | None
    delay: float


@frozen
class CallFinished:
    """A call ended, in the task in which it started.

    Attributes:
        operation: as in `CallStarted`.
        attempt: the number of attempts made.
        status: the HTTP status of the last response, None if there was none.
        error: the class name of the error that the caller gets, None on success. It is `CancelledError` for a
            cancelled call, and may be a class from outside this package if a session of yours raised it.
        seconds: from start to end, waits between attempts included.

    Example:
        >>> def hook(event: HookEvent) -> None:
        ...     match event:
        ...         case CallFinished(operation=operation, error=None, seconds=seconds):
        ...             print(f"{operation} took {seconds:.1f} s")
        >>> runai = RunaiClient("https://acme.run.ai", token, hooks=[hook])
        >>> count = await runai.count_revisions(workload_id)
        count_revisions took ... s
    """

    operation: str
    attempt: int
    status: int | None
    error: str | None
    seconds: float


@frozen
class PollStarted:
    """A poll of a watch or fleet started.

    Attributes:
        workload_id: the workload that is polled.

    Example:
        >>> polled = []
        >>> def hook(event: HookEvent) -> None:
        ...     if isinstance(event, PollStarted):
        ...         polled.append(event.workload_id)
        >>> runai = RunaiClient("https://acme.run.ai", token, hooks=[hook])
        >>> event = await anext(runai.watch_revisions(workload_id))
        >>> polled == [workload_id]
        True
    """

    workload_id: str


@frozen
class PollFinished:
    """A poll ended, in the task in which it started.

    Attributes:
        workload_id: the workload that was polled.
        error: the class name of the error, None if the poll succeeded. It is `CancelledError` if the consumer
            did not wait for the end, and may be a class from outside this package, as in `CallFinished`.
        events: how many events the poll produced.
        undecodable: revisions in the response that could not be decoded.
        seconds: from start to end.

    Example:
        >>> def hook(event: HookEvent) -> None:
        ...     if isinstance(event, PollFinished):
        ...         print(event.error or "ok", event.events, event.undecodable)
        >>> runai = RunaiClient("https://acme.run.ai", token, hooks=[hook])
        >>> event = await anext(runai.watch_revisions(workload_id))
        ok 1 0
    """

    workload_id: str
    error: str | None
    events: int
    undecodable: int
    seconds: float


@frozen
class TokenRefreshed:
    """A request to the token endpoint ended.

    Attributes:
        error: the class name of the error, None if there is a new token.
        expires_in: seconds for which the new token is valid, None if there is none.
        seconds: how long the request took.

    Example:
        >>> def hook(event: HookEvent) -> None:
        ...     if isinstance(event, TokenRefreshed):
        ...         print(event.error or f"a token for {event.expires_in:.0f} s")
        >>> runai = RunaiClient("https://acme.run.ai", ClientCredentials("app", "secret"), hooks=[hook])
        >>> count = await runai.count_revisions(workload_id)
        a token for 3600 s
    """

    error: str | None
    expires_in: float | None
    seconds: float


HookEvent = CallStarted | RetryScheduled | CallFinished | PollStarted | PollFinished | TokenRefreshed
"""Everything that a hook receives, for an exhaustive `match`."""

Hook = Callable[[HookEvent], object]
"""What `RunaiClient` takes as a hook; its return value is ignored."""


class Hooks:
    """The hooks of one client. Falsy if there are none, so that a hot path can skip making values."""

    def __init__(self, hooks: Iterable[Hook] = ()) -> None:
        self._hooks = tuple(hooks)
        self._logged: set[int] = set()

    def __bool__(self) -> bool:
        return bool(self._hooks)

    def notify(self, event: HookEvent) -> None:
        """Call every hook; one that raises is logged the first time and never harms the call."""
        for index, hook in enumerate(self._hooks):
            try:
                hook(event)
            except Exception:  # noqa: BLE001  (whatever it is, it is the hook's own)
                if index not in self._logged:
                    self._logged.add(index)
                    logger.exception(
                        "a hook raised on %s; its further errors are ignored", type(event).__name__
                    )
