"""The workloads of a fleet, and what is known of those that are gone by their polls."""

from __future__ import annotations

from collections.abc import Iterator, KeysView

from runai_async._fleet.capacity import Capacity
from runai_async._fleet.delivered import Delivered
from runai_async._fleet.discovery import Discovery
from runai_async._fleet.doubt import Doubt, is_common
from runai_async._fleet.health import Health
from runai_async._fleet.hints import Hints
from runai_async._fleet.member import Member
from runai_async._fleet.tally import Counts, Tally
from runai_async.errors import NotFoundError


class Members:
    """Who is watched.

    Args:
        discovery: what is listed.
        health: is notified of those that are forgotten.
        capacity: counts their intervals.
        delivered: keeps their checkpoints.
        hints: what is known of their rows, if anything is.
    """

    def __init__(
        self,
        discovery: Discovery,
        health: Health,
        capacity: Capacity,
        delivered: Delivered,
        hints: Hints | None = None,
    ) -> None:
        self._discovery = discovery
        self._health = health
        self._capacity = capacity
        self._delivered = delivered
        self._tally = Tally()
        self._hints = hints
        self._by_id: dict[str, Member] = {}
        self._gone: set[str] = set()
        self._left: dict[str, Member] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Member]:
        return iter(self._by_id.values())

    def __getitem__(self, workload_id: str) -> Member:
        return self._by_id[workload_id]

    @property
    def ids(self) -> KeysView[str]:
        """Their ids, kept up to date."""
        return self._by_id.keys()

    def add(self, member: Member, now: float) -> None:
        """Add a workload, which may be gone already by the polls of the process that it resumes from.

        Args:
            member: the workload.
            now: monotonic time.
        """
        self._by_id[member.tracker.workload_id] = member
        member.joined_at = now
        self._capacity.join(member.interval)
        if member.streak.refused_as is NotFoundError or member.tracker.is_all_missing:
            self.note_gone(member, now, is_believed=False)
        self._tally.note(member)
        self._delivered.note(member)

    def remove(self, workload_id: str) -> None:
        """Forget a workload with what is buffered of it, if there is one with this id."""
        member = self._by_id.pop(workload_id, None)
        if member is not None:
            member.removed, member.due = True, None
            self._forget(member)

    def leave(self, member: Member) -> None:
        """Forget a workload that discovery no longer lists; what is buffered of it is still yielded."""
        workload_id = member.tracker.workload_id
        if self._by_id.get(workload_id) is member:  # it may have been removed, and added again, meanwhile
            del self._by_id[workload_id]
            member.left = True
            self._forget(member)
            self._left = {item.tracker.workload_id: item for item in self.undelivered()}
            self._left.setdefault(workload_id, member)  # the earlier life of one that left twice comes first

    def note_poll(self, member: Member, *, succeeded: bool) -> None:
        """Count a workload anew whose poll has ended."""
        if member.is_watched:
            self._tally.note(member, succeeded=succeeded)

    def counts(self) -> Counts:
        """Count them by how their polls go."""
        return self._tally.counts()

    def undelivered(self) -> list[Member]:
        """Return the workloads that have left while events of theirs are still to be delivered."""
        return [member for member in self._left.values() if member.tracker.pending]

    def _forget(self, member: Member) -> None:
        workload_id = member.tracker.workload_id
        self._discovery.forget(workload_id)
        self._health.forget(workload_id)
        self._capacity.leave(member.interval)
        self._gone.discard(workload_id)
        self._tally.forget(member)
        self._delivered.forget(workload_id)
        if self._hints is not None:
            self._hints.forget(workload_id)

    def set_interval(self, member: Member, interval: float, *, is_promised: bool) -> None:
        """Set the seconds between the polls of a workload.

        Args:
            member: the workload.
            interval: the seconds.
            is_promised: whether a poll has succeeded, so that the next one is not late before that.
        """
        if interval != member.interval and member.is_watched:
            self._capacity.leave(member.interval)
            self._capacity.join(interval)
        member.interval = interval
        if is_promised:
            member.promised = interval

    def note_gone(self, member: Member, began: float | None, *, is_believed: bool) -> None:
        """Note whether a workload is gone by its polls.

        Args:
            member: the workload.
            began: monotonic time at which the poll began that says so; None if it says the opposite.
            is_believed: whether that is believed: then it makes no others doubtful.
        """
        if member.gone_since is None or began is None:
            member.gone_since = began
        if began is None or is_believed or not member.is_watched:
            self._gone.discard(member.tracker.workload_id)
        else:
            self._gone.add(member.tracker.workload_id)

    def doubt(self, member: Member) -> Doubt:
        """Return what is known of a workload should it be gone."""
        return Doubt(
            follows_list=self._discovery.fixed is None,
            listed_at=self._discovery.began_at,
            is_listed=self._discovery.is_listed(member.tracker.workload_id),
            is_common=is_common(len(self._gone), len(self._by_id)),
        )
