"""Fleets that fill in the phases between two polls, and what that costs."""

from itertools import pairwise

import pytest
from support.fleets import POLICY, of_size
from support.harness import HTML_404, Harness

from runai_async import FleetEvent, PhaseChanged

PHASES = ("Initializing", "Pending", "Running")
ALL = ["Creating -> Initializing", "Initializing -> Pending", "Pending -> Running"]


def skip_phases(harness: Harness, revision_ids: list[str]) -> None:
    """Take revisions through phases between two polls."""
    for phase in PHASES:
        harness.clock.shift_now(1)
        for revision_id in revision_ids:
            harness.set_phase(revision_id, phase)


def changes(events: list[FleetEvent], revision_id: str) -> list[str]:
    """Return the changes of a revision's phase."""
    return [
        f"{event.previous_phase} -> {event.revision.phase}"
        for event in events
        if isinstance(event, PhaseChanged) and event.revision_id == revision_id
    ]


async def test_a_fleet_reports_the_phases_between_two_polls_if_asked_to() -> None:
    harness, ids, revisions = of_size(3, "Creating")
    async with (
        harness.client() as runai,
        runai.watch_fleet(ids, poll=POLICY, fill_gaps=True) as fleet,
        runai.watch_fleet(ids, poll=POLICY) as plain,
    ):
        await harness.collect(fleet, 20)
        await harness.collect(plain, 0)
        skip_phases(harness, [*revisions.values()])
        events, others = await harness.collect(fleet, 10), await harness.collect(plain, 0)

    for revision_id in revisions.values():
        assert changes(events, revision_id) == ALL
        assert changes(others, revision_id) == ["Creating -> Running"]
    assert len(harness.times("history")) == 3


async def test_one_poll_reads_three_histories_at_most(caplog: pytest.LogCaptureFixture) -> None:
    harness = Harness()
    revision_ids = [harness.add("Creating") for _ in range(8)]
    async with (
        harness.client() as runai,
        runai.watch_fleet([harness.workload_id], poll=POLICY, fill_gaps=True) as fleet,
    ):
        await harness.collect(fleet, 20)
        for _ in range(2):
            skip_phases(harness, revision_ids)
            events = await harness.collect(fleet, 10)
            filled = [changes(events, revision_id) for revision_id in revision_ids]
            assert sorted(map(len, filled)) == [1] * 5 + [3] * 3
    assert len(harness.times("history")) == 6
    (record,) = caplog.records
    assert record.getMessage().endswith("too many phases have changed at once to read the history of each")


async def test_histories_wait_for_the_rate_limit_like_any_request() -> None:
    harness, ids, revisions = of_size(20, "Creating")
    async with (
        harness.client() as runai,
        runai.watch_fleet(ids, poll=POLICY, rate_limit=5, fill_gaps=True) as fleet,
    ):
        await harness.collect(fleet, 20)
        skip_phases(harness, [*revisions.values()])
        events = await harness.collect(fleet, 60)

    assert all(changes(events, revision_id)[-1].endswith("Running") for revision_id in revisions.values())
    assert harness.times("history")
    assert all(
        later - earlier >= 0.2 - 1e-6 for earlier, later in pairwise(at for at, *_ in harness.requests)
    )


async def test_a_fleet_says_once_why_gaps_stay_open(caplog: pytest.LogCaptureFixture) -> None:
    harness, ids, revisions = of_size(3, "Creating")
    harness.others = HTML_404
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY, fill_gaps=True) as fleet:
        await harness.collect(fleet, 20)
        skip_phases(harness, [*revisions.values()])
        events = await harness.collect(fleet, 10)
        assert fleet.status.failing == 0
    assert [changes(events, key) for key in revisions.values()] == [["Creating -> Running"]] * 3
    (record,) = caplog.records
    assert "phases between two polls cannot be filled in" in record.getMessage()
