"""The differences between two revisions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Literal

import attrs

from runai_async._clock import is_same_moment
from runai_async._values import frozen
from runai_async.models import SECRET_FIELDS, Condition, Revision

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
_UNORDERED = frozenset({"images", "requested_node_pools", "current_node_pools", "conditions"})
"""Lists whose order means nothing, and differs from one response to the next."""


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

    Conditions are compared by their type, images and node pools without their order; an index in a path is
    that of the earlier revision. An empty text is like a missing one, except as the value of an environment
    variable. A time in another precision is the same time.

    Args:
        old: the earlier revision.
        new: the later revision.
        scope: "configuration", what a user requested (resources, pods, images, environment, command,
            arguments), or "all" fields, ids and times included. Only "all" distinguishes an empty list from
            none.
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
        before, after = getattr(old, name), getattr(new, name)
        if name in _UNORDERED and before and after:
            after = _aligned(before, after)
        found = _changes(name, before, after, exact=scope == "all")
        is_masked = name in SECRET_FIELDS and not show_secrets
        changes += map(_masked, found) if is_masked else found
    return tuple(changes)


def _aligned(old: tuple[Any, ...], new: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the items of *new* in the order of *old*; others fill the gaps, and what is left stands last."""
    rest = list(new)
    slots = [_taken(rest, item) for item in old]
    filled = [rest.pop(0) if slot is None and rest else slot for slot in slots]
    return (*filled, *rest)


def _taken(items: list[Any], like: Any) -> Any:
    """Take the first item out of a list that is the same thing as another one; None if there is none."""
    for index, item in enumerate(items):
        if _name(item) == _name(like):
            return items.pop(index)
    return None


def _name(item: Any) -> Any:
    """Return what identifies an item of an unordered list."""
    return item.type if isinstance(item, Condition) else item


def _masked(change: FieldChange) -> FieldChange:
    return FieldChange(change.path, change.old and MASK, change.new and MASK)


def _changes(path: str, old: Any, new: Any, *, exact: bool) -> Iterator[FieldChange]:
    """Walk both values side by side, down to the parts that differ."""
    if isinstance(old, datetime) and isinstance(new, datetime) and is_same_moment(old, new):
        return
    if old == new or (_is_nothing(old, path, exact=exact) and _is_nothing(new, path, exact=exact)):
        return
    before, after = _parts(old), _parts(new)
    if not (before or after) or (before is None and old is not None) or (after is None and new is not None):
        yield FieldChange(path, old, new)
        return
    before, after = before or {}, after or {}
    for key in {**before, **after}:
        yield from _changes(path + key, before.get(key), after.get(key), exact=exact)


def _is_nothing(value: Any, path: str, *, exact: bool) -> bool:
    """Return whether a value is like a missing one."""
    if value == "":
        return not path.startswith("environment_variables.")
    return value is None or value == {} or (not exact and value in ((), []))


def _parts(value: Any) -> dict[str, Any] | None:
    """Return the parts of a value by their suffix in a path, or None for a value without parts."""
    if attrs.has(value.__class__):
        return {f".{name}": getattr(value, name) for name in attrs.fields_dict(value.__class__)}
    if isinstance(value, Mapping):
        return {f".{key}": item for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, tuple):
        return {f"[{index}]": item for index, item in enumerate(value)}  # pyright: ignore[reportUnknownVariableType,reportUnknownArgumentType]
    return None
