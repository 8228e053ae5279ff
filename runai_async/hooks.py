"""What a hook is told: one frozen value for each thing that happens, none of it secret.

A hook is a callable that takes one of these values. It runs in the event loop, so it should be quick.
What it raises is logged once and swallowed.
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
    """

    operation: str


@frozen
class RetryScheduled:
    """An attempt failed in a way that may pass, and another one follows.

    Attributes:
        attempt: the number of the attempt that failed; the first is 1.
        error: the class name of its error.
        status: the HTTP status, where there was an answer.
        delay: seconds until the next attempt.
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
        attempt: how many attempts there were.
        status: the HTTP status of the last answer, None where there was none.
        error: the class name of the error that the caller gets, None on success.
        seconds: from start to end, waits between attempts included.
    """

    operation: str
    attempt: int
    status: int | None
    error: str | None
    seconds: float


@frozen
class PollStarted:
    """A poll of a watch or fleet began."""

    workload_id: str


@frozen
class PollFinished:
    """A poll ended, in the same task in which it began.

    Attributes:
        error: the class name of the error, None where the poll was good.
        events: how many events it brought.
        undecodable: revisions of the answer that could not be decoded.
        seconds: from start to end.
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
    """

    error: str | None
    expires_in: float | None
    seconds: float


HookEvent = CallStarted | RetryScheduled | CallFinished | PollStarted | PollFinished | TokenRefreshed
Hook = Callable[[HookEvent], object]


class Hooks:
    """The hooks of one client. Falsy when there are none, so that a hot path can skip making values."""

    def __init__(self, hooks: Iterable[Hook] = ()) -> None:
        self._hooks = tuple(hooks)
        self._complained: set[int] = set()

    def __bool__(self) -> bool:
        return bool(self._hooks)

    def tell(self, event: HookEvent) -> None:
        """Tell every hook; a hook that raises is logged the first time and never harms the call."""
        for index, hook in enumerate(self._hooks):
            try:
                hook(event)
            except Exception:
                if index not in self._complained:
                    self._complained.add(index)
                    _logger.exception(
                        "a hook raised on %s; further errors of it are ignored", type(event).__name__
                    )
