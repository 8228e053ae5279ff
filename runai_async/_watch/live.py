"""The live revisions of one workload, decoded when somebody asks. No I/O, no clock.

The bytes of the last response are kept anyway. Kept as typed revisions, beside them, they would take several
times as much memory, and each poll that brings a change would have to decode them. What is handed out here
does not change, so it can also be decoded in another thread.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from attrs import evolve

from runai_async import _codec
from runai_async._watch.packed import KeptBody, unpacked
from runai_async._watch.stalls import is_stalled
from runai_async._watch.state import REQUIRED
from runai_async.checkpoint import RevisionMark
from runai_async.models import Revision


class LiveRevisions(NamedTuple):
    """The live revisions of a workload as of its last successful poll, not decoded yet.

    Attributes:
        workload_id: the workload that is watched.
        version: another number for each state that a workload was in, different for all workloads.
        body: the last response, packed or not.
        parts: of each revision what is known of it, and where it is in the body; or its bytes, if it is not
            listed; or None where no response of this process has shown it.
        notes_stalls: whether stalls are reported at present; the marks may be from a process that did.
    """

    workload_id: str
    version: int
    body: KeptBody
    parts: tuple[tuple[RevisionMark, slice | bytes | None], ...]
    notes_stalls: bool = True

    @property
    def stalled_ids(self) -> frozenset[str]:
        """The revisions that were reported as stalled in their phase; none where none are reported."""
        if not self.notes_stalls:
            return frozenset()
        return frozenset(mark.id for mark, _ in self.parts if is_stalled(mark))

    def decoded(self) -> tuple[Revision, ...]:
        """Return the revisions, the newest first."""
        body = unpacked(self.body)
        found = [
            state_of(mark, body[at] if isinstance(at, slice) else at, self.workload_id)
            for mark, at in self.parts
        ]
        return tuple(sorted(found, key=lambda item: (item.created_at, item.id), reverse=True))


def state_of(mark: RevisionMark, raw: bytes | None, workload_id: str) -> Revision:
    """Return a revision's last known state; without bytes, only the fields that the schema requires."""
    if raw is None:
        fields: dict[str, Any] = {name: getattr(mark, name) for name in REQUIRED}
        return Revision(**fields)
    revision = _codec.decode_revision(raw)
    if (revision.workload_id, revision.phase_updated_at) == (workload_id, mark.phase_updated_at):
        return revision
    return evolve(revision, workload_id=workload_id, phase_updated_at=mark.phase_updated_at)
