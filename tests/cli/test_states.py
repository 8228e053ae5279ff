"""What is true now of each workload that is watched."""

from typing import Any

import pytest
from attrs import evolve
from support.fleets import UNKNOWN_ID
from support.harness import REFUSED_404, Harness
from support.samples import NOW, WORKLOAD, revision
from support.watched import Given, failed, succeeded

from runai_async import (
    FleetCheckpoint,
    Phase,
    PollPolicy,
    TransportError,
    WatchDegraded,
    WatchRecovered,
    WorkloadFailed,
)
from runai_async.cli.states import States
from runai_async.cli.watched import watched
from runai_async.hooks import PollStarted
from runai_async.models import Revision

LOST = TransportError("GET https://acme.run.ai/api/v1/x/y: no route to host")


def states_of(given: Given, names: dict[str, str] | None = None) -> States:
    """Return the states of workloads that were all polled."""
    states = States({} if names is None else names, lambda: NOW)
    states.watched = given
    for key in given.ids:
        states.note_poll(succeeded(key))
    states.refresh()
    return states


def names_in(states: States, text: str = "") -> list[str]:
    return [item.name for item in states.ordered(text)]


def rolled_out(phase: str = "Pending", **fields: Any) -> list[Revision]:
    """Return a revision that serves, and a newer one."""
    return [revision(1), revision(2, phase, **fields)]


def test_what_serves_is_told_from_what_is_newest() -> None:
    (state,) = states_of(Given({WORKLOAD: rolled_out()}), {WORKLOAD: "llm"}).ordered()
    assert (state.name, state.label) == ("llm", "Pending")
    assert [state.short(item) for item in (state.newest, state.serving)] == ["00002", "00001"]


def test_a_workload_whose_name_is_not_known_is_called_as_its_revisions_are() -> None:
    states = states_of(Given({WORKLOAD: [revision(7)], UNKNOWN_ID: []}))
    assert names_in(states) == [UNKNOWN_ID, "llm"]
    assert names_in(states, WORKLOAD[:8]) == ["llm"]
    given = Given({WORKLOAD: [revision(7, name="odd")]})
    assert names_in(states_of(given)) == [WORKLOAD]


def test_a_name_that_becomes_known_is_taken() -> None:
    names: dict[str, str] = {}
    states = states_of(Given({WORKLOAD: []}), names)
    names[WORKLOAD] = "llm"
    states.refresh()
    assert names_in(states) == ["llm"]


def test_failed_and_stalled_workloads_come_first_then_names_decide() -> None:
    given = Given({key: [revision()] for key in "edcba"})
    given.show("d", revision(1, "Failed"))
    given.show("e", revision(1, "Degraded"))
    stuck = revision(1, "Pending")
    given.show("c", stuck, stalled=[stuck.id])
    states = states_of(given, {key: key for key in "abcde"})
    assert names_in(states) == ["c", "d", "e", "a", "b"]
    assert [item.is_stalled for item in states.ordered()] == [True, False, False, False, False]


def test_a_workload_whose_polls_fail_for_long_comes_first_and_others_stay_in_place() -> None:
    states = states_of(Given({"a": [revision()], "b": [revision()]}), {"a": "a", "b": "b"})
    states.note_poll(failed("b"))
    assert names_in(states) == ["a", "b"]  # a single failed poll
    states.note(WatchDegraded(workload_id="b", observed_at=NOW, error=LOST))
    assert names_in(states) == ["b", "a"]
    assert states.ordered()[0].message(NOW) == "outage for 0s: no route to host"
    states.note(WatchRecovered(workload_id="b", observed_at=NOW, seconds=7))
    assert names_in(states) == ["a", "b"]


def test_a_failed_poll_is_shown_until_one_succeeds() -> None:
    states = states_of(Given({WORKLOAD: [revision(phase_message="ready")]}))
    states.note_poll(PollStarted(WORKLOAD))
    states.note_poll(failed(WORKLOAD, "ServerError"))
    states.note_poll(failed(WORKLOAD, "NotFoundError"))
    states.note_poll(failed(WORKLOAD, "CancelledError"))
    (state,) = states.ordered()
    assert "the control plane fails, retrying" in state.message(NOW)
    states.note_poll(succeeded(WORKLOAD))
    assert state.message(NOW) == "ready"


def test_totals_count_phases_and_how_many_are_known() -> None:
    given = Given({str(index): [revision()] for index in range(3)} | {"x": rolled_out()}, expected=5)
    states = States({}, lambda: NOW)
    states.watched = given
    states.refresh()
    assert states.totals() == "0 of 5 workloads"
    for key in given.ids - {"0"}:
        states.note_poll(succeeded(key))
    states.refresh()
    assert states.totals() == "3 of 5 workloads: 2 Running, 1 Pending"
    states.note_poll(failed("0"))
    assert states.totals() == "4 of 5 workloads: 2 Running, 1 Pending, polls of 1 fail"


