"""The tracker against a model of the control plane: whatever happens there, the events are correct."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from attrs import frozen
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from support.guarantees import check, check_order, summary_of
from support.model import (
    AHEAD,
    WORKLOAD_ID,
    ConsumerModel,
    ControlPlaneModel,
    EventSummary,
    RawRevision,
    body_of,
)

from runai_async._codec import decode_revision
from runai_async._watch.tracker import Lookup, Tracker
from runai_async.checkpoint import Checkpoint
from runai_async.events import RevisionEvent

EXPLORED = settings(report_multiple_bugs=False, phases=set(Phase) - {Phase.explain})
"""One failure, shrunk: the steps that led to it are a note of the error, and explain it."""
GRACE = 30.0
STALLED_AFTER = 40.0
TAKE, RESUME = "take", "resume"
Reorder = Callable[[list[RawRevision]], Iterable[RawRevision]]


def found_of(item: RawRevision | None) -> Lookup:
    if item is None:
        return Lookup()
    raw = json.dumps(item).encode()
    return Lookup(raw, decode_revision(raw))


def resumed(
    checkpoint: Checkpoint, *, emit_updates: bool = False, stalled_after: float | None = None
) -> Tracker:
    again = Checkpoint.from_json(checkpoint.to_json())
    assert again == checkpoint
    return opened(emit_updates=emit_updates, stalled_after=stalled_after, resume_from=again)


def opened(**options: Any) -> Tracker:
    tracker = Tracker(WORKLOAD_ID, **options)
    tracker.ahead = AHEAD
    return tracker


def take_all(tracker: Tracker) -> list[RevisionEvent]:
    events = [tracker.take() for _ in range(tracker.pending)]
    return [event for event in events if isinstance(event, RevisionEvent)]


@frozen
class Poll:
    """The responses to one poll, so that it can be repeated."""

    listed: list[RawRevision]
    found: dict[str, RawRevision | None]
    at: float
    grace: float

    def __str__(self) -> str:
        shown = ("phase", "phaseUpdatedAt", "deletedAt", "phaseMessage")
        listed = [(item["id"], *(item.get(key) for key in shown)) for item in self.listed]
        found = {key: item and [item.get(key) for key in shown] for key, item in self.found.items()}
        return f"poll at {self.at}, grace {self.grace}: listed {listed}, found {found}"

    def apply(self, tracker: Tracker, *, order: Reorder = list) -> None:
        snapshot = tracker.read(body_of(*order(self.listed)))
        now = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.at)
        if snapshot is None:
            if tracker.stalls_at <= now.timestamp() + AHEAD:
                tracker.report_stalls(now)
        else:
            found = {key: found_of(item) for key, item in self.found.items()}
            tracker.apply(snapshot, at=self.at, now=now, found=found, missing_grace=self.grace)


class Run:
    """One watch of one control plane: random steps with polls in between, and every event checked."""

    def __init__(
        self, random: Random, *, resumes: bool = True, grace: float | None = None, is_stale: bool = True
    ) -> None:
        self.random = random
        self.is_stale = is_stale
        self.resumes = resumes
        self.grace = random.choice((0.0, GRACE)) if grace is None else grace
        self.emit_updates = resumes and self.chance(0.3)
        self.stalled_after = STALLED_AFTER if self.chance(0.5) else None
        self.control_plane = ControlPlaneModel(random)
        self.consumer = ConsumerModel(emit_updates=self.emit_updates, stalled_after=self.stalled_after)
        self.tracker = opened(emit_updates=self.emit_updates, stalled_after=self.stalled_after)
        self.at = 0.0
        self.events: list[RevisionEvent] = []
        self.found_by: list[int] = []  # for each event, the number of the poll that found it
        self.polls = 0
        self.saved = [(self.tracker.checkpoint(), 0)]  # before each event: the checkpoint, and how many polls
        self.tape: list[Poll | str] = []
        self.responded: dict[str, list[tuple[str, str]]] = defaultdict(list)  # serials and phases by id
        self.counts: Counter[str] = Counter()

    def play(self) -> "Run":
        """Play, and add the steps to the error if it fails."""
        try:
            self._play()
            check(self)
        except AssertionError as error:
            error.add_note("\n".join(f"{step}" for step in self.tape))
            raise
        return self

    def _play(self) -> None:
        for _ in range(self.random.randrange(1, 36)):
            for _ in range(self.random.randrange(5)):
                self.control_plane.step()
            self.poll()
            self.deliver(hurried=self.chance(0.2))
            if self.resumes and self.chance(0.05):
                self.resume()
        self.deliver()
        self.resumes = False
        for _ in range(2 * len(self.consumer.latest) + 8):  # enough to find out everything
            self.poll(is_sound=True)
            self.deliver()

    def poll(self, *, is_sound: bool = False) -> None:
        """Poll once; unless it is sound, confirmations may fail, and an early 404 or the list be wrong."""
        self.at += GRACE if is_sound else self.random.choice((1.0, 5.0, 25.0))
        is_stale = self.is_stale and not is_sound and self.chance(0.2)
        listed = self.control_plane.listed_by_a_replica(stale=is_stale)
        self.note(listed)
        snapshot = self.tracker.read(body_of(*listed))
        missing = [] if snapshot is None else self.tracker.missing(snapshot)
        assert set(missing) == self.consumer.missing_from(listed)
        found = self.look_for(missing, is_sound=is_sound)
        poll = Poll(listed, found, self.at, self.grace)
        self.tape.append(poll)
        self.polls += 1
        poll.apply(self.tracker)
        for item in (*listed, *filter(None, found.values())):
            self.responded[item["id"]].append((item["phaseMessage"], item["phase"]))
        self.consumer.expect(listed, found, at=self.at, grace=self.grace)
        assert self.tracker.pending == sum(map(len, self.consumer.undelivered.values()))

    def note(self, listed: list[RawRevision]) -> None:
        """Note what a list shows of deleted revisions, before that is taken in."""
        for item in listed:
            known = self.consumer.latest.get(item["id"])
            self.counts["shown again"] += bool(known and known.deleted and "deletedAt" not in item)

    def look_for(self, missing: list[str], *, is_sound: bool) -> dict[str, RawRevision | None]:
        """Look for missing revisions with two requests: the list of deleted ones, and one by id."""
        if not missing or self.fails(is_sound=is_sound):
            return {}
        deleted = self.control_plane.deleted()
        found: dict[str, RawRevision | None] = {item["id"]: item for item in deleted if item["id"] in missing}
        rest = [key for key in missing if key not in found]
        if rest and not self.fails(is_sound=is_sound):
            item = self.control_plane.get(rest[0])
            since = self.consumer.missing_since(rest[0], self.at)
            if not is_sound and self.at - since < self.grace and self.chance(0.3):
                self.counts["wrong 404"] += item is not None
                item = None
            self.counts["hidden, but found by id"] += item is not None
            found[rest[0]] = item
        return found

    def fails(self, *, is_sound: bool) -> bool:
        failed = not is_sound and self.chance(0.2)
        self.counts["failed confirmation"] += failed
        return failed

    def chance(self, probability: float) -> bool:
        """Decide at random; shrinking makes it unlikely."""
        return self.random.random() > 1 - probability

    def deliver(self, *, hurried: bool = False) -> None:
        """Take the events one by one; a *hurried* consumer leaves some for later."""
        batch: list[tuple[int, EventSummary]] = []
        while self.tracker.pending and not (hurried and self.chance(0.3)):
            event = self.tracker.take()
            assert isinstance(event, RevisionEvent)
            self.tape.append(TAKE)
            summary = summary_of(event)
            batch.append((self.consumer.deliver(summary), summary))
            if event.kind == "deleted":
                assert event.revision_id not in self.control_plane.live()
            self.events.append(event)
            self.found_by.append(batch[-1][0])
            self.saved.append((self.tracker.checkpoint(), self.polls))
            self.counts["coalesced" if summary.coalesced else event.kind] += 1
            if self.resumes and self.chance(0.1):
                self.resume()
        check_order(batch)

    def resume(self) -> None:
        """Continue with a new tracker from what was delivered; undelivered events are dropped."""
        self.counts["resumed"] += 1
        self.counts["dropped by a resume"] += self.tracker.pending
        self.tape.append(RESUME)
        self.tracker = resumed(
            self.tracker.checkpoint(), emit_updates=self.emit_updates, stalled_after=self.stalled_after
        )
        self.consumer.resume()

    def checkpoint(self) -> Checkpoint:
        return self.tracker.checkpoint()


# --- the same run again -----------------------------------------------------------------------------------


def play_again(run: Run, *, order: Reorder) -> list[RevisionEvent]:
    options: dict[str, Any] = {"emit_updates": run.emit_updates, "stalled_after": run.stalled_after}
    tracker = opened(**options)
    events: list[RevisionEvent] = []
    for step in run.tape:
        if isinstance(step, Poll):
            step.apply(tracker, order=order)
        elif step == RESUME:
            tracker = resumed(tracker.checkpoint(), **options)
        else:
            event = tracker.take()
            assert isinstance(event, RevisionEvent)
            events.append(event)
    return events


# --- tests ------------------------------------------------------------------------------------------------


@EXPLORED
@given(st.randoms(use_true_random=False))
def test_what_is_delivered_is_what_the_model_expects(random: Random) -> None:
    Run(random).play()


LEAST = {
    "coalesced": 0.3,
    "deleted": 0.3,
    "resumed": 0.3,
    "dropped by a resume": 0.3,
    "failed confirmation": 0.3,
    "hidden, but found by id": 0.3,
    "wrong 404": 0.1,
    "shown again": 0.1,
    "updated": 0.1,
    "stalled": 0.3,
}
"""The least part of the runs in which each case must occur."""


@pytest.mark.parametrize("runs", [60, pytest.param(300, marks=pytest.mark.slow)])
def test_many_runs_pass_and_cover_the_hard_cases(runs: int) -> None:
    met: Counter[str] = Counter()
    for seed in range(runs):
        run = Run(Random(seed)).play()
        met.update(case for case, count in run.counts.items() if count)
    assert {case: met[case] for case, least in LEAST.items() if met[case] < least * runs} == {}


@pytest.mark.parametrize("order", [list, reversed])
@pytest.mark.parametrize(
    "seed", [*range(8), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(8, 30))]
)
def test_the_same_responses_yield_the_same_events_however_the_list_is_ordered(
    seed: int, order: Reorder
) -> None:
    run = Run(Random(seed)).play()
    again = play_again(run, order=order)
    assert again == run.events
    assert [event.id for event in again] == [event.id for event in run.events]


def check_crashes(run: Run) -> None:
    """Resume from earlier checkpoints and repeat the later polls: the same events must come again."""
    polls = [step for step in run.tape if isinstance(step, Poll)]
    for index in run.random.sample(range(len(run.events)), min(3, len(run.events))):
        checkpoint, polls_before = run.saved[index]
        tracker = resumed(checkpoint, stalled_after=run.stalled_after)
        for poll in polls[min(polls_before, run.found_by[index] - 1) :]:
            poll.apply(tracker)
        assert [event.id for event in take_all(tracker)] == [event.id for event in run.events[index:]]


@pytest.fixture(scope="module")
def one_poll_is_enough() -> Iterator[None]:
    """Let a 404 by id count at once: polls that are repeated after a crash would count twice."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("runai_async._watch.absence.LEAST_POLLS", 1)
        patch.setattr(ConsumerModel, "LEAST_POLLS", 1)
        yield


@pytest.mark.usefixtures("one_poll_is_enough")
@EXPLORED
@given(st.randoms(use_true_random=False))
def test_after_a_crash_the_events_since_a_checkpoint_are_repeated_with_the_same_ids(random: Random) -> None:
    check_crashes(Run(random, resumes=False, grace=0.0, is_stale=False).play())


@pytest.mark.usefixtures("one_poll_is_enough")
@pytest.mark.parametrize("crashes", [30, pytest.param(200, marks=pytest.mark.slow)])
def test_crashes_repeat_events_with_the_same_ids(crashes: int) -> None:
    for seed in range(crashes):
        check_crashes(Run(Random(seed), resumes=False, grace=0.0, is_stale=False).play())
