"""Snapshots in, events and checkpoint out. No I/O, no clock: the heart of the watch.

The naive watch keeps the last answer and compares the next one with it. That fails in four ways:

- What is compared must be what the consumer was *told*, or an event that was found but not delivered is
  lost when the process ends. So each undelivered event carries the state before it, and a checkpoint is the
  known state with the undelivered events taken back.
- A revision that is not in the list is not deleted: lists come from caches, replicas and sick gateways. So a
  missing revision is only a question, which the poll asks elsewhere, and the answer to which decides.
- A poll is several requests, and may be cancelled between any two. So nothing changes here until all of
  them are in: `read` and the questions look only, and one call of `apply` takes everything in.
- Most answers are like the one before. So the last body is kept, an equal one is recognised by comparing
  bytes, and of another one only the revisions whose bytes are new are decoded. A revision that is needed
  again (the last state of a deleted one) is decoded from the bytes that are kept anyway.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import attrs
from attrs import evolve, frozen

from runai_async import _codec
from runai_async.checkpoint import Checkpoint, RevisionMark
from runai_async.diff import compare_revisions
from runai_async.errors import DecodeError
from runai_async.events import (
    PhaseChanged,
    RevisionAdded,
    RevisionDeleted,
    RevisionEvent,
    RevisionUpdated,
    WatchEvent,
)
from runai_async.models import HistoryRecord, Revision

_REQUIRED = [name for name in attrs.fields_dict(RevisionMark) if name in attrs.fields_dict(Revision)]
_Item = tuple[WatchEvent, RevisionMark | None]
"""An event, and the state of its revision before it."""
_Items = list[_Item]

_SHARED = ("type", "cluster_id", "department_id", "project_id")
"""Fields that many revisions share; interned, because a fleet keeps thousands of them."""


@frozen
class Seen:
    """One revision of an answer.

    Attributes:
        place: where its bytes are in the body.
        digest: the hash of its bytes.
        revision: decoded; None where its bytes are known already, or cannot be decoded.
    """

    id: str
    place: slice
    digest: int
    revision: Revision | None


@frozen
class Snapshot:
    """One list answer, read and compared with what is known, but not yet taken in.

    Attributes:
        undecodable: the digests of revisions that could not be decoded, with their ids where those could.
        problems: what was wrong with those that were not undecodable before.
    """

    body: bytes
    seen: Mapping[str, Seen]
    undecodable: Mapping[int, str | None]
    problems: Sequence[DecodeError]

    @property
    def is_complete(self) -> bool:
        """Whether every revision in it could be told apart; otherwise nothing counts as missing."""
        return None not in self.undecodable.values()


@frozen
class Found:
    """What another request told about a missing revision: nothing at all means that there is none (404).

    Attributes:
        failed: the request failed and decides nothing; but it was this revision's turn.
    """

    raw: bytes | None = None
    revision: Revision | None = None
    failed: bool = False


class _Entry:
    """What is kept of one known revision, beside its place in the body."""

    __slots__ = ("asked_at", "changed_at", "digest", "mark", "missing_since", "place", "raw")

    def __init__(self, mark: RevisionMark, changed_at: float) -> None:
        self.mark = mark
        self.changed_at = changed_at
        self.place: slice | None = None
        self.digest: int | None = None
        self.raw: bytes | None = None
        self.missing_since: float | None = None
        self.asked_at = _NEVER


class Tracker:
    """Decides what is new, what was missed, what is really gone, and what was delivered.

    Args:
        workload_id: whose revisions these are.
        include_existing: whether the revisions of the first answer are told.
        emit_updates: whether changes of other fields than the phase are told.
        resume_from: what was delivered before.

    Raises:
        ValueError: the checkpoint is another workload's.
    """

    __slots__ = (
        "_bad", "_body", "_by_digest", "_emit_updates", "_fast_since", "_include_existing", "_initial_left",
        "_known", "_pending", "_settled", "synced", "workload_id",
    )  # fmt: skip

    def __init__(
        self,
        workload_id: str,
        *,
        include_existing: bool = True,
        emit_updates: bool = False,
        resume_from: Checkpoint | None = None,
    ) -> None:
        self.workload_id: str = workload_id
        self.synced: bool = False
        self._include_existing = include_existing
        self._emit_updates = emit_updates
        self._known: dict[str, _Entry] = {}
        self._by_digest: dict[int, _Entry] = {}
        self._body = b""
        self._settled = False
        self._bad: Mapping[int, str | None] = {}
        self._pending: deque[_Item] | None = None
        self._initial_left = 0
        self._fast_since: float | None = None
        if resume_from is not None:
            self._resume(resume_from)

    def _resume(self, checkpoint: Checkpoint) -> None:
        if checkpoint.workload_id != self.workload_id:
            raise ValueError(
                f"the checkpoint is of workload {checkpoint.workload_id}, "
                f"but this watch is of {self.workload_id}"
            )
        self.synced = checkpoint.synced
        for mark in checkpoint.revisions:
            self._known[mark.id] = _Entry(mark, _NEVER)

    # --- looking ------------------------------------------------------------------------------------------

    @property
    def undecodable(self) -> int:
        """How many revisions of the last answer could not be decoded."""
        return len(self._bad)

    def fast_until(self, fast_for: float) -> float:
        """Return the monotonic time until which a revision on its way asks for fast polling."""
        return _NEVER if self._fast_since is None else self._fast_since + fast_for

    def read(self, body: bytes) -> Snapshot | None:
        """Read a list answer; None if it is the one before and leaves no question open.

        Raises:
            DecodeError: it is no list of revisions at all.
        """
        if self._settled and body == self._body:
            return None
        seen: dict[str, Seen] = {}
        undecodable: dict[int, str | None] = {}
        problems: list[DecodeError] = []
        end = 0
        for raw in _codec.split_revisions(body):
            # Next to the one before, but for a comma: to look there is quicker than to search.
            start = end + 1 if body.startswith(raw, end + 1) else body.index(raw, end)
            end = start + len(raw)
            item = self._look(raw, slice(start, end), undecodable, problems)
            if item is not None and self._is_newer(item, seen.get(item.id)):
                seen[item.id] = item
        return Snapshot(body, seen, undecodable, problems)

    def _look(
        self, raw: bytes, place: slice, undecodable: dict[int, str | None], problems: list[DecodeError]
    ) -> Seen | None:
        """Look at one revision's bytes: known ones are not decoded again."""
        digest = hash(raw)
        entry = self._by_digest.get(digest)
        if entry is not None and self._raw(entry) == raw:
            return Seen(entry.mark.id, place, digest, None)
        revision: Revision | None = None
        if digest in self._bad:
            revision_id = self._bad[digest]
        else:
            try:
                revision = _codec.decode_revision(raw)
                return Seen(revision.id, place, digest, revision)
            except DecodeError as error:
                revision_id = _codec.identity(raw)
                problems.append(error)
        undecodable[digest] = revision_id
        return None if revision_id is None else Seen(revision_id, place, digest, None)

    def _is_newer(self, item: Seen, other: Seen | None) -> bool:
        """Choose among two of one id in one answer, so that their order there does not matter."""
        if other is None:
            return True
        states = [self._state(seen) for seen in (item, other)]
        return states[0] is not None and (states[1] is None or _age(states[0]) > _age(states[1]))

    def _state(self, seen: Seen) -> Revision | RevisionMark | None:
        entry = self._known.get(seen.id)
        return seen.revision or (entry.mark if entry else None)

    def _raw(self, entry: _Entry) -> bytes | None:
        return entry.raw if entry.place is None else self._body[entry.place]

    def missing(self, snapshot: Snapshot) -> list[str]:
        """Return the known live revisions that an answer lacks; those not asked for the longest are first."""
        if not snapshot.is_complete:
            return []
        entries = [
            entry
            for revision_id, entry in self._known.items()
            if entry.mark.deleted_at is None and revision_id not in snapshot.seen
        ]
        return [entry.mark.id for entry in sorted(entries, key=lambda entry: entry.asked_at)]

    def gaps(self, snapshot: Snapshot) -> list[tuple[RevisionMark, Revision]]:
        """Return the states before and after each change of phase: some may have been missed in between."""
        return [
            (entry.mark, seen.revision)
            for seen in snapshot.seen.values()
            if seen.revision and (entry := self._known.get(seen.id)) and _has_moved(entry.mark, seen.revision)
        ]

    # --- taking in ----------------------------------------------------------------------------------------

    def apply(
        self,
        snapshot: Snapshot,
        *,
        at: float,
        now: datetime,
        found: Mapping[str, Found] | None = None,
        missing_grace: float = 0.0,
        between: Mapping[str, Sequence[Revision]] | None = None,
    ) -> None:
        """Take an answer in, with what other requests told about it, and queue the events.

        Args:
            snapshot: what `read` returned.
            at: monotonic time.
            now: wall-clock time, for `observed_at`.
            found: what was asked about missing revisions, by id.
            missing_grace: seconds for which a revision must be missing before a 404 by id is believed.
            between: the states in the gaps, by id.
        """
        missing = self.missing(snapshot)
        groups = [
            *(self._take(seen, now, at, (between or {}).get(seen.id, ())) for seen in snapshot.seen.values()),
            *(
                self._decide(self._known[item], (found or {}).get(item), at, now, missing_grace)
                for item in missing
            ),
        ]
        self._keep(snapshot)
        self._queue(group for group in groups if group)
        self._after(snapshot, missing)

    def _take(self, seen: Seen, now: datetime, at: float, between: Sequence[Revision]) -> _Items:
        """Compare one listed revision with what is known of it."""
        entry, revision = self._known.get(seen.id), seen.revision
        if entry is None:
            return (
                self._add(revision, now, at) if revision is not None and revision.deleted_at is None else []
            )
        entry.missing_since = None
        if entry.changed_at == _NEVER:
            entry.changed_at = at
        if revision is None:
            return []
        return self._compare(entry, revision, now, at, between)

    def _add(self, revision: Revision, now: datetime, at: float) -> _Items:
        mark = _mark(revision, self.workload_id)
        self._known[revision.id] = _Entry(mark, at)
        if not (self.synced or self._include_existing):
            return []
        event = RevisionAdded(
            revision=revision, observed_at=now, initial=not self.synced, ordinal=_ordinal(None, revision)
        )
        self._known[revision.id].mark = _told(mark, revision)
        return [(event, None)]

    def _compare(
        self, entry: _Entry, revision: Revision, now: datetime, at: float, between: Sequence[Revision]
    ) -> _Items:
        """Return the events between a revision's known state and another one, and make that the known one."""
        before = entry.mark
        events: _Items = []
        if before.deleted_at is not None and revision.deleted_at is not None:
            return []  # told already
        if before.deleted_at is not None:
            events.append((self._returned(entry, revision, now), before))
        elif _has_moved(before, revision):
            for step in (*between, revision):
                events.append((_phase_changed(entry.mark, step, now), entry.mark))
                entry.mark = _told(entry.mark, step)
        elif self._emit_updates and revision.deleted_at is None:
            events.extend((event, before) for event in self._updated(entry, revision, now))
        if events and not isinstance(events[-1][0], RevisionUpdated):
            entry.changed_at = at
        if revision.deleted_at is not None:
            events.append((_deleted(entry.mark, revision, now), entry.mark))
        entry.mark = evolve(
            entry.mark,
            phase_updated_at=revision.phase_updated_at or entry.mark.phase_updated_at,
            deleted_at=revision.deleted_at,
        )
        return events

    def _returned(self, entry: _Entry, revision: Revision, now: datetime) -> WatchEvent:
        """Tell a revision that was told deleted and is live again."""
        ordinal = _ordinal(entry.mark, revision)
        entry.mark = evolve(_told(entry.mark, revision), returns=entry.mark.returns + 1)
        return RevisionAdded(revision=revision, observed_at=now, ordinal=ordinal)

    def _updated(self, entry: _Entry, revision: Revision, now: datetime) -> list[WatchEvent]:
        raw = self._raw(entry)
        changes = compare_revisions(_codec.decode_revision(raw), revision, scope="all") if raw else ()
        return [RevisionUpdated(revision=revision, observed_at=now, changes=changes)] if changes else []

    def _decide(
        self, entry: _Entry, found: Found | None, at: float, now: datetime, missing_grace: float
    ) -> _Items:
        """Decide about a missing revision by what was found of it elsewhere, if it was looked for."""
        if entry.missing_since is None:
            entry.missing_since = at
        if found is None:
            return []
        entry.asked_at = at
        if found.failed:
            return []
        if found.revision is not None:
            events = self._compare(entry, found.revision, now, at, ())
            self._hold(entry, found.raw)
            if found.revision.deleted_at is None:
                entry.missing_since = None
            return events
        if at - entry.missing_since < missing_grace:
            return []
        return [self._gone(entry, now)]

    def _gone(self, entry: _Entry, now: datetime) -> _Item:
        """Tell a deletion of which no answer tells the time: by `deleted_at`, it is when it was observed."""
        before, revision = entry.mark, self.last_state(entry.mark.id)
        entry.mark = evolve(before, deleted_at=now.astimezone(UTC))
        return _deleted(before, revision, now), before

    def delete_all(self, now: datetime) -> None:
        """Tell the deletion of every known revision: their workload is gone."""
        live = [entry for entry in self._known.values() if entry.mark.deleted_at is None]
        self._queue([self._gone(entry, now)] for entry in live)

    def last_state(self, revision_id: str) -> Revision:
        """Return a revision's last known state; after a resume, only the fields that the schema requires."""
        entry = self._known[revision_id]
        raw = self._raw(entry)
        mark = entry.mark
        if raw is not None:
            return evolve(_codec.decode_revision(raw), phase_updated_at=mark.phase_updated_at)
        fields: dict[str, Any] = {name: getattr(mark, name) for name in _REQUIRED}
        return Revision(**fields)

    def _hold(self, entry: _Entry, raw: bytes | None) -> None:
        """Keep a revision's bytes outside of the body."""
        entry.place, entry.raw, entry.digest = None, raw, None

    def _keep(self, snapshot: Snapshot) -> None:
        """Make the answer the one that the next is compared with."""
        undecodable = snapshot.undecodable
        for revision_id, entry in self._known.items():
            seen = snapshot.seen.get(revision_id)
            if (seen is None or seen.digest in undecodable) and entry.place is not None:
                self._hold(entry, self._raw(entry))
        for seen in snapshot.seen.values():
            if seen.id in self._known and seen.digest not in undecodable:
                entry = self._known[seen.id]
                entry.place, entry.raw, entry.digest = seen.place, None, seen.digest
        self._body = snapshot.body
        self._bad = undecodable
        self._by_digest = {entry.digest: entry for entry in self._known.values() if entry.digest is not None}

    def _queue(self, groups: Iterable[_Items]) -> None:
        """Queue events by the server's time and revision id, each revision's in the order they came about."""
        timed: list[tuple[tuple[bool, datetime], str, int, _Item]] = []
        for group in groups:
            latest = (False, _EPOCH)
            for index, item in enumerate(group):
                event = item[0]
                assert isinstance(event, RevisionEvent)  # noqa: S101  (for the type checkers: no other comes here)
                latest = max(latest, _when(event))
                timed.append((latest, event.revision_id, index, item))
        if timed:
            timed.sort(key=lambda row: row[:3])
            self._extend(row[3] for row in timed)

    def _extend(self, items: Iterable[_Item]) -> None:
        if self._pending is None:
            self._pending = deque()
        self._pending.extend(items)

    def _after(self, snapshot: Snapshot, missing: Sequence[str]) -> None:
        """Note what the answer settled: the first one is in, deleted revisions it lacks are forgotten."""
        if not self.synced:
            self.synced = True
            self._initial_left = len(self._pending or ())
        if snapshot.is_complete:
            deleted = [key for key, entry in self._known.items() if entry.mark.deleted_at is not None]
            for key in deleted:
                if key not in snapshot.seen:
                    del self._known[key]
        moving = [
            entry.changed_at
            for entry in self._known.values()
            if entry.mark.deleted_at is None and not entry.mark.phase.is_settled
        ]
        self._fast_since = max(moving, default=None)
        self._settled = not missing

    # --- delivering ---------------------------------------------------------------------------------------

    def put(self, event: WatchEvent) -> None:
        """Queue an event about the watch as such behind those that wait."""
        self._extend([(event, None)])

    @property
    def pending(self) -> int:
        """How many events wait to be delivered."""
        return len(self._pending) if self._pending else 0

    def take(self) -> WatchEvent:
        """Deliver the next event: from here on it is in the checkpoint."""
        assert self._pending  # noqa: S101  (callers look at `pending` first)
        event, _ = self._pending.popleft()
        if self._initial_left:
            self._initial_left -= 1
        if not self._pending:
            self._pending = None
        return event

    def checkpoint(self) -> Checkpoint:
        """Return what was delivered: the known state, with the undelivered events taken back."""
        marks: dict[str, RevisionMark | None] = {key: entry.mark for key, entry in self._known.items()}
        for event, before in reversed(self._pending or ()):
            if isinstance(event, RevisionEvent):
                marks[event.revision_id] = before
        delivered = tuple(mark for mark in marks.values() if mark is not None)
        return Checkpoint(self.workload_id, delivered, self.synced and not self._initial_left)


