"""Reads the values of a checkpoint's JSON; whatever is wrong is a `ValueError` that names the field."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import partial
from typing import Any

from runai_async._text import canonical_id
from runai_async.models import Phase

_LONGEST = 1e12
"""Seconds; a longer time is none that anything lasted."""


def parsed(data: str | bytes, version: int) -> dict[str, Any]:
    """Read the JSON of a checkpoint of a version."""
    try:
        value = json.loads(data)
    except RecursionError as error:
        raise ValueError("checkpoint: nested too deeply") from error
    except ValueError as error:
        raise ValueError(f"checkpoint: not JSON: {error}") from error
    whole: dict[str, Any] = as_object(value, "the top level")
    given = whole.get("version")
    if type(given) is not int or given != version:
        raise ValueError(f"checkpoint: version {given!r:.40} is unknown here; this release reads {version}")
    return whole


def check(kind: type, expected: str, value: Any, name: str) -> Any:
    """Return a value that is exactly of one of JSON's types."""
    if type(value) is not kind:
        raise ValueError(f"checkpoint: {name} must be {expected}, not {type(value).__name__}")
    return value


as_object = partial(check, dict, "an object")
as_text = partial(check, str, "a string")
as_count = partial(check, int, "a whole number")
as_flag = partial(check, bool, "true or false")


def as_id(value: Any, name: str) -> str:
    """Return an id in its canonical spelling."""
    return canonical_id(as_text(value, name))


def as_phase(value: Any, name: str) -> Phase:
    """Return a phase, known or not."""
    return Phase(as_text(value, name))


def as_time(value: Any, name: str) -> datetime:
    """Return a time in UTC."""
    text = check(str, "a time as a string", value, name)
    try:
        time = datetime.fromisoformat(text)
        utc = time.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"checkpoint: {name} is not a time: {error}") from error
    if time.tzinfo is None:
        raise ValueError(f"checkpoint: {name} has no time zone")
    return utc


def as_seconds(value: Any, name: str) -> float:
    """Return how long something lasted."""
    if type(value) not in {int, float} or not 0 <= value <= _LONGEST:
        raise ValueError(f"checkpoint: {name} must be seconds, not {value!r:.40}")
    return float(value)
