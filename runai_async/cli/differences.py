"""How a difference between two revisions is written, in a line and in JSON."""

from __future__ import annotations

from typing import Any

from runai_async.cli.text import clean, shortened
from runai_async.diff import FieldChange


def change_text(change: FieldChange) -> str:
    """Write a change in a line: `images[0]: llm:1 -> llm:2`."""
    old, new = ("none" if value is None else shortened(str(value)) for value in (change.old, change.new))
    return f"{clean(change.path)}: {old} -> {new}"


def change_to_dict(change: FieldChange) -> dict[str, Any]:
    """Return a change as a mapping that can be encoded as JSON."""
    return {"path": change.path, "old": change.old, "new": change.new}
