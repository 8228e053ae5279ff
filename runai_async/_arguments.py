"""Whether what a caller passed can be used: said by its name, before anything is sent."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from uuid import UUID

from attrs import evolve

from runai_async.errors import ConfigurationError
from runai_async.models import Phase
from runai_async.policy import PollPolicy, RetryPolicy


def check_client(
    *, retry: object, timeout: object, max_concurrency: object = 1, max_body: object = 1
) -> None:
    """Raise `ConfigurationError` for options of a client that cannot work."""
    if retry is not None and not isinstance(retry, RetryPolicy):
        raise ConfigurationError(
            f"retry must be a RetryPolicy, like RetryPolicy(attempts=3), not {type(retry).__name__}"
        )
    _refuse(
        ConfigurationError,
        _number("timeout", timeout),
        _whole("max_concurrency", max_concurrency),
        _whole("max_body", max_body),
    )


def check_fleet(
    *, max_concurrency: object, rate_limit: object, buffer: object, discovery_interval: object
) -> None:
    """Raise `ValueError` for limits of a fleet that cannot work."""
    _refuse(
        ValueError,
        _whole("max_concurrency", max_concurrency),
        None if rate_limit is None else _number("rate_limit", rate_limit),
        _whole("buffer", buffer),
        _number("discovery_interval", discovery_interval),
    )


def check_resume(value: object, kind: type) -> None:
    """Raise `TypeError` for what is neither None nor a checkpoint of that *kind*."""
    if value is not None and not isinstance(value, kind):
        raise TypeError(
            f"resume_from must be a {kind.__name__}, as {kind.__name__}.from_json(saved) returns, "
            f"not {type(value).__name__}"
        )


def _refuse(kind: type[Exception], *problems: str | None) -> None:
    for problem in problems:
        if problem is not None:
            raise kind(problem)


def _number(name: str, value: object) -> str | None:
    """Say why a value is no positive number, or None if it is one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"{name} must be a number, not {type(value).__name__}"
    return None if 0 < value < math.inf else f"{name} must be a positive number, not {value!r}"


def _whole(name: str, value: object) -> str | None:
    """Say why a value is no positive whole number, or None if it is one."""
    if isinstance(value, bool) or not isinstance(value, int):
        return f"{name} must be a whole number, not {type(value).__name__}"
    return None if value > 0 else f"{name} must be at least 1, not {value}"


def poll_policy(policy: PollPolicy | None, interval: float | None = None) -> PollPolicy:
    """Return the policy that a caller's two arguments mean: *interval* overrides the policy's own."""
    policy = PollPolicy() if policy is None else policy
    if not isinstance(policy, PollPolicy):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(
            f"poll must be a PollPolicy, like PollPolicy(interval=30), not {type(policy).__name__}"
        )
    return policy if interval is None else evolve(policy, interval=interval)


_HEX = "[0-9a-fA-F]"


_NORMAL_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


_UUID = rf"{_HEX}{{8}}-?{_HEX}{{4}}-?{_HEX}{{4}}-?{_HEX}{{4}}-?{_HEX}{{12}}"


def check_id(value: str | UUID, name: str) -> str:
    """Return a workload's or revision's id in its normal form.

    Raises:
        ValueError: it is no UUID. Nothing else ever goes into a path.
    """
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, str) and _NORMAL_UUID.fullmatch(value):  # pyright: ignore[reportUnnecessaryIsInstance]
        return value  # as nearly all are; making a UUID of it takes ten times as long
    # UUID() would also take "0x1…", "+1…" and " 1…", and make another id of it.
    if isinstance(value, str) and re.fullmatch(_UUID, value.removeprefix("{").removesuffix("}")):  # pyright: ignore[reportUnnecessaryIsInstance]
        return str(UUID(value))
    raise ValueError(f"{name} must be a UUID, not {value!r:.60}")


def check_timeout(timeout: float | None) -> float:
    """Return the seconds of a wait. Raises `ValueError` for what is no positive number."""
    if timeout is None:
        return math.inf
    if not isinstance(timeout, int | float) or not timeout > 0:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ValueError(f"timeout must be a positive number of seconds, or None, not {timeout!r}")
    return timeout


def phases(value: Phase | str | Iterable[Phase | str], name: str) -> frozenset[Phase]:
    """Return the set of phases that a caller named, one or several. Raises `ValueError` for unlisted ones."""
    named = frozenset(Phase(item) for item in ([value] if isinstance(value, str) else value))
    if unknown := sorted(phase for phase in named if not phase.is_known):
        raise ValueError(
            f"{name}: {unknown[0]!r} is no phase that the API lists; they are {', '.join(Phase)}"
        )
    return named
