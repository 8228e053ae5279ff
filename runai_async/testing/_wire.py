"""Values of a test as the API's JSON has them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from runai_async._codec.fields import camel

_MAPPINGS = frozenset({"environmentVariables", "additionalFields"})
"""Fields whose keys are chosen by users, and stay as they are."""


def wire(value: Any) -> Any:
    """Turn a caller's values into the API's JSON, including times and the keys of nested objects."""
    if isinstance(value, dict):
        fields = {camel(key): item for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType,reportUnknownArgumentType]
        return {key: item if key in _MAPPINGS else wire(item) for key, item in fields.items()}  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, list | tuple):
        return [wire(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
    return stamp(value) if isinstance(value, datetime) else value


def stamp(time: datetime) -> str:
    """Write a time as the API does."""
    return time.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
