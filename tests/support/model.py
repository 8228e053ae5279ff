"""A control plane of plain dicts that changes at random, and the events that a watch of it must yield.

Nothing here comes from the package, so that the two do not agree because of a shared mistake.
"""

import json
from collections import deque
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from math import inf
from random import Random
from typing import Any, NamedTuple

WORKLOAD_ID = "5f1c7a52-3a0e-4c3a-9d59-0d6f1f5b8a11"
PHASES = ("Creating", "Pending", "Running", "Degraded", "Failed", "Unknown", "Suspending")
SETTLED = {"Running", "Degraded", "Failed"}
"""Those of them that a revision can stay in."""
_BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
AHEAD = 1000
"""Seconds by which the control plane's clock is ahead of a consumer's, which begins at 0."""

RawRevision = dict[str, Any]
"""A revision as the JSON of a response contains it."""


def revision(revision_id: str, **fields: Any) -> RawRevision:
    """Make a revision with the required fields of the schema; fields that are None are left out."""
    required = {
        "type": "inference",
        "name": f"revision {revision_id}",
        "id": revision_id,
        "workloadId": WORKLOAD_ID,
        "tenantId": 1,
        "clusterId": "c",
        "departmentId": "d",
        "projectId": "p",
        "createdAt": "2026-01-01T00:00:00+00:00",
        "phase": "Running",
    }
    return {key: value for key, value in (required | fields).items() if value is not None}


def body_of(*revisions: RawRevision) -> bytes:
    """Make the body of a list response."""
    return json.dumps({"revisions": revisions}).encode()


