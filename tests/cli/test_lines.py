"""How times, pods, ids, phases and events are written."""

from datetime import timedelta

import pytest
from support.clocks import far_east
from support.samples import NOW, WORKLOAD, revision

from runai_async import (
    ClusterConnected,
    ClusterDisconnected,
    FieldChange,
    Phase,
    PhaseChanged,
    RevisionAdded,
    RevisionDeleted,
    RevisionStalled,
    RevisionUpdated,
    ServiceUnavailableError,
    Synced,
    TransportError,
    WatchDegraded,
    WatchRecovered,
    WorkloadFailed,
)
from runai_async._api.server_time import ServerTime
from runai_async.cli.text import clean, duration, limit
from runai_async.cli.times import Times
from runai_async.cli.views.lines import cluster_line, event_line
from runai_async.events import FleetEvent
from runai_async.testing import FakeClock


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0s"),
        (0, "0s"),
        (9.99, "9s"),
        (59, "59s"),
        (60, "1m00s"),
        (125, "2m05s"),
        (599, "9m59s"),
        (600, "10m"),
        (3599, "59m"),
        (3600, "1h00m"),
        (11220, "3h07m"),
        (36000, "10h"),
        (86400, "1d00h"),
        (864000, "10d"),
    ],
)
def test_a_duration_is_short(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(("seconds", "text"), [(0.3, "300ms"), (5, "5s"), (600, "10m")])
def test_a_limit_is_written_as_it_was_given(seconds: float, text: str) -> None:
    assert limit(seconds) == text


TIMES = Times(clock=FakeClock(now=NOW))
EARLIER = NOW - timedelta(minutes=2)


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (
            RevisionAdded(revision=revision(phase_updated_at=EARLIER), observed_at=NOW, initial=True),
            "12:00:00.000Z  llm-00001  exists: Running for 2m00s  2/1-4 pods",
        ),
        (
            RevisionAdded(revision=revision(phase="Pending", created_at=EARLIER), observed_at=NOW),
            "11:58:00.000Z  llm-00001  created: Pending  0/1-4 pods",
        ),
        (
            PhaseChanged(
                revision=revision(phase="Failed", phase_message="no\n image"),
                observed_at=NOW,
                previous_phase=Phase.PENDING,
            ),
            "12:00:00.000Z  llm-00001  Pending -> Failed  0/1-4 pods  no image",
        ),
        (
            PhaseChanged(revision=revision(), observed_at=NOW, previous_phase=Phase.RUNNING, coalesced=True),
            "12:00:00.000Z  llm-00001  restarted: Running  2/1-4 pods",
        ),
        (
            RevisionUpdated(
                revision=revision(), observed_at=NOW, changes=(FieldChange("running_pods", 1, 2),)
            ),
            "12:00:00.000Z  llm-00001  running_pods 1 -> 2",
        ),
        (
            RevisionUpdated(revision=revision(), observed_at=NOW, changes=(FieldChange("images", 1, 2),) * 4),
            "12:00:00.000Z  llm-00001  4 fields changed",
        ),
        (
            RevisionStalled(
                revision=revision(phase="Pending", phase_message="no GPUs"),
                observed_at=NOW - timedelta(hours=2),  # by a clock that is behind
                since=NOW - timedelta(minutes=12),
                seconds=720.0,
                stalled_after=600.0,
            ),
            "12:00:00.000Z  llm-00001  stalled: Pending for 12m  0/1-4 pods  no GPUs",
        ),
        (
            RevisionDeleted(revision=revision(deleted_at=EARLIER), observed_at=NOW),
            "11:58:00.000Z  llm-00001  deleted, was Running",
        ),
        (Synced(workload_id=WORKLOAD, observed_at=NOW), "12:00:00.000Z  llm  synced"),
        (
            WatchDegraded(
                workload_id=WORKLOAD,
                observed_at=NOW,
                error=ServiceUnavailableError(503, "upgrade", details="soon", url="http://x"),
            ),
            "12:00:00.000Z  llm  outage began: 503 upgrade soon",
        ),
        (
            WatchRecovered(workload_id="unnamed", observed_at=NOW, seconds=2.04),
            "12:00:00.000Z  unnamed  outage ended after 2.0 s",
        ),
        (
            WorkloadFailed(workload_id=WORKLOAD, observed_at=NOW, error=TransportError("no\nroute")),
            "12:00:00.000Z  llm  failed: no route",
        ),
        (
            ClusterDisconnected(cluster_id="c", name="eu\n1", last_seen_at=EARLIER, observed_at=NOW),
            "12:00:00.000Z  cluster eu 1  lost its connection 2m ago: states may be out of date",
        ),
        (
            ClusterDisconnected(cluster_id="c", name="eu1", last_seen_at=None, observed_at=NOW),
            "12:00:00.000Z  cluster eu1  lost its connection: states may be out of date",
        ),
        (
            ClusterConnected(cluster_id="c", name="eu1", observed_at=NOW),
            "12:00:00.000Z  cluster eu1  connected again",
        ),
    ],
)
def test_an_event_is_a_line(event: FleetEvent, line: str) -> None:
    assert event_line(event, {WORKLOAD: "llm"}, TIMES).plain == line


def test_a_server_s_text_is_not_a_command_to_the_terminal() -> None:
    evil = revision(phase="Failed\x1b[2J", phase_message="\x1b]0;title\x07 \u202e\x9b2J done")
    event = RevisionAdded(revision=evil, observed_at=NOW)
    assert event_line(event, {}, TIMES).plain.endswith("created: Failed [2J  0/1-4 pods  ]0;title 2J done")
    assert {clean("a\tb\r\nc"), clean(None)} == {"a b c", ""}


YESTERDAY = NOW - timedelta(days=1)


def test_a_change_of_another_day_has_its_date() -> None:
    event = RevisionDeleted(revision=revision(deleted_at=YESTERDAY), observed_at=NOW)
    assert event_line(event, {}, TIMES).plain.startswith("2025-12-31 12:00:00.000Z  llm-00001  deleted")


def test_times_of_this_machine_s_zone_name_it_and_have_its_days() -> None:
    local = Times(local=True, clock=FakeClock(now=NOW))
    with far_east():
        assert local.written(NOW) == "01:00:00.000+13:00"
        assert local.written(NOW - timedelta(hours=2)) == "2026-01-01 23:00:00.000+13:00"


def test_times_and_ages_are_by_the_server_s_clock() -> None:
    times = Times(clock=FakeClock(now=NOW))
    times.server = ServerTime(FakeClock(now=NOW))
    times.server.note({"Date": "Thu, 01 Jan 2026 10:00:00 GMT"})
    item = revision(phase_updated_at=NOW - timedelta(hours=2, minutes=10))
    event = RevisionAdded(revision=item, observed_at=NOW, initial=True)
    assert (
        event_line(event, {}, times).plain == "10:00:00.500Z  llm-00001  exists: Running for 10m  2/1-4 pods"
    )
    lost = ClusterDisconnected(
        cluster_id="c", name="eu1", last_seen_at=NOW - timedelta(hours=2, minutes=5), observed_at=NOW
    )
    assert "lost its connection 5m ago" in event_line(lost, {}, times).plain
    assert "lost its connection 5m ago" in cluster_line(lost, times).plain
    assert "10:00:02.500Z" in event_line(event, {}, times, ahead=timedelta(hours=-2, seconds=2.5)).plain
