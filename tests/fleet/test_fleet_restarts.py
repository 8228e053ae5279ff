"""A fleet while services behind its control plane restart: it reports nothing, and does not press them."""

import logging
from collections import Counter

import pytest
from attrs import evolve
from support.fleets import of_size
from support.harness import HTML_502, REFUSED_401, REFUSED_403, REFUSED_404, Harness, Reply

from runai_async import (
    AuthenticationError,
    FleetEvent,
    PermissionDeniedError,
    PhaseChanged,
    PollPolicy,
    RevisionAdded,
    WorkloadFailed,
)
from runai_async.testing import Response

POLICY = PollPolicy(interval=10, fast_interval=10)
EMPTY = Response(body=b'{"revisions": []}')


def fails_from(harness: Harness, start: float, end: float, reply: Reply) -> None:
    """Let all requests for revisions get *reply* for a while."""

    def begin() -> None:
        harness.lists = harness.others = reply

    def heal() -> None:
        harness.lists = harness.others = True

    harness.at(start, begin)
    harness.at(end, heal)


def kinds(events: list[FleetEvent]) -> Counter[str]:
    return Counter(event.kind for event in events)


# --- a refused token ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [45, pytest.param(240, marks=pytest.mark.slow)])
async def test_a_token_refused_for_minutes_costs_nothing_and_few_requests(
    seconds: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "runai_async")
    harness, ids, revisions = of_size(200)
    fails_from(harness, 100, 100 + seconds, REFUSED_401)
    harness.at(100 + seconds / 2, lambda: harness.set_phase(revisions[ids[7]], "Failed"))
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        events = await harness.collect(fleet, 100 + seconds + 90)
        assert fleet.status.failing == 0

    assert kinds(events) == {"added": 200, "phase_changed": 1}
    refused = [at for at in harness.times() if 100 <= at < 100 + seconds]
    assert len(refused) <= 3 + 2 + seconds / 10
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    after = Counter(int(at / 10) for at in harness.times() if at >= 100 + seconds)
    assert max(after.values()) <= 1.1 * 200 + 20  # jitter moves some into the next ten seconds


async def test_a_token_that_stays_refused_ends_the_fleet_after_max_outage() -> None:
    harness, ids, _ = of_size(50)
    fails_from(harness, 100, 1e9, REFUSED_401)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        with pytest.raises(AuthenticationError):
            await harness.collect(fleet, 1200)

    assert 1000 <= harness.times()[-1] <= 1000 + 65


async def test_without_max_outage_a_refused_token_ends_nothing_and_is_warned_of_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    harness, ids, _ = of_size(50)
    fails_from(harness, 100, 1e9, REFUSED_401)
    policy = evolve(POLICY, max_outage=None)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=policy) as fleet:
        await harness.collect(fleet, 100 + 3600)

    assert [record.levelname for record in caplog.records] == ["WARNING"] * 4


async def test_one_workload_whose_polls_are_refused_pauses_nobody() -> None:
    harness, ids, _ = of_size(20)
    harness.at(100, lambda: harness.by_id.update({ids[0]: REFUSED_401}))
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        events = await harness.collect(fleet, 1200)

    (failed,) = (event for event in events if isinstance(event, WorkloadFailed))
    assert (failed.workload_id, type(failed.error)) == (ids[0], AuthenticationError)
    assert all(len(harness.times_of(key)) == 120 for key in ids[1:])


async def test_a_gateway_with_stale_keys_beside_a_good_one_stops_nothing() -> None:
    class TwoGateways(Harness):
        polls = 0

        def _reply(self, kind: str, key: str) -> Reply | bool:
            self.polls += 1
            return REFUSED_401 if self.polls % 2 and self.clock.monotonic() > 50 else True

    harness = TwoGateways()
    ids = [harness.state.add_workload(f"llm-{n}", "Inference", {}) for n in range(51)]
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        assert await harness.collect(fleet, 600) == []

    assert all(len(harness.times_of(key)) >= 55 for key in ids)


