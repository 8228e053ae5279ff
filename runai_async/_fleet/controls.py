"""Which workloads are never relaxed, so that what the rows do not show is found on them. No I/O, no clock.

Which those are depends on the ids alone, so nearly all stay controls when others come and go. A workload that
was no candidate when they were chosen may turn out to be one, so it is not relaxed either.
"""

from __future__ import annotations

from hashlib import blake2b
from heapq import nsmallest

_ONE_IN = 20
"""One of so many workloads is a control, by its hash."""
_LEAST = 5
"""Controls of a small fleet."""
_FIRST = (2**64 // _ONE_IN).to_bytes(8, "big")


class Controls:
    """The controls of a fleet: one in twenty candidates, but five at least, or all if there are fewer.

    Attributes:
        ids: the controls.
    """

    def __init__(self) -> None:
        self.ids: frozenset[str] = frozenset()
        self._candidates: frozenset[str] = frozenset()
        self._by_hash: frozenset[str] = frozenset()

    def choose(self, candidates: frozenset[str]) -> None:
        """Choose them anew, if the candidates are others than before."""
        if candidates == self._candidates:
            return
        new = candidates - self._candidates  # only these are hashed, since there may be very many candidates
        self._by_hash = (self._by_hash & candidates) | {key for key in new if _rank(key) < _FIRST}
        self._candidates, self.ids = candidates, self._by_hash
        if len(self.ids) < _LEAST:
            self.ids = frozenset(nsmallest(_LEAST, candidates, key=_rank))

    def may_relax(self, workload_id: str) -> bool:
        """Return whether a workload was a candidate and is no control: without controls nobody is relaxed."""
        return workload_id in self._candidates and workload_id not in self.ids


def _rank(workload_id: str) -> bytes:
    """Return a hash that does not depend on a workload's offset in an interval, or on its shard.

    So controls are spread evenly over both; and it is the same on every machine, so restarts keep them.
    """
    return blake2b(workload_id.encode(), digest_size=8, person=b"control").digest()
