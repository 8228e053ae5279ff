"""Stands in for the client while a shell asks for completions: it takes longer to import than the rest."""

from __future__ import annotations

import sys
from types import ModuleType

COMPLETING = "_RUNAI_ASYNC_COMPLETE"
"""The variable by which a shell asks what a word may be completed to."""


def without_client() -> None:
    """Let commands be imported without the client: to complete, their parameters suffice."""
    sys.modules.setdefault("runai_async.client", _Placeholder("runai_async.client"))


class _Placeholder(ModuleType):
    """Has every name; none of them is used, as no command is run."""

    def __getattr__(self, name: str) -> type[object]:
        """Return something in the place of a class or function."""
        if name.startswith("__"):
            raise AttributeError(name)
        return object
