"""A control plane of plain dicts, moved by random steps, and what a watch of it has to tell.

Nothing here comes from the package: where the two agree, it is not because they share a mistake in code.
"""

import json
from collections import deque
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, NamedTuple

WORKLOAD_ID = "5f1c7a52-3a0e-4c3a-9d59-0d6f1f5b8a11"
PHASES = ("Creating", "Pending", "Running", "Degraded", "Failed", "Unknown", "Suspending")
_BEGIN = datetime(2026, 1, 1, tzinfo=UTC)

Answer = dict[str, Any]
"""A revision as an answer has it."""


def revision(revision_id: str, **fields: Any) -> Answer:
    """Make a revision with the schema's required fields; those that are None are left out."""
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


def body_of(*revisions: Answer) -> bytes:
    """Make a list answer."""
    return json.dumps({"revisions": revisions}).encode()


class Plane:
    """What the control plane has. Every change gives the revision a new serial, in `phaseMessage`."""

    STEPS = (
        *("change",) * 6, *("add",) * 3, *("flap",) * 3, *("hide",) * 2, *("show",) * 2, *("delete",) * 2,
        "purge", "reorder", "rewind", "blank", "touch",
    )  # fmt: skip

    def __init__(self, random: Random, workload_id: str = WORKLOAD_ID) -> None:
        self.random = random
        self.workload_id = workload_id
        self.revisions: dict[str, Answer] = {}
        self.order: list[str] = []
        self.hidden: set[str] = set()
        self.lingering: set[str] = set()
        """Deleted ones that the list still has, with their `deletedAt`."""
        self._seconds = 1000
        self._serial = 0
        for _ in range(random.randrange(4)):
            self._add()

    def step(self) -> None:
        """Do something at random. Times may be equal: the clock does not always move."""
        self._seconds += self.random.choice((0, 1, 1, 5))
        step = self.random.choice(self.STEPS)
        if step in ("add", "show", "reorder", "rewind"):
            getattr(self, f"_{step}")()
        elif live := self.live():
            getattr(self, f"_{step}")(self.revisions[self.random.choice(live)])

    # --- what a client can ask ----------------------------------------------------------------------------

    def listed(self) -> list[Answer]:
        """Return what the list of live revisions has."""
        shown = (self.revisions[key] for key in self.order if key not in self.hidden)
        return [item for item in shown if "deletedAt" not in item or item["id"] in self.lingering]

    def retired(self) -> list[Answer]:
        """Return what the list of deleted revisions has."""
        return [item for item in self.revisions.values() if "deletedAt" in item]

    def get(self, revision_id: str) -> Answer | None:
        """Return one revision, hidden or not; None: there is none (404)."""
        return self.revisions.get(revision_id)

    def live(self) -> list[str]:
        """Return the ids of all that live, hidden or not."""
        return [key for key in self.order if "deletedAt" not in self.revisions[key]]

    # --- steps --------------------------------------------------------------------------------------------

    def _now(self) -> str:
        return (_BEGIN + timedelta(seconds=self._seconds)).isoformat()

    def _put(self, revision_id: str, **fields: Any) -> None:
        """Change a revision, leaving out what is None; answers that were given stay as they are."""
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

    def _change(self, item: Answer) -> None:
        since = self.random.choice((self._now(), self._now(), self._now(), item.get("phaseUpdatedAt")))
        self._put(item["id"], phase=self.random.choice(PHASES), phaseUpdatedAt=since)

    def _flap(self, item: Answer) -> None:
        self._seconds += self.random.choice((1, 7, -20))
        self._put(item["id"], phaseUpdatedAt=self._now())

    def _hide(self, item: Answer) -> None:
        self.hidden.add(item["id"])

    def _show(self) -> None:
        if self.hidden:
            self.hidden.remove(self.random.choice(sorted(self.hidden)))

    def _delete(self, item: Answer) -> None:
        self._put(item["id"], deletedAt=self._now())
        if self.random.random() > 0.7:
            self.lingering.add(item["id"])

    def _purge(self, item: Answer) -> None:
        del self.revisions[item["id"]]
        self.order.remove(item["id"])
        self.hidden.discard(item["id"])

    def _reorder(self) -> None:
        self.random.shuffle(self.order)
        self.lingering.clear()

    def _rewind(self) -> None:
        self._seconds -= 100

    def _blank(self, item: Answer) -> None:
        self._put(item["id"], phaseUpdatedAt=None)

    def _touch(self, item: Answer) -> None:
        self._put(item["id"], runningPods=self.random.randrange(3))


class Told(NamedTuple):
    """What there is to compare of an event."""

    kind: str
    revision_id: str
    phase: str
    time: str | None
    previous: str | None = None
    coalesced: bool = False
    initial: bool = False


