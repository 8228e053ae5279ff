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
        parts = [self.kind, self.revision.id, self.revision.phase.value, at.isoformat() if at else ""]
        if self._ordinal is not None:
            parts.append(str(self._ordinal))
        return str(uuid5(_NAMESPACE, "\n".join(parts)))


@frozen(kw_only=True)
class RevisionAdded(_RevisionEvent):
    """A revision is there that was not known.

    Attributes:
        initial: whether it was already there at the watch's first answer.

    Example:
        >>> case RevisionAdded(revision=new, initial=False): print(new.name)
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
        previous_phase: the phase told before.
        coalesced: the revision left its phase and came back between two polls: both phases are equal.

    Example:
        >>> case PhaseChanged(revision=now, previous_phase=before): print(before, now.phase)
    """

    kind: ClassVar[str] = "phase_changed"

    previous_phase: Phase
    coalesced: bool = False


@frozen(kw_only=True)
class RevisionUpdated(_RevisionEvent):
    """Another field than the phase changed; yielded only if `PollPolicy.emit` names "updated".

    Attributes:
        changes: what differs from the state before; environment, command and arguments masked.
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
    """A revision is gone, and that was confirmed. `revision` is its last known state."""

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
    """The first answer is delivered whole; yielded only if `PollPolicy.emit` names "synced"."""

    kind: ClassVar[str] = "synced"


@frozen(kw_only=True)
class WatchDegraded(_WorkloadEvent):
    """An outage began; yielded only if `PollPolicy.emit` names "degraded".

    Attributes:
        error: what the first failed poll failed with.
    """

    kind: ClassVar[str] = "degraded"

    error: RunaiError


@frozen(kw_only=True)
class WatchRecovered(_WorkloadEvent):
    """An outage ended; yielded only if `PollPolicy.emit` names "recovered".

    Attributes:
        seconds: how long it lasted.
    """

    kind: ClassVar[str] = "recovered"

    seconds: float


@frozen(kw_only=True)
class WorkloadFailed(_WorkloadEvent):
    """One workload of a fleet is in trouble: told once per spell, while the fleet goes on.

    Attributes:
        error: what its polls fail with.
    """

    kind: ClassVar[str] = "workload_failed"

    error: RunaiError


RevisionEvent = RevisionAdded | PhaseChanged | RevisionUpdated | RevisionDeleted
"""The events about one revision."""

WatchEvent = RevisionEvent | Synced | WatchDegraded | WatchRecovered
"""All that a watch yields, for an exhaustive `match`."""

FleetEvent = WatchEvent | WorkloadFailed
"""All that a fleet watch yields."""