class ControlPlaneModel:
    """The revisions of one workload. Every change gives a revision a new serial, in `phaseMessage`.

    Attributes:
        BEHIND: polls by which a replica is behind at most. A revision is remembered for longer, and is shown
            live after its deletion too rarely to be back.
    """

    BEHIND = 3

    STEPS = (
        *("change",) * 6, *("add",) * 3, *("flap",) * 3, *("hide",) * 2, *("show",) * 2, *("delete",) * 2,
        "purge", "reorder", "rewind", "blank", "touch",
    )  # fmt: skip

    def __init__(self, random: Random, workload_id: str = WORKLOAD_ID) -> None:
        self.random = random
        self.workload_id = workload_id
        self.revisions: dict[str, RawRevision] = {}
        self.order: list[str] = []
        self.hidden: set[str] = set()
        self.lingering: set[str] = set()
        """Deleted revisions that the list still contains, with their `deletedAt`."""
        self._lists: deque[list[RawRevision]] = deque(maxlen=self.BEHIND)
        self._seconds = AHEAD
        self._serial = 0
        for _ in range(random.randrange(4)):
            self._add()

    def step(self) -> None:
        """Take a random step. Times may be equal, as the clock does not always move."""
        self._seconds += self.random.choice((0, 1, 1, 5))
        step = self.random.choice(self.STEPS)
        if step in ("add", "show", "reorder", "rewind"):
            getattr(self, f"_{step}")()
        elif live := self.live():
            getattr(self, f"_{step}")(self.revisions[self.random.choice(live)])

    # --- what a client can request ------------------------------------------------------------------------

    def listed(self) -> list[RawRevision]:
        """Return the list of live revisions."""
        shown = (self.revisions[key] for key in self.order if key not in self.hidden)
        return [item for item in shown if "deletedAt" not in item or item["id"] in self.lingering]

    def listed_by_a_replica(self, *, stale: bool) -> list[RawRevision]:
        """Return the list of live revisions as one poll gets it: of a *stale* replica, one of the last."""
        now = self.listed()
        listed = self.random.choice(self._lists) if stale and self._lists else now
        self._lists.append(now)
        return listed

    def deleted(self) -> list[RawRevision]:
        """Return the list of deleted revisions."""
        return [item for item in self.revisions.values() if "deletedAt" in item]

    def get(self, revision_id: str) -> RawRevision | None:
        """Return one revision, hidden or not; None for a 404."""
        return self.revisions.get(revision_id)

    def live(self) -> list[str]:
        """Return the ids of all live revisions, hidden or not."""
        return [key for key in self.order if "deletedAt" not in self.revisions[key]]

    # --- steps --------------------------------------------------------------------------------------------

    def _now(self) -> str:
        return (_BEGIN + timedelta(seconds=self._seconds)).isoformat()

    def _put(self, revision_id: str, **fields: Any) -> None:
        """Replace a revision by a changed copy, without the fields that are None."""
        self._serial += 1
        item = self.revisions[revision_id] | {"phaseMessage": str(self._serial)} | fields
        self.revisions[revision_id] = {key: value for key, value in item.items() if value is not None}

    def _add(self) -> None:
        revision_id = f"{self.random.randrange(100):02}-{len(self.order)}-{self._serial}-{self.workload_id}"
        self.revisions[revision_id] = revision(
            revision_id, workloadId=self.workload_id, createdAt=self._now()
        )
        since = self.random.choice((self._now(), self._now(), None))
        self._put(revision_id, phase=self.random.choice(PHASES), phaseUpdatedAt=since)
        self.order.insert(self.random.randrange(len(self.order) + 1), revision_id)

    def _change(self, item: RawRevision) -> None:
        since = self.random.choice((self._now(), self._now(), self._now(), item.get("phaseUpdatedAt")))
        self._put(item["id"], phase=self.random.choice(PHASES), phaseUpdatedAt=since)

    def _flap(self, item: RawRevision) -> None:
        self._seconds += self.random.choice((1, 7, -20))
        self._put(item["id"], phaseUpdatedAt=self._now())

    def _hide(self, item: RawRevision) -> None:
        self.hidden.add(item["id"])

    def _show(self) -> None:
        if self.hidden:
            self.hidden.remove(self.random.choice(sorted(self.hidden)))

    def _delete(self, item: RawRevision) -> None:
        self._put(item["id"], deletedAt=self._now())
        if self.random.random() > 0.7:
            self.lingering.add(item["id"])

    def _purge(self, item: RawRevision) -> None:
        del self.revisions[item["id"]]
        self.order.remove(item["id"])
        self.hidden.discard(item["id"])

    def _reorder(self) -> None:
        self.random.shuffle(self.order)
        self.lingering.clear()

    def _rewind(self) -> None:
        self._seconds -= 100

    def _blank(self, item: RawRevision) -> None:
        self._put(item["id"], phaseUpdatedAt=None)

    def _touch(self, item: RawRevision) -> None:
        self._put(item["id"], runningPods=self.random.randrange(3))


class EventSummary(NamedTuple):
    """The parts of an event that are compared."""

    kind: str
    revision_id: str
    phase: str
    time: str | None
    previous: str | None = None
    coalesced: bool = False
    initial: bool = False


@dataclass(frozen=True)
class Known:
    """What a consumer knows of a revision; *serial* is None after a resume, as checkpoints do not hold it.

    *seen* is when it was first seen in its phase, if nothing else says when that began, and *stalled* whether
    it was reported as stalled in it.
    """

    phase: str
    since: str | None
    serial: str | None
    deleted: bool = False
    seen: datetime | None = None
    stalled: bool = False


@dataclass(frozen=True)
class Agreement:
    """The polls in a row that have shown a revision live, or lacked it, and when the first and last did."""

    is_live: bool
    since: float
    last: float
    polls: int = 0

    def one_more(self, at: float, longest: float) -> "Agreement":
        """Return it with one more poll, which counts so many seconds at most."""
        lost = max(0.0, at - self.last - longest) if self.polls else 0.0
        return replace(self, since=self.since + lost, last=at, polls=self.polls + 1)


@dataclass
class Undelivered:
    """An event that was found and not delivered yet, what is known after it, and why it is believed."""

    event: EventSummary
    poll: int
    after: Known | None
    agreed: Agreement | None = None