async def test_pauses_that_the_first_probe_ends_become_rare(caplog: pytest.LogCaptureFixture) -> None:
    class Lottery(Harness):
        """Of two gateways behind one name, each request meets either; one refuses every token."""

        polls = 0

        def _reply(self, kind: str, key: str) -> Reply | bool:
            self.polls += 1
            return REFUSED_401 if self.polls * 7919 % 17 < 8 and self.clock.monotonic() > 50 else True

    harness = Lottery()
    ids = [harness.state.add_workload(f"llm-{n}", "Inference", {}) for n in range(100)]
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        assert await harness.collect(fleet, 600) == []

    assert len(caplog.records) <= 3
    assert all(len(harness.times_of(key)) >= 20 for key in ids)  # each backs off for its own failures


# --- refusals -----------------------------------------------------------------------------------------------


async def test_an_authorization_service_that_restarts_is_one_warning_and_nothing_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    harness, ids, revisions = of_size(60)
    fails_from(harness, 100, 400, REFUSED_403)
    harness.at(200, lambda: harness.set_phase(revisions[ids[7]], "Failed"))
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        events = await harness.collect(fleet, 200)
        assert fleet.status.refused == 60
        events += await harness.collect(fleet, 300)
        assert fleet.status.refused == 0

    assert kinds(events) == {"added": 60, "phase_changed": 1}
    (record,) = caplog.records
    assert record.getMessage().startswith("refused, though they were readable before: 60 of 60 workloads; ")


async def test_a_permission_that_is_taken_for_good_is_reported_after_max_outage_and_warned_of_now_and_then(
    caplog: pytest.LogCaptureFixture,
) -> None:
    harness, ids, _ = of_size(20)
    fails_from(harness, 100, 1e9, REFUSED_403)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        events = await harness.collect(fleet, 990)
        assert kinds(events) == {"added": 20}
        events = await harness.collect(fleet, 40)
        await harness.collect(fleet, 1000)

    assert kinds(events) == {"workload_failed": 20}
    assert all(
        isinstance(event, WorkloadFailed) and isinstance(event.error, PermissionDeniedError)
        for event in events
    )
    assert len(caplog.records) == 2


async def test_a_permission_that_is_missing_from_the_start_is_reported_after_the_grace() -> None:
    harness, ids, _ = of_size(20)
    fails_from(harness, 0, 1e9, REFUSED_403)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        assert kinds(await harness.collect(fleet, 75)) == {"workload_failed": 20}


@pytest.mark.parametrize("reply", [REFUSED_404, EMPTY])
@pytest.mark.parametrize("follows_list", [True, False])
async def test_a_read_model_that_restarts_empty_deletes_nothing(reply: Response, follows_list: bool) -> None:
    class Restarting(Harness):
        def _reply(self, kind: str, key: str) -> Reply | bool:
            own = super()._reply(kind, key)
            return REFUSED_404 if own is EMPTY and kind == "get" else own

    harness = Restarting()
    ids = [harness.state.add_workload(f"llm-{n}", "Inference", {}) for n in range(12)]
    for key in ids:
        harness.add(workload_id=key)
    fails_from(harness, 100, 195, reply)
    async with harness.client() as runai:
        workloads = (lambda: ids) if follows_list else ids
        async with runai.watch_fleet(workloads, poll=POLICY, discovery_interval=20) as fleet:
            assert kinds(await harness.collect(fleet, 500)) == {"added": 12}
            assert fleet.status.failing == 0


@pytest.mark.parametrize(("number", "most"), [(3, 175.0), (9, 175.0)])
async def test_workloads_that_the_list_no_longer_names_are_believed_gone_after_the_grace(
    number: int, most: float
) -> None:
    harness, ids, _ = of_size(20)
    listed = list(ids)

    def delete() -> None:
        for key in ids[:number]:
            harness.by_id[key] = REFUSED_404
            listed.remove(key)

    harness.at(100, delete)
    async with (
        harness.client() as runai,
        runai.watch_fleet(lambda: list(listed), poll=POLICY, discovery_interval=20) as fleet,
    ):
        await harness.collect(fleet, 100)
        events = await harness.collect(fleet, most - 100 + 5)
        await harness.collect(fleet, 60)
        assert fleet.workload_ids == set(listed)

    assert kinds(events) == {"deleted": number}


