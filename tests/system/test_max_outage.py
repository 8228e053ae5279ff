"""Whatever is followed gives up when `max_outage` is over, and not a whole back-off later."""

from collections.abc import Awaitable, Callable

import pytest
from attrs import evolve
from support.fleets import of_size
from support.harness import HTML_502, REFUSED_401, Harness

from runai_async import (
    AuthenticationError,
    FleetEvent,
    PollPolicy,
    RunaiClient,
    WatchOutageError,
    WorkloadFailed,
)
from runai_async._fleet.outage import FleetOutage
from runai_async.errors import TransportError

POLICY = PollPolicy(interval=10, fast_interval=10, jitter=0, max_outage=30)
Work = Callable[[Harness, RunaiClient, PollPolicy], Awaitable[object]]


async def watch(harness: Harness, runai: RunaiClient, policy: PollPolicy) -> None:
    await harness.collect(runai.watch_revisions(harness.workload_id, poll=policy), 2000)


async def rollout(harness: Harness, runai: RunaiClient, policy: PollPolicy) -> None:
    await ended(harness, runai.wait_for_rollout(harness.workload_id, poll=policy))


async def phase(harness: Harness, runai: RunaiClient, policy: PollPolicy) -> None:
    (revision_id,) = harness.state.revisions
    await ended(harness, runai.wait_for_phase(revision_id, "Running", poll=policy))


async def fleet(harness: Harness, runai: RunaiClient, policy: PollPolicy) -> None:
    async with runai.watch_fleet([harness.workload_id], poll=policy) as events:
        await harness.collect(events, 2000)


async def discovery(harness: Harness, runai: RunaiClient, policy: PollPolicy) -> None:
    async with runai.watch_fleet(runai.inference_workloads, poll=policy, discovery_interval=60) as events:
        await harness.collect(events, 2000)


async def ended(harness: Harness, wait: Awaitable[object]) -> None:
    async def stream() -> object:
        yield await wait

    await harness.collect(stream(), 2000)  # type: ignore[arg-type]


ALL: list[Work] = [watch, rollout, phase, fleet, discovery]


@pytest.mark.parametrize("max_outage", [30, 47, 100, 900])
@pytest.mark.parametrize("work", ALL)
async def test_an_outage_from_the_start_ends_it_when_max_outage_is_over(
    work: Work, max_outage: float
) -> None:
    harness = Harness()
    harness.add("Pending")
    harness.lists = harness.others = HTML_502
    async with harness.client() as runai:
        with pytest.raises(WatchOutageError):
            await work(harness, runai, evolve(POLICY, max_outage=max_outage))
    times = [at for at, *_ in harness.requests]
    assert times[-1] - times[0] == pytest.approx(max_outage, abs=0.01)  # a poll may be due just before
    assert len(times) >= 3


@pytest.mark.parametrize("work", [watch, rollout, phase, fleet])
async def test_an_outage_in_mid_life_too(work: Work) -> None:
    harness = Harness()
    harness.add("Pending")
    harness.at(95, lambda: vars(harness).update(lists=HTML_502, others=HTML_502))
    async with harness.client() as runai:
        with pytest.raises(WatchOutageError):
            await work(harness, runai, evolve(POLICY, max_outage=75))
    failed = [at for at, *_ in harness.requests if at >= 95]
    assert failed[-1] - failed[0] == pytest.approx(75)


@pytest.mark.parametrize("work", ALL)
@pytest.mark.parametrize("seconds", [1, 5, 15])
async def test_nothing_ends_before_the_third_failed_poll(work: Work, seconds: float) -> None:
    harness = Harness()
    harness.add("Pending")
    harness.lists = harness.others = HTML_502
    async with harness.client() as runai:
        with pytest.raises(WatchOutageError):
            await work(harness, runai, evolve(POLICY, max_outage=seconds))
    # In a fleet the first poll comes at once, whenever the first slot is.
    assert len(harness.requests) in ({3, 4} if work is fleet else {3})


