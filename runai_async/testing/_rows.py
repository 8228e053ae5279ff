"""What the list of workloads says of their revisions, and how old that is. No HTTP.

A control plane changes a workload's row when a revision of it changes. Whether a real one always does is not
documented, and its list may be read from a view that is refreshed only now and then. So a test can have rows
that say nothing, rows that change for no reason, and rows of a while ago.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Literal

from runai_async.testing._records import Records, Row
from runai_async.testing._wire import stamp

RowsFollow = bool | Literal["noisy"]


class Rows:
    """The rows of the list of workloads.

    Args:
        clock: returns the server's time, aware.
        present: returns the rows as they are now.
        follow: see `follow`.
        view_seconds: see `view_seconds`.
    """

    def __init__(
        self,
        clock: Callable[[], datetime],
        present: Callable[[], Sequence[Row]],
        *,
        follow: RowsFollow = True,
        view_seconds: float = 0.0,
    ) -> None:
        self._clock = clock
        self._present = present
        self._given: dict[str, frozenset[str]] = {}
        self._noise = 0
        self._view: Sequence[Row] = ()
        self._turn: int | None = None
        self.follow = follow
        self.view_seconds = view_seconds

    @property
    def follow(self) -> RowsFollow:
        """Whether rows change with their revisions; "noisy": they do, and all of them in each list."""
        return self._follow

    @follow.setter
    def follow(self, follow: RowsFollow) -> None:
        if follow not in (True, False, "noisy"):
            raise ValueError(f'rows_follow_revisions must be True, False or "noisy", not {follow!r}')
        self._follow: RowsFollow = follow

    @property
    def view_seconds(self) -> float:
        """Seconds between the refreshes of what lists are read from; 0 for lists of the present."""
        return self._view_seconds

    @view_seconds.setter
    def view_seconds(self, seconds: float) -> None:
        if not 0 <= seconds < math.inf:
            raise ValueError(f"view_seconds must be 0 or more, not {seconds!r}")
        self._view_seconds, self._turn = seconds, None

    def keep(self, workload_id: str, fields: Sequence[str]) -> None:
        """Let fields of a row, which a test has given, stay as they are whatever its revisions do."""
        self._given[workload_id] = frozenset(fields)

    def reflect(self, workload_id: str, records: Records) -> None:
        """Change the row of a workload whose revisions have changed."""
        self.refresh()
        if self._follow and workload_id in records.workloads:  # a revision may name another one
            now, given = stamp(self._clock()), self._given.get(workload_id, frozenset())
            changes = _changes(records, workload_id, now)
            records.workloads[workload_id].update(
                {key: value for key, value in changes.items() if key not in given}
            )

    def refresh(self) -> None:
        """Refresh the view if it is time to. Before each change, so that it shows what was there then."""
        if not self._view_seconds:
            return
        turn = math.floor(self._clock().timestamp() / self._view_seconds)
        if turn != self._turn:
            self._turn, self._view = turn, [dict(row) for row in self._now()]

    def listed(self) -> Sequence[Row]:
        """Return the rows for one response."""
        self.refresh()
        return self._view if self._view_seconds else self._now()

    def _now(self) -> Sequence[Row]:
        if self._follow != "noisy":
            return self._present()
        self._noise += 1  # so that rows change even while the clock stands still
        at = stamp(self._clock() + timedelta(microseconds=self._noise))
        return [row | {"updatedAt": at} for row in self._present()]


def _changes(records: Records, workload_id: str, now: str) -> Row:
    """Return what a row says of the live revisions; in a rollout, the workload's phase stays Running."""
    live = [records.revisions[item] for item in records.of_workload[workload_id]]
    live = [item for item in live if item.get("deletedAt") is None]
    changes = {"updatedAt": now, "runningPods": sum(item.get("runningPods") or 0 for item in live)}
    if not live:
        return changes
    newest = live[-1]["phase"]
    phase = "Running" if any(item["phase"] == "Running" for item in live) else newest
    if phase != records.workloads[workload_id]["phase"]:
        changes |= {"phase": phase, "phaseUpdatedAt": now}
    return changes | {"conditions": [_readiness(newest, now)]}


def _readiness(newest: str, now: str) -> Row:
    """Return the condition that says whether the newest revision serves."""
    status = "True" if newest == "Running" else "False"
    return {"type": "Ready", "status": status, "message": "", "reason": newest, "lastTransitionTime": now}
