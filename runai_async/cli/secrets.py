"""Masks what may be a secret in everything that a command prints, unless `--show-secrets` is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import evolve

from runai_async.diff import MASK
from runai_async.models import SECRET_FIELDS, Revision, Workload


def masked(value: Any) -> Any:
    """Return a value with the secrets of its revisions and workloads masked; its shape stays.

    Args:
        value: a model, or a sequence or mapping of values.
    """
    if isinstance(value, Revision | Workload):
        return evolve(value, **{name: _hidden(getattr(value, name)) for name in SECRET_FIELDS})
    if isinstance(value, Mapping):
        return {key: masked(item) for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [masked(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
    return value


def _hidden(value: Mapping[str, str] | str | None) -> Any:
    """Return the mask in the place of each text that is not empty; the names of variables remain."""
    if isinstance(value, Mapping):
        return {name: text and MASK for name, text in value.items()}
    return value and MASK
