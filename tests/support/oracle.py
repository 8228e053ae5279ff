"""A control plane that changes and fails at random, and the verdict on what a consumer was told of it."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from random import Random

from runai_async import (
    HookEvent,
    PhaseChanged,
    PollFinished,
    PollStarted,
    RevisionAdded,
    RevisionDeleted,
    RevisionEvent,
    WatchEvent,
)
from runai_async.testing import FakeControlPlane, FaultKind

PHASES = ("Creating", "Pending", "Running", "Degraded", "Failed", "Unknown", "Suspending")
FAULTS: tuple[FaultKind, ...] = ("latency", "hang", "reset", "truncate", "drip", "bad_json")
EMPTY: dict[str, object] = {"revisions": []}
LIST = r"/revisions$"
HIDDEN_STEPS = 8
"""A revision that nobody finds is one that is gone, if that lasts: so none is hidden for long."""
GRACE = 1.5
"""Seconds of `missing_grace`; many times what the steps take, but a busy machine may take longer."""
ROUNDING = 0.1
"""Part of `GRACE` by which the times here may differ from those that a watch goes by."""


class Sightings:
    """Notes which revisions the good polls of the consumer's clients found: a hook of theirs."""

    def __init__(self, control_plane: FakeControlPlane) -> None:
        self.control_plane = control_plane
        self._began: dict[str, float] = {}
        self._polls: dict[str, list[tuple[float, set[str]]]] = defaultdict(list)

    def __call__(self, event: HookEvent) -> None:
        match event:
            case PollStarted(workload_id=key):
                self._began[key] = time.monotonic()
            case PollFinished(workload_id=key, error=None):
                found: set[str] = set()
                for response in reversed(self.control_plane.responses):
                    if response.at < self._began[key]:
                        break
                    if response.workload_id == key:
                        found |= response.phases.keys()
                self._polls[key].append((time.monotonic(), found))
            case _:
                pass

    def missed(self, events: Iterable[WatchEvent]) -> set[str]:
        """Return those told deleted when all good polls had missed them for the grace: rightly so."""
        wall = time.time() - time.monotonic()
        missed: set[str] = set()
        for event in events:
            if isinstance(event, RevisionDeleted):
                told_at = event.observed_at.timestamp() - wall
                missed_since = told_at
                for at, found in self._polls[event.workload_id]:
                    if at < told_at:
                        missed_since = told_at if event.revision_id in found else min(at, missed_since)
                if told_at - missed_since > (1 - ROUNDING) * GRACE:
                    missed.add(event.revision_id)
        return missed


