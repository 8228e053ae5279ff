"""For how long a fleet doubts that a workload is gone. Pure: no I/O, no clock."""

from __future__ import annotations

import math
from typing import NamedTuple

from runai_async._watch.failures import Past, grace_of, grace_of_missing, longest_doubt
from runai_async.errors import NotFoundError, RunaiError
from runai_async.policy import PollPolicy

_COMMON_FROM = 10
"""Workloads in a fleet from which it counts how many of them are gone at once."""


def is_common(gone: int, watched: int) -> bool:
    """Return whether so many workloads are gone at once that the control plane is the likelier cause."""
    return watched >= _COMMON_FROM and gone > watched / 2


class Doubt(NamedTuple):
    """What a fleet knows of a workload that is gone, by its polls: those are 404, or lack all revisions.

    Attributes:
        follows_list: whether the fleet follows a list of workloads.
        listed_at: monotonic time at which the latest successful listing began.
        is_listed: whether that listing named the workload.
        is_common: whether most workloads are gone at once.
    """

    follows_list: bool = False
    listed_at: float = -math.inf
    is_listed: bool = False
    is_common: bool = False

    def grace_of_missing(self, policy: PollPolicy, since: float) -> float:
        """Return the seconds after which it is believed that a workload that was readable is gone.

        A read model that restarts empty lacks it while the list still names it.

        Args:
            policy: how patient the fleet is.
            since: monotonic time of the first poll that said so.
        """
        if self.is_common:
            return longest_doubt(policy)
        if not self.follows_list:
            return grace_of_missing(policy)
        list_agrees = self.listed_at > since and not self.is_listed
        return policy.missing_grace if list_agrees else longest_doubt(policy)

    def grace_of(self, error: RunaiError, policy: PollPolicy, past: Past, since: float) -> float:
        """Return the seconds after which a refusal is believed."""
        if past.readable and isinstance(error, NotFoundError):
            return self.grace_of_missing(policy, since)
        return grace_of(error, policy, past)


NO_DOUBT = Doubt()
"""What is known without a list of workloads."""
