"""A workload with its revisions: what serves, and what is newest. There is no I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from runai_async._values import frozen
from runai_async._wait.order import newest
from runai_async._wait.pods import is_serving
from runai_async.cli.text import clean, counted
from runai_async.models import Phase, Revision, Workload


def newest_serving(revisions: Iterable[Revision]) -> Revision | None:
    """Return the newest revision that serves."""
    return newest(item for item in revisions if is_serving(item))


def short_name(revision: Revision | None, workload_name: str) -> str:
    """Write a revision by its number, where its name is the workload's name and a number."""
    return "" if revision is None else revision.name.removeprefix(f"{workload_name}-")


@frozen
class Overview:
    """A workload and its live revisions.

    Attributes:
        workload: as it was listed.
        revisions: its live revisions; none where they were not read.
        is_deleted: whether it had revisions that are deleted.
    """

    workload: Workload
    revisions: tuple[Revision, ...] = ()
    is_deleted: bool = False

    @property
    def newest(self) -> Revision | None:
        """The newest revision."""
        return newest(self.revisions)

    @property
    def serving(self) -> Revision | None:
        """The newest revision that serves."""
        return newest_serving(self.revisions)

    @property
    def phase(self) -> Phase:
        """The phase of the newest revision: that of the workload stays Running during a rollout."""
        return self.workload.phase if self.newest is None else self.newest.phase

    def short(self, revision: Revision | None) -> str:
        """Write a revision by its number, where its name is the workload's name and a number."""
        return short_name(revision, self.workload.name)

    def to_dict(self) -> dict[str, Any]:
        """Return the workload and these two revisions as a mapping that can be encoded as JSON."""
        parts = {"workload": self.workload, "serving": self.serving, "newest": self.newest}
        return {name: part for name, part in parts.items() if part is not None}


def in_order(overviews: Iterable[Overview]) -> list[Overview]:
    """Return workloads by project, then by name."""
    return sorted(
        overviews, key=lambda item: (item.workload.project_name or "", item.workload.name, item.workload.id)
    )


def totals(overviews: Iterable[Overview]) -> str:
    """Write how many workloads are in which phase: `3 workloads: 2 Running, 1 Failed`."""
    phases = [item.phase for item in overviews]
    parts = phase_counts(phases)
    return f"{counted(len(phases), 'workload')}{parts and f': {parts}'}"


def phase_counts(phases: Iterable[str]) -> str:
    """Write how often each phase occurs, the most frequent first: `2 Running, 1 Failed`."""
    counts = Counter(phases)
    return ", ".join(f"{number} {clean(phase)}" for phase, number in counts.most_common())
