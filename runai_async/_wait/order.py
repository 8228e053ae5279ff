"""Which revision of a workload is the newest. Pure functions.

Creation times alone do not decide: a list and a get may spell one time in different precision, two revisions
may be of one second, and the clock of a replica may be behind. So what is created more than 30 s apart is
ordered by that; what is nearer by the number at the end of the name, which Knative counts up; and without
numbers, what appeared later is newer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime, timedelta
from typing import Protocol, TypeVar

_NEAR = timedelta(seconds=30)
"""Difference of creation times up to which they do not decide."""


_UNKNOWN = datetime.max.replace(tzinfo=UTC)
"""Creation time of a revision of which it cannot be read: numbers decide."""


class Created(Protocol):
    """What is compared: a revision, or what could be read of one."""

    @property
    def id(self) -> str:
        """The id."""
        ...

    @property
    def name(self) -> str:
        """The name; a number at its end counts."""
        ...

    @property
    def created_at(self) -> datetime:
        """When it was created, by the server's clock."""
        ...


T = TypeVar("T", bound=Created)


def newest(revisions: Iterable[T], first_ids: AbstractSet[str] = frozenset()) -> T | None:
    """Return the newest revision, or None without any.

    Args:
        revisions: in any order.
        first_ids: the ids that were listed from the beginning; one that is not among them appeared later.
    """
    candidates = list(revisions)
    if not candidates:
        return None
    latest = max(item.created_at for item in candidates)
    near = [item for item in candidates if latest - item.created_at <= _NEAR]
    if all(_number(item) is not None for item in near):
        return max(near, key=lambda item: (_number(item) or 0, *_rest(item)))
    return max(near, key=lambda item: (item.id not in first_ids, *_rest(item)))


def is_newer(one: Created, other: Created, first_ids: AbstractSet[str] = frozenset()) -> bool:
    """Return whether one revision is newer than another; one is never newer than itself.

    Args:
        one: the revision in question.
        other: what it is compared with.
        first_ids: as for `newest`.
    """
    if one.id == other.id:
        return False
    is_known = _UNKNOWN not in {one.created_at, other.created_at}
    if is_known and abs(one.created_at - other.created_at) > _NEAR:
        return one.created_at > other.created_at
    mine, theirs = _number(one), _number(other)
    if mine is not None and theirs is not None:
        return (mine, *_rest(one)) > (theirs, *_rest(other))
    return (one.id not in first_ids, *_rest(one)) > (other.id not in first_ids, *_rest(other))


def _number(item: Created) -> int | None:
    found = re.search(r"(\d{1,18})$", item.name)
    return int(found[1]) if found else None


def _rest(item: Created) -> tuple[datetime, str, str]:
    return item.created_at, item.name, item.id
