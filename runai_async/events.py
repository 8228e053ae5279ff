"""What a watch yields: frozen values, to be told apart by `match`."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar
from uuid import UUID, uuid5

from attrs import field, frozen

from runai_async.diff import FieldChange
from runai_async.errors import RunaiError
from runai_async.models import Phase, Revision

_NAMESPACE = UUID("8a5e2d0e-5f0a-5a4e-9a5b-0c7a1f1f6b1d")
"""The namespace of event ids. Fixed for ever: the same change has the same id everywhere."""


@frozen(kw_only=True)
class _RevisionEvent:
    """What the events about one revision share.

    Attributes:
        revision: the revision as the answer had it; of a deleted one the last state known.
        observed_at: when the poll that told it ended, by the client's clock; not part of equality.
    """

    kind: ClassVar[str]

    revision: Revision
    observed_at: datetime = field(eq=False)
    # How many events of the revision were told, where its times do not tell this event from an earlier one.
    _ordinal: int | None = field(default=None, eq=False, repr=False, alias="ordinal")

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
        """When it happened, by the server's clock, where the answer tells."""
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
    """A revision is there that was not known.

    Attributes:
        revision: the revision as the answer had it.
        initial: whether it was already there at the watch's first answer.
        observed_at: when the poll that told it ended, by the client's clock; not part of equality.

    Example:
        >>> async for event in runai.watch_revisions(workload_id):
        ...     match event:
        ...         case RevisionAdded(revision=new, initial=False):
        ...             print(new.name, "is new, with", new.images)
        chat-00002 is new, with ('llm:2',)
    """

    kind: ClassVar[str] = "added"

    initial: bool = False

    @property
    def server_time(self) -> datetime | None:
        """When the revision was created, by the server's clock."""
        return self.revision.created_at


@frozen(kw_only=True)
class PhaseChanged(_RevisionEvent):
    """A revision came to another phase, or left its phase and came back.

    Attributes:
        revision: the revision as the answer had it, `revision.phase` being where it came to.
        previous_phase: the phase told before.
        coalesced: the revision left its phase and came back between two polls: both phases are equal.
        observed_at: when the poll that told it ended, by the client's clock; not part of equality.

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
    """Another field than the phase changed; yielded only if `PollPolicy.emit` names "updated".

    Attributes:
        revision: the revision as the answer had it.
        changes: what differs from the state before; environment, command and arguments masked.
        observed_at: when the poll that told it ended, by the client's clock; not part of equality.

    Example:
        >>> async for event in runai.watch_revisions(workload_id, poll=PollPolicy(emit={"updated"})):
        ...     match event:
        ...         case RevisionUpdated(revision=now, changes=[FieldChange("running_pods", old, new)]):
        ...             print(now.name, "had", old, "pods, and has", new)
        chat-00002 had 2 pods, and has 3
    """

    kind: ClassVar[str] = "updated"

    changes: tuple[FieldChange, ...] = ()

    @property
    def server_time(self) -> datetime | None:
        """None: the API does not tell when a field changed."""
        return None

    @property
    def id(self) -> str:
        """A UUIDv5 of the revision and the time of observation, for want of a time of the server's."""
        return str(uuid5(_NAMESPACE, f"{self.kind}\n{self.revision.id}\n{self.observed_at.isoformat()}"))


@frozen(kw_only=True)
class RevisionDeleted(_RevisionEvent):
    """A revision is gone, and that was confirmed.

    Attributes:
        revision: its last known state.
        observed_at: when the poll that told it ended, by the client's clock; not part of equality.

    Example:
        >>> async for event in runai.watch_revisions(workload_id):
        ...     match event:
        ...         case RevisionDeleted(revision=last):
        ...             print(last.name, "is gone; it was", last.phase)
        chat-00001 is gone; it was Running
        chat-00002 is gone; it was Running
    """

    kind: ClassVar[str] = "deleted"

    @property
    def server_time(self) -> datetime | None:
        """When the revision was deleted, by the server's clock, where an answer told."""
        return self.revision.deleted_at


@frozen(kw_only=True)
class _WorkloadEvent:
    """What the events about a watch as such share."""

    workload_id: str
    observed_at: datetime = field(eq=False)


@frozen(kw_only=True)
class Synced(_WorkloadEvent):
    """The first answer is delivered whole; yielded only if `PollPolicy.emit` names "synced".

    Attributes:
        workload_id: of the workload that is watched.
        observed_at: when the first poll ended, by the client's clock; not part of equality.

    Example:
        >>> async for event in runai.watch_revisions(workload_id, poll=PollPolicy(emit={"synced"})):
        ...     match event:
        ...         case RevisionAdded(initial=True, revision=old):
        ...             print(old.name)
        ...         case Synced():
        ...             print("that is all there was")
        chat-00001
        that is all there was
    """

    kind: ClassVar[str] = "synced"


@frozen(kw_only=True)
class WatchDegraded(_WorkloadEvent):
    """An outage began; yielded only if `PollPolicy.emit` names "degraded".

    Attributes:
        workload_id: of the workload that is watched.
        error: what the first failed poll failed with.
        observed_at: when that poll ended, by the client's clock; not part of equality.

    Example:
        >>> poll = PollPolicy(emit={"degraded", "recovered"})
        >>> async for event in runai.watch_revisions(workload_id, poll=poll):
        ...     match event:
        ...         case WatchDegraded(error=error):
        ...             print("blind:", type(error).__name__)
        blind: ServerError
    """

    kind: ClassVar[str] = "degraded"

    error: RunaiError


@frozen(kw_only=True)
class WatchRecovered(_WorkloadEvent):
    """An outage ended; yielded only if `PollPolicy.emit` names "recovered".

    Attributes:
        workload_id: of the workload that is watched.
        seconds: how long it lasted.
        observed_at: when the good poll ended, by the client's clock; not part of equality.

    Example:
        >>> async for event in runai.watch_revisions(workload_id, poll=PollPolicy(emit={"recovered"})):
        ...     match event:
        ...         case WatchRecovered(seconds=seconds):
        ...             print(f"was blind for {seconds:.0f} s")
        was blind for ... s
    """

    kind: ClassVar[str] = "recovered"

    seconds: float


@frozen(kw_only=True)
class WorkloadFailed(_WorkloadEvent):
    """One workload of a fleet is in trouble: told once per spell, while the fleet goes on.

    Attributes:
        workload_id: of the workload.
        error: what its polls fail with.
        observed_at: when the poll ended that decided it, by the client's clock; not part of equality.

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


RevisionEvent = RevisionAdded | PhaseChanged | RevisionUpdated | RevisionDeleted
"""The events about one revision."""

WatchEvent = RevisionEvent | Synced | WatchDegraded | WatchRecovered
"""All that a watch yields, for an exhaustive `match`."""

FleetEvent = WatchEvent | WorkloadFailed
"""All that a fleet watch yields."""
