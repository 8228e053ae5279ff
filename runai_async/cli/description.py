"""What there is to say about one workload, in the lines of one screen. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from runai_async._values import frozen
from runai_async._wait.order import newest
from runai_async._wait.pods import pods_text
from runai_async.cli.differences import change_text, change_to_dict
from runai_async.cli.ids import WorkloadRef
from runai_async.cli.overview import newest_serving
from runai_async.cli.text import clean, counted, phase_name, shortened, since
from runai_async.diff import FieldChange, compare_revisions
from runai_async.explanation import Explanation, listed
from runai_async.models import Condition, Phase, Revision, RevisionLogEvent

_RAN = frozenset({Phase.RUNNING, Phase.DEGRADED, Phase.STOPPED, Phase.STOPPING, Phase.RESUMING})
"""Phases of revisions that have run: the others may never have."""
_ENDED = frozenset({Phase.FAILED, Phase.COMPLETED})


def ran_last(revisions: Iterable[Revision], latest: Revision) -> Revision | None:
    """Return the revision that ran before the latest one: the one that serves, if there is one."""
    others = [item for item in revisions if item.id != latest.id]
    return newest_serving(others) or newest(item for item in others if item.phase in _RAN)


@frozen
class Description:
    """What was read of a workload.

    Attributes:
        workload: as it was found.
        live: its live revisions.
        before: the revision that ran before the newest one; None if there is none.
        explanation: why the newest one does not serve; None if it is gone meanwhile.
        events: of the newest one, the newest first; None if they cannot be read.
        shown: how many different ones are written.
        show_secrets: whether changes show values that may be secret.
    """

    workload: WorkloadRef
    live: Sequence[Revision]
    before: Revision | None = None
    explanation: Explanation | None = None
    events: Sequence[RevisionLogEvent] | None = ()
    shown: int = 0
    show_secrets: bool = False

    def lines(self, now: datetime) -> Iterator[str]:
        """Write it, with ages as of *now* by the server's clock."""
        latest, serving = newest(self.live), self.serving
        yield _fact("Workload", f"{clean(self.workload.name)} {self.workload.id}".strip())
        if self.workload.project:
            yield _fact("Project", clean(self.workload.project))
        yield _fact("Serves", "nothing" if serving is None else _state(serving, now))
        if latest is None:
            yield _fact("Newest", "none: it has no revisions")
            return
        if serving is None or latest.id != serving.id:
            yield _fact("Failed" if latest.phase in _ENDED else "Comes", _state(latest, now))
        yield from self._reasons(latest, serving)
        yield from self._older(latest, serving)
        if self.before is not None:
            yield from self._changes(self.before, latest)
        yield from self._log(latest, now)

    def to_dict(self) -> dict[str, Any]:
        """Return it as a mapping that can be encoded as JSON; the help of `describe` names its keys."""
        latest, serving, known = newest(self.live), self.serving, self.explanation
        is_late = latest is not None and (serving is None or serving.id != latest.id)
        workload = self.workload
        return {
            "workload": {"id": workload.id, "name": workload.name, "project": workload.project},
            "serving": serving,
            "newest": latest,
            "before": self.before,
            "liveRevisions": len(self.live),
            "cause": known.cause if known is not None and is_late else None,
            "exceededDeadline": known is not None and known.exceeded_deadline,
            "lostCluster": None if known is None else known.lost_cluster,
            "conditions": None if known is None else known.conditions,
            "pods": None if known is None or "pods" in known.unread else known.pod_phases,
            "changes": None
            if latest is None or self.before is None
            else [change_to_dict(item) for item in self._compared(self.before, latest)],
            "events": None if self.events is None else [*map(_event_to_dict, self._different())],
        }

    @property
    def serving(self) -> Revision | None:
        """The newest revision that serves."""
        return newest_serving(self.live)

    def _different(self) -> Sequence[Sequence[RevisionLogEvent]]:
        """Return the events that are shown; those that say the same stand together, the newest first."""
        found: dict[tuple[str, ...], list[RevisionLogEvent]] = {}
        for event in self.events or ():
            found.setdefault((event.type, event.reason or "", event.message or ""), []).append(event)
        return list(found.values())[: self.shown]

    def _reasons(self, latest: Revision, serving: Revision | None) -> Iterator[str]:
        """Write why the newest revision is as it is."""
        known, message = self.explanation, shortened(latest.phase_message)
        if message:
            yield _fact("Message", message)
        if known is None:
            return
        cause = clean(known.cause)
        if cause and (serving is None or serving.id != latest.id) and shortened(cause) != message:
            yield _fact("Why", cause)
        if known.exceeded_deadline:
            yield _fact("", "it was not ready within Knative's progress-deadline")
        if known.lost_cluster:
            yield _fact("Cluster", clean(known.lost_cluster.removeprefix("cluster ")))
        yield _fact("Pods", "not readable" if "pods" in known.unread else listed(known.pod_phases) or "none")
        for heading, item in zip(["Not true"] + [""] * len(known.conditions), known.conditions, strict=False):
            yield _fact(heading, _condition(item))

    def _compared(self, before: Revision, latest: Revision) -> Sequence[FieldChange]:
        return compare_revisions(before, latest, show_secrets=self.show_secrets)

    def _changes(self, before: Revision, latest: Revision) -> Iterator[str]:
        """Write what a user has changed."""
        changes = self._compared(before, latest)
        if not changes:
            yield _fact("Changed", f"nothing since {clean(before.name)}, which ran before")
            return
        yield f"Changed since {clean(before.name)}, which ran before:"
        yield from (f"  {change_text(change)}" for change in changes)

    def _older(self, latest: Revision, serving: Revision | None) -> Iterator[str]:
        shown = {latest.id, latest.id if serving is None else serving.id}
        if rest := [item for item in self.live if item.id not in shown]:
            yield _fact("Older", counted(len(rest), "more live revision"))

    def _log(self, latest: Revision, now: datetime) -> Iterator[str]:
        if self.events is None:
            yield _fact("Events", "not readable")
        elif different := self._different():
            yield f"Events of {clean(latest.name)}, the newest first:"
            yield from (_event(same, now) for same in different)


def _event(same: Sequence[RevisionLogEvent], now: datetime) -> str:
    """Write events that say the same, as old as the newest of them."""
    event, times = same[0], f" ({len(same)} times)" if len(same) > 1 else ""
    what = f"{clean(event.reason)}: {shortened(event.message)}"
    return f"  {since(event.created_at, now):>6}  {clean(event.type)}  {what}{times}"


def _event_to_dict(same: Sequence[RevisionLogEvent]) -> dict[str, Any]:
    event = same[0]
    texts = {"type": event.type, "reason": event.reason, "message": event.message}
    return {**texts, "count": len(same), "lastAt": event.created_at}


def _fact(name: str, value: str) -> str:
    return f"{f'{name}:' if name else '':11} {value}"


def _state(revision: Revision, now: datetime) -> str:
    age = since(revision.phase_updated_at, now)
    state = f"{clean(revision.name)}  {phase_name(revision.phase)}{age and f' for {age}'}"
    return f"{state}, {pods_text(revision)} pods"


def _condition(item: Condition) -> str:
    why = ": ".join(part for part in (clean(item.reason), shortened(item.message)) if part)
    return f"{clean(item.type)} is {clean(item.status)}{why and f', {why}'}"