def test_totals_say_nothing_of_how_many_are_known_once_all_are() -> None:
    assert states_of(Given({WORKLOAD: [revision()]})).totals() == "1 workload: 1 Running"


@pytest.mark.parametrize(("text", "found"), [("-b", ["llm-b"]), ("PEND", ["llm-b"]), ("unn", []), ("", None)])
def test_workloads_are_found_by_a_part_of_the_name_and_the_beginning_of_the_phase(
    text: str, found: list[str] | None
) -> None:
    names = {"1": "llm-a", "2": "llm-b"}
    states = states_of(Given({"1": [revision()], "2": rolled_out()}), names)
    assert names_in(states, text) == (["llm-a", "llm-b"] if found is None else found)


def test_only_an_empty_list_is_called_one() -> None:
    given = Given({WORKLOAD: []})
    states = States({}, lambda: NOW)
    states.watched = given
    states.refresh()
    assert states.ordered()[0].label == "not known yet"
    states.note_poll(succeeded(WORKLOAD, undecodable=1))
    states.refresh()
    assert states.ordered()[0].label == "undecodable"
    states.note_poll(succeeded(WORKLOAD))
    states.refresh()
    assert states.ordered()[0].label == "no revisions"


def test_a_workload_that_has_left_is_forgotten_but_not_one_that_has_failed() -> None:
    given = Given({"a": [revision()], "b": [revision()], "c": [revision()]})
    states = states_of(given, {key: key for key in "abc"})
    states.note_poll(failed("c"))
    states.note(WorkloadFailed(workload_id="b", observed_at=NOW, error=LOST))
    for key in "abc":
        given.remove(key)
    states.refresh()
    assert [(item.name, item.message(NOW)) for item in states.ordered()] == [
        ("b", "failed for 0s: no route to host")
    ]
    assert len(states) == 1


def test_very_many_changes_are_read_in_parts() -> None:
    given = Given({f"{index:03d}": [revision()] for index in range(150)})
    states = states_of(given)
    assert states.totals() == "100 of 150 workloads: 100 Running"
    states.refresh()
    assert states.totals() == "150 workloads: 150 Running"


def test_what_has_not_changed_is_not_decoded_again() -> None:
    given = Given({WORKLOAD: [revision()]})
    states = states_of(given)
    before = states.ordered()[0].newest
    given._lives[WORKLOAD] = given._lives[WORKLOAD]._replace(
        revisions=(evolve(revision(), phase=Phase.FAILED),)
    )
    states.note_poll(succeeded(WORKLOAD))
    states.refresh()
    assert states.ordered()[0].newest is before


@pytest.mark.parametrize("many", [False, True], ids=["watch", "fleet"])
@pytest.mark.parametrize("resumes", [False, True], ids=["new only", "resumed"])
async def test_the_state_is_shown_that_no_event_reports(*, many: bool, resumes: bool) -> None:
    harness, states = Harness(), States({}, lambda: NOW)
    key = harness.workload_id
    harness.add("Running", running_pods=2)
    async with harness.client(hooks=[states.note_poll]) as runai:
        saved = None
        if resumes:
            async with runai.watch_revisions(key) as earlier:
                await harness.collect(earlier, 1)
                saved = earlier.checkpoint()
        options: dict[str, Any] = {"poll": PollPolicy(interval=10), "include_existing": resumes}
        if many:
            fleet = None if saved is None else FleetCheckpoint({key: saved})
            states.watched = watched(runai.watch_fleet([key], **options, resume_from=fleet))
            stream = states.watched._fleet  # type: ignore[attr-defined]
        else:
            stream = runai.watch_revisions(key, **options, resume_from=saved)
            states.watched = watched(stream)
        async with stream:
            assert await harness.collect(stream, 1) == []
            states.refresh()
        assert states.watched.read(UNKNOWN_ID) is None
    (state,) = states.ordered()
    assert state.newest is not None
    assert (state.newest.phase, state.serving, states.totals()) == (
        "Running",
        state.newest,
        "1 workload: 1 Running",
    )


async def test_a_workload_that_is_listed_without_revisions_has_no_problem() -> None:
    harness, states = Harness(), States({}, lambda: NOW)
    key = harness.workload_id
    harness.by_id[key] = REFUSED_404
    async with (
        harness.client(hooks=[states.note_poll]) as runai,
        runai.watch_fleet(runai.inference_workloads, interval=10) as fleet,
    ):
        states.watched = watched(fleet)
        await harness.collect(fleet, 90)
        states.refresh()
        assert fleet.status.without_revisions == 1
    (state,) = states.ordered()
    assert (state.label, state.problem, states.totals()) == (
        "no revisions",
        None,
        "1 workload: 1 no revisions",
    )
