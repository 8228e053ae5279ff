"""What a view is told to show, without polls."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple, cast

from runai_async import Revision
from runai_async._watch.live import LiveRevisions
from runai_async.cli.watched import Reading
from runai_async.hooks import PollFinished


class _Live(NamedTuple):
    version: int
    revisions: tuple[Revision, ...]
    stalled_ids: frozenset[str]

    def decoded(self) -> tuple[Revision, ...]:
        return self.revisions


class Given:
    """Workloads whose revisions a test gives.

    Attributes:
        without: ids of those that are known to have none, although their polls fail.
        decoded: how many revisions were read.
    """

    def __init__(self, revisions: Mapping[str, Iterable[Revision]], expected: int | None = None) -> None:
        self._lives: dict[str, _Live] = {}
        self._version = 0
        self._expected = expected
        self.without: set[str] = set()
        for key, items in revisions.items():
            self.show(key, *items)

    def show(self, key: str, *revisions: Revision, stalled: Iterable[str] = ()) -> None:
        """Have a workload have these revisions."""
        self._version += 1
        self._lives[key] = _Live(self._version, revisions, frozenset(stalled))

    def remove(self, key: str) -> None:
        """Have a workload be no longer watched."""
        del self._lives[key]

    @property
    def ids(self) -> frozenset[str]:
        return frozenset(self._lives)

    @property
    def expected(self) -> int:
        return len(self._lives) if self._expected is None else self._expected

    def read(self, workload_id: str) -> Reading | None:
        live = self._lives.get(workload_id)
        return None if live is None else Reading(cast("LiveRevisions", live), workload_id in self.without)


def succeeded(workload_id: str, undecodable: int = 0) -> PollFinished:
    """Return how a successful poll ends."""
    return PollFinished(workload_id, None, 0, undecodable, 0.1)


def failed(workload_id: str, error: str = "TransportError") -> PollFinished:
    """Return how a failed poll ends."""
    return PollFinished(workload_id, error, 0, 0, 0.1)
