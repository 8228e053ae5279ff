"""The revisions of a workload as steps: what each changed, and which one serves. There is no I/O."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import zip_longest
from typing import Any

from runai_async._values import frozen
from runai_async._wait.order import newest
from runai_async._wait.pods import is_serving
from runai_async.cli.differences import change_text, change_to_dict
from runai_async.cli.spans import newest_first
from runai_async.diff import FieldChange, compare_revisions
from runai_async.models import Revision


@frozen
class Step:
    """A revision, and what it changed.

    Attributes:
        revision: live or deleted.
        serves: whether it is the newest one that serves now.
        changes: what a user changed from the revision before it; None of the first one.
    """

    revision: Revision
    serves: bool
    changes: tuple[FieldChange, ...] | None

    @property
    def changes_text(self) -> str:
        """The changes in a line; empty of the first one."""
        if self.changes is None:
            return ""
        return "; ".join(map(change_text, self.changes)) or "nothing"

    def to_dict(self) -> dict[str, Any]:
        """Return the step as a mapping that can be encoded as JSON."""
        changes = None if self.changes is None else [change_to_dict(item) for item in self.changes]
        return {"revision": self.revision, "serves": self.serves, "changes": changes}


def steps_of(revisions: Iterable[Revision], *, show_secrets: bool) -> list[Step]:
    """Return the steps of a workload, the newest first.

    Args:
        revisions: live and deleted ones, in any order.
        show_secrets: whether changes show the values of environment, command and arguments.
    """
    known = newest_first(revisions)
    serving = newest(item for item in known if is_serving(item))
    return [
        Step(
            item,
            serving is not None and item.id == serving.id,
            None if before is None else compare_revisions(before, item, show_secrets=show_secrets),
        )
        for item, before in zip_longest(known, known[1:])
    ]
