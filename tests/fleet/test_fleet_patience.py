"""What a fleet has patience for: processes that stood still, and control planes that ask it to wait."""

import logging
from collections import Counter

import pytest
from attrs import evolve
from support.fleets import POLICY, of_size
from support.harness import HTML_502, REFUSED_404, WRONG_SHAPE, Harness

from runai_async import PollPolicy, WatchOutageError, WorkloadFailed
from runai_async.testing import Response


def busy(seconds: int, status: int = 429) -> Response:
    body = b'{"code": %d, "message": "busy"}' % status
    return Response(status, {"Retry-After": str(seconds)}, body)


@pytest.mark.parametrize("size", [1, 50])
async def test_a_process_that_stood_still_longer_than_max_outage_does_not_end_the_fleet(size: int) -> None:
    harness, ids, _ = of_size(size)
    policy = evolve(POLICY, max_outage=60, deadline=5)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=policy) as fleet:
        await harness.collect(fleet, 20)
        harness.latency = 100_000  # every poll in flight fails when the process continues, an age later
        await harness.collect(fleet, 5)
        harness.latency = 0
        events = await harness.collect(fleet, 200)
        assert not fleet.status.stale

    assert [event for event in events if isinstance(event, WorkloadFailed)] == []


async def test_a_fleet_without_a_response_ends_after_max_outage() -> None:
    harness, ids, _ = of_size(20)
    harness.at(100, lambda: setattr(harness, "lists", HTML_502))
    policy = evolve(POLICY, max_outage=60)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=policy) as fleet:
        with pytest.raises(WatchOutageError, match="no response from the control plane for 6"):
            await harness.collect(fleet, 400)
    assert 160 <= harness.times()[-1] < 180


async def test_a_response_that_cannot_be_decoded_is_not_silence() -> None:
    harness, ids, _ = of_size(20)
    harness.at(100, lambda: setattr(harness, "lists", WRONG_SHAPE))
    policy = evolve(POLICY, max_outage=60)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=policy) as fleet:
        events = await harness.collect(fleet, 600)
    failed = [event for event in events if isinstance(event, WorkloadFailed)]
    assert {event.workload_id for event in failed} == set(ids)
    assert len(failed) == len(ids)


async def test_the_patience_for_one_workload_stands_still_while_nobody_gets_a_response() -> None:
    harness, ids, _ = of_size(20)
    harness.at(100, lambda: setattr(harness, "lists", HTML_502))
    harness.at(950, lambda: setattr(harness, "lists", True))
    harness.at(950, lambda: harness.by_id.update({ids[0]: HTML_502}))
    async with (
        harness.client() as runai,
        runai.watch_fleet(ids, poll=PollPolicy(interval=10, jitter=0, max_outage=900)) as fleet,
    ):
        events = await harness.collect(fleet, 1100)
    assert [event for event in events if isinstance(event, WorkloadFailed)] == []


async def test_a_workload_that_is_asked_to_wait_waits_and_the_others_go_on() -> None:
    harness, ids, _ = of_size(5)
    harness.by_id[ids[0]] = busy(200, status=503)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        await harness.collect(fleet, 400)
    polls = Counter(key for _, kind, key in harness.requests if kind == "list")
    assert polls[ids[0]] == 2
    assert all(polls[key] >= 39 for key in ids[1:])


async def test_three_workloads_that_are_too_many_pause_the_whole_fleet(
    caplog: pytest.LogCaptureFixture,
) -> None:
    harness, ids, _ = of_size(30)
    harness.at(50, lambda: setattr(harness, "lists", busy(120)))
    harness.at(100, lambda: setattr(harness, "lists", True))
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        await harness.collect(fleet, 400)
        assert fleet.status.failing == 0
    times = [at for at, kind, _ in harness.requests if kind == "list"]
    assert len([at for at in times if 50 <= at < 170]) == 3
    assert len([at for at in times if 200 <= at < 300]) >= 280
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len([text for text in warnings if text.startswith("the control plane is too busy")]) == 1


async def test_two_workloads_that_are_too_many_pause_nobody_else() -> None:
    harness, ids, _ = of_size(30)
    harness.by_id.update(dict.fromkeys(ids[:2], busy(60)))
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        await harness.collect(fleet, 20)
    others = [at for at, kind, key in harness.requests if kind == "list" and key in ids[2:]]
    assert len(others) == 56


