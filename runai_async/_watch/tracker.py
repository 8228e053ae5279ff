"""Snapshots in, events and checkpoint out. No I/O, no clock: the heart of the watch.

A naive watch keeps the last response and compares the next one with it. That fails in four ways:

- The next response must be compared with what was *delivered*, or an event that was found but not delivered
  is lost when the process ends. So each undelivered event carries the state before it, and a checkpoint is
  the known state with the undelivered events taken back.
- A revision that is not in the list need not be deleted: lists come from caches, replicas and sick gateways.
  So a missing revision is only a question, which the poll asks elsewhere.
- A poll is several requests and may be cancelled between any two. So nothing changes here until all of them
  are done: `read`, `missing` and `gaps` only look, and one call of `apply` takes everything in.
- Most responses equal the one before. So the last body is kept, an equal one is recognised without reading
  it, and of another one only the revisions whose bytes are new are decoded. A revision that is needed again
  (the last state of a deleted one) is decoded from the bytes that are kept anyway.

What is deleted is remembered for a while, as `known` explains.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import chain

from attrs import evolve

from runai_async import _codec
from runai_async._clock import EARLIEST, finest
from runai_async._watch.absence import Absence, Patience
from runai_async._watch.known import NEVER, Known
from runai_async._watch.listing import Listing, Snapshot
from runai_async._watch.live import LiveRevisions, state_of
from runai_async._watch.stalls import StallCheck, can_stall, reported
from runai_async._watch.state import (
    deletion,
    has_moved,
    mark_after,
    new_mark,
    ordinal_of,
    phase_change,
    time_key,
)
from runai_async.checkpoint import Checkpoint, PollStreak, RevisionMark
from runai_async.diff import compare_revisions
from runai_async.events import RevisionAdded, RevisionEvent, RevisionUpdated, WatchEvent
from runai_async.models import Revision

_Item = tuple[WatchEvent, RevisionMark | None]
"""An event, and the state of its revision before it."""
_Items = list[_Item]
_VERSIONS = itertools.count(1)


class Lookup:
    """What another request found about a missing revision; nothing means that none exists (404).

    Attributes:
        failed: the request failed and decides nothing, but it was this revision's turn.
    """

    __slots__ = ("failed", "raw", "revision")

    def __init__(
        self, raw: bytes | None = None, revision: Revision | None = None, *, failed: bool = False
    ) -> None:
        self.raw: bytes | None = raw
        self.revision: Revision | None = revision
        self.failed: bool = failed


class Tracker:
    """Decides what is new, what was missed, what is really gone, and what was delivered.

    Args:
        workload_id: whose revisions these are.
        include_existing: whether the revisions of the first response are reported.
        emit_updates: whether changes of other fields than the phase are reported.
        stalled_after: seconds in one phase after which a revision on its way is reported as stalled.
        resume_from: what was delivered before.
        base_url: the control plane's URL, for checkpoints.

    Attributes:
        workload_id: whose revisions these are.
        synced: whether a first response was taken in.
        ahead: seconds by which the server's clock is ahead, for events without a time of the server's.
        get_first: whether the next look for missing revisions begins with a get by id.
        stalls_at: when the next revision has stalled if nothing changes, in the server's seconds since 1970.
        version: of what `live` returns: another number, never used before, whenever that may have changed; 0
            before the first response.

    Raises:
        ValueError: the checkpoint is of another workload.
    """

    __slots__ = (
        "_base_url", "_emit_updates", "_fast_since", "_include_existing", "_initial_left", "_known",
        "_listing", "_pending", "_settled", "_stalled_after", "ahead", "get_first", "stalls_at", "synced",
        "version", "workload_id",
    )  # fmt: skip

    def __init__(
        self,
        workload_id: str,
        *,
        include_existing: bool = True,
        emit_updates: bool = False,
        stalled_after: float | None = None,
        resume_from: Checkpoint | None = None,
        base_url: str | None = None,
    ) -> None:
        self._base_url = base_url
        self.workload_id: str = workload_id
        self.synced: bool = False
        self.get_first: bool = False
        self.version: int = 0
        self.ahead: float = 0.0
        self.stalls_at: float = math.inf
        self._include_existing = include_existing
        self._emit_updates = emit_updates
        self._stalled_after = stalled_after
        self._known: dict[str, Known] = {}
        self._listing = Listing()
        self._settled = False
        self._pending: deque[_Item] | None = None
        self._initial_left = 0
        self._fast_since: float = NEVER
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
            self._known[mark.id] = Known(mark, NEVER)

    # --- looking ------------------------------------------------------------------------------------------

    @property
    def undecodable(self) -> int:
        """How many revisions of the last response could not be decoded."""
        return len(self._listing.undecodable)

    @property
    def listed_ids(self) -> frozenset[str]:
        """The revisions of the last response that can be decoded."""
        return frozenset(self._listing.ids)

    @property
    def unreadable(self) -> list[_codec.Outline]:
        """What can be read of the revisions of the last response that cannot be decoded."""
        return [_codec.outline(raw) for raw in self._listing.undecodable]

    def fast_until(self, fast_for: float) -> float:
        """Return the monotonic time until which a revision in transition asks for fast polling."""
        return self._fast_since + fast_for

    def read(self, body: bytes) -> Snapshot | None:
        """Read a list response; None if it equals the one before and leaves no question open.

        Raises:
            DecodeError: it is not a list of revisions at all.
        """
        if self._settled and self._listing.is_repeated(body):
            return None
        return self._listing.read(body)

    def is_repeated(self, compressed: bytes) -> bool:
        """Return whether `read` of a response would return None, as far as its compressed body shows that."""
        return hash(compressed) == self._listing.repeated_as

    def note_repeated(self, compressed: bytes) -> None:
        """Note how the body was compressed for which `read` has just returned None."""
        self._listing.repeated_as = hash(compressed)

    def missing(self, snapshot: Snapshot) -> list[str]:
        """Return the known live revisions that a response lacks, the one looked for longest ago first."""
        if self._known.keys() <= snapshot.spans.keys() or not snapshot.is_complete:
            return []
        entries = [
            entry
            for revision_id, entry in self._known.items()
            if entry.is_live and not snapshot.lists(revision_id)
        ]
        return [entry.mark.id for entry in sorted(entries, key=lambda entry: entry.asked_at)]

    def gaps(self, snapshot: Snapshot) -> list[tuple[RevisionMark, Revision]]:
        """Return the states before and after each change of phase; phases in between may have been missed."""
        return [
            (entry.mark, revision)
            for key, revision in snapshot.changed.items()
            if (entry := self._known.get(key)) and entry.is_live and has_moved(entry.mark, revision)
        ]

    @property
    def has_known(self) -> bool:
        """Whether any revision is known, if only as one that was deleted lately."""
        return bool(self._known)

    @property
    def is_all_missing(self) -> bool:
        """Whether live revisions are known, and the last response lists none of them."""
        if self._settled:
            return False
        live = [(key, entry) for key, entry in self._known.items() if entry.is_live]
        if not self._listing.body:  # resumed: what the last response of the process before listed counts
            return bool(live) and all(isinstance(entry.polls, Absence) for _, entry in live)
        return bool(live) and not any(self._listing.lists(key) for key, _ in live)

    @property
    def is_settled(self) -> bool:
        """Whether the last response left no question open: nothing is missing or was lately deleted."""
        return self._settled

    @property
    def cluster_ids(self) -> frozenset[str]:
        """The clusters of the live revisions that are known."""
        return frozenset(entry.mark.cluster_id for entry in self._known.values() if entry.is_live)

    @property
    def cluster_id(self) -> str | None:
        """The cluster of the workload, as some revision names it; None without any."""
        return next((entry.mark.cluster_id for entry in self._known.values()), None)

    @property
    def has_live(self) -> bool:
        """Whether any revision is known that was not reported deleted, or is listed but cannot be decoded."""
        is_known = any(entry.is_live for entry in self._known.values())
        return is_known or bool(self._listing.undecodable)

    def live(self) -> LiveRevisions:
        """Return the live revisions as of the last response; none before the first one of this process.

        Live is what was not found to be deleted, whether or not the last response lists it. What it lists in
        a form that cannot be decoded is left out.
        """
        listing = self._listing
        if not listing.body:
            return LiveRevisions(self.workload_id, self.version, b"", ())
        unreadable = {*listing.undecodable.values()}
        parts = [
            (entry.mark, listing.find(key))
            for key, entry in self._known.items()
            if entry.is_live and key not in unreadable
        ]
        notes_stalls = self._stalled_after is not None
        return LiveRevisions(self.workload_id, self.version, listing.body, tuple(parts), notes_stalls)

    # --- taking in ----------------------------------------------------------------------------------------

    def apply(
        self,
        snapshot: Snapshot,
        *,
        at: float,
        now: datetime,
        found: Mapping[str, Lookup] | None = None,
        missing_grace: float = 0.0,
        all_missing_grace: float | None = None,
        longest_gap: float = math.inf,
        longest_cut: float = math.inf,
        between: Mapping[str, Sequence[Revision]] | None = None,
    ) -> None:
        """Take a response in, with what other requests found, and queue the events.

        Args:
            snapshot: what `read` returned.
            at: monotonic time.
            now: wall-clock time, for `observed_at`.
            found: what was found about missing revisions, by id.
            missing_grace: seconds for which a revision must be missing before a 404 by id is believed, and
                for which a deleted one must be missing to be forgotten, or live to be back.
            all_missing_grace: the seconds for a missing revision instead, while every known live one is
                missing; *missing_grace* by default.
            longest_gap: seconds that one poll counts at most, so that a process that stood still proves
                nothing.
            longest_cut: seconds that the first poll after a resume counts at most.
            between: the states in the gaps, by id.
        """
        patience = Patience(at, missing_grace, longest_gap, now, longest_cut)
        missing = [self._known[key] for key in self.missing(snapshot)]
        groups: dict[str, _Items] = {
            key: self._take(revision, now, at, (between or {}).get(key, ()))
            for key, revision in snapshot.changed.items()
        }
        self._count_missing(missing, patience, all_missing_grace)
        for entry in missing:
            groups[entry.mark.id] = self._decide(entry, (found or {}).get(entry.mark.id), at, now)
        deleted = [entry for entry in self._known.values() if entry.mark.deleted_at is not None]
        for entry in deleted:
            groups.setdefault(entry.mark.id, []).extend(self._recall(entry, snapshot, now, patience))
        self._keep(snapshot)
        shown = chain(snapshot.spans, (key for key, item in (found or {}).items() if item.revision))
        for key, stall in self._stalls(shown, now):
            groups.setdefault(key, []).append(stall)
        self._queue(group for group in groups.values() if group)
        if not self.synced:
            self.synced = True
            self._initial_left = self._until_the_last_initial()
        self._settled = not missing and all(entry.polls is None for entry in deleted)

    def _until_the_last_initial(self) -> int:
        """Return how many events are pending up to the last one of a revision that existed already."""
        initial = (isinstance(event, RevisionAdded) and event.initial for event, _ in self._pending or ())
        return max((number for number, is_initial in enumerate(initial, 1) if is_initial), default=0)

    def _count_missing(
        self, missing: Sequence[Known], patience: Patience, all_missing_grace: float | None
    ) -> None:
        """Count one more poll that lacks these; where it lacks all that live, they are doubted longer."""
        if missing and all_missing_grace is not None:
            live = sum(entry.is_live for entry in self._known.values())
            if live == len(missing):
                patience = patience._replace(grace=all_missing_grace)
        for entry in missing:
            entry.count(Absence, patience)

    def _take(self, revision: Revision, now: datetime, at: float, between: Sequence[Revision]) -> _Items:
        """Compare a listed revision, whose bytes are new, with its known state."""
        entry = self._known.get(revision.id)
        if entry is None:
            return self._add(revision, now, at) if revision.deleted_at is None else []
        return self._compare(entry, revision, now, at, between) if entry.is_live else []

    def _own(self, revision: Revision) -> Revision:
        """Return a revision as one of the workload that was asked for, whatever the response calls that."""
        if revision.workload_id == self.workload_id:
            return revision
        return evolve(revision, workload_id=self.workload_id)

    def _add(self, revision: Revision, now: datetime, at: float) -> _Items:
        revision = self._own(revision)
        mark = new_mark(revision, self.workload_id)
        self._known[revision.id] = Known(mark, at)
        if not (self.synced or self._include_existing):
            return []
        event = RevisionAdded(
            revision=revision, observed_at=now, initial=not self.synced, ordinal=ordinal_of(None, revision)
        )
        self._known[revision.id].mark = mark_after(mark, revision)
        return [(event, None)]

    def _compare(
        self, entry: Known, revision: Revision, now: datetime, at: float, between: Sequence[Revision]
    ) -> _Items:
        """Return the events between a revision's known state and another one, and make that the known one."""
        revision = self._own(revision)
        before = entry.mark
        events: _Items = []
        if entry.changed_at == NEVER:
            entry.changed_at = at
        if has_moved(before, revision):
            for step in (*between, revision):
                events.append((phase_change(entry.mark, step, now), entry.mark))
                entry.mark = mark_after(entry.mark, step)
        elif self._emit_updates and revision.deleted_at is None:
            events.extend((event, before) for event in self._updated(entry, revision, now))
        if events and not isinstance(events[-1][0], RevisionUpdated):
            entry.changed_at = at
        if revision.deleted_at is not None:
            events.append((deletion(entry.mark, revision, now), entry.mark))
        entry.mark = _dated(entry.mark, revision)
        return events

    def _recall(self, entry: Known, snapshot: Snapshot, now: datetime, patience: Patience) -> _Items:
        """Forget a revision that was reported as deleted, or report it as back, once enough polls agree."""
        key = entry.mark.id
        verdict = entry.recall(snapshot, patience)
        if verdict == "forgotten":
            entry.polls = None
            del self._known[key]
        if verdict != "back":
            return []
        revision = snapshot.changed.get(key) or _codec.decode_revision(snapshot.raw(key))
        return [self._returned(entry, self._own(revision), now, patience.at)]

    def _returned(self, entry: Known, revision: Revision, now: datetime, at: float) -> _Item:
        """Report a revision that was reported as deleted and is live again."""
        before, saved = entry.mark, entry.saved
        event = RevisionAdded(revision=revision, observed_at=now, ordinal=ordinal_of(before, revision))
        entry.mark = evolve(mark_after(before, revision), deleted_at=None, returns=before.returns + 1)
        entry.changed_at, entry.polls = at, None
        return event, saved

    def _updated(self, entry: Known, revision: Revision, now: datetime) -> list[WatchEvent]:
        raw = self._listing.raw(revision.id)
        changes = compare_revisions(_codec.decode_revision(raw), revision, scope="all") if raw else ()
        if not changes:
            return []
        count = entry.mark.updates
        entry.mark = evolve(entry.mark, updates=count + 1)
        return [RevisionUpdated(revision=revision, observed_at=now, changes=changes, ordinal=count)]

    def _decide(self, entry: Known, found: Lookup | None, at: float, now: datetime) -> _Items:
        """Decide about a missing revision by what was found elsewhere, if it was looked for."""
        if found is None:
            return []
        entry.asked_at = at
        if found.failed:
            return []
        if found.revision is not None:
            events = self._compare(entry, found.revision, now, at, ())
            if found.raw is not None:
                self._listing.hold(entry.mark.id, found.raw)
            entry.polls = None
            return events
        is_believed = entry.polls is not None and entry.polls.is_believed
        return [self._gone(entry, now)] if is_believed else []

    def _gone(self, entry: Known, now: datetime) -> _Item:
        """Report a deletion whose time no response gives: `deleted_at` is when it was observed."""
        before, saved, revision = entry.mark, entry.saved, self.last_state(entry.mark.id)
        entry.mark, entry.polls = evolve(before, deleted_at=now.astimezone(UTC)), None
        return deletion(before, revision, now), saved

    def delete_all(self, now: datetime) -> None:
        """Report the deletion of every known revision: their workload is gone."""
        live = [entry for entry in self._known.values() if entry.is_live]
        self._queue([self._gone(entry, now)] for entry in live)
        # Should it come back with the bytes that it had, they count as new.
        self._listing, self._settled = Listing(), False
        self.version = next(_VERSIONS)

    def last_state(self, revision_id: str) -> Revision:
        """Return a revision's last known state; after a resume, only the fields that the schema requires."""
        return state_of(self._known[revision_id].mark, self._listing.raw(revision_id), self.workload_id)

    def _keep(self, snapshot: Snapshot) -> None:
        """Keep the response for the next comparison, and what it says of the revisions that live."""
        fast_since = NEVER
        for key, entry in self._known.items():
            mark = entry.mark  # no properties here: it is done for each revision
            if mark.deleted_at is None:
                if entry.polls is not None and snapshot.lists(key):
                    entry.polls = None
                if entry.changed_at > fast_since and not mark.phase.is_settled:
                    fast_since = entry.changed_at
        self._fast_since = fast_since
        self._listing.keep(snapshot, self._known)
        self.version = next(_VERSIONS)

    def _queue(self, groups: Iterable[_Items]) -> None:
        """Queue events by the server's time and revision id, those of one revision in their own order."""
        timed: list[tuple[tuple[bool, datetime], str, int, _Item]] = []
        for group in groups:
            latest = _FIRST
            for index, item in enumerate(group):
                event = item[0]
                assert isinstance(event, RevisionEvent)  # noqa: S101  (for the type checkers: no other gets here)
                latest = max(latest, time_key(event))
                timed.append((latest, event.revision_id, index, item))
        if timed:
            timed.sort(key=lambda row: row[:3])
            self._extend(self._dated(row[3]) for row in timed)

    def _extend(self, items: Iterable[_Item]) -> None:
        if self._pending is None:
            self._pending = deque()
        self._pending.extend(items)

    # --- stalls -------------------------------------------------------------------------------------------

    def report_stalls(self, now: datetime) -> None:
        """Queue what has stalled by now, although the response equals the one before; see `stalls_at`."""
        self._queue([stall] for _, stall in self._stalls(self._listing.ids, now))

    def _stalls(self, shown: Iterable[str], now: datetime) -> list[tuple[str, _Item]]:
        """Return the stalls among the revisions that a poll has shown, and note when the next one is due."""
        self.stalls_at = math.inf
        if self._stalled_after is None:
            return []
        check = StallCheck(self._stalled_after, now, now + timedelta(seconds=self.ahead))
        stalls: list[tuple[str, _Item]] = []
        for key in shown:
            entry = self._known.get(key)
            if entry is None or not (entry.is_live and can_stall(entry.mark)):
                continue
            entry.mark = check.noted(entry.mark)
            if check.is_stalled(entry.mark):
                stalls.append((key, self._stall(entry, check)))
            else:
                self.stalls_at = min(self.stalls_at, check.stalls_at(entry.mark))
        return stalls

    def _stall(self, entry: Known, check: StallCheck) -> _Item:
        """Report that a revision has stalled."""
        self.version = next(_VERSIONS)
        before, saved = entry.mark, entry.saved
        entry.mark = reported(before)
        return check.event(before, self.last_state(before.id)), saved

    # --- delivering ---------------------------------------------------------------------------------------

    def _dated(self, item: _Item) -> _Item:
        """Return an item whose event knows the server's clock, if no time of the server's is in it."""
        event, before = item
        if not self.ahead or not isinstance(event, RevisionEvent) or event.server_time is not None:
            return item
        return evolve(event, ahead=self.ahead), before

    def put(self, event: WatchEvent) -> None:
        """Queue an event about the watch itself behind those that wait."""
        self._extend([(event, None)])

    @property
    def pending(self) -> int:
        """How many events wait to be delivered."""
        return len(self._pending) if self._pending else 0

    def newest(self, count: int) -> list[WatchEvent]:
        """Return so many of the events that wait: those that were found last."""
        return [event for event, _ in list(self._pending or ())[-count:]] if count else []

    def peek(self) -> WatchEvent:
        """Return the next event without delivering it."""
        assert self._pending  # noqa: S101  (callers look at `pending` first)
        return self._pending[0][0]

    def take(self) -> WatchEvent:
        """Deliver the next event; from here on it is in the checkpoint."""
        assert self._pending  # noqa: S101  (callers look at `pending` first)
        event, _ = self._pending.popleft()
        if self._initial_left:
            self._initial_left -= 1
        if not self._pending:
            self._pending = None
        return event

    def checkpoint(self, refusal: PollStreak | None = None) -> Checkpoint:
        """Return what was delivered: the known state, with the undelivered events taken back.

        Args:
            refusal: the polls in a row that the API has refused.
        """
        pending = self._pending
        delivered = self._taken_back() if pending else tuple([entry.saved for entry in self._known.values()])
        synced = self.synced and not self._initial_left
        return Checkpoint(self.workload_id, delivered, synced, self._base_url, refusal)

    def _taken_back(self) -> tuple[RevisionMark, ...]:
        """Return the known state with the undelivered events taken back."""
        marks: dict[str, RevisionMark | None] = {key: entry.saved for key, entry in self._known.items()}
        for event, before in reversed(self._pending or ()):
            if isinstance(event, RevisionEvent):
                marks[event.revision_id] = before and _with_streak(before, marks.get(event.revision_id))
        return tuple(mark for mark in marks.values() if mark is not None)


_FIRST = (False, EARLIEST)


def _with_streak(mark: RevisionMark, later: RevisionMark | None) -> RevisionMark:
    """Return the mark from before an event with the polls that were counted after it."""
    if later is None or later.streak is None or mark.streak is not None:
        return mark
    is_same_life = (mark.deleted_at is None) == (later.deleted_at is None)
    return evolve(mark, streak=later.streak) if is_same_life else mark


def _dated(mark: RevisionMark, revision: Revision) -> RevisionMark:
    """Return the mark with the revision's present times, which may have changed without an event."""
    at = finest(mark.phase_updated_at, revision.phase_updated_at)
    if (at, revision.deleted_at) == (mark.phase_updated_at, mark.deleted_at):
        return mark
    return evolve(mark, phase_updated_at=at, deleted_at=revision.deleted_at)
