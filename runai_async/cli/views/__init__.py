"""What the commands print.

A module that needs rich or PyYAML is imported when it is first used, so that what does not draw starts fast.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runai_async.cli.views import bars, progress, tables, tally, terminal, yaml_text

__all__ = ["bars", "progress", "tables", "tally", "terminal", "yaml_text"]


def __getattr__(name: str) -> ModuleType:
    """Import a module of this package."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module(f"{__name__}.{name}")
