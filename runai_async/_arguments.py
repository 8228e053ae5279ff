"""Whether what a caller passed can be used: said by its name, before anything is sent."""

from __future__ import annotations

import math

from runai_async.errors import ConfigurationError
from runai_async.policy import RetryPolicy


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
