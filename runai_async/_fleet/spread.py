"""What follows from the hash of a workload's id: its offset in an interval, and whose share it is. No I/O."""

from __future__ import annotations

from hashlib import blake2b

from runai_async._arguments import check_id
from runai_async._values import check_whole, frozen

_MASK = 2**64 - 1
_MULTIPLIER = 2862933555777941757
"""Of the linear congruential generator of jump consistent hashing (Lamping and Veach, 2014)."""

_MOST_SHARDS = 2**31 - 1
"""For which the jumps of that hashing are exact."""


def _hash(workload_id: str) -> int:
    return int.from_bytes(blake2b(workload_id.encode(), digest_size=8).digest())


def offset_of(workload_id: str) -> float:
    """Return a workload's offset in an interval, 0 to 1: the same on every machine."""
    return _hash(workload_id) / 2**64


def shard_of(workload_id: str, count: int) -> int:
    """Return which of *count* shards a workload belongs to, as `watch_fleet(shard=...)` has it.

    The answer depends on the id and *count* alone, and never changes from one version to the next. Of *n*
    shards that become *n* + 1, the new one takes 1 / (*n* + 1) of the workloads of each, and no others move.

    Args:
        workload_id: the id, a UUID in any spelling.
        count: how many shards there are, 1 to 2**31 - 1.

    Returns:
        The index of the shard, 0 to *count* - 1.

    Raises:
        ValueError: not a UUID, or *count* is below 1 or above 2**31 - 1.
        TypeError: *count* is not a whole number.

    Example:
        >>> shard_of("5b7ad5a4-4f2c-4c0a-b63b-0d4c1e9f7c11", 4)
        3
    """
    check_whole("count", count)
    if count > _MOST_SHARDS:
        raise ValueError(f"count must be at most {_MOST_SHARDS}")
    return _owner(check_id(workload_id, "workload_id"), count)


def _owner(workload_id: str, count: int) -> int:
    return _jump(_hash(workload_id), count)


def _jump(key: int, count: int) -> int:
    """Return the shard of a key: the last of its jumps that does not pass the end."""
    shard, after = 0, 0
    while after < count:
        shard = after
        key = (key * _MULTIPLIER + 1) & _MASK
        after = int((shard + 1) * (2**31 / ((key >> 33) + 1)))
    return shard


@frozen
class Shard:
    """One of several shares of the workloads.

    Attributes:
        index: which one, from 0 on.
        count: how many there are.
    """

    index: int
    count: int

    def owns(self, workload_id: str) -> bool:
        """Return whether a workload belongs to it, by its id in the canonical spelling."""
        return self.count == 1 or _owner(workload_id, self.count) == self.index

    def check(self, workload_id: str) -> None:
        """Check that a workload belongs to it.

        Raises:
            ValueError: it belongs to another one.
        """
        if not self.owns(workload_id):
            owner = _owner(workload_id, self.count)
            raise ValueError(
                f"workload {workload_id} belongs to shard {owner} of {self.count}, not to {self.index}"
            )


WHOLE = Shard(0, 1)
"""The share of a single fleet: everything."""


def as_shard(value: object) -> Shard:
    """Return a shard that is given as its index and how many there are; None is the whole.

    Raises:
        TypeError: it is no pair of whole numbers.
        ValueError: there is no shard of this index.
    """
    if value is None:
        return WHOLE
    match value:
        case (int(index), int(count)) if not isinstance(index, bool) and not isinstance(count, bool):
            if 0 <= index < count <= _MOST_SHARDS:
                return Shard(index, count)
            raise ValueError(
                "shard must be (index, count) with an index from 0 to count - 1 and a count of at most "
                f"{_MOST_SHARDS}, not {value!r}"
            )
        case _:
            raise TypeError(f"shard must be (index, count), like (0, 4), not {value!r}")
