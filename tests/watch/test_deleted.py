"""Deletions: what is believed of them, and for how long what was deleted is remembered."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from support.harness import Harness
from support.model import WORKLOAD_ID, RawRevision, body_of, revision

from runai_async import PhaseChanged, PollPolicy, RevisionAdded, RevisionDeleted, RevisionEvent
from runai_async._watch.tracker import Lookup, Tracker
from runai_async.checkpoint import Checkpoint
from runai_async.testing import Response

NOW = datetime(2026, 1, 2, tzinfo=UTC)
GRACE = 60.0
STEP = 20.0
"""Seconds between polls: four polls in a row are enough for `GRACE`."""
A, B = revision("a"), revision("b")
DELETED = A | {"deletedAt": "2026-01-01T00:01:00+00:00"}
GONE = {"a": Lookup()}
MINUTE = PollPolicy(interval=10, fast_interval=10, jitter=0)


class Polls:
    """One tracker, polled every `STEP` seconds with the responses that a test gives."""

    def __init__(self, tracker: Tracker | None = None, at: float = 0.0) -> None:
        self.tracker = tracker or Tracker(WORKLOAD_ID)
        self.at = at

    def __call__(self, *listed: Any, **options: Any) -> str:
        """Poll once; return the kinds of the events, by their first letters."""
        return "".join(event.kind[0] for event in self.events(*listed, **options))

    def events(self, *listed: Any, step: float = STEP, **options: Any) -> list[RevisionEvent]:
        self.at += step
        snapshot = self.tracker.read(body_of(*listed))
        if snapshot is not None:
            options = {"missing_grace": GRACE} | options
            self.tracker.apply(snapshot, at=self.at, now=NOW + timedelta(seconds=self.at), **options)
        taken = [self.tracker.take() for _ in range(self.tracker.pending)]
        return [event for event in taken if isinstance(event, RevisionEvent)]

    def resumed(self) -> "Polls":
        saved = Checkpoint.from_json(self.tracker.checkpoint().to_json())
        return Polls(Tracker(WORKLOAD_ID, resume_from=saved), self.at)

    @property
    def known(self) -> set[str]:
        return {mark.id for mark in self.tracker.checkpoint().revisions}


def deleted() -> Polls:
    """Return polls after which A is reported as deleted, and B lives."""
    polls = Polls()
    assert [polls(A, B), polls(DELETED, B)] == ["aa", "d"]
    return polls


# --- what was deleted is remembered -----------------------------------------------------------------------


def test_a_deleted_revision_on_a_stale_replica_is_not_reported_again() -> None:
    polls = deleted()
    assert [polls(*listed) for listed in ([B], [A, B], [B], [A, B], [DELETED, B], [A, B], [B])] == [""] * 7


def test_a_deleted_revision_is_forgotten_when_every_poll_has_lacked_it_for_the_grace() -> None:
    polls = deleted()
    remembered: list[bool] = []
    for _ in range(4):
        polls(B)
        remembered.append("a" in polls.known)
    assert remembered == [True, True, True, False]


def test_a_poll_that_shows_it_or_cannot_tell_keeps_it_remembered() -> None:
    polls = deleted()
    for listed in ([B], [B], [B], [A, B], [B], [B], [B], [DELETED, B], [B], [B], [B], [A | {"phase": 5}, B]):
        polls(*listed)
        assert polls.known == {"a", "b"}
    for _ in range(5):
        polls(B, {"phase": "without an id"})
        assert polls.known == {"a", "b"}


def test_a_deleted_revision_is_back_when_every_poll_has_shown_it_live_for_the_grace() -> None:
    polls = deleted()
    assert [polls(*listed) for listed in ([A, B], [A, B], [A, B], [B])] == [""] * 4
    assert [polls(A, B) for _ in range(5)] == ["", "", "", "a", ""]
    assert polls(DELETED, B) == "d"


def test_a_revision_that_is_back_has_the_count_in_its_ids_and_its_latest_state() -> None:
    polls, later = Polls(), A | {"phase": "Failed", "phaseUpdatedAt": "2026-01-01T00:09:00+00:00"}
    events = [
        event for listed in (A, DELETED, A, A, later, later, later, DELETED) for event in polls.events(listed)
    ]
    assert [type(event) for event in events] == [
        RevisionAdded,
        RevisionDeleted,
        RevisionAdded,
        PhaseChanged,
        RevisionDeleted,
    ]
    assert events[2].revision.phase == "Failed"
    assert len({event.id for event in events}) == len(events)


def test_one_that_is_back_is_a_live_revision_again() -> None:
    polls = deleted()
    for _ in range(4):
        polls(A, B)
    assert [mark.deleted_at for mark in polls.tracker.checkpoint().revisions] == [None, None]
    assert polls.tracker.read(body_of(A, B)) is None  # nothing is counted any more
    assert [polls(B, found=GONE) for _ in range(4)] == ["", "", "", "d"]


def test_a_deletion_confirmed_by_404_is_remembered_as_long_as_another() -> None:
    polls = Polls()
    assert [polls(A, B), *(polls(B, found=GONE) for _ in range(4))] == ["aa", "", "", "", "d"]
    assert [polls(B), polls(B), "a" in polls.known] == ["", "", True]
    polls(B)
    assert polls.known == {"b"}


@pytest.mark.parametrize(("listed", "known"), [([B], {"b"}), ([A, B], {"a", "b"})])
def test_three_polls_and_the_grace_are_needed_and_a_pause_of_the_process_proves_nothing(
    listed: list[RawRevision], known: set[str]
) -> None:
    polls = deleted()
    steps = (1e6, 1e6, 10.0, 10.0, 10.0)
    kinds = [polls(*listed, step=step, longest_gap=30.0) for step in steps]
    assert "".join(kinds[:-1]) == ""
    assert (polls.known, kinds[-1]) == (known, "a" if A in listed else "")

    polls = deleted()
    assert [polls(*listed, step=1e6) for _ in range(2)] == ["", ""]
    assert polls.known == {"a", "b"}


def test_a_revision_resumed_as_deleted_is_remembered_in_the_same_way() -> None:
    polls = deleted().resumed()
    assert [polls(*listed) for listed in ([A, B], [B], *[[A, B]] * 4)] == [*[""] * 5, "a"]
    polls = deleted().resumed()
    for _ in range(4):
        assert polls(B) == ""
    assert polls.known == {"b"}


def test_a_remembered_revision_that_is_listed_as_deleted_costs_nothing() -> None:
    polls = deleted()
    assert polls.tracker.read(body_of(DELETED, B)) is None


def test_histories_are_not_read_for_what_was_deleted() -> None:
    polls = deleted()
    snapshot = polls.tracker.read(body_of(A | {"phase": "Failed"}, B | {"phase": "Failed"}))
    assert snapshot is not None
    assert [mark.id for mark, _ in polls.tracker.gaps(snapshot)] == ["b"]


BROKEN = A | {"phase": 5}
RESPONSES: dict[str, list[Any]] = {
    "live": [A],
    "deleted": [DELETED],
    "lacked": [],
    "broken": [BROKEN],
    "unreadable": [{}],
}
EXPLORED = settings(report_multiple_bugs=False, phases=set(Phase) - {Phase.explain})


class Lives:
    """What a consumer must see of a revision that was deleted, from the responses alone.

    Attributes:
        is_live: it is back.
        is_forgotten: it is not remembered any more.
    """

    def __init__(self, lacked_at: int | None) -> None:
        self.is_live = False
        self.is_forgotten = False
        self._row: tuple[str, list[int]] = ("lacked", [] if lacked_at is None else [lacked_at])

    def after(self, shown: str, index: int) -> str:
        """Return the kinds of the events that one more response brings."""
        if shown == "unreadable":
            return ""  # it may be the revision or not
        if self._row[0] != shown:
            self._row = (shown, [])
        self._row[1].append(index)
        is_enough = len(self._row[1]) >= 3 and (index - self._row[1][0]) * STEP >= GRACE
        if shown == "deleted" and self.is_live:
            return self._becomes(live=False)
        if shown == "lacked" and is_enough and self.is_live:
            event = self._becomes(live=False)
            self._row = (shown, [index])  # it lacks what is deleted now, too
            return event
        if shown == "live" and is_enough and not self.is_live:
            return self._becomes(live=True)
        self.is_forgotten = shown == "lacked" and is_enough
        return ""

    def _becomes(self, *, live: bool) -> str:
        self.is_live = live
        self._row = ("", [])
        return "a" if live else "d"


@EXPLORED
@given(
    st.lists(st.sampled_from([*RESPONSES]), max_size=40),
    st.sampled_from(["live", "lacked"]),
    st.sampled_from(["404", "deletedAt"]),
)
def test_whatever_flaps_a_deletion_is_reported_once_per_return_and_forgotten_in_the_end(
    flaps: list[str], rest: str, how: str
) -> None:
    polls = Polls()
    polls(A, B)
    first = [polls(B, found=GONE) for _ in range(4)] if how == "404" else [polls(DELETED, B)]
    assert "".join(first) == "d"
    lives, ids = Lives(-1 if how == "404" else None), list[str]()
    for index, shown in enumerate([*flaps, *[rest] * 8]):
        events = polls.events(*RESPONSES[shown], B, found=GONE)
        assert "".join(event.kind[0] for event in events) == lives.after(shown, index)
        ids += [str(event.id) for event in events]
        if lives.is_forgotten:
            break  # listed again, it would be new
    assert len(set(ids)) == len(ids)
    assert lives.is_forgotten or rest == "live"
    assert polls.known == ({"b"} if lives.is_forgotten else {"a", "b"})


@EXPLORED
@given(
    st.lists(st.lists(st.sampled_from(["live", "lacked"]), min_size=1, max_size=2), max_size=8),
    st.sampled_from(["live", "lacked"]),
    st.integers(0, 30),
)
def test_a_checkpoint_taken_anywhere_resumes_to_the_same_events(
    flaps: list[list[str]], rest: str, saved_at: int
) -> None:
    responses = ["deleted", *(shown for flap in flaps for shown in (*flap, "deleted")), *[rest] * 8]
    polls = Polls()
    polls(A, B)
    resumed: Polls | None = None
    events: list[RevisionEvent] = []
    again: list[RevisionEvent] = []
    for index, shown in enumerate(responses):
        if index == saved_at % (len(responses) - 4):
            resumed, events = polls.resumed(), []
        events += polls.events(*RESPONSES[shown], B)
        again += [] if resumed is None else resumed.events(*RESPONSES[shown], B)
    assert resumed is not None
    assert [event.id for event in again] == [event.id for event in events]
    assert polls.known == resumed.known == ({"a", "b"} if rest == "live" else {"b"})


async def test_what_a_stale_replica_shows_of_a_deleted_revision_is_reported_once() -> None:
    harness = Harness()
    harness.add()
    gone = harness.add()
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id, poll=MINUTE)
        await harness.collect(watch, 1)
        stale = Response(body=harness.state.list_body(harness.workload_id, deleted=False))
        harness.state.delete_revision(gone)
        events = await harness.collect(watch, 10)
        for _ in range(6):
            harness.next_lists.append(stale)
            events += await harness.collect(watch, 30)
        assert [event.kind for event in events] == ["deleted"]
        assert [mark.id for mark in watch.checkpoint().revisions if mark.deleted_at] == [gone]
        assert await harness.collect(watch, 90) == []
        assert [mark.id for mark in watch.checkpoint().revisions if mark.deleted_at] == []
    assert len(harness.times("deleted")) == 1


# --- all at once ------------------------------------------------------------------------------------------


def both_gone(polls: Polls, *listed: RawRevision, **options: Any) -> list[str]:
    found = {"a": Lookup(), "b": Lookup()}
    return [polls(*listed, found=found, all_missing_grace=120.0, **options) for _ in range(7)]


def test_404s_for_all_live_revisions_at_once_are_doubted_longer_than_for_one() -> None:
    polls = Polls()
    polls(A, B)
    assert both_gone(polls) == [*[""] * 6, "dd"]
    polls = Polls()
    polls(A, B, revision("c"))
    assert both_gone(polls, revision("c")) == [*[""] * 3, "dd", *[""] * 3]


def test_a_response_with_another_revision_is_one_of_a_control_plane_that_knows_some() -> None:
    polls = Polls()
    polls(A, B)
    assert both_gone(polls, revision("new")) == ["a", "", "", "dd", "", "", ""]


def test_without_another_grace_all_are_believed_as_one_is() -> None:
    polls = Polls()
    polls(A)
    assert [polls(found=GONE) for _ in range(4)] == ["", "", "", "d"]


def test_when_one_is_back_the_others_are_doubted_no_longer_than_usual() -> None:
    polls = Polls()
    polls(A, B)
    found: dict[str, Any] = {"found": GONE, "all_missing_grace": 1e6}
    assert [polls(**found) for _ in range(8)] == [""] * 8
    assert polls(B, **found) == "d"


def test_a_real_time_of_deletion_is_a_deletion_at_once_also_for_all() -> None:
    polls = Polls()
    polls(A)
    gone = revision("a", deletedAt="2026-01-01T00:01:00+00:00")
    raw = body_of(gone)[len(b'{"revisions": [') : -2]
    snapshot = polls.tracker.read(body_of(gone))
    assert snapshot is not None
    lookup = Lookup(raw, snapshot.changed["a"])
    assert polls(found={"a": lookup}, all_missing_grace=1e6) == "d"


def test_a_tracker_says_whether_all_its_live_revisions_are_missing() -> None:
    polls = Polls()
    said: list[bool] = [polls.tracker.is_all_missing]
    for listed in ([A, B], [A], [], [{"phase": "without an id"}], [], [B | {"phase": 5}], [], [A]):
        polls(*listed)
        said.append(polls.tracker.is_all_missing)
    assert said == [False, False, False, True, False, True, False, True, False]
    assert not polls.resumed().tracker.is_all_missing
    polls(DELETED, B | {"deletedAt": DELETED["deletedAt"]})
    assert not polls.tracker.is_all_missing
    polls()
    assert not polls.tracker.is_all_missing
