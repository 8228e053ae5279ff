"""What is kept of one known revision, and what becomes of one that was reported as deleted. No I/O, no clock.

A deletion is not the last that is seen of a revision: a replica that is behind lists it once more, and again.
To forget it at once would report it as new each time, under the ids of its first life. So it is remembered
until polls have lacked it for as long as they must lack a live one, and counts as back only when they have
shown it live for as long. While it flaps between the two, neither is the case, and nothing is reported.
"""

from __future__ import annotations

from typing import Literal

from attrs import evolve

from runai_async._watch.absence import Absence, Patience, PollCount, Presence, resumed
from runai_async._watch.listing import Snapshot
from runai_async.checkpoint import RevisionMark

NEVER = float("-inf")
Recall = Literal["remembered", "forgotten", "back"]
"""What a poll means for a revision that was reported as deleted."""


class Known:
    """What is kept of one known revision, besides its bytes.

    Attributes:
        mark: its state; with a `deleted_at`, its deletion was reported, and it is only remembered.
        changed_at: monotonic time of its last observed change.
        asked_at: monotonic time at which it was last looked for by its id.
        polls: those that have lacked it, or, once it was deleted, shown it; None unless one has.
    """

    __slots__ = ("asked_at", "changed_at", "mark", "polls")

    def __init__(self, mark: RevisionMark, changed_at: float) -> None:
        self.mark: RevisionMark = mark
        self.changed_at: float = changed_at
        self.asked_at: float = NEVER
        self.polls: PollCount | None = None
        if mark.streak is not None:
            self.mark, self.polls = evolve(mark, streak=None), resumed(mark.streak)

    @property
    def saved(self) -> RevisionMark:
        """Its state with the polls that count, for a checkpoint."""
        return self.mark if self.polls is None else evolve(self.mark, streak=self.polls.saved())

    @property
    def is_live(self) -> bool:
        """Whether it was not reported as deleted, or is back."""
        return self.mark.deleted_at is None

    def count(self, kind: type[PollCount], patience: Patience) -> bool:
        """Count one more poll of a kind; return whether enough of them have come in a row."""
        polls = self.polls
        if polls is None or type(polls) is not kind:
            polls = self.polls = kind()
        polls.record(patience)
        return polls.is_believed

    def recall(self, snapshot: Snapshot, patience: Patience) -> Recall:
        """Return what a poll means for it, now that it was reported as deleted."""
        key = self.mark.id
        if not (snapshot.lists(key) or snapshot.is_complete):
            return "remembered"  # it may be the one that cannot be read: such a poll counts for nothing
        if snapshot.lists(key) and not self._is_shown_live(snapshot):
            self.polls = None
            return "remembered"
        kind = Presence if snapshot.lists(key) else Absence
        if not self.count(kind, patience):
            return "remembered"
        return "back" if kind is Presence else "forgotten"

    def _is_shown_live(self, snapshot: Snapshot) -> bool:
        """Return whether it is listed as live; in unchanged bytes, it is what it was in the last response."""
        if self.mark.id not in snapshot.spans:
            return False
        revision = snapshot.changed.get(self.mark.id)
        return isinstance(self.polls, Presence) if revision is None else revision.deleted_at is None
