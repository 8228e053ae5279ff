"""Which workloads to poll early, because their row in the workloads list changed. No I/O, no clock.

A fleet that lists the workloads anyway sees in one request which of thousands have changed, if the control
plane shows it. Taking that for granted fails in four ways: rows that say nothing of revisions (then a fleet
which relaxes its polls is blind), rows that change all the time (then every listing is followed by a poll of
everything), a list that is read from an old view (then a change is long known when its row shows it), and a
control plane that does one of these from its next version on.

So rows are judged by what polls find, all the time. Two figures decide whether they are trusted:

- Of the last 100 changes that polls found, 97 % had shown in their row before that poll, or did so in the
  next listing. A listing says nothing about a poll that had not ended when it began, so this verdict waits
  for the first listing that begins later. A row of a while ago comes too late for it.
- Of the last 100 rows that changed, one in five meant a change: the next poll found one, or one that was
  waiting for a verdict explains it. A row that changes again before any poll meant nothing the first time.

The first figure asks what was missed, so the polls must not themselves depend on hints: a workload that is
polled only when its row changes always finds what its row has shown. Where quiet workloads are relaxed, some
are not: the figure is one of those controls (`controls`). At least 20 changes are needed. The controls of a
small fleet may not change for days, so what the others find is judged, too, by a figure of its own, again of
20 changes at least. It can only speak against the rows: trust needs that it holds, but is never won by it.

The last 100 changes of a large fleet are those of two seconds, and just after an old view was refreshed they
have all shown. So trust is won only when the figures have held in ten listings in a row, of those before
which there was a verdict: a hundred changes at once are no better than one. It is lost with
the first in which one does not, and then all begin anew and need 100 verdicts: a control plane of which
one change in thirty does not show neither keeps trust nor wins it back every few changes. When no listing
succeeds for long, trust is lost as well; that says nothing against the rows, so the figures stay, and have to
hold in ten listings again.

What cannot be noticed is a view whose age is small beside the interval of the polls: its rows do show nearly
all changes before the polls find them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from typing import Literal, NamedTuple

from runai_async._fleet.controls import Controls

HintState = Literal["learning", "trusted", "untrusted"]

_WINDOW = 100
"""Verdicts that a figure is made of."""
_LEAST = 20
"""Changes that a figure is made of at least, before it says anything."""
_SHOWN_PERCENT = 97
"""Of changes that polls found: how many the rows must have shown."""
_MEANT_PERCENT = 20
"""Of rows that changed: how many must have meant a change."""
_LISTINGS = 10
"""Listings in a row, of those that brought a verdict, in which the figures must hold."""
_PATIENCE = 3.0
"""Discovery intervals without a successful listing after which hints are no longer trusted."""


class _Figure:
    """The share of the last hundred verdicts that were good."""

    def __init__(self, percent: int) -> None:
        self._percent = percent
        self._verdicts: deque[bool] = deque(maxlen=_WINDOW)

    def __len__(self) -> int:
        return len(self._verdicts)

    def add(self, *, good: bool) -> None:
        self._verdicts.append(good)

    def clear(self) -> None:
        self._verdicts.clear()

    @property
    def holds(self) -> bool:
        return sum(self._verdicts) * 100 >= self._percent * len(self._verdicts)


class _Shown(NamedTuple):
    """A row that changed, and that no poll since has judged.

    Attributes:
        at: when its listing ended.
        is_explained: whether a change that a poll found explains it.
    """

    at: float
    is_explained: bool


class _Found(NamedTuple):
    """Changes that polls found before the row showed them: one to be judged, since a row shows them as one.

    Attributes:
        first: when the first of these polls ended.
        last: when the last one did.
        counts: whether the verdict counts for the figure by which trust is won.
    """

    first: float
    last: float
    counts: bool


class Hints:
    """Judges the rows of one fleet's workloads, and says which to poll early because of them.

    All times are monotonic. What is kept of a workload is what waits for a verdict; every other fact about it
    is the caller's:

    - Before each successful listing is taken in, `choose_controls`, if the fleet has a relaxed interval.
    - After each successful listing, `listed` with the workloads whose rows differ from the listing before.
      Poll those that it returns as soon as the rules for hinted polls allow.
    - After each successful poll but a workload's first one, `polled`. A change is what makes an event other
      than `RevisionUpdated`: a revision that was added or deleted, or another phase.
    - Before planning polls, and after each listing that failed, `check_age`.
    - When a workload is removed or leaves, `forget`.
    - When planning a poll, `may_relax`.

    Args:
        relaxes: whether the fleet has a relaxed interval.

    Attributes:
        state: "learning" until there are enough verdicts, then "trusted" or "untrusted".
        changes_hinted: changes found by polls that rows have shown in time, of all workloads.
        changes_unhinted: those that they have not.
    """

    def __init__(self, *, relaxes: bool = False) -> None:
        self.state: HintState = "learning"
        self.changes_hinted: int = 0
        self.changes_unhinted: int = 0
        self._relaxes = relaxes
        self._controls = Controls()
        self._shown_changes = _Figure(_SHOWN_PERCENT)
        self._shown_to_relaxed = _Figure(_SHOWN_PERCENT)
        self._meant_rows = _Figure(_MEANT_PERCENT)
        self._least, self._least_rows = _LEAST, 0
        self._held = 0  # listings in a row, of those that brought a verdict, in which the figures held
        self._has_verdict = False  # since the last listing
        self._shown: dict[str, _Shown] = {}
        self._found: dict[str, _Found] = {}
        self._listed_at: float | None = None  # None: there is no recent listing to compare with

    def __len__(self) -> int:
        """Return how much waits for a verdict."""
        return len(self._shown) + len(self._found)

    # --- listings -----------------------------------------------------------------------------------------

    def choose_controls(self, workload_ids: frozenset[str]) -> None:
        """Choose those that are never relaxed from those that can be; until then no other one is relaxed.

        Args:
            workload_ids: listed workloads whose polls have succeeded. Not those that fail for good, on which
                nothing would be found; but those that merely fail at the moment.
        """
        self._controls.choose(workload_ids)

    def listed(self, changed: Collection[str], began: float, ended: float) -> list[str]:
        """Take in a successful listing, and return which workloads are due for a poll because of it.

        Args:
            changed: the watched workloads, each once, whose row is another than in the listing before, or is
                gone. Not those that are new in the list, and not those that had no successful poll yet.
            began: when its first request began.
            ended: now, when its last response was there.
        """
        had_listing, self._listed_at = self._listed_at is not None, ended
        if not had_listing:  # so nobody knows when these rows changed
            return []
        for workload_id in changed:
            self._note_row(workload_id, ended)
        self._settle(began)
        self._judge()
        return list(changed) if self.state == "trusted" else []

    def is_explained(self, workload_id: str) -> bool:
        """Return whether polls have already found a change that may be all that a changed row shows."""
        shown = self._shown.get(workload_id)
        return shown is not None and shown.is_explained

    def check_age(self, now: float, discovery_interval: float) -> None:
        """End trust if no listing has succeeded for three intervals: the next one may hang as well as fail.

        Args:
            now: the present time.
            discovery_interval: seconds between listings while they succeed, as stretched by those that take
                long.
        """
        if self._listed_at is None or now - self._listed_at <= _PATIENCE * discovery_interval:
            return
        self._listed_at = None
        self._held = 0
        self._shown.clear()
        self._found.clear()
        if self.state == "trusted":
            self.state = "untrusted"

    def _note_row(self, workload_id: str, ended: float) -> None:
        found, shown = self._found.pop(workload_id, None), self._shown.get(workload_id)
        if shown is not None and not shown.is_explained:
            self._meant_rows.add(good=False)
        if found is not None:
            self._count(was_shown=True, counts=found.counts)
            self._meant_rows.add(good=True)
        # Whether or not it is explained: what changed since the poll that explains it may show in it, too.
        self._shown[workload_id] = _Shown(ended, found is not None)

    def _settle(self, began: float) -> None:
        """Count as missed what polls had found when a listing began that does not show it."""
        for workload_id, found in list(self._found.items()):
            if found.first > began:
                continue
            self._count(was_shown=False, counts=found.counts)
            if found.last > began:
                self._found[workload_id] = found._replace(first=found.last)
            else:
                del self._found[workload_id]

    # --- polls --------------------------------------------------------------------------------------------

    def polled(
        self, workload_id: str, *, began: float, ended: float, found_change: bool, is_relaxed: bool = False
    ) -> None:
        """Take in a successful poll, which is not the first one of its workload.

        Args:
            workload_id: the workload.
            began: when the poll began.
            ended: now.
            found_change: whether it found a change. A deletion is one if it was confirmed by the first poll
                that lacked the revision: after that, its row changed long ago.
            is_relaxed: whether it was planned at the relaxed interval, so that it says little of what rows do
                not show.
        """
        if self._listed_at is None:
            return
        counts = not is_relaxed and not self.may_relax(workload_id)
        shown = self._shown.get(workload_id)
        if shown is not None:
            self._judge_row(workload_id, shown, began, found_change=found_change, counts=counts)
        elif found_change:
            earlier = self._found.get(workload_id)
            first, counted = (ended, False) if earlier is None else (earlier.first, earlier.counts)
            self._found[workload_id] = _Found(first, ended, counts or counted)

    def _judge_row(
        self, workload_id: str, shown: _Shown, began: float, *, found_change: bool, counts: bool
    ) -> None:
        """Judge a row by a poll; one that began before the row was read may only speak for it."""
        is_later = began >= shown.at
        if found_change:
            self._count(was_shown=True, counts=counts)
        if not shown.is_explained and (found_change or is_later):
            self._meant_rows.add(good=found_change)
        if is_later:
            del self._shown[workload_id]
        elif found_change:
            self._shown[workload_id] = shown._replace(is_explained=True)

    def forget(self, workload_id: str) -> None:
        """Forget a workload: what waits for a verdict gets none."""
        self._shown.pop(workload_id, None)
        self._found.pop(workload_id, None)

    def may_relax(self, workload_id: str) -> bool:
        """Return whether a workload without a hint may be polled at the relaxed interval now."""
        return self._relaxes and self.state == "trusted" and self._controls.may_relax(workload_id)

    # --- verdicts -----------------------------------------------------------------------------------------

    def _count(self, *, was_shown: bool, counts: bool) -> None:
        """Count a change that a poll found, by whether its row showed it in time."""
        if was_shown:
            self.changes_hinted += 1
        else:
            self.changes_unhinted += 1
        if counts:
            self._has_verdict = True
            self._shown_changes.add(good=was_shown)
        elif self.state == "trusted":
            self._shown_to_relaxed.add(good=was_shown)

    def _judge(self) -> None:
        """Win or lose trust: only after a listing, since only then all that it decides is counted."""
        has_verdict, self._has_verdict = self._has_verdict, False
        if len(self._shown_changes) < self._least or len(self._meant_rows) < self._least_rows:
            return
        are_shown_to_relaxed = self._shown_to_relaxed.holds or len(self._shown_to_relaxed) < _LEAST
        if not (self._shown_changes.holds and are_shown_to_relaxed and self._meant_rows.holds):
            self._held = 0
            self._distrust()
        elif has_verdict:
            self._held += 1
            if self._held >= _LISTINGS:
                self.state = "trusted"

    def _distrust(self) -> None:
        if self.state == "trusted":
            self._shown_changes.clear()
            self._shown_to_relaxed.clear()
            self._meant_rows.clear()
            self._least = self._least_rows = _WINDOW
        self.state = "untrusted"