class Trouble:
    """Changes the revisions of some workloads, and lets answers go wrong."""

    def __init__(self, control_plane: FakeControlPlane, workload_ids: Sequence[str], random: Random) -> None:
        self.control_plane = control_plane
        self.workload_ids = workload_ids
        self.random = random
        self.live: list[str] = []
        self.hidden: dict[str, int] = {}
        self.sightings = Sightings(control_plane)
        self.gone: set[str] = set()
        self.done = 0

    async def stir(self, steps: int, *, pause: float) -> None:
        """Do *steps* things at random; then bring all hidden revisions back and let nothing fail any more."""
        for _ in range(steps):
            self.step()
            await asyncio.sleep(self.random.uniform(0, pause))
        for revision_id in list(self.hidden):
            self._show(revision_id)
        self.control_plane.clear_faults()

    def step(self) -> None:
        """Do one thing."""
        self.done += 1
        for revision_id in [key for key, step in self.hidden.items() if self.done - step > HIDDEN_STEPS]:
            self._show(revision_id)
        choice = self.random.random()
        if choice < 0.15 or not self.live:
            workload_id = self.random.choice(self.workload_ids)
            self.live.append(self.control_plane.add_revision(workload_id, self.random.choice(PHASES)))
        elif choice < 0.60:
            self.control_plane.set_phase(self.random.choice(self.live), self.random.choice(PHASES))
        elif choice < 0.70:
            self._remove(self.control_plane.delete_revision)
        elif choice < 0.73:
            self._remove(self.control_plane.purge_revision)
        elif choice < 0.80:
            self._hide()
        else:
            self.fail()

    def _remove(self, how: object) -> None:
        revision_id = self.random.choice(self.live)
        if revision_id not in self.hidden:
            self.live.remove(revision_id)
            self.gone.add(revision_id)
            how(revision_id)  # type: ignore[operator]

    def _hide(self) -> None:
        revision_id = self.random.choice(self.live)
        if revision_id not in self.hidden:
            self.control_plane.hide_revision(revision_id)
            self.hidden[revision_id] = self.done

    def _show(self, revision_id: str) -> None:
        self.control_plane.show_revision(revision_id)
        del self.hidden[revision_id]

    def fail(self) -> None:
        """Let one of the next answers go wrong."""
        match self.random.randrange(4):
            case 0:
                self.control_plane.fail_next(1, self.random.choice((500, 502, 503)), body="<html>sick</html>")
            case 1:
                self.control_plane.fail_next(1, 404, body="<html>no such route</html>", path=LIST)
            case 2:
                self.control_plane.fail_next(self.random.randrange(1, 4), 200, body=EMPTY, path=LIST)
            case _:
                self.control_plane.fault(self.random.choice(FAULTS), seconds=0.05)

    def missed(self, events: Iterable[WatchEvent]) -> set[str]:
        """Return the live revisions that were rightly told deleted, and come back for whoever watches."""
        return self.sightings.missed(events) - self.gone

    def is_told(self, events: Iterable[WatchEvent], *, but: AbstractSet[str] = frozenset()) -> bool:
        """Tell whether *events* end with the state that the control plane has, *but* for some revisions."""
        last: dict[str, str] = {}
        for event in events:
            if isinstance(event, RevisionDeleted):
                last.pop(event.revision_id, None)
            elif isinstance(event, RevisionEvent):
                last[event.revision_id] = event.revision.phase
        state = {key: self.control_plane.revision(key)["phase"] for key in self.live}
        return all(last.get(key) == state.get(key) for key in (last.keys() | state.keys()) - but)


def check_stream(events: Sequence[WatchEvent], trouble: Trouble) -> None:
    """Assert that a stream is true: nothing twice, each revision added, changed, deleted, and as answered."""
    told = by_revision(events)
    for revision_id in trouble.missed(events):
        del told[revision_id]
    ids = [event.id for own in told.values() for event in own]
    assert len(ids) == len(set(ids)), "an event came twice"
    for revision_id, own in told.items():
        assert isinstance(own[0], RevisionAdded)
        assert all(not isinstance(event, RevisionAdded) for event in own[1:])
        assert all(not isinstance(event, RevisionDeleted) for event in own[:-1])
        assert isinstance(own[-1], RevisionDeleted) == (revision_id in trouble.gone)
    check_phases(events, trouble.control_plane)


def check_phases(events: Sequence[WatchEvent], control_plane: FakeControlPlane) -> None:
    """Assert that the phases told of each revision are a subsequence of those that were answered."""
    responded: dict[str, list[str]] = defaultdict(list)
    for response in control_plane.responses:
        for revision_id, (phase, _) in response.phases.items():
            responded[revision_id].append(phase)
    for revision_id, own in by_revision(events).items():
        phases = [event.revision.phase for event in own if isinstance(event, RevisionAdded | PhaseChanged)]
        assert is_subsequence(phases, responded[revision_id]), (phases, responded[revision_id])


def by_revision(events: Iterable[WatchEvent]) -> dict[str, list[RevisionEvent]]:
    told: dict[str, list[RevisionEvent]] = defaultdict(list)
    for event in events:
        assert isinstance(event, RevisionEvent), event
        told[event.revision_id].append(event)
    return told


def is_subsequence(part: Iterable[str], whole: Iterable[str]) -> bool:
    rest = iter(whole)
    return all(item in rest for item in part)


def without_repeats(events: Iterable[WatchEvent]) -> list[RevisionEvent]:
    """Drop events that came again with the same id, as a consumer that was killed may see them."""
    seen: set[str] = set()
    kept: list[RevisionEvent] = []
    for event in events:
        if isinstance(event, RevisionEvent) and event.id not in seen:
            seen.add(event.id)
            kept.append(event)
    return kept
