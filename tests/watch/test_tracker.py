"""The tracker, one guarantee at a time."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support.model import WORKLOAD_ID, RawRevision, body_of, revision

from runai_async import _codec
from runai_async._watch.gaps import missed_phases
from runai_async._watch.listing import Snapshot
from runai_async._watch.tracker import Lookup, Tracker
from runai_async.checkpoint import Checkpoint
from runai_async.client import RunaiClient
from runai_async.errors import DecodeError
from runai_async.events import PhaseChanged, RevisionDeleted, RevisionUpdated
from runai_async.models import HistoryMeta, HistoryRecord, HistorySpec, Phase, PhaseUpdate, Revision
from runai_async.policy import PollPolicy
from runai_async.testing import FakeClock, FakeTransport, Response, SentRequest

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def minute(count: int) -> str:
    return (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=count)).isoformat()


def tracker(**options: Any) -> Tracker:
    return Tracker(WORKLOAD_ID, **options)


def read(of: Tracker, *responses: Any) -> Snapshot:
    snapshot = of.read(body_of(*responses))
    assert snapshot is not None
    return snapshot


def take_all(of: Tracker) -> list[Any]:
    return [of.take() for _ in range(of.pending)]


def poll(of: Tracker, *responses: Any, at: float = 0.0, **options: Any) -> list[Any]:
    """Apply a list response, and return the events."""
    of.apply(read(of, *responses), at=at, now=NOW + timedelta(seconds=at), **options)
    return take_all(of)


def repeat(of: Tracker, *responses: Any, times: int = 2) -> None:
    """Let polls get a response that is to be believed only once three did."""
    for _ in range(times):
        assert poll(of, *responses) == []


def watching(*responses: RawRevision, **options: Any) -> Tracker:
    """Return a tracker that has reported these revisions."""
    made = tracker(**options)
    poll(made, *responses)
    return made


def resumed(of: Tracker, **options: Any) -> Tracker:
    return tracker(resume_from=Checkpoint.from_json(of.checkpoint().to_json()), **options)


def found(response: RawRevision) -> Lookup:
    raw = _codec.encode(response)
    return Lookup(raw, _codec.decode_revision(raw))


def brief(events: Sequence[Any]) -> list[tuple[str, str, str]]:
    return [(event.kind, event.revision_id, event.revision.phase) for event in events]


# --- what is reported -------------------------------------------------------------------------------------


def test_existing_revisions_are_tracked_but_not_reported_without_include_existing() -> None:
    a, b = revision("a", phaseUpdatedAt=minute(1)), revision("b")
    quiet = tracker(include_existing=False)
    assert poll(quiet, a, b) == []
    assert [mark.id for mark in quiet.checkpoint().revisions] == ["a", "b"]
    assert quiet.checkpoint().synced
    repeat(quiet, a)
    changed = a | {"phase": "Failed", "phaseUpdatedAt": minute(2)}
    assert brief(poll(quiet, changed, revision("c"), found={"b": Lookup()})) == [
        ("added", "c", "Running"),
        ("phase_changed", "a", "Failed"),
        ("deleted", "b", "Running"),
    ]


def test_the_events_of_one_poll_are_ordered_by_the_servers_time_then_id() -> None:
    watch = watching(
        revision("x"), revision("y"), *(revision(key, phaseUpdatedAt=minute(0)) for key in "dca")
    )
    found_x = found(revision("x", deletedAt=minute(3)))
    repeat(watch, *(revision(key, phaseUpdatedAt=minute(0)) for key in "dca"))
    changes = [revision(key, phase="Failed", phaseUpdatedAt=minute(2)) for key in "dc"]
    events = poll(
        watch,
        revision("a", phase="Failed"),
        *changes,
        revision("new", createdAt=minute(1)),
        found={"x": found_x, "y": Lookup()},
    )
    assert [event.revision_id for event in events] == ["new", "c", "d", "x", "a", "y"]


def test_a_change_and_the_deletion_after_it_stay_together_whatever_the_times_say() -> None:
    watch = watching(revision("a", phaseUpdatedAt=minute(1)), revision("b"))
    gone = found(revision("a", phase="Failed", phaseUpdatedAt=minute(9), deletedAt=minute(2)))
    new = revision("c", createdAt=minute(5))
    events = poll(watch, revision("b"), new, found={"a": gone})
    assert [event.kind for event in events] == ["added", "phase_changed", "deleted"]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ({"phase": "Pending", "phaseUpdatedAt": minute(1)}, {"phase": "Failed", "phaseUpdatedAt": minute(2)}),
        ({"phase": "Pending"}, {"phase": "Failed", "phaseUpdatedAt": minute(2)}),
        ({"phase": "Running"}, {"phase": "Running", "deletedAt": minute(2)}),
    ],
)
def test_the_newer_state_counts_if_a_response_contains_a_revision_twice(
    *, older: RawRevision, newer: RawRevision, reverse: bool
) -> None:
    watch = watching(revision("a", **older))
    twice = [revision("a", **older), revision("a", **newer)]
    (event,) = poll(watch, *(reversed(twice) if reverse else twice))
    kind = RevisionDeleted if "deletedAt" in newer else PhaseChanged
    assert (type(event), event.revision.phase) == (kind, newer["phase"])


def test_changes_of_other_fields_are_reported_only_on_request() -> None:
    before, after = revision("a", runningPods=1), revision("a", runningPods=2)
    assert poll(watching(before), after) == []
    (event,) = poll(watching(before, emit_updates=True), after)
    assert isinstance(event, RevisionUpdated)
    assert [(c.path, c.old, c.new) for c in event.changes] == [("running_pods", 1, 2)]


def test_a_change_of_phase_is_not_reported_as_an_update_too() -> None:
    watch = watching(revision("a", runningPods=1), emit_updates=True)
    assert brief(poll(watch, revision("a", runningPods=2, phase="Failed"))) == [
        ("phase_changed", "a", "Failed")
    ]


def test_after_a_resume_changes_of_other_fields_yield_no_update() -> None:
    watch = resumed(watching(revision("a", runningPods=1)), emit_updates=True)
    assert poll(watch, revision("a", runningPods=2)) == []
    (event,) = poll(watch, revision("a", runningPods=3))
    assert [(c.old, c.new) for c in event.changes] == [(2, 3)]


def test_an_update_repeated_after_a_crash_has_the_same_id_and_each_has_its_own() -> None:
    watch = watching(revision("a", runningPods=1), emit_updates=True)
    (first,) = poll(watch, revision("a", runningPods=2))
    saved = watch.checkpoint()
    (second,) = poll(watch, revision("a", runningPods=1))
    again = tracker(resume_from=saved, emit_updates=True)
    assert poll(again, revision("a", runningPods=2)) == []
    (repeated,) = poll(again, revision("a", runningPods=1), at=99)
    assert (repeated.id, repeated.observed_at) == (second.id, NOW + timedelta(seconds=99))
    assert first.id != second.id
    assert [mark.updates for mark in watch.checkpoint().revisions] == [2]


def test_an_update_that_was_not_delivered_does_not_count() -> None:
    watch = watching(revision("a", runningPods=1), emit_updates=True)
    watch.apply(read(watch, revision("a", runningPods=2)), at=0, now=NOW)
    assert [mark.updates for mark in watch.checkpoint().revisions] == [0]
    take_all(watch)
    assert [mark.updates for mark in watch.checkpoint().revisions] == [1]


@pytest.mark.parametrize(
    ("field", "one", "other"),
    [
        ("images", ["a", "b"], ["b", "a"]),
        ("currentNodePools", ["a", "b"], ["b", "a"]),
        ("phaseMessage", "", None),
        (
            "conditions",
            [{"type": "A", "status": "True", "message": ""}, {"type": "B", "status": "False"}],
            [{"type": "B", "status": "False", "reason": ""}, {"type": "A", "status": "True"}],
        ),
    ],
)
def test_another_order_or_spelling_of_nothing_is_no_update(field: str, one: Any, other: Any) -> None:
    watch = watching(revision("a", **{field: one}), emit_updates=True)
    assert poll(watch, revision("a", **{field: other})) == poll(watch, revision("a", **{field: one})) == []


def test_a_checkpoint_of_another_workload_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=f"of workload other, but this watch is of {WORKLOAD_ID}"):
        tracker(resume_from=Checkpoint("other"))


# --- what cannot be decoded -------------------------------------------------------------------------------

BROKEN = {"id": "b", "phase": 5}
NAMELESS = {"phase": "Running"}


@pytest.mark.parametrize("broken", [BROKEN, NAMELESS, None, 7])
def test_a_revision_that_cannot_be_decoded_does_not_hide_the_others(broken: object) -> None:
    watch = tracker()
    snapshot = read(watch, revision("a"), broken, revision("c"))
    assert [type(problem) for problem in snapshot.problems] == [DecodeError]
    watch.apply(snapshot, at=0, now=NOW)
    assert [event.revision_id for event in take_all(watch)] == ["a", "c"]
    assert watch.undecodable == 1


def test_an_undecodable_revision_is_a_problem_once_per_change() -> None:
    watch = watching(BROKEN)
    assert read(watch, BROKEN, revision("a")).problems == []
    poll(watch, BROKEN, revision("a"))
    assert len(read(watch, BROKEN | {"phase": 6}).problems) == 1


def test_an_undecodable_revision_is_present_and_keeps_its_last_state() -> None:
    watch = watching(revision("b", runningPods=4))
    assert watch.missing(read(watch, BROKEN)) == []
    assert poll(watch, BROKEN) == []
    repeat(watch)
    (event,) = poll(watch, found={"b": Lookup()})
    assert (event.kind, event.revision.running_pods) == ("deleted", 4)
    repeat(watch, revision("b", phase="Failed"))
    assert brief(poll(watch, revision("b", phase="Failed"))) == [("added", "b", "Failed")]


def test_nothing_is_missing_from_a_response_in_which_an_id_cannot_be_read() -> None:
    watch = watching(revision("a"))
    assert poll(watch, NAMELESS, found={"a": Lookup()}) == []
    repeat(watch)
    assert brief(poll(watch, found={"a": Lookup()})) == [("deleted", "a", "Running")]


# --- what was deleted -------------------------------------------------------------------------------------


def test_a_workload_that_was_gone_and_returns_unchanged_is_reported_again() -> None:
    watch = watching(revision("a"), revision("b", phase="Failed"))
    watch.delete_all(NOW)
    assert [event.kind for event in take_all(watch)] == ["deleted", "deleted"]
    repeat(watch, revision("a"), revision("b", phase="Failed"))
    events = poll(watch, revision("a"), revision("b", phase="Failed"))
    assert [(event.kind, event.initial) for event in events] == [("added", False)] * 2
    assert [mark.deleted_at for mark in watch.checkpoint().revisions] == [None, None]
    assert watch.read(body_of(revision("a"), revision("b", phase="Failed"))) is None


def test_a_404_counts_when_the_revision_has_been_missing_for_the_grace() -> None:
    watch = watching(revision("a"))
    lost: dict[str, Any] = {"found": {"a": Lookup()}, "missing_grace": 60.0}
    assert poll(watch, at=0, **lost) == []
    assert poll(watch, revision("a"), at=30) == []  # it reappears: the grace restarts
    assert poll(watch, at=50, **lost) == []
    assert poll(watch, at=109.9, **lost) == []
    (event,) = poll(watch, at=110, **lost)
    assert (event.kind, event.observed_at, event.server_time) == (
        "deleted",
        NOW + timedelta(seconds=110),
        None,
    )


def test_a_revision_that_is_found_counts_as_listed_and_restarts_the_grace() -> None:
    watch = watching(revision("a"))
    lost: dict[str, Any] = {"found": {"a": Lookup()}, "missing_grace": 60.0}
    assert poll(watch, at=0, **lost) == []
    assert poll(watch, at=50, found={"a": found(revision("a"))}, missing_grace=60.0) == []
    assert poll(watch, at=70, **lost) == []
    assert poll(watch, at=129, **lost) == []
    assert [event.kind for event in poll(watch, at=130, **lost)] == ["deleted"]


def test_an_empty_list_alone_is_never_a_deletion() -> None:
    watch = watching(revision("a"))
    assert [poll(watch, at=at, missing_grace=0) for at in (1, 1e6)] == [[], []]
    assert poll(watch, revision("a"), at=2e6) == []


def test_missing_revisions_are_looked_for_in_turn() -> None:
    watch = watching(*(revision(key) for key in "abc"))
    looked_for: list[str] = []
    for at in range(1, 7):
        looked_for += watch.missing(read(watch))[:1]
        poll(watch, at=at, found={looked_for[-1]: found(revision(looked_for[-1]))})
    assert looked_for == ["a", "b", "c", "a", "b", "c"]


@pytest.mark.parametrize("failing", ["/revisions?deleted=true", "/revisions/a"])
async def test_a_confirmation_that_always_fails_delays_no_other_deletion(failing: str) -> None:
    lists = iter([body_of(revision("a"), revision("b"))])

    def response(request: SentRequest) -> Response:
        if str(request.url).endswith(failing):
            return Response(400, body=b'{"code": 400, "message": "no"}')
        if request.path.endswith("/b"):
            return Response(404, body=b'{"code": 404, "message": "no"}')
        if request.path.endswith("/a"):
            return Response(200, body=_codec.encode(revision("a")))
        return Response(200, body=body_of() if request.url.query else next(lists, body_of()))

    poll_often = PollPolicy(interval=1, missing_grace=0)
    transport = FakeTransport([response] * 100)
    runai = RunaiClient("https://acme.run.ai", "token", transport=transport, clock=FakeClock(auto=True))
    async with runai, runai.watch_revisions(WORKLOAD_ID, poll=poll_often) as watch:
        batches = [await watch.next_batch() for _ in range(20)]
        events = [event for batch in batches if batch is not None for event in batch.events]
    assert brief(events) == [
        ("added", "a", "Running"),
        ("added", "b", "Running"),
        ("deleted", "b", "Running"),
    ]


def test_a_checkpoint_keeps_the_workload_s_id_once_however_the_server_writes_it() -> None:
    watch = watching(revision("a"), revision("b", workloadId=WORKLOAD_ID.upper()))
    ids = {mark.id: mark.workload_id for mark in watch.checkpoint().revisions}
    assert ids == {"a": WORKLOAD_ID, "b": WORKLOAD_ID}
    assert ids["a"] is ids["b"] is WORKLOAD_ID  # one text for all of a workload's revisions


def test_the_workload_is_the_one_that_was_asked_for_whatever_responses_call_it() -> None:
    other = "00000000-0000-4000-8000-000000000000"
    watch = watching()
    (added,) = poll(watch, revision("a", workloadId=other))
    (changed,) = poll(watch, revision("a", workloadId=other, phase="Failed"))
    repeat(watch)
    (deleted,) = poll(watch, found={"a": Lookup()})
    assert {event.workload_id for event in (added, changed, deleted)} == {WORKLOAD_ID}


def test_the_end_of_a_workload_is_the_deletion_of_each_live_revision() -> None:
    watch = watching(revision("a", phase="Failed"), revision("b"), revision("c"))
    poll(watch, revision("a", phase="Failed"), revision("b"), revision("c", deletedAt=minute(1)))
    watch.delete_all(NOW)
    assert brief(take_all(watch)) == [("deleted", "a", "Failed"), ("deleted", "b", "Running")]


def test_a_deleted_revision_is_forgotten_once_three_readable_responses_lack_it() -> None:
    watch = watching(revision("a"), revision("b"))

    def known() -> list[str]:
        return [mark.id for mark in watch.checkpoint().revisions]

    deleted = revision("a", deletedAt=minute(1))
    assert brief(poll(watch, deleted, revision("b"))) == [("deleted", "a", "Running")]
    assert poll(watch, deleted, revision("b", runningPods=1)) == []
    assert poll(watch, deleted | {"runningPods": 0}, revision("b")) == []
    assert known() == ["a", "b"]
    poll(watch, NAMELESS, revision("b"))
    repeat(watch, revision("b"))
    assert known() == ["a", "b"]
    poll(watch, revision("b"))
    assert known() == ["b"]


def test_a_deletion_repeated_after_a_crash_has_the_same_id() -> None:
    watch = watching(revision("a", phaseUpdatedAt=minute(1)))
    poll(watch, revision("a"))  # a response without the time
    again = resumed(watch)
    for one in (watch, again):
        repeat(one)
    first, second = (poll(one, found={"a": Lookup()})[0] for one in (watch, again))
    assert isinstance(first, RevisionDeleted)
    assert second.id == first.id


@pytest.mark.parametrize("since", [minute(1), None])
def test_a_revision_that_returns_is_added_and_deleted_again_with_new_ids(since: str | None) -> None:
    live = revision("a", phaseUpdatedAt=since)
    deleted = live | {"deletedAt": minute(2)}
    watch = tracker()
    responses = (live, deleted, *(live,) * 3, deleted)
    events = [event for response in responses for event in poll(watch, response)]
    assert [event.kind for event in events] == ["added", "deleted", "added", "deleted"]
    assert len({event.id for event in events}) == 4


def test_a_change_has_the_same_id_for_a_watch_that_began_later() -> None:
    states = [("Pending", 1), ("Creating", 2), ("Running", 3)]
    responses = [revision("a", phase=phase, phaseUpdatedAt=minute(at)) for phase, at in states]
    early, late = watching(responses[0]), watching(responses[1])
    poll(early, responses[1])
    assert [event.id for event in poll(early, responses[2])] == [
        event.id for event in poll(late, responses[2])
    ]


def test_a_repeated_time_never_repeats_an_event_id() -> None:
    states = [("Pending", 1), ("Running", 5), ("Pending", 3), ("Running", 5), ("Pending", 1), ("Running", 5)]
    watch = tracker()
    events = [poll(watch, revision("a", phase=phase, phaseUpdatedAt=minute(at)))[0] for phase, at in states]
    assert len({event.id for event in events}) == len(events)


# --- what was missed --------------------------------------------------------------------------------------

MARK = watching(revision("a", phase="Pending", phaseUpdatedAt=minute(1))).checkpoint().revisions[0]


def came(*states: tuple[int, str]) -> list[HistoryRecord]:
    return [
        HistoryRecord(
            HistoryMeta(datetime.fromisoformat(minute(at)), "PhaseUpdate"),
            HistorySpec(phase_update=PhaseUpdate(Phase(phase), f"at {at}")),
        )
        for at, phase in states
    ]


def in_phase(phase: str, at: int | None) -> Revision:
    return _codec.decode_revision(
        _codec.encode(revision("a", phase=phase, phaseUpdatedAt=None if at is None else minute(at)))
    )


@pytest.mark.parametrize(
    ("present", "history", "missed"),
    [
        (("Running", 5), [(1, "Pending"), (3, "Creating"), (5, "Running")], [(3, "Creating")]),
        (("Running", 5), [(5, "Running"), (3, "Creating"), (1, "Pending")], [(3, "Creating")]),
        (("Pending", 5), [(3, "Running"), (5, "Pending")], [(3, "Running")]),
        (
            ("Running", 5),
            [(2, "Pending"), (3, "Creating"), (4, "Creating"), (5, "Running")],
            [(3, "Creating")],
        ),
        (("Running", 5), [(3, "Creating"), (5, "Running"), (6, "Failed")], [(3, "Creating")]),
        (("Running", 5), [(1, "Pending"), (5, "Running")], []),
        (("Running", 5), [(1, "Creating"), (1, "Pending"), (5, "Running")], []),
        (("Running", 5), [(1, "Degraded"), (5, "Running")], None),  # it was in another phase before
        (("Running", 5), [(1, "Pending"), (5, "Failed")], None),  # it is in another phase now
        (("Running", 5), [(1, "Pending")], None),
        (("Running", 5), [], None),
        (("Running", 1), [(1, "Running")], None),  # the server's clock did not move
        (("Running", None), [(5, "Running")], None),
    ],
)
def test_the_history_gives_the_phases_in_between_or_does_not_fit(
    present: tuple[str, int | None], history: list[tuple[int, str]], missed: list[tuple[int, str]] | None
) -> None:
    states = missed_phases(MARK, in_phase(*present), came(*history))
    expected = (
        None if missed is None else [(in_phase(p, at).phase_updated_at, p, f"at {at}") for at, p in missed]
    )
    assert expected == (
        None if states is None else [(s.phase_updated_at, s.phase, s.phase_message) for s in states]
    )


def test_the_phases_in_between_are_reported_in_order_with_server_times() -> None:
    watch = watching(revision("a", phase="Pending", phaseUpdatedAt=minute(1)), revision("b"))
    responses = [revision("a", phaseUpdatedAt=minute(5)), revision("b", runningPods=1)]
    assert watch.gaps(read(watch, *responses)) == [(MARK, in_phase("Running", 5))]
    between = {"a": [in_phase("Creating", 2), in_phase("Unknown", 3)]}
    events = poll(watch, *responses, between=between)
    assert [(e.previous_phase, e.revision.phase, e.server_time.minute) for e in events] == [
        ("Pending", "Creating", 2),
        ("Creating", "Unknown", 3),
        ("Unknown", "Running", 5),
    ]


# --- how much work it does --------------------------------------------------------------------------------


def test_an_unchanged_body_is_read_again_only_while_a_revision_is_missing_or_remembered() -> None:
    watch = watching(revision("a"), revision("b"))
    assert watch.read(body_of(revision("a"), revision("b"))) is None
    for _ in range(2):
        assert poll(watch, revision("a")) == []  # where is b?
    poll(watch, revision("a"), found={"b": Lookup()})
    repeat(watch, revision("a"))
    assert watch.read(body_of(revision("a"))) is None


def test_reading_alone_changes_nothing() -> None:
    watch = watching(revision("a"))
    first, second = (read(watch, revision("b"), BROKEN) for _ in range(2))
    assert (first.spans, str(first.problems)) == (second.spans, str(second.problems))
    assert (watch.undecodable, watch.missing(read(watch)), watch.pending) == (0, ["a"], 0)


def test_only_revisions_whose_bytes_changed_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = watching(*(revision(key, runningPods=1) for key in "abcd"))
    decoded: list[str] = []
    decode = _codec.decode_revision

    def counting(raw: bytes) -> Revision:
        decoded.append(decode(raw).id)
        return decode(raw)

    monkeypatch.setattr(_codec, "decode_revision", counting)
    a, b, c = (revision(key, runningPods=1) for key in "abc")
    poll(watch, c, a, b | {"runningPods": 2}, revision("e"))  # another order, and d is missing
    assert decoded == ["b", "e"]
    poll(watch, a, b | {"runningPods": 2}, c)
    assert decoded == ["b", "e"]
    repeat(watch, c, b | {"runningPods": 2})
    (event,) = poll(watch, c, b | {"runningPods": 2}, found={"a": Lookup()})
    assert (decoded, event.revision.id, event.revision.running_pods) == (["b", "e", "a"], "a", 1)


def test_a_revision_in_transition_is_polled_fast_for_a_time_after_its_last_change() -> None:
    watch = watching(revision("a"), revision("b", phase="Failed"), emit_updates=True)
    assert watch.fast_until(600) == float("-inf")
    poll(watch, revision("a", phase="Pending"), revision("b", phase="Failed"), at=5)
    poll(watch, revision("a", phase="Pending", runningPods=1), revision("b", phase="Degraded"), at=9)
    assert watch.fast_until(600) == 605
    poll(watch, revision("a", phase="Suspending"), revision("b"), at=20)
    assert watch.fast_until(600) == 620
    poll(watch, revision("a", phase="Suspending"), revision("b", phase="Pending"), at=30)
    assert watch.fast_until(600) == 630
    again = resumed(watch)
    poll(again, revision("a", phase="Suspending"), at=3)  # another machine's time
    assert again.fast_until(600) == 603
    poll(again, revision("a", phase="Suspending", deletedAt=minute(1)), at=4)
    assert again.fast_until(600) == float("-inf")


# --- what unchanged responses leave -------------------------------------------------------------------------


def idle(*responses: RawRevision, **options: Any) -> Tracker:
    """Return a tracker after a response that changed nothing, and so is kept packed."""
    made = watching(*responses, **options)
    assert made.read(body_of(*responses)) is None
    return made


def test_after_polls_without_a_change_all_fields_of_the_live_revisions_are_there() -> None:
    watch = idle(revision("a", runningPods=3), revision("b"))
    live = watch.live()
    assert [item.running_pods for item in live.decoded()] == [None, 3]
    assert poll(watch, revision("a", runningPods=4), revision("b")) == []
    assert [item.running_pods for item in watch.live().decoded()] == [None, 4]
    assert [item.running_pods for item in live.decoded()] == [None, 3]


def test_after_polls_without_a_change_an_update_says_what_has_changed() -> None:
    watch = idle(revision("a", runningPods=1), revision("b", runningPods=5), emit_updates=True)
    events = poll(watch, revision("a", runningPods=2), revision("b", runningPods=6))
    assert [[(c.old, c.new) for c in event.changes] for event in events] == [[(1, 2)], [(5, 6)]]


def test_after_polls_without_a_change_a_deleted_revision_has_its_last_state() -> None:
    watch = idle(revision("a", runningPods=3), revision("b"))
    repeat(watch, revision("b"))
    (event,) = poll(watch, revision("b"), found={"a": Lookup()})
    assert (type(event), event.revision.running_pods) == (RevisionDeleted, 3)


def test_after_polls_without_a_change_the_end_of_a_workload_has_all_last_states() -> None:
    watch = idle(revision("a", runningPods=3), revision("b", runningPods=4))
    watch.delete_all(NOW)
    assert [event.revision.running_pods for event in take_all(watch)] == [3, 4]


def test_a_change_that_keeps_the_length_of_the_response_is_seen() -> None:
    watch = idle(revision("a", runningPods=1), emit_updates=True)
    assert len(body_of(revision("a", runningPods=1))) == len(body_of(revision("a", runningPods=2)))
    (event,) = poll(watch, revision("a", runningPods=2))
    assert [(c.old, c.new) for c in event.changes] == [(1, 2)]