async def test_most_workloads_gone_at_once_are_doubted_for_max_outage() -> None:
    harness, ids, _ = of_size(20)
    harness.at(100, lambda: harness.by_id.update(dict.fromkeys(ids[:12], REFUSED_404)))
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        assert kinds(await harness.collect(fleet, 990)) == {"added": 20}
        events = await harness.collect(fleet, 60)

    assert kinds(events) == {"deleted": 12, "workload_failed": 12}


async def test_a_workload_whose_404_is_believed_makes_no_others_doubtful() -> None:
    harness, ids, _ = of_size(10)
    harness.at(100, lambda: harness.by_id.update(dict.fromkeys(ids[:5], REFUSED_404)))
    harness.at(1000, lambda: harness.by_id.update({ids[5]: REFUSED_404}))
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        assert kinds(await harness.collect(fleet, 450)) == {"added": 10, "deleted": 5, "workload_failed": 5}
        await harness.collect(fleet, 540)
        assert kinds(await harness.collect(fleet, 350)) == {"deleted": 1, "workload_failed": 1}


# --- room ---------------------------------------------------------------------------------------------------


async def test_workloads_that_hang_take_at_most_half_of_the_room() -> None:
    harness, ids, revisions = of_size(100)
    harness.at(50, lambda: harness.by_id.update(dict.fromkeys(ids[:60], None)))
    harness.at(300, lambda: harness.set_phase(revisions[ids[99]], "Failed"))
    policy = evolve(POLICY, deadline=30, max_outage=None)
    async with (
        harness.client() as runai,
        runai.watch_fleet(ids, poll=policy, max_concurrency=20) as fleet,
    ):
        events = await harness.collect(fleet, 320)

    assert isinstance(events[-1], PhaseChanged)
    for key in ids[60:]:
        own = [at for at in harness.times_of(key) if at > 170]  # once each has failed
        assert len(own) >= 14


async def test_a_limit_that_cannot_keep_the_intervals_is_warned_of_with_the_figures(
    caplog: pytest.LogCaptureFixture,
) -> None:
    harness, ids, _ = of_size(100)
    harness.latency = 2.0
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY, max_concurrency=5) as fleet:
        await harness.collect(fleet, 300)
        assert fleet.status.concurrency_needed == pytest.approx(20, rel=0.05)
        assert fleet.status.lag > 10

    (record,) = caplog.records
    assert record.getMessage() == (
        "the fleet cannot keep its intervals: 10 polls a second of 2000 ms each need 20 in flight, "
        "but max_concurrency is 5"
    )


async def test_a_rate_limit_that_cannot_keep_the_intervals_is_warned_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    harness, ids, _ = of_size(100)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY, rate_limit=5) as fleet:
        await harness.collect(fleet, 300)

    (record,) = caplog.records
    assert record.getMessage().endswith("10 polls a second of 0 ms each are more than rate_limit, 5 a second")


async def test_an_outage_of_another_kind_while_the_token_is_refused_keeps_the_pause() -> None:
    harness, ids, _ = of_size(50)
    fails_from(harness, 100, 150, REFUSED_401)
    fails_from(harness, 150, 300, HTML_502)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        events = await harness.collect(fleet, 450)
        assert fleet.status.failing == 0

    assert all(isinstance(event, RevisionAdded) for event in events)
    assert len([at for at in harness.times() if 150 <= at < 300]) <= 20


async def test_a_pause_that_is_over_early_is_over_at_once() -> None:
    harness, ids, _ = of_size(20)
    async with harness.client() as runai, runai.watch_fleet(ids, poll=POLICY) as fleet:
        await harness.collect(fleet, 50)
        fleet._dispatcher.hold(1000.0)
        await harness.collect(fleet, 50)
        held = len(harness.times())
        fleet._dispatcher.release()
        await harness.collect(fleet, 20)

    assert held <= 100
    assert len(harness.times()) - held >= 30