_NEVER = float("-inf")
_EPOCH = datetime.min.replace(tzinfo=UTC)


def _when(event: RevisionEvent) -> tuple[bool, datetime]:
    """Return a key that sorts by the server's time, those without one last."""
    at = event.server_time
    return (True, _EPOCH) if at is None else (False, at)


def _age(state: Revision | RevisionMark) -> tuple[bool, datetime, str]:
    return state.deleted_at is not None, state.phase_updated_at or _EPOCH, state.phase


def _mark(revision: Revision, workload_id: str) -> RevisionMark:
    """Return what a checkpoint keeps of a revision, before any event of it was told."""
    fields: dict[str, Any] = {name: getattr(revision, name) for name in _REQUIRED}
    fields |= {name: sys.intern(fields[name]) for name in _SHARED}
    if fields["workload_id"] == workload_id:
        fields["workload_id"] = workload_id
    return RevisionMark(**fields, told_until=revision.phase_updated_at)


def _told(mark: RevisionMark, revision: Revision) -> RevisionMark:
    """Return the mark after an event that told *revision*."""
    at, until = revision.phase_updated_at, mark.told_until
    later = at if until is None or (at is not None and at > until) else until
    return evolve(mark, phase=revision.phase, phase_updated_at=at, count=mark.count + 1, told_until=later)


