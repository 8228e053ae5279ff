"""How many workloads there are of each kind, counted as their polls end. No I/O, no clock."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from runai_async._fleet.member import Member


class Counts(NamedTuple):
    """How many workloads there are of each kind, and when their polls succeeded.

    Attributes:
        failing: their last poll failed, and that is not normal for them.
        without_revisions: the control plane lists them but says that they have no revisions.
        oldest_success: the last successful poll of the workload for which that is longest ago, by the
            monotonic clock; None while one had none.
        latest_success: the last successful poll of all; None without one.
    """

    failing: int
    without_revisions: int
    oldest_success: float | None
    latest_success: float | None


class Tally:
    """Counts the workloads of a fleet.

    Successes are noted as they come, so who succeeded last stands last, and nobody has to be searched for.
    """

    def __init__(self) -> None:
        self._failing: set[Member] = set()
        self._bare: set[Member] = set()  # without revisions
        self._waiting: set[Member] = set()  # for a first successful poll
        self._succeeded: OrderedDict[Member, None] = OrderedDict()  # who succeeded longest ago stands first

    def note(self, member: Member, *, succeeded: bool = False) -> None:
        """Count a workload that has joined, or whose poll has ended, as what it is now."""
        is_bare = member.without_revisions
        _include(self._bare, member, is_member=is_bare)
        _include(self._failing, member, is_member=member.is_failing and not is_bare)
        _include(self._waiting, member, is_member=member.last_success_at is None and not is_bare)
        if succeeded:
            self._succeeded[member] = None
            self._succeeded.move_to_end(member)

    def forget(self, member: Member) -> None:
        """No longer count a workload."""
        for some in (self._failing, self._bare, self._waiting):
            some.discard(member)
        self._succeeded.pop(member, None)

    def counts(self) -> Counts:
        """Return the counts now."""
        latest = next(reversed(self._succeeded), None)
        return Counts(
            len(self._failing),
            len(self._bare),
            None if self._waiting else self._oldest(),
            None if latest is None else latest.last_success_at,
        )

    def _oldest(self) -> float | None:
        """Return the oldest last success of those that have revisions.

        Few of the others have ever succeeded, so hardly any are stepped over.
        """
        return next((item.last_success_at for item in self._succeeded if not item.without_revisions), None)


def _include(some: set[Member], member: Member, *, is_member: bool) -> None:
    if is_member:
        some.add(member)
    else:
        some.discard(member)
