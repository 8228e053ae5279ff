"""Whether clusters are connected, decided without I/O: from any sequence of responses, and for any watch."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runai_async import Cluster, ClusterConnected, ClusterDisconnected, ClusterEvent, ClusterState
from runai_async._watch.clusters import UNKNOWN, ClusterReports, Link, Turn, due_first, judged

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RECENT, OLD = NOW - timedelta(minutes=5), NOW - timedelta(minutes=5, seconds=1)
SOUND = ("Connected", "ServiceIssues", "MissingPrerequisites")
UNCLEAR = ("Unknown", "WaitingToConnect", "Upgrading")


def cluster(state: str, seen: datetime | None = None, name: str = "eu-1") -> Cluster:
    return Cluster("c", name, ClusterState(state), seen)


def link_after(*responses: Cluster) -> Link:
    link = UNKNOWN
    for response in responses:
        link = judged(link, response, NOW)
    return link


LOST = cluster("Disconnected", RECENT)


@pytest.mark.parametrize("state", SOUND)
def test_a_cluster_with_issues_is_connected(state: str) -> None:
    assert link_after(cluster(state)) == Link(is_connected=True, name="eu-1")


@pytest.mark.parametrize("state", UNCLEAR)
@pytest.mark.parametrize("before", [[], [LOST], [LOST, LOST], [cluster("Connected")]])
def test_a_state_that_says_nothing_changes_nothing(state: str, before: list[Cluster]) -> None:
    assert link_after(*before, cluster(state)) == link_after(*before)


@pytest.mark.parametrize("before", [[], [cluster("Connected")]], ids=["first seen", "connected"])
def test_a_cluster_is_disconnected_when_two_responses_in_a_row_say_so(before: list[Cluster]) -> None:
    assert link_after(*before, LOST).is_connected == link_after(*before).is_connected
    assert link_after(*before, LOST, LOST) == Link(is_connected=False, name="eu-1", last_seen_at=RECENT)
    assert link_after(*before, LOST, cluster("Unknown"), LOST).is_connected is False
    assert link_after(*before, LOST, cluster("Connected"), LOST).is_connected is True


@pytest.mark.parametrize("before", [[], [cluster("Connected")]], ids=["first seen", "connected"])
def test_one_response_is_enough_for_a_cluster_that_was_silent_for_long(before: list[Cluster]) -> None:
    assert link_after(*before, cluster("Disconnected", OLD)).is_connected is False
    assert link_after(*before, cluster("Disconnected", RECENT)).is_connected is not False
    assert link_after(*before, cluster("Disconnected", None)).is_connected is not False


def test_when_a_lost_cluster_was_last_seen_does_not_change() -> None:
    assert link_after(LOST, LOST, cluster("Disconnected", OLD)).last_seen_at == RECENT


# --- properties: for any responses, compared with the rule read from its end --------------------------------

RESPONSES = st.lists(
    st.builds(
        cluster, st.sampled_from([*SOUND, *UNCLEAR, "Disconnected"]), st.sampled_from([None, RECENT, OLD])
    ),
    max_size=12,
)


def is_connected(responses: Sequence[Cluster]) -> bool | None:
    """Say the rule in another way: what follows the last response that was sound decides."""
    sound = [number for number, item in enumerate(responses) if item.state in SOUND]
    after = responses[sound[-1] + 1 if sound else 0 :]
    lost = [item for item in after if item.state == "Disconnected"]
    if len(lost) > 1 or any(item.last_seen_at == OLD for item in lost):
        return False
    return True if sound else None


@given(RESPONSES)
def test_the_responses_since_the_last_sound_one_decide(responses: list[Cluster]) -> None:
    assert link_after(*responses).is_connected is is_connected(responses)


@given(RESPONSES)
def test_losses_and_returns_alternate_and_begin_with_a_loss(responses: list[Cluster]) -> None:
    reports, link = ClusterReports(), UNKNOWN
    events: list[ClusterEvent] = []
    for response in responses:
        link = judged(link, response, NOW)
        events += reports.changes({"c": link}, NOW)
    lost = [isinstance(event, ClusterDisconnected) for event in events]
    assert lost == [number % 2 == 0 for number in range(len(events))]
    assert (reports.disconnected == {"c"}) == (link.is_connected is False)
    assert reports.changes({"c": link}, NOW) == []


# --- who was informed of it ---------------------------------------------------------------------------------


def test_each_watch_reports_a_loss_once_also_one_that_begins_later() -> None:
    link = link_after(LOST, LOST)
    first, second = ClusterReports(), ClusterReports()
    expected = ClusterDisconnected(cluster_id="c", name="eu-1", last_seen_at=RECENT, observed_at=NOW)
    assert first.changes({"c": link}, NOW) == [expected]
    assert first.changes({"c": link}, NOW) == []
    assert second.changes({"c": link}, NOW) == [expected]


def test_a_return_is_reported_with_the_time_of_its_loss() -> None:
    reports = ClusterReports()
    (lost,) = reports.changes({"c": link_after(LOST, LOST)}, NOW)
    (back,) = reports.changes({"c": link_after(cluster("Connected", NOW))}, NOW)
    assert isinstance(back, ClusterConnected)
    assert back.last_seen_at == lost.last_seen_at == RECENT
    assert reports.changes({"c": link_after(cluster("Connected"))}, NOW) == []


def test_a_lost_cluster_whose_revisions_were_gone_for_a_while_is_not_reported_again() -> None:
    reports, lost = ClusterReports(), link_after(cluster("Disconnected"), cluster("Disconnected"))
    assert len(reports.changes({"c": lost}, NOW)) == 1
    assert reports.changes({}, NOW) == []
    assert reports.disconnected == frozenset()
    assert reports.changes({"c": lost}, NOW) == []
    assert reports.disconnected == {"c"}
    (back,) = reports.changes({"c": link_after(cluster("Connected"))}, NOW)
    assert isinstance(back, ClusterConnected)


def test_events_are_in_the_order_of_the_clusters_ids() -> None:
    links = {key: link_after(LOST, LOST) for key in "bca"}
    assert [event.cluster_id for event in ClusterReports().changes(links, NOW)] == ["a", "b", "c"]


# --- when a cluster is asked for ----------------------------------------------------------------------------


def test_a_cluster_is_asked_for_once_a_minute_whatever_comes_of_it() -> None:
    assert Turn().begun(100).due == 160
    assert Turn().begun(100).succeeded().due == 160


def test_a_refusal_turns_to_the_other_form_and_the_second_to_a_pause() -> None:
    turn = Turn().begun(0).refused(1, by_api=True)
    assert (turn.minimal, turn.due) == (True, 60)
    assert turn.begun(60).refused(61, by_api=True) == Turn(due=3661)


def test_the_form_that_works_is_kept() -> None:
    turn = Turn().refused(0, by_api=True).succeeded()
    assert turn.begun(60).succeeded().minimal is True


def test_what_a_gateway_does_not_know_is_missing_only_if_nothing_ever_worked() -> None:
    assert Turn().refused(0, by_api=True).refused(60, by_api=False) == Turn(due=3660)
    works = Turn().succeeded()
    assert works.refused(0, by_api=False) == works


def test_a_refusal_where_a_form_worked_is_doubted_for_a_quarter_of_an_hour() -> None:
    turn, times = Turn().succeeded(), []
    for number in range(15):
        times.append(turn.due)
        turn = turn.begun(60.0 * number).refused(60.0 * number, by_api=True)
    assert times[1:] == [60.0 * number for number in range(1, 15)]
    assert turn == Turn(due=14 * 60 + 3600)


def test_a_success_ends_the_doubt() -> None:
    turn = Turn().succeeded()
    for _ in range(40):
        turn = turn.refused(0, by_api=True).succeeded()
    assert turn.refusals == 0


OUTCOMES = st.sampled_from(
    ["success", "refused by the api", "refused by a gateway", "asked to wait", "failed"]
)


@given(st.lists(st.tuples(OUTCOMES, st.integers(0, 400)), max_size=40))
def test_requests_for_a_cluster_are_a_minute_apart_whatever_comes_of_them(
    rounds: list[tuple[str, int]],
) -> None:
    turn, now, asked = Turn(), 0.0, list[float]()
    for outcome, seconds in rounds:
        now += seconds
        if turn.due > now:
            continue
        asked.append(now)
        turn = turn.begun(now)
        match outcome:
            case "success":
                turn = turn.succeeded()
            case "asked to wait":
                turn = turn.postponed(now, seconds)
            case "failed":
                pass
            case _:
                turn = turn.refused(now, by_api=outcome == "refused by the api")
        assert now + 60 <= turn.due <= now + 3600
    assert all(later - earlier >= 60 for earlier, later in pairwise(asked))


def test_a_server_that_asks_to_wait_is_left_alone_for_five_minutes_at_most() -> None:
    turn = Turn().begun(0)
    assert [turn.postponed(0, seconds).due for seconds in (0, 60, 200, 900)] == [60, 60, 200, 300]


def test_those_that_wait_longest_are_asked_for_first() -> None:
    turns = {"a": Turn(due=30), "b": Turn(due=20), "c": Turn(due=31)}
    assert due_first(turns, ["a", "b", "c", "d"], 30) == ["d", "b", "a"]