async def test_a_watch_that_is_asked_to_wait_waits_and_says_until_when(
    caplog: pytest.LogCaptureFixture,
) -> None:
    harness = Harness()
    harness.add()
    harness.at(10, lambda: setattr(harness, "lists", busy(300)))
    harness.at(20, lambda: setattr(harness, "lists", True))
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id, poll=PollPolicy(interval=10, jitter=0))
        await harness.collect(watch, 400)

    assert [at for at in harness.times() if at <= 400][:4] == [0, 10, 310, 320]
    assert "Retry-After: the next poll is due in 300 s" in caplog.text


async def test_the_fleet_pauses_for_what_was_asked_and_not_for_a_back_off(
    caplog: pytest.LogCaptureFixture,
) -> None:
    harness, ids, _ = of_size(40)
    harness.by_id.update(dict.fromkeys(ids[:12], busy(1)))
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        await harness.collect(fleet, 1000)
    healthy = [at for at, kind, key in harness.requests if kind == "list" and key in ids[12:]]
    assert len(healthy) >= 0.95 * 28 * 100
    assert caplog.text.count("the control plane is too busy") <= 12


async def test_workloads_that_are_no_longer_watched_do_not_pause_the_others() -> None:
    harness, ids, _ = of_size(4)
    harness.by_id.update(dict.fromkeys(ids, busy(200)))
    patient = evolve(POLICY, max_outage=None)
    async with harness.client() as runai, runai.watch_fleet(ids[:2], poll=patient) as fleet:
        await harness.collect(fleet, 15)
        for key in ids[:2]:
            fleet.remove(key)
        harness.by_id.update(dict.fromkeys(ids[2:], busy(1)))
        fleet.add(ids[2])
        await harness.collect(fleet, 100)
        before = len([at for at, kind, key in harness.requests if key == ids[2]])
        await harness.collect(fleet, 1000)
    # Backed off to a minute at most, and never for what others were asked.
    assert len([at for at, kind, key in harness.requests if key == ids[2]]) - before >= 16


async def test_a_pause_holds_also_behind_a_rate_limit() -> None:
    harness, ids, _ = of_size(10)
    harness.lists = busy(100)
    async with (
        harness.client() as runai,
        runai.watch_fleet(ids, poll=POLICY, rate_limit=1) as fleet,
    ):
        await harness.collect(fleet, 90)
    assert len(harness.times()) == 3


async def test_what_was_asked_for_outlasts_an_outage_of_all() -> None:
    harness, ids, _ = of_size(2)
    harness.at(100, lambda: harness.by_id.update({ids[0]: busy(200, status=503), ids[1]: HTML_502}))
    harness.at(150, harness.by_id.clear)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=PollPolicy(interval=10)) as fleet:
        await harness.collect(fleet, 290)
    asked = [at for at, kind, key in harness.requests if kind == "list" and key == ids[0] and at >= 100]
    assert len(asked) == 1


async def test_a_listed_workload_without_revisions_is_no_failure_after_an_outage_either() -> None:
    harness, ids, _ = of_size(2)
    harness.by_id[ids[0]] = REFUSED_404
    for start in (1000, 5000):
        harness.at(start, lambda: harness.by_id.update({ids[0]: HTML_502}))
        harness.at(start + 301, lambda: harness.by_id.update({ids[0]: REFUSED_404}))
    patient = PollPolicy(interval=10, max_outage=900)
    async with harness.client() as runai, runai.watch_fleet(runai.inference_workloads, poll=patient) as fleet:
        events = await harness.collect(fleet, 7000)
        assert fleet.status.oldest_success_at is not None
    assert [event for event in events if isinstance(event, WorkloadFailed)] == []


async def test_one_that_lost_its_revisions_does_not_hide_when_the_others_succeeded() -> None:
    harness = Harness()
    harness.add()
    bare = harness.state.add_workload("bare", "Inference", {})
    async with (
        harness.client() as runai,
        runai.watch_fleet(runai.inference_workloads, poll=POLICY, discovery_interval=10) as fleet,
    ):
        await harness.collect(fleet, 20)
        harness.by_id[bare] = REFUSED_404
        await harness.collect(fleet, 100)
        assert fleet.status.without_revisions == 1
        oldest = fleet.status.oldest_success_at
        assert oldest is not None
        assert (harness.clock.now() - oldest).total_seconds() <= 10
