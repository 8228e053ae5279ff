"""Validates arguments and names the one at fault, before anything is sent."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from uuid import UUID

from attrs import evolve

from runai_async._text import canonical_id, is_uuid
from runai_async._values import check_number, check_whole
from runai_async.checkpoint import Checkpoint, FleetCheckpoint
from runai_async.errors import ConfigurationError
from runai_async.models import Phase
from runai_async.policy import PollPolicy, RetryPolicy

_NORMAL_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def check_client(
    *, retry: object, timeout: object, max_concurrency: object = 1, max_body: object = 1
) -> None:
    """Raise `ConfigurationError` for options with which a client cannot work."""
    if retry is not None and not isinstance(retry, RetryPolicy):
        raise ConfigurationError(
            f"retry must be a RetryPolicy, like RetryPolicy(attempts=3), not {type(retry).__name__}"
        )
    try:
        check_number("timeout", timeout)
        check_whole("max_concurrency", max_concurrency)
        check_whole("max_body", max_body)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(str(error)) from None


def check_fleet(
    *, max_concurrency: object, rate_limit: object, buffer: object, discovery_interval: object
) -> None:
    """Raise `TypeError` or `ValueError` for limits with which a fleet cannot work."""
    check_whole("max_concurrency", max_concurrency)
    if rate_limit is not None:
        check_number("rate_limit", rate_limit)
    check_whole("buffer", buffer)
    check_number("discovery_interval", discovery_interval)


def check_relaxed(relaxed_interval: object, interval: float, *, is_query: bool) -> None:
    """Raise `TypeError` or `ValueError` for a relaxed interval with which a fleet cannot work."""
    if relaxed_interval is None:
        return
    check_number("relaxed_interval", relaxed_interval, interval)
    if not is_query:
        raise ValueError("relaxed_interval requires a query, like runai.inference_workloads")


def check_resume(value: object, kind: type) -> None:
    """Raise `TypeError` for what is neither None nor a checkpoint of that *kind*."""
    if value is not None and not isinstance(value, kind):
        raise TypeError(
            f"resume_from must be a {kind.__name__}, as {kind.__name__}.from_json(saved) returns, "
            f"not {type(value).__name__}"
        )


def other_base_url(checkpoint: Checkpoint | FleetCheckpoint, base_url: str) -> str | None:
    """Return the base URL of a checkpoint, if it has one and that is another one."""
    parts = checkpoint.workloads.values() if isinstance(checkpoint, FleetCheckpoint) else ()
    others = {checkpoint.base_url, *(part.base_url for part in parts)} - {None, base_url}
    return min((other for other in others if other is not None), default=None)


def check_control_plane(checkpoint: Checkpoint | FleetCheckpoint | None, base_url: str) -> None:
    """Raise `ValueError` for the checkpoint of another control plane, where all revisions would be gone."""
    if checkpoint is not None and (other := other_base_url(checkpoint, base_url)) is not None:
        raise ValueError(
            f"the checkpoint is of {other}, but this client is of {base_url}; if that is the same control "
            f"plane under another name, resume from checkpoint.moved_to({base_url!r})"
        )


def poll_policy(policy: PollPolicy | None, interval: float | None = None) -> PollPolicy:
    """Return the policy that a caller's two arguments stand for: *interval* overrides the policy's own.

    Raises:
        TypeError: *policy* is not a `PollPolicy`, or *interval* is not a number.
        ValueError: *interval* is out of range.
    """
    policy = PollPolicy() if policy is None else policy
    if not isinstance(policy, PollPolicy):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(
            f"poll must be a PollPolicy, like PollPolicy(interval=30), not {type(policy).__name__}"
        )
    return policy if interval is None else evolve(policy, interval=interval)


def check_id(value: str | UUID, name: str) -> str:
    """Return a workload's or revision's id in its normal form.

    Raises:
        ValueError: it is not a UUID. Nothing else ever goes into a path.
    """
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, str) and _NORMAL_UUID.fullmatch(value):  # pyright: ignore[reportUnnecessaryIsInstance]
        return value  # nearly all are; making a UUID of it takes ten times as long
    # UUID() would also accept "0x1…", "+1…" and " 1…", and turn them into another id.
    if isinstance(value, str) and is_uuid(inner := value.removeprefix("{").removesuffix("}")):  # pyright: ignore[reportUnnecessaryIsInstance]
        return canonical_id(inner)
    raise ValueError(f"{name} must be a UUID, not {value!r:.60}")


def check_timeout(timeout: float | None) -> float:
    """Return the seconds that a wait may take; None and infinity mean for ever.

    Raises:
        TypeError: it is not a number.
        ValueError: it is not positive.
    """
    if timeout is None or timeout == math.inf:
        return math.inf
    check_number("timeout", timeout)
    return timeout


def phases(value: Phase | str | Iterable[Phase | str], name: str) -> frozenset[Phase]:
    """Return the set of phases that a caller named, one or several.

    Raises:
        ValueError: the API does not list one of them.
    """
    named = frozenset(Phase(item) for item in ([value] if isinstance(value, str) else value))
    if unknown := sorted(phase for phase in named if not phase.is_known):
        raise ValueError(
            f"{name}: {unknown[0]!r} is not a phase that the API lists; they are {', '.join(Phase)}"
        )
    return named
