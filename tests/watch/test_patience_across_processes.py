"""What is missing or refused counts on in the next process, as if there had been one."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.harness import HTML_502, REFUSED_403, REFUSED_404, Harness, Reply
from support.model import WORKLOAD_ID, body_of, revision

from runai_async import (
    Checkpoint,
    ConfigurationError,
    FleetCheckpoint,
    NotFoundError,
    PermissionDeniedError,
    PollPolicy,
    PollStreak,
    RevisionDeleted,
    RunaiError,
    WatchEvent,
    WorkloadFailed,
)
from runai_async._watch.failures import NO_FAILURES, FailureStreak, Past, resumed_streak
from runai_async._watch.tracker import Lookup, Tracker
from runai_async.testing import Response

INTERVAL, DEADLINE, GRACE = 10.0, 60.0, 60.0
POLICY = PollPolicy(
    interval=INTERVAL, fast_interval=INTERVAL, jitter=0, deadline=DEADLINE, missing_grace=GRACE
)
NOW = datetime(2026, 1, 2, tzinfo=UTC)
UNCUT = 7
"""Polls that an uncut run needs to believe something."""


def saved(checkpoint: Checkpoint) -> Checkpoint:
    """Return a checkpoint as it is read from a file."""
    return Checkpoint.from_json(checkpoint.to_json())


# --- the law ----------------------------------------------------------------------------------------------

LIVES = st.lists(
    st.tuples(st.floats(0, 35), st.floats(0, INTERVAL, exclude_max=True)), min_size=1, max_size=40
)
"""For how long each process lives, and how much later the next one begins."""


def polls(lives: list[tuple[float, float]]) -> Iterator[tuple[float, bool]]:
    """Yield the times of the polls, and whether each is the first of its process; the last one lives on."""
    began = 0.0
    for life, pause in [*lives, (1000.0, 0.0)]:
        for n in range(int(life // INTERVAL) + 1):
            yield began + n * INTERVAL, n == 0
        began += life + pause


def believed_missing(lives: list[tuple[float, float]], *, is_cut: bool) -> int:
    """Return how many polls it takes to believe that a revision is gone."""
    tracker = Tracker(WORKLOAD_ID)
    tracker.apply(tracker.read(body_of(revision("a"), revision("b"))), at=-1, now=NOW)  # type: ignore[arg-type]
    _ = [tracker.take() for _ in range(2)]
    for count, (at, is_first) in enumerate(polls(lives), 1):
        if is_cut and is_first:
            tracker = Tracker(WORKLOAD_ID, resume_from=saved(tracker.checkpoint()))
        snapshot = tracker.read(body_of(revision("b")))
        assert snapshot is not None
        tracker.apply(
            snapshot,
            at=at if not is_cut else at % 1000,  # each process has a monotonic clock of its own
            now=NOW + timedelta(seconds=at),
            found={"a": Lookup()},
            missing_grace=GRACE,
            longest_gap=INTERVAL + DEADLINE,
            longest_cut=INTERVAL,
        )
        if tracker.pending:
            return count
    raise AssertionError


def believed_refused(lives: list[tuple[float, float]], error: RunaiError, *, is_cut: bool) -> int:
    """Return how many polls it takes to believe a refusal."""
    streak = NO_FAILURES
    for count, (at, is_first) in enumerate(polls(lives), 1):
        if is_cut and is_first:
            kept = streak.saved()
            streak = resumed_streak(saved(Checkpoint("w", refusal=kept)).refusal)
        verdict = streak.record(
            error,
            POLICY,
            what="workload w",
            began=at,
            now=at,
            interval=INTERVAL,
            past=Past(False, True),
            grace=GRACE,
            wall=NOW + timedelta(seconds=at),
        )
        streak = verdict.streak
        if verdict.is_believed:
            return count
    raise AssertionError


@given(LIVES)
def test_a_run_cut_into_processes_believes_a_deletion_no_earlier_and_one_poll_later_a_cut(
    lives: list[tuple[float, float]],
) -> None:
    needed = believed_missing(lives, is_cut=True)
    cuts = sum(is_first for _, is_first in list(polls(lives))[1:needed])
    assert believed_missing(lives, is_cut=False) <= needed <= UNCUT + cuts


@pytest.mark.parametrize(
    "error",
    [PermissionDeniedError(403, "not yours", code=403), NotFoundError(404, "no such workload", code=404)],
)
@given(lives=LIVES)
def test_a_run_cut_into_processes_believes_a_refusal_no_earlier_and_one_poll_later_a_cut(
    error: RunaiError, lives: list[tuple[float, float]]
) -> None:
    needed = believed_refused(lives, error, is_cut=True)
    cuts = sum(is_first for _, is_first in list(polls(lives))[1:needed])
    assert believed_refused(lives, error, is_cut=False) <= needed <= UNCUT + cuts


# --- a command that a timer starts ------------------------------------------------------------------------


class Timer:
    """Runs a watch for some seconds at a time, each from the checkpoint of the one before."""

    def __init__(self, harness: Harness, *, seconds: float = 18.0, pause: float = 42.0) -> None:
        self.harness = harness
        self.seconds = seconds
        self.pause = pause
        self.checkpoint: Checkpoint | None = None

    async def run(self) -> list[WatchEvent]:
        """Run once; return the events."""
        async with (
            self.harness.client() as runai,
            runai.watch_revisions(
                self.harness.workload_id, poll=POLICY, resume_from=self.checkpoint
            ) as watch,
        ):
            try:
                return await self.harness.collect(watch, self.seconds)
            finally:
                self.checkpoint = saved(watch.checkpoint())
                await self.harness.clock.advance(self.pause)

    async def runs(self, most: int) -> list[list[str]]:
        return [[event.kind for event in await self.run()] for _ in range(most)]


async def test_a_deletion_is_confirmed_by_runs_that_are_each_too_short() -> None:
    harness = Harness()
    harness.add()
    gone = harness.add()
    timer = Timer(harness)
    await timer.run()
    harness.state.purge_revision(gone)
    assert await timer.runs(5) == [[], [], [], ["deleted"], []]


async def test_a_clock_that_was_set_back_counts_nothing() -> None:
    streak = PollStreak("forbidden", 4, 55.0, NOW)
    for shift, seconds in ((-3600, 55.0), (0, 55.0), (4, 59.0), (3600, 65.0)):
        verdict = resumed_streak(streak).record(
            PermissionDeniedError(403, "no", code=403),
            POLICY,
            what="workload w",
            began=5.0,
            now=5.0,
            interval=INTERVAL,
            past=Past(False, True),
            grace=GRACE,
            wall=NOW + timedelta(seconds=shift),
        )
        assert verdict.streak.refused_seconds == seconds
        assert verdict.is_believed == (seconds >= GRACE)


@pytest.mark.parametrize("refusal", [REFUSED_403, REFUSED_404])
async def test_a_refusal_is_believed_by_runs_that_are_each_too_short(refusal: object) -> None:
    harness = Harness()
    harness.add()
    timer = Timer(harness, seconds=180, pause=600)
    await timer.run()
    harness.lists = refusal  # type: ignore[assignment]
    outcomes: list[object] = []
    for _ in range(6):
        try:
            outcomes.append([event.kind for event in await timer.run()])
        except PermissionDeniedError:
            outcomes.append("refused")
    if refusal is REFUSED_403:
        # 900 s, of which each cut counts ten; what has ended a watch is not counted by the next one.
        assert outcomes == [[], [], [], [], "refused", []]
    else:
        assert outcomes == [[], ["deleted"], [], [], [], []]  # 300 s


async def test_a_successful_poll_ends_what_was_counted() -> None:
    harness = Harness()
    harness.add()
    timer = Timer(harness)
    await timer.run()
    harness.lists = REFUSED_403
    await timer.run()
    assert timer.checkpoint is not None
    assert timer.checkpoint.refusal == PollStreak(
        "forbidden", 2, 10.0, harness.clock.now() - timedelta(seconds=50)
    )
    harness.lists = True
    await timer.run()
    assert timer.checkpoint.refusal is None


async def test_an_outage_in_between_ends_a_refusal() -> None:
    harness = Harness()
    harness.add()
    timer = Timer(harness)
    await timer.run()
    for reply, found in ((REFUSED_403, "forbidden"), (HTML_502, None), (REFUSED_404, "not_found")):
        harness.lists = reply
        await timer.run()
        refusal = timer.checkpoint and timer.checkpoint.refusal
        assert (refusal and refusal.found) == found
        assert not refusal or refusal.polls == 2


async def test_a_deletion_that_was_found_and_not_delivered_is_found_again_at_once() -> None:
    harness = Harness()
    harness.add()
    gone = harness.add()
    async with harness.client() as runai:
        async with runai.watch_fleet([harness.workload_id], poll=POLICY) as fleet:
            await harness.collect(fleet, 11)
            harness.state.purge_revision(gone)
            await harness.clock.advance(400)
            assert fleet.status.buffered == 1
            whole = FleetCheckpoint.from_json(fleet.checkpoint().to_json())
        (streak,) = [mark.streak for mark in whole.workloads[harness.workload_id].revisions if mark.streak]
        assert (streak.found, streak.polls, round(streak.seconds)) == ("missing", UNCUT, GRACE)
        async with runai.watch_fleet([harness.workload_id], poll=POLICY, resume_from=whole) as fleet:
            events = await harness.collect(fleet, 11)
    assert [type(event) for event in events] == [RevisionDeleted]


def seen(tracker: Tracker, *listed: object, at: float) -> Tracker:
    """Poll; 404s by id confirm what is missing."""
    snapshot = tracker.read(body_of(*listed))  # type: ignore[arg-type]
    assert snapshot is not None
    now = NOW + timedelta(seconds=at)
    tracker.apply(snapshot, at=at, now=now, found={"a": Lookup()}, missing_grace=20)
    return tracker


def streaks(tracker: Tracker) -> list[tuple[str, bool, str, int]]:
    """Return what a checkpoint says of A: its phase, whether it lives, and what how many polls found."""
    marks = [mark for mark in saved(tracker.checkpoint()).revisions if mark.id == "a"]
    none = PollStreak("missing", 0, 0, NOW)
    found = [mark.streak or none for mark in marks]
    return [
        (mark.phase, mark.deleted_at is None, streak.found, streak.polls)
        for mark, streak in zip(marks, found, strict=True)
    ]


def test_polls_count_for_the_state_that_was_delivered() -> None:
    pending, running = revision("a", phase="Pending"), revision("a", phase="Running")
    others, tracker = revision("b"), Tracker(WORKLOAD_ID)
    seen(tracker, pending, others, at=0)
    _ = [tracker.take() for _ in range(2)]
    seen(tracker, running, others, at=10)
    seen(tracker, others, at=20)
    assert streaks(tracker) == [("Pending", True, "missing", 1)]  # its change of phase is not delivered
    seen(seen(tracker, others, at=30), others, at=40)
    assert [tracker.pending, streaks(tracker)] == [2, [("Pending", True, "missing", 3)]]
    seen(tracker, others, at=50)
    assert streaks(tracker) == [("Pending", True, "missing", 3)]  # not the fourth, of when it is gone
    tracker.take()
    assert streaks(tracker) == [("Running", True, "missing", 3)]
    tracker.take()
    assert streaks(tracker) == [("Running", False, "missing", 2)]
    again = Tracker(WORKLOAD_ID, resume_from=saved(tracker.checkpoint()))
    assert streaks(seen(again, others, at=60)) == []  # three are enough to forget it


def test_polls_that_show_a_deleted_revision_live_count_until_its_return_is_delivered() -> None:
    gone = revision("a") | {"deletedAt": "2026-01-01T00:01:00+00:00"}
    tracker = seen(Tracker(WORKLOAD_ID), revision("a"), at=0)
    seen(tracker, gone, at=10)
    _ = [tracker.take() for _ in range(2)]
    for at in (20, 30, 40):
        seen(tracker, revision("a"), at=at)
    assert tracker.pending == 1
    assert streaks(tracker) == [("Running", False, "live", 3)]
    again = seen(Tracker(WORKLOAD_ID, resume_from=saved(tracker.checkpoint())), revision("a"), at=50)
    assert [again.take().kind, streaks(again)] == ["added", [("Running", True, "missing", 0)]]


async def test_a_revision_that_was_deleted_is_forgotten_by_runs_that_are_each_too_short() -> None:
    harness = Harness()
    harness.add()
    gone = harness.add()
    timer = Timer(harness)
    await timer.run()
    harness.state.delete_revision(gone)
    assert await timer.runs(1) == [["deleted"]]
    remembered: list[int] = []
    for _ in range(5):
        await timer.run()
        assert timer.checkpoint is not None
        remembered.append(len(timer.checkpoint.revisions))
    assert remembered[0] == 2
    assert remembered[-1] == 1


# --- what a resumed refusal does not change ---------------------------------------------------------------


async def test_a_resumed_refusal_is_logged_again(caplog: pytest.LogCaptureFixture) -> None:
    harness = Harness()
    harness.add()
    timer = Timer(harness)
    await timer.run()
    harness.lists = REFUSED_403
    await timer.runs(2)
    assert len([record for record in caplog.records if "refused" in record.getMessage()]) == 2


async def test_a_configuration_that_does_not_work_still_ends_the_first_poll() -> None:
    harness = Harness()
    key = harness.workload_id
    harness.lists = ConfigurationError("the token file /t does not exist")
    refusal = PollStreak("forbidden", 5, 50.0, harness.clock.now())
    async with harness.client() as runai:
        watch = runai.watch_revisions(key, poll=POLICY, resume_from=Checkpoint(key, refusal=refusal))
        with pytest.raises(ConfigurationError):
            await harness.collect(watch, 5)
    assert len(harness.times()) == 1


async def test_a_fleet_continues_a_refusal_and_reports_the_failure() -> None:
    harness = Harness()
    harness.add()
    key = harness.workload_id
    harness.lists = REFUSED_403
    whole = FleetCheckpoint(
        {key: Checkpoint(key, refusal=PollStreak("forbidden", 90, 895.0, harness.clock.now()))}
    )
    async with (
        harness.client() as runai,
        runai.watch_fleet([key], poll=POLICY, resume_from=whole) as fleet,
    ):
        assert fleet.checkpoint().workloads[key].refusal == whole.workloads[key].refusal
        events = await harness.collect(fleet, 21)
        refusal = fleet.checkpoint(key).refusal
    assert [type(event) for event in events] == [WorkloadFailed]
    assert refusal is None  # reported: the next process does not report it at once


@pytest.mark.parametrize("reply", [REFUSED_404, Response(body=b'{"revisions": []}')])
async def test_a_restart_while_a_read_model_is_empty_deletes_nothing(reply: Response) -> None:
    class Restarting(Harness):
        def _reply(self, kind: str, key: str) -> Reply | bool:
            own = super()._reply(kind, key)
            return REFUSED_404 if kind == "get" and own is reply else own

    harness = Restarting()
    ids = [harness.state.add_workload(f"llm-{n}", "Inference", {}) for n in range(20)]
    for key in ids:
        harness.add(workload_id=key)
    policy = PollPolicy(interval=10, fast_interval=10)
    async with harness.client() as runai:
        async with runai.watch_fleet(ids, poll=policy) as fleet:
            assert len(await harness.collect(fleet, 50)) == 20
            harness.lists = harness.others = reply
            assert await harness.collect(fleet, 400) == []
            saved = FleetCheckpoint.from_json(fleet.checkpoint().to_json())
        async with runai.watch_fleet(ids, poll=policy, resume_from=saved) as fleet:
            assert fleet.status.failing == 0
            assert await harness.collect(fleet, 40) == []
            harness.lists = harness.others = True
            assert await harness.collect(fleet, 100) == []


def test_a_streak_of_an_outage_is_not_kept() -> None:
    assert FailureStreak(5, outage_since=1.0, outage_seconds=40.0).saved() is None
    assert NO_FAILURES.saved() is None
    assert resumed_streak(None) is NO_FAILURES


def test_a_checkpoint_of_0_1_has_nothing_counted() -> None:
    text = json.dumps({"version": 1, "workload_id": "w", "synced": True, "revisions": []})
    assert Checkpoint.from_json(text) == Checkpoint("w")
