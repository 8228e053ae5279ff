"""What a hook is told: one frozen value for each thing that happens, none of it secret.

A hook is a callable that takes one of these values; `RunaiClient(hooks=[...])` takes any number of them. It
runs in the event loop, so it should be quick. What it raises is logged once and swallowed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from attrs import frozen

_logger = logging.getLogger("runai_async")


@frozen
class CallStarted:
    """A call began, before its first attempt.

    Attributes:
        operation: `list_revisions`, `count_revisions`, `get_revision`, `list_workloads`, `revision_history`.

    Example:
        >>> def hook(event: HookEvent) -> None:
        ...     if isinstance(event, CallStarted):
        ...         print("began:", event.operation)
        >>> runai = RunaiClient("https://acme.run.ai", token, hooks=[hook])
        >>> count = await runai.count_revisions(workload_id)
        began: count_revisions
    """

    operation: str


@frozen
class RetryScheduled:
    """An attempt failed in a way that may pass, and another one follows.

    Attributes:
        operation: as in `CallStarted`.
        attempt: the number of the attempt that failed; the first is 1.
        error: the class name of its error.
        status: the HTTP status, where there was an answer.
        delay: seconds until the next attempt.

    Example:
        >>> def hook(event: HookEvent) -> None:
        ...     match event:
        ...         case RetryScheduled(attempt=attempt, error=error, delay=delay):
        ...             print(f"attempt {attempt}: {error}; again in {delay:.0f} s")
        >>> runai = RunaiClient("https://acme.run.ai", token, hooks=[hook])
        >>> count = await runai.count_revisions(workload_id)
        attempt 1: RateLimitError; again in 2 s
    """

    operation: str
    attempt: int
    error: str
    status: int | None
    delay: float


@frozen
class CallFinished:
    """A call ended, in the same task in which it began.

    Attributes:
        operation: as in `CallStarted`.
        attempt: how many attempts there were.
        status: the HTTP status of the last answer, None where there was none.
        error: the class name of the error that the caller gets, None on success. It is `CancelledError` for a
            cancelled call, and may be another's class, if a session of yours raised it.
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
    """A poll of a watch or fleet began.

    Attributes:
        workload_id: of the workload that is polled.

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
    """A poll ended, in the same task in which it began.

    Attributes:
        workload_id: of the workload that was polled.
        error: the class name of the error, None where the poll was good. It is `CancelledError` where the
            consumer did not wait for the end, and may be another's class, as in `CallFinished`.
        events: how many events it brought.
        undecodable: revisions of the answer that could not be decoded.
        seconds: from start to end.

    Example:
        >>> def hook(event: HookEvent) -> None:
        ...     if isinstance(event, PollFinished):
        ...         print(event.error or "good", event.events, event.undecodable)
        >>> runai = RunaiClient("https://acme.run.ai", token, hooks=[hook])
        >>> event = await anext(runai.watch_revisions(workload_id))
        good 1 0
    """

    workload_id: str
    error: str | None
    events: int
    undecodable: int
    seconds: float


@frozen
class TokenRefreshed:
    """The token endpoint was asked.

    Attributes:
        error: the class name of the error, None where a token came.
        expires_in: seconds that the new token is good for, None where none came.
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
"""All that a hook is told, for an exhaustive `match`."""

Hook = Callable[[HookEvent], object]
"""What `RunaiClient` takes as a hook; what it returns is not looked at."""


class Hooks:
    """The hooks of one client. Falsy when there are none, so that a hot path can skip making values."""

    def __init__(self, hooks: Iterable[Hook] = ()) -> None:
        self._hooks = tuple(hooks)
        self._complained: set[int] = set()

    def __bool__(self) -> bool:
        return bool(self._hooks)

    def notify(self, event: HookEvent) -> None:
        """Call every hook; one that raises is logged the first time and never harms the call."""
        for index, hook in enumerate(self._hooks):
            try:
                hook(event)
            except Exception:
                if index not in self._complained:
                    self._complained.add(index)
                    _logger.exception(
                        "a hook raised on %s; further errors of it are ignored", type(event).__name__
                    )