@dataclass(frozen=True)
class Known:
    """How far a consumer knows a revision. *serial* is None after a resume: a checkpoint lacks it."""

    phase: str
    since: str | None
    serial: str | None
    deleted: bool = False


@dataclass
class Waiting:
    """Something that was found and not yet delivered, and what the consumer knows after it."""

    told: Told
    poll: int
    after: Known | None


class Consumer:
    """Reckons from the answers alone what the consumer of a watch has to be told, one revision at a time.

    Attributes:
        delivered: what the consumer knows of each revision.
        latest: the same, with all that waits told.
    """

    def __init__(self, *, emit_updates: bool) -> None:
        self.emit_updates = emit_updates
        self.delivered: dict[str, Known] = {}
        self.latest: dict[str, Known] = {}
        self.waiting: dict[str, deque[Waiting]] = {}
        self.missing_since: dict[str, float] = {}
        self._polls = 0
        self._synced = False
        self._initial_left = 0

    def lacking(self, responses: list[Answer]) -> set[str]:
        """Return the live ones that the list lacks."""
        return {key for key, known in self.latest.items() if not known.deleted} - {a["id"] for a in responses}

    def expect(
        self, responses: list[Answer], found: dict[str, Answer | None], *, at: float, grace: float
    ) -> None:
        """Take in the answers of one poll: the list, and by id what else was asked (None is a 404)."""
        self._polls += 1
        lacking = self.lacking(responses)
        listed = {response["id"] for response in responses}
        for key in [key for key, known in self.latest.items() if known.deleted and key not in listed]:
            self._settle(key, None)
        for response in responses:
            self._compare(response, stays=True)
        self.missing_since = {key: self.missing_since.get(key, at) for key in lacking}
        for key, state in found.items():
            if state is not None:
                self._compare(state, stays=False)
                del self.missing_since[key]
            elif at - self.missing_since[key] >= grace:
                self._await(Told("deleted", key, self.latest[key].phase, None), None)
        if not self._synced:
            self._synced = True
            self._initial_left = sum(map(len, self.waiting.values()))

    def _compare(self, response: Answer, *, stays: bool) -> None:
        key, phase, since = response["id"], response["phase"], response.get("phaseUpdatedAt")
        known = self.latest.get(key)
        is_deleted = "deletedAt" in response
        state = Known(phase, since, response["phaseMessage"])
        if known is None:
            if not is_deleted:
                added = Told("added", key, phase, response["createdAt"], initial=not self._synced)
                self._await(added, state)
            return
        if known.deleted:
            return
        moved = known.phase != phase or (known.since and since and known.since != since)
        if not moved:
            state = replace(state, since=since or known.since)
        if moved:
            came_back = known.phase == phase
            self._await(Told("phase_changed", key, phase, since, known.phase, coalesced=came_back), state)
        elif self.emit_updates and not is_deleted and known.serial not in (None, state.serial):
            self._await(Told("updated", key, phase, None), state)
        else:
            self._settle(key, state)
        if is_deleted:
            after = replace(state, deleted=True) if stays else None
            self._await(Told("deleted", key, phase, response["deletedAt"]), after)

    def _await(self, told: Told, after: Known | None) -> None:
        """Note something to be told, and what is known after it."""
        self.waiting.setdefault(told.revision_id, deque()).append(Waiting(told, self._polls, after))
        self._set(self.latest, told.revision_id, after)

    def _settle(self, key: str, state: Known | None) -> None:
        """Note what is known without being told."""
        self._set(self.latest, key, state)
        if key in self.waiting:
            self.waiting[key][-1].after = state
        else:
            self._set(self.delivered, key, state)

    @staticmethod
    def _set(states: dict[str, Known], key: str, state: Known | None) -> None:
        if state is not None:
            states[key] = state
        else:
            states.pop(key, None)

    def hear(self, told: Told) -> int:
        """Check what was delivered; return the number of the poll that it came from."""
        assert told.revision_id in self.waiting, f"nothing to tell of it, but: {told}"
        waiting = self.waiting[told.revision_id]
        first = waiting.popleft()
        assert told == first.told
        if not waiting:
            del self.waiting[told.revision_id]
        self._set(self.delivered, told.revision_id, first.after)
        self._initial_left = max(0, self._initial_left - 1)
        return first.poll

    def resume(self) -> None:
        """Start again from what was delivered."""
        self._synced = self._synced and not self._initial_left
        self._initial_left = 0
        self.latest = {key: replace(known, serial=None) for key, known in self.delivered.items()}
        self.delivered = dict(self.latest)
        self.waiting.clear()
        self.missing_since.clear()
