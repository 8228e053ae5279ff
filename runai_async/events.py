"""What a watch yields: frozen values, to be distinguished with `match`."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import ClassVar
from uuid import UUID, uuid5

from attrs import field

from runai_async._values import frozen
from runai_async.diff import FieldChange
from runai_async.errors import RunaiError
from runai_async.models import Phase, Revision

_NAMESPACE = UUID("8a5e2d0e-5f0a-5a4e-9a5b-0c7a1f1f6b1d")
"""The namespace of event ids. It never changes, so the same change has the same id everywhere."""


@frozen(kw_only=True)
class _RevisionEvent:
    """What the events about one revision have in common.

    Attributes:
        revision: the revision as the response had it; of a deleted one, its last known state.
        observed_at: when the poll that found it ended, by the client's clock; not part of equality.
    """

    kind: ClassVar[str]

    revision: Revision
    observed_at: datetime = field(eq=False)
    # The number of earlier events of the revision, where its times do not distinguish this one from them.
    _ordinal: int | None = field(default=None, eq=False, repr=False, alias="ordinal")
    # Seconds by which the server's clock was ahead of the client's.
    _ahead: float = field(default=0.0, eq=False, repr=False, alias="ahead")

    @property
    def workload_id(self) -> str:
        """The id of the workload that was watched."""
        return self.revision.workload_id

    @property
    def revision_id(self) -> str:
        """The id of the revision."""
        return self.revision.id

    @property
    def server_time(self) -> datetime | None:
        """When it happened, by the server's clock; None where the response does not say."""
        return self.revision.phase_updated_at

    @property
    def id(self) -> str:
        """A UUIDv5 of the change: the same change has the same id after a resume and on other machines."""
        at = self.revision.phase_updated_at
        # Whole seconds: servers write one moment in several precisions.
        time = at.replace(microsecond=0).isoformat() if at else ""
        parts = [self.kind, self.revision.id, self.revision.phase.value, time]
        if self._ordinal is not None:
            parts.append(str(self._ordinal))
        return str(uuid5(_NAMESPACE, "\n".join(parts)))


@frozen(kw_only=True)
class RevisionAdded(_RevisionEvent):
    """A revision exists that the watch did not know.

    Attributes:
        revision: the revision as the response had it.
        initial: whether it already existed at the watch's first poll.
        observed_at: when the poll that found it ended, by the client's clock; not part of equality.

    Example:
        >>> async for event in runai.watch_revisions(workload_id):
        ...     match event:
        ...         case RevisionAdded(revision=new, initial=False):
        ...             print(new.name, "created with", new.images)
        chat-00002 created with ('llm:2',)
    """

    kind: ClassVar[str] = "added"

    initial: bool = False

    @property
    def server_time(self) -> datetime | None:
        """When the revision was created, by the server's clock."""
        return self.revision.created_at


@frozen(kw_only=True)
class PhaseChanged(_RevisionEvent):
    """A revision entered another phase, or left its phase and returned to it.

    Attributes:
        revision: the revision as the response had it; `revision.phase` is the phase that it entered.
        previous_phase: the phase that was reported before.
        coalesced: whether the revision left its phase and returned between two polls: both phases are equal.
        observed_at: when the poll that found it ended, by the client's clock; not part of equality.

    Example:
        >>> async for event in runai.watch_revisions(workload_id):
        ...     match event:
        ...         case PhaseChanged(revision=now, previous_phase=before):
        ...             print(now.name, before, "->", now.phase)
        chat-00002 Creating -> Running
    """

    kind: ClassVar[str] = "phase_changed"

    previous_phase: Phase
    coalesced: bool = False


@frozen(kw_only=True)
class RevisionUpdated(_RevisionEvent):
    """A field other than the phase changed; yielded only if `PollPolicy.emit` includes "updated".

    Attributes:
        revision: the revision as the response had it.
        changes: the differences from the previous state; environment, command and arguments are masked.
        observed_at: when the poll that found it ended, by the client's clock; not part of equality.

    Example:
        >>> async for event in runai.watch_revisions(workload_id, poll=PollPolicy(emit={"updated"})):
        ...     match event:
        ...         case RevisionUpdated(revision=now, changes=[FieldChange("running_pods", old, new)]):
        ...             print(now.name, "had", old, "pods and now has", new)
        chat-00002 had 2 pods and now has 3
    """

    kind: ClassVar[str] = "updated"

    changes: tuple[FieldChange, ...] = ()

    @property
    def server_time(self) -> datetime | None:
        """None: the API does not say when a field changed."""
        return None

    @property
    def id(self) -> str:
        """A UUIDv5 of the revision, the changed paths, and how many updates of it were reported before."""
        paths = sorted(change.path for change in self.changes)
        return str(
            uuid5(_NAMESPACE, "\n".join([self.kind, self.revision.id, *paths, str(self._ordinal or 0)]))
        )


