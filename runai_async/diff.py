"""The differences between two revisions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import attrs
from attrs import frozen

from runai_async.models import SECRET_FIELDS, Revision

MASK = "***"
"""Replaces a value that may be a secret."""

_CONFIGURATION = frozenset(
    {
        "type",
        "revision_requested_resources",
        "pods_requested_resources",
        "requested_pods",
        "requested_node_pools",
        "images",
        *SECRET_FIELDS,
        "additional_fields",
    }
)
"""The fields that a user requested. The others identify the revision or describe its state."""


@frozen
class FieldChange:
    """One field that differs.

    Attributes:
        path: the field in snake_case with dots, like `requested_pods.max` or `environment_variables.MODE`.
        old: the earlier value, or None.
        new: the later value, or None.

    Example:
        >>> for change in compare_revisions(old, new):
        ...     print(f"{change.path}: {change.old} -> {change.new}")
        images[0]: llm:1 -> llm:2
    """

    path: str
    old: Any
    new: Any


def compare_revisions(
    old: Revision,
    new: Revision,
    *,
    scope: Literal["configuration", "all"] = "configuration",
    show_secrets: bool = False,
) -> tuple[FieldChange, ...]:
    """Return the differences between two revisions.

    Args:
        old: the earlier revision.
        new: the later revision.
        scope: "configuration", what a user requested (resources, pods, images, environment, command,
            arguments), or "all" fields, ids and times included.
        show_secrets: whether to show the values of environment, command and arguments; otherwise they are
            `***`.

    Raises:
        ValueError: *scope* is neither of them.

    Example:
        >>> compare_revisions(old, new)
        (FieldChange(path='images[0]', old='llm:1', new='llm:2'),)
    """
    if scope not in {"configuration", "all"}:
        raise ValueError(f"scope must be 'configuration' or 'all', not {scope!r}")
    fields = [name for name in attrs.fields_dict(Revision) if scope == "all" or name in _CONFIGURATION]
    changes: list[FieldChange] = []
    for name in fields:
        found = _changes(name, getattr(old, name), getattr(new, name))
        is_masked = name in SECRET_FIELDS and not show_secrets
        changes += map(_masked, found) if is_masked else found
    return tuple(changes)


def _masked(change: FieldChange) -> FieldChange:
    return FieldChange(change.path, change.old and MASK, change.new and MASK)


def _changes(path: str, old: Any, new: Any) -> Iterator[FieldChange]:
    """Walk both values side by side, down to the parts that differ."""
    if old == new:
        return
    old_parts, new_parts = _parts(old), _parts(new)
    if (old_parts is None and old is not None) or (new_parts is None and new is not None):
        yield FieldChange(path, old, new)
        return
    before, after = old_parts or {}, new_parts or {}
    for key in {**before, **after}:
        yield from _changes(path + key, before.get(key), after.get(key))


def _parts(value: Any) -> dict[str, Any] | None:
    """Return the parts of a value by their suffix in a path, or None for a value without parts."""
    if attrs.has(value.__class__):
        return {f".{name}": getattr(value, name) for name in attrs.fields_dict(value.__class__)}
    if isinstance(value, Mapping):
        return {f".{key}": item for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, tuple):
        return {f"[{index}]": item for index, item in enumerate(value)}  # pyright: ignore[reportUnknownVariableType,reportUnknownArgumentType]
    return None