def _ordinal(mark: RevisionMark | None, revision: Revision) -> int | None:
    """Return the count that an event's id needs, or None where the server's time tells it apart already."""
    at = revision.phase_updated_at
    if mark is None:
        return 0 if at is None else None
    is_later = at is not None and (mark.told_until is None or at > mark.told_until)
    return None if is_later else mark.count


def _has_moved(mark: RevisionMark, revision: Revision) -> bool:
    """Tell whether a revision's phase is another one, or the same one come back to."""
    if revision.phase != mark.phase:
        return True
    before, after = mark.phase_updated_at, revision.phase_updated_at
    return before is not None and after is not None and before != after


def _deleted(mark: RevisionMark, revision: Revision, now: datetime) -> RevisionDeleted:
    return RevisionDeleted(revision=revision, observed_at=now, ordinal=mark.returns or None)


def _phase_changed(mark: RevisionMark, revision: Revision, now: datetime) -> PhaseChanged:
    return PhaseChanged(
        revision=revision,
        observed_at=now,
        previous_phase=mark.phase,
        coalesced=revision.phase == mark.phase,
        ordinal=_ordinal(mark, revision),
    )


def missed_phases(
    mark: RevisionMark, revision: Revision, history: Sequence[HistoryRecord]
) -> list[Revision] | None:
    """Return the states between the last one told and the present one; None if the history does not fit."""
    since, until = mark.phase_updated_at, revision.phase_updated_at
    if since is None or until is None or until <= since:
        return None
    updates = sorted(
        (record.meta.creation_timestamp, index, update)
        for index, record in enumerate(history)
        if (update := record.spec.phase_update) is not None
    )
    inside = [(time, update) for time, _, update in updates if since < time <= until]
    started = [update.phase for time, _, update in updates if time <= since]
    fits = inside and inside[-1][1].phase == revision.phase and (not started or started[-1] == mark.phase)
    if not fits:
        return None
    phases = [mark.phase, *(update.phase for _, update in inside)]
    return [
        evolve(revision, phase=update.phase, phase_updated_at=time, phase_message=update.phase_message)
        for previous, (time, update) in zip(phases, inside[:-1], strict=False)
        if update.phase != previous
    ]