class ConsumerModel:
    """Derives from the responses alone which events the consumer of a watch must receive.

    Args:
        emit_updates: whether it receives updates.
        stalled_after: seconds after which it receives a stall; None for never.
        longest_cut: seconds that the first poll after a resume counts at most.

    Attributes:
        delivered: what the consumer knows of each revision.
        latest: the same once all undelivered events are delivered.
        undelivered: the events that the consumer must receive next, of each revision.
        missing: the polls in a row that have lacked each missing revision.
        agreed: what the last polls agreed on about each deleted revision that is remembered.
    """

    LEAST_POLLS = 3

    def __init__(
        self, *, emit_updates: bool, stalled_after: float | None = None, longest_cut: float = inf
    ) -> None:
        self.emit_updates = emit_updates
        self.stalled_after = stalled_after
        self._longest_cut = longest_cut
        self._longest_gap = inf
        self.delivered: dict[str, Known] = {}
        self.latest: dict[str, Known] = {}
        self.undelivered: dict[str, deque[Undelivered]] = {}
        self.missing: dict[str, Agreement] = {}
        self.agreed: dict[str, Agreement] = {}
        self._polls = 0
        self._synced = False

    def missing_from(self, listed: list[RawRevision]) -> set[str]:
        """Return the live revisions that a list lacks."""
        live = {key for key, known in self.latest.items() if not known.deleted}
        return live - {item["id"] for item in listed}

    def expect(
        self,
        listed: list[RawRevision],
        found: dict[str, RawRevision | None],
        *,
        at: float,
        grace: float,
        all_missing_grace: float | None = None,
    ) -> None:
        """Take in the responses to one poll: the list, and what was found by id (None for a 404)."""
        self._polls += 1
        missing = self.missing_from(listed)
        for item in listed:
            self._compare(item)
        are_all = len(missing) == sum(not known.deleted for known in self.latest.values())
        doubted = all_missing_grace if are_all and all_missing_grace is not None else grace
        self.missing = {
            key: self.missing.get(key, Agreement(False, at, at)).one_more(at, self._longest_gap)
            for key in missing
        }
        for key, found_item in found.items():
            if found_item is not None:
                self._compare(found_item)
                del self.missing[key]
            elif self._is_enough(self.missing[key], at, doubted):
                known, agreed = self.latest[key], self.missing.pop(key)
                event = EventSummary("deleted", key, known.phase, None)
                self._expect(event, replace(known, deleted=True), agreed)
        for key in [key for key, known in self.latest.items() if known.deleted]:
            self._recall(key, next((item for item in listed if item["id"] == key), None), at, grace)
        shown = [*listed, *(item for item in found.values() if item is not None)]
        if self.stalled_after is not None:
            for key in sorted({item["id"] for item in shown} & self.latest.keys()):
                self._stall(key, _BEGIN + timedelta(seconds=at + AHEAD), self.stalled_after)
        self._synced = True
        self._longest_gap = inf

    def _stall(self, key: str, now: datetime, stalled_after: float) -> None:
        """Expect that a revision which a poll has shown is reported as stalled, if it is stuck."""
        known = self.latest[key]
        if known.deleted or known.stalled or known.phase in SETTLED:
            return
        since = datetime.fromisoformat(known.since) if known.since else known.seen
        if since is None:
            since = now
            self._learn(key, replace(known, seen=now))
        if since + timedelta(seconds=stalled_after) <= now:
            time = (since + timedelta(seconds=stalled_after)).isoformat() if known.since else None
            after = replace(self.latest[key], stalled=True)
            self._expect(EventSummary("stalled", key, known.phase, time), after)

    def missing_since(self, key: str, at: float) -> float:
        """Return when a revision was first missing, if a poll now lacks it."""
        return self.missing[key].since if key in self.missing else at

    def _is_enough(self, agreed: Agreement, at: float, grace: float) -> bool:
        # the times are sums of pauses
        return agreed.polls >= self.LEAST_POLLS and at - agreed.since >= grace - 1e-6

    def _recall(self, key: str, item: RawRevision | None, at: float, grace: float) -> None:
        """Forget a deleted revision, or expect that it is back, once polls have agreed for long enough."""
        before = self.agreed.pop(key, None)
        if item is not None and "deletedAt" in item:
            return
        if before is None or before.is_live != (item is not None):
            before = Agreement(item is not None, at, at)
        agreed = before.one_more(at, self._longest_gap)
        if not self._is_enough(agreed, at, grace):
            self.agreed[key] = agreed
        elif item is None:
            self._learn(key, None)
        else:
            state = Known(item["phase"], item.get("phaseUpdatedAt"), item["phaseMessage"])
            self._expect(EventSummary("added", key, state.phase, item["createdAt"]), state, agreed)

    def _compare(self, item: RawRevision) -> None:
        """Expect the events by which a revision differs from what is known of it."""
        key, phase, since = item["id"], item["phase"], item.get("phaseUpdatedAt")
        known = self.latest.get(key)
        is_deleted = "deletedAt" in item
        state = Known(phase, since, item["phaseMessage"])
        if known is None:
            if not is_deleted:
                initial = not self._synced
                self._expect(EventSummary("added", key, phase, item["createdAt"], initial=initial), state)
            return
        if known.deleted:
            return
        moved = known.phase != phase or (known.since and since and known.since != since)
        if not moved:
            state = replace(
                known, phase=phase, since=since or known.since, serial=item["phaseMessage"], deleted=False
            )
        if moved:
            coalesced = known.phase == phase
            self._expect(
                EventSummary("phase_changed", key, phase, since, known.phase, coalesced=coalesced), state
            )
        elif self.emit_updates and not is_deleted and known.serial not in (None, state.serial):
            self._expect(EventSummary("updated", key, phase, None), state)
        else:
            self._learn(key, state)
        if is_deleted:
            self._expect(EventSummary("deleted", key, phase, item["deletedAt"]), replace(state, deleted=True))

    def _expect(self, event: EventSummary, after: Known | None, agreed: Agreement | None = None) -> None:
        """Add an event that the consumer must receive, what it knows after that, and why it is believed."""
        queue = self.undelivered.setdefault(event.revision_id, deque())
        queue.append(Undelivered(event, self._polls, after, agreed))
        _put(self.latest, event.revision_id, after)

    def _learn(self, key: str, state: Known | None) -> None:
        """Update what is known without an event."""
        _put(self.latest, key, state)
        if key in self.undelivered:
            self.undelivered[key][-1].after = state
        else:
            _put(self.delivered, key, state)

    def deliver(self, event: EventSummary) -> int:
        """Check an event that was delivered, and return the number of the poll that it came from."""
        assert event.revision_id in self.undelivered, f"unexpected: {event}"
        queue = self.undelivered[event.revision_id]
        first = queue.popleft()
        assert event == first.event
        if not queue:
            del self.undelivered[event.revision_id]
        _put(self.delivered, event.revision_id, first.after)
        return first.poll

    def resume(self) -> None:
        """Start again from what was delivered, and from what the polls agreed on before the next event."""
        self._longest_gap = self._longest_cut
        for key, queue in self.undelivered.items():
            # What polls have found since a revision came or went is about a state that was not delivered.
            turn = next((item for item in queue if item.event.kind in {"added", "deleted"}), None)
            if turn is not None:
                self.missing.pop(key, None)
                self.agreed.pop(key, None)
                if turn.agreed is not None:
                    (self.missing if turn.event.kind == "deleted" else self.agreed)[key] = turn.agreed
        are_initial = (item.event.initial for queue in self.undelivered.values() for item in queue)
        self._synced = self._synced and not any(are_initial)
        self.latest = {key: replace(known, serial=None) for key, known in self.delivered.items()}
        self.delivered = dict(self.latest)
        self.undelivered.clear()


def _put(states: dict[str, Known], key: str, state: Known | None) -> None:
    """Set a state, or remove it if there is none."""
    if state is None:
        states.pop(key, None)
    else:
        states[key] = state