@frozen(kw_only=True)
class RevisionStalled(_RevisionEvent):
    """A revision has been on its way in one phase for `PollPolicy.stalled_after` seconds, and still is.

    Yielded only if that is set: once for each time that the revision enters a phase other than Running,
    Stopped, Degraded, Failed and Completed. Nothing about the revision has changed, and it may still arrive.
    One that existed before the watch is reported, too, even where *include_existing* is False.

    Attributes:
        revision: the revision as the response had it; `revision.phase` is the phase that it is in.
        since: when it entered that phase, by the server's clock; where no response says so, when it was first
            seen in it.
        seconds: for how long it has been in it, by the server's clock; not part of equality.
        observed_at: when the poll that found it ended, by the client's clock; not part of equality.

    Example:
        >>> from datetime import timedelta
        >>> event = RevisionStalled(
        ...     revision=revision, since=revision.created_at, seconds=720.0, observed_at=revision.created_at
        ... )
        >>> match event:
        ...     case RevisionStalled(revision=stuck, seconds=seconds):
        ...         print(stuck.name, "is not ready after", timedelta(seconds=seconds))
        chat-00001 is not ready after 0:12:00
    """

    kind: ClassVar[str] = "stalled"

    since: datetime
    seconds: float = field(eq=False)
    # The limit that it has passed, `PollPolicy.stalled_after`.
    _stalled_after: float | None = field(default=None, eq=False, repr=False, alias="stalled_after")

    @property
    def server_time(self) -> datetime | None:
        """When it had been in its phase for `PollPolicy.stalled_after`; None where no response gives `since`.

        So it is the same whenever, and on whichever machine, the stall is found.
        """
        if self._stalled_after is None or self.revision.phase_updated_at is None:
            return None
        return self.since + timedelta(seconds=self._stalled_after)


@frozen(kw_only=True)
class RevisionDeleted(_RevisionEvent):
    """A revision was deleted, and that is confirmed.

    Attributes:
        revision: its last known state.
        observed_at: when the poll that found it ended, by the client's clock; not part of equality.

    Example:
        >>> async for event in runai.watch_revisions(workload_id):
        ...     match event:
        ...         case RevisionDeleted(revision=last):
        ...             print(last.name, "was deleted while", last.phase)
        chat-00001 was deleted while Running
        chat-00002 was deleted while Running
    """

    kind: ClassVar[str] = "deleted"

    @property
    def server_time(self) -> datetime | None:
        """When the revision was deleted, by the server's clock; None where no response said so."""
        return self.revision.deleted_at


@frozen(kw_only=True)
class _WorkloadEvent:
    """What the events about a watch itself have in common."""

    workload_id: str
    observed_at: datetime = field(eq=False)


@frozen(kw_only=True)
class Synced(_WorkloadEvent):
    """All events of the first poll were yielded; yielded only if `PollPolicy.emit` includes "synced".

    A fleet yields one for each workload, and once one whose `workload_id` is empty: when each workload of its
    first listing, or of the ids given, had a successful poll, is reported as failed, has no revisions, or was
    removed. That one also comes after a resume, once in each process; the others come only where no process
    before has had them.

    Attributes:
        workload_id: the id of the workload that is watched; empty where a fleet means all of them.
        observed_at: when the first poll ended, by the client's clock; not part of equality.

    Example:
        >>> async for event in runai.watch_revisions(workload_id, poll=PollPolicy(emit={"synced"})):
        ...     match event:
        ...         case RevisionAdded(initial=True, revision=old):
        ...             print(old.name)
        ...         case Synced():
        ...             print("that is all for now")
        chat-00001
        that is all for now
    """

    kind: ClassVar[str] = "synced"


@frozen(kw_only=True)
class WatchDegraded(_WorkloadEvent):
    """An outage began; yielded only if `PollPolicy.emit` includes "degraded".

    Attributes:
        workload_id: the id of the workload that is watched.
        error: the error of the first poll that failed.
        observed_at: when that poll ended, by the client's clock; not part of equality.

    Example:
        >>> poll = PollPolicy(emit={"degraded", "recovered"})
        >>> async for event in runai.watch_revisions(workload_id, poll=poll):
        ...     match event:
        ...         case WatchDegraded(error=error):
        ...             print("outage:", type(error).__name__)
        outage: ServerError
    """

    kind: ClassVar[str] = "degraded"

    error: RunaiError


@frozen(kw_only=True)
class WatchRecovered(_WorkloadEvent):
    """An outage ended; yielded only if `PollPolicy.emit` includes "recovered".

    Attributes:
        workload_id: the id of the workload that is watched.
        seconds: how long it lasted.
        observed_at: when the successful poll ended, by the client's clock; not part of equality.

    Example:
        >>> async for event in runai.watch_revisions(workload_id, poll=PollPolicy(emit={"recovered"})):
        ...     match event:
        ...         case WatchRecovered(seconds=seconds):
        ...             print(f"the outage lasted {seconds:.0f} s")
        the outage lasted ... s
    """

    kind: ClassVar[str] = "recovered"

    seconds: float