async def test_a_token_that_is_refused_ends_a_fleet_when_max_outage_is_over() -> None:
    harness, ids, _ = of_size(20)
    harness.at(95, lambda: setattr(harness, "lists", REFUSED_401))
    async with harness.client() as runai, runai.watch_fleet(ids, poll=evolve(POLICY, max_outage=75)) as fleet:
        with pytest.raises(AuthenticationError):
            await harness.collect(fleet, 2000)
    assert 75 <= harness.times()[-1] - 95 <= 80


@pytest.mark.parametrize("size", [2, 20, 200])
async def test_a_fleet_without_any_response_ends_when_max_outage_is_over_and_no_crowd_comes_then(
    size: int,
) -> None:
    harness, ids, _ = of_size(size)
    harness.at(95, lambda: setattr(harness, "lists", HTML_502))
    async with harness.client() as runai, runai.watch_fleet(ids, poll=evolve(POLICY, max_outage=75)) as fleet:
        with pytest.raises(WatchOutageError):
            await harness.collect(fleet, 2000)
    failed = [at for at in harness.times() if at >= 95]
    assert failed[-1] - failed[0] == pytest.approx(75, abs=0.5)
    assert len([at for at in failed if at > failed[-1] - 1]) <= 2 + size / 10


async def test_one_workload_is_reported_when_its_max_outage_is_over() -> None:
    harness, ids, _ = of_size(5)
    harness.at(95, lambda: harness.by_id.update({ids[0]: HTML_502}))
    async with harness.client() as runai, runai.watch_fleet(ids, poll=evolve(POLICY, max_outage=75)) as fleet:
        events: list[FleetEvent] = await harness.collect(fleet, 95)
        while not isinstance(events[-1], WorkloadFailed):
            events += await harness.collect(fleet, 1)
        assert harness.clock.monotonic() < 400
    failed = [at for at in harness.times_of(ids[0]) if at >= 95]
    assert failed[-1] - failed[0] == pytest.approx(75)


# --- who decides for a fleet --------------------------------------------------------------------------------


def silent(seconds: float) -> FleetOutage:
    """Return an outage that has lasted for so long, up to the monotonic time *seconds*."""
    outage = FleetOutage()
    for at in (0.0, seconds):
        outage.no_response(TransportError("gone"), at, at, watched=1, pause=seconds, policy=POLICY)
    return outage


def test_one_poll_decides_for_all() -> None:
    outage = silent(20)
    assert outage.decisive("a", 50, 20, POLICY) == 30
    assert outage.decisive("b", 50, 20, POLICY) is None
    outage.forget("b")
    assert outage.decisive("b", 50, 20, POLICY) is None
    outage.forget("a")
    assert outage.decisive("b", 50, 20, POLICY) == 30


def test_a_poll_that_comes_before_anyway_leaves_it_to_another() -> None:
    outage = silent(20)
    assert outage.decisive("a", 50, 20, POLICY) == 30
    assert outage.decisive("a", 25, 20, POLICY) is None
    assert outage.decisive("b", 50, 20, POLICY) == 30


def test_a_workload_that_is_asked_to_wait_does_not_decide() -> None:
    outage = silent(20)
    assert outage.decisive("a", 50, 20, POLICY, earliest=40) is None
    assert outage.decisive("b", 50, 20, POLICY, earliest=25) == 30


def test_nothing_is_decided_for_ever_or_when_it_is_over() -> None:
    assert silent(20).decisive("a", 50, 20, evolve(POLICY, max_outage=None)) is None
    assert silent(30).decisive("a", 50, 30, POLICY) is None


def test_after_a_response_another_one_may_decide() -> None:
    outage = silent(20)
    assert outage.decisive("a", 50, 20, POLICY) == 30
    outage.responded(21)
    for at in (31.0, 41.0):
        outage.no_response(TransportError("gone"), at, at, watched=1, pause=10, policy=POLICY)
    assert outage.decisive("b", 100, 41, POLICY) == pytest.approx(61)