@frozen(kw_only=True)
class WorkloadFailed(_WorkloadEvent):
    """The polls of one workload of a fleet fail: yielded once per failure streak, while the fleet continues.

    Attributes:
        workload_id: the id of the workload.
        error: the error of its polls.
        observed_at: when the poll that decided it ended, by the client's clock; not part of equality.

    Example:
        >>> async with runai.watch_fleet(workload_ids) as fleet:
        ...     async for event in fleet:
        ...         match event:
        ...             case WorkloadFailed(workload_id=key, error=error):
        ...                 print(f"{key}: {type(error).__name__}")
        5b7ad5a4-4f2c-4c0a-b63b-0d4c1e9f7c11: NotFoundError
    """

    kind: ClassVar[str] = "workload_failed"

    error: RunaiError


@frozen(kw_only=True)
class _ClusterEvent:
    """What the events about the cluster of watched revisions have in common."""

    kind: ClassVar[str]

    cluster_id: str
    name: str
    observed_at: datetime = field(eq=False)
    # Seconds by which the server's clock was ahead of the client's.
    _ahead: float = field(default=0.0, eq=False, repr=False, alias="ahead", kw_only=True)

    @property
    def workload_id(self) -> str:
        """Empty: the event is about no single workload."""
        return ""

    def _id(self, last_seen_at: datetime | None) -> str:
        # Whole seconds, as in the ids of other events. Without that time, only that of the observation
        # distinguishes one loss of the connection from the next.
        at = last_seen_at.replace(microsecond=0) if last_seen_at else self.observed_at
        return str(uuid5(_NAMESPACE, f"{self.kind}\n{self.cluster_id}\n{at.isoformat()}"))


@frozen(kw_only=True)
class ClusterDisconnected(_ClusterEvent):
    """A cluster lost its control plane: its revisions stay as last reported, whatever becomes of them.

    Yielded only if `PollPolicy.emit` includes "clusters", for the clusters of the revisions that are watched.

    Attributes:
        cluster_id: the id of the cluster.
        name: its name.
        last_seen_at: when the control plane last heard of it; None where the account may not see that.
        observed_at: when it was observed, by the client's clock; not part of equality.

    Example:
        >>> seen = revision.created_at
        >>> event = ClusterDisconnected(cluster_id="...", name="eu-1", last_seen_at=seen, observed_at=seen)
        >>> match event:
        ...     case ClusterDisconnected(name=name, last_seen_at=at):
        ...         print(f"phases in {name} are those of {at:%H:%M}")
        phases in eu-1 are those of 12:00
    """

    kind: ClassVar[str] = "cluster_disconnected"

    last_seen_at: datetime | None

    @property
    def server_time(self) -> datetime | None:
        """When the control plane last heard of the cluster, by the server's clock."""
        return self.last_seen_at

    @property
    def id(self) -> str:
        """A UUIDv5 of kind, cluster and `last_seen_at`; where that is None, of when it was observed."""
        return self._id(self.last_seen_at)


@frozen(kw_only=True)
class ClusterConnected(_ClusterEvent):
    """A cluster that was reported as disconnected is back: its revisions are again as they are.

    Yielded only if `PollPolicy.emit` includes "clusters".

    Attributes:
        cluster_id: the id of the cluster.
        name: its name.
        last_seen_at: that of the `ClusterDisconnected` before; not part of equality.
        observed_at: when it was observed, by the client's clock; not part of equality.

    Example:
        >>> event = ClusterConnected(cluster_id="...", name="eu-1", observed_at=revision.created_at)
        >>> match event:
        ...     case ClusterConnected(name=name):
        ...         print(f"phases in {name} are present again")
        phases in eu-1 are present again
    """

    kind: ClassVar[str] = "cluster_connected"

    last_seen_at: datetime | None = field(default=None, eq=False)

    @property
    def server_time(self) -> datetime | None:
        """None: the API does not say when a cluster came back."""
        return None

    @property
    def id(self) -> str:
        """A UUIDv5 of kind, cluster and `last_seen_at`; where that is None, of when it was observed."""
        return self._id(self.last_seen_at)


RevisionEvent = RevisionAdded | PhaseChanged | RevisionUpdated | RevisionStalled | RevisionDeleted
"""The events about one revision."""

ClusterEvent = ClusterDisconnected | ClusterConnected
"""The events about the cluster of watched revisions."""

WatchEvent = RevisionEvent | Synced | WatchDegraded | WatchRecovered | ClusterEvent
"""Everything that a watch yields, for an exhaustive `match`."""

FleetEvent = WatchEvent | WorkloadFailed
"""Everything that a fleet watch yields."""


def happened_at(event: RevisionEvent | ClusterEvent) -> datetime:
    """Return when something happened, by the server's clock; where it does not say, when it was observed."""
    if event.server_time is not None:
        return event.server_time
    ahead = event._ahead  # noqa: SLF001  (of this module)  # pyright: ignore[reportPrivateUsage]
    return event.observed_at + timedelta(seconds=ahead)
